"""From pixels to what a model sees: the only preprocessing in realgrain."""

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from realgrain.picture.degrade import extended, jpeg

Pixels = NDArray[np.uint8]

# The statistics CLIP was trained with (Radford et al. 2021), red, green, blue on a scale of 0..1.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

# Beyond this aspect ratio the long side is cut to what the view shows before resizing: 32 x 3,000,000 pixels would otherwise
# become 224 x 21,000,000 of which 224 x 224 are kept. Our choice.
_MAX_ASPECT = 500


@dataclass(frozen=True)
class View:
    """One way of looking at a picture.

    - resize: the whole picture but for its ends: shorter side resized to `size`, centre crop (CLIP, Radford et al. 2021).
    - crop: `size` x `size` native pixels from the centre, no resampling, so that the finest traces survive.
    - tiles: `grid` x `grid` such crops, spread evenly: the first at the top left, the last at the bottom right, row by row.
      They overlap where the picture is small, and are all the same crop where it is no larger than `size`.

    Args:
        kind: As above.
        size: Side of the result, pixels.
        grid: Tiles along each side; 1 for the other kinds.
        quality: Save each square as JPEG of this quality (1..100, colour 4:2:0) and look at what comes back; None: look at it as it is. After
            it, what a picture went through before matters less: clean and recompressed copies look more alike (our choice).

    Raises:
        ValueError: An unknown kind, a size or grid below 1, a grid for something other than tiles, or no such quality.
    """

    kind: Literal["resize", "crop", "tiles"]
    size: int = 224
    grid: int = 1
    quality: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("resize", "crop", "tiles"):
            raise ValueError(f"unknown kind of view {self.kind!r}: it is resize, crop or tiles")
        if self.size < 1 or self.grid < 1:
            raise ValueError(f"size and grid of a view must be at least 1, got {self.size} and {self.grid}")
        if self.grid != 1 and self.kind != "tiles":
            raise ValueError(f"only tiles have a grid, not {self.kind}")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise ValueError(f"quality of a view must be 1 to 100, got {self.quality}")

    @property
    def count(self) -> int:
        """How many squares this view gives, whatever the picture."""
        return self.grid * self.grid


@dataclass(frozen=True)
class ViewSpec:
    """All views of a picture, and how their values are normalised.

    Args:
        views: At least one, all of the same size. A list is taken too and becomes a tuple; so with the next two.
        mean: Of red, green and blue, subtracted; scale 0..1.
        std: Of red, green and blue, divided by; above 0.

    Raises:
        ValueError: No views, views of different sizes, or a mean or std that is not three finite (positive) numbers.
    """

    views: tuple[View, ...]
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD

    def __post_init__(self) -> None:
        for name in ("views", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        sizes = {view.size for view in self.views}
        if len(sizes) != 1:
            raise ValueError(f"a spec needs views of one size, got {sorted(sizes) or 'none'}")
        if not all(len(values) == 3 and all(map(math.isfinite, values)) for values in (self.mean, self.std)):
            raise ValueError(f"mean and std must be three finite numbers, got {self.mean} and {self.std}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be above 0, got {self.std}")

    @property
    def size(self) -> int:
        """Side of every view, pixels."""
        return self.views[0].size

    @property
    def count(self) -> int:
        """How many squares `make_views` gives for any picture: 1 for each resize or crop, grid x grid for tiles."""
        return sum(view.count for view in self.views)


def make_views(pixels: Pixels, spec: ViewSpec) -> NDArray[np.float32]:
    """Cut and normalise all views of one picture, in the order of the spec.

    Args:
        pixels: (H, W, 3) uint8 RGB, both sides at least 1.
        spec: What to make.

    Returns:
        (spec.count, 3, size, size) float32, contiguous, normalised; for "resize" the same to the last bit as
        `CLIPImageProcessorPil` of transformers 5 gives with the same Pillow, up to an aspect ratio of 500. Pillow 13 chooses which
        axis to resample first, so that other versions of it, and longer pictures here, may differ by some levels of 255.

    Raises:
        ValueError: `pixels` is of another shape or type.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or pixels.size == 0:
        raise ValueError(f"pixels must be (H, W, 3) uint8, got {pixels.shape} {pixels.dtype}")
    out = np.empty((spec.count, 3, spec.size, spec.size), dtype=np.float32)
    table = _levels(spec.mean, spec.std)
    squares = (square for view in spec.views for square in _squares(pixels, view))
    for target, square in zip(out, squares, strict=True):
        for channel in range(3):
            np.take(table[channel], square[:, :, channel], out=target[channel])
    return out


@functools.lru_cache(maxsize=16)
def _levels(mean: tuple[float, float, float], std: tuple[float, float, float]) -> NDArray[np.float32]:
    """Normalise the 256 possible values of each channel once, in the arithmetic of transformers: 1/255 in float64, the rest in 32."""
    scaled = (np.arange(256, dtype=np.float64) * (1 / 255)).astype(np.float32)
    return (scaled - np.array(mean, np.float32)[:, None]) / np.array(std, np.float32)[:, None]


def _squares(pixels: Pixels, view: View) -> Iterator[Pixels]:
    for square in _cut(pixels, view):
        yield square if view.quality is None else jpeg(np.ascontiguousarray(square), view.quality)


def _cut(pixels: Pixels, view: View) -> Iterator[Pixels]:
    if view.kind == "resize":
        yield _resized(pixels, view.size)
        return
    pixels = extended(pixels, view.size)
    height, width = pixels.shape[:2]
    for top in _starts(height - view.size, view):
        for left in _starts(width - view.size, view):
            yield pixels[top : top + view.size, left : left + view.size]


def _starts(room: int, view: View) -> list[int]:
    if view.grid == 1:  # the centre: also of a single tile, which has no corner of its own
        return [room // 2]
    return [room * i // (view.grid - 1) for i in range(view.grid)]


def _resized(pixels: Pixels, size: int) -> Pixels:
    height, width = pixels.shape[:2]
    short, long = sorted((height, width))
    reach = size * long // short
    start = (reach - size) // 2
    if long > _MAX_ASPECT * short:
        # Only the part of the source under the crop; Pillow still looks past the edges of the box, so no border appears.
        low, high = start * long / reach, (start + size) * long / reach
        box = (low, 0.0, high, float(height)) if width > height else (0.0, low, float(width), high)
        return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC, box=box))
    target = (size, reach) if width <= height else (reach, size)
    whole = np.asarray(Image.fromarray(pixels).resize(target, Image.Resampling.BICUBIC))
    return whole[start : start + size] if width <= height else whole[:, start : start + size]
