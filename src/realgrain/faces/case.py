"""The case report as data: a detector's report on one picture, unchanged, with all that it takes to follow it up and to make it again.

The same picture, detector and machine give the same case, byte for byte, but for ``made``. Files are named without their folders, so that a case that
is passed on does not tell where its maker keeps them.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from realgrain.detector.bundle import DEFAULT, F32_TOLERANCE, Bundle
from realgrain.detector.detect import Detector
from realgrain.detector.verdict import Report
from realgrain.evidence import provenance
from realgrain.evidence.regions import MOST, Regions, regions
from realgrain.faces.origins import Origin, origins
from realgrain.measuring.ledger import processor, versions
from realgrain.measuring.lock import first_fault
from realgrain.picture.degrade import Pixels
from realgrain.picture.errors import printable
from realgrain.picture.image import open_file

KIND, VERSION = "realgrain-case", 2
PACKAGES = ("realgrain", "numpy", "pillow", "pillow-heif", "c2pa-python")
"""That a picture goes through before and after the runtime, whose version the report has."""
LIMITS = (
    "A verdict is about how the pixels look to this detector. It is not proof, and says nothing of whether what is shown happened, when, or where.",
    "The error rates hold for pictures like those they were measured on. A new generator, another kind of camera or heavy editing can be worse.",
    "A photograph that was edited in part, even by a generator, can be called a photograph; so can a photograph of a screen.",
    "Who knows the detector can try to deceive it. 'unsure' is an answer: it means that this detector does not settle the matter.",
    "What a file says of itself is shown beside the verdict and has no part in it. Metadata can be removed and written by anyone.",
    "The map of the picture shows where the score comes from, not what was generated.",
)
"""Of the method, whatever the detector; a card has its own beside them."""


class CaseError(ValueError):
    """A file is not a case report that can be used; names the file and the reason."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Settings(_Part):
    """What a user chose, as the command line names it; ``tiles`` is None where regions were not looked at, ``bundle`` for the one that is shipped."""

    runtime: str
    bundle: str | None
    profile: str | None
    max_fpr: float | None
    prior: float | None
    stability: bool
    evidence: bool
    trust_list: str | None
    fuse: float | None
    tiles: int | None = Field(ge=1, le=MOST)


class Machine(_Part):
    """What last bits may depend on."""

    processor: str
    python: str
    versions: dict[str, str]


class Weights(_Part):
    """Which weights spoke, by sha256: of the tower's file, of the arrays of head and adapter, and of what the verdicts go by beside the card."""

    base: str
    head: str
    adapter: str | None
    statistics: str | None


class Case(_Part):
    """All that is said of one picture.

    Attributes:
        kind: tells it from other JSON.
        version: of this schema.
        made: when, in UTC: the only field that depends on time.
        report: of the detector, as ``detect`` gives it.
        regions: where in the picture the score comes from; None where that was not looked at.
        weights: of the detector.
        tolerance: how far a logit may be off on another version or processor, as the card says; where it says nothing, as between f32 runtimes.
        settings: of the user.
        machine: on which it was made.
        intended_use: of the detector, as its card says.
        limits: of the method, then of the detector, as its card says.
        origins: where each number comes from.
        command: that makes it again.
    """

    kind: Literal["realgrain-case"] = KIND
    version: Literal[2] = VERSION
    made: datetime
    report: Report
    regions: Regions | None
    weights: Weights
    tolerance: float
    settings: Settings
    machine: Machine
    intended_use: str
    limits: list[str]
    origins: list[Origin]
    command: str

    def content(self) -> bytes:
        """The bytes of its file: JSON, keys sorted."""
        return (json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True) + "\n").encode()


def look(detector: Detector, picture: str | os.PathLike[str], *, tiles: int | None = MOST, name: str | None = None) -> tuple[Case, Pixels]:
    """Judge a picture and say all there is to say of it; gives its pixels too, to show.

    Args:
        detector: with what it is to keep to.
        picture: file.
        tiles: of the map, at most; None: no map.
        name: what it is called in the case; None: the file's name.

    Raises:
        PictureError: it cannot be read as a picture.
    """
    opened, data = open_file(picture, limits=detector.limits)
    opened = replace(opened, name=printable(name or Path(picture).name))
    said = provenance.provenance(data, opened, trust_list=detector.trust_list) if detector.evidence else None
    report = detector.judge(opened, said)
    spec = detector.bundle.card.views
    where = None if tiles is None else regions(opened.pixels, spec, detector.runtime.logits, most=tiles)
    return assemble(report, where, settings_of(detector, tiles), detector.bundle), opened.pixels


def settings_of(detector: Detector, tiles: int | None) -> Settings:
    """What a detector was asked for."""
    policy, bundle = detector.policy, detector.bundle
    return Settings(
        runtime=detector.runtime.name,
        bundle=None if bundle.folder == DEFAULT else printable(bundle.folder.resolve().name),
        profile=policy.profile,
        max_fpr=policy.max_fpr,
        prior=policy.prior,
        stability=policy.stability,
        evidence=detector.evidence,
        trust_list=detector.trust_list.facts.name if detector.trust_list is not None and detector.evidence else None,
        fuse=policy.fuse,
        tiles=tiles,
    )


def assemble(report: Report, where: Regions | None, settings: Settings, bundle: Bundle) -> Case:
    """A case of its parts, with all that follows from them, and of this moment on this machine."""
    card = bundle.card
    graph = card.runtimes.get(report.detector.runtime)
    return Case(
        made=datetime.now(UTC).replace(microsecond=0),
        report=report,
        regions=where,
        weights=Weights(base=card.base.sha256, head=card.head_sha256, adapter=card.adapter_sha256, statistics=card.statistics_sha256),
        tolerance=F32_TOLERANCE if graph is None else graph.tolerance,
        settings=settings,
        machine=Machine(processor=processor(), python=platform.python_version(), versions=versions(PACKAGES)),
        intended_use=card.intended_use,
        limits=[*LIMITS, *card.limits],
        origins=origins(report, where, bundle),
        command=command(report.picture.name, settings),
    )


def command(name: str, settings: Settings) -> str:
    """The command that makes a case again, where files and folders have the names that it knows."""
    words = ["realgrain", "report", f"./{name}" if name.startswith("-") else name, "-o", "case.html", "--json", "case.json"]
    for option, value in settings.model_dump(exclude={"tiles"}).items():
        flag = option.replace("_", "-")
        if value is False:
            words.append(f"--no-{flag}")
        elif value not in (None, True) and (option, value) != ("runtime", "onnxruntime"):
            given = str(value).removesuffix(".0") if isinstance(value, float) else value
            words += [f"--{flag}={given}"] if given.startswith("-") else [f"--{flag}", given]  # else it would be taken for an option
    if settings.tiles is None:
        words.append("--no-regions")
    return shlex.join(words)


def parsed(raw: bytes) -> Any:
    """JSON in which no object has a key twice: readers differ in which of the two they show.

    Raises:
        ValueError: it is not JSON, or repeats a key.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
            raise ValueError(f"the key {name!r} stands twice in one object")
        return found

    return json.loads(raw, object_pairs_hook=once)


def read_case(path: Path) -> tuple[Case, bytes]:
    """Read a case report, and its bytes.

    Raises:
        CaseError: it cannot be read, is none, says something twice, or is of another version of the schema.
    """
    name = printable(str(path))
    try:
        raw = path.read_bytes()
        content = parsed(raw)
    except OSError as error:
        raise CaseError(f"{name}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise CaseError(f"{name}: not JSON that can be relied on: {printable(str(error))}") from None
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise CaseError(f"{name}: JSON, but not a case report that `realgrain report PICTURE --json` wrote")
    if content.get("version") != VERSION:
        raise CaseError(f"{name}: a case report of version {printable(str(content.get('version')), 20)}; this realgrain reads version {VERSION}")
    try:
        return Case.model_validate_json(raw), raw
    except ValidationError as error:
        raise CaseError(f"{name}: not a whole case report: {first_fault(error)}") from None
