"""PiN-CLIP ("How Noise Benefits AI-generated Image Detection", 2025): task-adaptive noise in feature space, learned together with a LoRA.

The paper's method section was not available to us: what it leaves open follows its authors' earlier public work (positive-incentive noise for CLIP)
or is our choice, and each such detail is a setting. The visual feature asks two anchors by cross-attention; heads give mean and deviation of a
Gaussian; the loss is cross-entropy on clean features plus ``weight`` times cross-entropy on noised ones; at test there is no noise.
Rates, gradients and batches are as in ``lora``, with one rate for LoRA, head and noise generator.
Deviation: by default the anchors are the class means of the frozen features, because the base that realgrain ships has no text tower. With one,
``noise: {anchors: text}`` takes the paper's prompts, "A real photo" and "A fake photo", where the head reads the joint space.
"""

from __future__ import annotations

from typing import Any

DEFAULTS: dict[str, Any] = {
    "adapter": {"kind": "lora", "rank": 6, "alpha": 6.0},
    "noise": {"kind": "pin"},
    "tuning": {"rate": 1e-4, "head_rate": 1e-4, "epochs": 1, "batch": 32},
}
