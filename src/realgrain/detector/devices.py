"""Which hardware computes: chosen by what is there. The paths of graphics cards are tested for their logic alone, and measured nowhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

CPU = "cpu"
PROVIDERS = {
    "cuda": ("CUDAExecutionProvider",),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
}
"""Device -> ONNX Runtime's providers for it, the first of which has to be there; what none of them can do falls to the processor."""


class DeviceError(ValueError):
    """A device that there is not, or that a runtime cannot use. The message says what would help."""


def chosen(asked: str, runtime: str, available: Sequence[str], torch_has_cuda: Callable[[], bool]) -> str:
    """Name of the device that a runtime computes on, such as ``cpu`` or ``cuda:0``.

    Args:
        asked: ``auto`` (a CUDA device where the runtime can use one, else the processor), ``cpu``, ``cuda``, ``cuda:N``, ``tensorrt`` or
            ``tensorrt:N``. TensorRT has to be asked for: it builds an engine of its own for each graph, which takes minutes.
        runtime: ``onnxruntime``, ``torch`` or another; others compute on the processor.
        available: ONNX Runtime's providers.
        torch_has_cuda: asks torch, which is imported only then.

    Raises:
        DeviceError: it is not there.
    """
    kind, _, number = asked.partition(":")
    if asked == CPU or (asked == "auto" and not _can(runtime, "cuda", available, torch_has_cuda)):
        return CPU
    if asked == "auto":
        kind = "cuda"
    if kind not in PROVIDERS or (":" in asked and not number.isdecimal()):
        raise DeviceError(f"no device {asked!r}; there are auto, cpu, cuda, cuda:N, tensorrt, tensorrt:N")
    if not _can(runtime, kind, available, torch_has_cuda):
        help_ = {"onnxruntime": "onnxruntime-gpu in place of onnxruntime", "torch": "a build of torch for CUDA, and a card"}
        raise DeviceError(f"{asked}: the runtime {runtime} cannot use it here; it takes {help_.get(runtime, 'the runtime onnxruntime or torch')}")
    return f"{kind}:{number or 0}"


def _can(runtime: str, kind: str, available: Sequence[str], torch_has_cuda: Callable[[], bool]) -> bool:
    if runtime == "onnxruntime":
        return PROVIDERS[kind][0] in available if kind in PROVIDERS else False
    return runtime == "torch" and kind == "cuda" and torch_has_cuda()


def providers(device: str) -> list[Any]:
    """ONNX Runtime's providers for a device by ``chosen``; on CUDA without TF32, whose ten bits would move scores."""
    kind, _, number = device.partition(":")
    if kind == CPU:
        return ["CPUExecutionProvider"]
    options = {"TensorrtExecutionProvider": {"device_id": int(number)}, "CUDAExecutionProvider": {"device_id": int(number), "use_tf32": 0}}
    return [*((name, options[name]) for name in PROVIDERS[kind]), "CPUExecutionProvider"]


def here(asked: str, runtime: str) -> str:
    """As ``chosen``, of this machine; ``auto`` takes a card only where ONNX Runtime can use it, and not for being built for one.

    Raises:
        DeviceError: it is not there.
    """
    if asked == CPU:
        return CPU

    def torch_has_cuda() -> bool:
        try:
            import torch
        except ImportError:
            return False
        return torch.cuda.is_available()

    import onnxruntime

    found = chosen(asked, runtime, onnxruntime.get_available_providers(), torch_has_cuda)
    return CPU if asked == "auto" and runtime == "onnxruntime" and found != CPU and not _opens(found) else found


def _opens(device: str) -> bool:
    """Whether ONNX Runtime runs a graph on a device, tried with the smallest one: its list of providers says what it was built with."""
    import onnxruntime
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "one", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=providers(device))
    except Exception:  # without drivers or a card, it raises nearly anything
        return False
    return session.get_providers()[0] != "CPUExecutionProvider"
