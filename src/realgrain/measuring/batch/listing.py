"""The items of a run in a fixed order, each once, on disk: memory does not grow with their number."""

from __future__ import annotations

import hashlib
import heapq
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from realgrain.measuring.batch.items import Item
from realgrain.measuring.whole import whole

LISTING = "listing.sqlite"
FIELDS = "uri, source, start, size, row, column_, error"  # of ``Item``; where, column: words of SQL


class ListingRef(BaseModel):
    """Which items: their number, and the sha256 of their list."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    items: int
    sha256: str


def write_listing(file: Path, items: Iterable[Item], limit: int | None = None) -> ListingRef:
    """Sort items by name, leave out those that come twice, and write them down whole or not at all.

    Args:
        file: to write.
        items: in any order; drawn once.
        limit: keep so many, those whose sha256 comes first: a sample that neither the order of listing nor the folder they lie in can change.
            None: all.
    """
    if limit is not None:
        items = _sample(items, limit)
    unsorted = file.with_name(f".{file.name}.unsorted")
    unsorted.unlink(missing_ok=True)
    try:
        with _database(unsorted) as raw, whole(file) as scratch:
            _insert(raw, items)
            scratch.unlink(missing_ok=True)
            with _database(scratch) as final:
                return _ordered(raw, final)
    finally:
        unsorted.unlink(missing_ok=True)


def _sample(items: Iterable[Item], limit: int) -> list[Item]:
    """Items that come twice must not push others out, and a heap of ``limit`` cannot know them all: those that share a rank are the same one."""
    kept: dict[bytes, Item] = {}
    ranks: list[tuple[int, bytes]] = []  # largest digest first
    for item in items:
        digest = _digest(item)
        key = (-int.from_bytes(digest), digest)
        if digest in kept or (len(ranks) == limit and key <= ranks[0]):
            continue
        kept[digest] = item
        heapq.heappush(ranks, key)
        if len(ranks) > limit:
            del kept[heapq.heappop(ranks)[1]]
    return list(kept.values())


def _digest(item: Item) -> bytes:
    """Of all that tells an item from others, and first of what stays the same where its folder is moved."""
    return b"".join(hashlib.sha256(part).digest() for part in (json.dumps([item.uri, item.start, item.row]).encode(), item.where))


@contextmanager
def _database(file: Path) -> Iterator[sqlite3.Connection]:
    """A scratch database: a kill may spoil it, for it is not yet in its place."""
    with closing(sqlite3.connect(file, isolation_level=None)) as found:
        found.execute("PRAGMA journal_mode = OFF")
        found.execute("PRAGMA synchronous = OFF")
        found.execute(f"CREATE TABLE items (number INTEGER PRIMARY KEY, {FIELDS})")
        found.execute("BEGIN")
        yield found
        found.execute("COMMIT")


def _insert(database: sqlite3.Connection, items: Iterable[Item]) -> None:
    database.executemany(f"INSERT INTO items ({FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?)", map(astuple, items))


def _ordered(raw: sqlite3.Connection, final: sqlite3.Connection) -> ListingRef:
    digest, count, last = hashlib.sha256(), 0, None

    def each() -> Iterator[tuple[object, ...]]:
        nonlocal count, last
        for row in raw.execute(f"SELECT {FIELDS} FROM items ORDER BY uri, source, start, number"):
            name = (row[0], row[1], row[2], row[4])
            if name != last:
                digest.update(json.dumps([*row[:1], row[1].hex(), *row[2:]]).encode() + b"\n")
                count, last = count + 1, name
                yield row

    final.executemany(f"INSERT INTO items ({FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?)", each())
    found = ListingRef(items=count, sha256=digest.hexdigest())
    final.execute("CREATE TABLE ref (content TEXT)")
    final.execute("INSERT INTO ref VALUES (?)", (found.model_dump_json(),))
    return found


class Listing:
    """A listing that was written."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def ref(self) -> ListingRef | None:
        """What it says of itself; None where there is none."""
        if not self._file.is_file():
            return None
        try:
            with closing(sqlite3.connect(f"{self._file.absolute().as_uri()}?mode=ro", uri=True)) as database:
                return ListingRef.model_validate_json(database.execute("SELECT content FROM ref").fetchone()[0])
        except (sqlite3.Error, TypeError, ValueError):
            return None

    def part(self, start: int, count: int) -> list[Item]:
        """So many items from a number on, counted from 0."""
        with closing(sqlite3.connect(f"{self._file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            found = database.execute(f"SELECT {FIELDS} FROM items WHERE number > ? AND number <= ? ORDER BY number", (start, start + count))
            return [Item(*row) for row in found]
