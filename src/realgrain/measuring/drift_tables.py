"""Shows monitoring as text tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realgrain.measuring.drift_results import Drift, Signal, SignalDay, Spread

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


def render(found: Drift) -> RenderableType:
    """A row for each signal, a row for each day, and the finding in a sentence."""
    from rich.console import Group
    from rich.text import Text

    return Group(_signals(found), _days(found), *(Text(f"* {note}") for note in found.notes), Text(conclusion(found)))


def conclusion(found: Drift) -> str:
    """The finding in a sentence."""
    surely = f"the chance of any alarm without a change is at most {found.alpha:.2g}"
    watched = ", ".join(signal.name for signal in found.signals)
    if not found.alarms and found.unread:
        return f"no alarm in {watched} ({surely}), but no picture of {', '.join(found.unread)} could be read: what came then is not known"
    if not found.alarms:
        return f"no drift found in {watched} ({surely}); small or slow changes may take more pictures"
    said = ", ".join(f"{name} since {day} or before" for name, day in found.alarms.items())
    return f"drift: {said} ({surely}). Error rates measured before need not hold now: label some recent pictures and calibrate again"


def _signals(found: Drift) -> Table:
    from rich.table import Table
    from rich.text import Text

    last = found.days[-1].day
    title = f"Reference: {', '.join(found.reference[:1])} to {found.reference[-1]}; alarm from log10 evidence {found.log10_alarm:.2f}"
    table = Table("signal", "alarm", "evidence", "reference", last, "PSI", "by chance", "above chance", title=Text(title), title_justify="left")
    for signal in found.signals:
        day = signal.days[-1]
        alarm = Text(signal.alarm or "–", style="bold red" if signal.alarm else "")
        index, chance = (f"{value:.3f}" if value is not None else "–" for value in (day.psi, day.psi_by_chance))
        spreads = (Text(_words(signal, spread)) for spread in (signal.reference, day.spread))
        table.add_row(signal.name, alarm, f"{day.log10_evidence:.2f}", *spreads, index, chance, day.level or "–")
    return table


def _words(signal: Signal, spread: Spread) -> str:
    if not spread.n:
        return "–"
    if spread.shares:
        return ", ".join(f"{name} {share:.0%}" for name, share in spread.shares.items())
    number = "{:.0f}" if signal.name == "size" else "{:.2f}"
    low, middle, high = (number.format(spread.quantiles[q]) for q in ("5", "50", "95"))
    return f"{middle} ({low} to {high})"


def _days(found: Drift) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("day", "pictures", "failed", *(f"PSI of {signal.name}" for signal in found.signals))
    of = [{day.day: day for day in signal.days} for signal in found.signals]
    for day in found.days:
        table.add_row(Text(day.day), str(day.pictures), str(day.failed), *(_psi(days.get(day.day)) for days in of))
    return table


def _psi(day: SignalDay | None) -> str:
    return "reference" if day is None else "–" if day.psi is None else f"{day.psi:.3f}"
