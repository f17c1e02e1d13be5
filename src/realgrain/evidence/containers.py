"""Where in a file metadata stands. Only the places that each format provides are looked at: the same bytes anywhere else are not metadata."""

from __future__ import annotations

import struct
import zlib
from collections import Counter, deque
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field

from realgrain.evidence.claims import Kind
from realgrain.picture import decode, ifd, structure

MAX_BLOCKS = 200  # comments and texts of a file that no generator is known by, and blocks of each other kind (our choice, as all limits here)
MAX_BYTES = 4 * 2**20  # of one block, after decompression
MAX_INFLATED = 16 * 2**20  # of all compressed blocks of one file

# UUID of the JUMBF superbox of a manifest store, and of the box that carries one in ISO media files (C2PA 2.x, "Embedding manifests").
MANIFEST = bytes.fromhex("6332706100110010800000aa00389b71")
_BMFF_MANIFEST = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_BOXES = frozenset({b"ftyp", b"meta", b"mdat", b"moov", b"free", b"skip", b"wide", b"uuid"})  # at the top of an ISO media file of pictures
_APP1, _APP11, _APP13, _COM = 0xE1, 0xEB, 0xED, 0xFE
_XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_TAG, _IPTC_TAG, _C2PA_TAG, _EXIF_TAG = 700, 33723, 52545, 34665
_XMP_TRAILER = 258  # bytes after an XMP packet in a GIF that lead readers of sub-blocks out of it (XMP specification, part 3)


@dataclass(frozen=True)
class Block:
    """A piece of metadata.

    Attributes:
        kind: by its place.
        place: in words.
        data: its content; of a C2PA manifest nothing, since its reader takes the whole file.
        key: of a text chunk.
    """

    kind: Kind
    place: str
    data: bytes = field(default=b"", repr=False)
    key: str = ""


@dataclass(frozen=True)
class Contents:
    """Blocks in the order of the file, and how many bytes follow the end of the picture."""

    blocks: list[Block]
    trailer: int
    complete: bool


def contents(kind: str, data: bytes, known: Container[str] = ()) -> Contents:
    """Metadata of a file that `open_picture` accepts. No number of comments and texts hides what else there is.

    Args:
        kind: format, as ``Picture.format``.
        data: the file.
        known: keys of text chunks that generators are known by.
    """
    walk, end = _FORMATS[kind]
    found, seen = list[Block](), Counter[str]()
    for block in walk(data):
        of = "loose" if block.kind in ("comment", "text") and block.key not in known else block.kind
        seen[of] += 1
        if seen[of] <= MAX_BLOCKS:
            found.append(block)
    return Contents(found, max(0, len(data) - end(data)), len(found) == seen.total())


def stray_manifest(data: bytes) -> bool:
    """Whether the bytes that begin a C2PA manifest store are anywhere in the file."""
    return b"jumd" + MANIFEST in data


def _is_manifest(box: bytes) -> bool:
    return box[4:8] == b"jumb" and box[12:16] == b"jumd" and box[16:32] == MANIFEST


def _jpeg(data: bytes) -> Iterator[Block]:
    for part in structure.jpeg_segments(data):
        body = data[part.body : part.end]
        if part.name == structure.SOS:
            return
        if part.name == _APP1 and body.startswith(b"Exif\0\0"):
            yield Block("exif", "JPEG APP1 Exif", body[6:])
        elif part.name == _APP1 and body.startswith(_XMP_IN_JPEG):
            yield Block("xmp", "JPEG APP1 XMP", body[len(_XMP_IN_JPEG) :])
        elif part.name == _APP11 and body.startswith(b"JP") and body[4:8] == b"\0\0\0\1" and _is_manifest(body[8:40]):
            yield Block("c2pa", "C2PA manifest store, JPEG APP11")
        elif part.name == _APP13 and body.startswith(b"Photoshop 3.0\0"):
            yield from _resources(body[14:], "JPEG APP13 Photoshop, IPTC")
        elif part.name == _COM:
            yield Block("comment", "JPEG comment", body)


def _jpeg_end(data: bytes) -> int:
    ends = deque(structure.jpeg_segments(data), maxlen=1)
    return ends[0].end if ends and ends[0].name == structure.EOI else len(data)


def _resources(data: bytes, place: str) -> Iterator[Block]:
    """IPTC-IIM among Photoshop's image resources (Adobe Photoshop File Formats Specification): signature, number, padded name, size, padded data."""
    at = 0
    while data[at : at + 4] == b"8BIM" and at + 7 <= len(data):
        number = int.from_bytes(data[at + 4 : at + 6], "big")
        at += 6 + (data[at + 6] + 2) // 2 * 2
        size = int.from_bytes(data[at : at + 4], "big")
        if number == 0x0404:
            yield Block("iptc", place, data[at + 4 : at + 4 + size])
        at += 4 + (size + 1) // 2 * 2


def _png(data: bytes) -> Iterator[Block]:
    left = MAX_INFLATED
    for part in structure.png_chunks(data):
        if part.name not in (b"eXIf", b"caBX", b"tEXt", b"zTXt", b"iTXt"):
            continue
        body = data[part.body : part.end]
        if zlib.crc32(body, zlib.crc32(part.name)) != int.from_bytes(data[part.end : part.end + 4], "big"):
            continue
        if part.name == b"eXIf":
            yield Block("exif", "PNG eXIf chunk", body)
        elif part.name == b"caBX" and _is_manifest(body[:32]):
            yield Block("c2pa", "C2PA manifest store, PNG caBX chunk")
        elif part.name in (b"tEXt", b"zTXt", b"iTXt"):
            name, key, text = part.name.decode(), *_png_text(part.name, body, min(left, MAX_BYTES))
            left -= 0 if name == "tEXt" else len(text)
            xmp = name == "iTXt" and key == "XML:com.adobe.xmp"
            yield Block("xmp", "PNG iTXt chunk of XMP", text) if xmp else Block("text", f"PNG {name} chunk {key!r}", text, key)


def _png_text(name: bytes, body: bytes, limit: int) -> tuple[str, bytes]:
    """Key and text of a text chunk, the text in UTF-8 whatever the chunk."""
    key, text, packed = structure.png_text(name, body)
    text = structure.inflated(text, limit) if packed else text[:MAX_BYTES]
    # tEXt and zTXt are Latin-1 by the book; generators write UTF-8, which hardly ever is valid by accident.
    return key[:79].decode("latin-1"), text if name == b"iTXt" else _utf8(text)


def _utf8(text: bytes) -> bytes:
    try:
        text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1").encode()
    return text


def _png_end(data: bytes) -> int:
    ends = deque(structure.png_chunks(data), maxlen=1)
    return ends[0].end + 4 if ends and ends[0].name == b"IEND" else len(data)


def _webp(data: bytes) -> Iterator[Block]:
    at, end = 12, _webp_end(data)
    while at + 8 <= end:
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : min(at + 8 + size, end)]
        if name == b"EXIF":
            yield Block("exif", "WebP EXIF chunk", body.removeprefix(b"Exif\0\0"))
        elif name == b"XMP ":
            yield Block("xmp", "WebP XMP chunk", body)
        elif name == b"C2PA" and _is_manifest(body[:32]):
            yield Block("c2pa", "C2PA manifest store, WebP C2PA chunk")
        at += 8 + (size + 1) // 2 * 2


def _webp_end(data: bytes) -> int:
    return min(len(data), 8 + int.from_bytes(data[4:8], "little"))


def _gif(data: bytes) -> Iterator[Block]:
    for label, start, end in _gif_extensions(data):
        if label == 0xFE:
            yield Block("comment", "GIF comment", _joined(data[start:end]))
        elif label == 0xFF and data[start : start + 12] == b"\x0bXMP DataXMP":
            yield Block("xmp", "GIF application extension of XMP", data[start + 12 : max(start + 12, end - _XMP_TRAILER)])
        elif label == 0xFF and data[start : start + 9] == b"\x0bC2PA_GIF" and _is_manifest(_joined(data[start + 12 : min(end, start + 600)])[:32]):
            yield Block("c2pa", "C2PA manifest store, GIF application extension")


def _gif_extensions(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield label, start and end of each extension, and, with the label -1, the end of the picture."""
    at = 13 + _colours(data[10])
    while at < len(data):
        block, at = data[at], at + 1
        if block == 0x3B:
            yield -1, at, at
            return
        if block == 0x2C:
            at = _after(data, at + 10 + _colours(data[at + 8]) if at + 8 < len(data) else len(data))
        elif block == 0x21 and at < len(data):
            label, start = data[at], at + 1
            at = _after(data, start)
            yield label, start, at


def _colours(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


def _joined(blocks: bytes) -> bytes:
    at, found = 0, bytearray()
    while at < len(blocks) and blocks[at]:
        found += blocks[at + 1 : at + 1 + blocks[at]]
        at += 1 + blocks[at]
    return bytes(found)


def _gif_end(data: bytes) -> int:
    return next((start for label, start, _ in _gif_extensions(data) if label == -1), len(data))


def _tiff(data: bytes) -> Iterator[Block]:
    directory = ifd.entries(data)
    if any(entry.tag in (0x010F, 0x0110, 0x0131, _EXIF_TAG) for entry in directory):
        yield Block("exif", "TIFF directory", data)
    seen = set[int]()
    for entry in directory:
        if entry.tag in (_XMP_TAG, _IPTC_TAG):
            body = b"" if entry.tag in seen else ifd.content(data, entry, MAX_BYTES)  # only the first counts, and all can point at the same bytes
            seen.add(entry.tag)
            yield Block("xmp", "TIFF tag 700, XMP", body) if entry.tag == _XMP_TAG else Block("iptc", "TIFF tag 33723, IPTC", body)
        elif entry.tag == _C2PA_TAG and _is_manifest(ifd.content(data, entry, 32)):
            yield Block("c2pa", "C2PA manifest store, TIFF tag 52545")


def _bmff(kind: str) -> Callable[[bytes], Iterator[Block]]:
    """EXIF and XMP are items that only an index tells; the decoder has read that index, so it is asked."""

    def walk(data: bytes) -> Iterator[Block]:
        for name, body, end in _boxes(data):
            payload = data[body : min(end, body + 100)]
            if name == b"uuid" and payload.startswith(_BMFF_MANIFEST) and payload[20:29] == b"manifest\0" and _is_manifest(payload[37:69]):
                yield Block("c2pa", f"C2PA manifest store, {kind} uuid box")
        with decode.start(kind, data) as image:
            for name, place in (("exif", f"{kind} Exif item"), ("xmp", f"{kind} XMP item")):
                block = image.info.get(name)
                if isinstance(block, bytes) and block:
                    yield Block("exif" if name == "exif" else "xmp", place, block.removeprefix(b"Exif\0\0"))

    return walk


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start of content and end of each box at the top of an ISO media file, as long as they are known and whole."""
    at = 0
    while at + 8 <= len(data):
        size, body = int.from_bytes(data[at : at + 4], "big"), at + 8
        if size == 1:
            size, body = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        end = at + size if size else len(data)
        if end < body or end > len(data) or data[at + 4 : at + 8] not in _BOXES:
            return
        yield data[at + 4 : at + 8], body, end
        at = end


def _bmff_end(data: bytes) -> int:
    return max((end for _, _, end in _boxes(data)), default=len(data))


def _bmp_end(data: bytes) -> int:
    (size,) = struct.unpack_from("<L", data, 2)
    return size if 54 <= size <= len(data) else len(data)


_FORMATS: dict[str, tuple[Callable[[bytes], Iterator[Block]], Callable[[bytes], int]]] = {
    "JPEG": (_jpeg, _jpeg_end),
    "PNG": (_png, _png_end),
    "WEBP": (_webp, _webp_end),
    "GIF": (_gif, _gif_end),
    "TIFF": (_tiff, len),  # its parts lie anywhere, so that it has no end
    "AVIF": (_bmff("AVIF"), _bmff_end),
    "HEIC": (_bmff("HEIC"), _bmff_end),
    "BMP": (lambda _: iter(()), _bmp_end),
}
