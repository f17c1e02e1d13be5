"""The tower with its head as it is tuned: what is hidden, what is perturbed and what moves, put together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from transformers import CLIPVisionModelWithProjection

from realgrain.detector import weights
from realgrain.learning import adapters, backbone
from realgrain.learning.anchors import prototypes, text_anchors
from realgrain.learning.incentive import Diagnostics, mean_logits, noise_loss
from realgrain.learning.masking import fill_patches, hidden_patches, kept_tokens, luminance
from realgrain.learning.noise_law import PositiveIncentiveNoise, make_noise
from realgrain.learning.recipe import Recipe


class Network(nn.Module):
    """A tuned detector in training. Masking and, unless the recipe wants it in use too, noise act in training mode only.

    Views become tokens out of the frozen blocks (``stem``), these what noise is added to (``reach``), that features (``read``), and these logits
    (``head``).

    Args:
        tower: the base; changed in place.
        recipe: masking, noise and adapter.
        frozen: blocks to count as frozen; None: as many as the recipe's adapter leaves alone.

    Attributes:
        frozen: how many of the first blocks nothing moves or perturbs; what they give may be computed once and kept (``stem.Stem``).
        place: where noise is added, see ``noise.Noise.at``; without noise, the feature.
        history: what the noise did in each training step.

    Raises:
        ValueError: the tower has no such block, rank or heads.
        WeightsError: noise with text anchors, and the base has no text tower.
    """

    def __init__(self, tower: CLIPVisionModelWithProjection, recipe: Recipe, frozen: int | None = None) -> None:
        super().__init__()
        adapters.adapt(tower, recipe.adapter, recipe.block)
        config = tower.config
        size = config.projection_dim if recipe.block is None else config.hidden_size
        self.tower, self.recipe = tower, recipe
        self.depth = backbone.depth(tower, recipe.block)
        self.place = "feature" if recipe.noise.kind == "none" else recipe.noise.at
        perturbed = self.depth - (self.place == "tokens")  # noise on the tokens before the last block passes through it anew each time
        self.frozen = min(adapters.frozen_blocks(recipe.adapter, self.depth) if frozen is None else frozen, perturbed)
        self.patch = int(tower.vision_model.embeddings.patch_embedding.kernel_size[0])
        self.linear = nn.Linear(size, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.noise = make_noise(size if self.place == "feature" else config.hidden_size, recipe.noise)
        if isinstance(self.noise, PositiveIncentiveNoise) and recipe.noise.anchors == "text":
            self.noise.set_anchors(text_anchors(weights.pull(recipe.base)))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("spread", torch.ones(size))
        self.history: list[Diagnostics] = []

    @torch.no_grad()
    def look(self, features: Tensor, fake: Tensor, head: dict[str, np.ndarray] | None = None, reached: Tensor | None = None) -> None:
        """Take the scale of the untuned features, what the noise needs of them (class means as anchors, and spread), and a head to start from.

        Args:
            features: (N, D) of training pictures.
            fake: (N,) bool.
            head: ``weight`` (D,) and ``bias`` (1,) for features as they come; None: all zero.
            reached: (N, hidden) of the same pictures, the mean over a picture's vectors, where noise is added to anything but the features.
        """
        self.mean.copy_(features.mean(0))
        self.spread.copy_(features.std(0) + 1e-6)
        perturbed = features if reached is None else reached
        if self.noise is not None:
            self.noise.look(perturbed)
        if isinstance(self.noise, PositiveIncentiveNoise) and self.recipe.noise.anchors == "prototype":
            self.noise.set_anchors(prototypes(perturbed, fake))
        if head is not None:
            weight, bias = (torch.from_numpy(head[name]) for name in ("weight", "bias"))
            self.linear.weight.copy_((weight * self.spread)[None])
            self.linear.bias.copy_(bias + weight @ self.mean)

    def head(self, features: Tensor) -> Tensor:
        """Logits (N,) of features (N, D)."""
        return self.linear((features - self.mean) / self.spread).squeeze(-1)

    def stem(self, views: Tensor, generators: Sequence[torch.Generator] | None) -> Tensor:
        """Tokens (N, T, hidden) out of the frozen blocks, of views (N, 3, H, W).

        Args:
            views: normalised, those of a picture side by side.
            generators: of the masks of each picture; None: nothing is hidden.
        """
        kept = None
        if generators is not None:
            each = zip(views.unflatten(0, (len(generators), -1)), generators, strict=True)
            hidden = [found for some, generator in each if (found := self._hidden(some, generator)) is not None]
            views, kept = self._hide(views, torch.cat(hidden) if hidden else None)
        return backbone.run_blocks(self.tower, backbone.embed(self.tower, views, kept), 0, self.frozen)

    def reach(self, tokens: Tensor) -> Tensor:
        """What noise is added to, of tokens (N, T, hidden) out of the frozen blocks: features (N, D), class tokens (N, hidden), or the tokens
        (N, T, hidden) that enter the last block.
        """
        if self.place == "tokens":
            return backbone.run_blocks(self.tower, tokens, self.frozen, self.depth - 1)
        token = backbone.class_token(self.tower, backbone.run_blocks(self.tower, tokens, self.frozen, self.depth), self.recipe.block)
        return token if self.place == "class_token" else backbone.project(self.tower, token, self.recipe.block)

    def read(self, reached: Tensor) -> Tensor:
        """Features (N, D) of what ``reach`` gives, with noise or without."""
        if self.place == "feature":
            return reached
        token = reached
        if self.place == "tokens":
            tokens = backbone.run_blocks(self.tower, reached, self.depth - 1, self.depth)
            token = backbone.class_token(self.tower, tokens, self.recipe.block)
        return backbone.project(self.tower, token, self.recipe.block)

    def features(self, tokens: Tensor) -> Tensor:
        """Features (N, D) of tokens (N, T, hidden) out of the frozen blocks."""
        return self.read(self.reach(tokens))

    def forward(self, views: Tensor | None = None, tokens: Tensor | None = None, fake: Tensor | None = None) -> dict[str, Tensor]:
        """Logits (N,) of views (N, 3, H, W), or of what the frozen blocks made of them, tokens (N, T, hidden); with labels (N,) the loss too."""
        if tokens is None:
            if views is None:
                raise ValueError("a network needs views or tokens")
            kept = None
            if self.training:
                views, kept = self._hide(views, self._hidden(views, None))
            tokens = backbone.run_blocks(self.tower, backbone.embed(self.tower, views, kept), 0, self.frozen)
        reached = self.reach(tokens)
        if self.noise is not None and self.recipe.noise.in_use and not self.training:
            logits = mean_logits(self._rest, reached, self.noise, self.recipe.noise.inference_draws)
        else:
            logits = self._rest(reached)
        if fake is None:
            return {"logits": logits}
        loss, seen = noise_loss(self._rest, reached, fake, self.noise if self.training else None, self.recipe.noise, logits=logits)
        if self.training:
            self.history.append(seen)
        return {"loss": loss + adapters.regulariser(self.tower, self.recipe.adapter), "logits": logits}

    def _rest(self, reached: Tensor) -> Tensor:
        """Logits (N,) of what ``reach`` gives."""
        return self.head(self.read(reached))

    def _hidden(self, views: Tensor, generator: torch.Generator | None) -> Tensor | None:
        """Which patches (N, patches) of views are hidden; None where masking is not asked for."""
        masking, spec = self.recipe.masking, self.recipe.views
        return None if masking.kind == "none" else hidden_patches(luminance(views, spec.mean, spec.std), masking, self.patch, generator)

    def _hide(self, views: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Views as they are to be seen, and the patches (N, K) that enter the encoder, None for all."""
        fill, spec = self.recipe.masking.fill, self.recipe.views
        if hidden is None:
            return views, None
        if fill == "drop":
            return views, kept_tokens(hidden)
        return fill_patches(views, hidden, self.patch, fill, spec.mean, spec.std), None

    def shipped(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Head, with the standardisation folded into it, and adapter, as a bundle takes them."""
        scaled = self.linear.weight[0] / self.spread
        bias = self.linear.bias - scaled @ self.mean
        head = {"weight": scaled.detach().float().numpy(), "bias": bias.detach().float().numpy()}
        return head, adapters.learned(self.tower, self.recipe.adapter) if self.recipe.adapter.kind != "none" else {}
