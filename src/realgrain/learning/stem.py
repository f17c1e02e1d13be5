"""What the blocks that stay as they are give, computed once for each picture and kept on disk: tuning and measuring go on from there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from realgrain.detector import weights
from realgrain.learning import features
from realgrain.learning.features import Delivery
from realgrain.learning.network import Network
from realgrain.learning.problem import Problem
from realgrain.picture.views import ViewSpec


@dataclass(frozen=True)
class Stem:
    """The frozen blocks of a network, and what they gave so far; a file for each picture and delivery, so that folds and runs share them.

    Attributes:
        network: whose blocks below ``network.frozen`` nothing moves.
        base_sha256: of its tower.
    """

    network: Network
    base_sha256: str

    def fill(self, problem: Problem, delivery: Delivery, *, masked: bool) -> None:
        """Compute what is not there yet of a problem's pictures.

        Args:
            problem: pictures that are known to open.
            delivery: how to degrade them first.
            masked: hide patches as in training. A picture's mask is drawn from its bytes and the delivery's draw.
        """
        folder = self._folder(delivery, masked)
        missing = problem.keep(np.array([not (folder / f"{sha256}.npy").exists() for sha256 in problem.sha256], bool))
        recipe, views, upcoming = self.network.recipe, self._views(delivery), iter(missing.sha256)

        @torch.inference_mode()
        def tokens(seen: torch.Tensor) -> tuple[torch.Tensor]:
            owners = [next(upcoming) for _ in range(len(seen) // views.count)]
            generators = [_generator(sha256, delivery.draw) for sha256 in owners] if masked else None
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bf16"):
                return (self.network.stem(seen, generators).half(),)

        names = iter(missing.sha256)
        for (found,) in features.run(tokens, missing.samples, missing.sha256, delivery, views):
            for one in found:
                _save(folder / f"{next(names)}.npy", one)

    def read(self, sha256: str, delivery: Delivery, *, masked: bool) -> np.ndarray:
        """Tokens (V, T, hidden) float16 of a picture's V views, as they come out of the last frozen block."""
        return np.load(self._folder(delivery, masked) / f"{sha256}.npy")

    def batches(self, problem: Problem, delivery: Delivery) -> Iterator[torch.Tensor]:
        """Tokens (pictures * V, T, hidden) float32 of some unmasked pictures at a time, in order."""
        self.fill(problem, delivery, masked=False)
        for start in range(0, len(problem.sha256), features.BATCH):
            some = problem.sha256[start : start + features.BATCH]
            yield torch.from_numpy(np.concatenate([self.read(sha256, delivery, masked=False) for sha256 in some])).float()

    def _views(self, delivery: Delivery) -> ViewSpec:
        """Augmented pictures are for training, and seen as there."""
        return self.network.recipe.drawn_views if delivery.law is not None else self.network.recipe.views

    def _folder(self, delivery: Delivery, masked: bool) -> Path:
        recipe, views = self.network.recipe, asdict(self._views(delivery))
        settings = [self.base_sha256, self.network.frozen, views, asdict(delivery), recipe.precision, masked and asdict(recipe.masking)]
        return weights.home() / "stems" / hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:24]


def _generator(sha256: str, draw: int) -> torch.Generator:
    return torch.Generator().manual_seed((int(sha256[:12], 16) << 12) + draw)


def _save(file: Path, tokens: np.ndarray) -> None:
    """At once, or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_name(f".{file.stem}.{os.getpid()}.npy")
    np.save(scratch, tokens)
    scratch.replace(file)
