"""A look at a file's skeleton before a decoder sees it.

Decoders accept files that are valid and yet cost hours: a JPEG of a million scans, a PNG of millions of empty chunks, a GIF of
millions of one-byte blocks. Every bound here is our choice, far above what real pictures have; each walk is itself bounded.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple

from realgrain.picture import ifd
from realgrain.picture.errors import Limits, Refused, check_size

MAX_SCANS = 100  # JPEG; libjpeg's own progressive script has 10
MAX_HEADER_SEGMENTS = 1_000  # JPEG, before the first scan
MAX_HEADER_BYTES = 16 * 2**20  # JPEG, before the first scan
MAX_JUNK = 2**20  # JPEG, bytes before the first scan that belong to no segment
MAX_SEGMENTS = 10_000  # JPEG, in all
MAX_CHUNKS = 200_000  # PNG
MAX_TEXT = 16 * 2**20  # PNG, bytes of compressed text in all, unpacked
MAX_BLOCKS = 1_000_000  # GIF, data sub-blocks and the like
MAX_PAGES = 10_000  # TIFF
MAX_VALUES = 1_000_000  # TIFF, numbers in one tag

# The next marker of a JPEG that is neither a stuffed byte, padding nor a restart marker.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]", re.DOTALL)
_SOI, EOI, SOS, _TEM = 0xD8, 0xD9, 0xDA, 0x01
_ANIMATED = frozenset({b"acTL", b"fcTL", b"fdAT", b"IDAT"})  # chunks of a PNG that hold its frames
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})  # chunks of a PNG


class Frames(NamedTuple):
    """How many frames a file has, and whether counting got to the end."""

    count: int
    complete: bool


def inspect(kind: str, data: bytes, limits: Limits) -> Frames | None:
    """Refuse files that a decoder should not be asked to open.

    Args:
        kind: The format, as `magic.identify` names it.
        data: The file.
        limits: For WebP, whose decoder takes the memory of the whole canvas when it reads the header, and GIF.

    Returns:
        The number of frames for the formats where only a walk tells it (GIF, TIFF), else None.

    Raises:
        Refused: corrupt, truncated, unsupported_format or the size refusals.
    """
    match kind:
        case "JPEG":
            _walk_jpeg(data)
        case "PNG":
            _walk_png(data)
        case "WEBP":
            _look_at_webp(data, limits)
        case "GIF":
            return _walk_gif(data, limits)
        case "TIFF":
            return _look_at_tiff(data)
    return None


class Part(NamedTuple):
    """A segment of a JPEG or a chunk of a PNG: its name, where it starts, and where its content lies in the file."""

    name: int | bytes
    start: int
    body: int
    end: int


def jpeg_segments(data: bytes) -> Iterator[Part]:
    """Yield the segments of a JPEG by marker, to the end of its picture, which comes last; bytes that belong to none are passed over."""
    at, scans = 2, 0
    while found := _MARKER.search(data, at):
        marker, at = data[found.start() + 1], found.end()
        if marker not in (_SOI, EOI, _TEM):
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
        yield Part(marker, found.start(), min(found.end() + 2, at), at)
        scans += marker == SOS
        if marker == EOI and scans:
            return


def png_chunks(data: bytes) -> Iterator[Part]:
    """Yield the chunks of a PNG by type, to its last, IEND."""
    at = 8
    while at + 8 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        name = data[at + 4 : at + 8]
        yield Part(name, at, at + 8, end)
        if name == b"IEND":
            return
        at = end + 4


def png_text(name: bytes, body: bytes) -> tuple[bytes, bytes, bool]:
    """Return key and text of a text chunk as they stand there (PNG, third edition, 11.3.3), and whether the text is compressed."""
    key, _, rest = body.partition(b"\0")
    if name == b"zTXt":
        return key, rest[1:], True
    if name == b"iTXt":
        return key, rest[2:].split(b"\0", 2)[-1] if rest[2:].count(b"\0") >= 2 else b"", rest[:1] == b"\1"
    return key, rest, False


def inflated(data: bytes, limit: int) -> bytes:
    """Unpack what zlib packed, at most `limit` bytes; none where it did not."""
    try:
        return zlib.decompressobj().decompress(data, limit) if limit > 0 else b""
    except zlib.error:
        return b""


def without_text(data: bytes) -> bytes:
    """Return a PNG without its text chunks, but for one that is cut short.

    Pillow refuses pictures for them, and takes them for what the picture itself says wherever their key is "transparency", "interlace" or "exif".
    """
    kept, at = list[bytes](), 0
    for part in png_chunks(data):
        if part.name in _TEXTS and part.end + 4 <= len(data):
            kept.append(data[at : part.start])
            at = part.end + 4
    return b"".join((*kept, data[at:])) if kept else data


class Animation(NamedTuple):
    """A PNG whose default image is no part of its animation: viewers show the animation, programs that know of none the default image.

    Attributes:
        frames: of the animation, as the header says.
        first: its first frame as a PNG of its own; None where there is none that fills the picture.
    """

    frames: int
    first: bytes | None


def animation(data: bytes) -> Animation | None:
    """Return the animation of a PNG that its default image is no part of (PNG, third edition, 4.9): no fcTL comes before IDAT. Else None."""
    before = list(takewhile(lambda part: part.name != b"IDAT", png_chunks(data)))  # of most files a few chunks, and not all
    header = next((part for part in before if part.name == b"acTL"), None)
    if header is None or any(part.name == b"fcTL" for part in before):
        return None
    parts = list(png_chunks(data))
    frames = int.from_bytes(data[header.body : header.body + 4], "big")
    if not frames or len(before) == len(parts):
        return None
    return Animation(frames, _first_frame(data, parts, parts[len(before)], [part for part in parts if part.name == b"fcTL"]))


def _first_frame(data: bytes, parts: list[Part], image: Part, controls: list[Part]) -> bytes | None:
    size = data[16:24]
    if not controls or data[controls[0].body + 4 : controls[0].body + 20] != size + bytes(8):
        return None
    end = controls[1].start if len(controls) > 1 else len(data)
    packed = b"".join(data[part.body + 4 : part.end] for part in parts if part.name == b"fdAT" and controls[0].start < part.start < end)
    kept = [part for part in parts if part.name not in _ANIMATED]
    before, after = (b"".join(data[part.start : part.end + 4] for part in kept if (part.start < image.start) == first) for first in (True, False))
    body = b"IDAT" + packed
    return data[:8] + before + struct.pack(">L", len(packed)) + body + struct.pack(">L", zlib.crc32(body)) + after if packed else None


def _walk_jpeg(data: bytes) -> None:
    at, junk, scans = 2, 0, 0
    for segments, part in enumerate(jpeg_segments(data), start=1):
        if not scans:
            junk += part.start - at
            if segments > MAX_HEADER_SEGMENTS or junk > MAX_JUNK or part.start > MAX_HEADER_BYTES:
                raise Refused("corrupt", "the JPEG header is implausibly long")
        scans += part.name == SOS
        if scans > MAX_SCANS or segments > MAX_SEGMENTS:
            raise Refused("corrupt", f"more scans than the limit of {MAX_SCANS}, or more segments than {MAX_SEGMENTS:,}")
        at = part.end
    if not scans:
        raise Refused("truncated", "the file ends, or turns to noise, before the first scan")


def _walk_png(data: bytes) -> None:
    left = MAX_TEXT
    for count, part in enumerate(png_chunks(data), start=1):
        if count > MAX_CHUNKS:
            raise Refused("corrupt", f"more chunks than the limit of {MAX_CHUNKS:,}")
        if part.name in _TEXTS:
            _, text, packed = png_text(part.name, data[part.body : part.end])
            left -= len(inflated(text, left + 1)) if packed else 0
        if left < 0:
            raise Refused("corrupt", f"compressed text of more than the limit of {MAX_TEXT:,} bytes")


def _look_at_webp(data: bytes, limits: Limits) -> None:
    if int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise Refused("truncated", "the file is shorter than its header says")
    kind = data[12:16]
    if kind == b"VP8X":
        check_size(int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1, limits)
    elif kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        check_size((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, limits)
    elif kind == b"VP8 ":
        check_size(int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF, limits)


def _walk_gif(data: bytes, limits: Limits) -> Frames:
    frames = 0
    try:
        at = 13 + _colour_table(data[10])
        for _ in range(MAX_BLOCKS):
            block, at = data[at], at + 1
            if block == 0x3B:  # the trailer
                break
            if block == 0x2C:  # a picture: descriptor, perhaps colours, the code size, then sub-blocks
                if not frames:
                    _check_gif_canvas(data, at, limits)
                frames, at = frames + 1, _after_sub_blocks(data, at + 10 + _colour_table(data[at + 8]))
            elif block == 0x21:  # an extension: a label, then sub-blocks
                at = _after_sub_blocks(data, at + 1)
            # and anything else is a stray byte, which decoders skip too
            if at < 0:
                break
        else:
            at = -1
    except (IndexError, struct.error):  # the end of the file, which the decoder judges
        return Frames(max(frames, 1), True)
    if not frames:
        raise Refused("corrupt", f"no picture among the first {MAX_BLOCKS:,} blocks" if at < 0 else "no picture in the GIF")
    return Frames(frames, at >= 0)


def _after_sub_blocks(data: bytes, at: int) -> int:
    """Return where a run of sub-blocks ends, or -1 if there are too many of them."""
    for _ in range(MAX_BLOCKS):
        size = data[at]
        at += 1 + size
        if not size:
            return at
    return -1


def _check_gif_canvas(data: bytes, at: int, limits: Limits) -> None:
    """Check the size that decoders give the picture: they widen the screen where the first frame is larger."""
    left, top, width, height = struct.unpack_from("<4H", data, at)
    screen = struct.unpack_from("<2H", data, 6)
    check_size(max(screen[0], left + width), max(screen[1], top + height), limits)


def _colour_table(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _look_at_tiff(data: bytes) -> Frames:
    directory = ifd.entries(data)
    tags = {entry.tag for entry in directory}
    # The first page of a camera's raw file is a thumbnail; judging that in place of the photograph would mislead.
    reduced = (ifd.number(data, 254) or 0) & 1
    if data[8:10] == b"CR" or 50706 in tags or (reduced and 330 in tags):
        raise Refused("unsupported_format", "camera raw files are not read")
    for entry in directory:
        if entry.count > MAX_VALUES and entry.kind not in (1, 2, 7):  # numbers become Python objects; bytes and text do not
            raise Refused("corrupt", f"tag {entry.tag} claims {entry.count:,} values, the limit is {MAX_VALUES:,}")
    try:
        return Frames(*ifd.count_pages(data, MAX_PAGES))
    except struct.error:
        return Frames(1, True)
