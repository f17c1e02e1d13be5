"""Weights between models and averages of them: what tuning learned, weighed against what the frozen tower knew, or against other runs.

Between a tuned model and what it started from: WiSE-FT (Wortsman et al. 2022, arXiv 2109.01903). Averages of runs from the same start: model soups
(Wortsman et al. 2022, arXiv 2203.05482). Both are sums of what each model adds to the same base, so a mixture ships like any other bundle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from realgrain.detector.merging import DELTA, DOWN, UP


@dataclass(frozen=True)
class Part:
    """What goes into a mixture.

    Attributes:
        share: of it; any number.
        head: ``weight`` (D,) and ``bias`` (1,).
        adapter: as ``realgrain.detector.merging.merge`` takes it; empty for the untuned tower.
    """

    share: float
    head: Mapping[str, np.ndarray]
    adapter: Mapping[str, np.ndarray]


def mix(parts: Sequence[Part]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Head and adapter of the weighted sum of models of one base.

    The sum is exact: low-rank changes of a weight are put side by side, so that their ranks add up.

    Args:
        parts: at least one; shares that sum to 1 make an average.

    Raises:
        ValueError: nothing to mix, or heads of different sizes.
    """
    if len({part.head["weight"].shape for part in parts}) != 1:
        raise ValueError("a mixture needs models, and heads of one size")
    head = {name: np.sum([part.share * part.head[name] for part in parts], axis=0).astype(np.float32) for name in ("weight", "bias")}
    adapter: dict[str, np.ndarray] = {}
    for key in sorted({key for part in parts for key in part.adapter}):
        having = [part for part in parts if key in part.adapter]
        kind = key.rpartition(".")[2]
        if kind == UP:
            adapter[key] = np.concatenate([part.share * part.adapter[key] for part in having], axis=1).astype(np.float32)
        elif kind == DOWN:
            adapter[key] = np.concatenate([part.adapter[key] for part in having])
        elif kind == DELTA:
            adapter[key] = np.sum([part.share * part.adapter[key] for part in having], axis=0).astype(np.float32)
        else:
            raise ValueError(f"{key}: an adapter's arrays end in .{UP}, .{DOWN} or .{DELTA}")
    return head, adapter
