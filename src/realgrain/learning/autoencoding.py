"""Training autoencoders on crops of photographs, from nothing and in minutes. No pretrained network judges what comes out.

The loss asks for the same pixels, the same slopes at three scales, and, where what is lost cannot be guessed, as much grain as there was: without
that, the mean error is least for a blur, and blur is what a detector would learn (our choice).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from realgrain.learning.autoencoder import LAYOUT, Autoencoder, Design
from realgrain.picture.image import open_picture

LAW = 1  # to be raised with any change here or to the networks that gives other weights: what is in caches is then not taken for the new
CROP = 96  # pixels: wider than what a latent sees
CROPS = 4096  # at least, from all photographs together: 113 MB
BATCH = 8
RATE = 2e-3  # of Adam, at its highest
WARMUP = 0.1  # share of the steps in which it gets there
SLOPES, GRAIN = 0.5, 1.0  # weights beside the pixels' 1
SCALES = (1, 2, 4)  # pixels over which slopes are taken
NEIGHBOURHOOD = 8  # pixels over which grain is compared


def crops(files: Sequence[Path], sha256: Sequence[str], seed: int) -> np.ndarray:
    """Crops at native size, as many of each photograph, where its sha256 and the seed say: (M, CROP, CROP, 3) uint8.

    Smaller photographs are mirrored at their borders.

    Raises:
        PictureError: a photograph does not open.
    """
    each = -(-CROPS // len(files))
    cut = np.empty((len(files), each, CROP, CROP, 3), np.uint8)
    for row, (file, name) in enumerate(zip(tqdm(files, desc="crops", unit="picture", disable=None), sha256, strict=True)):
        pixels = open_picture(file).pixels
        pixels = np.pad(pixels, [(0, max(0, CROP - side)) for side in pixels.shape[:2]] + [(0, 0)], "reflect")
        rng = np.random.default_rng([seed, int(name[:16], 16)])
        for index in range(each):
            top, left = rng.integers(pixels.shape[0] - CROP + 1), rng.integers(pixels.shape[1] - CROP + 1)
            cut[row, index] = pixels[top : top + CROP, left : left + CROP]
    return cut.reshape(-1, CROP, CROP, 3)


def fit(design: Design, cut: np.ndarray, *, steps: int, seed: int, bf16: bool, about: str = "") -> tuple[Autoencoder, list[float]]:
    """Train an autoencoder; the same one each time on the same machine with as many threads.

    Args:
        design: what it is made of.
        cut: crops (M, CROP, CROP, 3) uint8.
        steps: of Adam, on ``BATCH`` crops each; the rate rises and then falls along a cosine.
        seed: of first weights and of every draw.
        bf16: compute in bfloat16 where torch finds it safe.
        about: its name, for the progress bar.

    Returns:
        It, in evaluation mode, and the loss of each step.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Autoencoder(design).train()
        adam = torch.optim.Adam(model.parameters(), RATE, betas=(0.9, 0.99))
        schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: _rate(step, steps))
        losses = []
        bar = tqdm(range(steps), desc=f"autoencoder {about}", unit="step", disable=None)
        for _ in bar:
            pixels = torch.from_numpy(cut[torch.randint(len(cut), (BATCH,)).numpy()])
            pixels = (pixels.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(memory_format=LAYOUT)
            if torch.rand(()) < 0.5:
                pixels = pixels.flip(3)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                remade, extra = model(pixels)
            value = loss(remade, pixels) + extra
            adam.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            adam.step()
            schedule.step()
            losses.append(value.item())
            bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
    return model.eval(), losses


def loss(remade: Tensor, pixels: Tensor) -> Tensor:
    """How far remade pictures (N, 3, H, W), -1..1, are from what they should be; sides at least ``NEIGHBOURHOOD`` + 1. A mean, ()."""
    total = (remade - pixels).abs().mean()
    for scale in SCALES:
        found, wanted = (functional.avg_pool2d(values, scale) for values in (remade, pixels))
        for axis in (2, 3):
            slopes, true = found.diff(dim=axis), wanted.diff(dim=axis)
            total = total + SLOPES * (slopes - true).abs().mean()
            if scale == 1:
                grain, real = (functional.avg_pool2d(values.abs(), NEIGHBOURHOOD) for values in (slopes, true))
                total = total + GRAIN * (grain - real).abs().mean()
    return total


def _rate(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / (WARMUP * steps)) * 0.5 * (1 + math.cos(math.pi * step / steps))
