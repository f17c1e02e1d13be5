"""What people name on a command line -> paths of pictures, in a fixed order and each once."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from realgrain.learning.data import SUFFIXES
from realgrain.picture import clip
from realgrain.picture.image import PictureError


def suffixes() -> frozenset[str]:
    """Of files that are looked for in folders: pictures, and clips where the extra that reads them is installed."""
    return SUFFIXES | clip.SUFFIXES if clip.readable() else SUFFIXES


def expand(names: Iterable[str]) -> tuple[list[Path], list[PictureError]]:
    """Pictures and clips behind files, folders (searched through, by suffix), globs, and ``-`` (a list of files, one a line, on standard input).

    A file that is named is taken whatever its suffix. What leads nowhere comes back as errors, so that it stops nothing.
    """
    found: dict[Path, None] = {}
    missing: list[PictureError] = []
    for name in names:
        for one in _listed() if name == "-" else [name]:
            if paths := _paths(one):
                found.update(dict.fromkeys(paths))
            else:
                missing.append(PictureError(one or "''", "missing", "no such file, and no picture behind it"))
    return list(found), missing


def _listed() -> list[str]:
    """Lines of standard input that are not empty; a name may hold any bytes, also such as are no text."""
    return list(filter(None, (line.removesuffix("\r") for line in os.fsdecode(sys.stdin.buffer.read()).split("\n"))))


def _paths(name: str) -> list[Path]:
    if not name or "\0" in name:  # pathlib would take nothing for the current folder, and no system has a name with NUL
        return []
    path = Path(name)
    try:
        if path.is_dir():
            wanted = suffixes()
            return sorted(file for file in path.rglob("*") if file.suffix.lower() in wanted and not file.is_dir())
        if path.exists() or path.is_symlink():
            return [path]
    except OSError:  # a name that is too long, a folder that may not be looked into: whoever opens it will say so
        return [path]
    if glob.has_magic(name):
        return sorted(file for file in map(Path, glob.iglob(name, recursive=True)) if not file.is_dir())  # noqa: PTH207  (absolute patterns too)
    return []
