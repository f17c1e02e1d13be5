"""``realgrain bench``: benchmarks, from looking the data over to figures that others can repeat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from realgrain.picture.errors import printable

if TYPE_CHECKING:
    from rich.table import Table

    from realgrain.measuring.benchmarks.check import Findings

SHOWN = 20  # files of a kind that a table names; --json names all

bench_app = App(name="bench", help="Benchmarks: what there is, and whether the data are whole.")
Name = Annotated[str, Parameter(help="Of `realgrain bench list`.")]
Root = Annotated[Path, Parameter(help="Folder of the benchmark; for csv and webdataset also a file, for huggingface also hub:OWNER/NAME.")]


@bench_app.command(name="list")
def list_benchmarks(*, json: Annotated[bool, Parameter(negative="", help="Print every card, whole, as JSON.")] = False) -> int:
    """List the benchmarks that can be read, with what is known of each."""
    from realgrain.measuring.benchmarks import NAMES, benchmark

    cards = [benchmark(name).card for name in NAMES]
    if json:
        from pydantic_core import to_json

        print(to_json(cards, indent=2).decode())
        return 0
    from rich.table import Table

    from realgrain.faces import show

    table = Table("name", "what", "sets", "licence", "where")
    for card in cards:
        table.add_row(card.name, card.title, str(len(card.sets) or "any"), card.licence, card.where)
    show.console().print(table)
    return 0


@bench_app.command
def check(
    name: Name,
    root: Root,
    *,
    quick: Annotated[bool, Parameter(negative="", help="Look at names and sizes only; open no picture.")] = False,
    json: Annotated[bool, Parameter(negative="", help="Print the findings as JSON.")] = False,
) -> int:
    """Say what is missing, broken or extra in a benchmark's folder. Exits with 1 when something is missing or broken."""
    from realgrain.faces import show
    from realgrain.measuring.benchmarks import benchmark
    from realgrain.measuring.benchmarks.check import check as look

    found = look(root, benchmark(name), quick=quick, watch=lambda answers, total: show.progress(answers, total, "checking"))
    if json:
        print(found.model_dump_json(indent=2))
    else:
        console = show.console()
        console.print(_counts(found))
        console.print("\n".join(_lines(found)), markup=False, highlight=False)
    return 0 if found.ok else 1


def _counts(found: Findings) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        "set", "split", "real", "published", "fake", "published", "published numbers are", title=f"{found.benchmark}: {found.pictures} pictures"
    )
    for count in found.counts:
        numbers = ["?" if number is None else str(number) for number in (count.real, count.published_real, count.fake, count.published_fake)]
        table.add_row(escape(printable(count.set)) or "-", escape(printable(count.split)), *numbers, count.known)
    return table


def _lines(found: Findings) -> list[str]:
    lines = [f"missing: {printable(what)}" for what in found.missing]
    lines += [f"broken: {printable(broken.path)}: {broken.reason}" for broken in found.broken[:SHOWN]]
    lines += [f"extra: {path}" for path in found.extra[:SHOWN]]
    for what, files in (("broken", found.broken), ("extra", found.extra)):
        if len(files) > SHOWN:
            lines.append(f"{what}: and {len(files) - SHOWN} more; --json names all")
    how = "every picture was opened" if found.opened else "no picture was opened"
    return [*lines, f"{'nothing is missing or broken' if found.ok else 'not whole'}; {how}"]
