"""Which fakes are made of the training photographs, so that they show the same; ``remaking`` makes them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, get_args

from realgrain.learning.autoencoder import DESIGNS

Kind = Literal["none", "autoencoder"]


@dataclass(frozen=True)
class Aligned:
    """Which fakes are made of the training photographs.

    Attributes:
        kind: ``none``, or ``autoencoder``.
        names: of ``autoencoder.DESIGNS``, each of which is trained if a photograph falls to it.
        steps: of training, of each.
        per_photograph: how many of the autoencoders remake each photograph; which ones, its sha256 decides.
        seed: of every draw.
        precision: of training and remaking; ``bf16`` takes some 0.6 of the time on a processor that has it, and longer on one that has not.

    Raises:
        ValueError: an unknown kind, name or precision, a name twice, or a number out of its range.
    """

    kind: Kind = "none"
    names: tuple[str, ...] = tuple(DESIGNS)
    steps: int = 1500
    per_photograph: int = 1
    seed: int = 0
    precision: Literal["f32", "bf16"] = "bf16"

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"unknown kind of aligned fakes {self.kind!r}: it is one of {', '.join(get_args(Kind))}")
        if unknown := [name for name in self.names if name not in DESIGNS]:
            raise ValueError(f"no autoencoder is called {', '.join(unknown)}; there are {', '.join(DESIGNS)}")
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"an autoencoder is named twice: {', '.join(self.names)}")
        if self.steps < 1:
            raise ValueError(f"autoencoders train for at least 1 step, got {self.steps}")
        if not 1 <= self.per_photograph <= len(self.names):
            raise ValueError(f"a photograph is remade by 1 to {len(self.names)} of the autoencoders named, got {self.per_photograph}")
        if self.precision not in ("f32", "bf16"):
            raise ValueError(f"precision of autoencoders is f32 or bf16, not {self.precision!r}")

    def chosen(self, sha256: str) -> tuple[str, ...]:
        """Autoencoders for the photograph with this sha256. One name more or fewer changes them for its share of the photographs alone."""
        return tuple(sorted(self.names, key=lambda name: hashlib.sha256(f"{sha256} {name}".encode()).digest())[: self.per_photograph])
