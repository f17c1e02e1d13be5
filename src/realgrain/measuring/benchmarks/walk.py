"""Walks a benchmark's folders: which pictures there are, and what the names of their folders say of them. Opens none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict

from realgrain.learning.data import SUFFIXES, ManifestError, Sample
from realgrain.measuring.batch.items import shown
from realgrain.measuring.resampling import GROUP

LABELS = {"0_real": "real", "1_fake": "fake", "real": "real", "fake": "fake", "nature": "real", "ai": "fake"}
"""Label by the name of a class folder, as all known benchmarks call theirs. Never by position: sorted, ``ai`` would be class 0 and so real."""


FIELDS = {"path", "file", "label", "generator", "source", "set", "split"}
"""Of ``Sample``, all set."""


class BenchmarkError(ManifestError):
    """A benchmark's data cannot be read at all. The message names what and why."""


class Told(BaseModel):
    """What a folder's name says of the pictures in it; fields as in ``Sample``.

    Attributes:
        named_after: whether files are published under the name of the photograph that they are, or were made from. Their stem is then their
            ``group``: pictures that are alike in more than their label are drawn together for the intervals.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    set: str
    generator: str = ""
    source: str
    split: str = "test"
    named_after: bool = False


Faults = list[tuple[Path, BenchmarkError]]
"""Files in which pictures are packed, and why they, or rows in them, cannot be read."""


def sound(found: list[Sample], faults: Faults) -> list[Sample]:
    """What was found, if nothing is wrong; the first fault else."""
    for _, error in faults:
        raise error
    return found


Tell = Callable[[tuple[str, ...]], Iterable[Told]]
"""From a folder's names below the root to what its pictures are: nothing if they are none of the benchmark's, several if sets share them."""


def label_of(folder: str) -> str:
    """``real``, ``fake``, or empty for a folder that is not named as a class."""
    return LABELS.get(folder.casefold(), "")


def split_of(folder: str) -> str:
    """``train``, ``val`` or ``test``; empty for a folder that is not named as a split."""
    name = folder.casefold()
    return name if name in {"train", "val", "test"} else ""


def folders(root: Path) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Names of every folder at and below the root, with the names of its files, both in name order. Links are followed, each folder once.

    Raises:
        BenchmarkError: the root is not a folder, or one below it cannot be listed.
    """
    if not root.is_dir():
        raise BenchmarkError(f"{root}: there is no such folder")

    def refuse(error: OSError) -> None:
        raise BenchmarkError(f"{error.filename}: cannot be listed: {error.strerror}") from error

    seen: set[tuple[int, int]] = set()
    for here, below, files in os.walk(root, onerror=refuse, followlinks=True):
        status = Path(here).stat()
        if (status.st_dev, status.st_ino) in seen:
            below.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        below.sort()
        yield Path(here).relative_to(root).parts, sorted(files)


def is_picture(name: str) -> bool:
    """By its ending. Hidden files are none: archives packed on a Mac hold a ``._photo.jpg`` beside each photo."""
    return not name.startswith(".") and PurePosixPath(name).suffix.lower() in SUFFIXES


def labelled(root: Path, tell: Tell) -> list[Sample]:
    """Samples of the pictures whose folders tell what they are, in order of path, then set.

    A picture that several sets share, such as a real one that is compared with each generator, is a sample of each. Of names that are no text, such
    bytes are escaped, as ``batch`` has them: a table or a report could not hold them.
    """
    samples = []
    for parts, files in folders(root):
        pictures = [name for name in files if is_picture(name)]
        if not pictures:
            continue
        here, parts = root.joinpath(*parts), tuple(map(shown, parts))
        above = "".join(f"{part}/" for part in parts)
        for told in tell(parts):
            # Not validated again, and not each with a set of its fields' names: a tree may have millions of pictures.
            fields = told.model_dump(exclude={"named_after"})
            groups = [{GROUP: PurePosixPath(shown(name)).stem} if told.named_after else {} for name in pictures]
            samples += [
                Sample.model_construct(FIELDS, path=above + shown(name), file=here / name, **fields, **group)
                for name, group in zip(pictures, groups, strict=True)
            ]
    return in_order(samples)


def in_order(samples: Iterable[Sample]) -> list[Sample]:
    """By path, folder for folder, then by set: the same on every machine."""
    return sorted(samples, key=lambda sample: (sample.path.split("/"), sample.set))


def after(parts: tuple[str, ...], *outer: str) -> tuple[str, ...]:
    """Names without leading ones of folders that people may or may not have pointed at, such as ``datasets/test``; any case."""
    while parts and parts[0].casefold() in outer:
        parts = parts[1:]
    return parts
