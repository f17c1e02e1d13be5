"""``realgrain bench``: benchmarks, from looking the data over to figures that others can repeat, check and compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from realgrain.faces.options import DONE, SOME_FAILED, Bundle, Json, Offline, Resamples, Runtime, Threads, publish, say, spare
from realgrain.picture.errors import printable

if TYPE_CHECKING:
    from rich.table import Table

    from realgrain.measuring.benchmarks import Benchmark
    from realgrain.measuring.benchmarks.check import Findings

TEST = "test"  # the split that a benchmark's protocol tests on, whatever its folder is called
ROWS = 256  # of scores in a part of a run, and in a row group of its table: some thousand files while a million are scored
SHOWN = 20  # files of a kind that a table names; --json names all

bench_app = App(name="bench", help="Benchmarks: what there is, whether the data are whole, runs that repeat, the ledger of results.")
Name = Annotated[str, Parameter(help="Of `realgrain bench list`.")]
Root = Annotated[Path, Parameter(help="Folder of the benchmark; for csv and webdataset also a file, for huggingface also hub:OWNER/NAME.")]
RunFolder = Annotated[Path, Parameter(help="Folder that `bench run` wrote.")]
Seed = Annotated[int, Parameter(help="Of everything that is drawn.", validator=Number(gte=0))]


def _there(name: str, root: Path, *, offline: bool) -> Benchmark:
    """A benchmark by its name, and, offline, a root that is on this machine."""
    from realgrain.measuring.benchmarks import benchmark
    from realgrain.measuring.benchmarks.huggingface import HUB

    if offline and str(root).startswith(HUB):
        raise ValueError(f"{root}: is on the hub, and this is offline")
    return benchmark(name)


@bench_app.command(name="list")
def list_benchmarks(*, json: Annotated[bool, Parameter(negative="", help="Print every card, whole, as JSON.")] = False) -> int:
    """List the benchmarks that can be read, with what is known of each."""
    from realgrain.measuring.benchmarks import NAMES, benchmark

    cards = [benchmark(name).card for name in NAMES]
    if json:
        from pydantic_core import to_json

        print(to_json(cards, indent=2).decode())
        return DONE
    from rich.table import Table

    from realgrain.faces import show

    table = Table("name", "what", "sets", "licence", "where")
    for card in cards:
        table.add_row(card.name, card.title, str(len(card.sets) or "any"), card.licence, card.where)
    show.console().print(table)
    return DONE


@bench_app.command
def check(
    name: Name,
    root: Root,
    *,
    quick: Annotated[bool, Parameter(negative="", help="Look at names and sizes only; open no picture.")] = False,
    offline: Offline = False,
    json: Json = False,
) -> int:
    """Say what is missing, short, broken or extra in a benchmark's folder. Exits with 1 unless all that was surely published is there and opens."""
    from realgrain.faces import show
    from realgrain.measuring.benchmarks.check import check as look

    found = look(root, _there(name, root, offline=offline), quick=quick, watch=lambda answers, total: show.progress(answers, total, "checking"))
    if json:
        print(found.model_dump_json(indent=2))
    else:
        console = show.console()
        console.print(_counts(found))
        console.print("\n".join(_lines(found)), markup=False, highlight=False)
    return DONE if found.ok else SOME_FAILED


@bench_app.command
def manifest(
    name: Name,
    root: Root,
    *,
    output: Annotated[Path, Parameter(alias="-o", help="CSV file to write, in a folder that holds all the pictures.")],
    setting: Annotated[Literal[1, 2] | None, Parameter(help="Of aigibench: only the pictures that this setting trains on.")] = None,
    offline: Offline = False,
) -> int:
    """Write a benchmark's pictures as a manifest (path, label, generator, source, split, group if told), to train on or to edit. Opens no picture."""
    from realgrain.measuring.benchmarks import aigibench
    from realgrain.measuring.benchmarks.manifest import write_manifest

    if setting and name != aigibench.CARD.name:
        raise ValueError(f"--setting is of {aigibench.CARD.name}, not of {name}")
    samples = _there(name, root, offline=offline).samples(root)
    pictures = write_manifest(aigibench.training(samples, "I" * setting) if setting else samples, output)
    say(f"{output}: {pictures} pictures")
    return DONE


@bench_app.command
def run(
    name: Name,
    root: Root,
    *,
    output: Annotated[Path, Parameter(alias="-o", help="Folder of the run. A run that was killed goes on where it stopped.")],
    conditions: Annotated[
        tuple[str, ...], Parameter(consume_multiple=True, help="Delivery conditions, or groups of them: such as clean web hard, or grid.")
    ] = ("clean",),
    split: Annotated[str | None, Parameter(help="Only pictures of this split, '' for all; without it test, where there is one.")] = None,
    limit: Annotated[int | None, Parameter(help="Pictures of each set, label and source at most: for a first look.", validator=Number(gte=1))] = None,
    seed: Seed = 0,
    resamples: Resamples = 1000,
    clusters: Annotated[
        str | None,
        Parameter(help="Column of pictures that belong together, such as source, for the intervals; '' for none, without it group, if there."),
    ] = None,
    bundle: Bundle = None,
    runtime: Runtime = "onnxruntime",
    threads: Threads = None,
    offline: Offline = False,
) -> int:
    """Score and measure a benchmark into one folder: lock file, manifest with the sha256 of every picture, scores, metrics, audit of the pictures."""
    from realgrain.detector.detect import load
    from realgrain.faces import show
    from realgrain.measuring import audit_tables, peer_tables, peers, running
    from realgrain.measuring.benchmarks.csv import manifest_of
    from realgrain.measuring.lock import Protocol
    from realgrain.measuring.resampling import clusters_by
    from realgrain.measuring.run_audit import AUDIT, audit_run
    from realgrain.measuring.tables import render
    from realgrain.picture.conditions import expand

    samples = _there(name, root, offline=offline).samples(root)
    if split is None:
        split = TEST if any(sample.split == TEST for sample in samples) else ""
    clusters = clusters_by(clusters, {name for sample in samples if split in {"", sample.split} for name in sample.model_extra or ()})
    names = expand(conditions)
    part = max(1, ROWS // len(names))
    protocol = Protocol(conditions=names, split=split, limit=limit, seed=seed, resamples=resamples, clusters=clusters, part=part)
    detector = load(bundle, runtime=runtime, offline=offline, threads=threads, many=True)
    found = running.run(output, detector, samples, name, protocol, manifest=manifest_of(root), watch=show.progress, tell=say)
    for error in found.errors:
        say(error)
    console = show.console()
    console.print(render(found.evaluation))
    beside = peers.peers(found.lock, found.evaluation)
    if beside:
        console.print(peer_tables.as_tables(beside))
    audited = audit_run(output, found.lock, samples)
    console.print(f"Audit of the pictures, in full in {output / AUDIT}:", markup=False, highlight=False)
    console.print(audit_tables.render(audited))
    say(f"{output}: {found.lock.manifest.pictures} pictures in {len(protocol.conditions)} conditions, {len(found.errors)} pictures failed")
    return SOME_FAILED if found.errors else DONE


@bench_app.command
def verify(
    run: RunFolder,
    root: Root,
    *,
    share: Annotated[float | None, Parameter(help="Of the pictures to score again, 0 to 1; without it, --count of them.")] = None,
    count: Annotated[int, Parameter(help="Pictures to score again.", validator=Number(gte=0))] = 64,
    seed: Annotated[
        int | None, Parameter(help="Of the draw of these; without it, a new one, so that nobody can know it beforehand.", validator=Number(gte=0))
    ] = None,
    bundle: Bundle = None,
    threads: Threads = None,
    offline: Offline = False,
    json: Json = False,
) -> int:
    """Check a run: hash every picture, compute every figure and the audit again, score some pictures again. Exit code 1 where something is wrong."""
    from realgrain.detector.detect import load
    from realgrain.faces import show
    from realgrain.measuring import verifying
    from realgrain.measuring.benchmarks.csv import manifest_of
    from realgrain.measuring.lock import read_lock
    from realgrain.measuring.run_tables import checks

    lock = read_lock(run)
    samples = _there(lock.benchmark, root, offline=offline).samples(root)
    detector = load(bundle, runtime=lock.runtime.name, offline=offline, threads=threads, many=True)
    manifest = manifest_of(root)
    found = verifying.verify(run, detector, samples, manifest=manifest, share=share, count=count, seed=seed, watch=show.progress)
    publish(found, checks(found), None, [], json)
    return DONE if found.ok else SOME_FAILED


@bench_app.command
def compare(
    a: RunFolder,
    b: RunFolder,
    *,
    seed: Seed = 0,
    resamples: Resamples = 1000,
    output: Annotated[Path | None, Parameter(alias="-o", help="JSON file to write as well.")] = None,
    json: Json = False,
) -> int:
    """Compare two runs on the pictures that both scored: paired bootstrap, of means over sets too, DeLong's test of AUC, a sign test of decisions."""
    from realgrain.measuring.lock import LOCK
    from realgrain.measuring.pairing import compare_runs
    from realgrain.measuring.run_tables import pairs

    spare([file for folder in (a, b) for file in folder.glob("*")], output)
    found = compare_runs(a, b, resamples=resamples, seed=seed)
    publish(found, pairs(found), output, [a / LOCK, b / LOCK], json)
    return DONE


@bench_app.command
def ledger(
    folder: Annotated[Path, Parameter(help="Results and folders of runs, at any depth.")] = Path("results"),
    *,
    markdown: Annotated[bool, Parameter(negative="", help="Print a Markdown table.")] = False,
    json: Json = False,
) -> int:
    """Show all results as one table: benchmark, detector, condition, pictures, figures, and the command that makes them again."""
    from realgrain.measuring.overview import as_markdown, overview
    from realgrain.measuring.run_tables import lines

    found = overview(folder)
    if markdown and not json:
        print(as_markdown(found), end="")
    else:
        publish(found, lines(found), None, [], json)
    if found.other:
        say(f"{folder}: figures of another kind in {', '.join(found.other)}")
    return DONE


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
    lines += [f"short: {what}" for what in found.short]
    lines += [f"remark: {what}" for what in found.remarks]
    lines += [f"broken: {printable(broken.path)}: {broken.reason}" for broken in found.broken[:SHOWN]]
    lines += [f"extra: {path}" for path in found.extra[:SHOWN]]
    for what, files in (("broken", found.broken), ("extra", found.extra)):
        if len(files) > SHOWN:
            lines.append(f"{what}: and {len(files) - SHOWN} more; --json names all")
    how = "every picture was opened" if found.opened else "no picture was opened"
    whole = "nothing is broken or surely missing" if found.remarks else "nothing is missing or broken"
    return [*lines, f"{whole if found.ok else 'not whole'}; {how}"]
