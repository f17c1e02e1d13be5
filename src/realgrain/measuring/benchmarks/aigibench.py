"""AIGIBench: 25 test sets, two training settings, and three degraded copies of the test tree."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from realgrain.learning.data import Sample
from realgrain.measuring.benchmarks.card import Card, Convention, Size
from realgrain.measuring.benchmarks.walk import BenchmarkError, Told, after, label_of, labelled, split_of

SETS = (
    *("ProGAN", "R3GAN", "StyleGAN3", "StyleGAN-XL", "StyleSwim", "WFIR"),
    *("BlendFace", "E4S", "FaceSwap", "InSwap", "SimSwap"),
    *("FLUX1-dev", "Midjourney", "GLIDE", "DALLE-3", "Imagen3", "SD3", "SDXL"),
    *("BLIP", "Infinite-ID", "InstantID", "IP-Adapter", "PhotoMaker"),
    *("SocialRF", "CommunityAI"),
)
ALIASES = {**{name.casefold(): name for name in SETS}, "midjourney-v6": "Midjourney", "imswap": "InSwap"}
PROGAN = ("car", "cat", "chair", "horse")
SETTINGS = {"I": PROGAN, "II": (*PROGAN, "sdv1.4")}
"""Training sets of each setting: 144,000 pictures in all, and as many again of Stable Diffusion v1.4."""
COPIES = ("jpeg", "noise", "sample")
"""Names of the degraded copies of the test tree; here each is a split. How strong the degradations are is not published in the code."""
CORRECTED = {"CommunityAI": 6000, "SocialRF": 3000, "FaceSwap": 4000, "InSwap": 4000, "WFIR": 1000}
REALS = {"ProGAN": "lsun", "WFIR": "ffhq", "SocialRF": "social-media"}
UNKNOWN = {"SocialRF", "CommunityAI"}
"""Sets of nobody knows which generators. Each counts as one of its own: means over generators are over as many as there are sets."""

CARD = Card(
    name="aigibench",
    title="AIGIBench, 25 sets",
    paper="Is Artificial Intelligence Generated Image Detection a Solved Problem?, NeurIPS 2025 Datasets and Benchmarks, arXiv 2505.12335",
    licence="CC BY-NC-SA (page)",
    where="https://huggingface.co/datasets/HorizonTEL/AIGIBench, Baidu",
    label_rule="0_real = real; 1_fake = fake",
    sizes=(
        *(
            Size(set=name, real=CORRECTED[name], fake=CORRECTED[name], known="code") if name in CORRECTED else Size(set=name, even=True)
            for name in SETS
        ),
        *(Size(set=name, split="train", even=True, needed=False) for name in PROGAN),
        Size(set="sdv1.4", split="train", real=72_000, fake=72_000, known="inferred", needed=False),
        *(Size(set=name, split="val", even=True, needed=False) for name in SETTINGS["II"]),
        *(Size(set=name, split=copy, even=True, needed=False) for copy in COPIES for name in SETS),
    ),
    layout_known="code",
    test=Convention(
        view="differs by method: Resize 224x224 for UnivFD, 256x256 for NPR, Gram-Net, FreqNet; centre crop 224 for Effort, LGrad, DFFreq",
        threshold="0.5",
        mean="plain means over the 25 sets of real accuracy, fake accuracy, accuracy and AP",
        notes="UnivFD of setting I gets 63.3 resized and 59.2 cropped. The degraded copies are whole test trees; their means are reported apart.",
        known="code",
    ),
    training="setting I: ProGAN car, cat, chair, horse (144,000 pictures); setting II: that and 144,000 of GenImage's Stable Diffusion v1.4",
    real_sources="lsun for ProGAN and ffhq for WFIR (inferred from ForenSynths, where they come from), social media for SocialRF (code); "
    "not stated for the others, whose source is therefore named after the set",
    notes="Sizes are those that the repository corrected; as many real as fake. It spells two sets in two ways: Midjourney-V6, ImSwap.",
)

LAYOUT = {
    "official": (
        *(f"test/{name}/{folder}/00001.png" for name in SETS for folder in ("0_real", "1_fake")),
        *(f"{split}/{name}/{folder}/00001.png" for split in ("train", "val") for name in SETTINGS["II"] for folder in ("0_real", "1_fake")),
    ),
    "with degraded copies": tuple(
        f"{copy}/{name}/{folder}/00001.jpg" for copy in ("test", *COPIES) for name in SETS for folder in ("0_real", "1_fake")
    ),
    "test set alone": tuple(f"{name}/{folder}/00001.png" for name in SETS for folder in ("0_real", "1_fake")),
}


def tell(parts: tuple[str, ...]) -> list[Told]:
    """What a folder holds: [split or copy], set, class."""
    parts = after(parts, "aigibench")
    first = parts[0].casefold() if parts else ""
    split = first if first in COPIES else split_of(first)
    parts = parts[1:] if split else parts
    if len(parts) != 2 or not (label := label_of(parts[1])):
        return []
    if split in {"train", "val"}:
        if parts[0] not in SETTINGS["II"]:
            return []
        made, real = ("ProGAN", "lsun") if parts[0] in PROGAN else ("stable_diffusion_v_1_4", "imagenet")
        name = parts[0]
    elif name := ALIASES.get(parts[0].casefold(), ""):
        made, real = f"unknown:{name}" if name in UNKNOWN else name, REALS.get(name, f"unstated:{name}")
    else:
        return []
    fake = label == "fake"
    source = real if not fake else name if name in UNKNOWN else made
    return [Told(label=label, set=name, generator=made if fake else "", source=source, split=split or "test")]


def samples(root: Path) -> list[Sample]:
    """Pictures of the test sets and, where they are there, of the training sets and of the degraded copies."""
    return labelled(root, tell)


def training(found: Iterable[Sample], setting: str) -> list[Sample]:
    """Those samples that setting ``I`` or ``II`` trains on.

    Raises:
        BenchmarkError: a set of it is not there.
    """
    chosen = [sample for sample in found if sample.split == "train" and sample.set in SETTINGS[setting]]
    there = {sample.set for sample in chosen}
    if absent := [name for name in SETTINGS[setting] if name not in there]:
        raise BenchmarkError(f"setting {setting} trains on {', '.join(SETTINGS[setting])}; there are no pictures of {', '.join(absent)} (train)")
    return chosen
