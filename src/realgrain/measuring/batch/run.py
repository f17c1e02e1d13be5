"""A run over many pictures: a folder in which finished work stays finished, whatever ends the process.

``run.json`` what its rows depend on; ``listing.sqlite`` its items, fixed when it began; ``shard-00000.parquet`` and so on, in the order of items'
names; ``errors.jsonl``, which appears when all is done, the bad files. Shards of a run that was killed are, byte for byte, those of one that was not.
"""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from realgrain.measuring.alone import RunError, alone
from realgrain.measuring.batch import engine as engines
from realgrain.measuring.batch.listing import LISTING, Listing, ListingRef, write_listing
from realgrain.measuring.batch.outcomes import SCHEMA
from realgrain.measuring.batch.pins import RUN, Pins, Scoring, Settings, read_pins
from realgrain.measuring.batch.shards import LEDGER, Shards, write_ledger
from realgrain.measuring.batch.sources import Wanted, items
from realgrain.measuring.batch.worker import Plan, opened
from realgrain.measuring.lock import differences
from realgrain.measuring.whole import write_whole

NAMED = 5  # strange files that a refusal names
AT_ONCE = 16  # shards that an engine is given together, or PER_PROCESSOR for each of its processors where that is more
PER_PROCESSOR = 4
Watch = Callable[[Iterable[Any], int, str], Iterable[Any]]
"""Passes items through and shows how far they are: items, how many there will be, what is being done."""


@dataclass(frozen=True)
class Means:
    """How a run is carried out: no row depends on it, and it may change from one start to the next.

    Attributes:
        bundle: folder of the detector; None: the one that realgrain ships.
        engine: one of ``engine.ENGINES``.
        address: of a Ray cluster; None: one of this process's own.
        threads: processors for each worker; None: all that it has.
        offline: never touch the network for the base.
        known: folder for outcomes by content, on each worker's machine; None: none are kept.
        device: of each worker, by ``realgrain.detector.devices.chosen``.
    """

    bundle: str | None = None
    engine: str = "embedded"
    address: str | None = None
    threads: int | None = None
    offline: bool = False
    known: str | None = None
    device: str = "cpu"

    def plan(self, scoring: Scoring) -> Plan:
        """The part of it that workers need."""
        return Plan(self.bundle, scoring.model_dump_json(), self.threads, self.offline, self.known, self.device)


@dataclass(frozen=True)
class Done:
    """A finished run: its items, how many were judged by this start of it, bad files, verdicts by label."""

    folder: Path
    items: int
    judged: int
    failed: int
    labels: Counter[str]


@dataclass(frozen=True)
class Outlook:
    """What a run would do.

    Attributes:
        items: of the whole run.
        shards: of the whole run.
        finished: shards that are done.
        left: items that are not.
        seconds: how long they take, by the pace of the shards that are done; None where fewer than two are, or nothing is left.
    """

    items: int
    shards: int
    finished: int
    left: int
    seconds: float | None


def unwatched(items: Iterable[Any], total: int, doing: str) -> Iterable[Any]:  # noqa: ARG001
    """A ``Watch`` that shows nothing."""
    return items


def run(folder: Path, settings: Settings, scoring: Scoring, means: Means, *, watch: Watch = unwatched) -> Done:
    """Judge all items of the sources, or go on where a killed run stopped.

    Args:
        folder: of this run alone; made where it is missing.
        settings: which items, cut how.
        scoring: which detector, asked what, as ``pins.scoring`` says of it.
        means: who does it.
        watch: shows progress.

    Raises:
        RunError: the folder holds another run (the message says what differs), another process is at work in it, or the engine has failed.
        SourceError: a source leads nowhere.
        OSError: a shard cannot be written, such as on a full disk; what is done stays done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        before, plan = _before(folder, settings, scoring), means.plan(scoring)
        if means.engine == "embedded":
            opened(plan)  # what is wrong with the detector is said here, and plainly
        group = max(AT_ONCE, PER_PROCESSOR * engines.start(means.engine, means.address))  # before anything is listed, which Daft does too
        shards = _shards(folder, before or _begun(folder, settings, scoring))
        todo = _todo(shards)
        left = sum(map(len, todo.values()))
        rows = _work(shards, Listing(folder / LISTING), todo, group, plan, scoring)
        for _ in watch(rows, left, "judging"):
            pass
        failed, labels = write_ledger(shards)
    return Done(folder, shards.items, left, failed, labels)


def outlook(folder: Path, settings: Settings, scoring: Scoring) -> Outlook:
    """What ``run`` would do; nothing is written into the folder, and no picture is read.

    Raises:
        RunError: as ``run``.
        SourceError: as ``run``.
    """
    before = _before(folder, settings, scoring)
    if before is None:
        with tempfile.TemporaryDirectory() as scratch:
            ref = _list(Path(scratch), settings)
        before = Pins.of(settings, scoring, ref)
    shards = _shards(folder, before)
    todo = _todo(shards)
    done, left = [number for number in range(shards.count) if number not in todo], sum(map(len, todo.values()))
    return Outlook(shards.items, shards.count, len(done), left, _seconds(shards, done, left))


def _seconds(shards: Shards, done: Sequence[int], left: int) -> float | None:
    """By the times at which finished shards were written; a pause between two starts counts as work, so this may say too much, hardly too little."""
    if len(done) < 2 or not left:
        return None
    times = sorted((shards.file(number).stat().st_mtime, shards.rows(number)) for number in done)
    rows = sum(count for _, count in times[1:])
    return (times[-1][0] - times[0][0]) / rows * left


def _begun(folder: Path, settings: Settings, scoring: Scoring) -> Pins:
    pins = Pins.of(settings, scoring, _list(folder, settings))
    write_whole(folder / RUN, pins.content())
    return pins


def _list(folder: Path, settings: Settings) -> ListingRef:
    wanted = Wanted(settings.allow_urls, settings.column)
    try:
        return write_listing(folder / LISTING, items(settings.sources, wanted), settings.limit)
    except sqlite3.Error as error:  # a full disk is one of them
        raise OSError(f"{folder / LISTING}: {error}") from error


def _before(folder: Path, settings: Settings, scoring: Scoring) -> Pins | None:
    """The pins of what was begun in a folder, if it is what is asked for now."""
    before = read_pins(folder)
    if before is None:
        strange = sorted(path.name for path in folder.iterdir() if path.name != LISTING and not path.name.startswith(".")) if folder.is_dir() else []
        if strange:
            raise RunError(f"{folder}: holds {', '.join(strange[:NAMED])} but no {RUN}: not the folder of a run; take an empty one")
        return None
    now = Pins.of(settings, scoring, before.listing)
    if now != before:
        raise RunError(f"{folder}: holds another run than the one asked for: {'; '.join(differences(before, now))}. Take another folder")
    if Listing(folder / LISTING).ref() != before.listing:
        raise RunError(f"{folder / LISTING}: gone, or not that of {RUN}: the run cannot go on; take another folder")
    return before


def _shards(folder: Path, pins: Pins) -> Shards:
    return Shards(folder, pins.listing.items, pins.settings.shard, hashlib.sha256(pins.content()).hexdigest())


def _todo(shards: Shards) -> dict[int, Sequence[int]]:
    """Shard -> positions of its rows that are to be judged, of those that have any."""
    left = {number: shards.left(number) for number in range(shards.count)}
    return {number: positions for number, positions in left.items() if positions}


def _work(shards: Shards, listing: Listing, todo: Mapping[int, Sequence[int]], group: int, plan: Plan, scoring: Scoring) -> Iterator[None]:
    """Do what is to do, some shards at a time; gives a sign for each item that is judged."""
    numbers = list(todo)
    for start in range(0, len(numbers), group):
        tables = {
            number: engines.as_table(number, listing.part(number * shards.size, shards.rows(number))).take(list(todo[number]))
            for number in numbers[start : start + group]
        }
        waiting: dict[int, list[pa.Table]] = defaultdict(list)
        with closing(engines.scored(plan, list(tables.values()))) as batches:
            for batch in batches:
                found = pa.table(batch)
                for number in found["shard"].unique().to_pylist():
                    waiting[number].append(found.filter(pc.field("shard") == number))
                    if sum(part.num_rows for part in waiting[number]) >= len(todo[number]):
                        shards.write(number, _whole(tables.pop(number), waiting.pop(number), scoring))
                yield from [None] * found.num_rows
        if tables:
            raise RunError(f"the engine has left out items of {len(tables)} shards; the same command goes on with them")


def _whole(asked: pa.Table, parts: list[pa.Table], scoring: Scoring) -> pa.Table:
    """Rows of a shard in the order of its items.

    Raises:
        RunError: an item is missing or there twice.
    """
    found = pa.concat_tables(parts).sort_by("position")
    if found["position"].to_pylist() != asked["position"].to_pylist():
        raise RunError("the engine has given an item twice, or left one out")
    constant = {"bundle": scoring.bundle.hash, "runtime": f"{scoring.runtime} {scoring.precision}"}
    columns = {"uri": asked["uri"], **{name: pa.array([value] * len(found), pa.string()) for name, value in constant.items()}}
    return pa.table({name: columns[name] if name in columns else found[name] for name in SCHEMA.names})


def ledger_of(folder: Path) -> Path:
    """Where a finished run names its bad files."""
    return folder / LEDGER
