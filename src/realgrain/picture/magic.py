"""Which format some bytes are, by their first bytes alone: names and extensions are never believed."""

from realgrain.picture.errors import Refused

_READ = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"BM", "BMP"),
)

# Recognised only to give a better reason than "unknown": none of these is decoded.
_NOT_READ = (
    (b"II+\0", "BigTIFF"),
    (b"MM\0+", "BigTIFF"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"8BPS", "Photoshop"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"%PDF", "PDF"),
    (b"<svg", "SVG"),
    (b"\0\0\1\0", "icon"),
    (b"\0\0\2\0", "cursor"),
    (b"icns", "icon"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    (b"v/1\1", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"FUJIFILMCCD-RAW", "camera raw"),
    (b"IIRO", "camera raw"),
    (b"IIU\0", "camera raw"),
    *((b"P%d" % digit + space, "PNM") for digit in range(1, 8) for space in (b"\n", b" ", b"\r", b"\t")),
)

_CLIP_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"skip", b"free", b"pnot"})  # that a file of QuickTime may begin with
_RAW_BRANDS = frozenset({b"crx "})  # camera raw, which is no clip
_HEVC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"})
_AV1_BRANDS = frozenset({b"avif", b"avis"})


def identify(data: bytes) -> str:
    """Return the format of a file's content.

    Args:
        data: The whole file, or at least its first kilobyte.

    Returns:
        One of JPEG, PNG, WEBP, AVIF, HEIC, GIF, TIFF, BMP.

    Raises:
        Refused: unsupported_format for a picture format that is known but not read, unknown_format for all else.
    """
    for prefix, kind in _READ:
        if data.startswith(prefix):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        return _container(data)
    for prefix, kind in _NOT_READ:
        if data.startswith(prefix):
            raise Refused("unsupported_format", f"{kind} files are not read")
    if b"<svg" in data[:1024]:
        raise Refused("unsupported_format", "SVG files are not read")
    raise Refused("unknown_format", "the first bytes are not those of JPEG, PNG, WebP, AVIF, HEIC, GIF, TIFF or BMP")


def clip_format(data: bytes) -> str | None:
    """Return the container of a clip by its first bytes, MP4 (and MOV), Matroska (and WebM) or AVI; None for all else.

    Args:
        data: The whole file, or at least its first 256 bytes.
    """
    if data.startswith(b"\x1a\x45\xdf\xa3"):
        return "Matroska"
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return "AVI"
    if data[4:8] not in _CLIP_BOXES:
        return None
    still = data[4:8] == b"ftyp" and not _RAW_BRANDS.union(_AV1_BRANDS, _HEVC_BRANDS).isdisjoint(_brands(data))
    return None if still else "MP4"


def _brands(data: bytes) -> list[bytes]:
    """Brand first, then the brands that the file says it is compatible with (ISO/IEC 14496-12)."""
    end = min(int.from_bytes(data[:4], "big"), 256)
    return [data[8:12], *(data[at : at + 4] for at in range(16, end, 4))]


def _container(data: bytes) -> str:
    """Tell the ISO media containers apart: brand first, then the brands it says it is compatible with (ISO/IEC 23008-12)."""
    for brand in _brands(data):
        if brand in _AV1_BRANDS:
            return "AVIF"
        if brand in _HEVC_BRANDS:
            return "HEIC"
    raise Refused("unsupported_format", "is an ISO media file (a video or camera raw) but neither AVIF nor HEIC")
