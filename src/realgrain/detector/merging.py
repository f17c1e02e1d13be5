"""What an adapter learned, added to a tower's arrays: afterwards the tower is an ordinary one again and costs nothing more to run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

UP, DOWN, DELTA = "up", "down", "delta"


def merge(tower: Mapping[str, np.ndarray], adapter: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Add learned changes to the weights that they were learned for.

    Args:
        tower: arrays under their transformers names; not changed.
        adapter: for a weight of the tower, by its name, ``<name>.up`` (out, r) with ``<name>.down`` (r, in), a change of low rank; or
            ``<name>.delta``, a change of the weight's own shape; or both, which add up. A weight of more than two axes, such as a
            convolution's, counts as the matrix of its first axis against all the others.

    Returns:
        All of the tower's arrays, each of its own dtype. Those that the adapter does not name are the same objects, not copies.

    Raises:
        KeyError: an array of the adapter is for no weight of this tower, says not how to apply it, or comes without its other half.
        ValueError: an array of the adapter does not fit the weight.
    """
    merged = dict(tower)
    for key in sorted(adapter):
        name, _, part = key.rpartition(".")
        if part not in (UP, DOWN, DELTA):
            raise KeyError(f"{key}: an adapter's arrays end in .{UP}, .{DOWN} or .{DELTA}")
        if name not in tower:
            raise KeyError(f"{key}: the tower has no {name}")
        if part == DOWN:
            if f"{name}.{UP}" not in adapter:
                raise KeyError(f"{key}: comes without {name}.{UP}")
            continue  # applied together with its other half
        change = adapter[key] if part == DELTA else _product(name, tower[name], adapter)
        if change.shape != tower[name].shape:
            raise ValueError(f"{key}: {change.shape} does not fit {name}, which is {tower[name].shape}")
        merged[name] = (merged[name] + change).astype(tower[name].dtype, copy=False)
    return merged


def _product(name: str, weight: np.ndarray, adapter: Mapping[str, np.ndarray]) -> np.ndarray:
    """The change of low rank in the weight's shape."""
    up = adapter[f"{name}.{UP}"]
    if f"{name}.{DOWN}" not in adapter:
        raise KeyError(f"{name}.{UP}: comes without {name}.{DOWN}")
    down = adapter[f"{name}.{DOWN}"]
    if weight.ndim < 2:
        raise ValueError(f"{name}.{UP}: {name} is {weight.shape}, and only a matrix can change by low rank")
    rows, columns = weight.shape[0], weight[0].size
    if up.ndim != 2 or down.ndim != 2 or up.shape[1] != down.shape[0] or (up.shape[0], down.shape[1]) != (rows, columns):
        raise ValueError(f"{name}.{UP}, {name}.{DOWN}: {up.shape} times {down.shape} does not fit {name}, which is {weight.shape}")
    return (up @ down).reshape(weight.shape)
