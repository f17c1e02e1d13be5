"""Benchmarks, one file each: CARD says what is known of it, LAYOUT gives example paths, ``samples(root)`` reads its folders. Nothing is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from realgrain.learning.data import Sample
from realgrain.measuring.benchmarks.card import Card
from realgrain.measuring.benchmarks.walk import Faults

NAMES = (
    "genimage",
    "aigcdetect",
    "universalfakedetect",
    "universalfakedetect-8",
    "forensynths",
    "aigibench",
    "chameleon",
    "synthbuster",
    "drct2m",
    "communityforensics",
    "wildrf",
    "synthwildx",
    "folder",
    "csv",
    "webdataset",
    "huggingface",
)
"""All there are. Each is the module of that name, a hyphen being written as an underscore."""


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Attributes:
        card: what is known of it.
        layout: example paths below the root, for each layout in which it is found; each is complete: ``check`` misses nothing in it.
        samples: of a root folder; in the same order each time; opens no picture. A picture that several sets share is a sample of each.
        look: likewise, beside what cannot be read of files in which pictures are packed, for which ``samples`` gives up.
    """

    card: Card
    layout: dict[str, tuple[str, ...]]
    samples: Callable[[Path], list[Sample]]
    look: Callable[[Path], tuple[list[Sample], Faults]]


def benchmark(name: str) -> Benchmark:
    """A benchmark by its name.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in NAMES:
        raise ValueError(f"{name!r} is no benchmark; there are {', '.join(NAMES)}")
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    return Benchmark(module.CARD, module.LAYOUT, module.samples, getattr(module, "look", lambda root: (module.samples(root), [])))
