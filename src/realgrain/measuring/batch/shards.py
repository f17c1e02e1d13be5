"""Finished work on disk: one parquet file a shard, which is there whole or not at all, and the ledger of bad files that follows from them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from realgrain.measuring.batch.outcomes import SCHEMA
from realgrain.measuring.whole import whole

LEDGER = "errors.jsonl"


@dataclass(frozen=True)
class Shards:
    """The shards of a run.

    Attributes:
        folder: they are in.
        items: of all of them.
        size: items in each but the last.
        run: sha256 of ``run.json``, which each shard carries.
    """

    folder: Path
    items: int
    size: int
    run: str

    @property
    def count(self) -> int:
        """How many there are when all is done."""
        return -(-self.items // self.size)

    def rows(self, number: int) -> int:
        """Items in a shard."""
        return min(self.size, self.items - number * self.size)

    def file(self, number: int) -> Path:
        """``shard-00042.parquet``, in the order of their numbers also by name."""
        return self.folder / f"shard-{number:0{max(5, len(str(self.count - 1)))}}.parquet"

    @property
    def schema(self) -> pa.Schema:
        """Of each shard."""
        return SCHEMA.with_metadata({"realgrain": json.dumps({"run": self.run})})

    def left(self, number: int) -> Sequence[int]:
        """Positions of a shard's rows that are to be judged: all, unless it is there, of this run, and whole; else those that were out of reach."""
        everything = range(self.rows(number))
        file = self.file(number)
        if not file.is_file():
            return everything
        try:
            with pq.ParquetFile(file) as shard:
                if shard.metadata.num_rows != self.rows(number) or not shard.schema_arrow.equals(self.schema, check_metadata=True):
                    return everything
                codes = [] if _all_null(shard.metadata, "error_code") else shard.read(["error_code"])["error_code"].to_pylist()
        except (OSError, pa.ArrowException):
            return everything
        return [position for position, code in enumerate(codes) if code == "unreachable"]

    def write(self, number: int, table: pa.Table) -> None:
        """Put a shard in its place, or, where ``left`` gave a part of it, the rows of that part into it.

        Raises:
            OSError: it cannot be written; what was there before stays.
        """
        table = table.cast(self.schema).replace_schema_metadata(self.schema.metadata)
        if table.num_rows < self.rows(number):
            order = list(range(self.rows(number)))
            for row, position in enumerate(self.left(number)):
                order[position] = self.rows(number) + row
            table = pa.concat_tables([pq.read_table(self.file(number)), table]).take(order).combine_chunks()
        with whole(self.file(number)) as scratch:
            pq.write_table(table, scratch, compression="zstd")

    def tables(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """All shards, one at a time, in order."""
        for number in range(self.count):
            yield pq.read_table(self.file(number), columns=columns)


def _all_null(shard: pq.FileMetaData, column: str) -> bool:
    """As its statistics say, without reading it."""
    place = shard.schema.names.index(column)
    found = [shard.row_group(group).column(place).statistics for group in range(shard.num_row_groups)]
    return all(one is not None and one.has_null_count and one.num_values == 0 for one in found)


def write_ledger(shards: Shards) -> tuple[int, Counter[str]]:
    """Write ``errors.jsonl``, a line for each bad file with its reason, and count: bad files, and verdicts by label."""
    failed, labels = 0, Counter[str]()
    with whole(shards.folder / LEDGER) as scratch, scratch.open("w", encoding="utf-8") as lines:
        for table in shards.tables(["uri", "error_code", "error", "verdict"]):
            for row in table.to_pylist():
                if row["error"] is None:
                    labels[row["verdict"]] += 1
                else:
                    failed += 1
                    lines.write(json.dumps({"uri": row["uri"], "code": row["error_code"], "error": row["error"]}) + "\n")
    return failed, labels
