"""Names of others on a plot."""


def plain(text: str, limit: int = 32) -> str:
    """Text as it is: matplotlib would read what stands between dollars as a formula, and complain of characters that its font has not."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties())).get_charmap()
    shown = "".join(c if c.isprintable() and ord(c) in known else "?" for c in text[: limit + 1])
    return (shown if len(shown) <= limit else shown[: limit - 1] + "…").replace("$", r"\$")
