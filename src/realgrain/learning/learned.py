"""Which pictures a bundle learned from, so that nobody measures it on them unawares: its error rates would be better than they are.

Kept are the first 8 bytes of each file's sha256: enough to know a file again, nothing to see of it. A picture that was saved again is another file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

LEARNED = "learned"
DIGITS = 16  # hexadecimal, of a sha256


def as_arrays(sha256: Iterable[str], before: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    """Pictures by the sha256 of their files, with those that a bundle's statistics name already: (n,) uint64, sorted."""
    old = (before or {}).get(LEARNED, np.empty(0, np.uint64))
    return {LEARNED: np.union1d(old, _numbers(sha256))}


def among(sha256: Sequence[str], statistics: Mapping[str, np.ndarray]) -> np.ndarray:
    """Whether a bundle learned from each of the files (N,) bool; none of them where it does not say."""
    return np.isin(_numbers(sha256), statistics.get(LEARNED, np.empty(0, np.uint64)))


def _numbers(sha256: Iterable[str]) -> np.ndarray:
    return np.array([int(digest[:DIGITS], 16) for digest in sha256], np.uint64)
