"""What a bundle keeps of its training pictures' features, so that learning something new need not forget them.

Few pictures of each source, in half precision: an experience replay (Rolnick et al. 2019) of features instead of pictures, which are not ours to
give. A feature is the mean over a picture's views. No picture is in there, but rough likenesses have been made from features of deep networks
(feature inversion: Dosovitskiy and Brox 2016): what is learned from confidential pictures is as confidential.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from realgrain.learning.data import Sample

MOST = 420  # pictures in all: 2 MB for three deliveries of CLIP ViT-B/16 (our choice)
_START = "replay"


def fit(samples: Sequence[Sample], features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What is kept: arrays (n, D) float16 by delivery, label and source.

    Of each source as many pictures as of any other, or all that it has, spread evenly over its pictures; at most ``MOST`` in all, or one of each.

    Args:
        samples: N of them.
        features: (N, V, D) in each delivery.
    """
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, sample in enumerate(samples):
        groups[sample.label, sample.source].append(row)
    each = _each([len(rows) for rows in groups.values()])
    found = {}
    for (label, source), rows in groups.items():
        kept = np.array(rows)[np.unique(np.linspace(0, len(rows) - 1, min(each, len(rows))).astype(int))]
        for name, of in features.items():
            found[f"{_START}/{name}/{label}/{source}"] = of[kept].mean(axis=1, dtype=np.float64).astype(np.float16)
    return found


def _each(sizes: Sequence[int]) -> int:
    """How many of each source, at least 1."""
    each = 1
    while each < max(sizes, default=0) and sum(min(size, each + 1) for size in sizes) <= MOST:
        each += 1
    return each


def read(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[tuple[str, str], np.ndarray]]:
    """Features (n, D) float32 by delivery, then by label and source, of a bundle's statistics; empty where it keeps none."""
    found: dict[str, dict[tuple[str, str], np.ndarray]] = defaultdict(dict)
    for name in sorted(arrays):
        start, _, rest = name.partition("/")
        if start == _START:
            delivery, label, source = rest.split("/", 2)
            found[delivery][label, source] = arrays[name].astype(np.float32)
    return dict(found)
