"""What an HTML page of ours holds, read as a browser would."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """What a page loads, its alternative texts, its tags, those that are open at its end, and its text; no event handler and no style in any."""

    VOID = frozenset(["meta", "img", "br", "source", "line", "circle"])
    LOADING = frozenset(["src", "srcset", "href", "data", "action", "poster", "xlink:href"])

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads, self.alts, self.open, self.words = list[str](), list[str](), list[str](), list[str]()
        self.tags = set[str]()
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert not any(name.startswith("on") or name == "style" for name, _ in attrs)
        self.loads += [value for name, value in attrs if name in self.LOADING]
        self.alts += [dict(attrs)["alt"]] if tag == "img" else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)
