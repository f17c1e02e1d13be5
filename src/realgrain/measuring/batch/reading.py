"""Items -> their bytes, on the worker."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from realgrain.measuring.batch.items import Item
from realgrain.measuring.batch.sources import open_packed, state_of
from realgrain.measuring.batch.stores import is_away, read_remote, size_remote
from realgrain.picture.errors import Limits, PictureError, Refused
from realgrain.picture.source import check_bytes, may_pass, read_source

ROWS = 16  # of a parquet file that are in memory at once ...
HELD = 2**22  # ... or fewer, so that they take no more bytes than this, unless one does ...
PAGES = 2**20  # ... beside so many bytes of it as stored; without this, and with ``pre_buffer``, a whole group of rows would be
PLACES = 2  # in parquet files that are open at once: on a cluster, calls may overtake one another


class Reader:
    """Reads items. Those of a parquet file come fast in the order of its rows, or nearly so."""

    def __init__(self) -> None:
        self._open: list[_Rows] = []
        self._states: dict[bytes, str] = {}  # of tar files in stores: each is looked at once in a query
        self._query = ""

    def serve(self, query: str) -> None:
        """Begin another query, unless it is the one before: nothing is open then."""
        if query != self._query:
            self.close()
            self._states = {}
        self._query = query

    def job(self, item: Item, limits: Limits) -> Callable[[], bytes]:
        """What reads an item, on any thread; a row of a parquet file is read here and now, which keeps one reader of that file.

        What the job raises: ``PictureError``, naming the item and the reason.
        """
        if item.error is not None:
            return partial(_fail, PictureError(item.uri, "missing", item.error))
        if item.row is None:
            return partial(_read, item, limits, self._states)
        try:
            return partial(_same, self._row(item, limits))
        except Refused as refused:  # of this row alone: what is open is as good as before
            return partial(_fail, PictureError(item.uri, refused.code, refused.reason))
        except Exception as error:  # pyarrow and the stores raise nearly anything on broken files
            self.close()
            return partial(_fail, _unreadable(item, error, is_away(error) if item.remote else may_pass(error)))

    def close(self) -> None:
        """Let go of what is open."""
        while self._open:
            self._open.pop().close()

    def _row(self, item: Item, limits: Limits) -> bytes:
        before = [rows for rows in self._open if rows.lead_to(item)]
        if not before:
            self._open.append(_Rows(item))
            before = self._open[-1:]
            if len(self._open) > PLACES:
                self._open.pop(0).close()
        return max(before, key=lambda rows: rows.first).at(item.row or 0, limits)


def _fail(error: PictureError) -> bytes:
    raise error


def _same(data: bytes) -> bytes:
    return data


def _unreadable(item: Item, error: Exception, away: bool) -> PictureError:
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return PictureError(item.uri, "unreachable" if away else "missing", f"cannot be read: {words.splitlines()[0]}")


def _read(item: Item, limits: Limits, states: dict[bytes, str]) -> bytes:
    most = limits.max_bytes + 1  # one more than is allowed, so that what is larger is refused and not cut
    try:
        if item.start is not None:
            return read_source(_member(item, item.start, min(item.size or 0, most), states), limits)
        return read_source(read_remote(item.target, None, most) if item.remote else item.target, limits)
    except Refused as refused:
        raise PictureError(item.uri, refused.code, refused.reason) from None
    except OSError as error:
        raise _unreadable(item, error, not isinstance(error, FileNotFoundError) if item.remote else may_pass(error)) from None


def _member(item: Item, start: int, size: int, states: dict[bytes, str]) -> bytes:
    if item.remote:
        _check_state(item, _state_there(item, states))
        found = read_remote(item.target, start, size)
    else:
        with open_packed(item) as file:
            _check_state(item, state_of(item, file))
            file.seek(start)
            found = file.read(size)
    if len(found) < size:
        raise Refused("truncated", f"the file that holds it ends after {len(found):,} of its {item.size:,} bytes")
    return found


def _state_there(item: Item, states: dict[bytes, str]) -> str:
    if item.where not in states:
        states[item.where] = str(size_remote(item.target))
    return states[item.where]


def _check_state(item: Item, now: str) -> None:
    if now != item.state:
        raise Refused("missing", "the tar or parquet file that holds it is another one since the run began, or was changed")


def _identity(item: Item) -> tuple[Any, ...]:
    """The same for rows in one column of one file: a process lives longer than a run, and a file may have been written anew."""
    if item.remote:
        return item.where, item.column
    state = Path(item.target).stat()
    return item.where, item.column, state.st_ino, state.st_size, state.st_mtime_ns


class _Rows:
    """One column of a parquet file, read forward."""

    def __init__(self, item: Item) -> None:
        self._of, self._column = _identity(item), item.column or ""
        self._file = open_packed(item)
        try:
            _check_state(item, state_of(item, self._file))
            self._table = pq.ParquetFile(self._file, buffer_size=PAGES, pre_buffer=False)
        except BaseException:
            self._file.close()
            raise
        counts = [self._table.metadata.row_group(group).num_rows for group in range(self._table.num_row_groups)]
        self._starts = list(accumulate(counts, initial=0))
        self._batches: Iterator[Any] = iter(())
        self.first, self._held = 0, pa.array([], pa.binary())  # number of the first row that is held, and those held

    def lead_to(self, item: Item) -> bool:
        return self.first <= (item.row or 0) and _identity(item) == self._of

    def at(self, row: int, limits: Limits) -> bytes:
        if not self.first <= row < self.first + len(self._held):
            self._seek(row)
        found = self._held[row - self.first]
        if not found.is_valid:
            raise Refused("missing", "cannot be read: the row has no bytes")
        data = found.as_buffer()
        check_bytes(data.size, limits.max_bytes)
        return data.to_pybytes()

    def _seek(self, row: int) -> None:
        if not 0 <= row < self._starts[-1]:
            raise ValueError("there is no such row any more")
        group = bisect_right(self._starts, row) - 1
        begun = self._starts[group] <= self.first <= row and len(self._held) > 0
        if not begun:
            self._batches = self._table.iter_batches(self._rows_at_once(group), row_groups=[group], columns=[self._column])
            self.first, self._held = self._starts[group], self._held[:0]
        while row >= self.first + len(self._held):
            self.first += len(self._held)
            self._held = self._held[:0]
            self._held = _bytes_of(next(self._batches).column(0))

    def _rows_at_once(self, group: int) -> int:
        found = self._table.metadata.row_group(group)
        return min(ROWS, max(1, HELD * found.num_rows // max(1, found.total_byte_size)))

    def close(self) -> None:
        self._table.close()
        self._file.close()


def _bytes_of(values: Any) -> Any:
    if pa.types.is_struct(values.type):
        values = values.field(0)
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values
