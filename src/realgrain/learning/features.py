"""Features of a tower that does not move any more, computed once and kept: pictures, in each of their deliveries, to arrays on disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import CLIPVisionModelWithProjection

from realgrain.detector import weights
from realgrain.detector.bundle import Bundle, BundleError
from realgrain.detector.runtime import cores
from realgrain.detector.weights import Tower
from realgrain.learning import backbone
from realgrain.learning.data import Sample
from realgrain.picture.conditions import condition
from realgrain.picture.degrade import Augmentation, augment
from realgrain.picture.image import open_picture
from realgrain.picture.views import ViewSpec, make_views

SHARD = 128  # pictures in a file of the cache: what a killed run loses at most
BATCH = 8  # pictures in a run of the tower


@dataclass(frozen=True)
class Delivery:
    """How pictures are degraded before the tower sees them: a named condition, or a draw of the augmentation's law.

    Attributes:
        name: of a condition, such as ``clean``; with a law, anything.
        law: of the augmentation.
        draw: which draw; each gives every picture another degradation, which depends on the picture's bytes and on nothing else.
    """

    name: str
    law: Augmentation | None = None
    draw: int = 0

    def apply(self, pixels: np.ndarray, sha256: str) -> np.ndarray:
        """Degrade pixels (H, W, 3) uint8 of the picture with this sha256."""
        if self.law is None:
            return condition(self.name)(pixels)
        return augment(pixels, self.law, np.random.default_rng([self.draw, int(sha256[:16], 16)]))


@dataclass(frozen=True)
class Extractor:
    """A tower and what goes into it; remembers what it computed.

    Attributes:
        tower: the base.
        views: the preprocessing.
        block: the feature: class token after this block, or None for the joint-space embedding.
        bf16: compute in bfloat16.
        bundle: whose learned changes are added to the tower; None: it stays as it is.
    """

    tower: Tower
    views: ViewSpec
    block: int | None
    bf16: bool
    bundle: Bundle | None = None

    def extract(self, samples: Sequence[Sample], sha256: Sequence[str], delivery: Delivery, *, quiet: bool | None = None) -> np.ndarray:
        """Features (N, V, D) float32 of pictures; V views each.

        Args:
            samples: pictures that are known to open.
            sha256: of their files.
            delivery: how to degrade them first.
            quiet: no progress bar; None: only where stderr is no terminal.

        Raises:
            BundleError: the bundle's changes do not fit the tower.
        """
        loaded: list[CLIPVisionModelWithProjection] = []  # the tower is loaded for the first shard that is not in the cache, if any

        def tower() -> CLIPVisionModelWithProjection:
            if not loaded:
                loaded.append(self._load())
            return loaded[0]

        parts = []
        for start in tqdm(range(0, len(samples), SHARD), desc=f"features, {delivery.name}", unit="shard", disable=quiet):
            part = slice(start, start + SHARD)
            file = self._file(sha256[part], delivery)
            if not file.exists():
                _save(file, *self._compute(tower(), samples[part], sha256[part], delivery))
            with np.load(file) as kept:
                parts.append(kept["embedding"] if self.block is None else kept["tokens"][:, :, self.block - 1])
        return np.concatenate(parts).astype(np.float32)

    def _load(self) -> CLIPVisionModelWithProjection:
        model = backbone.load_tower(self.tower)
        if self.bundle:
            try:
                backbone.add(model, self.bundle.adapter)
            except (KeyError, ValueError) as error:
                raise BundleError(f"{self.bundle.folder}: its adapter does not fit {self.tower.id}: {error}") from error
        return model

    def _file(self, sha256: Sequence[str], delivery: Delivery) -> Path:
        """All blocks share a file, so that another block costs nothing."""
        changed = [self.bundle.card.adapter_sha256] if self.bundle and self.bundle.adapter else []
        settings = [self.tower.sha256, asdict(self.views), asdict(delivery), self.bf16, list(sha256), *changed]
        name = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:32]
        return weights.home() / "features" / f"{name}.npz"

    def _compute(
        self, tower: CLIPVisionModelWithProjection, samples: Sequence[Sample], sha256: Sequence[str], delivery: Delivery
    ) -> tuple[np.ndarray, np.ndarray]:
        found = list(run(partial(backbone.taps, tower, bf16=self.bf16), samples, sha256, delivery, self.views))
        tokens, embeddings = (np.concatenate(part).astype(np.float16) for part in zip(*found, strict=True))
        return tokens, embeddings


def run(
    score: Callable[[torch.Tensor], tuple[torch.Tensor, ...]], samples: Sequence[Sample], sha256: Sequence[str], delivery: Delivery, views: ViewSpec
) -> Iterator[tuple[np.ndarray, ...]]:
    """Run something over pictures, the next ones being decoded meanwhile.

    Args:
        score: views (N, 3, H, W) float32 to tensors (N, ...).
        samples: pictures that are known to open.
        sha256: of their files.
        delivery: how to degrade them first.
        views: V for each picture.

    Yields:
        For some pictures at a time, what ``score`` gave, as (pictures, V, ...).
    """

    def seen(item: tuple[Sample, str]) -> np.ndarray:
        return make_views(delivery.apply(open_picture(item[0].file).pixels, item[1]), views)

    for batch in _ahead(seen, list(zip(samples, sha256, strict=True))):
        yield tuple(found.unflatten(0, (len(batch), -1)).numpy() for found in score(torch.from_numpy(np.concatenate(batch))))


def _ahead(work: Callable[[tuple[Sample, str]], np.ndarray], items: Sequence[tuple[Sample, str]]) -> Iterator[list[np.ndarray]]:
    """Batches of results, the next one being decoded while the last is in use."""
    groups = [items[start : start + BATCH] for start in range(0, len(items), BATCH)]
    if not groups:
        return
    with ThreadPoolExecutor(cores()) as pool:
        upcoming = [pool.submit(work, item) for item in groups[0]]
        for following in [*groups[1:], []]:
            current, upcoming = upcoming, [pool.submit(work, item) for item in following]
            yield [future.result() for future in current]


def _save(file: Path, tokens: np.ndarray, embedding: np.ndarray) -> None:
    """Write a shard at once, or not at all. Half precision: its error is a tenth of bfloat16's, and it halves the disk."""
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_name(f".{file.name}.{os.getpid()}.npz")
    np.savez(scratch, tokens=tokens, embedding=embedding)
    scratch.replace(file)
