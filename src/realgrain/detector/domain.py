"""Is a picture like those that the detector was validated on? How far its feature is from those of the training pictures, by direction.

And whether it has longer straight borders than photographs have (``realgrain.picture.borders``), as a screenshot that shows one has.

A feature is the mean over a picture's views, less the training mean. Its distance is one minus the mean cosine to the nearest training pictures;
only the leading principal directions count in the product, but all of them in the lengths: what points where no training picture does is far from
all of them (nearest neighbours as in Sun et al. 2022; the projection, which keeps the bundle small, and all numbers are our choice:
docs/decisions/0010).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from realgrain.detector import content
from realgrain.detector.calibration import Rate, rate_of, threshold

COMPONENTS = 32  # principal directions
NEIGHBOURS = 5
MOST = 2048  # training pictures that are kept, spread evenly
TARGET = 0.05  # of left-out photographs that may be called outside
BORDERS_TARGET = 0.04  # of photographs that may be for their straight borders
MEAN, BASIS, REFERENCES = "domain/mean", "domain/basis", "domain/references"


class Domain(BaseModel):
    """From where on a picture is outside, and how often real and generated pictures of left-out sources, or of a profile, were.

    Attributes:
        threshold: distance, in [0, 2], or length of straight borders, in [0, 2], at or above which a picture is outside.
        target: share of real pictures that it was chosen for.
        false_alarm: real ones that are outside, each in its farthest delivery.
        generated: the same of generated ones; None where there are none.
        false_alarm_per_source: of each real source.
        deliveries: in which they were looked at.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float
    target: float = Field(gt=0, lt=1)
    false_alarm: Rate
    generated: Rate | None
    false_alarm_per_source: dict[str, Rate]
    deliveries: tuple[str, ...]


class InDomain(BaseModel):
    """Where a picture lies; ``false_alarm`` is the card's, ``group`` that of ``content``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    distance: float
    threshold: float
    outside: bool
    false_alarm: Rate
    group: int = Field(ge=0)


class Borders(BaseModel):
    """Length of a picture's straight borders, by ``realgrain.picture.borders``, and from which on it is outside; ``false_alarm`` is the card's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    length: float
    threshold: float
    outside: bool
    false_alarm: Rate


def fit(features: np.ndarray) -> dict[str, np.ndarray]:
    """What is kept of training pictures' features (N, V, D): a few hundred kB at most.

    Args:
        features: of V views each.
    """
    each = features.mean(axis=1, dtype=np.float64)
    kept = np.unique(np.linspace(0, len(each) - 1, min(MOST, len(each))).astype(int))
    mean = each.mean(0)
    centred = each - mean
    basis = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :COMPONENTS]
    basis *= np.sign(basis[np.abs(basis).argmax(0), np.arange(basis.shape[1])])  # an axis has no sign of its own
    references = _directions(centred[kept], basis)
    return {MEAN: mean.astype(np.float32), BASIS: basis.astype(np.float32), REFERENCES: references.astype(np.float16)}


def distances(features: np.ndarray, kept: Mapping[str, np.ndarray]) -> np.ndarray:
    """Distance (N,) float64 in [0, 2] of pictures' features (N, V, D) from what ``fit`` kept."""
    return _far(places(features, kept), kept)


def places(features: np.ndarray, kept: Mapping[str, np.ndarray]) -> np.ndarray:
    """Directions (N, K) from the training mean of pictures' features (N, V, D), as far as they lie in the K leading ones."""
    return _directions(features.mean(axis=1, dtype=np.float64) - kept[MEAN], kept[BASIS].astype(np.float64))


def _far(places: np.ndarray, kept: Mapping[str, np.ndarray]) -> np.ndarray:
    cosines = places @ kept[REFERENCES].astype(np.float64).T
    return 1 - np.sort(cosines, axis=1)[:, -NEIGHBOURS:].mean(axis=1)


def _directions(centred: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Unit vectors (N, D), of which the part along the basis (D, K) is kept: (N, K)."""
    return centred @ basis / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)


def choose(
    found: Mapping[str, Sequence[float] | np.ndarray], fake: np.ndarray, source: np.ndarray, at_least: float = 0, target: float = TARGET
) -> Domain:
    """Set the threshold by the distances of pictures that were not learned from, as that of a verdict is (``calibration.threshold``), and measure it.

    Args:
        found: distances, or lengths of borders, (N,) of the same N pictures in each delivery.
        fake: (N,) bool, some of them false.
        source: (N,) names.
        at_least: the threshold is not set below it.
        target: share of real pictures that may be outside.
    """
    farthest = np.max(np.stack([np.asarray(each, np.float64) for each in found.values()]), axis=0)
    least = max(at_least, threshold(np.sort(farthest[~fake]), target)[0])

    def beyond(mine: np.ndarray) -> Rate:
        return rate_of(int(np.sum(farthest[mine] >= least)), int(mine.sum()))

    return Domain(
        threshold=least,
        target=target,
        false_alarm=beyond(~fake),
        generated=beyond(fake) if fake.any() else None,
        false_alarm_per_source={str(name): beyond(~fake & (source == name)) for name in sorted(set(source[~fake]))},
        deliveries=tuple(found),
    )


def placed(features: np.ndarray, domain: Domain, kept: Mapping[str, np.ndarray]) -> InDomain:
    """Where a picture with features (V, D) lies."""
    place = places(features[None], kept)
    distance, group = float(_far(place, kept)[0]), int(content.groups_of(place, kept)[0])
    return InDomain(distance=distance, threshold=domain.threshold, outside=distance >= domain.threshold, false_alarm=domain.false_alarm, group=group)


def bordered(length: float, borders: Domain) -> Borders:
    """Whether a picture's straight borders are longer than photographs have them."""
    return Borders(length=length, threshold=borders.threshold, outside=length >= borders.threshold, false_alarm=borders.false_alarm)
