"""What noise learns from: the detector's own loss on noised features.

Noise E helps a task T where it lowers the task's entropy, I(T;E) = H(T) - H(T|E) > 0. H(T|E) is bounded from above by the cross-entropy of the
detector on noised features, so lowering that loss is the whole "variational" objective (VPN: Zhang et al. 2023, arXiv 2306.07651).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from realgrain.learning.noise import Noise
from realgrain.learning.noise_law import FeatureNoise

SEED = 0  # of the noise in use, where the same picture must get the same logit (our choice)


def noised(
    features: Tensor, mean: Tensor, deviation: Tensor, draws: int = 1, generator: torch.Generator | None = None, *, shared: bool = False
) -> Tensor:
    """Features with noise drawn as mean + deviation * standard normal, so that gradients reach all three.

    Args:
        features: (N, ..., D).
        mean: of the features' shape.
        deviation: of the features' shape, at least 0.
        draws: for each row.
        generator: of the draws, on the features' device; None: torch's own.
        shared: every row gets the same standard normal draws, so that what it gets does not depend on its neighbours.

    Returns:
        (draws * N, ..., D) in the features' dtype: a draw of every row, then the next draw of every row, and so on.
    """
    unit = torch.randn((draws, 1 if shared else len(features), *features.shape[1:]), generator=generator, device=features.device)
    return (features + (mean + deviation * unit)).flatten(0, 1).to(features.dtype)


def mean_logits(head: Callable[[Tensor], Tensor], features: Tensor, noise: FeatureNoise, draws: int) -> Tensor:
    """Logits (N,) with noise in use: the mean over draws, which are the same in every call and for every row.

    Args:
        head: (M, ..., D) -> logits (M,).
        features: (N, ..., D).
        noise: label-free, in evaluation mode.
        draws: at least 1.

    Raises:
        RuntimeError: the noise was never trained.
    """
    mean, deviation, _ = noise(features)
    generator = torch.Generator(features.device).manual_seed(SEED)
    return head(noised(features, mean, deviation, draws, generator, shared=True)).float().view(draws, -1).mean(0)


@dataclass(frozen=True)
class Diagnostics:
    """What a step of training with noise looked like.

    Attributes:
        clean_loss: cross-entropy on the features as they are, nats.
        noised_loss: on noised features, nats.
        information_gain: clean - noised, nats: the batch's estimate of I(T;E) = H(T) - H(T|E); above 0 the noise is positive-incentive (VPN).
        mean_norm: |mean| / |f|, mean over vectors; exactly 0 where the noise has no mean.
        deviation_ratio: deviation / std(f), mean over vectors and dimensions; exactly 0 where the noise has no deviation.
        energy: root of the mean over vectors and dimensions of mean² + deviation², over std(f): Gaussian noise of this ``energy`` has as much.
        attention_entropy: nats, 0 (one anchor) to ln 2 (both alike), mean over vectors and heads; 0 where nothing attends.
    """

    clean_loss: float
    noised_loss: float
    information_gain: float
    mean_norm: float
    deviation_ratio: float
    energy: float
    attention_entropy: float


def noise_loss(
    head: Callable[[Tensor], Tensor],
    features: Tensor,
    fake: Tensor,
    noise: FeatureNoise | None,
    settings: Noise,
    generator: torch.Generator | None = None,
    weight: Tensor | None = None,
    logits: Tensor | None = None,
) -> tuple[Tensor, Diagnostics]:
    """Loss of a detector and its noise together: cross-entropy on clean features + ``settings.weight`` times that on noised ones.

    Args:
        head: (M, ..., D) -> logits (M,) or (M, 1), higher for AI-generated: all that comes after the place of the noise.
        features: (N, ..., D), what noise is added to.
        fake: (N,) bool or 0/1.
        noise: by ``make_noise``; None: the loss is that on clean features.
        settings: of the noise.
        generator: of the draws, on the features' device.
        weight: (N,) importance of each row, of which only ratios matter; None: all alike.
        logits: (N,) of the features as they are, where they are known already; None: the head is asked.

    Returns:
        Loss () float32, a mean over rows and draws, and what to log of the step.

    Raises:
        ValueError: as ``FeatureNoise.forward``, or logits that are not one for each row.
    """
    clean = _cross_entropy(head(features) if logits is None else logits, fake, weight)
    if noise is None:
        value = clean.item()
        return clean, Diagnostics(value, value, 0.0, 0.0, 0.0, 0.0, 0.0)
    mean, deviation, attention = noise(features, fake)
    perturbed = head(noised(features, mean, deviation, settings.draws, generator))
    again = _cross_entropy(perturbed, fake.repeat(settings.draws), None if weight is None else weight.repeat(settings.draws))
    with torch.no_grad():
        spread = noise.spread.clamp_min(torch.finfo(torch.float32).tiny)  # pictures that are all alike have none
        seen = (
            clean,
            again,
            clean - again,
            (mean.norm(dim=-1) / features.float().norm(dim=-1).clamp_min(torch.finfo(torch.float32).tiny)).mean(),
            deviation.mean() / spread,
            (mean**2 + deviation**2).mean().sqrt() / spread,
            torch.special.entr(attention).sum(-1).mean() if attention.numel() else clean.new_zeros(()),
        )
        diagnostics = Diagnostics(*torch.stack(seen).tolist())  # at once, because each transfer from an accelerator waits for it
    return clean + settings.weight * again, diagnostics


def _cross_entropy(logits: Tensor, fake: Tensor, weight: Tensor | None) -> Tensor:
    """Weighted mean of the log-loss; in float32 whatever the logits, because half precision rounds small losses away."""
    losses = functional.binary_cross_entropy_with_logits(logits.float().flatten(), fake.float(), reduction="none")
    return losses.mean() if weight is None else losses @ (weight / weight.sum()).to(losses)
