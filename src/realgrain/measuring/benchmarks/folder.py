"""Any tree of class folders: ``real`` and ``fake``, ``0_real`` and ``1_fake``, or ``nature`` and ``ai``, at any depth."""

from __future__ import annotations

from pathlib import Path

from realgrain.learning.data import Sample
from realgrain.measuring.benchmarks.card import Card, Convention
from realgrain.measuring.benchmarks.walk import BenchmarkError, Told, label_of, labelled, split_of

OPEN = Convention(view="the detector's own", threshold="0.5", mean="as you report it", known="unknown")

CARD = Card(
    name="folder",
    title="Any tree of class folders",
    paper="",
    licence="not stated",
    where="yours",
    label_rule="real, 0_real, nature = real; fake, 1_fake, ai = fake; exactly one such folder on each picture's path",
    layout_known="code",
    test=OPEN,
    training="yours",
    real_sources="the folder below the class folder, else the set",
    notes="A set is the path above the class folder, without a folder train, val or test, which is the split (test where there is none). "
    "What a fake's folder below the class folder is called, else its set, is taken for its generator.",
)

LAYOUT = {
    "classes above": ("real/camera-a/1.jpg", "real/camera-b/1.jpg", "fake/gan/1.png", "fake/diffusion/1.png"),
    "classes below": tuple(
        f"{split}/{name}/{folder}/1.png" for split in ("train", "test") for name in ("gan", "sd") for folder in ("0_real", "1_fake")
    ),
    "classes alone": ("ai/1.png", "nature/1.jpg"),
}


def tell(parts: tuple[str, ...]) -> list[Told]:
    """What a folder holds.

    Raises:
        BenchmarkError: folders of both classes are on its path.
    """
    classes = [(index, label) for index, name in enumerate(parts) if (label := label_of(name))]
    if not classes:
        return []
    if len({label for _, label in classes}) > 1:
        raise BenchmarkError(f"{'/'.join(parts)}: is this real or fake? Its path names both")
    index, label = classes[0]
    rest = [name for name in parts if not split_of(name)]
    outer = [name for name in parts[:index] if not split_of(name)]
    inner = [name for name in rest[len(outer) :] if not label_of(name)]
    split = next((split for name in parts if (split := split_of(name))), "test")
    group = "/".join(outer)
    source = "/".join(inner) or group or label
    return [Told(label=label, set=group, generator=("/".join(inner) or group or "unknown") if label == "fake" else "", source=source, split=split)]


def samples(root: Path) -> list[Sample]:
    """Pictures below any class folder."""
    return labelled(root, tell)
