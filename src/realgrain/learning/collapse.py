"""What counts as a collapse of noise: it has vanished, or it gives the answer away. The thresholds are our choice."""

from __future__ import annotations

from collections.abc import Sequence

from realgrain.learning.incentive import Diagnostics
from realgrain.learning.noise import Kind

VANISHED_DEVIATION = 1e-3  # of std(f), below which noise is none; a generator starts at some 30 times that
LEAKED_LOSS = 0.05  # nats; a loss on noised features this low says that the noise alone gives the answer away ...
STALLED_LOSS = 0.2  # nats; ... if the loss on clean features is at least this high ...
STALLED_SHARE = 0.95  # ... and in the second half of the window still at least this share of what it was in the first


class NoiseCollapse(RuntimeError):
    """Noise has stopped teaching anything. The message says how it is seen and what to try."""


def check_collapse(history: Sequence[Diagnostics], window: int, kind: Kind = "pin") -> None:
    """Look whether the noise has collapsed over the last batches; silent while there are fewer than ``window``. The thresholds are our choice.

    A part of the noise that is exactly 0 was switched off, which is no collapse.

    Args:
        history: one entry a batch, the latest last.
        window: batches, at least 2; more where there are more, because the losses of single batches jump.
        kind: of noise, for what to try.

    Raises:
        NoiseCollapse: in every batch the deviation was below ``VANISHED_DEVIATION``; or the mean leaks the label: the loss on noised features is
            below ``LEAKED_LOSS`` in the mean, while that on clean ones is above ``STALLED_LOSS`` and no longer falls.
        ValueError: a window below 2.
    """
    if window < 2:
        raise ValueError(f"collapse is seen over a window of at least 2 batches, not {window}")
    if len(history) < window:
        return
    recent = history[-window:]
    if all(0 < step.deviation_ratio < VANISHED_DEVIATION for step in recent):
        advice = "Set a higher energy" if kind == "gaussian" else "Set a floor, or a lower learning rate"
        raise NoiseCollapse(
            f"the noise's standard deviation was below {VANISHED_DEVIATION:g} of the features' own in each of the last {window} batches "
            f"({recent[-1].deviation_ratio:.1e} now): there is no noise left. {advice}"
        )
    before, after = recent[: window // 2], recent[window // 2 :]
    clean, perturbed = _mean([step.clean_loss for step in recent]), _mean([step.noised_loss for step in recent])
    stalled = clean > STALLED_LOSS and _mean([step.clean_loss for step in after]) > STALLED_SHARE * _mean([step.clean_loss for step in before])
    if stalled and perturbed < LEAKED_LOSS and all(step.mean_norm > 0 for step in recent):
        raise NoiseCollapse(
            f"over the last {window} batches the loss was {perturbed:.3f} on noised features and stood at {clean:.3f} on clean ones: the noise's "
            "mean gives the answer away and the detector learns nothing. Lower the weight of the noise, use label_free keys, or detach the query"
        )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
