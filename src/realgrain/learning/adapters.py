"""What moves in a tower when it is tuned: nothing, low-rank additions, the smallest singular directions, the last blocks, or all of it.

``adapt`` changes a tower in place, training moves what it left movable, and ``learned`` says in plain arrays how far each weight moved, under the
names that ``realgrain.detector.merging`` adds them back by. An adapted tower gives the original's features until it is trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import CLIPVisionModelWithProjection

from realgrain.detector.merging import DELTA, DOWN, UP

ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
SMOOTH = 1e-8  # under the root of the orthogonality term: rounding alone makes it 1e-6 or so, whose direction means nothing (our choice)
MARK = "realgrain_start"  # attribute of an adapted tower; travels with its copies, but is no part of its state dict


@dataclass(frozen=True)
class Adapter:
    """The axis "what moves". A setting that is not of the kind is ignored, so that a grid over kinds can share the rest; only ``blocks`` of ``full``
    is refused, because it reads like a limit and would be none.

    Attributes:
        kind: ``none``; ``lora`` (Hu et al. 2022); ``effort`` (Yan et al. 2025): of each matrix the largest singular directions stay and the
            smallest are trained; ``last``: the final blocks, whole; ``full``: everything that the feature depends on.
        rank: lora, effort: rank of what is trained in each matrix.
        alpha: lora: what is trained is scaled by alpha / rank.
        dropout: lora: share of inputs that the trained part does not see while training.
        blocks: last, lora, effort: how many final blocks move, counted back from the one that the feature is of; None: all.
        targets: lora, effort: linear layers of the attention, of ``q_proj``, ``k_proj``, ``v_proj`` and ``out_proj``.
        orthogonality: effort: weight in the loss of the distance of each matrix's singular vectors from orthonormal ones.
        keep_norm: effort: weight in the loss of the change of each matrix's squared Frobenius norm.
        export_rank: full, last: ship the change of each matrix as its best approximation of this rank; None: whole.

    Raises:
        ValueError: a setting is out of range, a target is unknown or named twice, or ``full`` comes with ``blocks``.
    """

    kind: Literal["none", "lora", "full", "last", "effort"] = "none"
    rank: int = 8
    alpha: float = 8.0
    dropout: float = 0.0
    blocks: int | None = None
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj")
    orthogonality: float = 0.0
    keep_norm: float = 0.0
    export_rank: int | None = None

    def __post_init__(self) -> None:
        for name in ("rank", "blocks", "export_rank"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} {value}: at least 1")
        if not 0 < self.alpha < math.inf:
            raise ValueError(f"alpha {self.alpha}: more than 0, and finite")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout {self.dropout}: from 0 to below 1")
        if not (0 <= self.orthogonality < math.inf and 0 <= self.keep_norm < math.inf):
            raise ValueError(f"orthogonality {self.orthogonality}, keep_norm {self.keep_norm}: at least 0, and finite")
        if not self.targets or len(set(self.targets)) < len(self.targets) or not set(self.targets) <= set(ATTENTION):
            raise ValueError(f"targets {', '.join(self.targets)}: some of {', '.join(ATTENTION)}, each once")
        if self.kind == "full" and self.blocks is not None:
            raise ValueError("full moves everything; for some final blocks the kind is last")


class EffortLinear(nn.Module):
    """A linear layer of which only the smallest singular directions are trained (Effort: Yan et al. 2025).

    The principal part is one frozen matrix, W minus the residual, and the residual runs beside it as two thin products: the released code keeps
    the three principal factors and multiplies them out in every step. The factors' values at the start are kept too, as buffers: they tell the
    change, and they stand for the principal factors in the two penalties.

    Attributes:
        weight: principal part (n, n), frozen.
        bias: (n,), frozen.
        up, scale, down: left vectors (n, r), singular values (r,) and right vectors (r, n) of the residual, trained.
        first_up, first_scale, first_down: what they were at the start.
    """

    first_up: torch.Tensor  # torch's own types do not know what a buffer is
    first_scale: torch.Tensor
    first_down: torch.Tensor

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        super().__init__()
        left, values, right = torch.linalg.svd(linear.weight.detach(), full_matrices=False)
        self.register_buffer("first_up", left[:, -rank:].clone())
        self.register_buffer("first_scale", values[-rank:].clone())
        self.register_buffer("first_down", right[-rank:].clone())
        self.up, self.scale, self.down = (nn.Parameter(first.clone()) for first in (self.first_up, self.first_scale, self.first_down))
        self.weight, self.bias = linear.weight, linear.bias
        with torch.no_grad():  # the tensor that was there: no second copy, and W as it was but for one rounding, however good the SVD
            self.weight -= (self.first_up * self.first_scale) @ self.first_down

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Map (..., n) to (..., n)."""
        residual = functional.linear(functional.linear(hidden, self.down) * self.scale, self.up)
        return functional.linear(hidden, self.weight, self.bias) + residual

    def disorder(self) -> torch.Tensor:
        """``|U'U - I| + |V'V - I|`` of the whole factors, principal part included: a scalar, 0 (but for smoothing) while they are orthonormal."""
        return _disorder(self.up, self.first_up) + _disorder(self.down.T, self.first_down.T)

    def growth(self) -> torch.Tensor:
        """``| |W|^2 - |W0|^2 |`` in Frobenius norm. Only what differs is summed: the principal part's own norm would drown it in rounding."""
        across = (((self.weight.T @ self.up) * self.down.T).sum(0) * self.scale).sum()
        return (2 * across + _product_square(self.up, self.scale, self.down) - (self.first_scale**2).sum()).abs()

    def change(self) -> tuple[torch.Tensor, torch.Tensor]:
        """W - W0 as the product of (n, 2r) and (2r, n): the residual now, less the residual at the start."""
        up = torch.cat([self.up * self.scale, -self.first_up * self.first_scale], dim=1)
        return up, torch.cat([self.down, self.first_down])


def _disorder(vectors: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
    """``|U'U - I|`` of U = [principal vectors, these (n, r)].

    The principal ones are orthonormal and orthogonal to the first of these, and with those they span everything: so what they share with these is
    what these have outside of the span of the first, and they need not be kept.
    """
    outside = vectors - first @ (first.T @ vectors)
    among = vectors.T @ vectors - torch.eye(vectors.shape[1], device=vectors.device)
    return (2 * (outside**2).sum() + (among**2).sum() + SMOOTH).sqrt()


def _product_square(up: torch.Tensor, scale: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """Squared Frobenius norm of up diag(scale) down, by the small Gram matrices."""
    up = up * scale
    return ((up.T @ up) * (down @ down.T)).sum()


@dataclass(frozen=True)
class _Start:
    """How a tower was adapted, and the weights that full tuning starts from: a file may not be there any more when the change is asked for."""

    adapter: Adapter
    weights: dict[str, torch.Tensor]


def adapt(tower: CLIPVisionModelWithProjection, adapter: Adapter, block: int | None) -> None:
    """Freeze a tower but for what an adapter moves, in place. Its features stay as they are, and so does its mode (training or evaluation).

    Args:
        tower: as ``load_tower`` gives it.
        adapter: what moves. A feature of no block takes the final norm and the projection along in ``full``; ``last`` moves blocks only.
        block: the feature: class token after this block, or None for the joint-space embedding. What comes after it never moves.

    Raises:
        ValueError: adapted already, or the tower has no such block, not so many blocks, or no such rank; the tower is left as it was.
    """
    if hasattr(tower, MARK):
        raise ValueError("this tower is adapted already; load it anew")
    depth, width = tower.config.num_hidden_layers, tower.config.hidden_size
    end = depth if block is None else block
    if not 1 <= end <= depth:
        raise ValueError(f"block {block}: this tower has blocks 1 to {depth}")
    count = end if adapter.blocks is None else adapter.blocks
    if adapter.kind != "none" and count > end:
        raise ValueError(f"the last {count} blocks: the feature has only {end} before it")
    if adapter.kind in ("lora", "effort") and adapter.rank > width:
        raise ValueError(f"rank {adapter.rank}: this tower's matrices have {width} at most")
    layers = [f"vision_model.encoder.layers.{index}." for index in range(depth)]
    moving = layers[max(end - count, 0) : end]
    tower.requires_grad_(False)
    weights: dict[str, torch.Tensor] = {}
    if adapter.kind == "lora":
        _inject_lora(tower, adapter, [f"{layer}self_attn.{target}" for layer in moving for target in adapter.targets])
    elif adapter.kind == "effort":
        for layer in moving:
            attention = tower.get_submodule(f"{layer}self_attn")
            for target in adapter.targets:
                setattr(attention, target, EffortLinear(getattr(attention, target), adapter.rank))
    elif adapter.kind in ("full", "last"):
        after = tuple(layers[end:]) if block is None else (*layers[end:], "vision_model.post_layernorm.", "visual_projection.")
        for name, weight in tower.named_parameters():
            if name.startswith(tuple(moving)) if adapter.kind == "last" else not name.startswith(after):
                weights[name] = weight.detach().clone()
                weight.requires_grad_(True)
    tower.train(tower.training)  # new layers come in training mode, whatever the tower is in
    setattr(tower, MARK, _Start(adapter, weights))


def frozen_blocks(adapter: Adapter, depth: int) -> int:
    """How many of the first blocks of ``depth`` an adapter leaves as they are."""
    if adapter.kind == "none":
        return depth
    return 0 if adapter.blocks is None else depth - adapter.blocks


def _inject_lora(tower: CLIPVisionModelWithProjection, adapter: Adapter, linears: list[str]) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    settings: dict[str, Any] = {"r": adapter.rank, "lora_alpha": adapter.alpha, "lora_dropout": adapter.dropout, "target_modules": linears}
    inject_adapter_in_model(LoraConfig(**settings), tower)


def regulariser(tower: CLIPVisionModelWithProjection, adapter: Adapter) -> torch.Tensor:
    """What an adapter adds to the loss: a scalar, 0 where it has no term of its own.

    Each term is the mean over the adapted matrices, so that its weight means the same in a deeper tower (our choice). The orthogonality term's
    root is smoothed: near its minimum, where training starts, the plain norm's gradient is all rounding (our choice).
    """
    total = torch.zeros((), device=tower.device)
    layers = [module for module in tower.modules() if isinstance(module, EffortLinear)]
    with torch.autocast(tower.device.type, enabled=False):  # small differences of large sums, which bfloat16 does not have
        for layer in layers:
            if adapter.orthogonality:
                total = total + adapter.orthogonality * layer.disorder() / len(layers)
            if adapter.keep_norm:
                total = total + adapter.keep_norm * layer.growth() / len(layers)
    return total


def learned(tower: CLIPVisionModelWithProjection, adapter: Adapter) -> dict[str, np.ndarray]:
    """How far each weight moved, for ``realgrain.detector.merging.merge``.

    Args:
        tower: adapted.
        adapter: what it was adapted by; ``export_rank`` may differ, so that ranks can be compared on one tuned tower.

    Returns:
        float32. For a weight W (out, in), under the name it has in the tower's safetensors: ``<name>.up`` (out, r) and ``<name>.down`` (r, in)
        with W' = W + up @ down; or ``<name>.delta`` = W' - W for vectors, and for matrices that are shipped whole. A convolution counts as the
        matrix of its kernels (out, everything else). r is the rank for lora, twice the rank for effort, and ``export_rank``, or as many
        directions as the matrix has, for full and last.

    Raises:
        ValueError: the tower is not adapted, or by another kind of adapter.
    """
    start = getattr(tower, MARK, None)
    if not isinstance(start, _Start) or start.adapter.kind != adapter.kind:
        raise ValueError(f"this tower is not adapted by {adapter.kind}")
    found: dict[str, torch.Tensor | np.ndarray] = {}
    if adapter.kind == "lora":
        found = _lora_factors(tower)
    elif adapter.kind == "effort":
        for name, module in tower.named_modules():
            if isinstance(module, EffortLinear):
                found[f"{name}.weight.{UP}"], found[f"{name}.weight.{DOWN}"] = module.change()
    else:
        moved = dict(tower.named_parameters())
        whole = {f"{name}.{DELTA}": _array(moved[name]) - _array(first) for name, first in start.weights.items()}
        return whole if adapter.export_rank is None else truncated(whole, adapter.export_rank)
    return {name: _array(value) if isinstance(value, torch.Tensor) else value for name, value in found.items()}


def truncated(arrays: Mapping[str, np.ndarray], rank: int) -> dict[str, np.ndarray]:
    """What ``learned`` gives, with each whole change of a matrix cut to a rank: the best factors of it (Eckart and Young 1936).

    Args:
        arrays: of an adapter; those that are of low rank already, and changes of vectors, stay as they are.
        rank: at least 1.
    """
    found: dict[str, np.ndarray] = {}
    for key, change in arrays.items():
        name, _, part = key.rpartition(".")
        if part == DELTA and change.ndim > 1:
            # Torch's SVD, not NumPy's: of a whole tower it takes seconds instead of minutes.
            left, values, right = torch.linalg.svd(torch.from_numpy(change).flatten(1), full_matrices=False)
            found[f"{name}.{UP}"], found[f"{name}.{DOWN}"] = _array(left[:, :rank] * values[:rank]), _array(right[:rank])
        else:
            found[key] = change
    return found


def _lora_factors(tower: CLIPVisionModelWithProjection) -> dict[str, torch.Tensor | np.ndarray]:
    """Peft's two matrices of each layer; its first, A, is what we call down."""
    from peft.tuners.lora import LoraLayer

    found: dict[str, torch.Tensor | np.ndarray] = {}
    for name, module in tower.named_modules():
        if isinstance(module, LoraLayer):
            (key,) = module.lora_A
            found[f"{name}.weight.{UP}"] = module.lora_B.get_submodule(key).get_parameter("weight") * module.scaling[key]
            found[f"{name}.weight.{DOWN}"] = module.lora_A.get_submodule(key).get_parameter("weight")
    return found


def _array(value: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(value.detach().float().cpu().numpy())


def svd_error(delta: np.ndarray, rank: int) -> float:
    """What a change loses when it is shipped at a rank: the relative Frobenius error, 0 to 1; 0 for no change at all.

    Args:
        delta: of at least two axes, (out, in) or (out, ...).
        rank: of the truncated SVD.
    """
    values = torch.linalg.svdvals(torch.tensor(delta).flatten(1)).double()
    whole = values.norm().item()
    return values[rank:].norm().item() / whole if whole else 0.0
