"""Published figures beside ours: the best means, always those of the two papers that the project is about, and those of single sets.

In words, why they may not compare.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from realgrain.measuring.benchmarks import benchmark
from realgrain.measuring.benchmarks.card import Card, Known, Size
from realgrain.measuring.benchmarks.published import Figure, every, published
from realgrain.measuring.lock import Lock
from realgrain.measuring.results import ConditionResult, Evaluation, Mean, Part

PAPERS = ("PiN-CLIP", "MPFT")
"""The two papers of the project."""
MOST = 8  # others that are shown
MAIN = {"accuracy": "accuracy_at_half", "balanced_accuracy": "balanced_accuracy_at_half"}
METRICS = {**MAIN, "real_accuracy": "real_accuracy_at_half", "fake_accuracy": "fake_accuracy_at_half", "ap": "ap"}
"""Published metric -> ours."""
CONDITIONS = {
    "clean": "clean",
    "fakes re-encoded as JPEG 96": "jpeg96-aligned",
    "degraded copy jpeg": "aigibench-jpeg",
    "degraded copy noise": "aigibench-noise",
    "degraded copy sample": "aigibench-sample",
}
"""Published condition -> ours that is nearest, of the pictures that the protocol tests on."""
NEAR = {
    "jpeg96-aligned": "theirs re-encodes the fakes only, ours both classes",
    "aigibench-jpeg": "strength of theirs is not published",
    "aigibench-noise": "strength of theirs is not published",
    "aigibench-sample": "strength of theirs is not published",
}
"""Our condition -> how the published one that is nearest differs."""
SURELY: dict[Known, str] = {
    "digest": "seen in a digest of the paper only",
    "recalled": "from memory: verify before quoting",
    "inferred": "inferred: verify before quoting",
    "page": "seen on a web page",
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pair(_Frozen):
    """A published mean and ours over the same sets, as near as can be.

    Attributes:
        metric: of ``published.METRICS``.
        theirs: percent.
        deviation: of theirs over the sets, percentage points.
        ours: percent; None where a set of the mean is missing from the run, or lacks a class.
        worst: set that ours is lowest on; None where ours is None, or no mean over several sets.
        worst_value: percent, ours on that set; None where there is none.
    """

    metric: str
    theirs: float
    deviation: float | None
    ours: float | None
    worst: str | None = None
    worst_value: float | None = None


class Peer(_Frozen):
    """A method's published figures under one convention.

    Attributes:
        condition: as published.
        main: accuracy or balanced accuracy; None where neither is published.
        real: accuracy on real pictures; None where it is not published.
        fake: likewise, on generated ones.
        ap: None where it is not published.
        trained_on: in words; empty where not seen.
        differs: what may keep it from being compared with ours.
        source: where the figures were seen.
    """

    method: str
    condition: str
    main: Pair | None
    real: Pair | None
    fake: Pair | None
    ap: Pair | None
    trained_on: str
    differs: list[str]
    source: str


class SetPeer(_Frozen):
    """A method's published figures of single sets under one convention.

    Attributes:
        theirs: set -> percent, of those sets that the run has.
        trained_on: as in ``Peer``, like the rest.
    """

    method: str
    theirs: dict[str, float]
    trained_on: str
    differs: list[str]
    source: str


class OfSets(_Frozen):
    """Published figures of single sets in one metric and one condition, beside ours of the same sets.

    Attributes:
        metric: of ``published.METRICS``.
        condition: as published.
        ours: set -> percent; None where the set lacks a class.
        peers: in the order in which they were published.
    """

    metric: str
    condition: str
    ours: dict[str, float | None]
    peers: list[SetPeer]


class Peers(_Frozen):
    """Published figures beside those of a run.

    Attributes:
        peers: means, best first in each condition.
        more: comparable ones that are left out.
        sets: of single sets.
        convention: what holds for all: how publications test, and how the run did.
    """

    benchmark: str
    peers: list[Peer]
    more: int
    sets: list[OfSets]
    convention: list[str]


def peers(lock: Lock, evaluation: Evaluation) -> Peers | None:
    """The published figures on a run's benchmark that ours can stand beside; None where there are none.

    Publications test on the split ``test`` and on degraded copies of it, each of which is a split here: beside a run of another split, or of all
    together, no figure of theirs stands.

    Args:
        lock: of the run.
        evaluation: its figures.
    """
    nearest = _nearest(lock.protocol.split)
    comparable = [figure for figure in published(lock.benchmark) if nearest.get(figure.condition) in evaluation.conditions]
    sets = _of_sets(comparable, nearest, evaluation)
    figures = [figure for figure in comparable if not figure.set]
    if not figures and not sets:
        return None
    card = benchmark(lock.benchmark).card
    grouped: dict[tuple[str, ...], list[Figure]] = {}
    for figure in figures:
        grouped.setdefault((figure.method, figure.condition, figure.mean, figure.trained_on, figure.convention, figure.source), []).append(figure)
    found = [_peer(group, card, nearest[group[0].condition], evaluation) for group in _by_metric(grouped.values())]
    conditions = list(CONDITIONS)
    ranked = sorted(found, key=lambda peer: (conditions.index(peer.condition), -_rank(peer)))
    shown = [peer for place, peer in enumerate(ranked) if place < MOST or peer.method in PAPERS]
    methods = {peer.method for peer in shown} | {peer.method for of in sets for peer in of.peers}
    convention = _convention(card, lock, evaluation, methods)
    return Peers(benchmark=card.title, peers=shown, more=len(ranked) - len(shown), sets=sets, convention=convention)


def _nearest(split: str) -> dict[str, str]:
    """Published condition -> ours that is nearest, of a split: nothing need be done to a degraded copy."""
    copy = f"degraded copy {split}"
    return CONDITIONS if split == "test" else {copy: "clean"} if copy in CONDITIONS else {}


def _by_metric(groups: Iterable[list[Figure]]) -> Iterable[list[Figure]]:
    """Groups with one figure of each metric: accuracy and balanced accuracy apart."""
    for group in groups:
        mains = [figure for figure in group if figure.metric in MAIN]
        rest = [figure for figure in group if figure.metric not in MAIN]
        yield [*mains[:1], *rest]
        yield from ([figure] for figure in mains[1:])


def _rank(peer: Peer) -> float:
    return peer.main.theirs if peer.main else 0.0


def _peer(group: list[Figure], card: Card, condition: str, evaluation: Evaluation) -> Peer:
    pairs = {figure.metric: _pair(figure, card, evaluation.conditions[condition]) for figure in group}
    first = group[0]
    differs = _differs(first, condition)
    if first.mean != "all":
        differs.insert(0, f"their mean: {first.mean}" + ("" if first.mean in card.means else "; ours: all sets"))
    return Peer(
        method=first.method,
        condition=first.condition,
        main=next((pairs[name] for name in MAIN if name in pairs), None),
        real=pairs.get("real_accuracy"),
        fake=pairs.get("fake_accuracy"),
        ap=pairs.get("ap"),
        trained_on=first.trained_on,
        differs=differs,
        source=first.source,
    )


def _differs(figure: Figure, condition: str) -> list[str]:
    return [words for words in (figure.convention, NEAR.get(condition, ""), SURELY.get(figure.known, "")) if words]


def _of_sets(figures: Iterable[Figure], nearest: dict[str, str], evaluation: Evaluation) -> list[OfSets]:
    """Those of the sets that the run has."""
    grouped: dict[tuple[str, str], dict[tuple[str, ...], list[Figure]]] = {}
    for figure in figures:
        if figure.set in evaluation.conditions[nearest[figure.condition]].sets:
            one = figure.method, figure.trained_on, figure.convention, figure.source, figure.known
            grouped.setdefault((figure.metric, figure.condition), {}).setdefault(one, []).append(figure)
    found = []
    for (metric, condition), methods in grouped.items():
        parts = evaluation.conditions[nearest[condition]].sets
        there = {figure.set for group in methods.values() for figure in group}
        ours = {name: _percent(parts[name].metrics[METRICS[metric]].value) for name in parts if name in there}
        peers = [_set_peer(group, nearest[condition]) for group in methods.values()]
        found.append(OfSets(metric=metric, condition=condition, ours=ours, peers=peers))
    return found


def _set_peer(group: list[Figure], condition: str) -> SetPeer:
    first = group[0]
    theirs = {figure.set: figure.value for figure in group}
    return SetPeer(method=first.method, theirs=theirs, trained_on=first.trained_on, differs=_differs(first, condition), source=first.source)


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _pair(figure: Figure, card: Card, of: ConditionResult) -> Pair:
    ours = _ours(METRICS[figure.metric], figure.mean, card, of)
    several = ours.value is not None and ours.n > 1
    return Pair(
        metric=figure.metric,
        theirs=figure.value,
        deviation=figure.deviation,
        ours=_percent(ours.value),
        worst=ours.worst if several else None,
        worst_value=_percent(ours.worst_value) if several else None,
    )


def _ours(metric: str, mean: str, card: Card, of: ConditionResult) -> Mean:
    """The plain mean over the sets of a mean, over those of the run for ``all``; of a benchmark without sets, of all pictures."""
    if not of.sets:
        return Mean(value=of.metrics[metric].value, n=0)
    if mean not in card.means:
        return of.over_sets[metric]
    values = {name: of.sets[name].metrics[metric].value if name in of.sets else None for name in card.means[mean]}
    known = {name: value for name, value in values.items() if value is not None}
    if len(known) < len(values):
        return Mean(value=None, n=len(values))
    worst = min(known, key=lambda name: known[name])
    return Mean(value=sum(known.values()) / len(known), n=len(known), worst=worst, worst_value=known[worst])


def _convention(card: Card, lock: Lock, evaluation: Evaluation, methods: set[str]) -> list[str]:
    test = card.test
    views = ", ".join(f"{view.kind} {view.size}" + (f" saved as JPEG {view.quality}" if view.quality else "") for view in lock.bundle.views.views)
    lines = [
        f"Publications: {test.view}; threshold {test.threshold}; {test.mean}.",
        f"Ours: views {views}; threshold 0.5 of the probability; plain mean over the sets of the run.",
        f"Publications train on: {card.training}. Ours on what its card says.",
    ]
    if test.notes:
        lines.append(f"Where publications differ from one another, and traps: {test.notes}")
    split = lock.protocol.split
    if split != "test":
        lines.append(f"This run is of the degraded copy {split}, as the published figures beside it are.")
    there = next(iter(evaluation.conditions.values())).sets
    absent = [name for name in card.sets if name not in there]
    if there and absent:
        lines.append(
            f"This run lacks {len(absent)} of {len(card.sets)} sets ({', '.join(absent)}): its means are over others than the published ones."
        )
    sizes = [size for size in card.sizes if size.split == split and size.real and size.fake and size.set in there]
    other = [size.set for size in sizes if not _has(size, there[size.set])]
    if other and lock.protocol.limit is None:
        lines.append(f"{len(other)} of {len(there)} sets have not the published number of pictures: {', '.join(other)}.")
    if lock.protocol.limit is not None:
        lines.append(f"This run took at most {lock.protocol.limit} pictures of each set, label and source: a first look, not the benchmark.")
    known = {figure.method for figure in published(lock.benchmark)}
    for paper in PAPERS:
        if paper not in known:
            lines.append(f"No figure of {paper} on this benchmark is known.")
            lines += _elsewhere(paper, lock.benchmark)
        elif paper not in methods:
            lines.append(f"No figure of {paper} on pictures like these is known; there are others on this benchmark.")
    return lines


def _has(size: Size, part: Part) -> bool:
    """Whether a set has the published number of pictures, to what rounding of both classes allows."""
    return abs(part.n_real + part.n_fake + part.n_failed - (size.real or 0) - (size.fake or 0)) <= size.rounded


def _elsewhere(method: str, name: str) -> list[str]:
    """A method's means that may have been published as a benchmark's, but stand with another: in words, with where and why."""
    lines = []
    for figure in every():
        card = benchmark(figure.benchmark).card
        if figure.method == method and figure.mean and name in card.called:
            how = "; ".join(words for words in (figure.convention, SURELY.get(figure.known, "")) if words)
            lines.append(f"{method}'s {figure.metric.replace('_', ' ')} of {figure.value:.1f} stands with {card.title} ({card.name}): {how}.")
    return lines
