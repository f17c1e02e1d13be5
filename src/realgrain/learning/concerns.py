"""Why labelled pictures may teach less than they seem to: too few, too much of one source, or files whose form tells the label."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from realgrain.learning.data import Sample

# What to warn of, all our choice.
FEW_PICTURES = 100  # of a class
FEW_SOURCES = 3  # of a class: leaving one out should leave more than one in
LARGE_SHARE = 0.8  # of a class that is of one source
TELLING_DISTANCE = 0.5  # total variation between the classes: at 0.5 a guess by nothing else is right three times out of four

Form = tuple[str, int, int]  # of a file: format, width and height


def concerns(samples: Sequence[Sample], forms: Sequence[Form], *, few: bool = False) -> list[str]:
    """Why a detector learned from these pictures may not be worth much, a sentence each; empty if there is no reason to think so.

    Args:
        samples: of both labels.
        forms: of each one's file.
        few: whether few pictures are meant, and their number is no concern.
    """
    found = []
    for label in ("real", "fake"):
        sources = Counter(sample.source for sample in samples if sample.label == label)
        count, (largest, most) = sources.total(), sources.most_common(1)[0]
        if count < FEW_PICTURES and not few:
            found.append(f"only {count} {label} pictures: fewer than {FEW_PICTURES} teach little, and what is measured on them means little")
        if len(sources) < FEW_SOURCES:
            found.append(f"only {len(sources)} {label} sources: what they have in common may be all that is learned")
        if len(sources) > 1 and most > LARGE_SHARE * count:
            found.append(f"{most / count:.0%} of the {label} pictures are of the source {largest!r}: what it shows may be all that is learned")
    features = {
        "file format": [format for format, _, _ in forms],
        "size": [f"some {2 ** round(math.log2(width * height) / 2)} pixels a side" for _, width, height in forms],
        "shape": ["square" if width == height else "not square" for _, width, height in forms],
    }
    for name, values in features.items():
        real, fake = (_shares([value for value, sample in zip(values, samples, strict=True) if sample.fake == label]) for label in (False, True))
        apart = {value: fake[value] - real[value] for value in {*real, *fake}}
        distance = sum(map(abs, apart.values())) / 2
        if distance > TELLING_DISTANCE:
            value = max(sorted(apart), key=lambda value: abs(apart[value]))
            found.append(
                f"{name} alone tells {(1 + distance) / 2:.0%} of the labels ({value}: {real[value]:.0%} of real and {fake[value]:.0%} of fake "
                "pictures): training evens out some of that, so measure on pictures that are alike in it"
            )
    return found


def _shares(values: Sequence[str]) -> defaultdict[str, float]:
    """Share of each value; 0 for others."""
    return defaultdict(float, {value: count / len(values) for value, count in Counter(values).items()})
