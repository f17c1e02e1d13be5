"""Less work for a picture: what its score loses when patches are dropped or merged, or when a second view is not looked at.

    python benchmarks/shrinking.py --data MANIFEST.csv -o results/benchmarks/shrinking.json

Three ways, each tried on the shipped detector without training anything for it:

- **drop**: patches that are the most textured, the smoothest or random ones do not enter the encoder.
- **merge**: before each block the most similar tokens of two halves become their mean (ToMe: Bolya et al. 2023, without proportional attention, by
  the tokens themselves).
- **exit**: one view is looked at first, and the other only where the first is not clear: where the verdict by the first view alone, however far the
  other has moved any of the first half of the pictures, could still become another one. Counted on the second half.

Time is torch's on one picture at a time, in turn with the whole, as a ratio.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from drawing import by_source
from pydantic import BaseModel
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from realgrain.detector.bundle import Bundle, read_bundle
from realgrain.detector.compose import base_of
from realgrain.learning import backbone
from realgrain.learning.data import Sample, read_manifest
from realgrain.learning.masking import luminance, texture_diversity
from realgrain.measuring.ledger import write_result
from realgrain.picture.image import open_picture
from realgrain.picture.views import make_views

SHARES = (0.25, 0.5)
"""Of patches that are dropped, or merged away over all blocks."""
Read = Callable[[torch.Tensor], torch.Tensor]
"""Logits (V,) of the views (V, 3, H, W) of a picture."""


class Shrunk(BaseModel):
    """A way to work less, against the whole of it.

    Attributes:
        time: as a ratio, the median over pictures.
        largest: change of a picture's logit.
        usual: 95 % of the changes are no larger.
        auc: of these pictures.
        changed: verdicts that are others, by the card's thresholds.
    """

    time: float
    largest: float
    usual: float
    auc: float
    changed: int


class Exit(BaseModel):
    """Looking at one view first.

    Attributes:
        first: that view.
        margin: most that the other view moved a logit, of the first half of the pictures.
        clear: share of the second half whose other view need not be looked at.
        changed: verdicts of these that are others all the same.
    """

    first: str
    margin: float
    clear: float
    changed: int


class Found(BaseModel):
    """All of it."""

    bundle: str
    pictures: int
    auc: float
    ways: dict[str, Shrunk]
    exits: list[Exit]


class Tower:
    """The shipped tower and head in torch, and ways to read them with fewer tokens."""

    def __init__(self, bundle: Bundle) -> None:
        self.tower = backbone.load_tower(base_of(bundle))
        if bundle.adapter:
            backbone.add(self.tower, bundle.adapter)
        self.block, self.views = bundle.card.block, bundle.card.views
        self.depth = backbone.depth(self.tower, self.block)
        self.patch = int(self.tower.vision_model.embeddings.patch_embedding.kernel_size[0])
        self.weight, self.bias = torch.from_numpy(bundle.head["weight"]), float(bundle.head["bias"][0])

    def whole(self, views: torch.Tensor) -> torch.Tensor:
        """As the detector reads."""
        return self._logits(backbone.encode(self.tower, views, self.block))

    def dropped(self, share: float, kind: str) -> Read:
        """Without a share of the patches: ``textured``, ``smooth`` or ``random`` ones."""

        def read(views: torch.Tensor) -> torch.Tensor:
            texture = texture_diversity(luminance(views, self.views.mean, self.views.std), self.patch)
            rank = {"textured": texture, "smooth": -texture}.get(kind)
            rank = torch.rand(texture.shape, generator=torch.Generator().manual_seed(0)) if rank is None else rank
            kept = rank.argsort(1)[:, : texture.shape[1] - round(share * texture.shape[1])].sort(1).values
            return self._logits(backbone.encode(self.tower, views, self.block, kept))

        return read

    def merged(self, share: float) -> Read:
        """With a share of the patches merged away, evenly over the blocks."""

        def read(views: torch.Tensor) -> torch.Tensor:
            tokens = backbone.embed(self.tower, views)
            each = round(share * (tokens.shape[1] - 1) / self.depth)
            sizes = torch.ones(tokens.shape[:2])
            for block in range(self.depth):
                tokens, sizes = merge(tokens, sizes, each)
                tokens = backbone.run_blocks(self.tower, tokens, block, block + 1)
            return self._logits(backbone.project(self.tower, backbone.class_token(self.tower, tokens, self.block), self.block))

        return read

    def _logits(self, features: torch.Tensor) -> torch.Tensor:
        return features @ self.weight + self.bias


def merge(tokens: torch.Tensor, sizes: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (N, T, D), the class token first and never merged, and how many patches each stands for (N, T); so many fewer of both."""
    if not count:
        return tokens, sizes
    unit = tokens[:, 1:] / tokens[:, 1:].norm(dim=-1, keepdim=True)
    best, partner = (unit[:, ::2] @ unit[:, 1::2].transpose(1, 2)).max(-1)  # (N, even tokens)
    order = best.argsort(1, descending=True)
    gone, stay = order[:, :count], order[:, count:].sort(1).values
    even, odd = (tokens[:, 1:] * sizes[:, 1:, None])[:, ::2], (tokens[:, 1:] * sizes[:, 1:, None])[:, 1::2]
    even_sizes, odd_sizes = sizes[:, 1::2], sizes[:, 2::2]
    to = partner.gather(1, gone)
    odd = odd.scatter_add(1, to[:, :, None].expand(-1, -1, odd.shape[2]), even.gather(1, gone[:, :, None].expand(-1, -1, even.shape[2])))
    odd_sizes = odd_sizes.scatter_add(1, to, even_sizes.gather(1, gone))
    even, even_sizes = even.gather(1, stay[:, :, None].expand(-1, -1, even.shape[2])), even_sizes.gather(1, stay)
    sizes = torch.cat([sizes[:, :1], even_sizes, odd_sizes], 1)
    return torch.cat([tokens[:, :1], torch.cat([even, odd], 1) / sizes[:, 1:, None]], 1), sizes


def exits(views: np.ndarray, names: list[str], camera: float, ai: float) -> list[Exit]:
    """What looking at each view first would save, of the logits (N, V) of two views."""

    def verdict(logits: np.ndarray) -> np.ndarray:
        return np.digitize(logits, [np.nextafter(camera, np.inf), ai])  # 0: camera, 1: unsure, 2: ai

    whole, half = views.mean(1), len(views) // 2
    found = []
    for place, name in enumerate(names):
        first = views[:, place]
        margin = float(np.abs(first - whole)[:half].max())
        clear = (verdict(first - margin) == verdict(first + margin))[half:]
        changed = int((verdict(first) != verdict(whole))[half:][clear].sum())
        found.append(Exit(first=name, margin=margin, clear=float(clear.mean()), changed=changed))
    return found


@torch.inference_mode()
def measure(bundle: Bundle, samples: list[Sample]) -> Found:
    """Try each way on pictures that open."""
    tower, point = Tower(bundle), bundle.card.operating_point
    ways: dict[str, Read] = {"whole": tower.whole}
    ways |= {f"drop {share:.0%} {kind}": tower.dropped(share, kind) for share in SHARES for kind in ("textured", "smooth", "random")}
    ways |= {f"merge {share:.0%}": tower.merged(share) for share in SHARES}
    logits, seconds = ({name: [] for name in ways} for _ in range(2))
    for sample in tqdm(samples, "pictures", disable=None):
        views = torch.from_numpy(make_views(open_picture(sample.file).pixels, tower.views))
        for name, read in ways.items():
            began = time.perf_counter()
            logits[name].append(read(views).numpy())
            seconds[name].append(time.perf_counter() - began)
    fake, each = np.array([sample.fake for sample in samples]), {name: np.stack(values) for name, values in logits.items()}
    whole = each.pop("whole")
    ratios = {name: float(np.median(np.array(seconds[name]) / np.array(seconds["whole"]))) for name in each}
    called = np.digitize(whole.mean(1), [np.nextafter(point.camera, np.inf), point.ai])
    shrunk = {}
    for name, found in each.items():
        gaps = np.abs(found.mean(1) - whole.mean(1))
        shrunk[name] = Shrunk(
            time=ratios[name],
            largest=float(gaps.max()),
            usual=float(np.quantile(gaps, 0.95)),
            auc=float(roc_auc_score(fake, found.mean(1))),
            changed=int((np.digitize(found.mean(1), [np.nextafter(point.camera, np.inf), point.ai]) != called).sum()),
        )
    return Found(
        bundle=bundle.hash,
        pictures=len(samples),
        auc=float(roc_auc_score(fake, whole.mean(1))),
        ways=shrunk,
        exits=exits(whole, [view.kind for view in tower.views.views], point.camera, point.ai) if tower.views.count == 2 else [],
    )


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, help="the shipped one by default")
    parser.add_argument("--split", default="test")
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/benchmarks/shrinking.json"))
    options = parser.parse_args()
    samples = [sample for sample in read_manifest(options.data) if options.split in {"", sample.split}]
    found = measure(read_bundle(options.bundle), by_source(samples, options.pictures))
    write_result(options.output, found, [options.data])
    print(f"whole: AUC {found.auc:.3f} on {found.pictures} pictures")
    for name, way in found.ways.items():
        off = f"logits within {way.largest:.2f} (95 %: {way.usual:.2f})"
        print(f"{name}: {way.time:.2f} of the time, {off}, AUC {way.auc:.3f}, {way.changed} other verdicts")
    for one in found.exits:
        print(f"{one.first} first: {one.clear:.0%} clear at a margin of {one.margin:.2f}, {one.changed} other verdicts")


if __name__ == "__main__":
    main()
