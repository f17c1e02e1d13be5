"""What an audit of labelled pictures found: frozen models that dump to JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from realgrain.measuring.results import Estimate

Outcome = Literal["ok", "warning", "leak", "not judged"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Check(_Frozen):
    """One question to a set, and its answer.

    Attributes:
        name: what was looked at.
        verdict: ``leak``: a detector can score by this without telling real from generated; ``warning``: look at it; ``not judged``: it could not
            be, or was not, looked at.
        words: the figure, or why there is none.
        auc: of a probe on pictures it has not seen, of sources it has.
        unseen: the same on sources it has not seen: does the leak carry over? None where sources are too few.
        content: of a probe on what the content alone explains of the same figure, on the same pictures; only for bytes per pixel.
    """

    name: str
    verdict: Outcome
    words: str
    auc: Estimate | None = None
    unseen: Estimate | None = None
    content: Estimate | None = None


class Alike(_Frozen):
    """Pictures that are the same bytes, or nearly the same picture: path, label and split of each."""

    pictures: list[str]
    labels: list[str]
    splits: list[str]

    @property
    def across_labels(self) -> bool:
        return len(set(self.labels)) > 1

    @property
    def across_splits(self) -> bool:
        return len(set(self.splits)) > 1


class Audit(_Frozen):
    """What was found, with what is needed to find it again.

    Attributes:
        real: pictures that opened.
        fake: likewise.
        splits: pictures of each split.
        beside: pictures of other splits, in which only the same bytes were looked for.
        bound: of an AUC; the lower end of the interval above it is a leak.
        mark_bound: likewise, of the marks that generators leave.
        distance: bits of 64 in which perceptual hashes of near-duplicates may differ.
        resamples: of the bootstrap behind each interval.
        seed: of the bootstrap.
        checks: in order.
        sources: pictures by source, then label.
        duplicates: groups of the same bytes.
        near_duplicates: groups of nearly the same picture that are not all the same bytes.
        failed: what did not open, and why.
    """

    real: int
    fake: int
    splits: dict[str, int]
    beside: int = 0
    bound: float
    mark_bound: float
    distance: int
    resamples: int
    seed: int
    checks: list[Check]
    sources: dict[str, dict[str, int]]
    duplicates: list[Alike]
    near_duplicates: list[Alike]
    failed: list[str]

    @property
    def passed(self) -> bool:
        """Whether nothing leaks."""
        return not self.leaks

    @property
    def leaks(self) -> list[str]:
        """Names of the checks that found a leak."""
        return [check.name for check in self.checks if check.verdict == "leak"]
