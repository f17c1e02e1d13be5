"""UniversalFakeDetect (Ojha et al.): 11 sets of ForenSynths and 8 of diffusion models, whose real pictures are shared."""

from __future__ import annotations

from pathlib import Path

from realgrain.learning.data import Sample
from realgrain.measuring.benchmarks.card import Card, Convention, Size
from realgrain.measuring.benchmarks.families import DIFFUSION, REALS, forensynths_paths, forensynths_size, shared_real
from realgrain.measuring.benchmarks.walk import Told, after, label_of, labelled

GAN = ("progan", "cyclegan", "biggan", "stylegan", "gaugan", "stargan", "deepfake", "seeingdark", "san", "crn", "imle")
OUTER = ("datasets", "universalfakedetect", "test")

CARD = Card(
    name="universalfakedetect",
    title="UniversalFakeDetect, 19 sets",
    paper="Towards Universal Fake Image Detectors that Generalize Across Generative Models, CVPR 2023, arXiv 2302.10174",
    licence="not stated for the pictures; the repository's code is MIT",
    where="https://github.com/WisconsinAIVision/UniversalFakeDetect (Google Drive); the first 11 sets are ForenSynths'",
    label_rule="0_real = real; 1_fake = fake; folders laion and imagenet hold the real pictures that diffusion sets share",
    sizes=(*(forensynths_size(name) for name in GAN), *(Size(set=name, real=1000, fake=1000, known="code") for name in DIFFUSION)),
    layout_known="code",
    test=Convention(
        view="centre crop 224 without resizing; smaller pictures are padded with black",
        threshold="0.5; its code prints the accuracy at the best threshold of the test set as well",
        mean="plain mean over the 19 sets",
        notes="Its code takes 1,000 pictures of each class at most, and 100 random ones where a class has fewer (seeingdark, san). The paper's own "
        "figures are on 10,000 pictures of each diffusion set; 1,000 were released. Others resize to 224 or 256 first. The same name is used "
        "for the 8 diffusion sets alone: that is universalfakedetect-8 here, and the two means cannot be compared.",
        known="code",
    ),
    training="ProGAN, 20 categories, in UnivFD and Effort; car, cat, chair, horse in NPR, FatFormer, C2P-CLIP, IAPL; "
    "1,600 such pictures in ForgeLens",
    real_sources="imagenet for guided, laion for the other diffusion sets (code); ForenSynths' as in its table 1 (recalled)",
    notes="Real pictures that sets share are samples of each of them: score a file once, count it in each set.",
    means={"diffusion": DIFFUSION},
)


def _shared(above: str) -> tuple[str, ...]:
    return (*(f"{above}{name}/0_real/00001.jpg" for name in ("imagenet", "laion")), *(f"{above}{name}/1_fake/00001.png" for name in DIFFUSION))


_FORENSYNTHS = tuple(path for name in GAN for path in forensynths_paths(name, "test/"))
LAYOUT = {
    "official": (*_FORENSYNTHS, *_shared("diffusion_datasets/")),
    "own real pictures": (
        *_FORENSYNTHS,
        *(f"diffusion_datasets/{name}/{folder}/00001.png" for name in DIFFUSION for folder in ("0_real", "1_fake")),
    ),
}


def diffusion(parts: tuple[str, ...]) -> list[Told]:
    """What a folder of the diffusion part holds: [diffusion_datasets], set, class; real pictures may lie in the set or be shared."""
    parts = after(parts, "diffusion_datasets")
    if len(parts) != 2 or not (label := label_of(parts[1])):
        return []
    if parts[0] in DIFFUSION:
        generator = parts[0] if label == "fake" else ""
        return [Told(label=label, set=parts[0], generator=generator, source=generator or shared_real(parts[0]))]
    if label == "fake":
        return []
    return [Told(label="real", set=name, source=parts[0]) for name in DIFFUSION if shared_real(name) == parts[0]]


def tell(parts: tuple[str, ...]) -> list[Told]:
    """What a folder holds: [datasets/test], set, [category], class."""
    parts = after(parts, *OUTER)
    if 2 <= len(parts) <= 3 and parts[0] in GAN and (label := label_of(parts[-1])):
        generator = parts[0] if label == "fake" else ""
        return [Told(label=label, set=parts[0], generator=generator, source=generator or REALS[parts[0]])]
    return diffusion(parts)


def own_before_shared(found: list[Sample]) -> list[Sample]:
    """Without shared real pictures of sets that have real pictures of their own."""
    own = {sample.set for sample in found if sample.label == "real" and sample.set in Path(sample.path).parts}
    return [sample for sample in found if sample.label == "fake" or sample.set not in own or sample.set in Path(sample.path).parts]


def samples(root: Path) -> list[Sample]:
    """Pictures of the 19 sets."""
    return own_before_shared(labelled(root, tell))
