"""Features that need no tower: two overlapping clouds, and noise that has seen them.

Importing this builds nothing. Tests in this folder use it, because pytest puts the folder on the path.
"""

import torch

from realgrain.learning.anchors import prototypes
from realgrain.learning.incentive import Diagnostics
from realgrain.learning.noise import Noise
from realgrain.learning.noise_law import PositiveIncentiveNoise, make_noise

D = 16
PIN = Noise(kind="pin")


def toy(n=64, seed=0, apart=1.0, offset=2.0):
    """Features (n, D) of two overlapping clouds, off the origin as those of CLIP are, and which of them are fake."""
    generator = torch.Generator().manual_seed(seed)
    fake = torch.arange(n) % 2 == 1
    features = torch.randn((n, D), generator=generator) + offset
    features[:, 0] += apart * (2 * fake - 1)
    return features, fake


def pin(seed=0, **changes) -> PositiveIncentiveNoise:
    """A generator with anchors, that has seen the toy features."""
    torch.manual_seed(seed)
    noise = make_noise(D, Noise(kind="pin", **changes))
    assert isinstance(noise, PositiveIncentiveNoise)
    noise.set_anchors(prototypes(*toy(256, seed=9)))
    noise(*toy())
    return noise


def grown(noise, factor=100.0):
    """The generator, its noise no longer near zero."""
    with torch.no_grad():
        for layer in (noise.mean, noise.deviation):
            if layer is not None:
                layer.weight *= factor
    return noise


def step(clean, perturbed, mean=0.1, deviation=0.05) -> Diagnostics:
    """What training may have looked like."""
    return Diagnostics(clean, perturbed, clean - perturbed, mean, deviation, 0.1, 0.5)
