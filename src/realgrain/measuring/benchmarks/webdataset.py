"""WebDataset shards: tar files in which a picture and what is said of it share a name. Pictures are read where they lie; nothing is unpacked."""

from __future__ import annotations

import json
import tarfile
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Any

from realgrain.learning.data import SUFFIXES, Sample
from realgrain.measuring.batch.items import shown
from realgrain.measuring.benchmarks.card import Card
from realgrain.measuring.benchmarks.columns import told
from realgrain.measuring.benchmarks.folder import OPEN
from realgrain.measuring.benchmarks.walk import BenchmarkError, Faults, folders, in_order, sound
from realgrain.picture.errors import Limits, printable

MAX_NOTE = 2**20  # bytes of a .json, .cls or .txt member that are read (our choice)

CARD = Card(
    name="webdataset",
    title="WebDataset tar shards",
    paper="",
    licence="not stated",
    where="yours",
    label_rule="member .json: label real or fake, or 0 real and 1 fake; else member .cls or .txt with one of those. "
    "With .json also generator (model_name), source (real_source), set, split and group",
    layout_known="code",
    test=OPEN,
    training="yours",
    real_sources="key source or real_source of the .json member, else the shard",
    notes="Not compressed: a picture is read at its offset. The root is a shard or a folder of shards.",
)

LAYOUT = {"shards": ("shard-000000.tar", "shard-000001.tar")}


class Packed(Sample):
    """A picture inside a tar file.

    Attributes:
        path: shard, then the member's name made harmless: nothing that leaves a folder, nothing unprintable.
        file: the shard; several samples share it.
        start: first byte of the picture in the shard.
        size: bytes of the picture.
    """

    start: int
    size: int

    def content(self) -> bytes:
        """The picture's bytes, one more than an opener's limit at most, so that it refuses what is larger."""
        with self.file.open("rb") as shard:
            shard.seek(self.start)
            return shard.read(min(self.size, Limits().max_bytes + 1))


def samples(root: Path) -> list[Sample]:
    """Pictures of all shards, in order of shard, then name.

    Raises:
        BenchmarkError: a shard is compressed, damaged, cut off or names a picture twice, or a picture has no label.
    """
    return sound(*look(root))


def look(root: Path) -> tuple[list[Sample], Faults]:
    """Pictures of the shards that can be read, in that order, and what is wrong with the others."""
    if root.is_file():
        shards = {root: shown(root.name)}
    else:
        names = [
            PurePosixPath(*parts, name) for parts, files in folders(root) for name in files if name.endswith(".tar") and not name.startswith(".")
        ]
        shards = {root / name: shown(name.as_posix()) for name in names}
    found: list[Sample] = []
    faults: Faults = []
    for file, name in shards.items():
        try:
            found += _shard(file, name)
        except BenchmarkError as error:
            faults.append((file, error))
    return in_order(found), faults


def _shard(file: Path, name: str) -> list[Sample]:
    try:
        with file.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:") as archive:  # "r:": uncompressed only, else offsets mean nothing
            members = [member for member in archive if member.isreg() and not member.issparse()]
            raw.seek(archive.offset)
            if raw.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # tarfile takes the end of the file, or junk, for the end of the archive
                raise BenchmarkError(f"{file}: is cut off or damaged at byte {archive.offset:,}, where neither a member nor the end is")
            groups: dict[str, dict[str, tarfile.TarInfo]] = defaultdict(dict)
            for member in members:
                key, suffix = _split(member.name)
                if suffix in groups[key]:
                    raise BenchmarkError(f"{file}: holds {printable(member.name)} twice")
                groups[key][suffix] = member
            found = [sample for key, group in groups.items() for sample in _group(archive, file, name, key, group)]
    except (tarfile.TarError, OSError, ValueError) as error:
        if isinstance(error, BenchmarkError):
            raise
        raise BenchmarkError(f"{file}: not readable as an uncompressed tar file: {error}") from error
    paths: set[str] = set()
    for sample in found:
        if sample.path in paths:
            raise BenchmarkError(f"{file}: holds {sample.path} twice")
        paths.add(sample.path)
    return found


def _split(member: str) -> tuple[str, str]:
    """Key and suffix as WebDataset parts them: at the first dot of the last name. Some packers write backslashes between names."""
    folder, slash, last = member.replace("\\", "/").rpartition("/")
    key, _, suffix = last.partition(".")
    return folder + slash + key, suffix.lower()


def _group(archive: tarfile.TarFile, file: Path, shard: str, key: str, group: dict[str, tarfile.TarInfo]) -> list[Sample]:
    pictures = {suffix: member for suffix, member in group.items() if f".{suffix}" in SUFFIXES}
    if not pictures:
        return []
    said = _json(archive, file, group["json"]) if "json" in group else {}
    if "label" not in said and (kind := next((kind for kind in ("cls", "txt") if kind in group), None)):
        said["label"] = _note(archive, file, group[kind])
    inside = "/".join(part for part in key.split("/") if part not in {"", ".", ".."})
    made: list[Sample] = []
    for suffix, member in sorted(pictures.items()):
        where = f"{shard}/{printable(inside)}.{suffix}"
        fields = told(said, f"{file}, {printable(member.name)}", otherwise=PurePosixPath(shard).stem)
        made.append(Packed(path=where, file=file, start=member.offset_data, size=member.size, **fields))
    return made


def _note(archive: tarfile.TarFile, file: Path, member: tarfile.TarInfo) -> str:
    if member.size > MAX_NOTE:
        raise BenchmarkError(f"{file}: {printable(member.name)} has {member.size:,} bytes, more than {MAX_NOTE:,}")
    stream = archive.extractfile(member)
    assert stream is not None  # a regular file
    return stream.read().decode("utf-8")


def _json(archive: tarfile.TarFile, file: Path, member: tarfile.TarInfo) -> dict[str, Any]:
    try:
        said = json.loads(_note(archive, file, member))
    except (json.JSONDecodeError, RecursionError) as error:
        raise BenchmarkError(f"{file}: {printable(member.name)} is not JSON: {error}") from error
    if not isinstance(said, dict):
        raise BenchmarkError(f"{file}: {printable(member.name)} is not a JSON object")
    return said
