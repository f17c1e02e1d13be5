"""Laws of noise for feature vectors, as modules that are trained with the detector.

PiN-CLIP's generator follows its words (Yan et al. 2025, arXiv 2511.16136) and the nearest published relative, PiNI (arXiv 2412.10817), with these
choices of ours: the softmax is scaled by the root of the head size; the class anchors are brought to the features' own norm; and standard deviations
may be kept above a floor.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional

from realgrain.learning.noise import Noise

SMALL_WEIGHT = 0.002  # standard deviation of the last layers' first weights: noise starts near zero (VPN's released code)
SMALL_DEVIATION = 0.01  # their first bias for the deviation, so that |.| has a slope to follow (our choice)
MEMORY = 0.9  # of the running scale of the features: that of the last ten batches or so, as batch normalisation has it


class FeatureNoise(nn.Module):
    """A law of noise for feature vectors. It knows their scale from the batches it was trained on, so that a vector's noise in evaluation mode does
    not depend on its neighbours. A batch of one vector has no spread: while there were no others, that of ``look`` counts.

    Attributes:
        norm: () running mean of |f|; 0 until the first training batch.
        spread: () running std(f): root of the mean over dimensions of the variance over vectors. One number, so that noise of standard deviation
            ``energy * spread`` in every dimension has ``energy ** 2`` times the variance of the features.
        untuned: () std(f) of the vectors that were looked at before training.
    """

    norm: Tensor
    spread: Tensor
    untuned: Tensor

    def __init__(self, dimension: int, settings: Noise) -> None:
        super().__init__()
        self.dimension = dimension
        self.settings = settings
        self.register_buffer("norm", torch.zeros(()))
        self.register_buffer("spread", torch.zeros(()))
        self.register_buffer("untuned", torch.zeros(()), persistent=False)  # a resumed run looks again

    def look(self, features: Tensor) -> None:
        """Take the spread of vectors (N, D), N above 1, as that of the features until batches tell."""
        self.untuned.copy_(features.float().var(dim=0).mean().sqrt())

    def forward(self, features: Tensor, fake: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The law of the noise of each feature vector.

        Args:
            features: (N, D), or (N, T, D) where a picture has T vectors, each of which gets noise of its own.
            fake: (N,) bool or 0/1, true for AI-generated.

        Returns:
            Mean and standard deviation in the features' shape and units, and the attention (vectors, heads, 2) on the anchors, real first, which sums
            to 1; all float32. What attends to nothing has 0 heads.

        Raises:
            ValueError: features of another shape, or no labels where the noise depends on them.
            RuntimeError: in evaluation mode before any training batch, with no anchors set, or with a single vector where no spread is known.
        """
        if features.ndim not in (2, 3) or features.shape[-1] != self.dimension:
            raise ValueError(f"noise is made for features (N, {self.dimension}) or (N, T, {self.dimension}), not {tuple(features.shape)}")
        vectors = features.flatten(0, -2)
        if self.training:
            self._measure(vectors.detach().float())
        elif not self.norm > 0:
            raise RuntimeError("noise does not know the scale of the features before its first training batch")
        mean, deviation, attention = self._law(vectors, None if fake is None else fake.repeat_interleave(len(vectors) // len(features)))
        return mean.view_as(features), deviation.view_as(features), attention

    def _measure(self, features: Tensor) -> None:
        first = not self.norm > 0
        self.norm.lerp_(features.norm(dim=1).mean(), 1 if first else 1 - MEMORY)
        if len(features) > 1:  # of a single vector, such as the rest of an epoch, no spread can be known
            found = features.var(dim=0).mean()
            self.spread.copy_(found.sqrt() if not self.spread > 0 else torch.lerp(found, self.spread**2, MEMORY).sqrt())
        elif not self.spread > 0:
            if not self.untuned > 0:
                raise RuntimeError("noise cannot know the spread of the features from a single vector; let it look at several first")
            self.spread.copy_(self.untuned)

    def _law(self, features: Tensor, fake: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """As ``forward``, of vectors (N, D) with labels (N,)."""
        raise NotImplementedError


class GaussianNoise(FeatureNoise):
    """Isotropic noise of mean 0 and standard deviation ``energy * std(f)``; nothing to learn. The control for learned noise."""

    def _law(self, features: Tensor, fake: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ARG002 - the interface of them all
        mean = torch.zeros_like(features, dtype=torch.float32)
        return mean, torch.ones_like(mean) * (self.settings.energy * self.spread), mean.new_zeros(len(features), 0, 2)


class PositiveIncentiveNoise(FeatureNoise):
    """Noise whose mean and deviation are read from what a picture's features attend to among the two classes (PiN-CLIP, as far as it is known).

    Query: the features; keys and values: the anchors. Two linear layers turn the attended vector into mean and deviation, the latter by |.| as in
    PiNI. What it learns from is the detector's own loss on noised features, see ``incentive.noise_loss``.

    Attributes:
        anchors: (2, D) unit vectors, real first; zeros until ``set_anchors``.
    """

    anchors: Tensor

    def __init__(self, dimension: int, settings: Noise) -> None:
        """Make a generator with near-zero noise.

        Args:
            dimension: D of the features.
            settings: of the noise.

        Raises:
            ValueError: heads do not divide the dimension.

        Warns:
            UserWarning: keys are of the picture's own class, which can leak the label.
        """
        super().__init__(dimension, settings)
        if dimension % settings.heads:
            raise ValueError(f"{settings.heads} heads of attention do not divide features of size {dimension}")
        if settings.keys == "own_class":
            warnings.warn(
                "noise with own_class keys sees the label: its mean can give the answer away, so that the loss on noised features falls and the "
                "tower learns nothing. Watch the diagnostics, or use label_free",
                stacklevel=3,  # who called make_noise
            )
        self.register_buffer("anchors", torch.zeros(2, dimension))
        self.query = nn.Linear(dimension, dimension)
        self.key = nn.Linear(dimension, dimension)
        self.value = nn.Linear(dimension, dimension)
        # A part that is left out has no layer either: an optimiser or a distributed run would look for its gradient in vain.
        self.mean = _small_linear(dimension, bias=0.0) if settings.parts != "deviation" else None
        self.deviation = _small_linear(dimension, bias=SMALL_DEVIATION) if settings.parts != "mean" else None

    def set_anchors(self, anchors: Tensor) -> None:
        """Set what stands for the two classes, such as text embeddings of their names, or class means.

        Only directions count: in use they take the running mean norm of the features, so that queries and keys are of a size (our choice).

        Args:
            anchors: (2, D), row 0 real, row 1 AI-generated.

        Raises:
            ValueError: another shape, or a row that is zero or not finite.
        """
        if anchors.shape != self.anchors.shape:
            raise ValueError(f"anchors must be {tuple(self.anchors.shape)}, not {tuple(anchors.shape)}")
        norms = anchors.detach().float().norm(dim=1, keepdim=True)
        if not (norms.isfinite() & (norms > 0)).all():
            raise ValueError("an anchor is zero or not finite and has no direction")
        self.anchors.copy_(anchors.detach().float() / norms)

    def _law(self, features: Tensor, fake: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        if not self.anchors.any():
            raise RuntimeError("noise has no anchors; call set_anchors first")
        anchors = (self.anchors * self.norm).to(features.dtype)
        attention = self._attention(features.detach() if self.settings.detach_query else features, self._split(self.key(anchors)), fake)
        value, nothing = self._split(self.value(anchors)), torch.zeros_like(features, dtype=torch.float32)
        mean = nothing if self.mean is None else self._attended(self.mean, attention, value)
        if self.deviation is None:
            return mean, nothing, attention
        deviation = self._attended(self.deviation, attention, value).abs()
        if self.settings.floor > 0:
            deviation = torch.maximum(deviation, self.settings.floor * self.spread)
        return mean, deviation, attention

    # Every layer here is linear, so it is the two anchors that are taken through the large matrices and not the N vectors: the same numbers for
    # next to no work, which counts where each token of a batch is a vector.

    def _attention(self, features: Tensor, key: Tensor, fake: Tensor | None) -> Tensor:
        """How much vectors (N, D) attend to keys (2, heads, size): (N, heads, 2)."""
        heads, size = key.shape[1:]
        asked = torch.einsum("chs,hsd->hcd", key, self.query.weight.unflatten(0, (heads, size))).flatten(0, 1)
        offset = torch.einsum("chs,hs->hc", key, self.query.bias.unflatten(0, (heads, size))).flatten()
        match = ((features @ asked.T).float() + offset.float()).unflatten(1, (heads, 2)) * size**-0.5
        if self.settings.keys == "own_class":
            if fake is None:
                raise ValueError("noise with own_class keys needs labels")
            other = functional.one_hot(fake.long(), 2) == 0
            match = match.masked_fill(other[:, None], -torch.inf)
        return match.softmax(-1)

    def _attended(self, layer: nn.Linear, attention: Tensor, value: Tensor) -> Tensor:
        """A layer (N, D) of what is attended to among values (2, heads, size), float32."""
        mapped = torch.einsum("chs,dhs->hcd", value, layer.weight.unflatten(1, value.shape[1:])).flatten(0, 1)
        return (attention.flatten(1).to(mapped.dtype) @ mapped).float() + layer.bias

    def _split(self, rows: Tensor) -> Tensor:
        """Rows (2, D) by head, (2, heads, size)."""
        return rows.unflatten(1, (self.settings.heads, -1))


def make_noise(dimension: int, settings: Noise) -> FeatureNoise | None:
    """The noise that settings ask for, for features of size ``dimension``; None for ``none``. ``pin`` still needs ``set_anchors``."""
    if settings.kind == "none":
        return None
    return (PositiveIncentiveNoise if settings.kind == "pin" else GaussianNoise)(dimension, settings)


def _small_linear(dimension: int, bias: float) -> nn.Linear:
    layer = nn.Linear(dimension, dimension)
    nn.init.normal_(layer.weight, std=SMALL_WEIGHT)
    nn.init.constant_(layer.bias, bias)
    return layer
