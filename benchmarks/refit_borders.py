"""Measures a bundle's threshold of straight borders on the pictures that it was trained with, and writes it into its card.

    python benchmarks/refit_borders.py data/manifest.csv src/realgrain/detector/bundles/default

`realgrain train` does the same; this is for a bundle that was trained before borders were looked at: nothing about them is learned, so weights and
all other figures stay as they are.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from realgrain.detector.bundle import Bundle, Parent, read_bundle, rewrite_statistics
from realgrain.detector.weights import file_sha256
from realgrain.learning import borders
from realgrain.learning.problem import prepare
from realgrain.learning.recipe import Recipe


def write(bundle: Bundle, manifest: Path) -> Bundle:
    """Measure, and rewrite the card.

    Raises:
        ValueError: the bundle was trained with other pictures.
    """
    if file_sha256(manifest) != bundle.card.training.manifest_sha256:
        raise ValueError(f"{manifest}: not the pictures that {bundle.folder} was trained with")
    recipe = Recipe.model_validate(bundle.card.recipe)
    found = borders.measure(prepare(recipe, manifest), recipe.deliveries)
    parent = Parent(bundle=bundle.hash, change="straight borders of the same pictures, measured", made=datetime.now(UTC).date())
    card = bundle.card.model_copy(update={"borders": found, "parents": (*bundle.card.parents, parent)})
    return rewrite_statistics(bundle.folder, card, bundle.statistics)


def main() -> None:
    """Measure, and say what came out."""
    parser = argparse.ArgumentParser(description="Measure straight borders and write the threshold into a bundle's card.")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("bundle", type=Path, help="bundle to rewrite")
    options = parser.parse_args()
    made = write(read_bundle(options.bundle), options.manifest)
    assert made.card.borders is not None
    print(f"{options.bundle}: bundle {made.hash}, outside from {made.card.borders.threshold:.3f}, false alarms {made.card.borders.false_alarm}")


if __name__ == "__main__":
    main()
