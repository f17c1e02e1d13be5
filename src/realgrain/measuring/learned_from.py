"""Whether a detector learned from the pictures that it is measured on: figures on those say little of others, so it is said beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from realgrain.detector.bundle import Bundle
from realgrain.detector.weights import file_sha256
from realgrain.learning.data import Sample, read_manifest
from realgrain.learning.learned import LEARNED, among
from realgrain.measuring.results import Learned

UNKNOWN = "Whether the detector learned from any of these pictures is not known: only bundles that keep hashes of their training pictures tell."
COMPARED = {
    "sha256": "compared by the first 8 bytes of each file's sha256; a picture that was saved again is not found",
    "manifest": "compared by name: theirs is the very manifest that it learned from; copies under other names are not found",
}


def known(manifest: Path | None, bundle: Bundle, samples: Sequence[Sample]) -> list[Sample] | None:
    """Those of the samples that a bundle learned from by its training manifest; None where a manifest is not that one, byte for byte."""
    if manifest is None or not manifest.is_file() or file_sha256(manifest) != bundle.card.training.manifest_sha256:
        return None
    trained = bundle.card.recipe.get("split", "")
    files = {sample.file for sample in read_manifest(manifest) if not trained or sample.split == trained}
    return [sample for sample in samples if sample.file in files]


def learned_from(bundle: Bundle, opened: Mapping[str, str], samples: Sequence[Sample], manifest: Path | None = None) -> Learned | None:
    """How many pictures a bundle learned from, each counted once, however many sets share it.

    Hashes decide where the bundle keeps some: they tell a file again in any manifest, under any name. Bundles of before kept none; of those only
    their own training manifest tells. Near copies are not looked for: a bundle keeps nothing by which its pictures could be seen.

    Args:
        bundle: that judges.
        opened: pictures that opened, the sha256 of each file by its path.
        samples: that these are of; others do no harm.
        manifest: that the samples were read from; None where there is none.

    Returns:
        None where neither can tell.
    """
    if LEARNED in bundle.statistics:
        found = int(among(list(opened.values()), bundle.statistics).sum())
        return Learned(pictures=found, of=len(opened), by="sha256")
    mine = known(manifest, bundle, samples)
    if mine is None:
        return None
    return Learned(pictures=len({sample.path for sample in mine} & opened.keys()), of=len(opened), by="manifest")


def in_words(found: Learned | None) -> str:
    """A sentence."""
    if found is None:
        return UNKNOWN
    number = found.pictures or "none"
    flattered = "; figures on those flatter it, and say little of others" if found.pictures else ""
    return f"The detector learned from {number} of these {found.of} pictures{flattered} ({COMPARED[found.by]})."
