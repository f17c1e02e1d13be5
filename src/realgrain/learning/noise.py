"""What is perturbed while a detector learns: nothing, isotropic Gaussian noise, or positive-incentive noise that is learned along with it.

Noise E helps a task T where it lowers the task's entropy, I(T;E) = H(T) - H(T|E) > 0. H(T|E) is bounded from above by the cross-entropy of the
detector on noised features, so lowering that loss is the whole "variational" objective (VPN: Zhang et al. 2023, arXiv 2306.07651). PiN-CLIP (Yan et
al. 2025, arXiv 2511.16136) makes the noise of an image tower's features by cross-attention with the two classes, and drops it at inference.

The paper's code is not public. The generator follows its words and the nearest published relative, PiNI (arXiv 2412.10817), with these choices of
ours: the softmax is scaled by the root of the head size; the class anchors are brought to the features' own norm; standard deviations may be kept
above a floor; and what counts as collapse.

Everything here works on feature vectors. Which ones (joint-space embedding, class token) is the caller's choice.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

SMALL_WEIGHT = 0.002  # standard deviation of the last layers' first weights: noise starts near zero (VPN's released code)
SMALL_DEVIATION = 0.01  # their first bias for the deviation, so that |.| has a slope to follow (our choice)
MEMORY = 0.9  # of the running scale of the features: that of the last ten batches or so, as batch normalisation has it

# What counts as collapse, all our choice.
VANISHED_DEVIATION = 1e-3  # of std(f), below which noise is none; a generator starts at some 30 times that
LEAKED_LOSS = 0.05  # nats; a loss on noised features this low says that the noise alone gives the answer away ...
STALLED_LOSS = 0.2  # nats; ... if the loss on clean features is at least this high ...
STALLED_SHARE = 0.95  # ... and in the second half of the window still at least this share of what it was in the first


@dataclass(frozen=True)
class Noise:
    """What is perturbed, and how. All but ``weight``, ``draws`` and ``energy`` concern ``pin`` alone.

    Attributes:
        kind: ``none``; ``gaussian``: the same standard deviation in every dimension, learned by nobody; ``pin``: learned.
        weight: of the loss on noised features, against 1 for clean ones; at least 0. The paper's value is not known.
        heads: of the cross-attention; must divide the feature size. With two anchors and one head the attended vector has one degree of freedom.
        detach_query: the generator looks at the features without moving them; otherwise the tower also learns to be looked at.
        parts: ``mean`` and ``deviation`` keep that part of the noise alone, for ablations.
        keys: ``label_free``: a picture attends to both anchors; ``own_class``: to that of its own class only, as VPN's labelled generator, which can
            leak the label.
        draws: for each feature vector and step; the published relatives take 1.
        energy: standard deviation of ``gaussian`` relative to that of the features; at least 0. To compare with ``pin`` on even terms, take
            ``Diagnostics.energy`` of a ``pin`` run.
        floor: least standard deviation, relative to that of the features; 0: none. Nothing in the loss keeps noise from vanishing, this does; an
            extension of ours.

    Raises:
        ValueError: a value outside its range.
    """

    kind: Literal["none", "gaussian", "pin"] = "none"
    weight: float = 1.0
    heads: int = 1
    detach_query: bool = True
    parts: Literal["both", "mean", "deviation"] = "both"
    keys: Literal["label_free", "own_class"] = "label_free"
    draws: int = 1
    energy: float = 0.1
    floor: float = 0.0

    def __post_init__(self) -> None:
        for name, allowed in (
            ("kind", ("none", "gaussian", "pin")),
            ("parts", ("both", "mean", "deviation")),
            ("keys", ("label_free", "own_class")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} of noise is {', '.join(allowed[:-1])} or {allowed[-1]}, not {getattr(self, name)!r}")
        for name, least in (("weight", 0), ("heads", 1), ("draws", 1), ("energy", 0), ("floor", 0)):
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} of noise must be at least {least}, got {getattr(self, name)}")


class FeatureNoise(nn.Module):
    """A law of noise for feature vectors. It knows their scale from the batches it was trained on, so that a vector's noise in evaluation mode does
    not depend on its neighbours.

    Attributes:
        norm: () running mean of |f|; 0 until the first training batch.
        spread: () running std(f): root of the mean over dimensions of the variance over pictures. One number, so that noise of standard deviation
            ``energy * spread`` in every dimension has ``energy ** 2`` times the variance of the features.
    """

    norm: Tensor
    spread: Tensor

    def __init__(self, dimension: int, settings: Noise) -> None:
        super().__init__()
        self.dimension = dimension
        self.settings = settings
        self.register_buffer("norm", torch.zeros(()))
        self.register_buffer("spread", torch.zeros(()))

    def forward(self, features: Tensor, fake: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """The law of the noise of each feature vector.

        Args:
            features: (N, D).
            fake: (N,) bool or 0/1, true for AI-generated.

        Returns:
            Mean (N, D) and standard deviation (N, D) in the features' units, and the attention (N, heads, 2) on the anchors, real first, which sums
            to 1; all float32. What attends to nothing has 0 heads.

        Raises:
            ValueError: features of another shape, or no labels where the noise depends on them.
            RuntimeError: in evaluation mode before any training batch, or with no anchors set.
        """
        if features.ndim != 2 or features.shape[1] != self.dimension:
            raise ValueError(f"noise is made for features (N, {self.dimension}), not {tuple(features.shape)}")
        if self.training:
            self._measure(features.detach().float())
        elif not self.norm > 0:
            raise RuntimeError("noise does not know the scale of the features before its first training batch")
        return self._law(features, fake)

    def _measure(self, features: Tensor) -> None:
        first = not self.norm > 0
        self.norm.lerp_(features.norm(dim=1).mean(), 1 if first else 1 - MEMORY)
        if len(features) > 1:  # of a single vector, such as the rest of an epoch, no spread can be known
            found = features.var(dim=0).mean()
            self.spread.copy_(found.sqrt() if not self.spread > 0 else torch.lerp(found, self.spread**2, MEMORY).sqrt())

    def _law(self, features: Tensor, fake: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        raise NotImplementedError


class GaussianNoise(FeatureNoise):
    """Isotropic noise of mean 0 and standard deviation ``energy * std(f)``; nothing to learn. The control for learned noise."""

    def _law(self, features: Tensor, fake: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ARG002 - the interface of them all
        mean = torch.zeros_like(features, dtype=torch.float32)
        return mean, torch.ones_like(mean) * (self.settings.energy * self.spread), mean.new_zeros(len(features), 0, 2)


class PositiveIncentiveNoise(FeatureNoise):
    """Noise whose mean and deviation are read from what a picture's features attend to among the two classes (PiN-CLIP, as far as it is known).

    Query: the features; keys and values: the anchors. Two linear layers turn the attended vector into mean and deviation, the latter by |.| as in
    PiNI. What it learns from is the detector's own loss on noised features, see ``noise_loss``.

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
        """Set what stands for the two classes, such as text embeddings of their names, or ``prototypes``.

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
        attended, attention = self._attend(features.detach() if self.settings.detach_query else features, fake)
        nothing = torch.zeros_like(features, dtype=torch.float32)
        mean = nothing if self.mean is None else self.mean(attended).float()
        if self.deviation is None:
            return mean, nothing, attention
        deviation = self.deviation(attended).float().abs()
        if self.settings.floor > 0:
            deviation = torch.maximum(deviation, self.settings.floor * self.spread)
        return mean, deviation, attention

    def _attend(self, features: Tensor, fake: Tensor | None) -> tuple[Tensor, Tensor]:
        """What is attended to, (N, D), and how much to either anchor, (N, heads, 2)."""
        heads, size = self.settings.heads, self.dimension // self.settings.heads
        anchors = (self.anchors * self.norm).to(features.dtype)
        query = self.query(features).unflatten(1, (heads, size))
        key = self.key(anchors).unflatten(1, (heads, size))
        value = self.value(anchors).unflatten(1, (heads, size))
        match = torch.einsum("nhd,chd->nhc", query, key).float() * size**-0.5
        if self.settings.keys == "own_class":
            if fake is None:
                raise ValueError("noise with own_class keys needs labels")
            other = functional.one_hot(fake.long(), 2) == 0
            match = match.masked_fill(other[:, None], -torch.inf)
        attention = match.softmax(-1)
        return torch.einsum("nhc,chd->nhd", attention.to(value.dtype), value).flatten(1), attention


def make_noise(dimension: int, settings: Noise) -> FeatureNoise | None:
    """The noise that settings ask for, for features of size ``dimension``; None for ``none``. ``pin`` still needs ``set_anchors``."""
    if settings.kind == "none":
        return None
    return (PositiveIncentiveNoise if settings.kind == "pin" else GaussianNoise)(dimension, settings)


def prototypes(features: Tensor, fake: Tensor, weight: Tensor | None = None) -> Tensor:
    """Class means (2, D) float32, real first, to be anchors where there is no text tower (our choice).

    Args:
        features: (N, D).
        fake: (N,) bool or 0/1.
        weight: (N,) importance of each row; None: all alike.

    Raises:
        ValueError: a class without weight.
    """
    features = features.float()
    share = torch.stack([fake == 0, fake != 0]).to(features)
    if weight is not None:
        share = share * weight.to(features)
    total = share.sum(1, keepdim=True)
    if not (total > 0).all():
        raise ValueError("a prototype of each class needs pictures of each class")
    return share / total @ features


def noised(features: Tensor, mean: Tensor, deviation: Tensor, draws: int = 1, generator: torch.Generator | None = None) -> Tensor:
    """Features with noise drawn as mean + deviation * standard normal, so that gradients reach all three.

    Args:
        features: (N, D).
        mean: (N, D).
        deviation: (N, D), at least 0.
        draws: for each row.
        generator: of the draws, on the features' device; None: torch's own.

    Returns:
        (draws * N, D) in the features' dtype: a draw of every row, then the next draw of every row, and so on.
    """
    unit = torch.randn((draws, *features.shape), generator=generator, device=features.device)
    return (features + (mean + deviation * unit)).flatten(0, 1).to(features.dtype)


@dataclass(frozen=True)
class Diagnostics:
    """What a step of training with noise looked like.

    Attributes:
        clean_loss: cross-entropy on the features as they are, nats.
        noised_loss: on noised features, nats.
        information_gain: clean - noised, nats: the batch's estimate of I(T;E) = H(T) - H(T|E); above 0 the noise is positive-incentive (VPN).
        mean_norm: |mean| / |f|, mean over rows; exactly 0 where the noise has no mean.
        deviation_ratio: deviation / std(f), mean over rows and dimensions; exactly 0 where the noise has no deviation.
        energy: root of the mean over rows and dimensions of mean² + deviation², over std(f): Gaussian noise of this ``energy`` has as much.
        attention_entropy: nats, 0 (one anchor) to ln 2 (both alike), mean over rows and heads; 0 where nothing attends.
    """

    clean_loss: float
    noised_loss: float
    information_gain: float
    mean_norm: float
    deviation_ratio: float
    energy: float
    attention_entropy: float


def noise_loss(
    head: Callable[[Tensor], Tensor],
    features: Tensor,
    fake: Tensor,
    noise: FeatureNoise | None,
    settings: Noise,
    generator: torch.Generator | None = None,
    weight: Tensor | None = None,
) -> tuple[Tensor, Diagnostics]:
    """Loss of a detector and its noise together: cross-entropy on clean features + ``settings.weight`` times that on noised ones.

    Args:
        head: (M, D) -> logits (M,) or (M, 1), higher for AI-generated; called on clean and on noised features.
        features: (N, D).
        fake: (N,) bool or 0/1.
        noise: by ``make_noise``; None: the loss is that on clean features.
        settings: of the noise.
        generator: of the draws, on the features' device.
        weight: (N,) importance of each row, of which only ratios matter; None: all alike.

    Returns:
        Loss () float32, a mean over rows and draws, and what to log of the step.

    Raises:
        ValueError: as ``FeatureNoise.forward``, or logits that are not one for each row.
    """
    clean = _cross_entropy(head(features), fake, weight)
    if noise is None:
        value = clean.item()
        return clean, Diagnostics(value, value, 0.0, 0.0, 0.0, 0.0, 0.0)
    mean, deviation, attention = noise(features, fake)
    perturbed = head(noised(features, mean, deviation, settings.draws, generator))
    again = _cross_entropy(perturbed, fake.repeat(settings.draws), None if weight is None else weight.repeat(settings.draws))
    with torch.no_grad():
        spread = noise.spread.clamp_min(torch.finfo(torch.float32).tiny)  # pictures that are all alike have none
        seen = (
            clean,
            again,
            clean - again,
            (mean.norm(dim=1) / features.float().norm(dim=1).clamp_min(torch.finfo(torch.float32).tiny)).mean(),
            deviation.mean() / spread,
            (mean**2 + deviation**2).mean().sqrt() / spread,
            torch.special.entr(attention).sum(-1).mean() if attention.numel() else clean.new_zeros(()),
        )
        diagnostics = Diagnostics(*torch.stack(seen).tolist())  # at once, because each transfer from an accelerator waits for it
    return clean + settings.weight * again, diagnostics


class NoiseCollapse(RuntimeError):
    """Noise has stopped teaching anything. The message says how it is seen and what to try."""


def check_collapse(history: Sequence[Diagnostics], window: int) -> None:
    """Look whether the noise has collapsed over the last steps; silent while there are fewer than ``window``. The thresholds are our choice.

    A part of the noise that is exactly 0 was switched off, which is no collapse.

    Args:
        history: one entry a step, the latest last.
        window: steps, at least 2; some tens, because the losses of single batches jump.

    Raises:
        NoiseCollapse: in every step the deviation was below ``VANISHED_DEVIATION``; or the mean leaks the label: the loss on noised features is below
            ``LEAKED_LOSS`` in the mean, while that on clean ones is above ``STALLED_LOSS`` and no longer falls.
        ValueError: a window below 2.
    """
    if window < 2:
        raise ValueError(f"collapse is seen over a window of at least 2 steps, not {window}")
    if len(history) < window:
        return
    recent = history[-window:]
    if all(0 < step.deviation_ratio < VANISHED_DEVIATION for step in recent):
        raise NoiseCollapse(
            f"the noise's standard deviation was below {VANISHED_DEVIATION:g} of the features' own in each of the last {window} steps "
            f"({recent[-1].deviation_ratio:.1e} now): there is no noise left. Set a floor, or a lower learning rate"
        )
    before, after = recent[: window // 2], recent[window // 2 :]
    clean, perturbed = _mean([step.clean_loss for step in recent]), _mean([step.noised_loss for step in recent])
    stalled = clean > STALLED_LOSS and _mean([step.clean_loss for step in after]) > STALLED_SHARE * _mean([step.clean_loss for step in before])
    if stalled and perturbed < LEAKED_LOSS and all(step.mean_norm > 0 for step in recent):
        raise NoiseCollapse(
            f"over the last {window} steps the loss was {perturbed:.3f} on noised features and stood at {clean:.3f} on clean ones: the noise's mean "
            "gives the answer away and the detector learns nothing. Lower the weight of the noise, use label_free keys, or detach the query"
        )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _small_linear(dimension: int, bias: float) -> nn.Linear:
    layer = nn.Linear(dimension, dimension)
    nn.init.normal_(layer.weight, std=SMALL_WEIGHT)
    nn.init.constant_(layer.bias, bias)
    return layer


def _cross_entropy(logits: Tensor, fake: Tensor, weight: Tensor | None) -> Tensor:
    """Weighted mean of the log-loss; in float32 whatever the logits, because half precision rounds small losses away."""
    losses = functional.binary_cross_entropy_with_logits(logits.float().flatten(), fake.float(), reduction="none")
    return losses.mean() if weight is None else losses @ (weight / weight.sum()).to(losses)
