"""What pins a run: everything its scores and figures depend on, and nothing that differs between two runs of the same thing."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from realgrain._version import __version__
from realgrain.detector.detect import Detector
from realgrain.measuring.dotted import dotted
from realgrain.measuring.ledger import processor, versions
from realgrain.picture.errors import printable
from realgrain.picture.views import ViewSpec

LOCK = "lock.json"
PACKAGES = (
    "realgrain",
    "numpy",
    "pillow",
    "pillow-heif",
    "onnxruntime",
    "openvino",
    "torch",
    "transformers",
    "torchmetrics",
    "scikit-learn",
    "scipy",
    "imagehash",
    "pyarrow",
)
"""What pictures are opened, scored, stored, measured and audited with."""
DECODERS = ("libjpeg_turbo", "webp", "avif", "libtiff", "zlib", "zlib_ng", "jpg_2000")
"""Libraries inside Pillow, by the names of ``PIL.features``."""
SHORT = 12
"""Digits of a sha256 that are shown."""


class LockError(ValueError):
    """A folder is not that of the run that is asked for. The message says what differs."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Protocol(_Part):
    """What is measured, and how.

    Attributes:
        conditions: names in ``realgrain.picture.conditions.CONDITIONS``, in order.
        split: only samples of it; empty: all.
        limit: pictures of each set, label and source at most; None: all.
        seed: of the resampling behind intervals.
        resamples: behind each interval.
        clusters: column whose equal values are drawn together; None: each picture by itself.
        part: samples in a part of the scores.
    """

    conditions: tuple[str, ...] = ("clean",)
    split: str = ""
    limit: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)
    resamples: int = Field(default=1000, ge=0)
    clusters: str | None = None
    part: int = Field(default=64, ge=1)

    @field_validator("conditions")
    @classmethod
    def _each_once(cls, conditions: tuple[str, ...]) -> tuple[str, ...]:
        if not conditions or len(set(conditions)) < len(conditions):
            raise ValueError(f"conditions are at least one, and each once, not {' '.join(conditions) or 'none'}")
        return conditions


class BundleRef(_Part):
    """The detector, by what makes its scores."""

    name: str
    hash: str
    base_sha256: str
    views: ViewSpec


class RuntimeRef(_Part):
    """What computed the logits."""

    name: str
    precision: str
    version: str


class Environment(_Part):
    """What else decides the last bits of a score: processors of different makes round differently.

    Attributes:
        packages: versions of those in ``PACKAGES`` that are installed.
        decoders: versions of those in ``DECODERS`` that Pillow has.
    """

    python: str
    processor: str
    packages: dict[str, str]
    decoders: dict[str, str]


class ManifestRef(_Part):
    """The pictures: number, and sha256 of the run's ``manifest.csv``, which names each by its own."""

    pictures: int
    sha256: str


class Lock(_Part):
    """What pins a run. The same thing run twice on one machine gives the same lock, byte for byte: no times, no paths."""

    version: int = 1
    benchmark: str
    protocol: Protocol
    bundle: BundleRef
    runtime: RuntimeRef
    environment: Environment
    manifest: ManifestRef

    def content(self) -> bytes:
        """Bytes of ``lock.json``."""
        return (self.model_dump_json(indent=1) + "\n").encode()

    @property
    def sha256(self) -> str:
        """Of ``content``: it is written into each table of scores."""
        return hashlib.sha256(self.content()).hexdigest()


def bundle_ref(detector: Detector) -> BundleRef:
    """Names a detector's bundle."""
    card = detector.bundle.card
    return BundleRef(name=card.name, hash=detector.bundle.hash, base_sha256=card.base.sha256, views=card.views)


def runtime_ref(detector: Detector) -> RuntimeRef:
    """Names a detector's runtime."""
    return RuntimeRef(name=detector.runtime.name, precision=detector.runtime.precision, version=detector.runtime.version)


def environment() -> Environment:
    """This process's."""
    from PIL import features

    found = {name: features.version(name) for name in DECODERS}
    return Environment(
        python=platform.python_version(),
        processor=processor(),
        packages={**versions(PACKAGES), "realgrain": __version__},
        decoders={name: version for name, version in found.items() if version is not None},
    )


def read_lock(folder: Path) -> Lock:
    """The lock of a run's folder.

    Raises:
        LockError: there is none, or it is not one.
    """
    path = folder / LOCK
    try:
        return Lock.model_validate_json(path.read_bytes())
    except OSError as error:
        raise LockError(f"{path}: not the folder of a run: {error.strerror}") from error
    except ValidationError as error:
        raise LockError(f"{path}: not the lock of a run: {first_fault(error)}") from error


def first_fault(error: ValidationError) -> str:
    """What is wrong with a file, on one line: the first of all faults, and where it is."""
    first = error.errors()[0]
    return printable(": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]])))


def differences(before: BaseModel, now: BaseModel) -> list[str]:
    """What two locks, or two parts of the same kind, disagree in: ``runtime.version was 1.20, is 1.21``."""
    old, new = (dotted(of.model_dump(mode="json")) for of in (before, now))
    return [f"{key} was {_shown(old.get(key))}, is {_shown(new.get(key))}" for key in dict.fromkeys((*old, *new)) if old.get(key) != new.get(key)]


def _shown(value: object) -> str:
    if value is None:
        return "none"
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    digest = len(text) == 64 and set(text) <= set("0123456789abcdef")
    return (text[:SHORT] + "…" if digest else text) or "empty"
