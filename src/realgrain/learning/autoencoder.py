"""Small convolutional autoencoders: a picture is made small and made large again, and comes back with the traces of the decoder that enlarged it.

What leaves those traces is how the decoder up-samples, so that is what differs here: transposed convolution, as in DCGAN (arXiv 1511.06434); nearest
neighbour and convolution, as in latent diffusion (arXiv 2112.10752); pixel shuffle (arXiv 1609.05158). Widths, first weights, and a decoder without
normalisation are our choice: no pixel depends on any farther than ``REACH``, so that pictures of any size can be remade piece by piece.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from realgrain.learning.bottleneck import Gaussian, Quantiser

Upsampling = Literal["transposed", "nearest", "shuffle"]
Bottleneck = Literal["plain", "kl", "vq"]

LAYOUT = torch.channels_last  # a quarter faster
TILE = 512  # pixels of a piece's sides
REACH = 128  # pixels to each side, rounded up, that a remade pixel can depend on
WIDTHS = (16, 32, 64, 96)  # channels at full size, at half, at a quarter, at an eighth of it


@dataclass(frozen=True)
class Design:
    """What an autoencoder is made of.

    Attributes:
        upsampling: of the decoder.
        bottleneck: what the latents go through.
        factor: by which the latents are smaller than the picture, to each side: 4 or 8.
        channels: of the latents.
    """

    upsampling: Upsampling
    bottleneck: Bottleneck
    factor: int
    channels: int


DESIGNS = {
    "transposed-plain": Design("transposed", "plain", 4, 12),
    "nearest-kl": Design("nearest", "kl", 4, 12),
    "shuffle-vq": Design("shuffle", "vq", 4, 16),
    "nearest-plain": Design("nearest", "plain", 4, 12),
}


class Residual(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        """The same shape (N, width, H, W)."""
        return hidden + self.second(functional.silu(self.first(functional.silu(hidden))))


class Autoencoder(nn.Module):
    """Encoder, bottleneck and decoder.

    Attributes:
        design: what it is made of.
    """

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.design = design
        halvings = {4: 2, 8: 3}[design.factor]
        inner = WIDTHS[halvings]
        outputs = design.channels * (2 if design.bottleneck == "kl" else 1)
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(design.factor),
            nn.Conv2d(3 * design.factor**2, inner, 3, padding=1),
            Residual(inner),
            Residual(inner),
            nn.Conv2d(inner, outputs, 1),
        )
        self.bottleneck = {"plain": None, "kl": Gaussian(), "vq": Quantiser(design.channels)}[design.bottleneck]
        stages: list[nn.Module] = [nn.Conv2d(design.channels, inner, 3, padding=1), Residual(inner), Residual(inner)]
        for level in reversed(range(halvings)):
            stages.append(doubling(design.upsampling, WIDTHS[level + 1], WIDTHS[level]))
            if level:
                stages.append(Residual(WIDTHS[level]))
        self.decoder = nn.Sequential(*stages, nn.SiLU())
        self.colours = nn.Conv2d(WIDTHS[0], 3, 3, padding=1)
        self.apply(_start)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Remake pictures.

        Args:
            pixels: (N, 3, H, W) float32, -1..1, sides multiples of the factor.

        Returns:
            The same, float32 and not clipped, and what the bottleneck adds to the loss, (). Bottleneck and last layer compute in float32 also under
            autocast: rounding would choose other codes, and be seen.
        """
        found = self.encoder(pixels).float()
        with torch.autocast(pixels.device.type, enabled=False):
            latents, extra = self.bottleneck(found) if self.bottleneck is not None else (found, pixels.new_zeros(()))
        decoded = self.decoder(latents)
        with torch.autocast(pixels.device.type, enabled=False):
            return self.colours(decoded.float()), extra

    @torch.inference_mode()
    def reconstruct(self, pixels: np.ndarray, *, bf16: bool = False) -> np.ndarray:
        """Remake pictures of any size. Those whose sides are no multiples of the factor are mirrored at right and bottom first, and cut back.

        Large ones go through in pieces, each with enough around it that no seam is left; nothing is shrunk or cropped. Call in evaluation mode.

        Args:
            pixels: (H, W, 3) or (N, H, W, 3) uint8.
            bf16: compute in bfloat16 where torch finds it safe.

        Returns:
            The same shape, uint8.
        """
        single = pixels.ndim == 3
        batch = pixels[None] if single else pixels
        height, width = batch.shape[1:3]
        batch = np.pad(batch, [(0, 0), (0, -height % self.design.factor), (0, -width % self.design.factor), (0, 0)], "reflect")
        remade = np.empty_like(batch)
        for top in range(0, batch.shape[1], TILE):
            for left in range(0, batch.shape[2], TILE):
                above, before = min(top, REACH), min(left, REACH)
                seen = batch[:, top - above : top + TILE + REACH, left - before : left + TILE + REACH]
                values = torch.from_numpy(seen).permute(0, 3, 1, 2).float().div(127.5).sub(1).contiguous(memory_format=LAYOUT)
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    found = self(values)[0]
                levels = found.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
                piece = remade[:, top : top + TILE, left : left + TILE]
                piece[...] = levels[:, above : above + piece.shape[1], before : before + piece.shape[2]]
        remade = remade[:, :height, :width]
        return remade[0] if single else remade


def doubling(upsampling: Upsampling, before: int, after: int) -> nn.Module:
    """A layer that doubles height and width, (N, before, H, W) to (N, after, 2H, 2W)."""
    if upsampling == "transposed":
        return nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)
    if upsampling == "nearest":
        return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(before, after, 3, padding=1))
    return nn.Sequential(nn.Conv2d(before, 4 * after, 3, padding=1), nn.PixelShuffle(2))


def _start(layer: nn.Module) -> None:
    """First weights: linear, and as loud at the end as at the start. With torch's own, each layer is fainter, and nothing comes through eight."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.orthogonal_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    elif isinstance(layer, Residual):  # after its convolutions, as apply() goes
        nn.init.zeros_(layer.second.weight)
