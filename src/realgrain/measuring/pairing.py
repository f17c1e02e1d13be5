"""Two runs on the same pictures: what differs, and whether by more than chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict
from sklearn import metrics as sk

from realgrain.detector.calibration import CONFIDENCE
from realgrain.measuring.delong import delong_test
from realgrain.measuring.lock import SHORT, BundleRef, Lock, RuntimeRef, differences, read_lock
from realgrain.measuring.paired_sets import AUC, BALANCED, OVER_SETS, Scored, Sets, means_of, shared_sets, texts
from realgrain.measuring.resampling import FEWEST, ROUNDING, Bools, Floats, Names, averaged, clusters_of, resample_counts, units
from realgrain.measuring.running import SCORES, read_scores

Key = tuple[str, int]
"""Sha256 of a picture, and how often it has come before in the condition."""


class PairingError(ValueError):
    """Two runs cannot be compared. The message says why."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Side(_Frozen):
    """One of the two runs."""

    benchmark: str
    bundle: BundleRef
    runtime: RuntimeRef


class Paired(_Frozen):
    """A metric in [0, 1] of both runs on the same pictures.

    Attributes:
        difference: ``b`` less ``a``.
        low: of its 95 % paired bootstrap interval, both runs on the same resamples; None without resamples, where a class has fewer than ``FEWEST``
            pictures, or clusters, and where runs that rank or decide otherwise differ by the same in every resample, which is no certainty.
        high: likewise.
        p: of a test that there is no difference: DeLong's for AUC, an exact sign test for balanced accuracy; None where it says nothing, and of
            means over sets, which have none.
    """

    a: float
    b: float
    difference: float
    low: float | None
    high: float | None
    p: float | None


class PairedCondition(_Frozen):
    """Both runs in one condition, on the pictures that both have scored.

    Attributes:
        only_a: pictures that only A scored, or only A could open.
        only_b: likewise.
        auc: with DeLong's test; None where a class is missing.
        balanced_accuracy: each at its own thresholds, with the sign test; None where a class or a threshold is missing.
        n_clusters: real and fake clusters behind the intervals; None where each picture was drawn alone.
        n_sets: that both runs have, and name alike for each picture; 0 without sets, or where they are named otherwise.
        over_sets: metric -> its plain mean over those sets, each counting alike; without a metric that one of them has not.
    """

    n_real: int
    n_fake: int
    only_a: int
    only_b: int
    auc: Paired | None
    balanced_accuracy: Paired | None
    n_clusters: dict[str, int] | None = None
    n_sets: int = 0
    over_sets: dict[str, Paired] = {}


class PairedRuns(_Frozen):
    """A comparison of two runs, with what is needed to compute it again.

    Attributes:
        clusters: column whose equal values were drawn together; None: each picture alone.
        notes: what could not be paired, what else differs between the runs than the detector, and what intervals and tests take as independent.
    """

    a: Side
    b: Side
    resamples: int
    seed: int
    clusters: str | None = None
    conditions: dict[str, PairedCondition]
    notes: list[str]


def compare_runs(first: Path, second: Path, *, resamples: int = 1000, seed: int = 0, sides: tuple[str, str] = ("A", "B")) -> PairedRuns:
    """Compares two runs on the pictures and conditions that both have.

    A picture is its bytes: runs of the same files under other names are paired too.

    Args:
        first: folder of run A.
        second: folder of run B.
        sides: what the notes call the two.
        resamples: of the paired bootstrap, stratified by label and, as in an evaluation, by set where both runs name the same, of whole clusters
            where both runs have them by the same column; 0 leaves the intervals out.
        seed: of the resampling, used afresh for each condition.

    Raises:
        PairingError: they share no condition or no picture, label a picture differently, or one lacks the column of its clusters; or no condition
            has pictures of both classes that both scored, so that there is no figure.
        LockError: one is not the folder of a finished run.
        ValueError: `resamples` is negative.
    """
    if resamples < 0:
        raise ValueError(f"resamples must not be negative, got {resamples}")
    locks = [read_lock(folder) for folder in (first, second)]
    tables = [read_scores(folder, lock) for folder, lock in zip((first, second), locks, strict=True)]
    names = [list(dict.fromkeys(table["condition"].to_pylist())) for table in tables]
    columns = [lock.protocol.clusters for lock in locks]
    clusters = columns[0] if columns[0] == columns[1] else None
    for folder, table in zip((first, second), tables, strict=True):
        if clusters is not None and clusters not in table.column_names:
            raise PairingError(f"{folder / SCORES}: no column {clusters!r} to draw clusters by")
    shared = [name for name in names[0] if name in names[1]]
    if not shared:
        raise PairingError(f"nothing to compare: {first} has the conditions {', '.join(names[0])}, {second} {', '.join(names[1])}")
    conditions, alike, elsewhere = {}, True, []
    for name in shared:
        rows = [_rows(table, name, clusters) for table in tables]
        same = all(sorted(row["sets"]) == sorted(rows[1][key]["sets"]) for key, row in rows[0].items() if key in rows[1])
        elsewhere += [] if same else [name]
        sets = shared_sets(tables, name) if same else []
        conditions[name] = _condition(rows, (str(first), str(second)), resamples, seed, clusters, sets)
        if clusters is not None:
            alike = alike and all(row[clusters] == rows[1][key][clusters] for key, row in rows[0].items() if key in rows[1])
    if not any(of.n_real + of.n_fake for of in conditions.values()):
        raise PairingError(f"nothing to compare: {first} and {second} share no picture")
    if all(of.auc is None for of in conditions.values()):
        raise PairingError(f"nothing to compare: in no condition do {first} and {second} share pictures of both classes, as every figure needs")
    both = [Side(benchmark=lock.benchmark, bundle=lock.bundle, runtime=lock.runtime) for lock in locks]
    notes = [*_notes(sides, locks, names, conditions, resamples), *_on_clusters(sides, columns, alike=alike)]
    if elsewhere and all(any(texts(table, "set")) for table in tables):
        notes.append(
            f"{' and '.join(sides)} have other sets for the same pictures in {', '.join(elsewhere)}: no means over sets, and draws are not by set"
        )
    return PairedRuns(a=both[0], b=both[1], resamples=resamples, seed=seed, clusters=clusters, conditions=conditions, notes=notes)


def _rows(table: pa.Table, condition: str, clusters: str | None = None) -> dict[Key, dict[str, Any]]:
    """Rows of a condition that have a score, each picture's occurrences numbered.

    A picture that sets share is one, as in ``metrics.evaluate``, and its key ``sets`` has them all.
    """
    names = ["condition", "sha256", "label", "generator", "path", "error", "logit", "probability"]
    names += [name for name in ("threshold", clusters) if name in table.column_names]
    columns = table.select(list(dict.fromkeys(names)))
    seen: Counter[str] = Counter()
    shared: dict[tuple[str, ...], dict[str, Any]] = {}
    found = {}
    for row, of in zip(columns.to_pylist(), texts(table, "set"), strict=True):
        if row["condition"] == condition and not row["error"] and row["logit"] is not None:
            name = row["path"], row["label"], row["generator"]
            if name in shared:
                shared[name]["sets"].append(of)
                continue
            shared[name] = found[row["sha256"], seen[row["sha256"]]] = {**row, "sets": [of]}
            seen[row["sha256"]] += 1
    return found


def _condition(
    rows: Sequence[dict[Key, dict[str, Any]]],
    names: tuple[str, str],
    resamples: int,
    seed: int,
    column: str | None,
    sets: Sequence[str],
) -> PairedCondition:
    first, second = rows
    both = [key for key in first if key in second]
    for key in both:
        if first[key]["label"] != second[key]["label"]:
            labels = f"{first[key]['label']} in {names[0]}, {second[key]['label']} in {names[1]}"
            raise PairingError(f"{first[key]['path']} (sha256 {key[0][:SHORT]}…): {labels}")
    fake = np.array([first[key]["label"] == "fake" for key in both], bool)
    clusters = None if column is None else clusters_of(first[key][column] for key in both)
    found, means = {}, {}
    if fake.any() and not fake.all():
        scored = [Scored.of([of[key] for key in both]) for of in rows]
        found, means = _measure(fake, scored, resamples, seed, clusters, Sets.of(sets, [first[key]["sets"] for key in both]))
    return PairedCondition(
        n_real=int((~fake).sum()),
        n_fake=int(fake.sum()),
        only_a=len(first) - len(both),
        only_b=len(second) - len(both),
        auc=found.get(AUC),
        balanced_accuracy=found.get(BALANCED),
        n_clusters=None if clusters is None else units(fake, clusters),
        n_sets=len(sets),
        over_sets=means,
    )


def _measure(
    fake: Bools, scored: Sequence[Scored], resamples: int, seed: int, clusters: Names | None, sets: Sets
) -> tuple[dict[str, Paired], dict[str, Paired]]:
    """Figures of all pictures, and their means over sets, from the same resamples of both runs."""
    a, b = scored
    once, parts = sets.once, sets.parts(fake, scored)
    drawn: dict[str, list[Floats]] = {AUC: [], BALANCED: []}
    averages: dict[str, list[Floats]] = {name: [] for name in OVER_SETS}
    together = None if clusters is None else clusters[sets.pictures]
    enough = _enough(fake, clusters)
    spread = all(_enough(part.fake, None if together is None else together[part.rows]) for part in parts)
    by_set = sets.of_row if sets.names else None
    for counts in resample_counts(fake[sets.pictures], resamples if enough else 0, seed, by_set, together, sets.pictures):
        first, second = (of.metrics(counts[:, once], fake) for of in scored)
        for name in first.keys() & second.keys() & drawn.keys():
            drawn[name].append(second[name] - first[name])
        for name, (mine, other) in means_of(counts, parts).items() if spread else ():
            averages[name].append(averaged(other) - averaged(mine))
    before, after = (float(sk.roc_auc_score(fake, of.logit)) for of in scored)
    found = {AUC: _paired(before, after, drawn[AUC], _alike(AUC, scored), delong_test(fake, a.logit, b.logit))}
    if a.threshold is not None and b.threshold is not None:
        flagged = [of.decides(BALANCED) for of in scored]
        before, after = (float(sk.balanced_accuracy_score(fake, of)) for of in flagged)
        p = sign_test(fake, *(of == fake for of in flagged))
        found[BALANCED] = _paired(before, after, drawn[BALANCED], _alike(BALANCED, scored), p)
    means = {}
    for name, runs in means_of(np.ones((1, len(sets.pictures))), parts).items():
        before, after = (float(np.mean(of)) for of in runs)
        if np.isfinite([before, after]).all():  # a mean is never of fewer sets than there are
            means[name] = _paired(before, after, averages[name], all(_alike(name, part.scored) for part in parts), None)
    return found, means


def _enough(fake: Bools, clusters: Names | None) -> bool:
    return min(units(fake, clusters).values()) >= FEWEST


def _alike(metric: str, scored: Sequence[Scored]) -> bool:
    first, second = (of.decides(metric) for of in scored)
    return np.array_equal(first, second)


def _paired(first: float, second: float, drawn: Sequence[Floats], same: bool, p: float | None) -> Paired:
    outside = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(np.concatenate(drawn), [outside, 1 - outside]).tolist() if drawn else (None, None)
    if low is not None and high is not None and high - low <= ROUNDING and not same:
        low, high = None, None
    return Paired(a=first, b=second, difference=second - first, low=low, high=high, p=p)


def sign_test(fake: Bools, first: Bools, second: Bools) -> float:
    """Two-sided p-value of an exact test of balanced accuracy: if it is a toss-up which of two detectors is right where only one is, how often do
    their balanced accuracies differ by as much as they do?

    Fisher's randomisation of paired signs, within each class (our choice). Where both classes have as many pictures it is McNemar's exact test
    ("Note on the sampling error of the difference between correlated proportions or percentages", Psychometrika 1947); where they have not, that one
    would test plain accuracy, which is mostly that of the larger class.

    Args:
        fake: (n,) True for the generated pictures; both classes are there.
        first: (n,) whether one decided each picture rightly.
        second: (n,) whether the other did.
    """
    from scipy.stats import binom

    n_real, n_fake = int((~fake).sum()), int(fake.sum())
    reals, fakes = (int((rows & (first != second)).sum()) for rows in (~fake, fake))  # that only one is right about
    won_reals, won_fakes = (int((rows & second & ~first).sum()) for rows in (~fake, fake))
    observed = abs((2 * won_reals - reals) / n_real + (2 * won_fakes - fakes) / n_fake) - ROUNDING
    gained = np.arange(reals + 1)
    shift = (2 * gained - reals) / n_real
    most, least = np.ceil((n_fake * (observed - shift) + fakes) / 2), np.floor((n_fake * (-observed - shift) + fakes) / 2)
    tails = binom.sf(most - 1, fakes, 0.5) + binom.cdf(least, fakes, 0.5)
    return min(1.0, float(binom.pmf(gained, reals, 0.5) @ tails))


def _notes(
    sides: Sequence[str], locks: Sequence[Lock], names: Sequence[list[str]], conditions: dict[str, PairedCondition], resamples: int
) -> list[str]:
    a, b = sides
    notes = []
    for side, mine, other in ((a, *names), (b, *names[::-1])):
        alone = [name for name in mine if name not in other]
        if alone:
            notes.append(f"only {side} has the condition{'s' if len(alone) > 1 else ''} {', '.join(alone)}")
    unpaired = {(of.only_a, of.only_b) for of in conditions.values()} - {(0, 0)}
    if unpaired:
        of_a, of_b = (max(counts) for counts in zip(*unpaired, strict=True))
        notes.append(f"left out, because only one run scored them: up to {of_a} pictures of {a}, {of_b} of {b}")
    drawn = {name: of.n_clusters or {"real": of.n_real, "fake": of.n_fake} for name, of in conditions.items() if of.auc is not None}
    few = [name for name, of in drawn.items() if min(of.values()) < FEWEST]
    if few:
        what = "pictures" if conditions[few[0]].n_clusters is None else "clusters"
        notes.append(f"no bootstrap interval in {', '.join(few)}: a class has fewer than {FEWEST} {what}")
    unsure = [name for name, of in conditions.items() if resamples and name not in few and any(mean.low is None for mean in of.over_sets.values())]
    if unsure:
        notes.append(f"a mean over sets has no interval in {', '.join(unsure)}: a class of a set has fewer than {FEWEST}, or no resample moves it")
    missing = [name for name, of in conditions.items() if of.n_sets and of.auc is not None and AUC not in of.over_sets]
    if missing:
        notes.append(f"no mean over sets of AUC in {', '.join(missing)}: a set lacks a class among the pictures that both scored")
    if locks[0].benchmark != locks[1].benchmark:
        notes.append(f"{a} is of {locks[0].benchmark}, {b} of {locks[1].benchmark}")
    return notes + [f"from {a} to {b}, {line}" for line in differences(locks[0].environment, locks[1].environment)]


def _on_clusters(sides: Sequence[str], columns: Sequence[str | None], *, alike: bool) -> list[str]:
    """What intervals and tests take as independent, where the figures of a run do not take each picture so."""
    first, second = columns
    if first == second:
        if first is None:
            return []
        notes = [
            f"clusters by {first} were drawn whole for the intervals, which are too narrow where they are few",
            "both tests take pictures as independent: where those of a cluster are alike, p is too small",
        ]
        return (
            notes
            if alike
            else [*notes, f"{' and '.join(sides)} have other values of {first} for the same pictures: clusters are those of {sides[0]}"]
        )
    by = [f"{side} has {'no clusters' if column is None else f'clusters by {column}'}" for side, column in zip(sides, columns, strict=True)]
    return [f"{', '.join(by)}: each picture was drawn alone, so that intervals are too narrow and p too small where pictures are alike"]
