"""A case report as one HTML file for people: it loads nothing, runs nothing, and shows no word of a file but escaped and cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from realgrain.detector.calibration import Rate, probability
from realgrain.detector.decision import interval, middle
from realgrain.detector.verdict import FRAMED, WHY
from realgrain.evidence import region_map
from realgrain.evidence.claims import Claim, Trust
from realgrain.faces import page
from realgrain.faces.case import Case
from realgrain.faces.origins import SOURCES, escaped
from realgrain.faces.show import WORDS
from realgrain.measuring.whole import write_whole
from realgrain.picture.degrade import Pixels
from realgrain.picture.errors import printable

SIDE = 900
"""Pixels, longest, of the picture on the page."""
LETTERS = 30
"""Size of the numbers on the map, pixels: half of a desktop's page, and all of a phone's, is about 400 wide."""
NAME = 120
"""Characters of the file's name."""
MARKS: dict[Trust, tuple[str, str]] = {
    "signed-trusted": ("✔", "signed, trusted"),
    "signed-untrusted": ("?", "signed, signer not trusted"),
    "invalid": ("✘", "invalid signature"),
    "unsigned": ("–", "unsigned"),
}
"""A sign and words for each mark: the page reads without colour."""
VERDICTS = {"ai": ("▲", "Flagged as AI-generated"), "camera": ("●", "Not flagged: called a photograph"), "unsure": ("◆", "Unsure: no verdict")}
_VIEWS = {"picture": "the picture itself", "half": "half the size", "flip": "mirrored"}


@dataclass(frozen=True)
class Track:
    """A view on the axis of probabilities: place in percent of its width."""

    name: str
    place: float
    probability: str
    side: str


def write(case: Case, pixels: Pixels, file: Path) -> None:
    """Write the page at once, or not at all.

    Args:
        case: to show.
        pixels: (H, W, 3) uint8, of its picture.
        file: to write.
    """
    write_whole(file, render(case, pixels).encode())


def render(case: Case, pixels: Pixels) -> str:
    """The page.

    Args:
        case: to show.
        pixels: (H, W, 3) uint8, of its picture.
    """
    report, where = case.report, case.regions
    return page.fill(
        "case.html",
        case=case,
        report=report,
        name=printable(report.picture.name, NAME),
        sign=VERDICTS[report.verdict.label],
        reasons=[WHY[reason] for reason in report.verdict.reasons],
        picture=page.thumbnail(pixels, SIDE),
        heat=page.thumbnail(region_map.overlay(pixels, where, LETTERS), SIDE) if where is not None and where.localised else None,
        heat_words=None if where is None else region_map.words(where),
        tracks=list(tracks(case)),
        ends=list(thresholds(case)),
        middle=turning(case),
        unstable=WHY["unstable"],
        framed=FRAMED,
        figures=list(figures(case)),
        marks=MARKS,
        claims=[(claim, list(fields(claim))) for claim in report.evidence.claims] if report.evidence else [],
        facts=list(facts(case)),
        technical=list(technical(case)),
        origins=[(one, SOURCES[one.source], value(case, one.number)) for one in case.origins],
        interval=interval,
        run={
            "command": case.command,
            "day": f"{case.made:%Y-%m-%d %H:%M} UTC",
            "processor": case.machine.processor,
            "versions": {"python": case.machine.python, **case.machine.versions},
        },
    )


def tracks(case: Case) -> Iterator[Track]:
    """Where the picture and its re-saves lie between the thresholds; none without a probability scale."""
    report = case.report
    if report.stability is None:
        if report.probability is not None:
            yield _track("picture", report.logit, report.probability, case)
        return
    for view in report.stability.views:
        if view.probability is not None:
            yield _track(view.name, view.logit, view.probability, case)


def _track(name: str, logit: float, chance: float, case: Case) -> Track:
    decision = case.report.decision
    side = "no threshold"
    if decision.ai is not None:
        side = (
            WORDS["ai"] if logit >= decision.ai else WORDS["camera"] if decision.camera is not None and logit <= decision.camera else WORDS["unsure"]
        )
    kind, _, strength = name.partition("-")
    shown = {"jpeg": f"saved as JPEG {strength}", "crop": f"cropped to {strength}"}.get(kind, _VIEWS.get(name, name))
    return Track(shown, round(100 * chance, 2), f"{chance:.3f}", side)


def thresholds(case: Case) -> Iterator[tuple[str, float]]:
    """The thresholds on the axis of probabilities, in percent of its width."""
    decision = case.report.decision
    for name, logit in (("camera", decision.camera), ("AI-generated", decision.ai)):
        if decision.calibration is not None and logit is not None:
            yield name, round(100 * float(probability(decision.calibration, logit)), 2)


def turning(case: Case) -> float | None:
    """The middle between the two thresholds, which a re-saved version must cross to take a verdict back, on the same axis; None without such."""
    decision = case.report.decision
    between = middle(decision)
    if case.report.stability is None or decision.calibration is None or decision.camera is None or between is None:
        return None
    return round(100 * float(probability(decision.calibration, between)), 2)


def figures(case: Case) -> Iterator[tuple[str, str, str]]:
    """Error rates: what, with its interval and number, and the field of the card (or the data) that it is from."""
    decision = case.report.decision
    whence = {one.number: one.where or one.source for one in case.origins}
    several = len(decision.deliveries) > 1
    any_, each_ = (f" in {which} of {', '.join(decision.deliveries)}" if several else "" for which in ("any", "each"))
    for name, what in (
        ("false_positive", f"of real pictures are flagged{any_}"),
        ("missed", f"of generated pictures are called a photograph{any_}"),
        ("caught", f"of generated pictures are flagged{each_}"),
        ("passed", f"of real pictures are called a photograph{each_}"),
    ):
        rate = getattr(decision, name)
        if rate is not None:
            yield what, f"{interval(rate)}, n = {rate.n:,}", whence.get(f"/report/decision/{name}", "")
    for name, of, then in (
        ("false_positive_per_source", "real pictures of the source", "are flagged"),
        ("false_positive_unseen", "real pictures of the source", "would be flagged by a threshold set without it"),
        ("missed_unseen", "generated pictures of the source", "would be called a photograph by a threshold set without it"),
    ):
        each = whence.get(f"/report/decision/{name}", "")
        for source, rate in getattr(decision, name).items():
            at = f"{each}/{escaped(source)}" if each.startswith("/") else each
            yield f"of {of} {printable(source, 60)} {then}", f"{interval(rate)}, n = {rate.n:,}", printable(at, NAME)


def fields(claim: Claim) -> Iterator[tuple[str, str]]:
    """What a claim has to say, by name."""
    for name, text in claim.model_dump(exclude={"kind", "place", "trust"}, exclude_none=True).items():
        yield name.replace("_", " "), str(text)


def facts(case: Case) -> Iterator[tuple[str, str]]:
    """The file and how it was read."""
    of = case.report.picture
    yield "sha256", of.sha256
    yield "format", of.format
    yield "size", f"{of.width} x {of.height} pixels, {of.bytes:,} bytes"
    yield "colour mode", of.mode
    if of.jpeg_quality is not None:
        yield "JPEG quality, estimated", str(of.jpeg_quality)
    if of.notes:
        yield "how it was read", "; ".join(of.notes)
    if case.report.evidence is not None:
        yield "metadata that it carries", ", ".join(case.report.evidence.carries) or "none"


def technical(case: Case) -> Iterator[tuple[str, str]]:
    """Which detector, which weights, which settings."""
    of = case.report.detector
    yield "detector", f"{of.name}, bundle {of.bundle}"
    decision = case.report.decision
    if decision.groups > 1:
        yield "content group", f"{decision.group + 1} of {decision.groups}" if decision.group is not None else f"not known, of {decision.groups}"
    yield "fitted", f"{decision.fitted}"
    yield "runtime", f"{of.runtime} {of.runtime_version}, {of.precision}"
    yield "realgrain", of.realgrain
    yield "base tower", f"{of.base}, sha256 {case.weights.base}"
    yield "logit", f"{case.report.logit!r}, of views {', '.join(map(repr, case.report.view_logits))}"
    yield "tolerance of a logit", f"{case.tolerance:g} on other versions and processors"
    chosen = {name: given for name, given in case.settings.model_dump().items() if given is not None}
    yield "settings", "; ".join(f"{name.replace('_', '-')} {given}" for name, given in chosen.items())


def value(case: Case, pointer: str) -> str:
    """What a JSON pointer into the case leads to, shortly; empty for a part with several numbers that has no short form."""
    found: Any = case
    for key in pointer.removeprefix("/").split("/"):
        key = key.replace("~1", "/").replace("~0", "~")
        found = getattr(found, key) if isinstance(found, BaseModel) else found[key]
    if isinstance(found, Rate):
        return f"{interval(found)}, {found.k:,} of {found.n:,}"
    if isinstance(found, BaseModel):
        numbers = {name: number for name, number in found.model_dump().items() if isinstance(number, int | float) and not isinstance(number, bool)}
        return ", ".join(f"{name} {number:.6g}" for name, number in numbers.items())
    if isinstance(found, dict):
        return "; ".join(f"{printable(str(name), 60)} {value_of(of)}" for name, of in found.items())
    if isinstance(found, list):
        return ", ".join(map(value_of, found)) if all(isinstance(of, float) for of in found) else f"{len(found)} of them"
    return value_of(found)


def value_of(found: Any) -> str:
    """One number."""
    if isinstance(found, Rate):
        return f"{interval(found)}, {found.k:,} of {found.n:,}"
    return f"{found:.6g}" if isinstance(found, float) else printable(str(found), NAME)
