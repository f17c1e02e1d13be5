"""Draws the regions of a picture over it, so that it reads without colour too: numbers on the tiles, and a contour around the higher part."""

from __future__ import annotations

import io
from textwrap import wrap

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from realgrain.evidence.regions import QUALITY, TIMES, Regions, heat
from realgrain.picture.degrade import Pixels

LONGEST, LEAST = 1200, 640
"""Sides of the drawn picture, pixels: shrunk or, with square pixels, enlarged to lie between."""
LOW, HIGH = (33, 102, 172), (230, 97, 1)
"""Blue and orange, which people who cannot tell red from green tell apart."""
STRENGTH = 0.45
"""Opacity of the strongest colour."""
FONT, LINE, EDGE = 15, 20, 8
"""Size of the caption's letters, its lines and its margin, pixels."""


def words(found: Regions) -> str:
    """What a map says, and what it does not."""
    rule = f"spread {found.spread:.2f} against {TIMES:g} x {found.wobble:.2f}, {TIMES:g} times what a re-save as JPEG {QUALITY} changes"
    if not found.localised:
        return f"Not localised: the score does not come from one part of the picture more than from another ({rule})."
    values = [tile.logit for tile in found.tiles]
    return (
        f"Logit of each tile, {min(values):+.1f} to {max(values):+.1f}: higher (orange) looks more AI-generated to the detector, and a line divides "
        f"higher from lower ({rule}). "
        "Where the score comes from, not proof of what was generated: whole photographs and wholly generated pictures vary too."
    )


def draw(pixels: Pixels, found: Regions) -> bytes:
    """A PNG: the picture with its map, and the words below. A map that is not localised has no colours and no numbers.

    Args:
        pixels: (H, W, 3) uint8, of the picture that was scored.
        found: its regions.

    Raises:
        ValueError: the regions are those of a picture of another size.
    """
    return _captioned(Image.fromarray(overlay(pixels, found)), words(found))


def overlay(pixels: Pixels, found: Regions, letters: int = FONT) -> Pixels:
    """The picture with its map, without words: (H', W', 3) uint8, shrunk or enlarged as ``LONGEST`` and ``LEAST`` say.

    Args:
        pixels: as ``draw`` takes them.
        found: likewise.
        letters: size of the numbers, at most, pixels of the result.

    Raises:
        ValueError: the regions are those of a picture of another size.
    """
    if pixels.shape[:2] != (found.height, found.width):
        raise ValueError(f"the regions are of {found.width} x {found.height} pixels, the picture has {pixels.shape[1]} x {pixels.shape[0]}")
    picture = _sized(Image.fromarray(pixels))
    return np.asarray(_coloured(picture, found, letters) if found.localised else picture)


def _sized(picture: Image.Image) -> Image.Image:
    longest = max(picture.size)
    factor = min(max(longest, LEAST), LONGEST) / longest
    size = tuple(max(1, round(side * factor)) for side in picture.size)
    return picture.resize((size[0], size[1]), Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.NEAREST)


def _coloured(picture: Image.Image, found: Regions, letters: int) -> Image.Image:
    field = heat(found, *picture.size)
    low, high = field.min(), field.max()
    level = (field - (low + high) / 2) / max((high - low) / 2, np.finfo(float).tiny)
    opacity = (STRENGTH * np.abs(level))[..., None]
    colour = np.where(level[..., None] > 0, HIGH, LOW)
    drawn = np.asarray(picture) * (1 - opacity) + colour * opacity
    for width, ink in ((2, 0), (1, 255)):  # black around white: seen on any picture
        drawn[_contour(level > 0, width)] = ink
    image = Image.fromarray(drawn.round().astype(np.uint8))
    _number(image, found, letters)
    return image


def _contour(inside: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Cells within ``width`` of the border of a region (H, W)."""
    near = np.zeros_like(inside)
    for axis in (0, 1):
        change = np.swapaxes(np.diff(inside, axis=axis), 0, axis)
        marked = np.swapaxes(near, 0, axis)
        for shift in range(-width, width + 1):
            rows = np.arange(len(change))
            kept = (rows + shift >= 0) & (rows + shift < len(marked))
            marked[rows[kept] + shift] |= change[kept]
    return near


def _number(image: Image.Image, found: Regions, letters: int) -> None:
    draw = ImageDraw.Draw(image)
    across = len({tile.box.left for tile in found.tiles})
    font = ImageFont.load_default(max(9, min(letters, image.width // (4 * across))))
    for tile in found.tiles:
        x = (tile.box.left + tile.box.width / 2) * image.width / found.width
        y = (tile.box.top + tile.box.height / 2) * image.height / found.height
        draw.text((x, y), f"{tile.logit:+.1f}", "white", font, anchor="mm", stroke_width=2, stroke_fill="black")


def _captioned(picture: Image.Image, text: str) -> bytes:
    font = ImageFont.load_default(FONT)
    width = max(picture.width, LEAST)
    letters = int((width - 2 * EDGE) / font.getlength("n"))
    lines = wrap(text, letters)
    canvas = Image.new("RGB", (width, picture.height + LINE * len(lines) + 2 * EDGE), "white")
    canvas.paste(picture, ((width - picture.width) // 2, 0))
    draw = ImageDraw.Draw(canvas)
    for place, line in enumerate(lines):
        draw.text((EDGE, picture.height + EDGE + LINE * place), line, "black", font)
    file = io.BytesIO()
    canvas.save(file, "PNG")
    return file.getvalue()
