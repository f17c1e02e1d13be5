"""A benchmark's pictures as a CSV manifest, which training and every other command read."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path

from realgrain.learning.data import Sample
from realgrain.measuring.batch.items import is_text, shown
from realgrain.measuring.benchmarks.walk import BenchmarkError
from realgrain.measuring.resampling import GROUP
from realgrain.measuring.whole import whole
from realgrain.picture.errors import printable

COLUMNS = ("path", "label", "generator", "source", "split")
"""Without the set: a picture that several sets share stands once, as a manifest wants it. With ``group`` where a benchmark tells it."""


def write_manifest(samples: Iterable[Sample], file: Path) -> int:
    """Write a manifest of samples in their order, with paths relative to it. Returns its number of pictures.

    Raises:
        BenchmarkError: there are none, one is packed into another file, lies outside the manifest's folder or has a name that is no text, or sets do
            not agree on what it is.
        FileExistsError: the manifest is there already.
    """
    if file.exists():
        raise FileExistsError(f"{file}: exists already")
    folder = _absolute(file.parent)
    rows: dict[str, tuple[str, ...]] = {}
    samples = list(samples)
    columns = (*COLUMNS, *([GROUP] if any(GROUP in (sample.model_extra or {}) for sample in samples) else []))
    for sample in samples:
        path = _inside(sample, folder)
        row = path, *(str(getattr(sample, name, "")) for name in columns[1:])
        if rows.setdefault(path, row) != row:
            raise BenchmarkError(
                f"{printable(path)}: is {' '.join(filter(None, rows[path][1:]))} in one set, {' '.join(filter(None, row[1:]))} in another"
            )
    if not rows:
        raise BenchmarkError(f"no pictures for {file}")
    with whole(file) as scratch, scratch.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows.values())
    return len(rows)


def _inside(sample: Sample, folder: Path) -> str:
    if type(sample).content is not Sample.content:
        raise BenchmarkError(f"{sample.file}: holds pictures in one file, and a manifest names files of one picture each")
    try:
        path = _absolute(sample.file).relative_to(folder).as_posix()
    except ValueError:
        raise BenchmarkError(f"{sample.file}: not below {folder}; write the manifest into a folder that holds all its pictures") from None
    if not is_text(path):
        raise BenchmarkError(f"{shown(path)}: a name that is not UTF-8 cannot stand in a manifest; rename it")
    return path


def _absolute(path: Path) -> Path:
    """Without following links: what a link below a folder names is below it, wherever it lies."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() follows them
