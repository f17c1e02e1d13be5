"""Scores of a run under way: whole parts of a fixed size, and pieces of the part that is being scored, so that a kill costs seconds of work.

Parts and what they hold depend on the run alone, and so does the table of them all. Pieces depend on the clock; they go when their part is whole.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from realgrain.measuring.score import table_of, write_table
from realgrain.measuring.whole import whole

SECONDS = 15.0  # between two pieces: what a kill may cost, beside the row at hand and what was made ready ahead of it


@dataclass(frozen=True)
class Parts:
    """The parts of a table. A part is called by the number of its first picture.

    Attributes:
        folder: of their files: ``000000064.parquet`` the part from picture 64 on, ``000000064.003.parquet`` its piece from the part's row 3 on.
        schema: of each file, and of the table; with it a file says which run it is of.
        pictures: of the table.
        size: pictures of a part; the last may have fewer.
        each: rows of a picture.
    """

    folder: Path
    schema: pa.Schema
    pictures: int
    size: int
    each: int

    def missing(self) -> list[range]:
        """Pictures of each part that is not whole; first those of the one that was under way, as its pieces are of use to who goes on with it."""
        parts = (range(start, min(start + self.size, self.pictures)) for start in range(0, self.pictures, self.size))
        missing = [part for part in parts if not self._good(self._file(part.start), len(part) * self.each)]
        return sorted(missing, key=lambda part: (not self._piece(part, 0).is_file(), part.start))

    def begun(self, part: range) -> list[dict[str, Any]]:
        """Rows of a part that its pieces hold, from its first on without a gap."""
        found: list[dict[str, Any]] = []
        while self._good(piece := self._piece(part, len(found))) and (rows := pq.read_table(piece).to_pylist()):
            found += rows
        return found[: len(part) * self.each]

    def write(self, part: range, begun: Sequence[dict[str, Any]], rest: Iterator[dict[str, Any]]) -> None:
        """Write a part: what its pieces hold, and the rest, as it comes; what has come is written down every ``SECONDS``."""
        found, kept, last = list(begun), len(begun), time.monotonic()
        for row in islice(rest, len(part) * self.each - len(begun)):
            found.append(row)
            if (now := time.monotonic()) - last >= SECONDS:
                write_table(table_of(found[kept:], self.schema), self._piece(part, kept))
                kept, last = len(found), now
        write_table(table_of(found, self.schema), self._file(part.start))
        for piece in self.folder.glob(f"{part.start:09}.*.parquet"):
            piece.unlink()

    def merge(self, target: Path) -> None:
        """One table of all parts, a part at a time."""
        with whole(target) as scratch, pq.ParquetWriter(scratch, self.schema, compression="zstd") as writer:
            for start in range(0, self.pictures, self.size):
                writer.write_table(pq.read_table(self._file(start)))

    def _file(self, start: int) -> Path:
        return self.folder / f"{start:09}.parquet"

    def _piece(self, part: range, row: int) -> Path:
        return self.folder / f"{part.start:09}.{row:03}.parquet"

    def _good(self, file: Path, rows: int | None = None) -> bool:
        """Whether a file is there, of this run, and not torn."""
        if not file.is_file():
            return False
        try:
            with pq.ParquetFile(file) as table:
                return (rows is None or table.metadata.num_rows == rows) and table.schema_arrow.equals(self.schema, check_metadata=True)
        except (OSError, pa.ArrowException):
            return False
