"""LoL ("Learning on Less", 2024), the predecessor of MPFT by the same authors: the whole tower is tuned while random patches are hidden.

Everything but the choice of patches is as in ``mpft``, deviations included, so that the two differ in nothing else.
"""

from __future__ import annotations

from typing import Any

DEFAULTS: dict[str, Any] = {
    "adapter": {"kind": "full"},
    "masking": {"kind": "random", "ratio": 0.5},
    "tuning": {"rate": 5e-6, "head_rate": 5e-5, "epochs": 20, "batch": 32, "patience": 5},
}
