"""Pixels and trusted claims together, for who asks for it: a second probability beside the first, by one rule that says what it supposes.

Nothing here is measured. How much likelier a trusted claim is where it is true than where it is false, nobody knows: the user says it. So it never
enters logit, probability or verdict, whose error rates hold for pixels alone. The rule is our choice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from realgrain.detector.calibration import Calibration
from realgrain.detector.decision import posterior
from realgrain.evidence.claims import Claim, Evidence

CREATED = "c2pa.created"
GENERATED = frozenset({"trainedAlgorithmicMedia"})
CAPTURED = frozenset({"computationalCapture", "digitalCapture"})
"""Digital source types that count; composites are neither."""
RULE = (
    "Fusing counts only C2PA claims whose signature holds and whose signer is on your trust list, and of these only that the picture was created "
    "(c2pa.created) by a trained model (trainedAlgorithmicMedia) or captured by a camera (digitalCapture, computationalCapture). However many there "
    "are, they count once, with the likelihood ratio of {ratio:g} that you gave: how many times likelier such a claim is where it is true than "
    "where it is false. That is your assumption, not a measurement. Where they contradict each other, or where another trusted claim says that a "
    "model made a part of the picture, they do not count. Unsigned, untrusted and invalid claims never count, nor does absence. Logit, probability "
    "and verdict, and their error rates, stay those of the pixels."
)


class Fused(BaseModel):
    """Bayes' rule in odds: posterior odds = prior odds x likelihood ratio of the pixels x likelihood ratio of the claims.

    Attributes:
        ratio: that the user gave a trusted claim, above 1.
        says: what the trusted claims come to: ``ai``, ``camera``, or None: none counts.
        claims: those that count, in words.
        prior: share of AI-generated pictures beforehand; 0.5 where the user gave none.
        before: probability by the pixels alone at that prior.
        pixel_ratio: p / (1 - p), p being the probability at even odds.
        claim_ratio: ``ratio`` for ``ai``, 1 / ``ratio`` for ``camera``, 1 where none counts.
        probability: posterior odds / (1 + posterior odds).
        rule: in words.
        arithmetic: the same for this picture, with its numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ratio: float = Field(gt=1)
    says: Literal["ai", "camera"] | None
    claims: list[str]
    prior: float = Field(gt=0, lt=1)
    before: float = Field(ge=0, le=1)
    pixel_ratio: float
    claim_ratio: float
    probability: float = Field(ge=0, le=1)
    rule: str
    arithmetic: str


def fuse(calibration: Calibration, logit: float, evidence: Evidence, ratio: float, prior: float | None = None) -> Fused:
    """What a logit and the trusted claims of its file make of a prior.

    Args:
        calibration: the probability scale.
        logit: of the picture.
        evidence: of its file.
        ratio: above 1.
        prior: in (0, 1); None: even odds.
    """
    says, claims = counted(evidence.claims)
    start = 0.5 if prior is None else prior
    alone = posterior(calibration, logit, start)
    odds, pixels = alone.prior_odds, alone.likelihood_ratio
    claim = 1.0 if says is None else ratio if says == "ai" else 1 / ratio
    after = min(odds * pixels * claim, 1e300)
    chance = after / (1 + after)
    counts = {"ai": "trusted claims of a trained model", "camera": "trusted claims of a camera", None: "no claim counts"}[says]
    words = (
        f"prior odds {odds:.4g}; likelihood ratio of the pixels {pixels:.4g}; of the claims {claim:.4g} ({counts}); "
        f"posterior odds {odds:.4g} x {pixels:.4g} x {claim:.4g} = {after:.4g}; probability {after:.4g} / (1 + {after:.4g}) = {chance:.4g}, "
        f"against {alone.probability:.4g} by the pixels alone"
    )
    return Fused(
        ratio=ratio,
        says=says,
        claims=[f"{claim.heading()}: {claim.words()}" for claim in claims],
        prior=start,
        before=alone.probability,
        pixel_ratio=pixels,
        claim_ratio=claim,
        probability=chance,
        rule=RULE.format(ratio=ratio),
        arithmetic=words,
    )


def counted(claims: Iterable[Claim]) -> tuple[Literal["ai", "camera"] | None, list[Claim]]:
    """What trusted claims come to by the rule, and those that count."""
    trusted = [claim for claim in claims if claim.kind == "c2pa" and claim.trust == "signed-trusted"]
    created = [claim for claim in trusted if claim.action == CREATED]
    generated = [claim for claim in created if claim.source_type in GENERATED]
    captured = [claim for claim in created if claim.source_type in CAPTURED]
    if generated and not captured:
        return "ai", generated
    if captured and not any(claim.of_model for claim in trusted):
        return "camera", captured
    return None, []
