"""What a picture shows, roughly: which of a few groups of photographs its feature is nearest to.

A threshold for each group keeps its rate in each of them, and not only over a mixture of subjects that a user's pictures do not share: Mondrian
conformal prediction (Vovk, Lindsay, Nouretdinov and Gammerman 2003), with centres of k-means as the taxonomy (our choice: docs/decisions/0014).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

CENTRES = "content/centres"
GROUPS = 3
ENOUGH = 100
"""Photographs for each group, at least, or there are fewer: 72 are the least that support a rate of 5 %, with none of them above the threshold."""


def fit(places: np.ndarray, most: int = GROUPS) -> dict[str, np.ndarray]:
    """Centres (groups, K) float32 of photographs' places (N, K), in the order of their first numbers.

    Args:
        places: as ``domain.places`` gives them.
        most: groups, at most.
    """
    from sklearn.cluster import KMeans

    groups = max(1, min(most, len(places) // ENOUGH))
    centres = KMeans(groups, n_init=5, random_state=0).fit(places).cluster_centers_
    return {CENTRES: centres[np.argsort(centres[:, 0])].astype(np.float32)}


def squares(places: np.ndarray, kept: Mapping[str, np.ndarray]) -> np.ndarray:
    """Squared distances (N, groups) of places (N, K) from the centres; 0 from the one group where nothing is kept."""
    if CENTRES not in kept:
        return np.zeros((len(places), 1))
    return ((places[:, None] - kept[CENTRES].astype(np.float64)) ** 2).sum(-1)


def groups_of(places: np.ndarray, kept: Mapping[str, np.ndarray]) -> np.ndarray:
    """Group (N,) int of places (N, K); all are of group 0 where nothing is kept."""
    return np.argmin(squares(places, kept), axis=1)


def may_be(place: np.ndarray, kept: Mapping[str, np.ndarray], tolerance: float) -> list[int]:
    """Groups that a place (K,) may be in, where squared distances may be that much off of one another."""
    found = squares(place[None], kept)[0]
    return [int(group) for group in np.flatnonzero(found <= found.min() + tolerance)]


def count(kept: Mapping[str, np.ndarray]) -> int:
    """How many groups there are, at least one."""
    return len(kept[CENTRES]) if CENTRES in kept else 1
