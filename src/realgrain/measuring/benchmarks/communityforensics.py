"""Community Forensics, as folders: thousands of generators, each with a folder of its own. Its parquet files are read by ``huggingface``."""

from __future__ import annotations

from pathlib import Path

from realgrain.learning.data import Sample
from realgrain.measuring.benchmarks.card import Card, Convention, Size
from realgrain.measuring.benchmarks.walk import Told, after, label_of, labelled

SET = "communityforensics"

CARD = Card(
    name=SET,
    title="Community Forensics",
    paper="Community Forensics: Using Thousands of Generators to Train Fake Image Detectors, CVPR 2025, arXiv 2411.04125",
    licence="CC BY 4.0 for the whole, CC BY-NC-SA 4.0 for the small one, as their pages state (page)",
    where="https://huggingface.co/datasets/OwensLab/CommunityForensics (1.1 TB), -Small (278 GB)",
    label_rule="real = real; fake = fake, within the folder of a generator or, for real pictures, of a data set",
    sizes=(Size(set=SET),),
    layout_known="code",
    test=Convention(
        view="Resize 256, centre crop 224; or Resize 440, centre crop 384",
        threshold="0.5",
        mean="accuracy and AP, over all pictures and by generator",
        notes="A folder need not hold both classes: real pictures have folders of their own, and every generator is told from all of them.",
        known="code",
    ),
    training="its own 2.7 million pictures of 4,803 generators with as many real ones; evaluation on its split PublicEval",
    real_sources="named by the folder: LAION, ImageNet, COCO, FFHQ, CelebA, MetFaces, AFHQ-v2, Forchheim, IMD2020, Landscapes HQ, VISION (page)",
    notes="The real pictures of the whole data set have to be gathered by its user; the small one holds as many real as fake ones.",
    beside=("index.csv",),
)

LAYOUT = {"folders": ("ImageNet/real/000000.jpg", "LAION/real/000000.png", "stable-diffusion-2/fake/00000162.png", "dalle3/fake/00000001.png")}


def tell(parts: tuple[str, ...]) -> list[Told]:
    """What a folder holds: [split], generator or data set, class."""
    parts = after(parts, "communityforensics", "test")
    if len(parts) != 2 or not (label := label_of(parts[1])):
        return []
    return [Told(label=label, set=SET, generator=parts[0] if label == "fake" else "", source=parts[0])]


def samples(root: Path) -> list[Sample]:
    """Pictures of every generator and data set, all of one set: in sets of their own, no generator would have real pictures beside it."""
    return labelled(root, tell)
