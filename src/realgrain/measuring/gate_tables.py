"""Shows the gate of an adaptation as a text table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realgrain.measuring.gate import MEAN, NEW, SINGLE, Gate

if TYPE_CHECKING:
    from rich.console import RenderableType


def render(gate: Gate) -> RenderableType:
    """A row for each generator and mean, and the judgement in a sentence."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    columns = ("generator|photographs", "pictures", "TPR at 5 % FPR", "fall", "its interval", "AUC", "")
    weighed = "" if gate.share is None else f", new ones with {gate.share:g} of the loss at most"
    table = Table("group", *columns, title=f"On pictures that neither head learned from{weighed}", title_justify="left")
    for row in gate.rows:
        figures = (f"{row.before:.3f} -> {row.after:.3f}", f"{row.fall:+.3f}", f"{row.low:+.3f} to {row.high:+.3f}")
        sizes = f"{row.n_fake}|{row.n_real}"
        style = "bold" if row.name == MEAN else ""
        said = Text(row.refused, style="bold red")
        table.add_row(row.group, Text(row.name, style), sizes, *figures, f"{row.auc_before:.3f} -> {row.auc_after:.3f}", said)
    return Group(*(Text(f"with {of.share:g} of the loss {conclusion(of)}") for of in gate.refused), table, Text(conclusion(gate)))


def conclusion(gate: Gate) -> str:
    """The judgement in a sentence, with what it cannot say."""
    if gate.passed:
        whole = {row.group: row for row in gate.rows if row.group != NEW}  # the mean comes last, or there is but one
        falls = ", ".join(f"{row.fall:+.3f} on generators {group}, where {max(row.high, 0):.3f} cannot be ruled out" for group, row in whole.items())
        return f"passed: no fall is proven and none is above {gate.margin:g} in the mean or {SINGLE * gate.margin:g} on one generator: {falls}"
    refused = "; ".join(f"{row.name} ({row.group}) {row.refused}" for row in gate.rows if row.refused)
    return f"refused, by the share of generated pictures found at 5 % false alarms: {refused}. Nothing is written"
