"""Where each number of a case report comes from: a field of the detector's card, the data beside it, the picture, the user, or other numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict

from realgrain.detector import profiles
from realgrain.detector.bundle import Bundle
from realgrain.detector.content import CENTRES
from realgrain.detector.decision import Decision
from realgrain.detector.thresholds import standing
from realgrain.detector.verdict import Report
from realgrain.evidence.regions import QUALITY, TIMES, Regions

Source = Literal["card", "data", "picture", "user", "computed"]
SOURCES: dict[Source, str] = {
    "card": "the detector's card, card.json",
    "data": "statistics.safetensors beside the card, whose sha256 is in it",
    "picture": "measured on this picture",
    "user": "the user's choice",
    "computed": "computed from the others",
}

MEASURED, THRESHOLD = "as measured when it was trained, or calibrated", ("threshold", "false_alarm")


class Origin(BaseModel):
    """Where a number comes from.

    Attributes:
        number: which, or which part with several: JSON pointer (RFC 6901) into the case.
        source: what kind of place.
        where: JSON pointer into ``card.json``, to the same value; tensors of the data; or JSON pointers into the case; empty where neither.
        how: in words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: str
    source: Source
    where: str = ""
    how: str


def origins(report: Report, where: Regions | None, bundle: Bundle) -> list[Origin]:
    """The origin of every number of a case, in the order in which a reader meets them."""
    found = [
        _of("/report/picture", "picture", how="read from the file"),
        _of(
            "/report/view_logits", "picture", "", f"the detector on {len(report.view_logits)} views; its weights are those whose sha256 the card has"
        ),
        _of("/report/logit", "computed", "/report/view_logits", "their mean"),
    ]
    scale = "1 / (1 + exp(-(slope x logit + intercept)))"
    if report.probability is not None:
        found.append(_of("/report/probability", "computed", "/report/logit /report/decision/calibration", scale))
    found += _decision(report, bundle)
    if report.stability is not None:
        found.append(_of("/report/stability/views", "picture", "", f"the detector on the picture saved again; probabilities: {scale}"))
        ends = [name for name in ("minimum", "median", "maximum") if getattr(report.stability, name) is not None]
        found += [_of(f"/report/stability/{name}", "computed", "/report/stability/views", f"{name} of the probabilities") for name in ends]
    if report.domain is not None:
        found.append(_of("/report/domain/distance", "data", "domain/*", "from this picture's feature to those of training pictures"))
        if CENTRES in bundle.statistics:
            found.append(_of("/report/domain/group", "data", CENTRES, "the nearest to this picture's feature"))
        else:
            found.append(_of("/report/domain/group", "computed", "", "there are no groups of content: all pictures are of one"))
        found += [_of(f"/report/domain/{name}", "card", f"{_start(report, bundle, 'domain')}/{name}", MEASURED) for name in THRESHOLD]
    if report.borders is not None:
        found.append(_of("/report/borders/length", "picture", "", "the two longest straight borders of even areas, by the longer side"))
        found += [_of(f"/report/borders/{name}", "card", f"{_start(report, bundle, 'borders')}/{name}", MEASURED) for name in THRESHOLD]
    if report.posterior is not None:
        found.append(_of("/report/posterior/prior", "user", "", "--prior"))
        found.append(_of("/report/posterior", "computed", "/report/posterior/prior /report/probability", "Bayes' rule; its arithmetic is shown"))
    if report.fused is not None:
        found.append(_of("/report/fused/ratio", "user", "", "--fuse: an assumption"))
        found.append(_of("/report/fused", "computed", "/report/fused/ratio /report/probability", "by the rule and the arithmetic that it states"))
    if where is not None:
        found.append(_of("/regions/tiles", "picture", "", f"the detector on each tile, and on the same tile saved as JPEG {QUALITY}"))
        found.append(_of("/regions", "computed", "/regions/tiles", f"standard deviations; localised: spread above {TIMES:g} x wobble"))
    graph = bundle.card.runtimes.get(report.detector.runtime)
    if graph is not None:
        found.append(_of("/tolerance", "card", f"/runtimes/{escaped(report.detector.runtime)}/tolerance", "of this runtime, by the export gate"))
    else:
        found.append(_of("/tolerance", "computed", "", "the export gate's for f32 graphs; the card states none for this runtime"))
    found.append(_of("/settings", "user", "", "options of the command"))
    return found


def _start(report: Report, bundle: Bundle, field: str) -> str:
    """Where in the card the profile's own field is, or else the card's."""
    named = report.decision.profile or profiles.PHOTO
    own = getattr(bundle.card.profiles.get(named), field, None) is not None
    return f"/profiles/{escaped(named)}/{field}" if own else f"/{field}"


def _decision(report: Report, bundle: Bundle) -> Iterator[Origin]:
    decision = report.decision
    if decision.profile in bundle.card.profiles:
        where = f"/profiles/{escaped(decision.profile)}/groups"
        yield _of("/report/decision/groups", "card", where, "groups of content with thresholds of their own")
    else:
        yield _of("/report/decision/groups", "computed", "", "without calibration data, none are told apart")
    if decision.ai is not None:
        yield from _trained(report) if decision.profile is None else _profiled(report, bundle)
        if decision.held_fpr is not None:
            yield _of("/report/decision/held_fpr", "computed", "/report/decision/false_positive/high", "the same number")
    elif decision.asked_fpr is not None:
        yield from _asked(bundle, decision.asked_fpr)
    if decision.calibration is not None:
        name = decision.profile
        own = name is not None and bundle.card.profiles[name].calibration is not None
        scale = bundle.card.profiles[name].calibration if own else bundle.card.calibration
        where = f"/profiles/{escaped(name)}/calibration" if own else "/calibration"
        if scale is not None and scale.groups and report.domain is not None:
            where += f"/groups/{report.domain.group}"
        yield _of("/report/decision/calibration", "card", where, "fitted once")


def _trained(report: Report) -> Iterator[Origin]:
    point, how = "/operating_point", "as measured when it was trained, on sources left out of training"
    yield _of("/report/decision/asked_fpr", "card", f"{point}/target_fpr", "chosen when it was trained")
    yield _of("/report/decision/ai", "card", f"{point}/ai", how)
    yield _of("/report/decision/camera", "card", f"{point}/camera", how)
    for name in ("false_positive", "missed", "false_positive_per_source"):
        yield _of(f"/report/decision/{name}", "card", f"{point}/{name}", how)
    if report.verdict.threshold is not None:
        for name, field in (("threshold", "ai"), ("false_positive", "false_positive"), ("missed", "missed")):
            yield _of(f"/report/verdict/{name}", "card", f"{point}/{field}", how)
    yield _of("/report/decision/fitted", "card", "/made", "day of training")


def _profiled(report: Report, bundle: Bundle) -> Iterator[Origin]:
    decision, name = report.decision, report.decision.profile or ""
    if decision.asked_fpr is not None:
        yield from _asked(bundle, decision.asked_fpr)
    groups = range(decision.groups) if decision.group is None else [decision.group]
    start = f"profile/{name}/{'*' if len(groups) > 1 else groups[0]}"
    of = {"real": f"{start}/real/*", "fake": f"{start}/fake/*"}
    has_fake = all(profiles.from_arrays(name, group, "fake", bundle.statistics) for group in groups)
    if decision.group is not None:
        yield _of("/report/decision/group", "computed", "/report/domain/group", "the same number")
    yield _ai(decision, of["real"], bundle)
    if decision.camera is not None:
        if has_fake:
            yield _of("/report/decision/camera", "data", of["fake"], "highest threshold likewise, for the generated ones that pass")
        else:
            yield _of("/report/decision/camera", "computed", "/report/decision/ai", "the lower of this and the card's /operating_point/camera")
    for part, kind in (("false_positive_unseen", "real"), ("missed_unseen", "fake")):
        if getattr(decision, part):
            how = "of each source, counted at the threshold that the others alone give; exact 95 % interval"
            yield _of(f"/report/decision/{part}", "data", of[kind], how)
            yield _of(f"/report/decision/worst_{part}", "computed", f"/report/decision/{part}", "the highest; sources of few pictures together")
    for part, kind in (("false_positive", "real"), ("false_positive_per_source", "real"), ("missed", "fake"), ("caught", "fake"), ("passed", "real")):
        if getattr(decision, part) is None:
            continue
        if kind == "fake" and not has_fake:
            yield _of(f"/report/decision/{part}", "card", f"/operating_point/{part}", "as measured when it was trained")
        else:
            yield _of(f"/report/decision/{part}", "data", of[kind], "counted; exact 95 % interval")
    for part, field in (("threshold", "ai"), ("false_positive", "false_positive"), ("missed", "missed")):
        if getattr(report.verdict, part) is not None:
            yield _of(f"/report/verdict/{part}", "computed", f"/report/decision/{field}", "the same number")
    yield _of("/report/decision/fitted", "card", f"/profiles/{escaped(name)}/fitted", "day of calibration")


def _ai(decision: Decision, where: str, bundle: Bundle) -> Origin:
    name, how = decision.profile or "", "lowest threshold whose false-positive rate is at most the one asked for, at 97.5 % confidence"
    real = {group: profiles.from_arrays(name, group, "real", bundle.statistics) for group in range(decision.groups)}
    if decision.group is not None and decision.asked_fpr is not None and decision.group not in standing(real, decision.asked_fpr):
        where, how = f"profile/{name}/*/real/*", f"{how}: the highest of all groups, as this one has hardly more than one source"
    return _of("/report/decision/ai", "data", where, how)


def _asked(bundle: Bundle, asked: float) -> Iterator[Origin]:
    point = bundle.card.operating_point
    if point is not None and asked == point.target_fpr:
        yield _of("/report/decision/asked_fpr", "card", "/operating_point/target_fpr", "chosen when it was trained, or with --max-fpr")
    else:
        yield _of("/report/decision/asked_fpr", "user", "", "--max-fpr, or 5 % where none is given")


def _of(number: str, source: Source, where: str = "", how: str = "") -> Origin:
    return Origin(number=number, source=source, where=where, how=how)


def escaped(key: str) -> str:
    """A key as a JSON pointer has it."""
    return key.replace("~", "~0").replace("/", "~1")
