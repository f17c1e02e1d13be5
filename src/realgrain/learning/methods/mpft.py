"""MPFT with texture-aware masking ("Detecting AI-Generated Images via Distributional Deviations from Real Images", 2026).

The whole tower is tuned, gently, on few pictures, while the most textured half of the patches is hidden in training, in both classes alike. The
paper's method section was not available to us: texture measure, patch size, ratio and rates follow its authors' and the field's public work, or are
our choice, and each is a setting.
"""

from __future__ import annotations

from typing import Any

DEFAULTS: dict[str, Any] = {
    "adapter": {"kind": "full"},
    "masking": {"kind": "texture", "ratio": 0.5},
    "tuning": {"rate": 5e-6, "head_rate": 5e-5, "epochs": 20, "batch": 32, "patience": 5},
}
