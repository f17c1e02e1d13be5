"""What the features of a tower say of real and generated pictures: how far apart the two lie, and whether label or source keeps them apart.

The second paper (Detecting AI-Generated Images via Distributional Deviations from Real Images, 2026) holds that frozen CLIP clusters real pictures,
but does not truly tell them from generated ones. Here that is a question to any tower and any pictures; the measures and their settings are our
choice. Nothing here knows where features come from: they are clouds of points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realgrain.learning.data import Fold, ManifestError, balanced_weights, left_in
from realgrain.learning.methods import probe
from realgrain.learning.problem import Problem
from realgrain.measuring.inspect_results import Distance, Head, Look, Pair, Share, Silhouette

NEIGHBOURS = 5  # of each picture; the smallest sources have not many more pictures
DIVISIONS = 500  # arbitrary divisions of the sources to compare the label with
RANDOM_FOLDS = 5


def look(features: NDArray[np.floating], problem: Problem, folds: Sequence[Fold], heads: Mapping[str, Mapping[str, Any]], *, seed: int = 0) -> Look:
    """Measure a cloud of features. Takes memory for some N x N distances.

    Args:
        features: (N, D), of the N pictures.
        problem: their labels, sources and near-duplicates.
        folds: sources to leave out together; may be none.
        heads: settings ``penalty`` and ``content_directions`` of ``probe.fit``, by name.
        seed: of the random folds and divisions.

    Raises:
        ManifestError: fewer than two pictures, not counting near-duplicates, of a label.
        ValueError: features that do not differ at all.
    """
    points, fake, source = standardise(features), problem.fake, problem.source
    apart, foreign = cosine_distances(points), source[:, None] != source
    both_elsewhere = all((foreign & label).any(axis=1).all() for label in (fake, ~fake))
    by_label = silhouette(points, fake)
    generators, real_sources = distances(points, problem)
    return Look(
        by_label=by_label,
        by_source=silhouette(points, source),
        divisions_as_good=None if by_label.cosine is None else _divisions_as_good(apart, fake, source, by_label.cosine, seed),
        label_purity=purity(apart, fake, balance=fake),
        label_purity_elsewhere=purity(apart, fake, balance=fake, allowed=foreign) if both_elsewhere else None,
        source_purity=purity(apart, source),
        generators=generators,
        real_sources=real_sources,
        heads={name: separability(features, problem, folds, settings, seed=seed) for name, settings in heads.items()},
    )


def standardise(features: NDArray[np.floating]) -> NDArray[np.float64]:
    """Features (N, D) with mean 0 and standard deviation 1 in each dimension; a dimension that is constant becomes 0."""
    points = np.asarray(features, np.float64)
    spread = points.std(axis=0)
    return (points - points.mean(axis=0)) / np.where(spread > 0, spread, 1)


def cosine_distances(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 - cosine between points (N, D): (N, N), 0 to 2, the diagonal 0."""
    unit = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    apart = np.clip(1 - unit @ unit.T, 0, 2)
    np.fill_diagonal(apart, 0)
    return apart


def silhouette(points: NDArray[np.float64], group: NDArray) -> Silhouette:
    """Mean silhouette of groups (N,) of standardised points (N, D)."""
    from sklearn.metrics import silhouette_score

    if not 1 < len(np.unique(group)) < len(group):
        return Silhouette(cosine=None, euclidean=None)
    return Silhouette(**{metric: float(silhouette_score(points, group, metric=metric)) for metric in ("cosine", "euclidean")})


def _divisions_as_good(apart: NDArray[np.float64], fake: NDArray[np.bool_], source: NDArray, reached: float, seed: int) -> float | None:
    """Share of the other divisions of the sources, with as many on either side, whose silhouette is at least the one that the label reached."""
    names, of = np.unique(source, return_inverse=True)
    counts = np.bincount(of)
    fakes = np.bincount(of, fake)
    if len(names) < 4 or not np.isin(fakes / counts, (0, 1)).all() or not 0 < (many := int((fakes > 0).sum())) < len(names):
        return None
    if comb(len(names), many) <= DIVISIONS:
        sides = np.array([np.isin(np.arange(len(names)), chosen) for chosen in combinations(range(len(names)), many)])
    else:
        rng = np.random.default_rng(seed)
        sides = np.array([rng.permutation(fakes > 0) for _ in range(DIVISIONS)])
    own = (sides == (fakes > 0)).all(axis=1) | (sides != (fakes > 0)).all(axis=1)
    sums = apart @ np.eye(len(names))[of]
    return float(np.mean([_side_silhouette(sums, counts, of, side) >= reached for side in sides[~own]]))


def _side_silhouette(sums: NDArray[np.float64], counts: NDArray[np.int_], of: NDArray[np.int_], side: NDArray[np.bool_]) -> float:
    """Silhouette of two sides (S,) of S sources, from the summed distances (N, S) of each point to each source of counts (S,)."""
    mine = np.where(side[of][:, None] == side, 1, 0)
    sizes = mine @ counts
    inside = (sums * mine).sum(axis=1) / np.maximum(sizes - 1, 1)
    outside = (sums * (1 - mine)).sum(axis=1) / (counts.sum() - sizes)
    widest = np.maximum(inside, outside)
    return float(np.mean(np.divide(outside - inside, widest, out=np.zeros_like(widest), where=(widest > 0) & (sizes > 1))))


def purity(apart: NDArray[np.float64], group: NDArray, *, balance: NDArray | None = None, allowed: NDArray[np.bool_] | None = None) -> Share:
    """Share of each point's nearest ``NEIGHBOURS`` that are of its own group.

    Args:
        apart: (N, N) distances.
        group: (N,).
        balance: (N,); points are averaged within each of its values, then those averages. None: all points count alike.
        allowed: (N, N), whose columns may be neighbours of a row, at least one of them; a point is never its own.
    """
    usable = ~np.eye(len(group), dtype=bool) if allowed is None else allowed & ~np.eye(len(group), dtype=bool)
    same = group[:, None] == group
    nearest = np.argsort(np.where(usable, apart, np.inf), axis=1, kind="stable")[:, :NEIGHBOURS]
    counted = np.take_along_axis(usable, nearest, axis=1)
    value = (np.take_along_axis(same, nearest, axis=1) & counted).sum(axis=1) / counted.sum(axis=1)
    chance = (same & usable).sum(axis=1) / usable.sum(axis=1)
    parts = [np.ones(len(group), bool)] if balance is None else [balance == kind for kind in np.unique(balance)]
    return Share(value=float(np.mean([value[part].mean() for part in parts])), chance=float(np.mean([chance[part].mean() for part in parts])))


def group_names(problem: Problem) -> NDArray:
    """What made each picture (N,): the generator, or where it is not known or none, the source."""
    return np.array([sample.generator or sample.source or "(unnamed)" for sample in problem.samples])


def distances(points: NDArray[np.float64], problem: Problem) -> tuple[dict[str, Distance], dict[str, Distance]]:
    """Distance of each generator, and of each real source, from the real pictures of other sources.

    One real source after the other is left out. Mean Mahalanobis distance from the rest, whose covariance is shrunk (Ledoit and Wolf 2004), is taken
    of the pictures of the left-out source and of every generator, so that both are strange to it. The unit is the median over the left-out sources.
    Both are empty with fewer than two real sources.
    """
    from sklearn.covariance import LedoitWolf

    made, source, fake = group_names(problem), problem.source, problem.fake
    generators = {str(name): fake & (made == name) for name in np.unique(made[fake])}
    own: dict[str, float] = {}
    others: dict[str, list[float]] = {name: [] for name in generators}
    for name in map(str, np.unique(source[~fake])):
        rest = ~fake & left_in(problem.samples, Fold(fake=(), real=(name,)), problem.twins)
        if rest.sum() < 2:
            continue
        away = np.sqrt(LedoitWolf().fit(points[rest]).mahalanobis(points))
        own[name] = away[~fake & (source == name)].mean()
        for generator, mine in generators.items():
            others[generator].append(away[mine].mean())
    if len(own) < 2:
        return {}, {}
    unit = np.median(list(own.values()))
    return (
        {name: Distance(n=int(mine.sum()), ratio=float(np.mean(others[name]) / unit)) for name, mine in generators.items()},
        {name: Distance(n=int((~fake & (source == name)).sum()), ratio=float(value / unit)) for name, value in own.items()},
    )


def separability(features: NDArray[np.floating], problem: Problem, folds: Sequence[Fold], head: Mapping[str, Any], *, seed: int = 0) -> Head:
    """Cross-validate a linear head on random folds and on left-out sources; see ``Head`` and ``look``."""
    from sklearn.metrics import roc_auc_score

    fake, seen = problem.fake, random_fold_logits(features, problem, head, seed=seed)
    pairs = {}
    for fold in folds:
        part = np.array([fold.leaves_out(sample) for sample in problem.samples])
        kept = left_in(problem.samples, fold, problem.twins)
        if len(set(fake[part])) == len(set(fake[kept])) == 2:
            unseen = _logits(features, problem, head, kept, part)
            pairs[fold.name] = Pair(random=float(roc_auc_score(fake[part], seen[part])), left_out=float(roc_auc_score(fake[part], unseen)))
    random = float(np.mean([pair.random for pair in pairs.values()])) if pairs else float(roc_auc_score(fake, seen))
    left_out = float(np.mean([pair.left_out for pair in pairs.values()])) if pairs else None
    return Head(**head, random=random, left_out=left_out, gap=None if left_out is None else random - left_out, pairs=pairs)


def random_fold_logits(features: NDArray[np.floating], problem: Problem, head: Mapping[str, Any], *, seed: int = 0) -> NDArray[np.floating]:
    """Logit (N,) of each picture by a linear head that had not seen it nor its near-duplicates, but had seen others of its source.

    Raises:
        ManifestError: fewer than two pictures of a label.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    fake, twins = problem.fake, problem.twins
    count = min(RANDOM_FOLDS, *(len(np.unique(twins[label])) for label in (fake, ~fake)))
    if count < 2:
        raise ManifestError("each label needs at least two pictures that are not near-duplicates")
    logits = np.zeros(len(fake))
    for kept, part in StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(features, fake, twins):
        logits[part] = _logits(features, problem, head, np.isin(np.arange(len(fake)), kept), part)
    return logits


def _logits(
    features: NDArray[np.floating], problem: Problem, head: Mapping[str, Any], kept: NDArray[np.bool_], part: NDArray
) -> NDArray[np.floating]:
    """Logits of a part by a head fitted on what is kept."""
    learned = problem.keep(kept)
    return probe.logits(features[part][:, None], probe.fit(features[kept], learned.fake, balanced_weights(learned.samples), **head))
