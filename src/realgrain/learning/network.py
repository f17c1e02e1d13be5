"""The tower with its head as it is tuned: what is hidden, what is perturbed and what moves, put together."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from transformers import CLIPVisionModelWithProjection

from realgrain.learning import adapters, backbone
from realgrain.learning.masking import fill_patches, hidden_patches, kept_tokens, luminance
from realgrain.learning.noise import Diagnostics, PositiveIncentiveNoise, check_collapse, make_noise, noise_loss, prototypes
from realgrain.learning.recipe import Recipe

WINDOW = 50  # steps over which noise must look collapsed before training stops (our choice)


class Network(nn.Module):
    """A tuned detector in training. Masking and noise act in training mode only.

    Attributes:
        history: what the noise did in each training step.
    """

    def __init__(self, tower: CLIPVisionModelWithProjection, recipe: Recipe) -> None:
        super().__init__()
        adapters.adapt(tower, recipe.adapter, recipe.block)
        config = tower.config
        size = config.projection_dim if recipe.block is None else config.hidden_size
        self.tower, self.recipe = tower, recipe
        self.patch = int(tower.vision_model.embeddings.patch_embedding.kernel_size[0])
        self.linear = nn.Linear(size, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.noise = make_noise(size, recipe.noise)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("spread", torch.ones(size))
        self.history: list[Diagnostics] = []

    @torch.no_grad()
    def look(self, features: Tensor, fake: Tensor) -> None:
        """Take the scale of the untuned features, and their class means as anchors of the noise.

        Args:
            features: (N, D) of training pictures.
            fake: (N,) bool.
        """
        self.mean.copy_(features.mean(0))
        self.spread.copy_(features.std(0) + 1e-6)
        if isinstance(self.noise, PositiveIncentiveNoise):
            self.noise.set_anchors(prototypes(features, fake))

    def head(self, features: Tensor) -> Tensor:
        """Logits (N,) of features (N, D)."""
        return self.linear((features - self.mean) / self.spread).squeeze(-1)

    def forward(self, views: Tensor, fake: Tensor | None = None) -> dict[str, Tensor]:
        """Logits (N,) of views (N, 3, H, W); with labels (N,) the loss too."""
        kept = None
        if self.training:
            views, kept = self._hide(views)
        features = backbone.encode(self.tower, views, self.recipe.block, kept)
        logits = self.head(features)
        if fake is None:
            return {"logits": logits}
        loss, seen = noise_loss(self.head, features, fake, self.noise if self.training else None, self.recipe.noise)
        if self.training and self.noise is not None:
            self.history.append(seen)
            check_collapse(self.history, WINDOW)
        return {"loss": loss + adapters.regulariser(self.tower, self.recipe.adapter), "logits": logits}

    def _hide(self, views: Tensor) -> tuple[Tensor, Tensor | None]:
        masking, spec = self.recipe.masking, self.recipe.views
        if masking.kind == "none":
            return views, None
        hidden = hidden_patches(luminance(views, spec.mean, spec.std), masking, self.patch, None)
        if masking.fill == "drop":
            return views, kept_tokens(hidden)
        return fill_patches(views, hidden, self.patch, masking.fill, spec.mean, spec.std), None

    def shipped(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Head, with the standardisation folded into it, and adapter, as a bundle takes them."""
        scaled = self.linear.weight[0] / self.spread
        bias = self.linear.bias - scaled @ self.mean
        head = {"weight": scaled.detach().float().numpy(), "bias": bias.detach().float().numpy()}
        return head, adapters.learned(self.tower, self.recipe.adapter) if self.recipe.adapter.kind != "none" else {}
