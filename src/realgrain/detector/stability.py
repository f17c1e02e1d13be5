"""Does a verdict survive a re-save? The same picture through a fixed set of harmless changes, judged by the same runtime.

What a reader receives has nearly always been saved again, and whoever sends it chooses how: a verdict that such a change turns round is none. The set
is small, because each of its views costs what the picture itself costs. Which changes is our choice, and so is what takes a verdict
back (docs/decisions/0015).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from realgrain.detector.calibration import Calibration, probability
from realgrain.picture import degrade
from realgrain.picture.conditions import condition
from realgrain.picture.degrade import Pixels

PICTURE = "picture"
"""Name of the picture itself among its views."""
VIEWS: Mapping[str, Callable[[Pixels], Pixels]] = MappingProxyType(
    {
        **{name: condition(name) for name in ("jpeg-90", "jpeg-70", "jpeg-50")},
        "half": condition("half"),
        "flip": degrade.flip,
        "crop-0.9": condition("crop-0.9"),
    }
)
"""Name -> change."""


class SavedAgain(BaseModel):
    """One view of the picture; the probability is None where the detector has no scale."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    logit: float
    probability: float | None = Field(ge=0, le=1)


class Stability(BaseModel):
    """What the detector says of a picture and of its views.

    Attributes:
        views: the picture itself first, under the name ``picture``.
        minimum: of their probabilities; None where the detector has no scale.
        median: likewise.
        maximum: likewise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    views: list[SavedAgain]
    minimum: float | None
    median: float | None
    maximum: float | None

    @property
    def logits(self) -> list[float]:
        """Of the picture and its views."""
        return [view.logit for view in self.views]


def changed(pixels: Pixels, smallest_side: int) -> Iterator[tuple[str, Pixels]]:
    """Views of a picture (H, W, 3) uint8, by name; none that would have a side below what the detector judges, where the picture has not."""
    least = min(smallest_side, *pixels.shape[:2])
    for name, change in VIEWS.items():
        view = change(pixels)
        if min(view.shape[:2]) >= least:
            yield name, view


def stability(logit: float, views: Mapping[str, float], calibration: Calibration | None) -> Stability:
    """Summarise the logits of a picture and of its views, as ``changed`` names them."""
    logits = {PICTURE: logit, **views}
    chances = {name: None if calibration is None else float(probability(calibration, value)) for name, value in logits.items()}
    known = [chance for chance in chances.values() if chance is not None]
    ends = (min(known), float(np.median(known)), max(known)) if known else (None, None, None)
    each = [SavedAgain(name=name, logit=value, probability=chances[name]) for name, value in logits.items()]
    return Stability(views=each, minimum=ends[0], median=ends[1], maximum=ends[2])
