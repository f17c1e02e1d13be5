"""What can be wrong with a picture or a clip, and how much of a picture is read."""

from dataclasses import dataclass, fields
from typing import Literal

Code = Literal[
    "missing",  # it is not there
    "unreachable",  # it could not be read, which says nothing of it
    "not_a_file",
    "empty",
    "too_many_bytes",
    "unknown_format",
    "unsupported_format",
    "truncated",
    "corrupt",
    "too_many_pixels",
    "too_small",
    "no_video",
    "too_long",
    "decoder_hung",
    "decoder_crashed",
]

NO_MEMORY = "there is not enough memory to decode it"
"""Reason of a refusal that says less of the picture than of the machine, under the code ``too_many_pixels``."""
MAX_TEXT = 300  # characters of a name or reason that are shown (our choice)


@dataclass(frozen=True)
class Limits:
    """How much one picture may cost (all three are our choices).

    Args:
        max_bytes: Size of the file, bytes.
        max_pixels: Width times height, pixels. Opening takes at its peak about 14 bytes of memory a pixel, 26 for WebP with alpha.
        min_side: Shortest side accepted, pixels; less holds no texture worth judging.

    Raises:
        ValueError: A limit is below 1.
    """

    max_bytes: int = 100 * 2**20
    max_pixels: int = 100_000_000
    min_side: int = 32

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(f"{field.name} must be at least 1, got {getattr(self, field.name)}")


def printable(text: str, limit: int = MAX_TEXT) -> str:
    """Return `text` safe to print on one line: control characters and lone surrogates escaped, at most `limit` characters."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


class PictureError(ValueError):
    """A picture that is refused; it can be pickled, so it may cross a process boundary.

    Attributes:
        name: What the picture was called, printable.
        code: Machine-readable kind of the refusal, one of `Code`.
        reason: The same for people; names the limit where there is one.
    """

    def __init__(self, name: str, code: Code, reason: str) -> None:
        self.name = printable(name)
        self.code: Code = code
        self.reason = printable(reason)
        super().__init__(self.name, self.code, self.reason)

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class Refused(Exception):
    """Inside this package: a refusal that does not yet know the picture's name."""

    def __init__(self, code: Code, reason: str) -> None:
        self.code: Code = code
        self.reason = reason
        super().__init__(code, reason)


def check_size(width: int, height: int, limits: Limits) -> None:
    """Refuse a picture whose header promises too many pixels or too few."""
    if width <= 0 or height <= 0:
        raise Refused("corrupt", f"the header gives a size of {width} x {height} pixels")
    if width * height > limits.max_pixels:
        raise Refused("too_many_pixels", f"{width} x {height} pixels is more than the limit of {limits.max_pixels:,} pixels")
    if min(width, height) < limits.min_side:
        raise Refused("too_small", f"{width} x {height} pixels: the shortest side must be at least {limits.min_side} pixels")
