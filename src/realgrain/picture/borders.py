"""Straight borders of even areas: what screenshots, pages and framed pictures have, and photographs hardly do."""

from __future__ import annotations

import numpy as np

CELLS = 64  # along the longer side
SMALLEST = 8  # pixels a cell
EVEN = 2  # levels by which an even cell may vary, and by which even neighbours of one area may differ


def straight_borders(pixels: np.ndarray) -> float:
    """How long the two longest straight borders of even areas are together, as a share of the longer side, in [0, 2].

    The picture is looked at in square cells. A border is a row of adjacent cells, each even and all of one colour, that has cells which are not even
    on its other side: above it, below, to the left or to the right. The longest of each of the four kinds is found, and the two longest of these
    count: a horizon alone is one, a photograph in a window has up to four. Sensors leave grain in what looks even, drawn areas have none, and what
    JPEG leaves of either is at most a level or two; cells are of at least 8 pixels, as JPEG's are (our choice: docs/decisions/0010).

    Args:
        pixels: RGB (H, W, 3) uint8.
    """
    size = max(SMALLEST, -(-max(pixels.shape[:2]) // CELLS))
    rows, columns = pixels.shape[0] // size, pixels.shape[1] // size
    if not rows or not columns:
        return 0.0
    highest, lowest = (_of_cells(pixels, size, extreme) for extreme in (np.maximum, np.minimum))
    even, colour = (highest - lowest).max(-1) <= EVEN, (highest + lowest) / 2
    across = [_longest(even, colour, side) for side in (1, -1)]
    down = [_longest(even.T, colour.transpose(1, 0, 2), side) for side in (1, -1)]
    return float(sum(sorted(across + down)[-2:]) / max(rows, columns))


def _of_cells(pixels: np.ndarray, size: int, extreme: np.ufunc) -> np.ndarray:
    """The highest or lowest level of each channel in each whole cell: (R, C, 3) int."""
    rows, columns = pixels.shape[0] // size, pixels.shape[1] // size
    lines = extreme.reduce(pixels[: rows * size].reshape(rows, size, -1), axis=1)  # first, as memory has them: all but the last of the work
    return extreme.reduce(lines.reshape(rows, -1, 3)[:, : columns * size].reshape(rows, columns, size, 3), axis=2).astype(int)


def _longest(even: np.ndarray, colour: np.ndarray, side: int) -> int:
    """Longest stretch of a row of even cells (R, C) of one colour (R, C, 3) whose neighbours in the row ``side`` further down are not even."""
    other = np.roll(~even, -side, axis=0)
    other[-1 if side == 1 else 0] = False  # the picture's edge is no border
    border = even & other
    goes_on = np.abs(np.diff(colour, axis=1)).max(-1, initial=0) <= EVEN
    longest = stretch = border[:, 0].astype(int)
    for column in range(1, border.shape[1]):
        stretch = np.where(border[:, column], 1 + stretch * goes_on[:, column - 1], 0)
        longest = np.maximum(longest, stretch)
    return int(longest.max())
