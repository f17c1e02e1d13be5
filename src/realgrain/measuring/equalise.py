"""A copy of labelled pictures in which files tell nothing: both classes share one law of size, shape, codec and quality, and metadata are gone.

What resizing and compression did to the pixels before stays in them: a copy takes away what files show, not the history of their pictures.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError
from tqdm import tqdm

from realgrain.detector.runtime import cores
from realgrain.learning.data import Sample
from realgrain.measuring.survey import Seen, Survey, opened
from realgrain.measuring.whole import whole, write_whole
from realgrain.picture.degrade import scale
from realgrain.picture.errors import PictureError

MANIFEST, LAW = "manifest.csv", "law.json"
LEAST_SIDE = 224  # pixels, what CLIP towers see: a smaller picture is left out, else one thumbnail would shrink the whole set (our choice)
SPREAD = 0.75  # the shortest side that is drawn, of the longest: so that the smallest pictures are resampled like the others (our choice)
QUALITY = (75, 95)  # of the JPEG, uniform, both ends included (our choice)


class EqualiseError(ValueError):
    """A copy cannot be made. The message names the folder and the reason."""


class Law(BaseModel):
    """The one law of all pictures, whatever their label.

    Attributes:
        least_side: shortest side of the pictures that are in the copy, pixels, before.
        sides: range of the square's side, pixels, uniform in its logarithm: every picture can fulfil it, since the highest is the shortest side of
            the smallest picture, and none is enlarged.
        quality: range of the JPEG quality, uniform; subsampling is 4:2:0.
        pictures: sha256 of what the copy was made from, so that a copy is only resumed from the same pictures.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    least_side: int
    sides: tuple[int, int]
    quality: tuple[int, int]
    pictures: str


class Copied(BaseModel):
    """What became of the pictures: the law, how many are in the copy, and one line for each that was left out, with the reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    law: Law
    pictures: int
    left_out: list[str]


def law_of(seen: Sequence[Seen], least_side: int = LEAST_SIDE) -> Law:
    """The law that all pictures of at least ``least_side`` pixels a side can fulfil.

    Raises:
        EqualiseError: there is none.
    """
    smallest = min((side for one in seen if (side := _shortest(one)) >= least_side), default=None)
    if smallest is None:
        raise EqualiseError(f"no picture has {least_side} pixels a side: nothing to equalise")
    digest = hashlib.sha256("".join(f"{one.sample.path}\0{one.picture.sha256}\0" for one in seen).encode()).hexdigest()
    return Law(least_side=least_side, sides=(round(smallest * SPREAD), smallest), quality=QUALITY, pictures=digest)


def equalise(found: Survey, folder: Path, least_side: int = LEAST_SIDE) -> Copied:
    """Write the copy: every picture as JPEG, then ``manifest.csv`` with the columns that there were, ``original_path`` and ``original_sha256``.

    A picture is shrunk, and never enlarged, to a shortest side drawn from the law; a square is cut from anywhere; it is saved as JPEG at a quality
    drawn from the law, without metadata. All draws come from the sha256 of its file and know nothing of its label. The columns width, height, format,
    bytes and sha256 are those of the copy. A copy that was cut short is resumed.

    Args:
        found: pictures, opened once.
        folder: does not exist, is empty, or holds a copy of the same pictures under the same law.
        least_side: pictures with a shorter side, pixels, are left out.

    Raises:
        EqualiseError: the folder holds something else, or no picture is large enough.
    """
    law = law_of(found.seen, least_side)
    _prepare(folder, law)
    left_out = list(found.failed)
    rows: list[dict[str, Any]] = []

    def copied(one: Seen) -> dict[str, Any] | str:
        return _copy(one, law, folder)

    with ThreadPoolExecutor(cores()) as pool:
        for made in tqdm(pool.map(copied, found.seen), "equalising", len(found.seen), disable=None):
            if isinstance(made, str):
                left_out.append(made)
            else:
                rows.append(made)
    with whole(folder / MANIFEST) as file:
        _write_rows(file, rows)
    return Copied(law=law, pictures=len(rows), left_out=left_out)


def _prepare(folder: Path, law: Law) -> None:
    """Make the folder, or check that it is one to be resumed."""
    if folder.exists() and not folder.is_dir():
        raise EqualiseError(f"{folder}: is not a folder")
    if folder.is_dir() and any(folder.iterdir()):
        try:
            old = Law.model_validate_json((folder / LAW).read_text(encoding="utf-8"))
        except (OSError, ValidationError, UnicodeDecodeError):
            raise EqualiseError(f"{folder}: holds something else than an equalised copy; give a new folder") from None
        if old != law:
            raise EqualiseError(f"{folder}: holds an equalised copy of other pictures or under another law; give a new folder")
    write_whole(folder / LAW, (law.model_dump_json(indent=1) + "\n").encode())


def _copy(one: Seen, law: Law, folder: Path) -> dict[str, Any] | str:
    """Row of the manifest, or why the picture is left out."""
    sample = one.sample
    if _shortest(one) < law.least_side:
        return f"{sample.path}: left out of the copy: shortest side {_shortest(one)} pixels, at least {law.least_side} are needed"
    inside = Path(f"{sample.path}.jpg")  # the whole old name: a.png and a.jpg stay two pictures
    file = folder / inside
    if inside.is_absolute() or ".." in inside.parts:
        return f"{sample.path}: left out of the copy: its path leads out of the folder"
    if not file.exists():
        try:
            picture, _ = opened(sample)
        except (PictureError, OSError) as error:
            return f"{sample.path}: left out of the copy: {error}"
        if picture.sha256 != one.picture.sha256:
            return f"{sample.path}: left out of the copy: the file has changed since it was audited"
        data = equal(picture.pixels, law, picture.sha256)
        write_whole(file, data)
    return _row(sample, one, inside.as_posix(), file.read_bytes())


def equal(pixels: np.ndarray, law: Law, sha256: str) -> bytes:
    """A JPEG of a picture under the law.

    Args:
        pixels: (H, W, 3) uint8 RGB, no side shorter than the law's highest.
        law: of sizes and qualities.
        sha256: of the original file: seeds the draws.
    """
    rng = np.random.default_rng(int(sha256, 16))
    low, high = law.sides
    side = round(np.exp(rng.uniform(np.log(low), np.log(high))))
    quality = int(rng.integers(*law.quality, endpoint=True))
    shortest = min(pixels.shape[:2])
    small = scale(pixels, side / shortest) if side < shortest else pixels
    top, left = (int(rng.integers(length - side + 1)) for length in small.shape[:2])
    file = io.BytesIO()
    Image.fromarray(small[top : top + side, left : left + side]).save(file, "JPEG", quality=quality, subsampling=2)
    return file.getvalue()


def _shortest(one: Seen) -> int:
    return min(one.picture.width, one.picture.height)


def _row(sample: Sample, one: Seen, path: str, data: bytes) -> dict[str, Any]:
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:  # our own bytes; the header suffices
        width, height = image.size
    kept = {name: getattr(sample, name) for name in ("label", "generator", "source", "set", "split")} | (sample.model_extra or {})
    facts = {"width": width, "height": height, "format": "JPEG", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return {"path": path, **kept, **facts, "original_path": sample.path, "original_sha256": one.picture.sha256}


def _write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
