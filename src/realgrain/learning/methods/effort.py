"""Effort (Yan et al. 2025): the principal part of each attention matrix is frozen, a residual of low rank moves.

It starts from the smallest singular triplets, so that the tower is at first what it was.

Deviations: the orthogonality and norm terms, off in the released code, are settings; the head reads what the recipe says; gradients are cut to a norm
of 1 (``tuning.clip``); batches are drawn with replacement and balanced in the mean. The recorded runs (``recipes/plans/effort.yaml``) are not of this
method's settings: queries, keys and values of two blocks move, at 1e-4, under a head at 1e-3.
"""

from __future__ import annotations

from typing import Any

DEFAULTS: dict[str, Any] = {
    "adapter": {"kind": "effort", "rank": 1, "targets": ["q_proj", "k_proj", "v_proj", "out_proj"]},
    "tuning": {"rate": 2e-4, "head_rate": 2e-4, "epochs": 1, "batch": 48},
}
