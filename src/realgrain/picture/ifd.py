"""A bounded reader of TIFF directories: TIFF files, EXIF blocks and the index of a multi-picture JPEG all hold them.

Our own, because Pillow's reader warns (process-wide) about the broken EXIF that real photographs often carry, and because
counting a TIFF's pages with it loads every tag of every page. Classic TIFF 6.0 only.
"""

import struct
from typing import NamedTuple

ORIENTATION = 0x0112
MPF_PICTURES = 0xB001  # "NumberOfImages", CIPA DC-007

_SHORT, _LONG = 3, 4
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}  # bytes of one value of each type


class Entry(NamedTuple):
    """One directory entry: tag, type, number of values, and the 4-byte field that holds them or points at them."""

    tag: int
    kind: int
    count: int
    field: bytes


def byte_order(data: bytes) -> str | None:
    """Return the `struct` byte order of a TIFF header, or None where there is no TIFF header."""
    return {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4]) if len(data) >= 8 else None


def entries(data: bytes, start: int | None = None) -> list[Entry]:
    """Return the entries of the directory at `start`, by default the first, that lie inside `data` (at most 65,535), none if there is none."""
    order = byte_order(data)
    if order is None:
        return []
    if start is None:
        (start,) = struct.unpack_from(f"{order}L", data, 4)
    if start + 2 > len(data):
        return []
    (count,) = struct.unpack_from(f"{order}H", data, start)
    count = min(count, (len(data) - start - 2) // 12)
    form = struct.Struct(f"{order}HHL4s")
    return [Entry(*form.unpack_from(data, start + 2 + 12 * i)) for i in range(count)]


def number(data: bytes, tag: int) -> int | None:
    """Return the single unsigned SHORT or LONG that `tag` of the first directory holds, None if it holds no such thing."""
    order = byte_order(data)
    for entry in entries(data):
        if entry.tag == tag and entry.count == 1 and entry.kind in (_SHORT, _LONG):
            return struct.unpack_from(f"{order}{'H' if entry.kind == _SHORT else 'L'}", entry.field)[0]
    return None


def content(data: bytes, entry: Entry, limit: int) -> bytes:
    """Return the bytes of an entry's values, at most `limit` of them; none where they do not lie inside `data` or are of no known type."""
    size = _SIZES.get(entry.kind, 0) * entry.count
    if size <= len(entry.field):
        return entry.field[:size]
    (at,) = struct.unpack(f"{byte_order(data) or '<'}L", entry.field)
    return data[at : at + min(size, limit)] if at + size <= len(data) else b""


def count_pages(data: bytes, limit: int) -> tuple[int, bool]:
    """Follow a TIFF's chain of directories.

    Args:
        data: The file.
        limit: Directories followed at most.

    Returns:
        The number of pages found, and whether that is all of them. A chain that leaves the file or bites its own tail ends there.
    """
    order = byte_order(data)
    seen: set[int] = set()
    at = struct.unpack_from(f"{order}L", data, 4)[0] if order else 0
    while at and at not in seen and at + 2 <= len(data):
        if len(seen) >= limit:
            return len(seen), False
        seen.add(at)
        (count,) = struct.unpack_from(f"{order}H", data, at)
        after = at + 2 + 12 * count
        at = struct.unpack_from(f"{order}L", data, after)[0] if after + 4 <= len(data) else 0
    return len(seen), True
