"""Object stores and web servers, through Daft's own readers. Keys and endpoints come from the environment, as for any tool of theirs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

MISSING = "DaftError::ValueError Need at least 1 MicroPartition"  # how Daft 0.7 says that a glob found nothing


def import_daft() -> ModuleType:
    """Daft, without its usage reports and progress bars.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("DAFT_ANALYTICS_ENABLED", "0")
    os.environ.setdefault("DAFT_PROGRESS_BAR", "0")
    import daft

    return daft


def glob_remote(pattern: str) -> Iterator[str]:
    """URL of each object that a pattern matches.

    Raises:
        OSError: the store cannot be listed.
    """
    daft = import_daft()
    try:
        for batch in daft.from_glob_path(pattern).to_arrow_iter():
            yield from batch["path"].to_pylist()
    except daft.exceptions.DaftCoreException as error:
        if MISSING not in str(error):
            raise OSError(f"{pattern}: cannot be listed: {error}") from error


def is_away(error: Exception) -> bool:
    """Whether what came of reading an object is that its store refused or did not answer, which says nothing of the object."""
    daft = import_daft()
    # what fails while a file is being read has no kind of its own in Daft 0.7
    return isinstance(error, daft.exceptions.DaftCoreException) or (
        isinstance(error, OSError) and str(error).startswith("Get failed") and "not found" not in str(error)
    )


def open_remote(url: str) -> Any:
    """An object as a file.

    Raises:
        FileNotFoundError: there is none.
    """
    import_daft()
    from daft.file.file_io import open_file

    return open_file(url, "rb")


def size_of(file: Any) -> int:
    """Bytes of an object that was opened; it is then read from its beginning."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


def size_remote(url: str) -> int:
    """Bytes of an object.

    Raises:
        OSError: it cannot be had.
    """
    with _as_os_error(), open_remote(url) as file:
        return size_of(file)


def read_remote(url: str, start: int | None, size: int) -> bytes:
    """At most ``size`` bytes of an object, from ``start``.

    Raises:
        OSError: it cannot be had.
    """
    daft = import_daft()
    part = {} if start is None else {"position": start, "size": size}
    with _as_os_error(), daft.File(url, **part).open() as file:
        return file.read(size)


@contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # what the stores raise is Daft's affair
        raise OSError(str(error).splitlines()[0]) from error
