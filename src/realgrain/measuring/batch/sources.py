"""What people name as sources -> items, in no fixed order and as a stream: nothing here holds more than one of them."""

from __future__ import annotations

import codecs
import csv
import glob
import logging
import os
import posixpath
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from realgrain.learning.data import SUFFIXES
from realgrain.measuring.batch.items import URLS, Item, is_remote, is_text, shown
from realgrain.measuring.batch.stores import glob_remote, is_away, open_remote, size_of
from realgrain.picture.source import may_pass

log = logging.getLogger(__name__)
COLUMNS = ("bytes", "image", "content", "jpg", "jpeg", "png", "webp", "data")
"""Names under which a parquet file's pictures are looked for, in this order, where none is asked for (our choice)."""
PACKED = (".tar", ".parquet")
LISTS = (".csv", ".txt")
SPECIAL = re.compile(r"[\\{}]")
"""What Daft takes for part of a pattern, beside what ``glob.has_magic`` knows."""


class SourceError(ValueError):
    """A source that leads nowhere, or that is not allowed. The message names it."""


class NoPicturesError(SourceError):
    """A parquet file without a column of pictures."""


@dataclass(frozen=True)
class Wanted:
    """How sources are taken.

    Attributes:
        allow_urls: whether http:// and https:// may be fetched.
        column: of parquet files that holds pictures; None: the first of ``COLUMNS`` that is there.
    """

    allow_urls: bool = False
    column: str | None = None


def items(sources: Iterable[str], wanted: Wanted = Wanted()) -> Iterator[Item]:
    """Items of sources; the same one may come more than once.

    Args:
        sources: picture files, folders and prefixes (searched through, by suffix), globs (which find pictures and packed files, by suffix), CSV
            files with a column ``path``, ``.txt`` files with a name a line, uncompressed ``.tar`` and ``.parquet`` files, each here or in an object
            store, but for lists; URLs.
        wanted: how to take them.

    Raises:
        SourceError: a source leads nowhere, is a kind that is not read, is out of reach, or needs ``allow_urls``.
    """
    for name in sources:
        empty = True
        for item in _of(name, wanted):
            empty = False
            yield item
        if empty:
            raise SourceError(f"{shown(name) or repr('')}: {'holds no picture' if _is_there(name) else 'no such file, and no picture behind it'}")


def _is_there(name: str) -> bool:
    return _is_packed(name) and not glob.has_magic(name) if is_remote(name) else name != "" and Path(name).exists()


def absolute(name: str) -> str:
    """A source as valid text that means the same in whatever folder one is."""
    return name if is_remote(name) else shown(str(Path(name).absolute()))


def _of(name: str, wanted: Wanted) -> Iterator[Item]:
    if is_remote(name):
        yield from _remote(name, wanted)
        return
    path = Path(name)
    if not name:
        return
    if path.is_dir():
        yield from _folder(name)
    elif path.exists() or path.is_symlink():
        yield from _file(name, wanted)
    elif glob.has_magic(name):
        yield from _matched(name, wanted)


def _folder(folder: str) -> Iterator[Item]:
    """Pictures below a folder, by suffix; links to folders are not followed, for they may lead round in a circle."""
    errors: list[OSError] = []
    packed = 0
    for parent, _, files in os.walk(folder, onerror=errors.append):
        yield from (_local(str(Path(parent) / name)) for name in files if _is_picture(name))
        packed += sum(map(_is_packed, files))
    yield from map(_closed, errors)
    if packed:
        log.warning(
            "%s: of .tar and .parquet files in a folder, here %d, nothing is read; name them, or a pattern that finds them", shown(folder), packed
        )


def _may_pass(error: Exception) -> bool:
    """Of what is here: that it may not be read passes only if somebody changes that, so it is an error of its own and stops nothing."""
    return may_pass(error) and not isinstance(error, PermissionError)


def _closed(error: OSError) -> Item:
    """A folder that cannot be looked into.

    Raises:
        SourceError: because its disk or share fails: the list of items, which is for good, must not go without what it holds.
    """
    if _may_pass(error):
        raise SourceError(f"{shown(error.filename)}: out of reach, so what it holds is not known: {error.strerror}")
    return replace(_local(error.filename.rstrip(os.sep) or os.sep), error=f"a folder that cannot be read: {error.strerror}")


def _matched(pattern: str, wanted: Wanted) -> Iterator[Item]:
    """Pictures and packed files that a pattern finds, as the standard ``glob`` has it, but that folders which cannot be read are errors, and that
    links to folders are followed only where the pattern spells them out.
    """
    todo = [("", pattern.split(os.sep))]  # noqa: PTH206  (names stay as they were given)
    while todo:
        parent, (part, *rest) = todo.pop()
        if not glob.has_magic(part) and rest:
            todo.append((f"{parent}{part}{os.sep}", rest))
            continue
        if part == "**":
            todo.append((parent, rest or ["*"]))
        try:
            with os.scandir(parent or os.curdir) as found:
                entries = [entry for entry in found if part.startswith(".") or not entry.name.startswith(".")]
        except (FileNotFoundError, NotADirectoryError):  # the names above it match, and it is not there
            continue
        except OSError as error:
            yield _closed(error)
            continue
        for entry in entries:
            name = parent + entry.name
            if entry.is_dir(follow_symlinks=False):
                if part == "**":
                    todo.append((name + os.sep, [part, *rest]))
                elif rest and fnmatch(entry.name, part):
                    todo.append((name + os.sep, rest))
            elif not rest and part != "**" and fnmatch(entry.name, part):
                if _is_picture(name):
                    yield _local(name)
                elif _is_packed(name):
                    yield from _found(_local(name), wanted)


def _file(name: str, wanted: Wanted, lists: frozenset[str] = frozenset()) -> Iterator[Item]:
    """What a file is or names; ``lists``: real paths of those that led here."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in LISTS:
        real = os.path.realpath(name)
        if real in lists:
            raise SourceError(f"{shown(name)}: a list that names itself, or another that leads back to it")
        yield from _listed(Path(name), suffix, wanted, lists | {real})
    elif suffix in PACKED:
        yield from _packed(_local(name), wanted)
    elif name.lower().endswith((".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")):
        raise SourceError(f"{shown(name)}: compressed tar files are not read, for their members cannot be reached one by one; unpack it to .tar")
    else:
        yield _local(name)


def _local(name: str) -> Item:
    return Item(shown(name), os.fsencode(Path(name).absolute()))


def _remote(url: str, wanted: Wanted) -> Iterator[Item]:
    """What a URL leads to; in an object store one without a suffix that is known is a pattern, or a prefix in which nothing is special."""
    patterned = glob.has_magic(url)
    if url.startswith(URLS) or (not patterned and PurePosixPath(url).suffix.lower() in (*PACKED, *SUFFIXES)):
        yield from _named(url, wanted)
        return
    for found in glob_remote(url if patterned else SPECIAL.sub(r"\\\g<0>", url.rstrip("/")) + "/**"):
        one = Item(found, found.encode())
        if patterned and _is_packed(found):
            yield from _found(one, wanted)
        elif _is_picture(found):
            yield one


def _named(url: str, wanted: Wanted) -> Iterator[Item]:
    """A URL that means itself, whatever is in it."""
    web = url.startswith(URLS)
    if web and not wanted.allow_urls:
        raise SourceError(f"{url}: URLs are fetched only where that is allowed: --allow-urls")
    one = Item(url, url.encode())
    if _is_packed(url) and not web:
        yield from _packed(one, wanted)
    else:
        yield one


def _listed(file: Path, suffix: str, wanted: Wanted, lists: frozenset[str]) -> Iterator[Item]:
    """Names in a list are pictures, packed files or further lists, relative to the list's folder; none is a pattern, a folder or a prefix."""
    for number, name in _names(file, suffix):
        if is_remote(name) and is_text(name):
            yield from _named(name, wanted)
        elif is_remote(name) or "\0" in name:
            raise SourceError(f"{file}, line {number}: no name of a file")
        else:
            yield from _file(str(file.parent / name), wanted, lists)


def _names(file: Path, suffix: str) -> Iterator[tuple[int, str]]:
    if suffix == ".txt":
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if name := os.fsdecode(line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).strip("\r\n"):
                    yield number, name
        return
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            rows = csv.DictReader(text)
            if "path" not in (rows.fieldnames or ()):
                raise SourceError(f"{file}: a CSV manifest needs a column named path")
            for row in rows:
                if not row["path"]:
                    raise SourceError(f"{file}, line {rows.line_num}: no path")
                yield rows.line_num, row["path"]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{file}: not a CSV manifest: {error}") from error


def _found(one: Item, wanted: Wanted) -> Iterator[Item]:
    """What a packed file holds that a pattern found, and nobody named; one without pictures stops nothing, and is an item that says so."""
    try:
        yield from _packed(one, wanted)
    except NoPicturesError as error:
        yield replace(one, error=str(error).removeprefix(f"{one.uri}: "))


def _packed(one: Item, wanted: Wanted) -> Iterator[Item]:
    """What a tar or parquet file holds; one that is broken gives what can be had of it, and an item that says so.

    Raises:
        SourceError: its store refused or did not answer, or its disk or share fails: the list of items, which is for good, must not go without what
            it holds.
    """
    try:
        with open_packed(one) as file:
            listed = replace(one, state=state_of(one, file))
            yield from _members(listed, file) if one.uri.lower().endswith(".tar") else _rows(listed, file, wanted)
    except SourceError:
        raise
    except Exception as error:  # tarfile, pyarrow and the stores raise nearly anything on broken files
        yield _unreadable(one, error)


def _unreadable(one: Item, error: Exception) -> Item:
    if is_away(error) if one.remote else _may_pass(error):
        raise SourceError(f"{one.uri}: out of reach, so what it holds is not known: {error}".splitlines()[0])
    return replace(one, error=f"cannot be read: {error}".splitlines()[0])


def open_packed(one: Item) -> Any:
    """A tar or parquet file, wherever it is."""
    return open_remote(one.target) if one.remote else Path(one.target).open("rb")


def state_of(one: Item, file: Any) -> str:
    """``Item.state`` of an opened tar or parquet file; stores tell the size alone."""
    if one.remote:
        return str(size_of(file))
    found = os.fstat(file.fileno())
    return f"{found.st_size} {found.st_mtime_ns}"


def _members(one: Item, file: BinaryIO) -> Iterator[Item]:
    """Pictures in a tar file; hard links among them last, also those that come before a damaged place."""
    targets: set[str] = set()
    try:
        for member in _headers(file):
            picture = replace(one, uri=f"{one.uri}#{shown(member.name)}")
            if member.isdir() or not _is_picture(member.name):
                continue
            if member.islnk():
                targets.add(posixpath.normpath(member.linkname))
            elif _is_plain(member):
                yield replace(picture, start=member.offset_data, size=member.size)
            else:
                yield replace(picture, error=f"{'a symbolic link' if member.issym() else 'no plain file'} in a tar file: not read")
    except Exception as error:  # as in _packed
        yield _unreadable(one, error)
    if targets:
        yield from _hard_links(one, file, targets)


def _hard_links(one: Item, file: BinaryIO, targets: set[str]) -> Iterator[Item]:
    """Pictures that a tar file holds under an earlier member's name. It is gone through once more, so as not to remember where each member lies."""
    found: dict[str, tuple[int, int]] = {}
    for member in _headers(file):
        name, place = posixpath.normpath(member.name), None
        if member.islnk():
            place = found.get(posixpath.normpath(member.linkname))
            picture = replace(one, uri=f"{one.uri}#{shown(member.name)}")
            if place is not None and _is_picture(member.name):
                yield replace(picture, start=place[0], size=place[1])
            elif _is_picture(member.name):
                yield replace(picture, error=f"a hard link to {shown(member.linkname)}, which the tar file does not hold before it")
        elif _is_plain(member):
            place = member.offset_data, member.size
        if place is not None and name in targets:
            found[name] = place


def _is_picture(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def _is_packed(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in PACKED


def _is_plain(member: tarfile.TarInfo) -> bool:
    return member.isreg() and not member.issparse()


def _headers(file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """Members of a tar file, one by one.

    Raises:
        tarfile.ReadError: it is damaged, or there is more of it than its members. ``tarfile`` takes any damaged header but the first for the end.
    """
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # it would keep them all
            yield member
        end = archive.offset
    file.seek(end)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"damaged or cut short at byte {end:,}: members from there on are not found")
    while data := file.read(2**20):
        if data.count(0) < len(data):
            raise tarfile.ReadError(f"it goes on behind its end at byte {end:,}: what is there is not found")


def _rows(one: Item, file: BinaryIO, wanted: Wanted) -> Iterator[Item]:
    with pq.ParquetFile(file) as table:
        column = _column(one, table.schema_arrow, wanted.column)
        digits = max(9, len(str(table.metadata.num_rows)))  # so that the order of names is that of rows
        for row in range(table.metadata.num_rows):
            yield replace(one, uri=f"{one.uri}#{row:0{digits}}", row=row, column=column)


def _column(one: Item, schema: pa.Schema, asked: str | None) -> str:
    for name in [asked] if asked else COLUMNS:
        if name in schema.names:
            kind = schema.field(name).type
            if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and _is_binary(kind.field("bytes").type):  # as Hugging Face has it
                return f"{name}.bytes"
            if _is_binary(kind):
                return name
    asked = asked or "of " + ", ".join(COLUMNS)
    raise NoPicturesError(f"{one.uri}: holds no picture: no column {asked} of type binary, or struct with such a field bytes; --column names it")


def _is_binary(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
