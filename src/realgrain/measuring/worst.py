"""The worst errors of a run: real pictures that look most generated to the detector, and generated ones that look most real."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from realgrain.learning.data import Sample
from realgrain.measuring.benchmarks import benchmark
from realgrain.measuring.finished import Finished
from realgrain.measuring.run_manifest import Key, key_of
from realgrain.picture.conditions import condition
from realgrain.picture.errors import PictureError
from realgrain.picture.image import open_picture

SHOWN = 6  # of each label


@dataclass(frozen=True)
class Mistake:
    """One picture.

    Attributes:
        wrong: whether it is on the wrong side of the threshold; of a run without one, of a probability of 0.5.
        pixels: (H, W, 3) uint8, as the detector got it; None where it is not shown.
        why: it is not shown; empty where it is, or was not asked for.
    """

    path: str
    group: str
    fake: bool
    logit: float
    probability: float | None
    wrong: bool
    pixels: NDArray[np.uint8] | None
    why: str


def worst(run: Finished, root: Path | None) -> dict[str, list[Mistake]]:
    """The worst of each label in the run's first condition, by what they are.

    Args:
        run: whose.
        root: of the benchmark; None: pictures are named, not shown.

    Raises:
        ValueError: the root is not that of the run's benchmark.
        OSError: it cannot be read.
    """
    there = {} if root is None else {key_of(sample): sample for sample in benchmark(run.lock.benchmark).samples(root)}
    scored = run.scored(run.first)
    found = {}
    for fake, title in ((False, "Real, most like a generated picture"), (True, "Generated, most like a photograph")):
        mine = np.flatnonzero(scored.fake == fake)
        order = mine[np.argsort(scored.logit[mine] * (1 if fake else -1), kind="stable")][:SHOWN]
        found[title] = []
        for row in order:
            of = scored.rows[row]
            pixels, why = (None, "") if root is None else _pixels((of["set"], of["path"]), of["sha256"], there, run.first)
            found[title].append(
                Mistake(
                    path=of["path"],
                    group=of["generator" if fake else "source"] or "(unnamed)",
                    fake=fake,
                    logit=of["logit"],
                    probability=of["probability"],
                    wrong=bool(scored.flagged[row] != fake),
                    pixels=pixels,
                    why=why,
                )
            )
    return {title: mistakes for title, mistakes in found.items() if mistakes}


def _pixels(key: Key, sha256: str, there: Mapping[Key, Sample], name: str) -> tuple[NDArray[np.uint8] | None, str]:
    if key not in there:
        return None, "is not in that folder"
    try:
        picture = open_picture(there[key].content(), name=key[1])
    except PictureError as error:
        return None, error.reason
    except OSError as error:
        return None, f"cannot be read: {error.strerror or error}"
    if picture.sha256 != sha256:
        return None, "has changed since the run"
    return condition(name)(picture.pixels), ""
