"""A CSV manifest, as the rest of realgrain reads it."""

from __future__ import annotations

from pathlib import Path

from realgrain.learning.data import Sample, read_manifest
from realgrain.measuring.benchmarks.card import Card
from realgrain.measuring.benchmarks.folder import OPEN

MANIFEST = "manifest.csv"

CARD = Card(
    name="csv",
    title="A CSV manifest",
    paper="",
    licence="not stated; a column license is kept",
    where="yours",
    label_rule="column label: real or fake",
    layout_known="code",
    test=OPEN,
    training="yours",
    real_sources="column source",
    notes="Columns path and label are needed; generator, source, set and split are used, others kept. "
    "The root is the file, or a folder with manifest.csv.",
    beside=("*.csv", "README*", "LICENSE*"),
)

LAYOUT = {"manifest": (MANIFEST, "pictures/1.jpg")}


def samples(root: Path) -> list[Sample]:
    """Rows of the manifest, in its order."""
    return read_manifest(manifest_of(root))


def manifest_of(root: Path) -> Path:
    """The manifest that a root is, or holds."""
    return root / MANIFEST if root.is_dir() else root
