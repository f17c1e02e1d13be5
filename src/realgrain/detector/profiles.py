"""Calibration data of a bundle by profile: where pictures come from, and what the detector says of ones whose label is known.

A bundle keeps the logits themselves, sorted, as float64 (8 bytes a picture), and not quantiles of them: any false-positive rate can then be asked for
at run time, the guarantee counts single pictures, and quantiles that lose none of the tail, where the threshold lies, would be no smaller. No picture
can be told from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from realgrain.detector.calibration import Calibration

VIDEO = "video"
"""Clips: what of one is compared with thresholds, ``realgrain.detector.clips`` says."""
NAMED = ("camera", "web", "screenshot", "art", "document", VIDEO)
"""Profiles that every bundle answers to; without data they abstain."""
PHOTO = "photo"
"""Photographs, however they were delivered: the profile of who names none."""
DELIVERED = {PHOTO: ("clean", "web", "hard"), "camera": ("clean",), "web": ("web", "hard")}
"""Deliveries that training fits a profile in."""
Kind = Literal["real", "fake"]


class Profile(BaseModel):
    """What the calibration pictures of a profile are; their logits lie beside the card.

    Attributes:
        deliveries: conditions in which each picture was scored; the logit that is worst for its label is kept, so that rates hold in each.
        counts: pictures by label and source, ``{"real": {"ffhq": 150}, ...}``.
        calibration: probability scale fitted on them; None: the card's.
        target_miss: share of generated pictures let through that the threshold of ``camera`` is chosen for.
        manifest_sha256: of their manifest.
        fitted: day.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    deliveries: tuple[str, ...]
    counts: dict[Kind, dict[str, int]]
    calibration: Calibration | None = None
    target_miss: float = Field(default=0.05, gt=0, lt=1)
    manifest_sha256: str
    fitted: date


def gather(logits: Mapping[str, np.ndarray], fake: np.ndarray, source: np.ndarray) -> dict[Kind, dict[str, np.ndarray]]:
    """Sorted logits (n,) float64 by label and source, each picture's worst over deliveries: the highest of a real one, the lowest of a generated one.

    Args:
        logits: (N,) finite, of the same N pictures in each delivery.
        fake: (N,) bool.
        source: (N,) names.
    """
    each = np.stack([np.asarray(values, np.float64) for values in logits.values()])
    worst = np.where(fake, each.min(0), each.max(0))
    found: dict[Kind, dict[str, np.ndarray]] = {}
    for kind, mine in (("real", ~fake), ("fake", fake)):
        found[kind] = {str(name): np.sort(worst[mine & (source == name)]) for name in sorted(set(source[mine]))}
    return found


def counts_of(found: Mapping[Kind, Mapping[str, np.ndarray]]) -> dict[Kind, dict[str, int]]:
    """Pictures by label and source."""
    return {kind: {source: len(logits) for source, logits in of.items()} for kind, of in found.items()}


def as_arrays(profile: str, found: Mapping[Kind, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What ``gather`` gives, under the names that a bundle keeps it by."""
    return {f"profile/{profile}/{kind}/{source}": logits for kind, of in found.items() for source, logits in of.items()}


def from_arrays(profile: str, kind: Kind, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Logits of a profile's pictures of one label, by source."""
    start = f"profile/{profile}/{kind}/"
    return {name.removeprefix(start): arrays[name] for name in sorted(arrays) if name.startswith(start)}


def without(profile: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays of a bundle but for those of a profile."""
    return {name: array for name, array in arrays.items() if not name.startswith(f"profile/{profile}/")}


def pooled(of: Mapping[str, np.ndarray]) -> np.ndarray:
    """Logits (N,) of all sources, sorted."""
    return np.sort(np.concatenate(list(of.values()))) if of else np.empty(0)


def known(names: Iterable[str]) -> list[str]:
    """All profiles that may be asked for, with data or without: a card's own and ``NAMED``."""
    return list(dict.fromkeys([*names, *NAMED]))
