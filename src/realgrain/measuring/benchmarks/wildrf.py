"""WildRF (LaDeDa): real and fake pictures gathered by hand from three social networks."""

from __future__ import annotations

from pathlib import Path

from realgrain.learning.data import Sample
from realgrain.measuring.benchmarks.card import Card, Convention, Size
from realgrain.measuring.benchmarks.walk import Told, after, label_of, labelled, split_of

PLATFORMS = ("reddit", "twitter", "facebook")

CARD = Card(
    name="wildrf",
    title="WildRF",
    paper="Real-Time Deepfake Detection in the Real-World, arXiv 2406.09398",
    licence="not stated",
    where="https://github.com/barcavia/RealTime-DeepfakeDetection-in-the-RealWorld (Google Drive)",
    label_rule="0_real = real; 1_fake = fake",
    sizes=(*(Size(set=name) for name in PLATFORMS), *(Size(set="reddit", split=split, needed=False) for split in ("train", "val"))),
    layout_known="code",
    test=Convention(view="not seen", threshold="0.5", mean="plain mean over the three platforms, of accuracy and AP", known="inferred"),
    training="its own train folder, of one platform, tested on the others; DDA and others train elsewhere and test only",
    real_sources="the platform",
    notes="That the training pictures are Reddit's is inferred from an example of the README. Generators are unknown. Platforms recompress alike.",
)

LAYOUT = {
    "official": (
        *(f"test/{name}/{folder}/00001.jpg" for name in PLATFORMS for folder in ("0_real", "1_fake")),
        *(f"{split}/{folder}/00001.jpg" for split in ("train", "val") for folder in ("0_real", "1_fake")),
    ),
    "test set alone": tuple(f"{name}/{folder}/00001.jpg" for name in PLATFORMS for folder in ("0_real", "1_fake")),
}


def tell(parts: tuple[str, ...]) -> list[Told]:
    """What a folder holds: train or val, class; or [test], platform, class."""
    parts = after(parts, "wildrf")
    if len(parts) < 2 or not (label := label_of(parts[-1])):
        return []
    split = split_of(parts[0])
    outer = parts[1:-1] if split else parts[:-1]
    if split in {"train", "val"} and not outer:
        outer = ("reddit",)
    elif split in {"train", "val"} or len(outer) != 1 or outer[0] not in PLATFORMS:
        return []
    # Platforms' fakes are told apart: one generator for all three would pool them in every mean over generators.
    generator = f"unknown:{outer[0]}" if label == "fake" else ""
    return [Told(label=label, set=outer[0], generator=generator, source=f"{outer[0]}-{label}", split=split or "test")]


def samples(root: Path) -> list[Sample]:
    """Pictures of the three platforms and, where they are there, of the training and validation folders."""
    return labelled(root, tell)
