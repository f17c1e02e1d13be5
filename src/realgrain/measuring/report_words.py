"""A run in words: what was tested, what is best and worst, what happens when pictures are sent on, and how sure all of it is."""

from __future__ import annotations

import numpy as np

from realgrain.detector.calibration import Rate, rate
from realgrain.measuring.audit_tables import conclusion
from realgrain.measuring.benchmarks import NAMES, benchmark
from realgrain.measuring.finished import Finished
from realgrain.measuring.learned_from import in_words
from realgrain.measuring.resampling import FPR_LIMITS
from realgrain.measuring.results import OWN, ConditionResult, Estimate, Mean
from realgrain.measuring.suspect import suspect
from realgrain.measuring.unsure import unsure
from realgrain.picture.errors import printable

DELIVERED = {
    "jpeg-60": "saved as JPEG of quality 60",
    "jpeg-30": "saved as JPEG of quality 30",
    "web": "as sent over the web (longest side 768, JPEG 60)",
    "hard": "as sent over the web with less care (512, JPEG 40)",
    "jpeg96-aligned": "with both classes saved as JPEG 96, so that the format cannot tell",
}
"""Conditions that the summary speaks of, where the run has them."""
FEW = 30  # pictures of a group below which its share says little (our choice)


def summary(run: Finished) -> list[str]:
    """Sentences, the most important first."""
    return [
        _tested(run),
        in_words(run.evaluation.learned),
        *_whole(run),
        *suspect(run.evaluation),
        *_groups(run),
        *_deliveries(run),
        *_sure(run),
        _audited(run),
    ]


def title(run: Finished) -> str:
    """What people call the benchmark."""
    name = run.lock.benchmark
    return benchmark(name).card.title if name in NAMES else printable(name)


def estimate(of: Estimate | None) -> str:
    """``0.912 (0.880 to 0.941)``."""
    if of is None or of.value is None:
        return "–"
    return f"{of.value:.3f}" + ("" if of.low is None or of.high is None else f" ({of.low:.3f} to {of.high:.3f})")


def lowest(of: Mean | None) -> str:
    """``glide 0.612``: the worst of what a mean averages."""
    if of is None or of.worst is None or of.worst_value is None:
        return "–"
    return f"{_group(of.worst)} {of.worst_value:.3f}"


def share(of: Rate | Estimate) -> str:
    """``91 % (88 to 94)``."""
    if of.value is None:
        return "–"
    interval = "" if of.low is None or of.high is None else f" ({100 * of.low:.0f} to {100 * of.high:.0f})"
    return f"{100 * of.value:.0f} %{interval}"


def _tested(run: Finished) -> str:
    lock, of = run.lock, run.result
    protocol = lock.protocol
    part = f", split {protocol.split}" if protocol.split else ""
    limit = f", at most {protocol.limit} of each set, label and source" if protocol.limit else ""
    failed = f" {of.n_failed} could not be read." if of.n_failed else ""
    return printable(
        f"{lock.bundle.name} judged {of.n_real} real pictures of {_many(len(of.fpr_per_source) or len(of.real_sources), 'source')} and {of.n_fake} "
        f"generated pictures of {_many(len(of.recall_per_generator) or len(of.generators), 'generator')} from {title(run)}{part}{limit}.{failed}",
        1000,
    )


def _many(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _whole(run: Finished) -> list[str]:
    of, name = run.result.metrics, _named(run)
    if of["auc"].value is None:
        return [f"{name}, AUC is not defined: both real and generated pictures are needed."]
    pairs = 100 * (of["auc"].value or 0)
    found = [f"{name}, it ranks a generated picture above a real one in {pairs:.0f} % of pairs: AUC {estimate(of['auc'])}."]
    if of["tpr_at_threshold"].value is not None:
        caught, flagged = _shares(run, run.result)
        found.append(
            f"At {OWN}, it finds {caught} of the generated ones and flags {flagged} of the real ones. It had them before it saw these pictures."
        )
    return found


def _shares(run: Finished, of: ConditionResult) -> tuple[str, str]:
    """Of the generated pictures that are found, and of the real ones that are flagged.

    With exact intervals where pictures are drawn alone: no resample ever moves a share of 0 or 1.
    """
    caught, flagged = of.metrics["tpr_at_threshold"], of.metrics["fpr_at_threshold"]
    if run.evaluation.clusters is not None:
        return share(caught), share(flagged)
    return _exact(caught.value, of.n_fake), _exact(flagged.value, of.n_real)


def _exact(value: float | None, n: int) -> str:
    return "–" if value is None or not n else share(rate(np.arange(n) < round(value * n)))


def _named(run: Finished) -> str:
    return "On clean pictures" if run.first == "clean" else f"In the condition {run.first}"


def _groups(run: Finished) -> list[str]:
    of, found = run.result, []
    made = _ends(of.recall_per_generator)
    if made and of.recall_per_generator[made[0]].value == of.recall_per_generator[made[1]].value:
        found.append(f"All generators are found equally often, {share(of.recall_per_generator[made[0]])}.")
    elif made:
        best, worst = made
        found.append(
            f"Of the generators, {_group(best)} is found best, {share(of.recall_per_generator[best])}, and {_group(worst)} worst, "
            f"{share(of.recall_per_generator[worst])}."
        )
    taken = _ends(of.fpr_per_source)
    if taken and of.fpr_per_source[taken[0]].value == of.fpr_per_source[taken[1]].value:
        found.append(f"Pictures of all real sources are equally often taken for generated, {share(of.fpr_per_source[taken[0]])}.")
    elif taken:
        most, least = taken
        found.append(
            f"Of the real sources, {_group(most)} is most often taken for generated, {share(of.fpr_per_source[most])}, and {_group(least)} least, "
            f"{share(of.fpr_per_source[least])}."
        )
    return found


def _ends(rates: dict[str, Rate]) -> tuple[str, str] | None:
    """Names with the highest and the lowest rate; of equals, the one with most pictures."""
    if len(rates) < 2:
        return None
    return max(rates, key=lambda name: (rates[name].value, rates[name].n)), min(rates, key=lambda name: (rates[name].value, -rates[name].n))


def _group(name: str) -> str:
    return printable(name, 60) or "(unnamed)"


def _deliveries(run: Finished) -> list[str]:
    others = {name: run.evaluation.conditions[name] for name in DELIVERED if name in run.evaluation.conditions and name != run.first}
    if not others:
        return ["What compression does to it was not tried: this run has none of the conditions jpeg, web and hard."]
    return [f"{DELIVERED[name][0].upper()}{DELIVERED[name][1:]}: {_change(run, of)}." for name, of in others.items()]


def _change(run: Finished, of: ConditionResult) -> str:
    before, now = run.result.metrics["auc"], of.metrics["auc"]
    if before.value is None or now.value is None:
        return "AUC is not defined"
    words = f"AUC {'falls' if now.value < before.value else 'rises'} from {before.value:.3f} to {estimate(now)}"
    if f"{before.value:.3f}" == f"{now.value:.3f}":
        words = f"AUC stays at {estimate(now)}"
    elif before.low is not None and before.high is not None and now.low is not None and now.high is not None:
        words += ", ranges overlap" if max(before.low, now.low) <= min(before.high, now.high) else ""
    if of.metrics["tpr_at_threshold"].value is None:
        return words
    caught, flagged = _shares(run, of)
    return f"{words}; it then finds {caught} of the generated and flags {flagged} of the real"


def _sure(run: Finished) -> list[str]:
    of, evaluation = run.result, run.evaluation
    alike = f", {evaluation.clusters} by {evaluation.clusters}" if evaluation.clusters else ""
    exact = "of shares by group exact ones" if evaluation.clusters else "of shares exact ones"
    found = [
        f"Ranges are 95 % intervals: {exact}, of all else from {evaluation.resamples} bootstrap resamples{alike}. "
        "They say how far other pictures of the same kinds could move a figure, and nothing of other generators or other cameras."
        if evaluation.resamples
        else "There are no resamples: only shares have intervals, exact ones of 95 %."
    ]
    found += unsure(evaluation, [run.first])
    counts = [one.n for rates in (of.recall_per_generator, of.fpr_per_source) for one in rates.values()]
    few = sum(n < FEW for n in counts)
    if few:
        found.append(f"{few} of {len(counts)} groups have fewer than {FEW} pictures, the smallest {min(counts)}: do not rank them by such shares.")
    unseen = [f"{100 * limit:g} %" for limit in FPR_LIMITS.values() if limit * of.n_real < 1]
    if of.n_real and unseen:
        found.append(
            f"With {of.n_real} real pictures a false-positive rate below {100 / of.n_real:.2g} % cannot be seen: recall at {' or '.join(unseen)} "
            "is recall without a single false alarm."
        )
    if run.lock.protocol.limit:
        found.append("The number of pictures was limited: this is a first look, not the benchmark's figure.")
    return found


def _audited(run: Finished) -> str:
    if run.audit is None:
        return "The pictures were not audited: `realgrain bench run` with the same arguments does."
    return f"Audit: {conclusion(run.audit)}."
