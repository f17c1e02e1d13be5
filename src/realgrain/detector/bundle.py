"""A detector as a folder: ``card.json`` and what was learned (``head.safetensors`` and, where the tower moved,
``adapter.safetensors``). The base tower is named by id and sha256, never included.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from realgrain.detector.calibration import Calibration, OperatingPoint
from realgrain.detector.graph import TowerConfig
from realgrain.picture.views import ViewSpec

CARD, HEAD, ADAPTER = "card.json", "head.safetensors", "adapter.safetensors"
DEFAULT = Path(__file__).parent / "bundles" / "default"


class BundleError(ValueError):
    """A folder is not a usable bundle. The message names the file and the reason."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BaseRef(_Part):
    """The tower that a bundle was trained on: it runs on no other.

    Attributes:
        id: where to find it, as for ``realgrain weights pull``.
        sha256: of its ``model.safetensors``.
        config: its architecture, which the tensors alone do not tell (the activation, for one).
    """

    id: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    config: TowerConfig


class Graph(_Part):
    """How a runtime's logits differ from ONNX Runtime f32, as measured by the export gate; ``file`` where the bundle carries that graph."""

    tolerance: float = Field(gt=0)
    measured: float = Field(ge=0)
    auc_loss: float
    pictures: int = Field(ge=1)
    file: str | None = None
    sha256: str | None = None


class TrainingData(_Part):
    """What it learned from. Pictures are never included.

    Attributes:
        manifest_sha256: of the manifest file.
        counts: pictures per label and source, ``{"real": {"ffhq": 150}, ...}``.
        licences: as the manifest states them, each with its number of pictures.
    """

    manifest_sha256: str
    counts: dict[str, dict[str, int]]
    licences: dict[str, int] = {}


class Card(_Part):
    """Everything about a detector that a machine can read.

    Attributes:
        method: name in ``realgrain.learning.methods``.
        recipe: the settings it was trained with, complete.
        base: its tower.
        views: its preprocessing.
        block: the feature that the head reads: the class token after this transformer block, or None for the joint-space embedding.
        head_sha256: of ``head.safetensors``: binds the card to the weights.
        adapter_sha256: of ``adapter.safetensors``, what to add to the tower's weights; None where the tower is frozen.
        calibration: logit to probability; None: uncalibrated.
        operating_point: thresholds and their measured rates; None: uncalibrated.
        smallest_side: pixels; below it the verdict is ``unsure: too_small``.
        training: its data.
        runtimes: parity of each runtime with ONNX Runtime f32.
        made: day of training.
        licence: of the learned weights.
        intended_use: and what it is not for.
        limits: what is known to go wrong, in plain words.
    """

    version: int = 1
    name: str
    method: str
    recipe: dict[str, Any]
    base: BaseRef
    views: ViewSpec
    block: int | None = Field(default=None, ge=1)
    head_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    adapter_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    calibration: Calibration | None = None
    operating_point: OperatingPoint | None = None
    smallest_side: int = Field(ge=1)
    training: TrainingData
    runtimes: dict[str, Graph] = {}
    made: date
    licence: str
    intended_use: str
    limits: list[str]


@dataclass(frozen=True)
class Bundle:
    """A card, the learned arrays, and where they came from.

    Attributes:
        head: ``weight`` (dimensions,) and ``bias`` (1,), float32.
        adapter: changes of the tower, as ``merging.merge`` takes them; empty where it is frozen.
        hash: sha256 of the bytes of ``card.json``, which binds the weights in turn: the detector's identity.
    """

    folder: Path
    card: Card
    head: dict[str, np.ndarray]
    adapter: dict[str, np.ndarray]
    hash: str


def read_bundle(folder: Path | str | None = None) -> Bundle:
    """Read and check a bundle; None means the one that realgrain ships.

    Raises:
        BundleError: a file is missing or not as its schema says, or the weights are not the card's.
    """
    folder = DEFAULT if folder is None else Path(folder)
    try:
        raw = (folder / CARD).read_bytes()
        card = Card.model_validate_json(raw)
    except OSError as error:
        raise BundleError(f"{folder}: not a bundle: {error.strerror}: {error.filename}") from error
    except ValidationError as error:
        raise BundleError(f"{folder / CARD}: {error}") from error
    head = _arrays(folder / HEAD, card.head_sha256)
    adapter = {} if card.adapter_sha256 is None else _arrays(folder / ADAPTER, card.adapter_sha256)
    if head.keys() != {"weight", "bias"} or head["weight"].ndim != 1 or head["bias"].shape != (1,):
        found = ", ".join(f"{name} {array.shape}" for name, array in head.items())
        raise BundleError(f"{folder / HEAD}: a head is a weight (dimensions,) and a bias (1,), not {found}")
    return Bundle(folder, card, head, adapter, hashlib.sha256(raw).hexdigest())


def _arrays(path: Path, sha256: str) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise BundleError(f"{path}: its sha256 is not the card's; the two do not belong together")
        return load(content)
    except OSError as error:
        raise BundleError(f"{path.parent}: not a bundle: {error.strerror}: {error.filename}") from error
    except SafetensorError as error:
        raise BundleError(f"{path}: {error}") from error


def array_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as float32 safetensors; the same arrays give the same bytes."""
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(arrays[name], np.float32) for name in sorted(arrays)})


def array_sha256(arrays: Mapping[str, np.ndarray]) -> str:
    """Sha256 of ``array_bytes``, for the card."""
    return hashlib.sha256(array_bytes(arrays)).hexdigest()


def write_bundle(folder: Path, card: Card, head: Mapping[str, np.ndarray], adapter: Mapping[str, np.ndarray]) -> Bundle:
    """Write a bundle and read it back; the card must name the arrays by their ``array_sha256``."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {HEAD: array_bytes(head), CARD: (card.model_dump_json(indent=2) + "\n").encode()}
    if adapter:
        files = {ADAPTER: array_bytes(adapter), **files}
    for name, content in files.items():
        scratch = folder / f".{name}.partial"
        scratch.write_bytes(content)
        scratch.replace(folder / name)
    return read_bundle(folder)
