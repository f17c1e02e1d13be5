"""The items of a run in a fixed order, each once, on disk: memory does not grow with their number."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from realgrain.measuring.batch.items import Item
from realgrain.measuring.whole import whole

LISTING = "listing.sqlite"
FIELDS = "uri, source, start, size, row, column_, state, error"  # of ``Item``; where, column: words of SQL
TABLE = f"CREATE TABLE {{}} (number INTEGER PRIMARY KEY, {FIELDS})"
INSERT = f"INSERT INTO {{}} ({FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


class ListingRef(BaseModel):
    """Which items: their number, and the sha256 of their list."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    items: int
    sha256: str


def write_listing(file: Path, items: Iterable[Item], limit: int | None = None) -> ListingRef:
    """Sort items by name, leave out those that come twice, tell apart those of one name, and write them down whole or not at all.

    Args:
        file: to write.
        items: in any order; drawn once.
        limit: keep so many, those whose sha256 comes first: a sample that neither the order of listing nor the folder they lie in can change.
            None: all.
    """
    unsorted = file.with_name(f".{file.name}.unsorted")
    unsorted.unlink(missing_ok=True)
    try:
        with _database(unsorted) as raw, whole(file) as scratch:
            _insert(raw, items)
            scratch.unlink(missing_ok=True)
            with _database(scratch) as final:
                return _ordered(raw, final, limit)
    finally:
        unsorted.unlink(missing_ok=True)


def _digest(uri: str, source: bytes, start: int | None, row: int | None) -> bytes:
    """Of all that tells an item from others, and first of what stays the same where its folder is moved."""
    return b"".join(hashlib.sha256(part).digest() for part in (json.dumps([uri, start, row]).encode(), source))


@contextmanager
def _database(file: Path) -> Iterator[sqlite3.Connection]:
    """A scratch database: a kill may spoil it, for it is not yet in its place."""
    with closing(sqlite3.connect(file, isolation_level=None)) as found:
        found.execute("PRAGMA journal_mode = OFF")
        found.execute("PRAGMA synchronous = OFF")
        found.execute(TABLE.format("items"))
        found.execute("BEGIN")
        yield found
        found.execute("COMMIT")


def _insert(database: sqlite3.Connection, items: Iterable[Item]) -> None:
    database.executemany(INSERT.format("items"), map(astuple, items))


def _ordered(raw: sqlite3.Connection, final: sqlite3.Connection, limit: int | None) -> ListingRef:
    digest, count = hashlib.sha256(), 0
    rows = _named_apart(raw.execute(f"SELECT {FIELDS} FROM items ORDER BY uri, source, start, number"))

    def each() -> Iterator[tuple[Any, ...]]:
        nonlocal count
        for row in rows if limit is None else _sample(raw, rows, limit):
            digest.update(json.dumps([row[0], row[1].hex(), *row[2:]]).encode() + b"\n")
            count += 1
            yield row

    final.executemany(INSERT.format("items"), each())
    found = ListingRef(items=count, sha256=digest.hexdigest())
    final.execute("CREATE TABLE ref (content TEXT)")
    final.execute("INSERT INTO ref VALUES (?)", (found.model_dump_json(),))
    return found


def _named_apart(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Sorted rows without those that come twice; of others of one name, such as members of a tar file, later ones are called ``NAME@START``."""
    last, uri = None, None
    for row in rows:
        name = (row[0], row[1], row[2], row[4])
        if name != last:
            yield (f"{row[0]}@{row[2] or 0}", *row[1:]) if row[0] == uri else row
        last, uri = name, row[0]


def _sample(database: sqlite3.Connection, rows: Iterable[tuple[Any, ...]], limit: int) -> Iterable[tuple[Any, ...]]:
    """So many of the rows, in the same order. The database sorts them, for they may be more than memory holds."""
    database.execute(TABLE.format("named"))
    database.executemany(INSERT.format("named"), rows)
    database.create_function("digest", 4, _digest, deterministic=True)
    sample = f"SELECT * FROM named ORDER BY digest(uri, source, start, row) LIMIT {limit:d}"
    return database.execute(f"SELECT {FIELDS} FROM ({sample}) ORDER BY number")


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
