"""Synthbuster with RAISE-1k: nine diffusion models prompted with descriptions of RAISE's photographs."""

from __future__ import annotations

from pathlib import Path

from realgrain.learning.data import Sample
from realgrain.measuring.benchmarks.card import Card, Convention, Size
from realgrain.measuring.benchmarks.walk import Told, after, labelled

SETS = (
    *("dalle2", "dalle3", "firefly", "glide", "midjourney-v5"),
    *("stable-diffusion-1-3", "stable-diffusion-1-4", "stable-diffusion-2", "stable-diffusion-xl"),
)
REAL = ("real_raise_1k", "raise-1k", "raise")

CARD = Card(
    name="synthbuster",
    title="Synthbuster + RAISE-1k",
    paper="Synthbuster: Towards Detection of Diffusion Model Generated Images, IEEE Open Journal of Signal Processing 2023; RAISE, ACM MMSys 2014",
    licence="non-commercial use only (code)",
    where="https://zenodo.org/records/10066460; real_RAISE_1k.zip from https://www.grip.unina.it/download/prog/DMimageDetection/",
    label_rule="the folder of a generator = fake; real_RAISE_1k (also RAISE-1k, RAISE) = real",
    sizes=tuple(Size(set=name, real=1000, fake=1000, known="recalled") for name in SETS),
    layout_known="code",
    test=Convention(
        view="whole pictures or a centre crop, by method",
        threshold="0.5 (a log-likelihood ratio of 0); AUC besides",
        mean="plain mean of balanced accuracy and AUC over the nine generators, each against all of RAISE-1k",
        notes="Real pictures are uncompressed and of many megapixels; generators' sizes differ.",
        known="code",
    ),
    training="none of its own; methods bring theirs",
    real_sources="RAISE-1k for all (code)",
    notes="Real pictures are samples of each of the nine sets: score a file once, count it in each set. A fake has the name of the photograph that "
    "its prompt describes: column group.",
    beside=("prompts.csv", "*.txt", "*.md5"),
)

LAYOUT = {
    "official": (*(f"synthbuster/{name}/r000da54ft.png" for name in SETS), "synthbuster/real_RAISE_1k/r000da54ft.png"),
    "bare": (*(f"{name}/r000da54ft.png" for name in SETS), "RAISE/r000da54ft.TIF"),
}


def tell(parts: tuple[str, ...]) -> list[Told]:
    """What a folder holds: [synthbuster], generator or RAISE."""
    parts = after(parts, "synthbuster")
    if len(parts) != 1:
        return []
    if parts[0].casefold() in REAL:
        return [Told(label="real", set=name, source="raise", named_after=True) for name in SETS]
    fake = parts[0] in SETS
    return [Told(label="fake", set=parts[0], generator=parts[0], source=parts[0], named_after=True)] if fake else []


def samples(root: Path) -> list[Sample]:
    """Pictures of the nine generators, and RAISE's once for each."""
    return labelled(root, tell)
