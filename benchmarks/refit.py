"""Gives a bundle what another one with the same weights knows of its pictures: name, recipe, probability scale, profiles, domain and borders.

    realgrain train recipes/realgrain.yaml --data data/manifest.csv -o build/again
    python benchmarks/refit.py build/again src/realgrain/detector/bundles/default

Weights, thresholds, measured runtimes, how to round and the day of training stay; a bundle with another head or
adapter is refused.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from realgrain.detector.bundle import Bundle, Parent, check_same_detector, read_bundle, rewrite_statistics


def refit(again: Bundle, bundle: Bundle) -> Bundle:
    """Rewrite card and statistics of a bundle.

    Raises:
        ValueError: the two are not the same detector.
    """
    check_same_detector(again, bundle)
    parent = Parent(
        bundle=bundle.hash,
        change="name, recipe, probability scale, profiles, domain and borders of the same training, run again",
        made=datetime.now(UTC).date(),
    )
    taken = {name: getattr(again.card, name) for name in ("name", "method", "recipe", "calibration", "profiles", "domain", "borders")}
    return rewrite_statistics(bundle.folder, bundle.card.model_copy(update={**taken, "parents": (*bundle.card.parents, parent)}), again.statistics)


def main() -> None:
    """Refit and say what came out."""
    parser = argparse.ArgumentParser(description="Take over probability scale, profiles, domain and borders of a bundle with the same weights.")
    parser.add_argument("again", type=Path, help="bundle to take them from")
    parser.add_argument("bundle", type=Path, help="bundle to rewrite")
    options = parser.parse_args()
    made = refit(read_bundle(options.again), read_bundle(options.bundle))
    print(f"{options.bundle}: bundle {made.hash}")
    for name, profile in made.card.profiles.items():
        print(f"profile {name}: {sum(profile.counts['real'].values())} real, {sum(profile.counts['fake'].values())} generated pictures")
    if made.card.domain:
        print(f"domain: outside from {made.card.domain.threshold:.3f}, false alarms {made.card.domain.false_alarm}")
    if made.card.borders:
        print(f"borders: outside from {made.card.borders.threshold:.3f}, false alarms {made.card.borders.false_alarm}")


if __name__ == "__main__":
    main()
