"""ForenSynths (CNNDetection): 13 sets of convolutional generators, trained on ProGAN alone."""

from __future__ import annotations

from pathlib import Path

from realgrain.learning.data import Sample
from realgrain.measuring.benchmarks.card import Card, Convention, Size
from realgrain.measuring.benchmarks.families import REALS, forensynths_paths, forensynths_size
from realgrain.measuring.benchmarks.walk import Told, after, label_of, labelled, split_of

EIGHT = ("progan", "stylegan", "stylegan2", "biggan", "cyclegan", "stargan", "gaugan", "deepfake")

CARD = Card(
    name="forensynths",
    title="ForenSynths",
    paper="CNN-generated images are surprisingly easy to spot... for now, CVPR 2020, arXiv 1912.11035",
    licence="not stated for the pictures; the repository's code is CC BY-NC-SA (recalled)",
    where="https://github.com/PeterWang512/CNNDetection (Google Drive, CMU Box)",
    label_rule="0_real = real; 1_fake = fake; in ProGAN, StyleGAN, StyleGAN2 and CycleGAN within a folder for each category",
    sizes=(
        *(forensynths_size(name) for name in REALS),
        Size(set="progan", split="train", real=360_000, fake=360_000, known="recalled", needed=False),
        Size(set="progan", split="val", needed=False),
    ),
    layout_known="code",
    test=Convention(
        view="centre crop 224 without resizing in the paper; uncropped in its later tables; Resize 256x256 without a crop in NPR",
        threshold="0.5",
        mean="plain mean over the sets",
        notes="Many publications use only the eight sets of the mean 'eight'; whichfaceisreal is no set of the paper.",
        known="code",
    ),
    training="ProGAN, 20 categories (360,000 + 360,000 pictures, recalled) in the paper; "
    "car, cat, chair, horse (144,000 in all) in NPR, FatFormer, C2P-CLIP",
    real_sources="by set, as in the paper's table 1 (recalled): " + ", ".join(f"{name} {source}" for name, source in REALS.items()),
    means={"eight": EIGHT},
)

LAYOUT = {
    "official": (
        *(path for name in REALS for path in forensynths_paths(name, "test/")),
        *(f"{split}/progan/airplane/{folder}/00001.png" for split in ("train", "val") for folder in ("0_real", "1_fake")),
    ),
    "test set alone": tuple(path for name in REALS for path in forensynths_paths(name)),
}


def tell(parts: tuple[str, ...]) -> list[Told]:
    """What a folder holds: [split], set, [category], class."""
    parts = after(parts, "datasets", "dataset", "forensynths")
    split = split_of(parts[0]) if parts else ""
    parts = parts[1:] if split else parts
    if not 2 <= len(parts) <= 3 or parts[0] not in REALS or not (label := label_of(parts[-1])):
        return []
    generator = parts[0] if label == "fake" else ""
    return [Told(label=label, set=parts[0], generator=generator, source=generator or REALS[parts[0]], split=split or "test")]


def samples(root: Path) -> list[Sample]:
    """Pictures of the test set and, where they are there, of the training and validation sets."""
    return labelled(root, tell)
