"""Uploads of jobs on disk: written before a job is accepted, deleted when it ends. Files are named by numbers, never by what clients call them."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import struct
import uuid
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from realgrain.faces.server.problems import Problem
from realgrain.faces.server.settings import MIB, Settings
from realgrain.faces.server.uploads import Sink

PIECE = MIB
SMALL = MIB  # bytes: an entry of no more is no bomb, whatever its ratio
DIRECTORY_BYTES = 512  # of a zip's directory, for each entry that is allowed
_END = struct.Struct("<4s4H2LH")  # end of the central directory (APPNOTE 4.3.16)
_LOCATOR = 20  # bytes right before it, where a zip of the 64-bit form says where its own end is (APPNOTE 4.3.15); Python believes that one
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others can ask for gigabytes of memory, or Python may not have them
_JOB = re.compile(r"[0-9a-f]{32}")


def new_id() -> str:
    """Of a job or a delivery: 122 random bits."""
    return uuid.uuid4().hex


def sync_folder(folder: Path) -> None:
    """Have a folder's entries on disk."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class _File:
    """One upload, on disk when it is closed."""

    def __init__(self, path: Path, staged: Staged) -> None:
        self._staged, self._file = staged, path.open("xb")

    def write(self, data: bytes) -> None:
        """Raises Problem where the batch gets too large."""
        self._staged.add(len(data))
        self._file.write(data)

    def close(self) -> None:
        if self._file.closed:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


class Staged:
    """Uploads of a job that is not accepted yet.

    Attributes:
        job: its name to be.
        names: of its pictures, as the client has them, in their order.
    """

    def __init__(self, folder: Path, settings: Settings, job: str) -> None:
        self.job, self.names = job, list[str]()
        self._folder, self._settings = folder / job, settings
        self._folder.mkdir(mode=0o700)
        self._bytes = 0

    def add(self, count: int) -> None:
        """Count bytes.

        Raises:
            Problem: the batch is too large.
        """
        self._bytes += count
        if self._bytes > self._settings.batch_bytes:
            raise Problem(413, "too_many_bytes", f"the batch has more than {self._settings.batch_bytes:,} bytes, unpacked")

    def open(self, name: str) -> Sink:
        """A new picture; see ``uploads.Target``."""
        if len(self.names) >= self._settings.batch_files:
            raise Problem(413, "too_many_files", f"the batch has more than {self._settings.batch_files:,} files")
        self.names.append(name)
        return _File(self._folder / str(len(self.names) - 1), self)

    def unpack(self) -> None:
        """Replace zips among the uploads by what they hold, and have everything on disk. What is in a zip within a zip stays there.

        Raises:
            Problem: a zip that is broken or a bomb, or too much in all.
        """
        found, self.names = self.names, []
        for n in range(len(found)):
            (self._folder / str(n)).replace(self._folder / f"was-{n}")
        for n, name in enumerate(found):
            path = self._folder / f"was-{n}"
            with path.open("rb") as file:
                zipped = file.read(4) in (b"PK\3\4", b"PK\5\6")
            if zipped:
                self._bytes -= path.stat().st_size  # what is in it counts in its place
                unzip(path, name, self)
                path.unlink()
            elif len(self.names) >= self._settings.batch_files:
                raise Problem(413, "too_many_files", f"the batch has more than {self._settings.batch_files:,} files")
            else:
                path.replace(self._folder / str(len(self.names)))
                self.names.append(name)
        if not self.names:
            raise Problem(422, "no_file", "the batch has no pictures")
        sync_folder(self._folder)
        sync_folder(self._folder.parent)

    def discard(self) -> None:
        """Delete what was staged."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def settings(self) -> Settings:
        """Of the server."""
        return self._settings


def unzip(path: Path, name: str, staged: Staged) -> None:
    """Stage what a zip holds, within all bounds: entries, bytes, ratio. Names in it are only ever shown.

    Raises:
        Problem: it is broken, encrypted, a bomb, or too large.
    """
    settings = staged.settings
    try:
        with path.open("rb") as file:
            _check_directory(file, path.stat().st_size, settings)
            with zipfile.ZipFile(file) as archive:
                entries = [entry for entry in archive.infolist() if not entry.is_dir() and not _is_clutter(entry.filename)]
                if sum(entry.compress_size for entry in entries) > path.stat().st_size:
                    raise Problem(422, "zip_bomb", f"{name}: its entries overlap")
                for entry in entries:
                    _unpack(archive, entry, name, staged)
    except Problem:
        raise
    except Exception as error:  # strangers' bytes: zipfile and zlib raise nearly anything, and each of them means the same to a user
        raise Problem(422, "bad_zip", f"{name}: the zip cannot be read ({type(error).__name__})") from None


def _is_clutter(name: str) -> bool:
    """What operating systems put into zips unasked."""
    parts = name.split("/")
    return parts[0] == "__MACOSX" or parts[-1] in (".DS_Store", "Thumbs.db", "desktop.ini")


def _check_directory(file: BinaryIO, size: int, settings: Settings) -> None:
    """Look at the end of a zip before Python reads its whole directory into memory."""
    tail = min(size, _LOCATOR + _END.size + 0xFFFF)
    file.seek(size - tail)
    found = file.read(tail)
    at = found.rfind(b"PK\5\6")
    if at < 0 or len(found) - at < _END.size:
        raise zipfile.BadZipFile("no end")
    _, _, _, _, entries, directory, _, _ = _END.unpack_from(found, at)[:8]
    most = settings.batch_files
    if entries == 0xFFFF or directory == 0xFFFFFFFF or found[max(0, at - _LOCATOR) : at].startswith(b"PK\6\7"):
        raise Problem(422, "bad_zip", "zips of the 64-bit form are not read")
    # Folders and clutter count here, hence twice as many.
    if entries > 2 * most + 100 or directory > DIRECTORY_BYTES * (2 * most + 100):
        raise Problem(413, "too_many_files", f"the zip has more than {most:,} files")


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str, staged: Staged) -> None:
    called = f"{name}/{entry.filename}"
    settings = staged.settings
    if entry.flag_bits & 1:
        raise Problem(422, "bad_zip", f"{called}: is encrypted")
    if entry.compress_type not in _PLAIN:
        raise Problem(422, "bad_zip", f"{called}: is packed in a way that is not read")
    sink = staged.open(called)
    try:
        got = 0
        with archive.open(entry) as packed:
            while piece := packed.read(PIECE):
                got += len(piece)
                if got > SMALL and got > settings.zip_ratio * max(1, entry.compress_size):
                    raise Problem(422, "zip_bomb", f"{called}: unpacks to more than {settings.zip_ratio:g} times its size")
                if got > settings.max_bytes + PIECE:
                    break  # already more than any picture may have: its own problem, not the batch's
                sink.write(piece)
    finally:
        sink.close()


class Spool:
    """The folder of uploads.

    Args:
        folder: made if need be; only this process uses it.
        settings: of the server.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder, self._settings = folder, settings
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def stage(self) -> Staged:
        """A place for the uploads of a new job.

        Raises:
            Problem: there is no room.
        """
        if self.size() > self._settings.uploads_bytes:
            raise Problem(503, "busy", "too many uploads wait to be judged", Retry_After="60")
        return Staged(self._folder, self._settings, new_id())

    def size(self) -> int:
        """Bytes of all uploads."""
        return sum(_sizes(self._folder))

    def read(self, job: str, n: int) -> bytes:
        """A picture; no more of it than is needed to see that it is too large."""
        with (self._folder / job / str(n)).open("rb") as file:
            return file.read(self._settings.max_bytes + 1)

    def delete(self, job: str, n: int | None = None) -> None:
        """Delete a picture, or all of a job's."""
        if not _JOB.fullmatch(job):
            raise ValueError(f"{job!r} names no job")
        if n is None:
            shutil.rmtree(self._folder / job, ignore_errors=True)
        else:
            (self._folder / job / str(n)).unlink(missing_ok=True)

    def keep_only(self, kept: Collection[str]) -> None:
        """Delete uploads of all other jobs: those that were never accepted, and those that ended as the server died."""
        for folder in self._folder.iterdir():
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)


def _sizes(folder: Path) -> Iterator[int]:
    for where, _, names in os.walk(folder):  # unlike Path.rglob it does not mind that a job ends, and its folder goes, meanwhile
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                yield Path(where, name).stat().st_size
