"""The JSON contract: what every face of realgrain says of a picture."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from realgrain.detector.bundle import Card
from realgrain.detector.calibration import Rate, probability
from realgrain.detector.decision import Decision, Posterior, middle, sentence, tells_little, trained
from realgrain.detector.domain import Borders, InDomain
from realgrain.detector.fusion import Fused
from realgrain.detector.stability import Stability
from realgrain.evidence.claims import Evidence
from realgrain.picture.image import Picture

Label = Literal["ai", "camera", "unsure"]
Reason = Literal["near_threshold", "unstable", "too_small", "out_of_domain", "uncalibrated"]
WHY: dict[Reason, str] = {
    "near_threshold": "between thresholds",
    "too_small": "picture too small",
    "uncalibrated": "no calibration",
    "unstable": "changes with a re-save",
    "out_of_domain": "not like the pictures it was validated on",
}

FRAMED = "long straight borders of one colour, as a screenshot, a page or a frame has: cut the photograph out of it and judge that"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileFacts(_Part):
    """The file and how it was read; ``notes`` names every treatment of its pixels (alpha, orientation, frames, ...)."""

    name: str
    sha256: str
    bytes: int
    format: str
    width: int
    height: int
    mode: str
    jpeg_quality: int | None
    notes: list[str]


class Verdict(_Part):
    """A decision with its error rates.

    Attributes:
        label: ``ai`` (AI-generated), ``camera`` (a photograph), or ``unsure``.
        reasons: why it is unsure; empty otherwise.
        threshold: logit at or above which ``ai`` is said; None where the detector is uncalibrated.
        false_positive: share of real validation photographs, of sources unseen in training, that this threshold flags; None likewise.
        missed: share of generated validation pictures, of sources unseen in training, that are called ``camera``; None likewise.
        tells_little: whether it is not surely said more often where it is right than where it is wrong, however seldom that is; None where that is
            not known, and of ``unsure``.
    """

    label: Label
    reasons: list[Reason] = []
    threshold: float | None = None
    false_positive: Rate | None = None
    missed: Rate | None = None
    tells_little: bool | None = None


class DetectorFacts(_Part):
    """Which detector spoke, exactly."""

    name: str
    bundle: str
    base: str
    runtime: str
    precision: str
    runtime_version: str
    realgrain: str


class Report(_Part):
    """Everything that realgrain says of one picture. The same picture, bundle and runtime give the same report, byte for byte.

    Attributes:
        version: of this schema.
        logit: mean of the views' logits; higher: more likely AI-generated.
        view_logits: one for each view of the card's ViewSpec.
        probability: calibrated, at even odds of the two classes; None where the detector is uncalibrated.
        sentence: the verdict in words, with its error rate.
        decision: the thresholds that it went by, and what they are known to cost.
        stability: what it says of the picture saved again; None where that was not looked at.
        domain: where it lies among the training pictures; None where bundle or runtime do not tell.
        borders: its straight ones, of which a screenshot has longer ones than a photograph; None where the bundle does not tell.
        posterior: what the probability makes of the prior that the user gave; None without one.
        evidence: what the file says of itself, which has no influence on anything above; None where it was not looked at.
        fused: a second probability, of pixels and trusted claims together, beside the first; None unless the user asked for it.
    """

    version: Literal[2] = 2
    picture: FileFacts
    logit: float
    view_logits: list[float]
    probability: float | None = Field(ge=0, le=1)
    verdict: Verdict
    sentence: str
    decision: Decision
    stability: Stability | None = None
    domain: InDomain | None = None
    borders: Borders | None = None
    posterior: Posterior | None = None
    detector: DetectorFacts
    evidence: Evidence | None = None
    fused: Fused | None = None


def facts(picture: Picture) -> FileFacts:
    """What the report says of the file."""
    kept = {name: getattr(picture, name) for name in FileFacts.model_fields if name != "notes"}
    return FileFacts(**kept, notes=list(picture.notes))


def decide(
    logit: float,
    smallest_side: int,
    card: Card,
    decision: Decision | None = None,
    stability: Stability | None = None,
    domain: InDomain | None = None,
    borders: Borders | None = None,
) -> tuple[Verdict, float | None]:
    """Verdict and probability of a logit.

    Args:
        logit: of the picture.
        smallest_side: of the picture, in pixels.
        card: of the detector.
        decision: thresholds; without ``ai`` among them the verdict is ``unsure: uncalibrated``. None: those of the card.
        stability: the verdict stands only where all of its logits are on its side of the middle between the thresholds, so that no re-save is nearer
            to the other verdict than to this one: it can become ``unsure: unstable``, never another one (our choice: docs/decisions/0015).
        domain: outside of it the verdict is ``unsure: out_of_domain``.
        borders: with longer ones than photographs have, likewise.
    """
    point = trained(card, "") if decision is None else decision
    chance = None if point.calibration is None else float(probability(point.calibration, logit))
    if point.ai is None:
        return Verdict(label="unsure", reasons=["uncalibrated"]), chance
    reasons: list[Reason] = []
    if smallest_side < card.smallest_side:
        reasons.append("too_small")
    if (domain is not None and domain.outside) or (borders is not None and borders.outside):
        reasons.append("out_of_domain")
    if logit < point.ai and (point.camera is None or logit > point.camera):
        reasons.append("near_threshold")
    elif stability is not None and not _one_side(stability.logits, middle(point)):
        reasons.append("unstable")
    label: Label = "unsure" if reasons else "ai" if logit >= point.ai else "camera"
    verdict = Verdict(
        label=label,
        reasons=reasons,
        threshold=point.ai,
        false_positive=point.false_positive,
        missed=point.missed,
        tells_little=None if label == "unsure" else tells_little(label, point),
    )
    return verdict, chance


def _one_side(logits: list[float], between: float | None) -> bool:
    return between is not None and (min(logits) >= between or max(logits) < between)


def explained(verdict: Verdict, decision: Decision, borders: Borders | None = None) -> str:
    """A verdict in one sentence."""
    said = sentence(verdict.label, ", ".join(WHY[reason] for reason in verdict.reasons), decision)
    if "out_of_domain" in verdict.reasons:
        said += "; these rates are of other pictures than this one" if decision.false_positive else ""
        said += f"; it has {FRAMED}" if borders is not None and borders.outside else ""
    return said
