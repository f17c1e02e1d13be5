"""Which thresholds a verdict goes by, what they are known to cost, and the odds that follow."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from realgrain.detector import profiles
from realgrain.detector.bundle import Bundle, Card
from realgrain.detector.calibration import Calibration, Rate, rate_of, threshold
from realgrain.detector.thresholds import Logits, flags, standing, thresholds, unseen
from realgrain.picture.errors import printable

FEW = 20  # pictures of a source below which its rate is not looked at alone (our choice): two of two are 100 %, and say little


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Policy:
    """What a user asks of verdicts.

    Args:
        profile: where the pictures come from; None: photographs however delivered.
        max_fpr: share of real pictures that may be flagged at most, in (0, 1); None: the rate that the card's thresholds were chosen for.
        prior: share of AI-generated pictures among those that are judged, in (0, 1); None: no posterior.
        stability: look at re-saved views of each picture too.
        fuse: likelihood ratio of a trusted claim of a picture's origin (``fusion``), above 1; None: no claim is fused with anything.

    Raises:
        ValueError: a share outside (0, 1), or a ratio that is not above 1.
    """

    profile: str | None = None
    max_fpr: float | None = None
    prior: float | None = None
    stability: bool = True
    fuse: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_fpr", "prior"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise ValueError(f"{name.replace('_', '-')} must be above 0 and below 1, got {value}")
        if self.fuse is not None and not 1 < self.fuse < math.inf:
            raise ValueError(f"fuse must be above 1 and finite: how many times likelier a trusted claim is where it is true, got {self.fuse}")


class Worst(_Part):
    """Of the rates of some sources, the one with the highest lower end of its interval; sources of fewer than ``FEW`` pictures count together."""

    sources: tuple[str, ...]
    rate: Rate


class Decision(_Part):
    """Thresholds on the logit and their error rates, all from the card and the calibration data beside it.

    Attributes:
        profile: whose calibration data; None: the thresholds that training chose, of ``Card.operating_point``, where the card has no profile.
        group: of content, whose calibration pictures all of it is of; None: not known, so that each threshold and rate is that of the group in which
            it is most cautious.
        groups: how many there are.
        asked_fpr: highest false-positive rate asked for.
        held_fpr: rate that ``ai`` keeps with a confidence of 97.5 %, for pictures drawn as the calibration ones were: the upper end of the interval
            of ``false_positive``; above ``asked_fpr`` where the data cannot support that. None: no guarantee (``profile`` is None, or no data).
        supported: whether the data can support the rate asked for.
        ai: at or above it a picture is flagged; None: uncalibrated.
        camera: at or below it a picture is called ``camera``; None: none is.
        false_positive: real calibration pictures at or above ``ai`` in any delivery.
        missed: generated calibration pictures at or below ``camera`` in any.
        caught: generated calibration pictures at or above ``ai`` in each.
        passed: real calibration pictures at or below ``camera`` in each.
        false_positive_per_source: the same as ``false_positive`` for each real source.
        false_positive_unseen: of each real source in the group, at the threshold that the pictures of the others alone give: what a source gets that
            is not among them. Empty where there is one source only.
        missed_unseen: likewise of each generator (or source of generated pictures), at the other threshold.
        worst_false_positive_unseen: of ``false_positive_unseen``, the highest.
        worst_missed_unseen: of ``missed_unseen``, the highest.
        calibration: the probability scale.
        deliveries: in each of which the rates hold.
        fitted: day.
        bundle: sha256 of its card.
    """

    profile: str | None
    group: int | None = None
    groups: int = 1
    asked_fpr: float | None
    held_fpr: float | None = None
    supported: bool = True
    ai: float | None = None
    camera: float | None = None
    false_positive: Rate | None = None
    missed: Rate | None = None
    caught: Rate | None = None
    passed: Rate | None = None
    false_positive_per_source: dict[str, Rate] = {}
    false_positive_unseen: dict[str, Rate] = {}
    missed_unseen: dict[str, Rate] = {}
    worst_false_positive_unseen: Worst | None = None
    worst_missed_unseen: Worst | None = None
    calibration: Calibration | None = None
    deliveries: tuple[str, ...] = ()
    fitted: date
    bundle: str


class Posterior(_Part):
    """Bayes' rule in odds: posterior odds = prior odds x likelihood ratio.

    Attributes:
        prior: share of AI-generated pictures beforehand.
        prior_odds: prior / (1 - prior).
        likelihood_ratio: p / (1 - p), p being the probability at even odds.
        posterior_odds: their product.
        probability: posterior odds / (1 + posterior odds).
        arithmetic: the same in words.
    """

    prior: float = Field(gt=0, lt=1)
    prior_odds: float
    likelihood_ratio: float
    posterior_odds: float
    probability: float = Field(ge=0, le=1)
    arithmetic: str


def decision_of(bundle: Bundle, policy: Policy, group: int | None = None) -> Decision:
    """The thresholds of a bundle for what a user asks.

    Args:
        bundle: of the detector.
        policy: what is asked.
        group: of content, that a picture is in; None: not known.

    Raises:
        ValueError: a profile that is neither the card's nor a known name.
    """
    card = bundle.card
    if policy.profile is None and policy.max_fpr is None and profiles.PHOTO not in card.profiles:
        return trained(card, bundle.hash, group)
    name = policy.profile or profiles.PHOTO
    point = card.operating_point
    asked = policy.max_fpr if policy.max_fpr is not None else point.target_fpr if point else 0.05
    profile = card.profiles.get(name)
    if profile is None:
        if name not in (*profiles.NAMED, profiles.PHOTO):
            raise ValueError(f"no profile {name!r}; there are {', '.join(profiles.known(card.profiles))}")
        return Decision(profile=name, asked_fpr=asked, supported=False, fitted=card.made, bundle=bundle.hash)
    groups = profile.groups
    numbers = range(groups) if group is None or groups == 1 else [group]
    real = {number: profiles.from_arrays(name, number, "real", bundle.statistics) for number in range(groups)}
    each = [_of_group(bundle, name, number, asked, real) for number in numbers]
    found = each[0] if len(each) == 1 else _cautious(each, [profiles.from_arrays(name, number, "fake", bundle.statistics) for number in numbers])
    return Decision(
        profile=name,
        group=group if groups > 1 else None,
        groups=groups,
        asked_fpr=asked,
        held_fpr=None if found.false_positive is None else found.false_positive.high,
        **vars(found),
        calibration=None if (scale := profile.calibration or card.calibration) is None else scale.of(group),
        deliveries=profile.deliveries,
        fitted=profile.fitted,
        bundle=bundle.hash,
    )


def middle(found: Decision) -> float | None:
    """Between the two thresholds; that of ``ai`` where there is no other. None: uncalibrated."""
    return found.ai if found.ai is None or found.camera is None else (found.ai + found.camera) / 2


@dataclass(frozen=True)
class _Found:
    """What ``Decision`` has of one group."""

    supported: bool
    ai: float | None
    camera: float | None
    false_positive: Rate | None
    missed: Rate | None
    caught: Rate | None
    passed: Rate | None
    false_positive_per_source: dict[str, Rate]
    false_positive_unseen: dict[str, Rate]
    missed_unseen: dict[str, Rate]
    worst_false_positive_unseen: Worst | None
    worst_missed_unseen: Worst | None


_NOTHING = _Found(False, None, None, None, None, None, None, {}, {}, {}, None, None)


def _of_group(bundle: Bundle, name: str, group: int, asked: float, reals: Logits) -> _Found:
    """Thresholds by a profile's pictures, ``reals`` its photographs in all groups, for one group; without photographs in it there are none."""
    real, fake = reals[group], profiles.from_arrays(name, group, "fake", bundle.statistics)
    if not real:
        return _NOTHING
    point = bundle.card.operating_point
    own = standing(reals, asked)
    ai, supported = thresholds(reals, asked, own)[group]
    camera, missed, caught, missed_unseen = (
        (None, None, None, {}) if point is None else (min(ai, point.camera), point.missed if point.camera <= ai else None, None, {})
    )
    if fake:
        turned = _turned(fake)
        target = bundle.card.profiles[name].target_miss
        camera = min(ai, -threshold(profiles.pooled(turned), target)[0])
        missed, caught, missed_unseen = flags(turned, -camera), flags(fake, ai), unseen({group: turned}, group, target, frozenset({group}), -ai)
    each = {source: flags({source: logits}, ai) for source, logits in real.items()}
    flagged_unseen = unseen(reals, group, asked, own)
    worst = highest(flagged_unseen), highest(missed_unseen)
    passed = None if camera is None else flags(_turned(real), -camera)
    return _Found(supported, ai, camera, flags(real, ai), missed, caught, passed, each, flagged_unseen, missed_unseen, *worst)


def _turned(of: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The other way round, still sorted, so that the lower threshold can be found and counted at as the upper one is."""
    return {source: -logits[::-1] for source, logits in of.items()}


def highest(rates: dict[str, Rate]) -> Worst | None:
    """The worst of the rates of some sources; None of none."""
    few = {source: rate for source, rate in rates.items() if rate.n < FEW}
    found = [Worst(sources=(source,), rate=rate) for source, rate in rates.items() if source not in few]
    if few:
        found.append(Worst(sources=tuple(few), rate=rate_of(sum(rate.k for rate in few.values()), sum(rate.n for rate in few.values()))))
    return _surest(found)


def _surest(each: Iterable[Worst | None]) -> Worst | None:
    """The one with the highest lower end; None of none."""
    return max((one for one in each if one), key=lambda one: (one.rate.low, one.rate.value), default=None)


def _cautious(each: Sequence[_Found], fakes: Sequence[dict[str, np.ndarray]]) -> _Found:
    """What holds whichever group a picture is in; of ``fakes``, their generated pictures, the highest threshold flags fewer than their own do."""
    if any(of.ai is None for of in each):
        return _NOTHING
    ai = max(of.ai for of in each if of.ai is not None)
    return _Found(
        supported=all(of.supported for of in each),
        ai=ai,
        camera=None if any(of.camera is None for of in each) else min(of.camera for of in each if of.camera is not None),
        false_positive=_worst(of.false_positive for of in each),
        missed=_worst(of.missed for of in each),
        caught=_worst((flags(fake, ai) if fake else None for fake in fakes), least=True),
        passed=_worst((of.passed for of in each), least=True),
        false_positive_per_source=_worst_by_source(of.false_positive_per_source for of in each),
        false_positive_unseen=_worst_by_source(of.false_positive_unseen for of in each),
        missed_unseen=_worst_by_source(of.missed_unseen for of in each),
        worst_false_positive_unseen=_surest(of.worst_false_positive_unseen for of in each),
        worst_missed_unseen=_surest(of.worst_missed_unseen for of in each),
    )


def _worst_by_source(each: Iterable[dict[str, Rate]]) -> dict[str, Rate]:
    """Of each source, its highest rate in any group."""
    found: dict[str, Rate] = {}
    for source, rate in sorted((item for of in each for item in of.items()), key=lambda item: item[0]):
        found[source] = max(found.get(source, rate), rate, key=lambda one: one.value)
    return found


def _worst(rates: Iterable[Rate | None], *, least: bool = False) -> Rate | None:
    """The highest of some rates, or the lowest; None where one is not known."""
    found = list(rates)
    known = [rate for rate in found if rate is not None]
    return None if len(known) < len(found) else (min if least else max)(known, key=lambda rate: rate.low if least else rate.high)


def trained(card: Card, hash_: str, group: int | None = None) -> Decision:
    """The thresholds that training chose, with the rates that it measured, and the probability scale of a group of content; without thresholds, or a
    scale, nothing is decided.
    """
    point = card.operating_point
    if point is None or card.calibration is None:
        return Decision(profile=None, asked_fpr=None, supported=False, fitted=card.made, bundle=hash_)
    return Decision(
        profile=None,
        asked_fpr=point.target_fpr,
        ai=point.ai,
        camera=point.camera,
        false_positive=point.false_positive,
        missed=point.missed,
        false_positive_per_source=point.false_positive_per_source,
        calibration=card.calibration.of(group),
        deliveries=point.deliveries,
        fitted=card.made,
        bundle=hash_,
    )


def posterior(calibration: Calibration, logit: float, prior: float) -> Posterior:
    """What a logit makes of a prior."""
    evidence = max(-700.0, min(700.0, calibration.slope * logit + calibration.intercept))  # the logarithm of p / (1 - p); bounds keep it finite
    odds, ratio = prior / (1 - prior), math.exp(evidence)
    after = min(odds * ratio, 1e300)
    chance = after / (1 + after)
    words = (
        f"prior odds {prior:g} / {1 - prior:g} = {odds:.4g}; likelihood ratio p / (1 - p) = {ratio:.4g}; "
        f"posterior odds {odds:.4g} x {ratio:.4g} = {after:.4g}; posterior {after:.4g} / (1 + {after:.4g}) = {chance:.4g}"
    )
    return Posterior(prior=prior, prior_odds=odds, likelihood_ratio=ratio, posterior_odds=after, probability=chance, arithmetic=words)


def shortfall(found: Decision) -> str | None:
    """Why the rate that was asked for is not kept, and what is; None where it is kept."""
    if found.supported or found.asked_fpr is None:
        return None
    if found.false_positive is None or found.held_fpr is None:
        return (
            f"profile {found.profile} has no calibration data in this bundle: no verdicts. `realgrain calibrate` makes a profile of your own pictures"
        )
    return (
        f"at most {percent(found.asked_fpr)} cannot be supported by the {found.false_positive.n:,} real calibration pictures of profile "
        f"{found.profile}{in_group(found)}: the lowest rate that they can is {percent(found.held_fpr)}, which is what holds"
    )


def unmet(policy: Policy, found: Decision) -> str | None:
    """The same where somebody asked for a profile or a rate; None where nobody did, and the sentence of each verdict says it."""
    return None if policy.profile is None and policy.max_fpr is None else shortfall(found)


def percent(share: float) -> str:
    """A share with two significant digits, at least one after the point."""
    digits = 1 if share == 0 or share >= 0.01 else 1 - math.floor(math.log10(100 * share))
    return f"{100 * share:.{digits}f} %"


def interval(rate: Rate) -> str:
    """A rate as ``1.0 % [0.6-1.7]``."""
    return f"{percent(rate.value)} [{percent(rate.low)[:-2]}-{percent(rate.high)[:-2]}]"


def of_real(found: Decision, at: str = "at this threshold") -> str:
    """What the threshold of ``ai`` costs, with its numbers: the part of the sentence that is the same for each picture; empty where nothing is known.

    Args:
        found: by which it was decided.
        at: that threshold, in words.
    """
    rate = found.false_positive
    if rate is None:
        return ""
    what = "real photographs" if found.profile in (None, profiles.PHOTO, "camera", "web") else "real pictures"
    whose = f" (profile {found.profile}{in_group(found)})" if found.profile else ""
    text = (
        f"{at} {interval(rate)} of {what} from sources like yours{whose} are flagged, n = {rate.n:,}, fitted on {found.fitted}, "
        f"bundle {found.bundle[:12]}"
    )
    if unseen_worst := found.worst_false_positive_unseen:
        text += f"; of a source that the threshold was set without, at worst {named(unseen_worst)}: yours may be such a source"
    elif len(found.false_positive_per_source) > 1 and (worst := highest(found.false_positive_per_source)):
        text += f"; of the worst source, {named(worst)}: yours may differ"
    short = shortfall(found)
    return text + (f"; {short}" if short else "")


def tells_little(label: str, found: Decision) -> bool | None:
    """Whether a verdict, however seldom wrong, is not surely given more often where it is right: to generated pictures, or to photographs; None where
    that is not known.
    """
    right, wrong = (found.caught, found.false_positive) if label == "ai" else (found.passed, found.missed)
    return None if right is None or wrong is None else right.low <= wrong.high


def worth(label: str, found: Decision) -> str:
    """How often a verdict is given where it is right, in each delivery, and whether that tells anything; empty where it is not known."""
    right = found.caught if label == "ai" else found.passed
    if right is None or found.false_positive is None or (label == "camera" and found.missed is None):
        return ""
    each = f" in each of {', '.join(found.deliveries)}" if len(found.deliveries) > 1 else ""
    if label == "ai":
        text, little = f"; of generated pictures {interval(right)} are flagged", "not surely more than of photographs: a flag tells little here"
    else:
        text, little = f"; of photographs {interval(right)} are called so", "not surely more than of generated pictures: this tells little here"
    text += f"{each}, n = {right.n:,}"
    return f"{text}, {little}" if tells_little(label, found) else text


def named(worst: Worst) -> str:
    """A rate, and of whose pictures."""
    return f"{interval(worst.rate)} (n = {worst.rate.n:,}, {printable(', '.join(worst.sources), 60)})"


def in_group(found: Decision) -> str:
    """Which group of content a decision is for, to follow a profile's name; empty where there is one only."""
    if found.groups == 1:
        return ""
    return f", content group {found.group + 1} of {found.groups}" if found.group is not None else f", worst of {found.groups} content groups"


def sentence(label: str, why: str, found: Decision) -> str:
    """A verdict in one sentence with its error rate.

    Args:
        label: ``ai``, ``camera`` or ``unsure``.
        why: it is unsure, in words.
        found: by which it was decided.
    """
    if label == "ai":
        return f"flagged; {of_real(found)}{worth(label, found)}"
    cost = of_real(found, "where 'AI-generated' is said,")
    if label == "camera":
        passed = "" if found.missed is None else f"; {interval(found.missed)} of generated pictures are called so too, n = {found.missed.n:,}"
        passed += worth(label, found)
        if found.worst_missed_unseen:
            passed += f"; of a generator that this was set without, at worst {named(found.worst_missed_unseen)}"
        return f"not flagged, called a photograph{passed}; {cost}"
    short = "" if cost else shortfall(found) or "this detector is not calibrated"
    return f"unsure: {why}; {cost or short}"
