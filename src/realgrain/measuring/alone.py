"""One process at a time in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RunError(ValueError):
    """A run cannot go on. The message says why."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder; the lock goes with the process, however that ends.

    Raises:
        RunError: another process is at work there.
    """
    from filelock import FileLock, Timeout

    file = folder / ".busy"
    try:
        with FileLock(file, timeout=0):
            try:
                yield
            finally:
                file.unlink(missing_ok=True)
    except Timeout as error:
        raise RunError(f"{folder}: another process is at work in it") from error
