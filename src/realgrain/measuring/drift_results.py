"""What monitoring found: frozen models that dump to JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Level = Literal["small", "moderate", "large"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Spread(_Frozen):
    """The distribution of some values: quantiles of numbers by their percentage, or shares of categories in [0, 1]; empty where there are none.

    Attributes:
        n: pictures that have a value.
        quantiles: keys 5, 25, 50, 75, 95.
        shares: by name.
    """

    n: int
    quantiles: dict[str, float] = {}
    shares: dict[str, float] = {}


class SignalDay(_Frozen):
    """A signal on a day after the reference.

    Attributes:
        day: its name.
        spread: on that day.
        psi: population stability index against the reference, 0 or more; None without values.
        psi_by_chance: about what it would be from the numbers of pictures alone, without any change: (bins - 1) (1 / n + 1 / n of the reference).
        level: of what ``psi`` has above that; None without values.
        log10_evidence: of the sequential test at the end of the day, over all days since the reference.
    """

    day: str
    spread: Spread
    psi: float | None
    psi_by_chance: float | None
    level: Level | None
    log10_evidence: float


class Signal(_Frozen):
    """One thing that is watched.

    Attributes:
        name: ``score``, ``abstention``, ``format``, ``size``, ``feature distance`` or ``failed``.
        unit: of its numbers, or what its shares are of.
        reference: its distribution in the reference window.
        days: after the reference, in order.
        alarm: the first day on which the test said that the stream has changed; None where it never did.
    """

    name: str
    unit: str
    reference: Spread
    days: list[SignalDay]
    alarm: str | None


class DayCount(_Frozen):
    """Pictures of a day: scored, and such as could not be read."""

    day: str
    pictures: int
    failed: int


class Drift(_Frozen):
    """The watch over a stream, with what is needed to keep it again.

    Attributes:
        alpha: probability, at most, of any alarm on any day, of any signal, if nothing changes.
        log10_alarm: evidence from which a signal raises an alarm: log10 of the number of signals over ``alpha``.
        psi_moderate: PSI above chance from which a change is called moderate.
        psi_large: likewise large.
        seed: of what breaks ties and shuffles the pictures within a day.
        bundle: of the detector that scored; empty where the logs do not say.
        reference: days of the reference window.
        days: all days, in order.
        signals: in order.
        notes: what could not be watched, and why; days of which no picture could be read.
    """

    alpha: float
    log10_alarm: float
    psi_moderate: float
    psi_large: float
    seed: int
    bundle: str
    reference: list[str]
    days: list[DayCount]
    signals: list[Signal]
    notes: list[str]

    @property
    def alarms(self) -> dict[str, str]:
        """Name of each signal that raised an alarm, and the day."""
        return {signal.name: signal.alarm for signal in self.signals if signal.alarm is not None}

    @property
    def unread(self) -> list[str]:
        """Days after the reference of which no picture could be read."""
        return [day.day for day in self.days[len(self.reference) :] if not day.pictures]
