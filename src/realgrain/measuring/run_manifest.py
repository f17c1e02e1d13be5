"""The pictures of a run, one by one: which are chosen, and what each file is. ``manifest.csv`` of a run is this, written down."""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from realgrain.detector.ahead import ahead
from realgrain.detector.weights import file_sha256
from realgrain.learning.data import ManifestError, Sample
from realgrain.measuring.score import SAMPLE, unreadable
from realgrain.picture.image import Limits, PictureError, open_picture

Key = tuple[str, str]
"""Set and path: what a picture is called."""


class Entry(BaseModel):
    """A line of ``manifest.csv``.

    Attributes:
        sha256: of the file's bytes; empty where they cannot be read.
        width: pixels, upright; None, like ``height`` and ``bytes``, where it did not open.
        format: by content; empty where it did not open.
        error: why it did not open; empty elsewhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    label: str
    generator: str
    source: str
    set: str
    split: str
    sha256: str
    width: int | None = None
    height: int | None = None
    format: str = ""
    bytes: int | None = None
    error: str = ""

    @property
    def key(self) -> Key:
        """Set and path."""
        return self.set, self.path


def key_of(sample: Sample) -> Key:
    """Set and path."""
    return sample.set, sample.path


def choose(samples: Sequence[Sample], split: str = "", limit: int | None = None) -> list[Sample]:
    """The samples of a split; of each set, label and source at most ``limit``, whose names' sha256 comes first.

    Neither the order of rows nor the machine can change the choice. Names rather than contents decide, because a benchmark of a million files would
    have to be read whole for a look at a few of them (our choice).

    Raises:
        ManifestError: nothing is left, or two samples have one name.
    """
    kept = [sample for sample in samples if not split or sample.split == split]
    if not kept:
        there = ", ".join(sorted({sample.split or "(unnamed)" for sample in samples}))
        raise ManifestError(f"no pictures in split {split!r}; there are {there}" if samples else "no pictures")
    if len({key_of(sample) for sample in kept}) < len(kept):
        seen: set[Key] = set()
        twice = next(key for key in map(key_of, kept) if key in seen or seen.add(key))
        raise ManifestError(f"{' '.join(filter(None, twice))}: occurs twice")
    if limit is None:
        return kept
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    ranks = [hashlib.sha256("\n".join(key_of(sample)).encode()).digest() for sample in kept]
    for row in sorted(range(len(kept)), key=ranks.__getitem__):
        groups[kept[row].set, kept[row].label, kept[row].source].append(row)
    return [kept[row] for row in sorted(row for rows in groups.values() for row in rows[:limit])]


def survey(samples: Iterable[Sample], limits: Limits, known: Mapping[Key, Entry] | None = None) -> Iterator[Entry]:
    """An entry for each sample, in order; a bad file gives one with its error.

    Args:
        samples: to look at.
        limits: of the files to accept.
        known: entries of before; a file whose sha256 is still that of its entry is not decoded again.
    """
    known = known or {}
    jobs: Iterator[Callable[[], Entry]] = (partial(_look, sample, limits, known.get(key_of(sample))) for sample in samples)
    yield from ahead(jobs)


def _look(sample: Sample, limits: Limits, before: Entry | None) -> Entry:
    named = sample.model_dump(include=set(SAMPLE))
    try:
        content = sample.content()
        digest = content_sha256(content)
    except OSError as error:
        return Entry(**named, sha256="", error=str(unreadable(sample, error)))
    if before is not None and digest and before.sha256 == digest:
        return before.model_copy(update=named)
    try:
        picture = open_picture(content, name=sample.path, limits=limits)
    except PictureError as error:
        return Entry(**named, sha256=digest, error=str(error))
    return Entry(**named, sha256=picture.sha256, width=picture.width, height=picture.height, format=picture.format, bytes=picture.bytes)


def content_sha256(content: Path | bytes) -> str:
    """Sha256 of a file's bytes, empty where there is no regular file to read."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    return file_sha256(content) if content.is_file() else ""


def write_entries(entries: Iterable[Entry], file: Path) -> None:
    """Write a manifest, line by line as entries come."""
    names = list(Entry.model_fields)
    with file.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(["" if (value := getattr(entry, name)) is None else value for name in names] for entry in entries)


def read_entries(file: Path) -> Iterator[Entry]:
    """Entries of a manifest that ``write_entries`` wrote, one by one.

    Raises:
        ManifestError: it is no such manifest.
    """
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = csv.DictReader(lines)
            if rows.fieldnames != list(Entry.model_fields):
                raise ManifestError(f"{file}: not the manifest of a run: its columns are others")
            for row in rows:
                yield Entry.model_validate({**row, **{name: row.get(name) or None for name in ("width", "height", "bytes")}})
    except (OSError, UnicodeDecodeError, csv.Error, ValidationError, TypeError) as error:
        raise ManifestError(f"{file}: not the manifest of a run: {error}") from error


def aside(scratch: Path) -> Path:
    """Where a manifest whose writing was broken off lies while it is written anew."""
    return scratch.with_suffix(".earlier")


def take_over(scratch: Path, earlier: Path) -> list[Entry]:
    """Entries of a manifest whose writing was broken off, once or several times, which spare decoding; the longer file is kept aside.

    The last line may be torn. Those with an error are left out too: other versions of the decoders, which nothing pins yet, may open the file.
    """
    found = [entry for file in (earlier, scratch) for entry in _whole_entries(file) if not entry.error]
    if scratch.is_file() and (not earlier.is_file() or earlier.stat().st_size < scratch.stat().st_size):
        scratch.replace(earlier)
    return found


def _whole_entries(file: Path) -> list[Entry]:
    found: list[Entry] = []
    with suppress(ManifestError):  # there is no such file, or here it was broken off
        for entry in read_entries(file):
            found.append(entry)  # noqa: PERF402 - what was read before the error counts
    return found[:-1]
