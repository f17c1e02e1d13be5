"""CLIP image tower + linear head as one ONNX graph, built from named arrays without torch.

The graph is written by hand from the architecture (Radford et al. 2021, Dosovitskiy et al. 2021) in plain standard operators, so that ONNX
Runtime and OpenVINO read the same file. It holds no preprocessing and no calibration: pixels in, logit and the feature that it was read from out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from realgrain.detector.rounding import INNER, Range, layer_name, rounded_weight, step_of

if TYPE_CHECKING:
    import onnx

OPSET = 17  # the first with LayerNormalization; read by every runtime that we support
VERSION = 3  # part of the cache key: raise it when the graph changes
EIGHT, STEP = ".int8", ".step"  # after a linear weight's name: its array in eight bits, and the step of each output channel


class TowerConfig(BaseModel):
    """Architecture of a CLIP image tower, named as in transformers' ``CLIPVisionConfig``.

    Only what the graph needs is kept; other keys of a ``config.json`` are ignored.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    hidden_size: int = Field(768, gt=0)
    intermediate_size: int = Field(3072, gt=0)
    num_hidden_layers: int = Field(12, gt=0)
    num_attention_heads: int = Field(12, gt=0)
    patch_size: int = Field(32, gt=0)
    image_size: int = Field(224, gt=0)
    projection_dim: int = Field(512, gt=0)
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5


class _Graph:
    """Collects nodes and initialisers; each method adds one operator and returns the name of its output."""

    def __init__(self, ranges: Mapping[str, Range], eight_bit_weights: bool, group: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.points: dict[str, str] = {}
        self._ranges = ranges
        self._eight_bit_weights = eight_bit_weights
        self._group = group

    def array(self, name: str, value: np.ndarray) -> str:
        self.arrays[name] = np.ascontiguousarray(value)
        return name

    def ints(self, *values: int) -> str:
        return self.array("shape_" + "_".join(map(str, values)), np.array(values, np.int64))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def at(self, point: str, tensor: str, channels: int) -> str:
        """The tensor (N, tokens, channels) at a named point, in the 256 steps of its range where there is one, or of what comes."""
        self.points[point] = tensor
        if self._group:
            return self._as_it_comes(tensor, channels)
        if point not in self._ranges:
            return tensor
        scale, zero = step_of(*self._ranges[point])
        step = self.array(f"{point}.step", np.array(scale, np.float32)), self.array(f"{point}.zero", np.array(zero, np.uint8))
        return self.op("DequantizeLinear", self.op("QuantizeLinear", tensor, *step), *step)

    def _as_it_comes(self, tensor: str, channels: int) -> str:
        group = channels if channels % self._group else self._group
        parts = self.op("Reshape", tensor, self.ints(0, 0, channels // group, group))
        largest = self.op("ReduceMax", self.op("Abs", parts), axes=[3], keepdims=1)
        steps, least = self.array("steps", np.array(127, np.float32)), self.array("least", np.array(1e-12, np.float32))
        step = self.op("Max", self.op("Div", largest, steps), least)
        return self.op("Reshape", self.op("Mul", self.op("Round", self.op("Div", parts, step)), step), self.ints(0, 0, channels))

    def weight(self, name: str, value: np.ndarray, point: str) -> str:
        """A linear weight (out, in) as (in, out), in eight bits where what it is multiplied with is, or where all are."""
        if point not in self._ranges and not self._eight_bit_weights:
            return self.array(name, value.T)
        rounded, step = rounded_weight(value)
        parts = self.array(name + EIGHT, rounded.T), self.array(name + STEP, step), self.array(f"{name}.zero", np.zeros(len(step), np.int8))
        return self.op("DequantizeLinear", *parts, axis=1)


def build_graph(
    tower: Mapping[str, np.ndarray],
    config: TowerConfig,
    head: Mapping[str, np.ndarray],
    size: int,
    block: int | None = None,
    ranges: Mapping[str, Range] = MappingProxyType({}),
    *,
    eight_bit_weights: bool = False,
    group: int = 0,
    watched: bool = False,
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Compose tower and head.

    Args:
        tower: float32 arrays under their transformers names (``vision_model...``, ``visual_projection.weight``); linear weights (out, in).
        config: the tower's architecture.
        head: ``weight`` (D,) and ``bias`` (1,): logit = weight . feature + bias.
        size: side of a view, pixels. Where it is not the tower's own, position embeddings are interpolated as transformers does.
        block: which feature: the class token after this many transformer blocks (D = hidden_size; later blocks are left out of the graph), or
            None for the joint-space embedding (D = projection_dim), which is not L2-normalised.
        ranges: lowest and highest value of activations by point (``rounding.POINTS``): they, and the weights that they meet, are rounded to eight
            bits by pairs of QuantizeLinear and DequantizeLinear, which runtimes turn into integer arithmetic. Elsewhere the graph is float32.
        eight_bit_weights: all linear weights are eight-bit, also where their activations are not.
        group: what linear layers read is rounded as it comes, each token by itself, so many channels at a time, to 255 steps that are even about
            zero: what ``runtime.OpenVinoDynamic`` does, written out in float32; 0: it is not.
        watched: the activations at all points are outputs too, by name.

    Returns:
        The model, whose initialisers are named but empty, and their arrays. Input ``pixels`` float32 (N, 3, size, size), outputs ``logit`` float32
        (N,) and ``feature`` float32 (N, D), which the head reads.

    Raises:
        KeyError: an array is missing.
        ValueError: an activation that the graph does not know, a block that the tower does not have, or a head of another size.
    """
    from onnx import TensorProto, helper

    blocks = config.num_hidden_layers if block is None else block
    if not 1 <= blocks <= config.num_hidden_layers:
        raise ValueError(f"block {block}: this tower has blocks 1 to {config.num_hidden_layers}")
    read, wanted = np.size(head["weight"]), config.projection_dim if block is None else config.hidden_size
    if read != wanted:
        raise ValueError(f"the head reads {read} numbers, but this tower's feature has {wanted}")
    g = _Graph(ranges, eight_bit_weights, group)
    hidden = _embed(g, tower, config, size)
    for layer in range(blocks):
        hidden = _block(g, tower, layer, hidden, config, last=layer == blocks - 1)
    token = g.op("Reshape", hidden, g.ints(-1, config.hidden_size))
    feature = token if block is not None else _project(g, tower, token, config)
    weight = g.array("head.weight", np.asarray(head["weight"], np.float32).reshape(-1, 1))
    score = g.op("Add", g.op("MatMul", feature, weight), g.array("head.bias", np.asarray(head["bias"], np.float32).reshape(1)))
    g.nodes.append(helper.make_node("Reshape", [score, g.ints(-1)], ["logit"], name="logit"))
    g.nodes.append(helper.make_node("Identity", [feature], ["feature"], name="feature"))
    seen = []
    if watched:
        g.nodes += [helper.make_node("Identity", [tensor], [point], name=point) for point, tensor in g.points.items()]
        seen = [helper.make_tensor_value_info(point, TensorProto.FLOAT, ["views", f"{point}.tokens", f"{point}.channels"]) for point in g.points]
    graph = helper.make_graph(
        g.nodes,
        "realgrain",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["views", 3, size, size])],
        [
            helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["views"]),
            helper.make_tensor_value_info("feature", TensorProto.FLOAT, ["views", wanted]),
            *seen,
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9), g.arrays


def _embed(g: _Graph, tower: Mapping[str, np.ndarray], config: TowerConfig, size: int) -> str:
    """Patches to tokens: (N, 3, size, size) -> (N, tokens, hidden)."""
    width, patch = config.hidden_size, config.patch_size
    position = interpolated(tower["vision_model.embeddings.position_embedding.weight"], size // patch)
    kernel = g.array("patch.weight", tower["vision_model.embeddings.patch_embedding.weight"])
    grid = g.op("Conv", "pixels", kernel, kernel_shape=[patch, patch], strides=[patch, patch])
    patches = g.op("Transpose", g.op("Reshape", grid, g.ints(0, width, -1)), perm=[0, 2, 1])
    # The class token already carries its position; adding it to an all-zero row repeats it over the batch without knowing N.
    patches = g.op("Add", patches, g.array("patch.position", position[None, 1:]))
    zero = g.op("Mul", g.op("ReduceMean", patches, axes=[1], keepdims=1), g.array("zero", np.zeros(1, np.float32)))
    first = g.op("Add", zero, g.array("class", (tower["vision_model.embeddings.class_embedding"] + position[0])[None, None]))
    return _norm(g, tower, "vision_model.pre_layrnorm", g.op("Concat", first, patches, axis=1), config)


def interpolated(position: np.ndarray, side: int) -> np.ndarray:
    """Position embeddings for another grid of patches: bicubic, as by transformers' ``interpolate_pos_encoding``.

    Args:
        position: (1 + S * S, hidden) float32, the class token's first.
        side: patches along a side of the new grid.

    Returns:
        (1 + side * side, hidden) float32; the same array where the grid stays as it is.
    """
    old = math.isqrt(len(position) - 1)
    if side == old:
        return position
    along = _bicubic(old, side)
    grid = np.einsum("yj,xk,jkh->yxh", along, along, position[1:].reshape(old, old, -1).astype(np.float64))
    return np.concatenate([position[:1], grid.reshape(side * side, -1).astype(np.float32)])


def _bicubic(old: int, new: int) -> np.ndarray:
    """What each of ``new`` places takes of ``old`` ones, (new, old): Keys' kernel with a = -0.75 between the four nearest, the border repeated."""
    weights = np.zeros((new, old))
    for place, at in enumerate((np.arange(new) + 0.5) * old / new - 0.5):
        for near in range(math.floor(at) - 1, math.floor(at) + 3):
            far = abs(at - near)
            weight = 1.25 * far**3 - 2.25 * far**2 + 1 if far <= 1 else -0.75 * (far**3 - 5 * far**2 + 8 * far - 4)
            weights[place, min(max(near, 0), old - 1)] += weight
    return weights


def _block(g: _Graph, tower: Mapping[str, np.ndarray], layer: int, hidden: str, config: TowerConfig, *, last: bool) -> str:
    """One pre-norm transformer block, (N, tokens, hidden) -> the same; the last one is wanted for the class token alone: (N, 1, hidden)."""
    name = layer_name(layer)
    seen = g.at(f"{layer}.attention", _norm(g, tower, name + "layer_norm1", hidden, config), config.hidden_size)
    asking = seen
    if last:
        hidden, asking = (g.op("Slice", tensor, g.ints(0), g.ints(1), g.ints(1)) for tensor in (hidden, seen))
    hidden = g.op("Add", hidden, _attention(g, tower, layer, asking, seen, config))
    inner = g.at(f"{layer}.fc1", _norm(g, tower, name + "layer_norm2", hidden, config), config.hidden_size)
    inner = _activation(g, _linear(g, tower, name + "mlp.fc1", inner, f"{layer}.fc1"), config.hidden_act)
    if name + INNER in tower:
        inner = g.op("Mul", inner, g.array(name + INNER, tower[name + INNER]))
    inner = g.at(f"{layer}.fc2", inner, config.intermediate_size)
    return g.op("Add", hidden, _linear(g, tower, name + "mlp.fc2", inner, f"{layer}.fc2"))


def _attention(g: _Graph, tower: Mapping[str, np.ndarray], layer: int, asking: str, seen: str, config: TowerConfig) -> str:
    """What ``asking`` tokens (N, A, hidden) find in ``seen`` ones (N, tokens, hidden)."""
    heads, name = config.num_attention_heads, layer_name(layer) + "self_attn."
    depth = config.hidden_size // heads

    def split(part: str, hidden: str, perm: list[int]) -> str:
        return g.op("Transpose", g.op("Reshape", _linear(g, tower, name + part, hidden, f"{layer}.attention"), g.ints(0, 0, heads, depth)), perm=perm)

    query = g.op("Mul", split("q_proj", asking, [0, 2, 1, 3]), g.array("attention.scale", np.array(depth**-0.5, np.float32)))
    weights = g.op("Softmax", g.op("MatMul", query, split("k_proj", seen, [0, 2, 3, 1])), axis=-1)
    mixed = g.op("Transpose", g.op("MatMul", weights, split("v_proj", seen, [0, 2, 1, 3])), perm=[0, 2, 1, 3])
    mixed = g.op("Reshape", mixed, g.ints(0, 0, config.hidden_size))
    return _linear(g, tower, name + "out_proj", g.at(f"{layer}.mixed", mixed, config.hidden_size), f"{layer}.mixed")


def _project(g: _Graph, tower: Mapping[str, np.ndarray], token: str, config: TowerConfig) -> str:
    """Class token, normed and projected to the joint space: (N, hidden) -> (N, projection_dim)."""
    token = _norm(g, tower, "vision_model.post_layernorm", token, config)
    return g.op("MatMul", token, g.array("projection.weight", tower["visual_projection.weight"].T))


def _linear(g: _Graph, tower: Mapping[str, np.ndarray], name: str, hidden: str, point: str) -> str:
    product = g.op("MatMul", hidden, g.weight(name + ".weight", tower[name + ".weight"], point))
    return g.op("Add", product, g.array(name + ".bias", tower[name + ".bias"]))


def _norm(g: _Graph, tower: Mapping[str, np.ndarray], name: str, hidden: str, config: TowerConfig) -> str:
    scale, bias = (g.array(f"{name}.{part}", tower[f"{name}.{part}"]) for part in ("weight", "bias"))
    return g.op("LayerNormalization", hidden, scale, bias, axis=-1, epsilon=config.layer_norm_eps)


def _activation(g: _Graph, hidden: str, kind: str) -> str:
    """QuickGELU, x * sigmoid(1.702 x), is what OpenAI's CLIP was trained with; the exact GELU gives other scores."""
    if kind == "quick_gelu":
        return g.op("Mul", hidden, g.op("Sigmoid", g.op("Mul", hidden, g.array("quick_gelu", np.array(1.702, np.float32)))))
    if kind == "gelu":
        inner = g.op("Erf", g.op("Mul", hidden, g.array("gelu.scale", np.array(2**-0.5, np.float32))))
        return g.op(
            "Mul",
            g.op("Mul", hidden, g.array("gelu.half", np.array(0.5, np.float32))),
            g.op("Add", inner, g.array("one", np.ones((), np.float32))),
        )
    raise ValueError(f"activation {kind!r} is not one that the graph knows (quick_gelu, gelu)")
