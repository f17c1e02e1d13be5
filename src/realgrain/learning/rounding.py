"""Measures how a tower is to be rounded to eight bits: how large its activations get on real pictures, and what rounding does to the scores.

ONNX Runtime in float32 is all that it needs, whatever the processor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from realgrain.detector.bundle import Bundle
from realgrain.detector.compose import base_of, rounded, tower_of
from realgrain.detector.graph import build_graph
from realgrain.detector.rounding import POINTS, SMOOTHED, Range, Rounding, divisors, exponents, layer_name

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

STRENGTH = MappingProxyType({"attention": 0.85, "fc1": 0.85, "fc2": 0.85})
"""How much of the difficulty goes from activations to weights, in [0, 1], by point: alpha of SmoothQuant. Chosen by the logit's error (our choice,
docs/decisions/0016)."""


def measure(bundle: Bundle, views: Sequence[np.ndarray]) -> Rounding:
    """Smoothing and ranges of a bundle's tower.

    Args:
        bundle: whose base, adapter and block.
        views: (V, 3, H, W) float32 of each picture, at least one picture.

    Raises:
        WeightsError: the base cannot be had.
        BundleError: the bundle does not fit it.
    """
    base = base_of(bundle)
    tower = tower_of(bundle, base)
    lows, highs = _extremes(bundle, tower, views)
    smooth = {point: found for point in lows if (found := _divisor(point, tower, np.maximum(-lows[point], highs[point]).max(0))) is not None}
    one = np.ones(1, np.float32)
    ranges = {point: (float((lows[point] / smooth.get(point, one)).min()), float((highs[point] / smooth.get(point, one)).max())) for point in lows}
    return Rounding(ranges, smooth)


def _extremes(bundle: Bundle, tower: dict[str, np.ndarray], views: Sequence[np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Lowest and highest value by point, (pictures, channels) float32 each."""
    session = _session(bundle, tower, watched=True)
    points = [output.name for output in session.get_outputs() if output.name.partition(".")[2] in POINTS]
    lows: dict[str, list[np.ndarray]] = {point: [] for point in points}
    highs: dict[str, list[np.ndarray]] = {point: [] for point in points}
    for one in tqdm(views, "measuring activations", disable=None):
        for point, values in zip(points, session.run(points, {"pixels": one}), strict=True):
            lows[point].append(np.asarray(values).min((0, 1)))
            highs[point].append(np.asarray(values).max((0, 1)))
    return {point: np.stack(each) for point, each in lows.items()}, {point: np.stack(each) for point, each in highs.items()}


class AsWritten:
    """What eight bits do to a detector's scores where the processor multiplies whole numbers exactly, as those with VNNI do: every rounding as the
    graph says it, in float32. Others clip sums, or do not round at all: a tolerance must not depend on which of them measured it.

    Attributes:
        name: for the progress bar.

    Args:
        bundle: which, with the ranges of its activations.
        group: activations are rounded as they come, so many channels at a time, instead of by these ranges; 0: by the ranges.

    Raises:
        WeightsError: the base cannot be had.
        BundleError: the bundle does not fit it.
    """

    name = "as written"

    def __init__(self, bundle: Bundle, group: int) -> None:
        tower = tower_of(bundle, base_of(bundle))
        if group:
            self._session = _session(bundle, tower, group=group, eight_bit_weights=True)
        else:
            self._session = _session(bundle, *rounded(bundle, tower))

    def look(self, views: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits (N,) and features (N, D) of views (N, 3, H, W)."""
        logits, features = self._session.run(["logit", "feature"], {"pixels": views})
        return np.asarray(logits), np.asarray(features)


def _session(
    bundle: Bundle, tower: Mapping[str, np.ndarray], ranges: Mapping[str, Range] = MappingProxyType({}), **settings: Any
) -> InferenceSession:
    """The bundle's graph, made of a tower's arrays, as it is written: left alone, ONNX Runtime makes integer arithmetic of the rounding."""
    import onnxruntime
    from onnx import numpy_helper

    card = bundle.card
    model, arrays = build_graph(tower, card.base.config, bundle.head, card.views.size, card.block, ranges, **settings)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _divisor(point: str, tower: dict[str, np.ndarray], largest: np.ndarray) -> np.ndarray | None:
    """SmoothQuant's divisor of each channel, |activation|^alpha / |weight|^(1 - alpha), scaled to a geometric mean of 1; None: not smoothed."""
    layer, _, kind = point.partition(".")
    if kind not in SMOOTHED:
        return None
    weight = np.max([np.abs(tower[f"{layer_name(int(layer))}{name}.weight"]).max(0) for name in SMOOTHED[kind][1]], 0)
    strength = STRENGTH[kind]
    found = np.maximum(largest, 1e-3) ** strength / np.maximum(weight, 1e-5) ** (1 - strength)
    return divisors(exponents(found / np.exp(np.log(found).mean())))
