"""The command ``batch``. The command line loads it when it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from realgrain.faces.options import DONE, SOME_FAILED, Bundle, Offline, Runtime, Threads, say


def batch(
    *sources: Annotated[
        str,
        Parameter(
            help="Folders, globs, pictures, CSV files with a column path, .txt files with a name a line, .tar and .parquet files; the same "
            "but for lists in s3://, gs:// and az://; URLs."
        ),
    ],
    output: Annotated[Path, Parameter(alias="-o", help="Folder of the run. A run that was killed goes on where it stopped.")],
    limit: Annotated[int | None, Parameter(help="Pictures at most: a sample, the same one each time.", validator=Number(gte=1))] = None,
    shard: Annotated[int, Parameter(help="Pictures in a parquet file.", validator=Number(gte=1, lte=100_000))] = 512,
    column: Annotated[str | None, Parameter(help="Of parquet files: holds the bytes of pictures.")] = None,
    allow_urls: Annotated[bool, Parameter(negative="", help="Fetch what is named by http:// and https://.")] = False,
    dry_run: Annotated[bool, Parameter(negative="", help="Say what would be done, and do nothing.")] = False,
    engine: Annotated[Literal["embedded", "ray"], Parameter(help="This machine alone, or a Ray cluster.")] = "embedded",
    address: Annotated[str | None, Parameter(help="Of the Ray cluster; without it, one of this machine's own.")] = None,
    bundle: Bundle = None,
    runtime: Runtime = "onnxruntime",
    profile: Annotated[str | None, Parameter(help="Where the pictures come from, as for `detect`.")] = None,
    max_fpr: Annotated[float | None, Parameter(help="Share of real pictures that may be flagged at most, such as 0.01.")] = None,
    stability: Annotated[
        bool, Parameter(help="See whether a verdict survives a re-save, at the cost of six more pictures for each.", negative="--no-stability")
    ] = True,
    cache: Annotated[
        bool, Parameter(help="Keep what is found by content, so that a picture is judged once, in this run and in later ones.", negative="--no-cache")
    ] = True,
    devices: Annotated[
        str,
        Parameter(
            help="auto, cpu, cuda, cuda:N, tensorrt, tensorrt:N. With Ray each worker must have what is named, and auto is cpu. Only cpu is measured."
        ),
    ] = "auto",
    threads: Threads = None,
    offline: Offline = False,
) -> int:
    """Judge pictures without end into parquet files, on one machine or many; a run that was killed goes on, with nothing lost and nothing twice."""
    from realgrain.detector.bundle import read_bundle
    from realgrain.detector.decision import decision_of, unmet
    from realgrain.detector.devices import CPU, here
    from realgrain.detector.weights import home
    from realgrain.faces import show
    from realgrain.measuring.batch import pins, run

    if not sources:
        raise ValueError("no sources: give folders, globs, lists, packed files or URLs")
    if address is not None and engine != "ray":
        raise ValueError("--address is of a Ray cluster: --engine ray")
    detector = read_bundle(bundle)
    asked = pins.Asked(profile=profile, max_fpr=max_fpr, stability=stability)
    if short := unmet(asked.policy, decision_of(detector, asked.policy)):
        say(short)
    settings = pins.Settings(sources=sources, allow_urls=allow_urls, column=column, limit=limit, shard=shard)
    device = here(devices, runtime) if engine == "embedded" else CPU if devices == "auto" else devices
    scoring = pins.scoring(detector, runtime, asked, device.partition(":")[0])
    if dry_run:
        found = run.outlook(output, settings, scoring)
        pace = "" if found.seconds is None else f", {_duration(found.seconds)} at the pace of those that are done"
        print(f"{found.items} pictures in {found.shards} shards, {found.finished} of them done; {found.left} pictures to judge{pace}")
        return DONE
    known = str(home() / "outcomes") if cache else None
    means = run.Means(None if bundle is None else str(detector.folder.absolute()), engine, address, threads, offline, known, device)
    done = run.run(output, settings, scoring, means, watch=show.progress)
    labels = ", ".join(f"{done.labels[label]} {show.WORDS[label]}" for label in show.WORDS)
    say(f"{output}: {done.items} pictures, {done.judged} of them judged now: {labels}, {done.failed} failed")
    if done.failed:
        say(f"{run.ledger_of(output)} names those that failed, with reasons")
    return SOME_FAILED if done.failed else DONE


def _duration(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"about {minutes} min" if minutes < 120 else f"about {minutes / 60:.0f} h"
