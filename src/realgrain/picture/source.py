"""From a path or bytes to bytes: a size check before any reading, and nothing that can block."""

import errno
import os
import stat
from typing import BinaryIO

from realgrain.picture.errors import Limits, Refused

GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""How systems say that there is no such file."""


def read_source(source: str | os.PathLike[str] | bytes, limits: Limits) -> bytes:
    """Return the bytes of one picture.

    Args:
        source: The content itself if `bytes`, else the path of a regular file (links are followed).
        limits: `max_bytes` is checked before a byte is read.

    Returns:
        The content, between 1 and `limits.max_bytes` bytes.

    Raises:
        Refused: missing, unreachable, not_a_file, too_many_bytes or empty.
        TypeError: `source` is neither bytes nor a path.
    """
    if isinstance(source, bytes):
        data = source
        check_bytes(len(data), limits.max_bytes)
    else:
        data = _read_file(os.fspath(source), limits)
    if not data:
        raise Refused("empty", "has no bytes at all")
    return data


def _read_file(path: str, limits: Limits) -> bytes:
    with open_regular(path, limits.max_bytes) as file:
        try:
            data = file.read(limits.max_bytes + 1)  # bounded: a file may grow while it is read
        except OSError as error:
            raise _unreadable(error) from None
    check_bytes(len(data), limits.max_bytes)
    return data


def open_regular(path: str, max_bytes: int) -> BinaryIO:
    """Open a regular file to be read (links are followed), if it is not too large.

    Raises:
        Refused: missing, unreachable, not_a_file or too_many_bytes.
    """
    try:
        # Looked at before it is opened because opening a device or a pipe can itself have effects or wait for ever.
        _check_regular(os.stat(path).st_mode)  # noqa: PTH116 - Path() would normalise the name given
        # Then looked at again, since the name may by now mean something else: not blocking keeps a pipe from hanging us.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        file = os.fdopen(os.open(path, flags), "rb")
        try:
            status = os.fstat(file.fileno())
            _check_regular(status.st_mode)
            check_bytes(status.st_size, max_bytes)
        except BaseException:
            file.close()
            raise
    except FileNotFoundError:
        raise Refused("missing", "there is no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL or an unencodable character in the path
        raise _unreadable(error) from None
    return file


def may_pass(error: Exception) -> bool:
    """Whether an error is the system's and says nothing of the file: a disk or share that fails, no right to read it, too many open files."""
    return isinstance(error, OSError) and error.errno is not None and error.errno not in GONE


def _unreadable(error: Exception) -> Refused:
    return Refused("unreachable" if may_pass(error) else "missing", f"cannot be read: {getattr(error, 'strerror', None) or error}")


def check_bytes(count: int, most: int) -> None:
    """Whether a file is small enough.

    Raises:
        Refused: too_many_bytes.
    """
    if count > most:
        raise Refused("too_many_bytes", f"{count:,} bytes is more than the limit of {most:,} bytes")


def _check_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise Refused("not_a_file", "is a folder, not a file")
    if not stat.S_ISREG(mode):
        raise Refused("not_a_file", "is not a regular file (a pipe, socket or device)")
