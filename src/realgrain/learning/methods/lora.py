"""Low-rank tuning alone (LoRA: Hu et al. 2022), the baseline of PiN-CLIP: nothing hidden, nothing perturbed, attention moves at low rank.

The settings are those of the same group's released detectors (rank and alpha 6 on queries, keys and values, Adam 1e-4, batch 32, one epoch).
Deviation: their LoRA dropout of 0.8 is 0 here, until left-out sources say otherwise.
"""

from __future__ import annotations

from typing import Any

DEFAULTS: dict[str, Any] = {
    "adapter": {"kind": "lora", "rank": 6, "alpha": 6.0},
    "tuning": {"rate": 1e-4, "epochs": 1, "batch": 32},
}
