"""What is hidden from the tower in training: which patches of a picture, and what stands in their place.

Pictures of both classes are masked alike, in training only. Random masks are those of LoL (arXiv 2412.00665), texture masks those of MPFT
(arXiv 2601.03586); that a patch is a token of the tower, the fills, ``low_texture`` and ``soft`` are our choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

Kind = Literal["none", "random", "texture", "low_texture", "soft"]
Fill = Literal["mean", "black", "drop"]

# ITU-R BT.601 in 65536ths (0.299, 0.587, 0.114): with Pillow's own factors and rounding the result is its mode "L" to the last level.
_RED, _GREEN, _BLUE, _HALF, _BITS = 19595, 38470, 7471, 1 << 15, 16


@dataclass(frozen=True)
class Masking:
    """One of a recipe's axes: what is hidden.

    Attributes:
        kind: ``none``; ``random``: any patches; ``texture``: the most textured; ``low_texture``: the smoothest, a control; ``soft``: drawn, textured
            ones more often, so that a picture does not show the same patches in every epoch.
        ratio: share of the patches that is hidden, at least 0 and below 1; rounded down to whole patches. The papers' value is not known to us;
            half hides as much as it shows.
        fill: ``mean``: the colour that normalisation takes to 0, so that a hidden patch is neither dark nor bright; ``black``; ``drop``: hidden
            tokens do not enter the encoder at all, which takes about half the time (README) and needs as many kept in each picture.
        probability: 0..1, that a picture is masked; drawn for each, but with ``drop`` for the whole batch, which must stay rectangular.
        power: of ``soft``, at least 0: patches are drawn without replacement, each with weight rank**power, rank 1 being the smoothest. 0 is as
            ``random``; the larger, the closer to ``texture``; 2 lies between (our choice).

    Raises:
        ValueError: unknown kind or fill, or a number out of its range.
    """

    kind: Kind = "none"
    ratio: float = 0.5
    fill: Fill = "mean"
    probability: float = 1.0
    power: float = 2.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"unknown kind of masking {self.kind!r}: it is one of {', '.join(get_args(Kind))}")
        if self.fill not in get_args(Fill):
            raise ValueError(f"unknown fill {self.fill!r}: it is one of {', '.join(get_args(Fill))}")
        if not 0 <= self.ratio < 1:
            raise ValueError(f"ratio of hidden patches must be at least 0 and below 1, got {self.ratio}")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability of masking must be 0..1, got {self.probability}")
        if not (self.power >= 0 and math.isfinite(self.power)):
            raise ValueError(f"power must be finite and at least 0, got {self.power}")


def luminance(views: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Grey levels of normalised views (ITU-R BT.601).

    Values are brought back to the whole levels that the views were made from. Differences and sums of whole levels are exact, so that the order
    of patches depends neither on the machine nor on the rest of the batch, and even patches, such as a blown-out sky, really tie.

    Args:
        views: (N, 3, H, W), red, green and blue.
        mean: of the normalisation, scale 0..1, one of each channel.
        std: of the normalisation.

    Returns:
        (N, H, W) float32, whole numbers 0..255; values outside what 8 bits can hold are clipped.

    Raises:
        ValueError: views of another shape.
    """
    if views.ndim != 4 or views.shape[1] != 3:
        raise ValueError(f"views must be (N, 3, H, W), got {tuple(views.shape)}")
    centre, scale = (torch.tensor(tuple(values), device=views.device).view(3, 1, 1) for values in (mean, std))
    levels = ((views.detach().float() * scale + centre) * 255).round().clamp(0, 255).to(torch.int32)
    red, green, blue = levels.unbind(1)
    return ((_RED * red + _GREEN * green + _BLUE * blue + _HALF) >> _BITS).float()


def texture_diversity(luminance: Tensor, patch: int) -> Tensor:
    """How textured each patch is: absolute differences of neighbours in four directions, summed (l_div of PatchCraft, arXiv 2311.12397).

    The directions are horizontal, vertical, diagonal and anti-diagonal. A pair counts where one patch holds both pixels; others count nowhere.

    Args:
        luminance: (N, H, W), any floating type; whole levels 0..255 give exact sums for patches up to 128 pixels.
        patch: side of a patch, pixels, at least 1. Pixels at the right and bottom that fill no whole patch are left out, as by the tower.

    Returns:
        (N, patches) at least 0, row by row, patches = (H // patch) * (W // patch).

    Raises:
        ValueError: another shape, or no patch fits.
    """
    if luminance.ndim != 3:
        raise ValueError(f"luminance must be (N, H, W), got {tuple(luminance.shape)}")
    rows, columns = _grid(luminance, patch)
    whole = luminance[:, : rows * patch, : columns * patch]
    tiles = whole.reshape(-1, rows, patch, columns, patch).transpose(2, 3)
    upper, lower, left, right = tiles[..., :-1, :], tiles[..., 1:, :], tiles[..., :-1], tiles[..., 1:]
    pairs = (
        (left, right),
        (upper, lower),
        (upper[..., :-1], lower[..., 1:]),
        (upper[..., 1:], lower[..., :-1]),
    )
    return sum(((a - b).abs().sum((-2, -1)) for a, b in pairs), torch.zeros_like(tiles[..., 0, 0])).flatten(1)


def hidden_patches(luminance: Tensor, masking: Masking, patch: int, generator: torch.Generator | None) -> Tensor:
    """Choose the patches to hide. Labels play no part: a mask that differed between the classes would give them away.

    Args:
        luminance: (N, H, W), of ``luminance``.
        masking: what to hide.
        patch: side of a patch, pixels.
        generator: of every draw, on the device of the luminance; None: torch's own. A call draws equally many numbers whatever the pictures hold.

    Returns:
        (N, patches) bool, True for hidden: floor(ratio * patches) of each picture that is masked, none of the others. Patches that are equally
        textured take their places by lot.

    Raises:
        ValueError: another shape, or no patch fits.
    """
    diversity = texture_diversity(luminance, patch)
    count = int(masking.ratio * diversity.shape[1])
    if masking.kind == "none" or count == 0:
        return torch.zeros_like(diversity, dtype=torch.bool)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=diversity.device)

    masked = uniform(1 if masking.fill == "drop" else len(diversity), 1) < masking.probability
    rank = _ranks(torch.zeros_like(diversity) if masking.kind == "random" else diversity, uniform(*diversity.shape))
    if masking.kind == "texture":
        hidden = rank >= rank.shape[1] - count
    elif masking.kind == "soft":
        # Each patch rings after an exponential time at the rate of its weight; the first to ring are a weighted draw without replacement
        # (Efraimidis and Spirakis 2006). In logarithms, as a weight may overflow.
        wait = torch.empty_like(diversity, dtype=torch.float64).exponential_(generator=generator).log()
        hidden = _ranks(wait - masking.power * (rank + 1).double().log()) < count
    else:
        hidden = rank < count
    return hidden & masked


def fill_patches(views: Tensor, hidden: Tensor, patch: int, fill: Literal["mean", "black"], mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Paint over the hidden patches.

    Args:
        views: (N, 3, H, W) normalised.
        hidden: (N, patches) bool, of ``hidden_patches``.
        patch: side of a patch, pixels.
        fill: ``mean``: 0; ``black``: what normalisation makes of black.
        mean: of the normalisation, scale 0..1, one of each channel.
        std: of the normalisation.

    Returns:
        As `views`, which stay as they are; elsewhere the same to the last bit.

    Raises:
        ValueError: shapes that do not fit together, or a fill that is no colour.
    """
    rows, columns = _grid(views, patch)
    if views.ndim != 4 or views.shape[1] != 3 or hidden.shape != (len(views), rows * columns):
        raise ValueError(f"views (N, 3, H, W) and hidden (N, {rows * columns}) expected, got {tuple(views.shape)} and {tuple(hidden.shape)}")
    if fill not in ("mean", "black"):
        raise ValueError(f"fill must be mean or black, got {fill!r}: dropped patches have no colour")
    painted = hidden.view(-1, 1, rows, columns).repeat_interleave(patch, 2).repeat_interleave(patch, 3)
    height, width = views.shape[-2:]
    painted = torch.nn.functional.pad(painted, (0, width - columns * patch, 0, height - rows * patch))
    colour = torch.zeros(3)
    if fill == "black":
        colour = (colour - torch.tensor(tuple(mean))) / torch.tensor(tuple(std))  # float32 step by step, as make_views
    return torch.where(painted, colour.to(views).view(3, 1, 1), views)


def kept_tokens(hidden: Tensor) -> Tensor:
    """The patches that enter the encoder where hidden ones are dropped.

    Args:
        hidden: (N, patches) bool, N at least 1.

    Returns:
        (N, K) int64, indices of the visible patches in ascending order; the class token is not counted.

    Raises:
        ValueError: rows hide different numbers of patches, or there are none.
    """
    counts = sorted(set((~hidden).sum(1).tolist()))
    if len(counts) != 1:
        raise ValueError(f"every picture of a batch must keep equally many patches for tokens to be dropped, got {counts or 'no pictures'}")
    return (~hidden).nonzero()[:, 1].view(-1, counts[0])


def _grid(pictures: Tensor, patch: int) -> tuple[int, int]:
    """Rows and columns of whole patches in (..., H, W)."""
    height, width = pictures.shape[-2:]
    if not 1 <= patch <= min(height, width):
        raise ValueError(f"patches of {patch} pixels do not fit into {height} x {width}")
    return height // patch, width // patch


def _ranks(values: Tensor, lots: Tensor | None = None) -> Tensor:
    """Place of each value of (N, M) in its row, 0 the smallest; equal values by their lots (N, M)."""
    if lots is None:
        return values.argsort(1).argsort(1)
    shuffled = lots.argsort(1)
    order = shuffled.gather(1, values.gather(1, shuffled).argsort(dim=1, stable=True))
    return order.argsort(1)
