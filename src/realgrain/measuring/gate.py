"""Has a detector forgotten anything? Two heads on the same pictures, of which neither has seen any: the share of generated pictures found at 5 %
false alarms must not fall.

Of a picture's deliveries the mean counts. Refused is what falls

- in the mean over generators left out, or over known ones: where the 95 % interval of the fall (paired bootstrap, pictures drawn within their
  sources) lies wholly above 0, or where the fall is larger than a margin, whatever its interval;
- on a single generator: where its interval, widened for their number (Bonferroni), lies wholly above 0, or where the fall is larger than twice that
  margin: few pictures of one scatter more than the mean over all, and fewer than ``FEWEST`` say nothing;
- on the new one: where its interval lies wholly above 0; where AUC, which so few pictures tell better than that share, is no higher than before, so
  that there is nothing to write a head for; or where AUC is no better than chance even now, as it is when labels are wrong.

The margin is there because few pictures prove nothing: with them even a large fall has an interval that holds 0. What is not refused is therefore not
proven harmless. Each row's upper end says how large a fall these pictures cannot rule out (docs/decisions/0012).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from realgrain.detector.calibration import CONFIDENCE
from realgrain.learning.adapt import SHARE, Adaptation, Cell, Given, Held, adapt
from realgrain.measuring.resampling import FEWEST, Bools, Floats, averaged, resample_counts, weighted_metrics

METRIC, AUC = "tpr_at_5_fpr", "auc"
MARGIN, CHANCE = 0.05, 0.5
SINGLE = 2
"""Times the margin of a mean is that of a single generator: our choice (docs/decisions/0012)."""
FRACTIONS = (1, 2, 4)
"""Of the share that is asked for, what is tried."""
MEAN, NEW = "mean", "new"
UNKNOWN = (-1.0, 1.0)
"""The interval of a share's fall of which nothing is known."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Row(_Frozen):
    """A generator, or the mean over several.

    Attributes:
        group: ``left out``: neither head has seen the generator; ``known``: neither has seen these pictures of it; ``new``.
        name: of the generator, with the photographs left out along with it; ``mean``.
        n_real: photographs that it is told from.
        n_fake: its pictures.
        before: share of them found by the old head at 5 % false alarms.
        after: by the new one.
        low: of the fall, ``before`` less ``after``: its interval, 95 % or wider (see above); all that there is, -1 to 1, where a class has fewer than
            ``FEWEST`` pictures.
        high: likewise; a fall as large cannot be ruled out.
        auc_before: AUC of the old head.
        auc_after: of the new one.
        refused: why; empty where nothing speaks against it.
    """

    group: str
    name: str
    n_real: int
    n_fake: int
    before: float
    after: float
    low: float
    high: float
    auc_before: float
    auc_after: float
    refused: str = ""

    @property
    def fall(self) -> float:
        """How much less the new head finds."""
        return self.before - self.after


class Gate(_Frozen):
    """The judgement, with what is needed to compute it again.

    Attributes:
        passed: no row is refused.
        margin: see above.
        resamples: of the bootstrap.
        seed: likewise.
        rows: generators and means.
        share: of the loss that new pictures counted for at most; None: not said.
        refused: judgements of larger shares, which were tried before.
    """

    passed: bool
    margin: float
    resamples: int
    seed: int
    rows: tuple[Row, ...]
    share: float | None = None
    refused: tuple[Gate, ...] = ()


def judge(held: Sequence[Held], *, margin: float = MARGIN, resamples: int = 1000, seed: int = 0) -> Gate:
    """Judge what two heads say of left-out pictures.

    Args:
        held: tables of them, each resampled on its own.
        margin: of the fall, in [0, 1], beyond which a mean is refused though its interval may hold 0; a single generator beyond twice that.
        resamples: of the bootstrap, at least 1.
        seed: of the resampling.
    """
    singles = sum(len(of) for table in held for of in _grouped(table).values() if len(of) > 1)
    measured = [row for table in held for row in _rows(table, singles, resamples, seed)]
    several = {row.group for row in measured if row.name == MEAN}
    rows = tuple(row.model_copy(update={"refused": _refusal(row, margin, single=row.group in several and row.name != MEAN)}) for row in measured)
    return Gate(passed=not any(row.refused for row in rows), margin=margin, resamples=resamples, seed=seed, rows=rows)


def adapt_gated(given: Given, share: float = SHARE, margin: float = MARGIN) -> tuple[Adaptation, Gate]:
    """Adapt with a share, and while others are forgotten with half of it, then a quarter: the first that the gate lets through, or the last.

    Args:
        given: pictures, old and new.
        share: of the loss that new pictures count for, at most, in (0, 1).
        margin: of the gate.

    Raises:
        ManifestError: fewer than two known sources of a label.
        ValueError: a share that is not between 0 and 1.
    """
    tried: list[tuple[Adaptation, Gate]] = []
    for part in FRACTIONS:
        found = adapt(given, share / part)
        refused = tuple(gate.model_copy(update={"refused": ()}) for _, gate in tried)
        tried.append((found, judge(found.held, margin=margin).model_copy(update={"share": share / part, "refused": refused})))
        if tried[-1][1].passed or any(row.refused for row in tried[-1][1].rows if row.group == NEW):
            break
    return tried[-1]


def _refusal(row: Row, margin: float, *, single: bool) -> str:
    most = margin * SINGLE if single else margin
    if row.low > 0:
        return f"falls by {row.low:.3f} at least"
    if row.group == NEW and row.auc_after <= row.auc_before:
        return "gains nothing"
    if row.group == NEW:
        return "is told from photographs no better than by chance" if row.auc_after <= CHANCE else ""
    return f"falls by {row.fall:.3f}, more than {most:g}" if row.fall > most and not (single and row.n_fake < FEWEST) else ""


def _grouped(table: Held) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for index, cell in enumerate(table.cells):
        groups[cell.group].append(index)
    return groups


def _rows(table: Held, singles: int, resamples: int, seed: int) -> list[Row]:
    drawn: list[list[Floats]] = [[] for _ in table.cells]
    for counts in resample_counts(table.fake, resamples, seed, table.source.astype(object)):
        for falls, cell in zip(drawn, table.cells, strict=True):
            falls.append(_measure(table, cell, counts, table.before)[METRIC] - _measure(table, cell, counts, table.after)[METRIC])
    falls = [np.concatenate(of) for of in drawn]
    once = np.ones((1, len(table.fake)))
    points = [[{name: float(of[0]) for name, of in _measure(table, cell, once, logits).items()} for cell in table.cells] for logits in _sides(table)]
    found = []
    for group, mine in _grouped(table).items():
        cells = [_row(table, [cell], group, table.cells[cell].name, points, falls[cell], singles if len(mine) > 1 else 1) for cell in mine]
        found += cells
        if len(mine) > 1:
            found.append(_row(table, mine, group, MEAN, points, averaged([falls[cell] for cell in mine]), 1))
    return found


def _sides(table: Held) -> tuple[dict[str, Floats], dict[str, Floats]]:
    return table.before, table.after


def _measure(table: Held, cell: Cell, counts: Floats, logits: dict[str, Floats]) -> dict[str, Floats]:
    """Both metrics of each resample, means over deliveries."""
    mine: Bools = table.fake[cell.rows]
    each = [weighted_metrics(counts[:, cell.rows], mine, of[cell.rows], None, None) for of in logits.values()]
    return {name: np.mean([of[name] for of in each], axis=0) for name in (METRIC, AUC)}


def _row(table: Held, cells: Sequence[int], group: str, name: str, points: list[list[dict[str, float]]], falls: Floats, tests: int) -> Row:
    rows = np.unique(np.concatenate([table.cells[cell].rows for cell in cells]))
    n_real, n_fake = int((~table.fake[rows]).sum()), int(table.fake[rows].sum())
    outside = (1 - CONFIDENCE) / 2 / tests
    low, high = UNKNOWN if min(n_real, n_fake) < FEWEST else np.quantile(falls[np.isfinite(falls)], [outside, 1 - outside]).tolist()
    (before, after), (auc_before, auc_after) = (
        [float(np.mean([side[cell][metric] for cell in cells])) for side in points] for metric in (METRIC, AUC)
    )
    return Row(
        group=group,
        name=name,
        n_real=n_real,
        n_fake=n_fake,
        before=before,
        after=after,
        low=low,
        high=high,
        auc_before=auc_before,
        auc_after=auc_after,
    )
