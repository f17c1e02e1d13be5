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
from realgrain.detector.content import ENOUGH
from realgrain.detector.domain import Domain

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
        groups: of content, with thresholds of their own; 1: all pictures go by the same.
        counts: pictures by label and source, ``{"real": {"ffhq": 150}, ...}``.
        calibration: probability scale fitted on them; None: the card's.
        domain: from where on a picture is unlike them and unlike the training pictures too; None: the card's.
        borders: from which length of straight borders on, likewise.
        target_miss: share of generated pictures let through that the threshold of ``camera`` is chosen for.
        manifest_sha256: of their manifest.
        fitted: day.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    deliveries: tuple[str, ...]
    groups: int = Field(default=1, ge=1)
    counts: dict[Kind, dict[str, int]]
    calibration: Calibration | None = None
    domain: Domain | None = None
    borders: Domain | None = None
    target_miss: float = Field(default=0.05, gt=0, lt=1)
    manifest_sha256: str
    fitted: date


def gather(
    logits: Mapping[str, np.ndarray], fake: np.ndarray, source: np.ndarray, group: Mapping[str, np.ndarray], groups: int
) -> dict[int, dict[Kind, dict[str, np.ndarray]]]:
    """Sorted logits (n,) float64 by group of content, label and source, each picture's worst: the highest of real ones, the lowest of generated ones.

    That is the worst over the deliveries in which a picture is of that group; the few that are of several count in each. Groups are told apart only
    where each has enough real pictures (``content.ENOUGH``); otherwise all pictures are of group 0.

    Args:
        logits: (N,) finite, of the same N pictures in each delivery.
        fake: (N,) bool.
        source: (N,) names.
        group: (N,) int likewise, of ``content``, below ``groups``.
        groups: how many there are.
    """
    each, member = np.stack([np.asarray(values, np.float64) for values in logits.values()]), np.stack([group[name] for name in logits])
    if min(np.sum((member == number).any(0) & ~fake) for number in range(groups)) < ENOUGH:
        groups, member = 1, np.zeros_like(member)
    found: dict[int, dict[Kind, dict[str, np.ndarray]]] = {}
    for number in range(groups):
        here = member == number
        worst = np.where(fake, np.where(here, each, np.inf).min(0), np.where(here, each, -np.inf).max(0))
        of: dict[Kind, dict[str, np.ndarray]] = {"real": {}, "fake": {}}
        for kind, mine in (("real", here.any(0) & ~fake), ("fake", here.any(0) & fake)):
            of[kind] = {str(name): np.sort(worst[mine & (source == name)]) for name in sorted(set(source[mine]))}
        found[number] = of
    return found


def counts_of(fake: np.ndarray, source: np.ndarray) -> dict[Kind, dict[str, int]]:
    """Pictures by label and source, of their labels (N,) bool and the names (N,) of their sources."""
    sides: dict[Kind, np.ndarray] = {"real": source[~fake], "fake": source[fake]}
    return {kind: {str(name): int(np.sum(of == name)) for name in sorted(set(of))} for kind, of in sides.items()}


def as_arrays(profile: str, found: Mapping[int, Mapping[Kind, Mapping[str, np.ndarray]]]) -> dict[str, np.ndarray]:
    """What ``gather`` gives, under the names that a bundle keeps it by."""
    return {
        f"profile/{profile}/{group}/{kind}/{source}": logits
        for group, kinds in found.items()
        for kind, of in kinds.items()
        for source, logits in of.items()
    }


def from_arrays(profile: str, group: int, kind: Kind, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Logits of a profile's pictures of one group and label, by source."""
    start = f"profile/{profile}/{group}/{kind}/"
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
