"""Turns a scores table into figures with intervals: one ConditionResult for each condition in it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from realgrain.detector.calibration import CONFIDENCE, Rate, rate
from realgrain.measuring.breakdown import Figures, Rows, by_group, by_set, macc, mean_over, once
from realgrain.measuring.points import METRICS, point_metrics
from realgrain.measuring.resampling import FEWEST, ROUNDING, Bools, Floats, Names, clusters_of, resample_counts, units, weighted_metrics
from realgrain.measuring.results import ConditionResult, Estimate, Evaluation, Learned, Part

_TEXT = ("label", "generator", "source", "condition", "error")
_WHOLE = ("whole", "")


@dataclass(frozen=True)
class _Scored:
    """The rows of a condition (n) that have a score.

    Attributes:
        threshold: None where a row has none.
        sets: empty names where the table has none.
        clusters: None where each picture is drawn alone.
        pictures: number of each row's picture, see `numbered`.
    """

    fake: Bools
    logit: Floats
    probability: Floats
    threshold: Floats | None
    sets: Names
    clusters: Names | None
    pictures: NDArray[np.intp]

    def keep(self, mask: Bools) -> "_Scored":
        threshold = None if self.threshold is None else self.threshold[mask]
        clusters = None if self.clusters is None else self.clusters[mask]
        return _Scored(self.fake[mask], self.logit[mask], self.probability[mask], threshold, self.sets[mask], clusters, self.pictures[mask])


def evaluate(table: pa.Table, *, resamples: int = 1000, seed: int = 0, clusters: str | None = None) -> Evaluation:
    """Measures each condition of a scores table: as a whole, by set, by generator and by real source.

    Rows with an error, or without a logit or a probability, count as failed and enter no metric.

    A picture that several sets share (one path, label and generator) is counted in each of the sets, and once wherever sets are taken together:
    as a whole, by generator, by real source.

    Where a class has fewer than `realgrain.measuring.resampling.FEWEST` pictures, or clusters, there is no interval, and the result says why; nor is
    there one of a figure that is the same in every resample.

    No threshold is ever fitted here but for the metrics at the oracle threshold, which go nowhere else: the metrics at a threshold are those at
    the logit beside each score, from which the detector calls that picture AI-generated, and which it had before it saw them. In a condition where
    a row with a score has none they are None.

    Args:
        table: A scores table: path, label ("real" or "fake"), generator, source, condition, logit (higher = more likely
            AI-generated), probability (in [0, 1]), error; threshold where the detector has any (logit); set where there are sets;
            further columns are ignored.
        resamples: Bootstrap resamples, stratified by label and set; 0 leaves the intervals out.
        seed: Seed of the resampling, used afresh for each condition so that none depends on which others are there.
        clusters: Column, such as source, whose equal values are drawn together, within a label, as they are not independent of each other. A row
            with no value is alone. Few clusters give intervals that are too narrow, see `realgrain.measuring.resampling.resample_counts`.

    Returns:
        The figures, conditions in order of first appearance.

    Raises:
        ValueError: The table has no rows or lacks a column, a label is unknown, a text is null, a logit or a
            threshold is not finite, a probability lies outside [0, 1], or `resamples` is negative.
    """
    if resamples < 0:
        raise ValueError(f"resamples must not be negative, got {resamples}")
    check_scores(table)
    if clusters is not None and clusters not in table.column_names:
        raise ValueError(f"scores table has no column {clusters!r} to draw clusters by")
    names = _texts(table, "condition")
    parts = {name: table.filter(pa.array(names == name)) for name in dict.fromkeys(names)}
    return Evaluation(
        lock=metadata(table.schema).get("lock"),
        thresholds=_distinct_thresholds(table),
        resamples=resamples,
        seed=seed,
        clusters=clusters,
        learned=stored_learned(table),
        conditions={name: _condition(part, resamples, seed, clusters) for name, part in parts.items()},
    )


def check_scores(table: pa.Table) -> None:
    """See to it that figures can be made of a scores table.

    Raises:
        ValueError: as ``evaluate`` says.
    """
    missing = [name for name in (*_TEXT, "logit", "probability") if name not in table.column_names]
    if missing:
        raise ValueError(f"scores table lacks the columns {', '.join(missing)}")
    if table.num_rows == 0:
        raise ValueError("scores table has no rows")
    nulls = [name for name in _TEXT if table[name].null_count]
    if nulls:
        raise ValueError(f"scores table has nulls in {', '.join(nulls)}")
    unknown = set(table["label"].unique().to_pylist()) - {"real", "fake"}
    if unknown:
        raise ValueError(f"unknown labels {sorted(unknown)}: a label is real or fake")
    for name in ("logit", "threshold"):
        if name in table.column_names and not np.isfinite(_numbers(table, name)).all():
            raise ValueError(f"scores table has {name}s that are NaN or infinite; a picture that was not scored has null")
    probability = _numbers(table, "probability")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("scores table has probabilities outside [0, 1]")


def _numbers(table: pa.Table, name: str) -> Floats:
    return np.asarray(table[name].drop_null().to_pylist(), dtype=np.float64)


def _texts(table: pa.Table, name: str) -> Names:
    return np.asarray(table[name].to_pylist(), dtype=object)


def _optional(table: pa.Table, name: str) -> Names:
    """A column's texts, empty where there is no such column or value."""
    if name not in table.column_names:
        return np.full(table.num_rows, "", dtype=object)
    return np.asarray(["" if value is None else str(value) for value in table[name].to_pylist()], dtype=object)


def thresholds_in(rows: pa.Table) -> Floats | None:
    """The logit (n,) from which each row is flagged; None where a row has none, or there is no such column."""
    if "threshold" not in rows.column_names or rows["threshold"].null_count:
        return None
    return _numbers(rows, "threshold")


def stored_learned(table: pa.Table) -> Learned | None:
    """Which pictures of a scores table the detector learned from, by the table's metadata, None where it does not say."""
    stored = metadata(table.schema).get("learned")
    return None if stored is None else Learned.model_validate(stored)


def metadata(schema: pa.Schema) -> dict[str, Any]:
    """What a table of scores says of itself: ``lock`` and ``learned``, where it is a run's."""
    return json.loads((schema.metadata or {}).get(b"realgrain", b"{}"))


def _condition(rows: pa.Table, resamples: int, seed: int, clusters: str | None) -> ConditionResult:
    good = _good(rows)
    fakes, sets = _texts(rows, "label") == "fake", _optional(rows, "set")
    kept = rows.filter(pa.array(good))
    alike = None if clusters is None else clusters_of(_optional(kept, clusters))
    pictures = numbered(rows, sets)
    numbers = _numbers(kept, "logit"), _numbers(kept, "probability"), thresholds_in(kept)
    scored = _Scored(fakes[good], *numbers, sets[good], alike, pictures[good])
    parts = _parts(rows, fakes, sets, pictures)
    distinct = parts[_WHOLE].all
    found = dict(zip(parts, _measured(scored, list(parts.values()), good, resamples, seed), strict=True))
    whole = found[_WHOLE]
    figures = {kind: {name: of for (its, name), of in found.items() if its == kind} for kind in ("sets", "generators", "real_sources")}
    generators, sources = _texts(kept, "generator"), _texts(kept, "source")
    flagged = np.zeros(0, bool) if scored.threshold is None else scored.logit >= scored.threshold
    each = distinct[good]
    rates = [_rates(groups, mine & each, flagged) for groups, mine in ((generators, scored.fake), (sources, scored.fake), (sources, ~scored.fake))]
    return ConditionResult(
        n_real=int((~scored.fake & each).sum()),
        n_fake=int((scored.fake & each).sum()),
        n_failed=int((~good & distinct).sum()),
        metrics=_estimates(whole),
        recall_per_generator=rates[0],
        recall_per_source=rates[1],
        fpr_per_source=rates[2],
        worst_generator=min(rates[0], key=lambda name: (rates[0][name].value, -rates[0][name].n), default=None),
        worst_source=max(rates[2], key=lambda name: (rates[2][name].value, rates[2][name].n), default=None),
        n_clusters=None if scored.clusters is None else units(scored.fake[each], scored.clusters[each]),
        no_interval=whole.why,
        no_spread=_no_spread(whole),
        **{kind: {name: _part(parts[kind, name], of, fakes, good) for name, of in kinds.items()} for kind, kinds in figures.items()},
        **{f"over_{kind}": mean_over(kinds, _interval) for kind, kinds in figures.items()},
        macc=macc(whole, figures["sets"], figures["generators"], _interval),
    )


def _good(rows: pa.Table) -> Bools:
    """Rows (n,) that have a score."""
    return (_texts(rows, "error") == "") & np.asarray(rows["logit"].is_valid()) & np.asarray(rows["probability"].is_valid())


def _distinct_thresholds(table: pa.Table) -> list[float]:
    found = thresholds_in(table.filter(pa.array(_good(table))))
    return [] if found is None else np.unique(found).tolist()


def _parts(rows: pa.Table, fakes: Bools, sets: Names, pictures: NDArray[np.intp]) -> dict[tuple[str, str], Rows]:
    """Kind and name -> rows, of all: so that a set of which nothing could be scored is missed in a mean, not missing from it."""
    everything = np.ones(len(fakes), bool)
    across = {
        "generators": by_group(_texts(rows, "generator"), fakes, sets),
        "real_sources": by_group(_texts(rows, "source"), ~fakes, sets),
    }
    return {
        _WHOLE: once(Rows(everything, everything), pictures),
        **{("sets", name): of for name, of in by_set(sets).items()},
        **{(kind, name): once(of, pictures) for kind, parts in across.items() for name, of in parts.items()},
    }


def numbered(rows: pa.Table, sets: Names) -> NDArray[np.intp]:
    """Number (n,) of each row's picture: rows of several sets that share path, label and generator have one. Without sets or paths, each has its own.

    Args:
        rows: of one condition.
        sets: (n,) name of each row's set, or empty.
    """
    if "path" not in rows.column_names or not any(sets):
        return np.arange(rows.num_rows)
    places: dict[tuple[str, str, str], int] = {}
    keys = zip(*(_optional(rows, name) for name in ("path", "label", "generator")), strict=True)
    return np.array([places.setdefault(key, place) if key[0] else place for place, key in enumerate(keys)], np.intp)


def _part(rows: Rows, figures: Figures, fakes: Bools, good: Bools) -> Part:
    real, fake = (int((rows.all & good & mine).sum()) for mine in (~fakes, fakes))
    return Part(
        n_real=real,
        n_fake=fake,
        n_failed=int((rows.all & ~good).sum()),
        metrics=_estimates(figures),
        no_interval=figures.why,
        no_spread=_no_spread(figures),
    )


def _rates(groups: Names, kept: Bools, flagged: Bools) -> dict[str, Rate]:
    if not flagged.size:
        return {}
    return {name: rate(flagged[kept & (groups == name)]) for name in sorted(set(groups[kept]))}


def _measured(scored: _Scored, parts: Sequence[Rows], good: Bools, resamples: int, seed: int) -> list[Figures]:
    """Figures of each part, from the same resamples of the whole, so that means over parts have intervals too. Equal parts are measured once."""
    masks = [of.all[good] if of.own[good].any() else np.zeros(len(scored.fake), bool) for of in parts]
    distinct = {mask.tobytes(): (np.flatnonzero(mask), scored.keep(mask)) for mask in masks if mask.any()}
    values = {key: point_metrics(of.fake, of.logit, of.probability, of.threshold) for key, (_, of) in distinct.items()}
    few = {key: _too_few(of) for key, (_, of) in distinct.items()} if resamples else {}
    drawn: dict[bytes, list[dict[str, Floats]]] = {key: [] for key, why in few.items() if not why}
    if drawn:
        sets = scored.sets if any(scored.sets) else None
        for counts in resample_counts(scored.fake, resamples, seed, sets, scored.clusters, scored.pictures):
            for key, chunks in drawn.items():
                places, of = distinct[key]
                chunks.append(weighted_metrics(counts[:, places], of.fake, of.logit, of.probability, of.threshold))
    replicates = {key: {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]} for key, chunks in drawn.items()}
    nothing = dict.fromkeys(METRICS)
    return [
        Figures(int((of.own & good).sum()), values.get(mask.tobytes(), nothing), replicates.get(mask.tobytes(), {}), few.get(mask.tobytes(), ""))
        for of, mask in zip(parts, masks, strict=True)
    ]


def _too_few(scored: _Scored) -> str:
    """Why the spread is not to be seen: which classes are too small; empty where none is. One that is missing spoils no metric of the other."""
    what = "picture" if scored.clusters is None else "cluster"
    small = {label: n for label, n in units(scored.fake, scored.clusters).items() if 0 < n < FEWEST}
    few = " and ".join(f"{n} {label} {what}{'' if n == 1 else 's'}" for label, n in small.items())
    return f"{few}: fewer than {FEWEST}" if few else ""


def _no_spread(figures: Figures) -> list[str]:
    return [name for name, drawn in figures.replicates.items() if figures.values.get(name) is not None and _interval(drawn)[0] is None]


def _estimates(figures: Figures) -> dict[str, Estimate]:
    found = {}
    for name, value in figures.values.items():
        low, high = (None, None) if value is None else _interval(figures.replicates.get(name))
        found[name] = Estimate(value=value, low=low, high=high)
    return found


def _interval(replicates: Floats | None) -> tuple[float | None, float | None]:
    """The percentile interval of those resamples in which the metric is defined; none where it would have no width, which is no certainty."""
    defined = np.zeros(0) if replicates is None else replicates[np.isfinite(replicates)]
    if not defined.size:
        return None, None
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(defined, [outside, 1 - outside])
    return (float(low), float(high)) if high - low > ROUNDING else (None, None)
