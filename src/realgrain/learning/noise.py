"""What is perturbed while a detector learns: nothing, isotropic Gaussian noise, or positive-incentive noise that is learned along with it.

PiN-CLIP (Yan et al. 2025, arXiv 2511.16136) makes the noise of an image tower's features by cross-attention with the two classes, and drops it at
inference. The paper's code is not public. What its text leaves open is a setting here. The laws are in ``noise_law``, what they learn from in
``incentive``, what stands for the classes in ``anchors``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["none", "gaussian", "pin"]
Place = Literal["feature", "class_token", "tokens"]
Anchors = Literal["prototype", "text"]
Parts = Literal["both", "mean", "deviation"]
Keys = Literal["label_free", "own_class"]


@dataclass(frozen=True)
class Noise:
    """What is perturbed, and how. A setting that is not of the kind is ignored, so that a grid over kinds can share the rest.

    Attributes:
        kind: ``none``; ``gaussian``: the same standard deviation in every dimension, learned by nobody; ``pin``: learned.
        at: where it is added. ``feature``: to what the head reads, as PiNI does; ``class_token``: before the projection, after the final norm, which
            is the same place where the head reads a block's class token; ``tokens``: to every token that enters the last block that is run, so that
            noise passes through one block of attention. The paper's place is not known.
        weight: of the loss on noised features, against 1 for clean ones; at least 0. The paper's value is not known; at 1 both count alike.
        draws: for each feature vector and step; the published relatives take 1.
        energy: gaussian: standard deviation relative to that of the features; at least 0. The default is small, our choice. To compare with ``pin``
            on even terms, take the mean of ``Diagnostics.energy`` over ``pin`` runs of the same settings.
        inference_draws: the logit is the mean over so many draws in use too; 0: no noise in use, as the paper is understood. No bundle can carry it.
        anchors: pin: what stands for the classes. ``prototype``: class means of the untuned tower at the place of the noise; ``text``: the prompts
            through the base's text tower, as in the paper, which fit features of the joint space alone.
        heads: pin: of the cross-attention; must divide the feature size. With two anchors and one head the attended vector has one degree of freedom,
            with 8 it has 8; one is the lightest, as the paper calls its module.
        detach_query: pin: the generator looks at the features without moving them (our choice: a tower that learns to be looked at can carry the
            label in what it shows the generator); otherwise the tower learns from that too.
        parts: pin: ``mean`` and ``deviation`` keep that part of the noise alone, for ablations.
        keys: pin: ``label_free``: a picture attends to both anchors; ``own_class``: to that of its own class only, as VPN's labelled generator, which
            can leak the label.
        floor: pin: least standard deviation, relative to that of the features; 0: none. Nothing in the loss keeps noise from vanishing, this does; an
            extension of ours.

    Raises:
        ValueError: a value outside its range, text anchors away from the feature, or noise in use that needs labels.
    """

    kind: Kind = "none"
    at: Place = "feature"
    weight: float = 1.0
    draws: int = 1
    energy: float = 0.1
    inference_draws: int = 0
    anchors: Anchors = "prototype"
    heads: int = 1
    detach_query: bool = True
    parts: Parts = "both"
    keys: Keys = "label_free"
    floor: float = 0.0

    def __post_init__(self) -> None:
        for name, kinds in (("kind", Kind), ("at", Place), ("anchors", Anchors), ("parts", Parts), ("keys", Keys)):
            allowed = get_args(kinds)
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} of noise is {', '.join(allowed[:-1])} or {allowed[-1]}, not {getattr(self, name)!r}")
        for name, least in (("weight", 0), ("heads", 1), ("draws", 1), ("energy", 0), ("inference_draws", 0), ("floor", 0)):
            if not least <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} of noise must be at least {least}, and finite, got {getattr(self, name)}")
        if self.prompted and self.at != "feature":
            raise ValueError(f"text anchors of noise live in the joint space, which is not at {self.at}: take at: feature, or anchors: prototype")
        if self.in_use and self.kind == "pin" and self.keys == "own_class":
            raise ValueError("noise with own_class keys needs labels, which a picture in use has not: inference_draws must be 0")

    @property
    def prompted(self) -> bool:
        """Whether the base's text tower is needed."""
        return self.kind == "pin" and self.anchors == "text"

    @property
    def in_use(self) -> bool:
        """Whether there is noise in use, not in training alone."""
        return self.kind != "none" and self.inference_draws > 0
