"""The conditions that results are reported under, by name: what is done to each test picture before it is judged.

What is done and with which numbers is our choice, unless a line of the table says whose it is. A name never changes its meaning: results are
committed under it. Each condition is a pure function of the pixels: the same picture gives the same result, wherever and whenever it is asked for.
"""

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import numpy as np

from realgrain.picture import degrade
from realgrain.picture.degrade import Pixels

Condition = Callable[[Pixels], Pixels]
"""(H, W, 3) uint8 to (H', W', 3) uint8, the input untouched."""


def _clean(pixels: Pixels) -> Pixels:
    return pixels


def _delivered(pixels: Pixels, longest: int, quality: int) -> Pixels:
    return degrade.jpeg(degrade.resize(pixels, longest), quality)


def _noise(pixels: Pixels, sigma: float) -> Pixels:
    """Noise seeded by the picture itself (shape and bytes): the same for the same pixels, another for any other, and no pattern that pictures share.

    The numbers drawn are those of the installed numpy: it does not promise to draw the same in all versions.
    """
    digest = hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16, key=repr(pixels.shape).encode()).digest()
    return degrade.noise(pixels, sigma, np.random.default_rng(int.from_bytes(digest, "big")))


_DELIVERIES: Mapping[str, Condition] = {
    # "web" and "hard" stand for what messengers and social networks do
    "clean": _clean,
    "web": functools.partial(_delivered, longest=768, quality=60),
    "hard": functools.partial(_delivered, longest=512, quality=40),
}

_GRID: Mapping[str, Condition] = {
    **{f"jpeg-{quality}": functools.partial(degrade.jpeg, quality=quality) for quality in (95, 90, 80, 70, 60, 50, 40, 30)},  # 4:2:0
    **{f"blur-{sigma:g}": functools.partial(degrade.blur, sigma=sigma) for sigma in (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0)},  # pixels
    **{f"webp-{quality}": functools.partial(degrade.webp, quality=quality) for quality in (90, 80, 60, 40)},
    "half": functools.partial(degrade.scale, factor=0.5),
    # both sides times the number, Lanczos, as "half"; doubling takes four times the memory
    **{f"resize-{factor:g}": functools.partial(degrade.scale, factor=factor) for factor in (0.25, 0.75, 1.5, 2.0)},
    # shrunk by the number and brought back to its own size, both bicubic: detail is lost, the size is not
    **{f"resample-{factor:g}": functools.partial(degrade.resampled, factor=factor) for factor in (0.5, 0.25)},
    **{f"noise-{sigma:g}": functools.partial(_noise, sigma=sigma) for sigma in (2.0, 4.0, 8.0, 16.0)},  # 8-bit levels
    **{f"crop-{fraction:g}": functools.partial(degrade.crop, fraction=fraction) for fraction in (0.9, 0.75, 0.5)},  # of each side, centre
    # The control against format bias: whatever a file was, both classes reach the detector through the same codec. 96 is the quality of most of
    # ImageNet's files, hence of GenImage's reals (Grommelt et al., "Fake or JPEG?", 2024). It levels the last step only: what an earlier and
    # stronger compression did to one class stays in its pixels.
    "jpeg96-aligned": functools.partial(degrade.jpeg, quality=96),
}

# Zhu et al., "GenImage", 2023: the degraded test pictures. The numbers are theirs; that the shorter side is meant, the bicubic kernel, 4:2:0 and
# that smaller pictures are left as they are is our choice.
_GENIMAGE: Mapping[str, Condition] = {
    **{f"genimage-lr-{side}": functools.partial(degrade.shorter, side=side) for side in (112, 64)},
    **{f"genimage-jpeg-{quality}": functools.partial(degrade.jpeg, quality=quality) for quality in (65, 30)},
    **{f"genimage-blur-{sigma}": functools.partial(degrade.blur, sigma=sigma) for sigma in (3, 5)},
}

# AIGIBench, 2025: copies of its test tree named jpeg, noise and sample (down and up). Our choice: their values are unpublished.
_AIGIBENCH: Mapping[str, Condition] = {
    "aigibench-jpeg": functools.partial(degrade.jpeg, quality=75),
    "aigibench-noise": functools.partial(_noise, sigma=10.0),
    "aigibench-sample": functools.partial(degrade.resampled, factor=0.5),
}

CONDITIONS: Mapping[str, Condition] = MappingProxyType({**_DELIVERIES, **_GRID, **_GENIMAGE, **_AIGIBENCH})
"""Name -> what is done."""

GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "deliveries": tuple(_DELIVERIES),
        "grid": (*_DELIVERIES, *_GRID),
        "genimage": ("clean", *_GENIMAGE),
        "aigibench": ("clean", *_AIGIBENCH),
        "all": tuple(CONDITIONS),
    }
)
"""Name of a group -> its conditions; each group holds "clean", which the others are read against."""


def condition(name: str) -> Condition:
    """Return the condition called `name`, a function from pixels to pixels.

    Raises:
        ValueError: There is none of that name; the message lists those there are.
    """
    if name not in CONDITIONS:
        raise ValueError(f"unknown condition {name!r}; known are {', '.join(CONDITIONS)}")
    return CONDITIONS[name]


def expand(names: Iterable[str]) -> tuple[str, ...]:
    """The conditions that a list of conditions and groups comes to, in the order given, each once, where it is first named.

    Raises:
        ValueError: One is neither, or none is given; the message lists what there is.
    """
    found: dict[str, None] = {}
    for name in names:
        if name not in CONDITIONS and name not in GROUPS:
            raise ValueError(f"unknown condition {name!r}; groups are {', '.join(GROUPS)}; conditions are {', '.join(CONDITIONS)}")
        found |= dict.fromkeys(GROUPS.get(name, (name,)))
    if not found:
        raise ValueError(f"no condition; groups are {', '.join(GROUPS)}; conditions are {', '.join(CONDITIONS)}")
    return tuple(found)
