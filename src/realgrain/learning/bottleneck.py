"""What an autoencoder's latents go through between encoder and decoder, other than nothing.

A Gaussian with a little KL divergence (arXiv 1312.6114), as little of it as in latent diffusion (arXiv 2112.10752); or a product of vector-quantised
codebooks (arXiv 1711.00937) that follow a running mean (arXiv 1906.00446) and take up idle codes anew (as Jukebox does, arXiv 2005.00341).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

KL_WEIGHT = 1e-4  # of the divergence per latent number beside a loss of some tenths: latents of bounded size, and hardly any noise
FIRST_LOG_VARIANCE = -8.0  # latents start as good as certain, or the decoder would hear nothing but noise and learn to ignore them
COMMITMENT = 0.25  # of VQ-VAE
CODES = 256  # in a codebook
GROUP = 4  # channels that a codebook is for: few, so that 256 codes are near to anything
MEMORY = 0.95  # of a code's running mean, in steps: that of the last twenty
IDLE = 0.1  # latents a step that a code stands for in the running mean, below which it starts again


class Gaussian(nn.Module):
    """Latents as a law to draw from while learning; its mean, when asked to remake."""

    def forward(self, found: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (N, 2C, h, w) float32 to latents (N, C, h, w), and their divergence from the unit Gaussian, a mean, weighted, ()."""
        mean, log_variance = found.chunk(2, dim=1)
        log_variance = (log_variance + FIRST_LOG_VARIANCE).clamp(-20, 10)
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
        latents = mean + (0.5 * log_variance).exp() * torch.randn_like(mean) if self.training else mean
        return latents, KL_WEIGHT * divergence


class Quantiser(nn.Module):
    """Each group of channels becomes the nearest code of the group's codebook; gradients pass as if nothing had happened.

    Attributes:
        codes: (C / GROUP, CODES, GROUP).
        uses: (C / GROUP, CODES) running count of what each code stands for; all 0 until the first training batch, of which the codes are drawn.
    """

    codes: Tensor
    uses: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(channels // GROUP, CODES, GROUP))
        self.register_buffer("uses", torch.zeros(channels // GROUP, CODES))

    def nearest(self, vectors: Tensor) -> Tensor:
        """Vectors (G, M, GROUP) to the number of the nearest code of each, (G, M) int64."""
        return (self.codes.pow(2).sum(2)[:, None] - 2 * vectors @ self.codes.transpose(1, 2)).argmin(2)

    def forward(self, found: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (N, C, h, w) float32 to quantised ones of the same shape, and what they stray from their codes, weighted, ()."""
        count, channels, height, width = found.shape
        vectors = found.reshape(count, -1, GROUP, height * width).permute(1, 0, 3, 2).flatten(1, 2)
        if self.training:
            self._follow(vectors.detach())
        codes = self.codes.gather(1, self.nearest(vectors.detach())[:, :, None].expand_as(vectors))
        straight = vectors + (codes - vectors).detach()
        latents = straight.unflatten(1, (count, -1)).permute(1, 0, 3, 2).reshape(count, channels, height, width)
        return latents, COMMITMENT * (vectors - codes).pow(2).mean()

    def _follow(self, vectors: Tensor) -> None:
        """Move each code towards the mean of what it stands for; one that stands for next to nothing starts again at a vector of the batch."""
        picked = torch.randint(vectors.shape[1], self.uses.shape)
        fresh = vectors.gather(1, picked[:, :, None].expand(-1, -1, vectors.shape[2]))
        if not self.uses.any():
            self.codes.copy_(fresh)
            self.uses.fill_(1.0)
        chosen = self.nearest(vectors)
        counts = torch.zeros_like(self.uses).scatter_add_(1, chosen, torch.ones_like(vectors[..., 0]))
        sums = torch.zeros_like(self.codes).scatter_add_(1, chosen[:, :, None].expand_as(vectors), vectors)
        share = ((1 - MEMORY) * counts / (MEMORY * self.uses + (1 - MEMORY) * counts).clamp_min(1e-6))[:, :, None]
        self.codes.lerp_(sums / counts.clamp_min(1)[:, :, None], share)
        self.uses.lerp_(counts, 1 - MEMORY)
        idle = self.uses < IDLE
        self.codes[idle], self.uses[idle] = fresh[idle], 1.0
