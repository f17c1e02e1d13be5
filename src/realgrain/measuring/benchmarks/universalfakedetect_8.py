"""The 8 diffusion sets of UniversalFakeDetect alone, which NPR and others call UniversalFakeDetect or Ojha."""

from __future__ import annotations

from pathlib import Path

from realgrain.learning.data import Sample
from realgrain.measuring.benchmarks import universalfakedetect as whole
from realgrain.measuring.benchmarks.card import Convention
from realgrain.measuring.benchmarks.families import DIFFUSION
from realgrain.measuring.benchmarks.walk import after, labelled

CARD = whole.CARD.model_copy(
    update={
        "name": "universalfakedetect-8",
        "title": "UniversalFakeDetect, the 8 diffusion sets",
        "sizes": tuple(size for size in whole.CARD.sizes if size.set in DIFFUSION),
        "test": Convention(
            view="Resize 256x256 without a crop in NPR; other publications crop 224",
            threshold="0.5",
            mean="plain mean over the 8 sets",
            notes="Its mean cannot be compared with that over 19 sets.",
            known="code",
        ),
        "training": "ProGAN car, cat, chair, horse in NPR; that and Stable Diffusion v1.4 (setting II of AIGIBench) in DGS-Net",
        "real_sources": "imagenet for guided, laion for the others (code); in NPR's copy, where each set has its own, by inference",
        "called": ("universalfakedetect",),
        "means": {},
    }
)

LAYOUT = {
    "NPR's": tuple(f"{name}/{folder}/00001.png" for name in DIFFUSION for folder in ("0_real", "1_fake")),
    "official": tuple(path for path in whole.LAYOUT["official"] if path.startswith("diffusion_datasets/")),
}


def samples(root: Path) -> list[Sample]:
    """Pictures of the 8 sets."""
    return whole.own_before_shared(labelled(root, lambda parts: whole.diffusion(after(parts, *whole.OUTER))))
