"""Looks a benchmark's data over before hours are spent on it: what is missing, short, broken, or no part of it."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict

from realgrain.detector.weights import file_sha256
from realgrain.learning.data import Sample
from realgrain.measuring.benchmarks import Benchmark
from realgrain.measuring.benchmarks.card import Known, Size
from realgrain.measuring.benchmarks.walk import BenchmarkError, folders
from realgrain.picture.errors import PictureError, printable
from realgrain.picture.image import open_picture

MAX_PATH = 4096  # characters of an extra file's path that are kept, its control characters escaped (our choice)
SURE: tuple[Known, ...] = ("paper", "code")  # numbers that a copy must reach to be whole; from other places they may be wrong (our choice)
HALF = 0.5  # of a number that may be wrong: it is not that wrong, so that a copy must reach this much of it (our choice)
AT_ONCE = 512  # pictures given to the threads before their answers are read: bounds memory (our choice)
CHANGED = "changed"
Watch = Callable[[Iterable["Broken | None"], int], Iterable["Broken | None"]]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Count(_Frozen):
    """Pictures of a set in one split, there and as published.

    Attributes:
        published_real: None where the number is not known; so for ``published_fake``.
        known: how surely the published numbers are known.
        rounded: unit to which they are rounded; 0 where they are exact.
        even: whether as many real as fake ones were published.
    """

    set: str
    split: str
    real: int
    fake: int
    published_real: int | None = None
    published_fake: int | None = None
    known: Known = "unknown"
    rounded: int = 0
    even: bool = False


class Broken(_Frozen):
    """A file that is not usable as a picture, with one of ``realgrain.picture.errors.Code`` and the reason in words.

    Or one that a manifest says has other bytes (columns bytes and sha256): its code is ``changed``.
    """

    path: str
    code: str
    reason: str


class Findings(_Frozen):
    """What ``check`` found.

    Attributes:
        benchmark: its name.
        root: the folder.
        opened: whether every picture was opened; else only names and sizes were looked at.
        pictures: files or packed pictures, each once.
        counts: of samples, by set and split; a picture that sets share counts in each.
        missing: sets, and classes of sets, in words.
        short: classes of sets with fewer pictures than were published, in words, where the number is from the paper or the code; with fewer than half
            of them, where it is from elsewhere and may be wrong.
        remarks: classes with fewer than such a number, and at least half; classes with more pictures than were published; classes of unlike size
            where they were published alike.
        broken: pictures that cannot be used, and files that cannot be read in which pictures are packed.
        extra: files below the root that are no part of the benchmark.
    """

    benchmark: str
    root: str
    opened: bool
    pictures: int
    counts: tuple[Count, ...]
    missing: tuple[str, ...]
    short: tuple[str, ...]
    remarks: tuple[str, ...]
    broken: tuple[Broken, ...]
    extra: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """True if nothing is missing, surely short, or broken; remarks and extra files harm nothing."""
        return not (self.missing or self.short or self.broken)


def _unwatched(items: Iterable[Broken | None], total: int) -> Iterable[Broken | None]:  # noqa: ARG001
    return items


def check(root: Path, benchmark: Benchmark, *, quick: bool = False, watch: Watch = _unwatched) -> Findings:
    """Compare a folder with what a benchmark's card says it holds, and open every picture in it.

    Args:
        root: as for ``benchmark.samples``.
        benchmark: whose layout it should have.
        quick: look at names and sizes only.
        watch: passes through the answers for each picture, to show progress; gets their number too.

    Raises:
        ManifestError: the folder or a file that says what is what cannot be read at all.
    """
    samples, faults = benchmark.look(root)
    once = list({(sample.file, sample.path): sample for sample in samples}.values())
    answers = map(_by_size, once) if quick else _opened(once)
    counts = _counts(samples, benchmark.card.sizes)
    return Findings(
        benchmark=benchmark.card.name,
        root=str(root),
        opened=not quick,
        pictures=len(once),
        counts=counts,
        missing=_missing(samples, benchmark.card.sizes),
        short=tuple(words for count in counts for words in _short(count)),
        remarks=tuple(words for count in counts for words in _remarks(count)),
        broken=(*(_unreadable(root, file, error) for file, error in faults), *(answer for answer in watch(answers, len(once)) if answer)),
        extra=_extra(root, {*(sample.file for sample in samples), *(file for file, _ in faults)}, benchmark.card.beside),
    )


def _unreadable(root: Path, file: Path, error: BenchmarkError) -> Broken:
    path = file.name if file == root else file.relative_to(root).as_posix()
    return Broken(path=path, code="corrupt", reason=printable(str(error).removeprefix(str(file)).lstrip(":, ")))


def _opened(samples: Sequence[Sample]) -> Iterator[Broken | None]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(samples), AT_ONCE):
            yield from pool.map(_open, samples[start : start + AT_ONCE])


def _open(sample: Sample) -> Broken | None:
    try:
        open_picture(sample.content(), name=sample.path)
        return _changed(sample)
    except PictureError as error:
        return Broken(path=sample.path, code=error.code, reason=error.reason)
    except OSError as error:  # of a file that pictures are packed in
        return Broken(path=sample.path, code="missing", reason=str(error))


def _by_size(sample: Sample) -> Broken | None:
    size = getattr(sample, "size", None)  # of a picture in a tar file
    if size is None and type(sample).content is not Sample.content:
        return None  # a row of a data set: its size is known only when it is read
    try:
        size = sample.file.stat().st_size if size is None else size
    except OSError as error:
        return Broken(path=sample.path, code="missing", reason=error.strerror or str(error))
    return _other_size(sample, size) if size else Broken(path=sample.path, code="empty", reason="has no bytes at all")


def _said(sample: Sample, column: str) -> str:
    """What a manifest says of a picture in a column that not every manifest has; empty where it says nothing."""
    return str((sample.model_extra or {}).get(column, "")).strip()


def _other_size(sample: Sample, size: int) -> Broken | None:
    said = _said(sample, "bytes").removesuffix(".0")  # tables with gaps are often written with all numbers as fractions
    if not said.isdecimal() or int(said) == size:
        return None
    return Broken(path=sample.path, code=CHANGED, reason=f"has {size} bytes, not {int(said)} as the manifest says")


def _changed(sample: Sample) -> Broken | None:
    """A picture that is not the file that a manifest describes."""
    if _said(sample, "bytes") and (found := _other_size(sample, sample.file.stat().st_size)):
        return found
    said = _said(sample, "sha256").lower()
    if not said or said == file_sha256(sample.file):
        return None
    return Broken(path=sample.path, code=CHANGED, reason="has not the sha256 that the manifest says")


def _tally(samples: Sequence[Sample]) -> dict[tuple[str, str], Counter[str]]:
    there: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for sample in samples:
        there[sample.set, sample.split][sample.label] += 1
    return there


def _counts(samples: Sequence[Sample], sizes: Sequence[Size]) -> tuple[Count, ...]:
    there, published = _tally(samples), {(size.set, size.split): size for size in sizes}
    rows = [key for key, size in published.items() if size.needed or key in there] + sorted(key for key in there if key not in published)
    return tuple(_count(key, there.get(key, Counter()), published.get(key)) for key in rows)


def _count(key: tuple[str, str], there: Counter[str], size: Size | None) -> Count:
    count = Count(set=key[0], split=key[1], real=there["real"], fake=there["fake"])
    if size is None:
        return count
    return count.model_copy(
        update={"published_real": size.real, "published_fake": size.fake, "known": size.known, "rounded": size.rounded, "even": size.even}
    )


def _missing(samples: Sequence[Sample], sizes: Sequence[Size]) -> tuple[str, ...]:
    if not samples:
        return ("all: no picture lies where the benchmark's layout has one",)
    there = _tally(samples)
    if not sizes:
        labels = {sample.label for sample in samples}
        return tuple(f"no {label} pictures" for label in ("real", "fake") if label not in labels)
    found = []
    for size in sizes:
        counts = there.get((size.set, size.split))
        if counts is None:
            found += [f"set {size.set} ({size.split})"] if size.needed else []
            continue
        for label, published in (("real", size.real), ("fake", size.fake)):
            if not counts[label] and published != 0:
                found.append(f"{label} pictures of set {size.set} ({size.split})")
    return tuple(found)


def _classes(count: Count) -> Iterator[tuple[str, int, int]]:
    """Label, pictures there, and pictures published, of the classes whose published number is known."""
    for label, there, published in (("real", count.real, count.published_real), ("fake", count.fake, count.published_fake)):
        if published is not None:
            yield label, there, published


def _fewer(count: Count, share: float) -> list[str]:
    """Classes with less than a share of what was published, in words, by more than rounding explains; those that are not there at all are missing."""
    return [
        f"{there} of {published} {label} pictures of set {count.set} ({count.split})"
        for label, there, published in _classes(count)
        if 0 < there < share * published - count.rounded / 2
    ]


def _short(count: Count) -> list[str]:
    if count.known in SURE:
        return _fewer(count, 1)
    return [f"{words}; the number is {count.known}" for words in _fewer(count, HALF)]


def _remarks(count: Count) -> list[str]:
    """What may be wrong with a set and fails nothing: another set unpacked into it, say, or a number that was never right."""
    surplus = [
        f"{there} {label} pictures of set {count.set} ({count.split}), more than the {published} published"
        for label, there, published in _classes(count)
        if there > published + count.rounded / 2
    ]
    if count.known not in SURE:
        fewer = [words for words in _fewer(count, 1) if words not in _fewer(count, HALF)]
        surplus = [f"{words}; the number is {count.known}" for words in (*fewer, *surplus)]
    unlike = count.even and count.published_real is None and count.real and count.fake and count.real != count.fake
    uneven = f"{count.real} real and {count.fake} fake pictures of set {count.set} ({count.split}), published with as many of both"
    return [*surplus, *([uneven] if unlike else [])]


def _extra(root: Path, known: set[Path], beside: Sequence[str]) -> tuple[str, ...]:
    if not root.is_dir():
        return ()
    if root in known:  # a data set that is the folder itself
        return ()
    found = []
    for parts, files in folders(root):
        expected = [name for name in files if root.joinpath(*parts, name) in known or any(fnmatch(name, pattern) for pattern in beside)]
        found += [printable(PurePosixPath(*parts, name).as_posix(), MAX_PATH) for name in sorted(set(files) - set(expected))]
    return tuple(found)
