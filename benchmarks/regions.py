"""Does the map of a picture's regions point to the half that was generated?

    python benchmarks/regions.py --data data/manifest.csv -o results/regions/composites.json

Each composite is the centre square of a photograph beside that of a generated picture, left or right by chance. Both are shrunk (Lanczos) to one
height, seven eighths of the lesser and at most 448 pixels, so that neither keeps its own pixels, and the whole is saved once as JPEG of quality 90.
Pictures of like size go together, sources take turns, and a photograph is used again only when all have been; a generated picture never is.
Controls are made alike of two photographs or of two generated pictures. Tiles are compared with occlusion on the first composites: squares painted
over with the mean colour, and how far the score of the whole picture falls.
"""

import argparse
import os
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from realgrain.detector.bundle import Bundle
from realgrain.detector.calibration import Rate, rate
from realgrain.detector.detect import Detector, load
from realgrain.detector.weights import pull
from realgrain.evidence.regions import Regions, heat, regions
from realgrain.faces.show import progress
from realgrain.learning.data import Sample, read_manifest
from realgrain.measuring.ledger import write_result
from realgrain.measuring.results import Estimate
from realgrain.picture.degrade import Pixels, Resample, jpeg, scale
from realgrain.picture.image import open_picture

GROUPS = {
    "256 px": (("imagenet-horses",), ("cyclegan", "stylegan-rooms")),
    "larger": (("picsum",), ("portraits-unknown", "mountains-unknown", "comfy-templates")),
}
"""Test sources of photographs and of generated pictures that go together."""
MOST_TILES = 8
HIGHEST, SHRINK, QUALITY = 512, 7 / 8, 90
CELLS = (2, 4)
"""Of occlusion: rows and columns, the same in each half."""
RESAMPLES = 2000


class Frozen(BaseModel):
    """Dumps to JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Pointing(Frozen):
    """How well the higher half is the generated one: share of composites (0.5: chance), and AUC over all halves with its 95 % bootstrap interval."""

    composites: int
    right: Rate
    auc: Estimate


class Composite(Frozen):
    """One picture: its halves and the mean of the map over each."""

    left: str
    right: str
    generated: str
    tiles: tuple[float, float]
    spread: float
    wobble: float
    localised: bool
    occlusion: tuple[float, float] | None = None
    random_head: float | None = None


class Result(Frozen):
    """What was found.

    Attributes:
        tiles: on all composites.
        tiles_by_group: likewise.
        tiles_where_localised: on those whose map is not flat; None where there are none.
        tiles_as_compared: on those on which occlusion was run too.
        occlusion: likewise.
        localised: share of maps that are not flat, by kind: composites, and controls of one class.
        random_head: Spearman correlation of the tiles' logits with those of a head with shuffled weights, mean and largest over some composites.
        pictures: all, controls too.
    """

    bundle: str
    seed: int
    tiles: Pointing
    tiles_by_group: dict[str, Pointing]
    tiles_where_localised: Pointing | None
    tiles_as_compared: Pointing
    occlusion: Pointing
    localised: dict[str, Rate]
    random_head: dict[str, float]
    pictures: list[Composite]


@dataclass(frozen=True)
class Pair:
    """Two pictures beside each other."""

    left: Sample
    right: Sample
    group: str

    @property
    def generated(self) -> str:
        """Which half: left, right, both or neither."""
        return {(True, True): "both", (True, False): "left", (False, True): "right", (False, False): "neither"}[self.left.fake, self.right.fake]

    def pixels(self) -> Pixels:
        """The composite."""
        halves = [_square(open_picture(sample.file).pixels) for sample in (self.left, self.right)]
        side = int(SHRINK * min(HIGHEST, *(len(half) for half in halves)))
        whole = np.concatenate([scale(half, side / len(half), Resample.LANCZOS)[:side, :side] for half in halves], axis=1)
        return jpeg(np.ascontiguousarray(whole), QUALITY)


def _square(pixels: Pixels) -> Pixels:
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def pairs(samples: list[Sample], composites: int, controls: int, seed: int) -> list[Pair]:
    """Composites, then controls, half of each from each group, in an order by chance."""
    rng = np.random.default_rng(seed)
    mixed, alike = [], []
    for group, sources in GROUPS.items():
        real, fake = (
            _evenly([s for s in samples if s.source in names and s.fake == label], rng) for names, label in zip(sources, (False, True), strict=True)
        )
        count = composites // len(GROUPS)
        if not real or len(fake) < count:
            raise ValueError(f"group {group}: {len(real)} photographs and {len(fake)} generated pictures are too few for {count} composites")
        for number in range(count):
            both = [real[number % len(real)], fake[number]]
            mixed.append(Pair(*(both if rng.random() < 0.5 else both[::-1]), group))
        for some in (real, fake):
            alike += [Pair(some[2 * n], some[2 * n + 1], group) for n in range(controls // (2 * len(GROUPS)))]
    return [mixed[place] for place in rng.permutation(len(mixed))] + alike


def _evenly(samples: list[Sample], rng: np.random.Generator) -> list[Sample]:
    """In an order by chance, sources taking turns."""
    by_source = {source: [s for s in samples if s.source == source] for source in sorted({s.source for s in samples})}
    shuffled = [[group[place] for place in rng.permutation(len(group))] for group in by_source.values()]
    return [group[turn] for turn in range(max(map(len, shuffled), default=0)) for group in shuffled if turn < len(group)]


def halves(found: np.ndarray) -> tuple[float, float]:
    """Mean of a map (H, W) over its left and its right half."""
    middle = found.shape[1] // 2
    return float(found[:, :middle].mean()), float(found[:, middle:].mean())


def occlusion(pixels: Pixels, detector: Detector) -> tuple[float, float]:
    """How far the logit of the whole picture falls when a cell is painted over with the mean colour: mean over the cells of each half."""
    whole = detector.view_logits(pixels).mean()
    high, wide = (length // count for length, count in zip(pixels.shape[:2], CELLS, strict=True))
    falls = np.zeros(CELLS)
    for row, column in np.ndindex(*CELLS):
        painted = pixels.copy()
        painted[row * high : (row + 1) * high, column * wide : (column + 1) * wide] = pixels.mean(axis=(0, 1)).astype(np.uint8)
        falls[row, column] = whole - detector.view_logits(painted).mean()
    return halves(falls)


def with_shuffled_head(detector: Detector, home: Path, seed: int) -> Detector:
    """The same detector with the weights of its head in another order, composed in a cache of its own."""
    bundle = detector.bundle
    base = pull(bundle.card.base.id, offline=True)
    (home / "weights").mkdir(parents=True)
    (home / "weights" / base.id).symlink_to(base.folder.resolve())
    os.environ["REALGRAIN_HOME"] = str(home)
    head = {**bundle.head, "weight": np.random.default_rng(seed).permutation(bundle.head["weight"])}
    return load(Bundle(bundle.folder, bundle.card, head, bundle.adapter, f"shuffled-{seed}"), threads=1)


def pointing(of: list[tuple[str, tuple[float, float]]], seed: int) -> Pointing:
    """From which half was generated, and the map's means over the two."""
    made = np.array([[side == "left", side == "right"] for side, _ in of])
    scores = np.array([values for _, values in of])
    rng = np.random.default_rng(seed)
    drawn = [roc_auc_score(made[rows].ravel(), scores[rows].ravel()) for rows in rng.integers(0, len(of), (RESAMPLES, len(of)))]
    low, high = np.percentile(drawn, [2.5, 97.5])
    auc = Estimate(value=float(roc_auc_score(made.ravel(), scores.ravel())), low=float(low), high=float(high))
    return Pointing(composites=len(of), right=rate(scores[made] > scores[~made]), auc=auc)


def measure(pair: Pair, detector: Detector, occluded: bool, random: Detector | None) -> Composite:
    """One composite through everything."""
    pixels, spec = pair.pixels(), detector.bundle.card.views
    found = regions(pixels, spec, detector.runtime.logits, most=MOST_TILES)
    return Composite(
        left=pair.left.path,
        right=pair.right.path,
        generated=pair.generated,
        tiles=halves(heat(found, found.width, found.height)),
        spread=found.spread,
        wobble=found.wobble,
        localised=found.localised,
        occlusion=occlusion(pixels, detector) if occluded else None,
        random_head=_agreement(found, pixels, random) if random else None,
    )


def _agreement(found: Regions, pixels: Pixels, random: Detector) -> float | None:
    if len(found.tiles) < 4:  # ranks of fewer say nothing
        return None
    other = regions(pixels, random.bundle.card.views, random.runtime.logits, most=MOST_TILES)
    return float(spearmanr([tile.logit for tile in found.tiles], [tile.logit for tile in other.tiles]).statistic)


def summary(detector: Detector, found: list[tuple[Pair, Composite]], seed: int) -> Result:
    """The figures."""
    mixed = [(pair, one) for pair, one in found if one.generated in ("left", "right")]
    as_tiles = partial(map, lambda of: (of[1].generated, of[1].tiles))
    compared = [of for of in mixed if of[1].occlusion is not None]
    sure = [of for of in mixed if of[1].localised]
    kinds = {"composite": ("left", "right"), "photographs": ("neither",), "generated": ("both",)}
    heads = [one.random_head for _, one in mixed if one.random_head is not None]
    return Result(
        bundle=detector.bundle.hash,
        seed=seed,
        tiles=pointing(list(as_tiles(mixed)), seed),
        tiles_by_group={group: pointing(list(as_tiles(of for of in mixed if of[0].group == group)), seed) for group in GROUPS},
        tiles_where_localised=pointing(list(as_tiles(sure)), seed) if sure else None,
        tiles_as_compared=pointing(list(as_tiles(compared)), seed),
        occlusion=pointing([(one.generated, one.occlusion) for _, one in compared if one.occlusion], seed),
        localised={kind: rate(one.localised for _, one in found if one.generated in sides) for kind, sides in kinds.items()},
        random_head={"mean": float(np.mean(heads)), "largest": float(np.max(heads)), "composites": len(heads)},
        pictures=[one for _, one in found],
    )


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="Does the map of regions point to the generated half?")
    parser.add_argument("--data", type=Path, required=True, help="CSV manifest of labelled pictures")
    parser.add_argument("--composites", type=int, default=100)
    parser.add_argument("--controls", type=int, default=24)
    parser.add_argument("--occluded", type=int, default=30, help="composites on which occlusion is compared")
    parser.add_argument("--random", type=int, default=12, help="composites on which a shuffled head is compared")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/regions/composites.json"))
    options = parser.parse_args()
    samples = [sample for sample in read_manifest(options.data) if sample.split == "test"]
    every = pairs(samples, options.composites, options.controls, options.seed)
    detector = load(threads=options.threads, offline=True)
    found = []
    with tempfile.TemporaryDirectory() as home:
        random = with_shuffled_head(detector, Path(home), options.seed)
        for number, pair in enumerate(progress(every, len(every), "looking")):
            found.append((pair, measure(pair, detector, number < options.occluded, random if number < options.random else None)))
    write_result(options.output, summary(detector, found, options.seed), [options.data])


if __name__ == "__main__":
    main()
