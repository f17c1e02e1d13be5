"""Labelled pictures for benchmarks, taken from each source in turn, so that a few of them are as mixed as all of them."""

from collections.abc import Sequence

import numpy as np

from realgrain.learning.data import Sample
from realgrain.picture.image import PictureError, open_picture


def by_source(samples: Sequence[Sample], count: int, seed: int = 0) -> list[Sample]:
    """So many samples that open (fewer where there are no more), a source at a time, each source in random order: the same ones each time."""
    rng = np.random.default_rng(seed)
    sources = sorted({sample.source for sample in samples})
    waiting = {source: [sample for sample in samples if sample.source == source] for source in sources}
    for rows in waiting.values():
        rng.shuffle(rows)  # type: ignore[arg-type]  # a list of samples is shuffled in place like any other
    found: list[Sample] = []
    while len(found) < count and any(waiting.values()):
        for rows in waiting.values():
            if rows and len(found) < count and opens(sample := rows.pop()):
                found.append(sample)
    return found


def opens(sample: Sample) -> bool:
    """Whether a picture can be read."""
    try:
        open_picture(sample.content())
    except PictureError:
        return False
    return True
