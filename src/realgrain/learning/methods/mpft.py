"""MPFT with texture-aware masking ("Detecting AI-Generated Images via Distributional Deviations from Real Images", 2026).

The whole tower is tuned, gently, on few pictures, while the most textured half of the patches is hidden in training, in both classes alike. The
paper's method section was not available to us: texture measure, patch size, ratio and rates follow its authors' and the field's public work, or are
our choice, and each is a setting. Deviations from that work: the rates stay as they are, where it multiplies them by 0.7 every two epochs; training
stops after 5 validations, one every 20 steps, without a gain, where it runs to its end (``recipes/full`` does both as there, and validates every 50
steps); the head has no dropout of 0.5 before it; gradients are cut to a norm of 1 (``tuning.clip``); batches are balanced in the mean, not each.
"""

from __future__ import annotations

from typing import Any

DEFAULTS: dict[str, Any] = {
    "adapter": {"kind": "full"},
    "masking": {"kind": "texture", "ratio": 0.5},
    "tuning": {"rate": 5e-6, "head_rate": 5e-5, "epochs": 20, "batch": 32, "patience": 5},
}
