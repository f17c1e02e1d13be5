"""DRCT-2M: sixteen kinds of Stable Diffusion and latent diffusion, made from MS COCO."""

from __future__ import annotations

from pathlib import Path

from realgrain.learning.data import Sample
from realgrain.measuring.benchmarks.card import Card, Convention, Size
from realgrain.measuring.benchmarks.walk import Told, after, labelled

SETS = (
    *("ldm-text2im-large-256", "stable-diffusion-v1-4", "stable-diffusion-v1-5", "stable-diffusion-2-1"),
    *("stable-diffusion-xl-base-1.0", "stable-diffusion-xl-refiner-1.0", "sd-turbo", "sdxl-turbo", "lcm-lora-sdv1-5", "lcm-lora-sdxl"),
    *("sd-controlnet-canny", "sd21-controlnet-canny", "controlnet-canny-sdxl-1.0"),
    *("stable-diffusion-inpainting", "stable-diffusion-2-inpainting", "stable-diffusion-xl-1.0-inpainting-0.1"),
)
SPLITS = {"train2017": "train", "val2017": "test"}

CARD = Card(
    name="drct2m",
    title="DRCT-2M",
    paper="DRCT: Diffusion Reconstruction Contrastive Training towards Universal Detection of Diffusion Generated Images, ICML 2024",
    licence="not stated; the real pictures are MS COCO's",
    where="https://modelscope.cn/datasets/BokingChen/DRCT-2M; MS COCO 2017 from https://cocodataset.org",
    label_rule="the folder of a generator = fake; MSCOCO = real",
    sizes=(
        *(Size(set=name, real=5000, fake=5000, known="recalled") for name in SETS),
        *(Size(set=name, split="train", real=0, needed=False) for name in SETS),
        Size(set="MSCOCO", split="train", fake=0, needed=False),
    ),
    layout_known="code",
    test=Convention(
        view="centre crop 224 (option --is_crop)",
        threshold="0.5",
        mean="plain mean of the accuracies over the sixteen generators, each against all of val2017",
        notes="Not a fair test of a detector trained on MS COCO.",
        known="code",
    ),
    training="train2017 of stable-diffusion-v1-4 (or 2-1) and of MS COCO, with their reconstructions",
    real_sources="MS COCO 2017 for all (code)",
    notes="val2017 is what is tested on; here its split is test. Its real pictures are samples of each of the sixteen sets: score a file once, "
    "count it in each. Those of train2017 are samples of a set MSCOCO. Whether every generator has 5,000 pictures is not stated. A fake "
    "has the number of the photograph whose caption, edges or mask it was made from: column group.",
)

LAYOUT = {
    "official": (
        *(f"DRCT-2M/{name}/{folder}/000000000139.png" for name in SETS for folder in SPLITS),
        *(f"MSCOCO/{folder}/000000000139.jpg" for folder in SPLITS),
    ),
    "one folder": (*(f"{name}/val2017/000000000139.png" for name in SETS), "MSCOCO/val2017/000000000139.jpg"),
}


def tell(parts: tuple[str, ...]) -> list[Told]:
    """What a folder holds: [DRCT-2M], generator or MSCOCO, part of COCO."""
    parts = after(parts, "drct_data", "drct-2m")
    if len(parts) != 2 or not (split := SPLITS.get(parts[1])):
        return []
    if parts[0].casefold() in {"mscoco", "coco"}:
        return [Told(label="real", set=name, source="coco", split=split, named_after=True) for name in (SETS if split == "test" else ("MSCOCO",))]
    fake = parts[0] in SETS
    return [Told(label="fake", set=parts[0], generator=parts[0], source=parts[0], split=split, named_after=True)] if fake else []


def samples(root: Path) -> list[Sample]:
    """Pictures of the sixteen generators, and COCO's for each."""
    return labelled(root, tell)
