"""What plots in reports share: ink and paper, light and dark, text that stays text, bytes of a PNG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIGHT = {"paper": "#ffffff", "ink": "#1b1f24", "soft": "#57606a", "rule": "#c9ced6", "real": "#0b6e75", "fake": "#b3401b"}
DARK = {"paper": "#15181c", "ink": "#e4e7eb", "soft": "#a3acb8", "rule": "#454c56", "real": "#5cc8d0", "fake": "#f0936c"}
"""Colours of the page that a plot is in."""


def plain(text: str, limit: int = 32) -> str:
    """Text as it is: matplotlib would read what stands between dollars as a formula, and complain of characters that its font has not."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties())).get_charmap()
    shown = "".join(c if c.isprintable() and ord(c) in known else "?" for c in text[: limit + 1])
    return (shown if len(shown) <= limit else shown[: limit - 1] + "…").replace("$", r"\$")


def png(figure: Figure) -> bytes:
    """A figure on its paper; the same figure gives the same bytes."""
    file = io.BytesIO()
    figure.savefig(file, format="png", facecolor=figure.get_facecolor(), metadata={"Software": None})
    return file.getvalue()
