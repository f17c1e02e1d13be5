"""GenImage: eight generators against ImageNet, as published (``ai``, ``nature``) and as most repositories re-arrange it (``0_real``, ``1_fake``)."""

from __future__ import annotations

from pathlib import Path

from realgrain.learning.data import Sample
from realgrain.measuring.benchmarks.card import Card, Convention, Size
from realgrain.measuring.benchmarks.walk import Told, after, label_of, labelled, split_of

UNZIPPED = {
    "Midjourney": "imagenet_midjourney",
    "stable_diffusion_v_1_4": "imagenet_ai_0419_sdv4",
    "stable_diffusion_v_1_5": "imagenet_ai_0424_sdv5",
    "ADM": "imagenet_ai_0508_adm",
    "glide": "imagenet_glide",
    "wukong": "imagenet_ai_0424_wukong",
    "VQDM": "imagenet_ai_0419_vqdm",
    "BigGAN": "imagenet_ai_0419_biggan",
}
"""Folder that the published archive of each generator unzips to."""


def _size(name: str, each: int | None, split: str = "test") -> Size:
    return Size(set=name, split=split, real=each, fake=each, known="recalled" if each else "unknown", needed=split == "test")


CARD = Card(
    name="genimage",
    title="GenImage",
    paper="GenImage: A Million-Scale Benchmark for Detecting AI-Generated Image, arXiv 2306.08571",
    licence="not stated in its repository; the real pictures are ImageNet's, which has terms of its own",
    where="https://github.com/GenImage-Dataset/GenImage (Baidu Yunpan, Google Drive)",
    label_rule="ai, 1_fake = fake; nature, 0_real = real. Sorted by name, ai comes first, so a loader that numbers folders calls it real",
    sizes=(
        *(_size(name, 8000 if name == "stable_diffusion_v_1_5" else 6000) for name in UNZIPPED),
        *(_size(name, 162_000 if name == "stable_diffusion_v_1_4" else None, split="train") for name in UNZIPPED),
    ),
    layout_known="code",
    test=Convention(
        view="varies: whole picture resized to 224 in the paper's baselines; centre crop 224 without resizing in ForgeLens, Effort and others",
        threshold="0.5",
        mean="plain mean of the eight accuracies, the training generator's included",
        notes="The published folder val is what is tested on; here its split is test. A mix of resizing and cropping loaders moves the mean by "
        "several points. Real pictures are JPEG, mostly of quality 96, fakes are PNG, and sizes differ: a detector of formats does well, so "
        "report JPEG-96-aligned figures beside the clean ones. Papers by one group call AIGCDetectBenchmark 'GenImage'.",
        known="code",
    ),
    training="the train folder of stable_diffusion_v_1_4 alone; MPFT and LoL use 1 % of it",
    real_sources="ImageNet for all eight (code); a different part of it for each",
    notes="Native sides: BigGAN 128; ADM, glide, VQDM 256; stable_diffusion_v_1_4, _v_1_5, wukong 512; Midjourney 1024 (page). The repository lists "
    "files that its archives hold corrupted. The paper's degradations: sides of 112 and 64, JPEG 65 and 30, blur of sigma 3 and 5.",
)

LAYOUT = {
    "official": tuple(
        f"{name}/{unzipped}/{split}/{folder}/{file}"
        for name, unzipped in UNZIPPED.items()
        for split in ("train", "val")
        for folder, file in (("ai", "000_sd_000001.png"), ("nature", "n01440764_00000001.JPEG"))
    ),
    "re-layout": tuple(f"test/{name}/{folder}/000001.png" for name in UNZIPPED for folder in ("0_real", "1_fake")),
}


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


SETS = {_plain(spelling): name for name, unzipped in UNZIPPED.items() for spelling in (name, unzipped)}
SETS |= {"stablediffusionv14": "stable_diffusion_v_1_4", "stablediffusionv15": "stable_diffusion_v_1_5"}
"""Set by any published spelling of its folder, such as ``Stable Diffusion V1.4``."""


def tell(parts: tuple[str, ...]) -> list[Told]:
    """What a folder holds. Generators that GenImage does not have are none of it: they would change its mean."""
    parts = after(parts, "genimage")
    if len(parts) < 2 or not (label := label_of(parts[-1])):
        return []
    outer = parts[:-1]
    if split := split_of(outer[-1]):  # official: generator, unzipped archive (one of the two may be missing), split
        outer, limit = outer[:-1], 2
    else:  # re-layout: test, generator
        outer, limit = (outer[1:] if split_of(outer[0]) == "test" else outer), 1
    named = {SETS.get(_plain(name)) for name in outer}
    if not 1 <= len(outer) <= limit or len(named) != 1 or not (name := named.pop()):
        return []
    generator = name if label == "fake" else ""
    return [Told(label=label, set=name, generator=generator, source=generator or "imagenet", split="train" if split == "train" else "test")]


def samples(root: Path) -> list[Sample]:
    """Pictures of either layout; the root may be the folder that holds ``test`` or ``test`` itself."""
    return labelled(root, tell)
