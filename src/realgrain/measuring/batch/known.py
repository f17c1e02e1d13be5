"""Outcomes by content: a picture that was judged once, under whatever name, is not judged again."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
from pathlib import Path

from pydantic import BaseModel, ValidationError

from realgrain.measuring.batch.outcomes import Outcome

log = logging.getLogger(__name__)
WAIT = 10.0  # seconds for another process to be done writing


class Known:
    """Outcomes of one detector with one set of settings, in a file of the worker's own machine.

    It can only save work, never change a row: outcomes depend on bytes and on ``pinned`` alone, and a file that cannot be read or written is done
    without. Safe to share between threads and between processes of a machine.
    """

    def __init__(self, folder: Path, pinned: BaseModel) -> None:
        """Open or make the file for what is pinned."""
        self._file = folder / f"{hashlib.sha256(pinned.model_dump_json().encode()).hexdigest()[:32]}.sqlite"
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._file, timeout=WAIT, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")  # with WAL: a power cut may cost the last rows, never the file
            self._database.execute("CREATE TABLE IF NOT EXISTS outcomes (sha256 BLOB PRIMARY KEY, content TEXT) WITHOUT ROWID")
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def get(self, sha256: str) -> Outcome | None:
        """What is known of a content."""
        with self._lock:
            if self._database is None:
                return None
            try:
                row = self._database.execute("SELECT content FROM outcomes WHERE sha256 = ?", (bytes.fromhex(sha256),)).fetchone()
            except sqlite3.Error as error:
                return self._give_up(error)
        try:
            found = None if row is None else Outcome.model_validate_json(row[0])
        except ValidationError:
            return None
        return found if found is not None and found.sha256 == sha256 else None

    def put(self, found: Outcome) -> None:
        """Remember an outcome of which the content is known."""
        if found.sha256 is None:
            return
        with self._lock:
            if self._database is None:
                return
            try:
                row = (bytes.fromhex(found.sha256), found.model_dump_json())
                self._database.execute("INSERT OR REPLACE INTO outcomes VALUES (?, ?)", row)
            except sqlite3.Error as error:
                self._give_up(error)

    def close(self) -> None:
        """Let the file go."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def _give_up(self, error: Exception) -> None:
        log.warning("%s: done without: %s", self._file, error)
        self._database = None
