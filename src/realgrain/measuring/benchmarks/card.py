"""What is known of a benchmark, and how surely."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Known = Literal["paper", "code", "page", "digest", "recalled", "inferred", "unknown"]
"""Where a fact was seen: in the paper or its abstract; in the code, logs or README of its repository; on another web page; in somebody's digest of
the paper; nowhere (background knowledge, to be verified before it is quoted); nowhere (our reconstruction); or it is not known at all."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Size(_Frozen):
    """Pictures that were published of one set, in one split.

    Attributes:
        set: as ``Sample.set``.
        split: as ``Sample.split``: ``train``, ``val``, or ``test`` for what the protocol tests on, whatever its folder is called.
        real: pictures; None where their number is unknown, 0 where none are expected.
        fake: pictures; likewise.
        known: how surely the two are known.
        rounded: unit to which the two are rounded; 0 where they are exact.
        even: whether as many real as fake ones were published, however many that is.
        needed: whether the benchmark's protocol cannot be run without it; False for training data and for what only some publications include.
    """

    set: str
    split: str = "test"
    real: int | None = None
    fake: int | None = None
    known: Known = "unknown"
    rounded: int = 0
    even: bool = False
    needed: bool = True


class Convention(_Frozen):
    """How publications test on it, so that a figure can be compared with theirs.

    Attributes:
        view: what is cut or resized before the detector sees a picture.
        threshold: of a probability.
        mean: which mean a quoted figure is.
        notes: where publications differ from one another, and traps.
        known: how surely.
    """

    view: str
    threshold: str
    mean: str
    notes: str = ""
    known: Known


class Card(_Frozen):
    """A benchmark's card.

    Attributes:
        name: in the registry.
        title: as people call it.
        paper: title, venue, arXiv number; empty for what is no publication.
        licence: of the pictures, "not stated", or "unverified" with what was seen.
        where: to get it.
        label_rule: which folder, file or column says what a picture is. By name, never by alphabetical order: ``ai`` comes before ``nature``,
            and ``0_real`` before ``1_fake``.
        sizes: of its sets; empty where the user's data say which there are.
        layout_known: how surely the layouts are known.
        test: convention of publications.
        training: what publications train on before they test on it.
        real_sources: where the real pictures come from, and how surely that is known.
        notes: what else one must know before quoting a figure.
        called: names in the registry of other benchmarks as which some publications quote figures on this one.
        means: further sets of sets over which publications average, by name.
        beside: glob patterns of published files that are no pictures of it.
    """

    name: str
    title: str
    paper: str
    licence: str
    where: str
    label_rule: str
    sizes: tuple[Size, ...] = ()
    layout_known: Known
    test: Convention
    training: str
    real_sources: str
    notes: str = ""
    called: tuple[str, ...] = ()
    means: dict[str, tuple[str, ...]] = {}
    beside: tuple[str, ...] = ()

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of the sets that the protocol tests on, in the card's order; those that only some publications include are among them."""
        return tuple(dict.fromkeys(size.set for size in self.sizes if size.split == "test"))
