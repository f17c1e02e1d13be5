"""Low-rank tuning alone (LoRA: Hu et al. 2022), the baseline of PiN-CLIP: nothing hidden, nothing perturbed, attention moves at low rank.

The settings are those of the same group's released detectors (rank and alpha 6 on queries, keys and values, one Adam at 1e-4 for LoRA and head, batch
32, one epoch). Deviations: their LoRA dropout of 0.8 is 0 here, until left-out sources say otherwise; gradients are cut to a norm of 1
(``tuning.clip``); batches are drawn with replacement and balanced in the mean, where theirs hold 16 pictures of each class. The recorded runs
(``recipes/lora-small.yaml``) take ten times this rate for the head, 1e-3, or one that all but stops it, 1e-7; none was made at 1e-4.
"""

from __future__ import annotations

from typing import Any

DEFAULTS: dict[str, Any] = {
    "adapter": {"kind": "lora", "rank": 6, "alpha": 6.0},
    "tuning": {"rate": 1e-4, "head_rate": 1e-4, "epochs": 1, "batch": 32},
}
