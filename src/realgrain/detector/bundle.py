"""A detector as a folder: ``card.json`` and what was learned (``head.safetensors`` and, where the tower moved,
``adapter.safetensors``), with the statistics that verdicts need (``statistics.safetensors``) and, where it was prepared for eight-bit arithmetic,
how to round (``int8.safetensors``). The base tower is named by id and sha256, never
included.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from realgrain.detector.calibration import Calibration, OperatingPoint
from realgrain.detector.domain import Domain
from realgrain.detector.graph import TowerConfig
from realgrain.detector.profiles import PHOTO, Profile
from realgrain.picture.views import ViewSpec

CARD, HEAD, ADAPTER, STATISTICS = "card.json", "head.safetensors", "adapter.safetensors", "statistics.safetensors"
INT8 = "int8.safetensors"
F32_TOLERANCE = 1e-4  # of a logit: between f32 runtimes, their versions and processors, only the order of sums differs
SHIPPED = Path(__file__).parent / "bundles"
DEFAULT = SHIPPED / "default"


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
    """How a runtime's logits differ from ONNX Runtime f32, as measured by the export gate.

    Attributes:
        tolerance: most that they should differ by.
        measured: most that they did; so near a threshold, a runtime that rounds is not believed (``second``).
        usual: most that 95 % of them did.
        usual_distance: the same of the distance from the training pictures; so near its threshold the runtime is not believed either.
        group_tolerance: most that squared distances from two centres of content should move apart or together; of groups that a picture is nearly
            between, the runtime's choice is not believed where the verdict hangs on it.
        auc_loss: against f32.
        pictures: that were compared.
        file: where the bundle carries that graph.
        sha256: of it.
    """

    tolerance: float = Field(gt=0)
    measured: float = Field(ge=0)
    usual: float = Field(default=0, ge=0)
    usual_distance: float = Field(default=0, ge=0)
    group_tolerance: float = Field(default=0, ge=0)
    auc_loss: float
    pictures: int = Field(ge=1)
    file: str | None = None
    sha256: str | None = None


class Eight(_Part):
    """How the tower is rounded to eight bits, see ``rounding``.

    Attributes:
        sha256: of ``int8.safetensors``.
        pictures: on which activations were measured.
    """

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    pictures: int = Field(ge=1)


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


class Parent(_Part):
    """A bundle that another one was made of.

    Attributes:
        bundle: sha256 of its card.
        change: what was done.
        made: day.
    """

    bundle: str = Field(pattern="^[0-9a-f]{64}$")
    change: str
    made: date


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
        profiles: calibration data by profile; their logits are among the statistics.
        domain: from where on a picture is unlike the training pictures, whose features are among the statistics; None: that is not known.
        borders: from which length of straight borders on a picture is no photograph; None: that is not known.
        statistics_sha256: of ``statistics.safetensors``; None where there is none.
        int8: how to compute in eight bits; None: nobody has measured that.
        parents: what it was made of, oldest first; empty for a bundle as it was trained.
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
    profiles: dict[str, Profile] = {}
    domain: Domain | None = None
    borders: Domain | None = None
    statistics_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    int8: Eight | None = None
    parents: tuple[Parent, ...] = ()
    smallest_side: int = Field(ge=1)
    training: TrainingData
    runtimes: dict[str, Graph] = {}
    made: date
    licence: str
    intended_use: str
    limits: list[str]

    def domain_of(self, profile: str | None) -> Domain | None:
        """From where on a picture is outside, for who asks for a profile, or for none."""
        named = self.profiles.get(profile or PHOTO)
        return self.domain if named is None or named.domain is None else named.domain

    def borders_of(self, profile: str | None) -> Domain | None:
        """From which length of straight borders on a picture is outside, likewise."""
        named = self.profiles.get(profile or PHOTO)
        return self.borders if named is None or named.borders is None else named.borders


@dataclass(frozen=True)
class Bundle:
    """A card, the learned arrays, and where they came from.

    Attributes:
        head: ``weight`` (dimensions,) and ``bias`` (1,), float32.
        adapter: changes of the tower, as ``merging.merge`` takes them; empty where it is frozen.
        hash: sha256 of the bytes of ``card.json``, which binds the weights in turn: the detector's identity.
        statistics: what verdicts need beside the weights, as ``profiles`` and ``domain`` name them, and what adapting needs (``learning.replay``);
            no logit depends on it.
        int8: as ``rounding.from_arrays`` takes it; empty where the card has none.
    """

    folder: Path
    card: Card
    head: dict[str, np.ndarray]
    adapter: dict[str, np.ndarray]
    hash: str
    statistics: dict[str, np.ndarray] = field(default_factory=dict)
    int8: dict[str, np.ndarray] = field(default_factory=dict)


def check_same_detector(other: Bundle, bundle: Bundle) -> None:
    """What was measured of one may be written into the other.

    Raises:
        ValueError: they give other logits; names the first field of their cards that differs.
    """
    for name in ("head_sha256", "adapter_sha256", "base", "views", "block"):
        if getattr(other.card, name) != getattr(bundle.card, name):
            raise ValueError(f"{other.folder} and {bundle.folder} differ in {name}: they are not the same detector")


def read_bundle(folder: Path | str | None = None) -> Bundle:
    """Read and check a bundle.

    Args:
        folder: of the bundle, or the name of one that realgrain ships, such as ``fast``, where no bundle lies in such a folder; None: ``default``.

    Raises:
        BundleError: a file is missing or not as its schema says, or the weights are not the card's.
    """
    folder = DEFAULT if folder is None else Path(folder)
    if folder.name == str(folder) and not (folder / CARD).exists() and (SHIPPED / folder / CARD).exists():
        folder = SHIPPED / folder
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
    statistics = {} if card.statistics_sha256 is None else _arrays(folder / STATISTICS, card.statistics_sha256)
    int8 = {} if card.int8 is None else _arrays(folder / INT8, card.int8.sha256)
    return Bundle(folder, card, head, adapter, hashlib.sha256(raw).hexdigest(), statistics, int8)


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


def statistics_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as safetensors of the types that they have; the same arrays give the same bytes."""
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)})


def statistics_sha256(arrays: Mapping[str, np.ndarray]) -> str | None:
    """Sha256 of ``statistics_bytes``, for the card; None where there are no arrays."""
    return hashlib.sha256(statistics_bytes(arrays)).hexdigest() if arrays else None


def write_bundle(
    folder: Path,
    card: Card,
    head: Mapping[str, np.ndarray],
    adapter: Mapping[str, np.ndarray],
    statistics: Mapping[str, np.ndarray] | None = None,
    int8: Mapping[str, np.ndarray] | None = None,
) -> Bundle:
    """Write a bundle and read it back; the card must name the arrays by their ``array_sha256``, statistics and int8 by ``statistics_sha256``."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {HEAD: array_bytes(head), CARD: _card_bytes(card)}
    if statistics:
        files = {STATISTICS: statistics_bytes(statistics), **files}
    if int8:
        files = {INT8: statistics_bytes(int8), **files}
    if adapter:
        files = {ADAPTER: array_bytes(adapter), **files}
    _write(folder, files)
    return read_bundle(folder)


def rewrite_statistics(folder: Path, card: Card, statistics: Mapping[str, np.ndarray]) -> Bundle:
    """Give a bundle's folder another card and other statistics; the files of its weights are not touched."""
    named = card.model_copy(update={"statistics_sha256": statistics_sha256(statistics)})
    _write(folder, {STATISTICS: statistics_bytes(statistics), CARD: _card_bytes(named)})
    return read_bundle(folder)


def _card_bytes(card: Card) -> bytes:
    return (card.model_dump_json(indent=2) + "\n").encode()


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        scratch = folder / f".{name}.partial"
        scratch.write_bytes(content)
        scratch.replace(folder / name)
