"""SynthWildX: pictures of three generators, and photographs, as the network X delivered them."""

from __future__ import annotations

from pathlib import Path

from realgrain.learning.data import Sample
from realgrain.measuring.benchmarks.card import Card, Convention, Size
from realgrain.measuring.benchmarks.walk import Told, after, labelled

SETS = ("dalle3", "firefly", "midjourney")

CARD = Card(
    name="synthwildx",
    title="SynthWildX",
    paper="Raising the Bar of AI-generated Image Detection with CLIP, CVPR Workshops 2024, arXiv 2312.00195",
    licence="not stated; the pictures are their posters', downloaded from X",
    where="https://github.com/grip-unina/ClipBased-SyntheticImageDetection, data/synthwildx: list.csv and a script that downloads it",
    label_rule="the folder of a generator = fake; real = real",
    sizes=tuple(Size(set=name, real=500, fake=500, known="code") for name in SETS),
    layout_known="code",
    test=Convention(
        view="whole pictures or a centre crop, by method",
        threshold="0.5 (a log-likelihood ratio of 0); AUC besides",
        mean="plain mean of balanced accuracy and AUC over the three generators, each against all real pictures",
        notes="Posts vanish: fewer pictures than published can be had.",
        known="code",
    ),
    training="none of its own; methods bring theirs",
    real_sources="X for all (code)",
    notes="Generators are those that the posts' tags name. Real pictures are samples of each of the three sets: score a file once, count it in each.",
    beside=("list.csv", "download_synthwildx.py", "README.md"),
)

LAYOUT = {"official": tuple(f"{name}/F_g5nKpWgAADvtB.jpg" for name in (*SETS, "real"))}


def tell(parts: tuple[str, ...]) -> list[Told]:
    """What a folder holds: generator, or real."""
    parts = after(parts, "synthwildx")
    if len(parts) != 1:
        return []
    if parts[0] == "real":
        return [Told(label="real", set=name, source="x") for name in SETS]
    return [Told(label="fake", set=parts[0], generator=parts[0], source=parts[0])] if parts[0] in SETS else []


def samples(root: Path) -> list[Sample]:
    """Pictures of the three generators, and the real ones once for each."""
    return labelled(root, tell)
