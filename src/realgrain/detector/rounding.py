"""Eight-bit arithmetic as numbers: which activations of a tower are rounded, and to which steps. No runtime and no torch in here.

Weights are rounded symmetrically, a step for each output channel; activations to 256 steps between two ends that were seen on real pictures, one
pair for the whole tensor. Channels that are large in activations are made smaller, and the weights that they meet larger by as much, which changes
no value before rounding (SmoothQuant: Xiao et al. 2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Range = tuple[float, float]
RANGES, SMOOTH = "ranges", "smooth."
QUARTERS = 4  # divisors are powers of two with an exponent in quarters: one byte each, and their exact size does not matter

POINTS = ("attention", "mixed", "fc1", "fc2")
"""Of each block: what query, key and value projections read, what the output projection reads, and what the two layers of the perceptron read. A
point's name is ``<block>.<one of these>``. The products inside attention stay in floating point: rounding them cost accuracy and gained no time
(docs/decisions/0016)."""
SMOOTHED: Mapping[str, tuple[str | None, tuple[str, ...]]] = {
    "attention": ("layer_norm1", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
    "fc1": ("layer_norm2", ("mlp.fc1",)),
    "fc2": (None, ("mlp.fc2",)),
}
"""Points whose channels are scaled: what is scaled down, and what is scaled up. What comes out of the activation function is divided where it is, by
an array of its own, ``INNER``: runtimes make that part of the rounding."""
INNER = "mlp.activation.scale"


def layer_name(layer: int) -> str:
    """Start of the names of a block's arrays."""
    return f"vision_model.encoder.layers.{layer}."


def step_of(low: float, high: float) -> tuple[float, int]:
    """Size of a step and the step of zero, for unsigned eight bits that reach from ``low`` to ``high``, and always to zero."""
    low, high = min(low, 0.0), max(high, 0.0)
    step = max((high - low) / 255, 1e-12)
    return step, round(-low / step)


def rounded_weight(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A weight (out, in) as int8 of the same shape, and the step (out,) float32 of each output channel."""
    step = np.maximum(np.abs(weight).max(1) / 127, 1e-12).astype(np.float32)
    return np.clip(np.rint(weight / step[:, None]), -127, 127).astype(np.int8), step


def smoothed(tower: Mapping[str, np.ndarray], smooth: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same tower with channels scaled: what it computes differs by the order of sums only.

    Args:
        tower: arrays under their transformers names.
        smooth: by point, the divisor (hidden,) of each of its channels, above 0; points of ``SMOOTHED`` only.
    """
    found = dict(tower)
    for point, divisor in smooth.items():
        layer, _, kind = point.partition(".")
        name = layer_name(int(layer))
        before, after = SMOOTHED[kind]
        divisor = np.asarray(divisor, np.float32)
        if before is None:
            found[name + INNER] = 1 / divisor
        else:
            weight = found[f"{name}{before}.weight"]
            found[f"{name}{before}.weight"] = weight / divisor.reshape(-1, *[1] * (weight.ndim - 1))
            found[f"{name}{before}.bias"] = found[f"{name}{before}.bias"] / divisor
        for part in after:
            found[f"{name}{part}.weight"] = found[f"{name}{part}.weight"] * divisor
    return found


@dataclass(frozen=True)
class Rounding:
    """How a tower is rounded.

    Attributes:
        ranges: lowest and highest value by point, of what is left after smoothing; points that are not named stay as they are.
        smooth: by point, the divisor (channels,) float32 of each channel.
    """

    ranges: dict[str, Range]
    smooth: dict[str, np.ndarray]


def as_arrays(rounding: Rounding, blocks: int) -> dict[str, np.ndarray]:
    """What a bundle keeps: ``ranges`` (blocks, points, 2) float32, NaN where nothing is rounded, and ``smooth.<point>`` (blocks, channels) int8."""
    nothing = (np.nan, np.nan)
    ranges = [[rounding.ranges.get(f"{layer}.{point}", nothing) for point in POINTS] for layer in range(blocks)]
    found = {RANGES: np.array(ranges, np.float32)}
    for kind in SMOOTHED:
        if f"0.{kind}" in rounding.smooth:
            found[SMOOTH + kind] = np.stack([exponents(rounding.smooth[f"{layer}.{kind}"]) for layer in range(blocks)])
    return found


def from_arrays(arrays: Mapping[str, np.ndarray]) -> Rounding:
    """What ``as_arrays`` took.

    Raises:
        ValueError: arrays of other names or shapes.
    """
    ranges = arrays.get(RANGES, np.empty(0))
    smooth = {name.removeprefix(SMOOTH): array for name, array in arrays.items() if name != RANGES}
    fits = all(array.ndim == 2 and array.dtype == np.int8 and len(array) == len(ranges) for array in smooth.values())
    if ranges.ndim != 3 or ranges.shape[1:] != (len(POINTS), 2) or not fits or not smooth.keys() <= SMOOTHED.keys():
        found = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"ranges (blocks, {len(POINTS)}, 2) and smooth.* (blocks, channels) int8 are wanted, not {found}")
    known = {
        f"{layer}.{point}": (float(low), float(high))
        for layer, each in enumerate(ranges)
        for point, (low, high) in zip(POINTS, each, strict=True)
        if np.isfinite([low, high]).all()
    }
    return Rounding(known, {f"{layer}.{kind}": divisors(row) for kind, array in smooth.items() for layer, row in enumerate(array)})


def exponents(divisor: np.ndarray) -> np.ndarray:
    """The nearest powers of two with exponents in quarters, as int8."""
    return np.clip(np.rint(np.log2(divisor) * QUARTERS), -127, 127).astype(np.int8)


def divisors(exponent: np.ndarray) -> np.ndarray:
    """Of ``exponents``: float32."""
    return np.exp2(exponent.astype(np.float32) / QUARTERS)
