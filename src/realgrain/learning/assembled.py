"""A model put together from a head and an adapter, to be scored as one that was just tuned: a mixture, or what a bundle holds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from realgrain.detector import weights
from realgrain.learning import adapters, backbone
from realgrain.learning.adapters import Adapter
from realgrain.learning.network import Network
from realgrain.learning.noise import Noise
from realgrain.learning.recipe import Recipe
from realgrain.learning.stem import Stem
from realgrain.learning.tune import TunedModel


def assemble(recipe: Recipe, head: Mapping[str, np.ndarray], adapter: Mapping[str, np.ndarray]) -> TunedModel:
    """Put a model together.

    Args:
        recipe: that its parts were tuned by. What it keeps of frozen blocks serves here too, if the adapter leaves those alone.
        head: ``weight`` (D,) and ``bias`` (1,), for features as they come.
        adapter: as ``realgrain.detector.merging.merge`` takes it; empty for the untuned tower.

    Raises:
        WeightsError: the base cannot be had.
        KeyError, ValueError: the adapter does not fit it.
    """
    base = weights.pull(recipe.base)
    tower = backbone.load_tower(base)
    backbone.add(tower, adapter)
    frozen = adapters.frozen_blocks(recipe.adapter, backbone.depth(tower, recipe.block))
    network = Network(tower, recipe.model_copy(update={"adapter": Adapter(), "noise": Noise()}), frozen)
    with torch.no_grad():
        network.linear.weight.copy_(torch.from_numpy(np.asarray(head["weight"]))[None])
        network.linear.bias.copy_(torch.from_numpy(np.asarray(head["bias"])))
    stem = Stem(network, base.sha256) if recipe.tuning.cache_frozen else None
    return TunedModel(dict(head), dict(adapter), dict(head), {}, network.eval(), stem)
