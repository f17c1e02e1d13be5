"""``realgrain bench``: benchmarks that anyone can repeat, check and compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from realgrain.faces.options import DONE, SOME_FAILED, Bundle, Json, Offline, Runtime, Threads, publish, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realgrain.learning.data import Sample

bench_app = App(name="bench", help="Benchmarks: runs that repeat, their verification and comparison, the ledger of results.")
Root = Annotated[Path, Parameter(help="Folder of the benchmark's pictures; for csv, the manifest.")]
RunFolder = Annotated[Path, Parameter(help="Folder that `bench run` wrote.")]
Seed = Annotated[int, Parameter(help="Of everything that is drawn.")]
Resamples = Annotated[int, Parameter(help="Of the bootstrap behind each interval.")]


@bench_app.command
def run(
    name: Annotated[str, Parameter(help="Benchmark: csv, for any manifest with path,label,generator,source,split.")],
    root: Root,
    *,
    output: Annotated[Path, Parameter(alias="-o", help="Folder of the run. A run that was killed goes on where it stopped.")],
    conditions: Annotated[tuple[str, ...], Parameter(consume_multiple=True, help="Delivery conditions, such as clean web hard.")] = ("clean",),
    split: Annotated[str, Parameter(help="Only pictures of this split.")] = "",
    limit: Annotated[int | None, Parameter(help="Pictures of each set, label and source at most: for a first look.")] = None,
    seed: Seed = 0,
    resamples: Resamples = 1000,
    bundle: Bundle = None,
    runtime: Runtime = "onnxruntime",
    threads: Threads = None,
    offline: Offline = False,
) -> int:
    """Score and measure a benchmark into one folder: lock file, manifest with the sha256 of every picture, scores, metrics."""
    from realgrain.detector.detect import load
    from realgrain.faces import show
    from realgrain.measuring import running
    from realgrain.measuring.lock import Protocol
    from realgrain.measuring.tables import render

    protocol = Protocol(conditions=conditions, split=split, limit=limit, seed=seed, resamples=resamples)
    samples = _samples(name, root)
    detector = load(bundle, runtime=runtime, offline=offline, threads=threads)
    found = running.run(output, detector, samples, name, protocol, watch=show.progress)
    for error in found.errors:
        say(error)
    show.console().print(render(found.evaluation))
    say(f"{output}: {found.lock.manifest.pictures} pictures in {len(conditions)} conditions, {len(found.errors)} pictures failed")
    return SOME_FAILED if found.errors else DONE


@bench_app.command
def verify(
    run: RunFolder,
    root: Root,
    *,
    share: Annotated[float | None, Parameter(help="Of the pictures to score again, 0 to 1; without it, --count of them.")] = None,
    count: Annotated[int, Parameter(help="Pictures to score again.")] = 64,
    seed: Seed = 0,
    bundle: Bundle = None,
    threads: Threads = None,
    offline: Offline = False,
    json: Json = False,
) -> int:
    """Check a run: hash every picture, compute every figure again, score some pictures again. Exit code 1 where something is wrong."""
    from realgrain.detector.detect import load
    from realgrain.faces import show
    from realgrain.measuring import verifying
    from realgrain.measuring.lock import read_lock
    from realgrain.measuring.run_tables import checks

    lock = read_lock(run)
    samples = _samples(lock.benchmark, root)
    detector = load(bundle, runtime=lock.runtime.name, offline=offline, threads=threads)
    found = verifying.verify(run, detector, samples, share=share, count=count, seed=seed, watch=show.progress)
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
    """Compare two runs on the pictures that both scored: paired bootstrap, DeLong's test of AUC, McNemar's test of decisions."""
    from realgrain.measuring.lock import LOCK
    from realgrain.measuring.pairing import compare_runs
    from realgrain.measuring.run_tables import pairs

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


def _samples(name: str, root: Path) -> Sequence[Sample]:
    """Labelled pictures of a benchmark.

    Raises:
        ValueError: no such benchmark, or not its pictures.
    """
    from realgrain.learning.data import read_manifest

    benchmarks = {"csv": read_manifest}  # name -> samples(root): the registry of benchmarks goes here
    if name not in benchmarks:
        raise ValueError(f"no benchmark {name!r}; there are {', '.join(benchmarks)}")
    return benchmarks[name](root)
