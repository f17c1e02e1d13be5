"""What a run's rows depend on, written down: going on with anything else is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from realgrain._version import __version__
from realgrain.detector.bundle import Bundle
from realgrain.detector.decision import Policy
from realgrain.detector.runtime import RUNTIMES, check_parity
from realgrain.measuring.alone import RunError
from realgrain.measuring.batch.items import is_text, shown
from realgrain.measuring.batch.listing import ListingRef
from realgrain.measuring.batch.sources import absolute
from realgrain.measuring.ledger import versions
from realgrain.measuring.lock import DECODERS, BundleRef

RUN = "run.json"
PACKAGES = ("numpy", "pillow", "pillow-heif")
"""Pictures are opened and cut with them."""
ONNX = ("onnxruntime", "onnxruntime-gpu")
"""ONNX Runtime, by the names under which it is installed."""
BEHIND = {
    "onnxruntime": ONNX,
    "openvino": ("openvino",),
    "openvino-int8": ("openvino", *ONNX),
    "openvino-int8-dynamic": ("openvino", *ONNX),
    "torch": ("torch", "transformers"),
}
"""Runtime -> the packages that compute; what is near a threshold in eight bits is computed again by ONNX Runtime."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Asked(_Part):
    """What is asked of verdicts: ``realgrain.detector.decision.Policy`` without a prior, which any row's probability can be given afterwards."""

    profile: str | None = None
    max_fpr: float | None = None
    stability: bool = True

    @property
    def policy(self) -> Policy:
        """The same as the detector takes it."""
        return Policy(profile=self.profile, max_fpr=self.max_fpr, stability=self.stability)


class Scoring(_Part):
    """What an outcome depends on, beside the bytes.

    Attributes:
        runtime: name of the runtime.
        precision: of its arithmetic.
        device: kind of it: ``cpu``, ``cuda`` or ``tensorrt``.
        packages: versions of what opens and computes, realgrain's own among them. The make of the processor is not pinned: a run may go on on
            another, and then its last bits may differ.
    """

    bundle: BundleRef
    runtime: str
    precision: str
    device: str = "cpu"
    asked: Asked = Asked()
    packages: dict[str, str] = {}


class Settings(_Part):
    """How sources are taken and cut.

    Attributes:
        sources: as they were named, which must be valid UTF-8, for it is written down.
        limit: pictures at most; None: all.
        shard: items in a shard.
    """

    sources: tuple[str, ...]
    allow_urls: bool = False
    column: str | None = None
    limit: int | None = Field(default=None, ge=1)
    shard: int = Field(default=512, ge=1, le=100_000)

    @field_validator("sources", mode="before")
    @classmethod
    def _is_text(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not is_text(name):  # no ValueError, of which pydantic would make its own
                raise OSError(f"{shown(name)}: the name of a source must be valid UTF-8; name the folder that it is in, or a link to it")
        return names


class Pins(_Part):
    """Content of ``run.json``. The same thing run twice gives the same, byte for byte: no times.

    Attributes:
        sources: those of the settings as absolute paths, for the same words mean others in another folder.
    """

    version: Literal[3] = 3
    settings: Settings
    sources: tuple[str, ...]
    scoring: Scoring
    listing: ListingRef

    @classmethod
    def of(cls, settings: Settings, scoring: Scoring, listing: ListingRef) -> Pins:
        """The pins of a run that is asked for here and now."""
        return cls(settings=settings, sources=tuple(map(absolute, settings.sources)), scoring=scoring, listing=listing)

    def content(self) -> bytes:
        """Bytes of the file."""
        return (self.model_dump_json(indent=1) + "\n").encode()


def scoring(bundle: Bundle, runtime: str, asked: Asked, device: str = "cpu") -> Scoring:
    """What outcomes of this process's detector depend on.

    Raises:
        ValueError: no such runtime.
        BundleError: the bundle lacks what the runtime needs.
    """
    from PIL import features

    if runtime not in RUNTIMES:
        raise ValueError(f"no runtime {runtime!r}; there are {', '.join(RUNTIMES)}")
    check_parity(runtime, bundle)
    card = bundle.card
    decoders = {name: features.version(name) for name in DECODERS}
    return Scoring(
        bundle=BundleRef(name=card.name, hash=bundle.hash, base_sha256=card.base.sha256, views=card.views),
        runtime=runtime,
        precision=RUNTIMES[runtime].precision,
        device=device,
        asked=asked,
        packages={
            **versions((*PACKAGES, *BEHIND[runtime])),
            **{name: version for name, version in decoders.items() if version is not None},
            "realgrain": __version__,
        },
    )


def read_pins(folder: Path) -> Pins | None:
    """The pins of a folder; None where there are none.

    Raises:
        RunError: they are not readable.
    """
    file = folder / RUN
    if not file.is_file():
        return None
    try:
        return Pins.model_validate_json(file.read_bytes())
    except ValidationError as error:
        if any(one["loc"] == ("version",) for one in error.errors()):
            raise RunError(f"{file}: of a run by another version of realgrain; go on with that one, or take another folder") from error
        raise RunError(f"{file}: not the {RUN} of a run: {error}") from error
    except OSError as error:
        raise RunError(f"{file}: cannot be read: {error.strerror or error}") from error
