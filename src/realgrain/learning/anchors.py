"""What stands for the two classes when noise attends to them: prompts, or, where a base has no text tower, the means of the classes."""

from __future__ import annotations

import torch
from torch import Tensor

from realgrain.detector.weights import Tower
from realgrain.learning.backbone import embed_prompts

PROMPTS = ("A real photo", "A fake photo")  # PiN-CLIP's, real first


def text_anchors(tower: Tower) -> Tensor:
    """Joint-space embeddings (2, projection) float32 of the classes' prompts, real first.

    Raises:
        WeightsError: the base has no text tower, or no tokenizer.
    """
    return embed_prompts(tower, PROMPTS)


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
