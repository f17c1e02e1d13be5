"""What a file says about itself beside its pixels. Nothing here ever refuses a picture: broken metadata is no metadata."""

import struct
from collections.abc import Sequence

import numpy as np

from realgrain.picture import ifd
from realgrain.picture.errors import printable

MAX_ICC_TEXT = 80  # characters (our choice)

# Luminance table of ITU-T T.81 annex K.1 in row order, the base of the IJG quality scale.
_K1 = np.array(
    [
        *(16, 11, 10, 16, 24, 40, 51, 61),
        *(12, 12, 14, 19, 26, 58, 60, 55),
        *(14, 13, 16, 24, 40, 57, 69, 56),
        *(14, 17, 22, 29, 51, 87, 80, 62),
        *(18, 22, 37, 56, 68, 109, 103, 77),
        *(24, 35, 55, 64, 81, 104, 113, 92),
        *(49, 64, 78, 87, 103, 121, 120, 101),
        *(72, 92, 95, 98, 112, 100, 103, 99),
    ],
    dtype=np.int64,
)


def _ijg_tables() -> np.ndarray:
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.clip((scale[:, None] * _K1 + 50) // 100, 1, 255)


_IJG = _ijg_tables()

# Factors of luminance, with one sample of each colour.
_SAMPLINGS: dict[tuple[tuple[int, int], ...], str] = {
    ((across, down), (1, 1), (1, 1)): name
    for (across, down), name in {(1, 1): "4:4:4", (2, 1): "4:2:2", (1, 2): "4:4:0", (2, 2): "4:2:0", (4, 1): "4:1:1"}.items()
}


def jpeg_quality(table: list[int] | None) -> int | None:
    """Estimate the quality a JPEG was saved with.

    Args:
        table: The 64 steps of the luminance quantisation table in row order, 1..65535.

    Returns:
        The quality, 1..100, whose table on the scale of the Independent JPEG Group's library is nearest (sum of absolute
        differences; the higher of two equals). Exact for files of that library; only a comparison for cameras, which use tables
        of their own. None without a table of 64 steps.
    """
    if table is None or len(table) != 64:
        return None
    distance = np.abs(_IJG - np.array(table, dtype=np.int64)).sum(axis=1)
    return 100 - int(np.argmin(distance[::-1]))


def subsampling(layers: Sequence[Sequence[int]]) -> str:
    """Name how a JPEG's colour is sampled: "4:4:4", "4:2:2", "4:4:0", "4:2:0", "4:1:1", "grey", or the factors themselves, such as "2x2,2x1,1x1".

    Args:
        layers: Of each component its identifier and its horizontal and vertical sampling factor (ITU-T T.81, B.2.2), as Pillow lists them.
    """
    factors = tuple((layer[1], layer[2]) for layer in layers)
    if len(factors) == 1:
        return "grey"
    return _SAMPLINGS.get(factors, ",".join(f"{across}x{down}" for across, down in factors))


def orientation(exif: object) -> int:
    """Return the EXIF orientation, 1..8, of a block of EXIF bytes; 1, "as stored", if it has none that is valid."""
    if not isinstance(exif, bytes):
        return 1
    value = ifd.number(exif.removeprefix(b"Exif\0\0"), ifd.ORIENTATION)
    return value if value is not None and 1 <= value <= 8 else 1


def pictures_in_jpeg(index: object) -> int:
    """Return how many pictures the multi-picture index (CIPA DC-007) of a JPEG lists; 1 without an index."""
    return max(1, ifd.number(index, ifd.MPF_PICTURES) or 1) if isinstance(index, bytes) else 1


def icc_description(profile: object) -> str | None:
    """Return the description in an ICC profile (ICC.1 clause 9.2.41), printable and short; None if there is no profile."""
    if not isinstance(profile, bytes) or not profile:
        return None
    try:
        text = _description(profile)
    except (struct.error, UnicodeDecodeError):
        text = ""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return printable(text, MAX_ICC_TEXT) or "unnamed profile"


def _description(profile: bytes) -> str:
    (count,) = struct.unpack_from(">L", profile, 128)
    for i in range(min(count, 200)):
        tag, at, size = struct.unpack_from(">4sLL", profile, 132 + 12 * i)
        if tag == b"desc":
            return _text(profile[at : at + min(size, 4096)])
    return ""


def _text(tag: bytes) -> str:
    """Read a text tag of ICC version 2 ("desc", ASCII) or 4 ("mluc", the first of its languages in UTF-16)."""
    if tag[:4] == b"desc":
        (length,) = struct.unpack_from(">L", tag, 8)
        return tag[12 : 12 + length].split(b"\0")[0].decode("ascii", "replace")
    if tag[:4] == b"mluc":
        length, at = struct.unpack_from(">LL", tag, 20)
        return tag[at : at + length].decode("utf-16-be", "replace").split("\0")[0]
    return ""
