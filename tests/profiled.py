"""Bundles with profiles of given logits, for tests in any folder."""

from dataclasses import replace
from datetime import date

import numpy as np

from realgrain.detector import profiles
from realgrain.detector.bundle import statistics_sha256


def with_profile(bundle, name, real, fake=None, **changes):
    """A bundle that has one profile more, of given logits by source."""
    return with_groups(bundle, name, {0: {"real": real, "fake": fake or {}}}, **changes)


def with_groups(bundle, name, found, **changes):
    """The same, of logits by group of content, label and source."""
    found = {
        group: {kind: {source: np.sort(np.asarray(values, float)) for source, values in of.items()} for kind, of in kinds.items()}
        for group, kinds in found.items()
    }
    made = profiles.Profile(
        deliveries=("clean",),
        groups=len(found),
        counts={"real": {}, "fake": {}},
        manifest_sha256="0" * 64,
        fitted=date(2026, 1, 2),
        **{"target_miss": 0.2, **changes},
    )
    statistics = {**profiles.without(name, bundle.statistics), **profiles.as_arrays(name, found)}
    card = bundle.card.model_copy(update={"profiles": {**bundle.card.profiles, name: made}, "statistics_sha256": statistics_sha256(statistics)})
    return replace(bundle, card=card, statistics=statistics)
