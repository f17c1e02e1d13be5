"""What several benchmarks took from one another: the sets of ForenSynths and of the diffusion part of UniversalFakeDetect."""

from __future__ import annotations

from realgrain.measuring.benchmarks.card import Size

REALS = {
    "progan": "lsun",
    "stylegan": "lsun",
    "stylegan2": "lsun",
    "biggan": "imagenet",
    "cyclegan": "cyclegan-domains",
    "stargan": "celeba",
    "gaugan": "coco",
    "crn": "gta",
    "imle": "gta",
    "seeingdark": "sitd-raw",
    "san": "super-resolution-sets",
    "deepfake": "faceforensics",
    "whichfaceisreal": "ffhq",
}
"""Where the real pictures of each set of ForenSynths come from: Wang et al. 2020, table 1 (recalled), whose set of raw photographs is "SITD"."""

SIZES = {
    "progan": (4000, 4000),
    "stylegan": (6000, 6000),
    "stylegan2": (8000, 8000),
    "biggan": (2000, 2000),
    "cyclegan": (1300, 1300),
    "stargan": (2000, 2000),
    "gaugan": (5000, 5000),
    "crn": (6400, 6400),
    "imle": (6400, 6400),
    "seeingdark": (180, 180),
    "san": (220, 220),
    "deepfake": (2700, 2700),
    "whichfaceisreal": (1000, 1000),
}
"""Real and fake pictures, rounded as the paper rounds them (recalled): to hundreds, below one thousand to tens."""

NESTED = {
    "progan": ("car", "horse"),
    "stylegan": ("bedroom", "car"),
    "stylegan2": ("church", "horse"),
    "cyclegan": ("apple", "zebra"),
}
"""Sets whose pictures lie in a folder for each category, with two of those."""

DIFFUSION = ("guided", "ldm_200", "ldm_200_cfg", "ldm_100", "glide_100_27", "glide_50_27", "glide_100_10", "dalle")
"""The diffusion sets of UniversalFakeDetect, 1,000 pictures of each class released. ``dalle`` is DALL-E mini."""


def shared_real(name: str) -> str:
    """Folder whose real pictures a diffusion set is compared with (Ojha et al., ``dataset_paths.py``)."""
    return "imagenet" if name == "guided" else "laion"


def forensynths_size(name: str) -> Size:
    """Of a set, as far as it is remembered."""
    real, fake = SIZES[name]
    return Size(set=name, real=real, fake=fake, known="recalled", rounded=100 if real >= 1000 else 10)


def forensynths_paths(name: str, above: str = "") -> list[str]:
    """Example paths of a set below a folder, with its categories if it has some."""
    inner = [f"{category}/" for category in NESTED.get(name, ())] or [""]
    return [f"{above}{name}/{category}{folder}/00001.png" for category in inner for folder in ("0_real", "1_fake")]
