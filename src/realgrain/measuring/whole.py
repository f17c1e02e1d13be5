"""Files that are there whole or not at all, whatever happens: a kill, a full disk, a power cut."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_whole(file: Path, content: bytes) -> None:
    """Write a file at once, or not at all; its folder is made if need be."""
    with whole(file) as scratch:
        scratch.write_bytes(content)


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """A scratch file to write, which takes the place of ``file`` when it is on the disk, and goes where writing it fails."""
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_name(f".{file.name}.partial")
    try:
        yield scratch
        _sync(scratch)
        scratch.replace(file)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # not every system lets a folder be opened; where it does, the new name is on the disk too
        _sync(file.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
