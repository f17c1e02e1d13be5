"""AIGCDetectBenchmark (PatchCraft): 16 sets of GANs and diffusion models, 17 with SDXL."""

from __future__ import annotations

from pathlib import Path

from realgrain.learning.data import Sample
from realgrain.measuring.benchmarks.card import Card, Convention, Size
from realgrain.measuring.benchmarks.families import REALS, forensynths_paths, forensynths_size
from realgrain.measuring.benchmarks.walk import Told, after, label_of, labelled

GAN = ("progan", "stylegan", "biggan", "cyclegan", "stargan", "gaugan", "stylegan2", "whichfaceisreal")
GENIMAGE = ("ADM", "Glide", "Midjourney", "stable_diffusion_v_1_4", "stable_diffusion_v_1_5", "VQDM", "wukong")
SIXTEEN = (*GAN, *GENIMAGE, "DALLE2")

CARD = Card(
    name="aigcdetect",
    title="AIGCDetectBenchmark, 16 or 17 sets",
    paper="Rich and Poor Texture Contrast (PatchCraft), arXiv 2311.12397",
    licence="not stated",
    where="https://github.com/Ekko-zn/AIGCDetectBenchmark (Baidu, Google Drive); mirrors on ModelScope and Hugging Face",
    label_rule="0_real = real; 1_fake = fake; in some sets within a folder for each category",
    sizes=(
        *(forensynths_size(name) for name in GAN),
        *(
            Size(set=name, real=8000, fake=8000, known="recalled") if "1_5" in name else Size(set=name, real=6000, fake=6000, known="recalled")
            for name in GENIMAGE
        ),
        Size(set="DALLE2", real=1000, fake=1000, known="recalled"),
        Size(set="SDXL", real=2000, fake=2000, known="recalled", needed=False),
    ),
    layout_known="code",
    test=Convention(
        view="Resize 256x256, then centre crop 224, by default; whole pictures one at a time in NPR",
        threshold="0.5",
        mean="plain mean of the sets' accuracies on real and fake pictures together; in DGS-Net's table the mean of one column of real accuracy "
        "and the generators' fake accuracies, which differs by up to a point",
        notes="Its evaluation code lists 16 sets; the paper and DDA count 17, with SDXL, whose folder's name was not seen: SDXL and sdxl are read. "
        "The group of DGS-Net and PiN-CLIP calls this set GenImage.",
        known="code",
    ),
    training="ProGAN, 20 categories, in the paper; ProGAN car, cat, chair, horse and Stable Diffusion v1.4 (setting II of AIGIBench) in DGS-Net",
    real_sources="ForenSynths' by its table 1 (recalled); imagenet for the sets that come from GenImage (inferred); not known for DALLE2 and SDXL",
    called=("genimage",),
    means={"sixteen": SIXTEEN},
)

LAYOUT = {
    "sixteen": tuple(path for name in SIXTEEN for path in forensynths_paths(name)),
    "seventeen": tuple(path for name in (*SIXTEEN, "SDXL") for path in forensynths_paths(name, "test/")),
}
SETS = {name.casefold(): name for name in (*SIXTEEN, "SDXL")}


def tell(parts: tuple[str, ...]) -> list[Told]:
    """What a folder holds: [test], set, [category], class."""
    parts = after(parts, "aigcdetectbenchmark", "aigcdetectionbenchmark", "test")
    if not 2 <= len(parts) <= 3 or not (name := SETS.get(parts[0].casefold())) or not (label := label_of(parts[-1])):
        return []
    generator = name if label == "fake" else ""
    real = REALS.get(name) or ("imagenet" if name in GENIMAGE else f"unstated:{name}")
    return [Told(label=label, set=name, generator=generator, source=generator or real)]


def samples(root: Path) -> list[Sample]:
    """Pictures of the 16 sets, and of SDXL where it is there."""
    return labelled(root, tell)
