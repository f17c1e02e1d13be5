"""A folder that files arrive in, as a stream of files that are finished.

A notice from the system says where to look, which is quick; a look through the whole folder every few seconds says what is there, which is certain:
file systems that are shared over a network give no notice of what another machine writes, and notices are dropped when there are too many.
What is looked for is the same either way: a file whose size and time of change stand still.
"""

from __future__ import annotations

import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from realgrain.detector.clips import detect_each
from realgrain.detector.detect import Detector
from realgrain.faces.options import say
from realgrain.faces.sources import suffixes
from realgrain.picture.clip import ClipLimits
from realgrain.picture.errors import PictureError, printable

SETTLED = 1.0  # seconds for which a file must not change before it is taken to be finished
LOOK = 0.25  # seconds between looks at files that are not
EVERYTHING = 5.0  # seconds between looks through the whole folder (all three are our choices)


class Failed(BaseModel):
    """A line of the stream for a file that cannot be judged.

    Attributes:
        version: of this schema.
        kind: tells it from a report.
        name: of the file.
        code: for programs: one of ``picture.errors.Code``, or ``internal``.
        reason: for people.
    """

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    kind: Literal["failed"] = "failed"
    name: str
    code: str
    reason: str


class _State(NamedTuple):
    """By which a file is known to be the one that was seen before."""

    size: int
    changed: int
    inode: int
    readable: bool


class Arrivals:
    """Files of a folder, and of folders in it, each once it is finished, and again when it has become another.

    Args:
        folder: to look into; names that start with a dot and files without a known suffix are left alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._suffixes = suffixes()
        self._known: dict[Path, _State] = {}  # that were given
        self._pending: dict[Path, tuple[_State, float]] = {}  # seen, and since when they are as they are
        self._looked = -EVERYTHING
        self._unlisted: set[Path] = set()  # folders that could not be listed at the last look

    def __iter__(self) -> Iterator[Path]:
        """Give files as they are finished, until an interrupt; files of one look come in order of their names.

        Raises:
            FileNotFoundError: the folder is gone.
        """
        with _notices(self.folder) as noticed:
            while True:
                yield from self.finished(time.monotonic(), self._seen(noticed()))
                time.sleep(LOOK)

    def _seen(self, noticed: set[Path]) -> set[Path]:
        now = time.monotonic()
        if now - self._looked < EVERYTHING:
            return noticed
        self._looked = now
        there, unlisted = self._look()
        for folder in sorted(unlisted.keys() - self._unlisted):
            say(f"{printable(str(folder))}: cannot be listed ({unlisted[folder].strerror}); tried again every {EVERYTHING:g} s")
        self._unlisted = set(unlisted)
        for path in self._known.keys() - there:  # what is gone may come again, and memory must not grow with all that ever was
            if self._unlisted.isdisjoint(path.parents):
                del self._known[path]
        return noticed | there

    def _look(self) -> tuple[set[Path], dict[Path, OSError]]:
        """Files that are there, and folders of which that cannot be said now."""
        there: set[Path] = set()
        unlisted: dict[Path, OSError] = {}

        def note(error: OSError) -> None:
            folder = Path(error.filename)
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                unlisted[folder] = error
            elif folder == self.folder:
                raise FileNotFoundError(f"{self.folder}: the folder is gone")

        for of, folders, names in os.walk(self.folder, onerror=note):
            folders[:] = [name for name in folders if not name.startswith(".")]
            there.update(Path(of) / name for name in names)
        return there, unlisted

    def finished(self, now: float, candidates: set[Path]) -> list[Path]:
        """Files that are finished at a time in seconds of a steady clock.

        Args:
            now: the time.
            candidates: paths that may be new or changed; those that are not yet finished are remembered.
        """
        found = []
        for path in sorted(self._pending.keys() | {path for path in candidates if self._wanted(path)}):
            state = _state(path)
            if state is None or self._known.get(path) in (state, state._replace(readable=True)):
                self._pending.pop(path, None)
                continue
            before, since = self._pending.get(path, (None, now))
            if state != before:
                self._pending[path] = state, now
            elif now - since >= SETTLED:
                del self._pending[path]
                self._known[path] = state
                found.append(path)
        return found

    def _wanted(self, path: Path) -> bool:
        try:
            inside = path.relative_to(self.folder)
        except ValueError:
            return False
        return path.suffix.lower() in self._suffixes and not any(part.startswith(".") for part in inside.parts)


def arrivals(folder: Path) -> Arrivals:
    """What arrives in a folder.

    Raises:
        NotADirectoryError: it is none.
        ModuleNotFoundError: the package watchfiles is missing.
    """
    import watchfiles  # noqa: F401  (what is missing is said now)

    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: not a folder")
    return Arrivals(folder)


def report_each(files: Arrivals, detector: Detector, limits: ClipLimits) -> None:
    """Print a line of JSON for each file, a report or why there is none, until an interrupt or a request to end."""
    with _ends_quietly():
        for path in files:
            print(_line(path, detector, limits), flush=True)


def _line(path: Path, detector: Detector, limits: ClipLimits) -> str:
    try:
        (outcome,) = detect_each(detector, [path], limits)
    except Exception as error:  # whatever it is, it is of this file, and others wait
        outcome = error
    if not isinstance(outcome, Exception):
        return outcome.model_dump_json()
    if isinstance(outcome, PictureError):
        failed = Failed(name=outcome.name, code=outcome.code, reason=outcome.reason)
    else:
        failed = Failed(name=printable(str(path)), code="internal", reason=printable(f"{type(outcome).__name__}: {outcome}"))
    say(f"{failed.name}: {failed.reason}")
    return failed.model_dump_json()


@contextmanager
def _ends_quietly() -> Iterator[None]:
    """Let Ctrl-C, and the signal by which services are stopped, end what is within, and nothing more."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt) if threading.current_thread() is threading.main_thread() else None
    try:
        yield
    except KeyboardInterrupt:
        say("ended")
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


@contextmanager
def _notices(folder: Path) -> Iterator[Callable[[], set[Path]]]:
    """A function that gives the paths of which the system has given notice since it was last called.

    watchfiles has the notices of each system and falls back to looking where there are none; it waits in a thread, so that Ctrl-C is never held up.
    """
    from watchfiles import watch

    stop, lock, found = threading.Event(), threading.Lock(), set()
    bases = folder.absolute(), folder.resolve()  # notices have one or the other, as the system pleases

    def listen() -> None:
        said = ""
        while not stop.is_set():
            try:
                for changes in watch(folder, watch_filter=None, stop_event=stop, debounce=200, step=50, rust_timeout=500, raise_interrupt=False):
                    with lock:
                        found.update(_within(folder, bases, Path(path)) for _, path in changes)
            except Exception as error:  # no more watches to be had, or a name that is no text: looking goes on, and there may be notices again
                if said != (said := printable(f"{folder}: no notices of changes ({error}); looked through every {EVERYTHING:g} s")):
                    say(said)
                stop.wait(EVERYTHING)

    def taken() -> set[Path]:
        with lock:
            now = set(found)
            found.clear()
        return now

    thread = threading.Thread(target=listen, name="realgrain-watch", daemon=True)
    thread.start()
    try:
        yield taken
    finally:
        stop.set()
        thread.join(2)


def _within(folder: Path, bases: Iterable[Path], path: Path) -> Path:
    """A path as it is found by looking through the folder, whose other names are the bases."""
    return next((folder / path.relative_to(base) for base in bases if path.is_relative_to(base)), path)


def _state(path: Path) -> _State | None:
    """Of a regular file, through links; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return _State(found.st_size, found.st_mtime_ns, found.st_ino, os.access(path, os.R_OK)) if stat.S_ISREG(found.st_mode) else None
