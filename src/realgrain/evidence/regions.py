"""Where in a picture its score comes from: the detector on overlapping tiles at native resolution, through the same runtime.

A tile's logit is what the detector would say if that tile were the whole picture. It is not proof of where a generator was at work: whole photographs
and whole generated pictures vary from tile to tile too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from realgrain.picture.degrade import Pixels, jpeg
from realgrain.picture.views import ViewSpec, make_views

Scorer = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Views (N, 3, H, W) to logits (N,), such as ``Runtime.logits``."""

MOST = 64
"""Tiles of a picture, at most (our choice); each is looked at twice."""
OVERLAPS = (0.5, 0.25, 0.0)
"""Of neighbouring tiles, as a share of their side; the first that the number of tiles allows."""
BATCH = 8
"""Views in one run."""
QUALITY = 75
"""JPEG, of the re-save whose effect a map must exceed (our choice: a usual default of encoders)."""
TIMES = 2.0
"""How many times that effect the spread of a map must be (our choice)."""
RESOLUTION = 1e-6
"""Of logits, which are float32: less spread than this is none."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Box(_Part):
    """A rectangle of a picture, pixels from its top left."""

    left: int = Field(ge=0)
    top: int = Field(ge=0)
    width: int = Field(ge=1)
    height: int = Field(ge=1)


class Tile(_Part):
    """A part of a picture and its logits, as it is and after a re-save; higher: more likely AI-generated."""

    box: Box
    logit: float
    resaved: float


class Regions(_Part):
    """The tiles of a picture, row by row.

    Attributes:
        width: of the picture, pixels.
        height: likewise.
        spread: standard deviation of the tiles' logits.
        wobble: standard deviation of what a re-save as JPEG of quality ``QUALITY`` adds to them.
        localised: whether the spread is above ``TIMES`` the wobble, and above ``RESOLUTION``; never with fewer than two tiles.
    """

    width: int
    height: int
    spread: float
    wobble: float
    localised: bool
    tiles: list[Tile]


def tiling(width: int, height: int, side: int, most: int = MOST) -> list[Box]:
    """Boxes that cover a picture, evenly spread, row by row.

    They are ``side`` pixels wide and high, and overlap as much as ``most`` allows; where that is not enough even without overlap, they are larger. No
    box is larger than the picture.

    Args:
        width: of the picture, pixels, at least 1.
        height: likewise.
        side: of a tile, pixels: that of the detector's views.
        most: tiles.

    Raises:
        ValueError: a number below 1.
    """
    if min(width, height, side, most) < 1:
        raise ValueError(f"sizes and the number of tiles must be at least 1, got {width} x {height}, {side} and {most}")
    while True:
        for overlap in OVERLAPS:
            columns, rows = (_steps(length, side, overlap) for length in (width, height))
            if columns * rows <= most:
                wide, high = min(side, width), min(side, height)
                lefts, tops = _starts(width - wide, columns), _starts(height - high, rows)
                return [Box(left=left, top=top, width=wide, height=high) for top in tops for left in lefts]
        side += max(1, side // 4)


def _steps(length: int, side: int, overlap: float) -> int:
    return 1 if length <= side else ceil((length - side) / (side * (1 - overlap))) + 1


def _starts(room: int, count: int) -> list[int]:
    return [0] if count == 1 else [room * place // (count - 1) for place in range(count)]


def tile_logits(pixels: Pixels, boxes: Sequence[Box], spec: ViewSpec, scorer: Scorer) -> NDArray[np.float64]:
    """Logit of each box (N,): the mean over the views of the box as a picture of its own.

    Args:
        pixels: (H, W, 3) uint8.
        boxes: inside the picture.
        spec: the detector's views. Of a box of exactly their size all show the same square, so that equal ones are run once.
        scorer: the detector's runtime.
    """
    views: list[NDArray[np.float32]] = []
    owner: list[int] = []
    for number, box in enumerate(boxes):
        made = make_views(pixels[box.top : box.top + box.height, box.left : box.left + box.width], spec)
        views += list(made)
        owner += [number] * len(made)
    distinct: dict[bytes, int] = {}
    which = np.array([distinct.setdefault(view.tobytes(), len(distinct)) for view in views])
    first = np.unique(which, return_index=True)[1]
    scores = np.concatenate([scorer(batch) for batch in _batches([views[place] for place in first])])
    return np.bincount(owner, scores[which].astype(np.float64)) / np.bincount(owner)


def _batches(views: Sequence[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(views), BATCH):
        yield np.stack(views[start : start + BATCH])


def regions(pixels: Pixels, spec: ViewSpec, scorer: Scorer, *, most: int = MOST) -> Regions:
    """Score the tiles of a picture, as they are and after a re-save.

    Args:
        pixels: (H, W, 3) uint8.
        spec: of the detector.
        scorer: of the detector.
        most: tiles.

    Raises:
        ValueError: ``most`` below 1.
    """
    height, width = pixels.shape[:2]
    boxes = tiling(width, height, spec.size, most)
    logits, resaved = (tile_logits(version, boxes, spec, scorer) for version in (pixels, jpeg(pixels, QUALITY)))
    return judged(width, height, boxes, logits, resaved)


def judged(width: int, height: int, boxes: Sequence[Box], logits: NDArray[np.float64], resaved: NDArray[np.float64]) -> Regions:
    """Tell a map that says something from a flat one, by the rule of ``Regions``."""
    spread, wobble = float(np.std(logits)), float(np.std(resaved - logits))
    localised = len(boxes) > 1 and spread > max(TIMES * wobble, RESOLUTION)
    tiles = [Tile(box=box, logit=float(a), resaved=float(b)) for box, a, b in zip(boxes, logits, resaved, strict=True)]
    return Regions(width=width, height=height, spread=spread, wobble=wobble, localised=localised, tiles=tiles)


def heat(found: Regions, width: int, height: int) -> NDArray[np.float64]:
    """Mean logit of the tiles over each cell of a grid (height, width) laid over the picture; every cell is under a tile."""
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for tile in found.tiles:
        box = tile.box
        rows = slice(box.top * height // found.height, ceil((box.top + box.height) * height / found.height))
        columns = slice(box.left * width // found.width, ceil((box.left + box.width) * width / found.width))
        total[rows, columns] += tile.logit
        count[rows, columns] += 1
    return total / count
