"""Chameleon (AIDE): pictures of people's making from websites, meant to deceive the eye."""

from __future__ import annotations

from pathlib import Path

from realgrain.learning.data import Sample
from realgrain.measuring.benchmarks.card import Card, Convention, Size
from realgrain.measuring.benchmarks.walk import Told, after, label_of, labelled

CARD = Card(
    name="chameleon",
    title="Chameleon",
    paper="A Sanity Check for AI-generated Image Detection, ICLR 2025, arXiv 2406.19435",
    licence="academic research only; no commercial use",
    where="https://github.com/shilinyan99/AIDE: by e-mail to its authors",
    label_rule="0_real = real; 1_fake = fake",
    sizes=(Size(set="chameleon", real=14_900, fake=11_200, known="recalled", rounded=100),),
    layout_known="inferred",
    test=Convention(
        view="Resize 256 in AIDE's loader",
        threshold="0.5",
        mean="accuracy over all pictures, with the accuracies on fake and on real pictures beside it",
        notes="Classes are not of one size: accuracy and balanced accuracy differ. DDA's figures are balanced accuracies.",
        known="code",
    ),
    training="three columns in the paper: ProGAN, Stable Diffusion v1.4, or all of GenImage",
    real_sources="not stated where it was seen; one source",
    notes="The class folders are those of AIDE's loader; that they lie in a folder test is inferred.",
)

LAYOUT = {name: tuple(f"{above}{folder}/00001.jpg" for folder in ("0_real", "1_fake")) for name, above in (("test", "test/"), ("bare", ""))}


def tell(parts: tuple[str, ...]) -> list[Told]:
    """What a folder holds: [test], class."""
    parts = after(parts, "chameleon", "test")
    if len(parts) != 1 or not (label := label_of(parts[0])):
        return []
    return [Told(label=label, set="chameleon", generator="unknown" if label == "fake" else "", source=f"chameleon-{label}")]


def samples(root: Path) -> list[Sample]:
    """All pictures; the generators of the fakes are unknown."""
    return labelled(root, tell)
