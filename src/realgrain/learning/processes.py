"""Processes that train together, as torchrun starts them; where it did not, one alone.

Only the steps of tuning are shared. Everything else each process computes for itself, alike, but for what is kept in the cache, where each does its
share; and only the first one writes results.
"""

from __future__ import annotations

import os


def rank() -> int:
    """Which process this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """How many there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def backend() -> str | None:
    """What processes talk through: gloo between processors, torch's own choice between accelerators; None where there is nobody to talk to."""
    import torch

    return "gloo" if world() > 1 and not torch.cuda.is_available() else None


def wait() -> None:
    """Until all are here."""
    if world() > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available(), backend=backend()).wait_for_everyone()
