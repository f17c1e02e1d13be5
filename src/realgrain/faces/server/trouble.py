"""When the store or the disk does not do what it should: what that means, and how it is logged."""

from __future__ import annotations

import errno
import logging
import sqlite3
import time

from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from realgrain.faces.server.problems import Problem

log = logging.getLogger("realgrain.serve")
STORE_AWAY = (OperationalError, InterfaceError, InternalError, DisconnectionError, PoolTimeout)  # InternalError: of PostgreSQL that takes no writes
AGAIN = 60.0  # seconds between lines of a log about trouble that lasts, which is met each second (our choice)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_DISK_FULL = "53100"  # PostgreSQL's code


def is_full(error: Exception) -> bool:
    """Whether a disk is full, the server's own or the database's."""
    if isinstance(error, DBAPIError):
        return _of_sqlite(error) == sqlite3.SQLITE_FULL or getattr(error.orig, "sqlstate", None) == _DISK_FULL
    return isinstance(error, OSError) and error.errno in _NO_ROOM


def is_locked(error: Exception) -> bool:
    """Whether SQLite did nothing because another process writes: its transactions begin as writers here, so that none is told so later."""
    return isinstance(error, DBAPIError) and _of_sqlite(error) == sqlite3.SQLITE_BUSY


def _of_sqlite(error: DBAPIError) -> int:
    return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF  # without what it says beside


def words(error: Exception) -> str:
    """What is wrong, without what was asked."""
    return str(error.orig if isinstance(error, DBAPIError) else error)


class Trouble:
    """Logs of work that is done again until it succeeds."""

    def __init__(self) -> None:
        self._next = 0.0

    def tell(self, error: Exception, what: str, *of: object) -> None:
        """Store, disk and a server that is busy have a line once in a while; a fault of ours has its traceback each time."""
        if not isinstance(error, (*STORE_AWAY, OSError, Problem)):
            log.error(what, *of, exc_info=error)
        elif (now := time.monotonic()) >= self._next:
            self._next = now + AGAIN
            log.error(f"{what}: %s", *of, words(error))
