"""Files that must be refused, and odd ones that must not.

Importing this builds nothing. Other tests use it by putting this folder on the path:

    sys.path.insert(0, str(Path(__file__).parents[1] / "picture"))
    from hostile import build_hostile
"""

import io
import os
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def encoded(kind: str, size: tuple[int, int] = (64, 48), **options: object) -> bytes:
    """One valid picture of noise and slopes in the given Pillow format."""
    width, height = size
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 60, (height, width, 3)) + np.linspace(0, 190, width)[None, :, None]
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    head = chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


def idat(width: int = 64, height: int = 48) -> bytes:
    return chunk(b"IDAT", zlib.compress(b"".join(b"\0" + bytes(3 * width) for _ in range(height))))


def tiff(*tags: tuple[int, int, int, int], after: int = 0, tail: bytes = b"") -> bytes:
    """A little-endian TIFF of one directory at offset 8; tags are (tag, type, count, value or offset)."""
    body = b"".join(struct.pack("<HHLL", *tag) for tag in sorted(tags))
    return b"II*\0" + struct.pack("<LH", 8, len(tags)) + body + struct.pack("<L", after) + tail


def tiff_tags(width: int = 64, height: int = 48, at: int = 400, **other: int) -> list[tuple[int, int, int, int]]:
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: at, 277: 1, 278: height, 279: width * height}
    tags |= {int(key[1:]): value for key, value in other.items()}
    return [(tag, 4, 1, value) for tag, value in tags.items()]


def gif(width: int, height: int, *blocks: bytes) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + b"".join(blocks)


def bmp(width: int, height: int, bits: int = 24, packing: int = 0, body: bytes = b"") -> bytes:
    head = struct.pack("<LllHHLLllLL", 40, width, height, 1, bits, packing, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<LHHL", 54 + len(body), 0, 0, 54) + head + body


def riff(kind: bytes, body: bytes) -> bytes:
    payload = b"WEBP" + kind + struct.pack("<L", len(body)) + body
    return b"RIFF" + struct.pack("<L", len(payload)) + payload


def without_segment(jpeg: bytes, marker: int) -> bytes:
    """Drop every header segment with this marker."""
    out, at = jpeg[:2], 2
    while jpeg[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
        out += b"" if jpeg[at + 1] == marker else jpeg[at:end]
        at = end
    return out + jpeg[at:]


def with_size(jpeg: bytes, width: int, height: int) -> bytes:
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def many_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is repeated: small to store, slow to decode."""
    jpeg = encoded("JPEG", progressive=True)
    last, end = jpeg.rindex(b"\xff\xda"), jpeg.rindex(b"\xff\xd9")
    return jpeg[:end] + jpeg[last:end] * count + jpeg[end:]


def _truncated() -> dict[str, tuple[str, str, bytes]]:
    cases = {}
    for kind, options in {
        "JPEG": {"quality": 90},
        "PNG": {},
        "WEBP": {"quality": 90},
        "AVIF": {"quality": 90},
        "GIF": {},
        "TIFF": {"compression": "tiff_lzw"},
        "BMP": {},
    }.items():
        data = encoded(kind, **options)
        for share in (10, 50, 90):
            name = f"cut-{kind.lower()}-{share}"
            cases[name] = ("truncated|corrupt", f"{name}.{kind.lower()}", data[: len(data) * share // 100])
    progressive = encoded("JPEG", progressive=True)
    cases["cut-progressive"] = ("truncated", "p.jpg", progressive[: len(progressive) // 2])
    return cases


def _not_pictures() -> dict[str, tuple[str, str, bytes]]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.jpg", encoded("JPEG"))
    return {
        "empty": ("empty", "empty.jpg", b""),
        "one-byte": ("unknown_format", "one.jpg", b"\xff"),
        "only-magic-jpeg": ("truncated|corrupt", "magic.jpg", b"\xff\xd8\xff"),
        "only-magic-png": ("truncated|corrupt", "magic.png", b"\x89PNG\r\n\x1a\n"),
        "only-magic-gif": ("truncated|corrupt", "magic.gif", b"GIF89a"),
        "only-magic-bmp": ("truncated|corrupt", "magic.bmp", b"BM"),
        "only-magic-tiff": ("truncated|corrupt", "magic.tif", b"II*\0"),
        "text": ("unknown_format", "text.jpg", b"not a picture, though named like one\n" * 20),
        "html": ("unknown_format", "page.png", b"<!doctype html><html><body>404</body></html>"),
        "zip": ("unknown_format", "zip.jpg", archive.getvalue()),
        "pickle": ("unknown_format", "pickle.jpg", pickle.dumps({"a": 1})),
        "zeros": ("unknown_format", "zeros.jpg", bytes(5000)),
        "noise": ("unknown_format", "noise.jpg", b"\x01" + np.random.default_rng(3).bytes(5000)),
        "name-with-newline": ("unknown_format", "two\nlines\x1b[31m.jpg", b"x" * 100),
        "name-not-utf8": ("unknown_format", os.fsdecode(b"latin-\xe9.jpg"), b"x" * 100),
        "name-right-to-left": ("unknown_format", "photo\u202egpj.exe", b"x" * 100),
        "html-then-jpeg": ("unknown_format", "polyglot.jpg", b"<script></script>" + encoded("JPEG")),
        "video": ("unsupported_format", "video.jpg", b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(500)),
    }


def _other_formats() -> dict[str, tuple[str, str, bytes]]:
    cases = {
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "svg-with-prolog": b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>",
        "pdf": b"%PDF-1.4\n%...",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n(ls) system\n",
        "photoshop": b"8BPS\0\1" + bytes(200),
        "jpeg-xl": b"\xff\x0a" + bytes(100),
        "bigtiff": b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0" + bytes(40),
        "ppm": encoded("PPM"),
        "icon": encoded("ICO"),
        "jpeg2000": encoded("JPEG2000"),
        "dng": tiff(*tiff_tags(), (50706, 1, 4, 0x0104), tail=bytes(6000)),
        "bmp-rle": bmp(64, 48, bits=8, packing=1, body=bytes(1024) + b"\x40\x01\0\0" * 48),
        "tiff-float": _saved(Image.new("F", (64, 48)), "TIFF"),
        "tiff-lab": _saved(Image.new("LAB", (64, 48)), "TIFF"),
        "tiff-int32": _saved(Image.new("I", (64, 48), 70_000), "TIFF"),
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(300),
        "jpeg-12-bit": encoded("JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
    }
    accepted = "unsupported_format|corrupt|truncated"  # heic: corrupt where pillow_heif is installed
    return {name: (accepted if name == "heic" else "unsupported_format", f"{name}.jpg", data) for name, data in cases.items()}


def _saved(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def _sizes() -> dict[str, tuple[str, str, bytes]]:
    whole = 60_000
    avif = encoded("AVIF")
    at = avif.index(b"ispe") + 8
    return {
        "one-pixel": ("too_small", "one.png", encoded("PNG", (1, 1))),
        "thin": ("too_small", "thin.png", encoded("PNG", (31, 500))),
        "flat": ("too_small", "flat.jpg", encoded("JPEG", (500, 31))),
        "bomb-png": ("too_many_pixels", "bomb.png", png(whole, whole, idat())),
        "bomb-jpeg": ("too_many_pixels", "bomb.jpg", with_size(encoded("JPEG"), whole, whole)),
        "bomb-gif": ("too_many_pixels", "bomb.gif", gif(whole, whole, b"," + struct.pack("<HHHHB", 0, 0, 9, 9, 0), b"\2\1\0\0;")),
        "bomb-gif-frame": ("too_many_pixels", "g2.gif", gif(64, 64, b"," + struct.pack("<HHHHB", 0, 0, whole, whole, 0), b"\2\1\0\0;")),
        "bomb-bmp": ("too_many_pixels", "bomb.bmp", bmp(whole, whole)),
        "bomb-tiff": ("too_many_pixels", "bomb.tif", tiff(*tiff_tags(whole, whole), tail=bytes(500))),
        "bomb-webp": ("too_many_pixels", "bomb.webp", riff(b"VP8X", b"\0\0\0\0" + b"\xff\x3f\0" * 2 + bytes(50))),
        "bomb-webp-lossless": ("too_many_pixels", "b2.webp", riff(b"VP8L", b"\x2f" + b"\xff" * 4 + bytes(50))),
        "bomb-webp-lossy": ("too_many_pixels", "b3.webp", riff(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + b"\xff\x3f" * 2 + bytes(50))),
        "bomb-avif": ("too_many_pixels|corrupt|truncated", "b.avif", avif[:at] + struct.pack(">LL", whole, whole) + avif[at + 8 :]),
        "png-no-width": ("corrupt", "w0.png", png(0, 48, idat())),
        "jpeg-no-size": ("corrupt|truncated", "j0.jpg", with_size(encoded("JPEG"), 0, 0)),
        "bmp-no-size": ("corrupt", "b0.bmp", bmp(0, 0)),
        "bmp-negative-width": ("too_many_pixels|corrupt", "bn.bmp", bmp(-64, 48)),
        "tiff-no-size": ("corrupt", "t0.tif", tiff(*tiff_tags(0, 0))),
        "gif-no-size": ("corrupt|truncated", "g0.gif", gif(0, 0, b";")),
    }


def _broken_png() -> dict[str, tuple[str, str, bytes]]:
    good = png(64, 48, idat())
    flipped = bytearray(good)
    flipped[29] ^= 0xFF  # the checksum of IHDR
    garbage = chunk(b"IDAT", np.random.default_rng(2).bytes(400))
    cases = {
        "png-bad-crc": bytes(flipped),
        "png-no-idat": png(64, 48),
        "png-garbage-idat": png(64, 48, garbage),
        "png-empty-idat": png(64, 48, chunk(b"IDAT", b"")),
        "png-odd-depth": png(64, 48, idat(), depth=7),
        "png-no-palette": png(64, 48, chunk(b"IDAT", b"x"), colour=3),
        "png-text-bomb": png(64, 48, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80 * 2**20))), idat()),
        "png-many-text-bombs": png(64, 48, *[chunk(b"zTXt", b"a%d\0\0" % i + zlib.compress(bytes(10**6))) for i in range(90)], idat()),
        "png-profile-bomb": png(64, 48, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(80 * 2**20))), idat()),
        "png-chunk-past-end": png(64, 48)[:33] + struct.pack(">L", 2**31) + b"IDAT" + b"x" * 50,
        "png-many-chunks": png(64, 48, chunk(b"abCd", b"") * 300_000, idat()),
        "png-ends-after-header": good[:33],
    }
    return {name: ("corrupt|truncated|unsupported_format", f"{name}.png", data) for name, data in cases.items()}


def _broken_jpeg() -> dict[str, tuple[str, str, bytes]]:
    good = encoded("JPEG")
    scan = good.index(b"\xff\xda")
    cases = {
        "jpeg-no-scan": good[:scan] + b"\xff\xd9",
        "jpeg-empty-scan": good[: scan + 14],
        "jpeg-no-frame": without_segment(good, 0xC0),
        "jpeg-no-quantisation": without_segment(good, 0xDB),
        "jpeg-taller-than-said": with_size(good, 64, 4000)[: len(good) - 2],
        "jpeg-five-components": good.replace(b"\0\x30\0\x40\x03", b"\0\x30\0\x40\x05"),
        "jpeg-many-scans": many_scans(3000),
        "jpeg-many-segments": good[:2] + b"\xff\xe1\0\x02" * 50_000 + good[2:],
        "jpeg-long-header": good[:2] + (b"\xff\xe1\xff\xff" + bytes(65533)) * 300 + good[2:],
        "jpeg-junk-header": good[:2] + b"\xff\xfe\0\x02" + bytes(3 * 2**20) + good[2:],
        "jpeg-thumbnail-only": b"\xff\xd8\xff\xe1" + struct.pack(">H", len(good) + 2) + good,
    }
    return {name: ("corrupt|truncated|unsupported_format", f"{name}.jpg", data) for name, data in cases.items()}


def _broken_rest() -> dict[str, tuple[str, str, bytes]]:
    picture = b"," + struct.pack("<HHHHB", 0, 0, 64, 48, 0)
    cases = {
        "gif-no-frames": gif(64, 48, b";"),
        "gif-no-data": gif(64, 48, picture, b"\2\0;"),
        "gif-bad-code-size": gif(64, 48, picture, b"\x0f\4abcd\0;"),
        "gif-endless-extension": gif(64, 48, b"!\xfe" + b"\1x" * 3_000_000, picture, b"\2\0;"),
        "gif-stray-bytes": gif(64, 48, b"\1" * 3_000_000),
        "tiff-loop-no-size": tiff((259, 4, 1, 1), after=8),
        "tiff-offset-past-end": b"II*\0" + struct.pack("<L", 2**31),
        "tiff-pixels-past-end": tiff(*tiff_tags(at=2**30)),
        "tiff-many-strips": tiff(*[t for t in tiff_tags() if t[0] != 273], (273, 4, 2**30, 8), tail=bytes(500)),
        "tiff-many-bits": tiff(*[t for t in tiff_tags() if t[0] != 258], (258, 3, 2**31, 8), tail=bytes(500)),
        "tiff-no-tags": tiff(),
        "tiff-odd-compression": tiff(*tiff_tags(t259=12345), tail=bytes(6000)),
        "tiff-bad-lzw": tiff(*tiff_tags(t259=5, t279=500), tail=b"\xff" * 1000),
        "webp-no-picture": riff(b"VP8X", b"\0\0\0\0" + b"\x3f\0\0" + b"\x2f\0\0"),
        "webp-riff-only": b"RIFF\x04\0\0\0WEBP",
        "avif-no-boxes": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf",
        "bmp-odd-header": b"BM" + struct.pack("<LHHLL", 90, 0, 0, 54, 77) + bytes(100),
        "bmp-no-pixels": bmp(64, 48),
    }
    return {name: ("corrupt|truncated|unsupported_format", f"{name}.bin", data) for name, data in cases.items()}


def _cases() -> dict[str, tuple[str, str, bytes]]:
    return _truncated() | _not_pictures() | _other_formats() | _sizes() | _broken_png() | _broken_jpeg() | _broken_rest()


def _special(folder: Path) -> dict[str, tuple[str, Path]]:
    """What is no regular file; where the system has pipes and links."""
    cases = {"missing": ("missing", folder / "nowhere.jpg"), "folder": ("not_a_file", folder)}
    cases["file-as-folder"] = ("missing", folder / "empty.jpg" / "a.jpg")
    cases["long-name"] = ("missing", folder / ("a" * 3000))
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.jpg")
        (folder / "dangling.jpg").symlink_to(folder / "gone.jpg")
        (folder / "circle.jpg").symlink_to(folder / "circle.jpg")
        cases["pipe"] = ("not_a_file", folder / "pipe.jpg")
        cases["broken-link"] = ("missing", folder / "dangling.jpg")
        cases["circular-link"] = ("missing", folder / "circle.jpg")
        cases["device"] = ("not_a_file", Path("/dev/zero"))
    return cases


def build_hostile_with_codes(folder: Path) -> dict[str, tuple[Path, frozenset[str]]]:
    """Write over a hundred files into an existing folder; each must be refused with one of the codes given beside it."""
    built = {}
    for name, (codes, file_name, data) in _cases().items():
        path = folder / file_name
        path.write_bytes(data)
        built[name] = (path, frozenset(codes.split("|")))
    return built | {name: (path, frozenset({code})) for name, (code, path) in _special(folder).items()}


def build_hostile(folder: Path) -> dict[str, Path]:
    """Write over a hundred files into an existing folder; `open_picture` must refuse each with a `PictureError`."""
    return {name: path for name, (path, _) in build_hostile_with_codes(folder).items()}


def build_accepted(folder: Path) -> dict[str, Path]:
    """Write odd files that must be opened nevertheless."""
    picture = b"," + struct.pack("<HHHHB", 0, 0, 64, 48, 0)
    good = encoded("JPEG")
    plain = encoded("GIF", (64, 48))
    frame = picture + b"\2\2\x44\1\0"
    broken_exif = b"\xff\xe1" + struct.pack(">H", 30) + b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(12)
    files = {
        "gif-5000-frames": plain[:-1] + frame * 5000 + b";",
        "gif-uncountable": plain[:-1] + picture + b"\2" + b"\1x" * 1_500_000 + b"\0;",
        "gif-no-trailer": plain[:-1],
        "tiff-loop": tiff(*tiff_tags(), after=8, tail=bytes(6000)),
        "jpeg-broken-exif": good[:2] + broken_exif + good[2:],
        "jpeg-with-zip-behind": good + b"PK\3\4" + bytes(1000),
        "jpeg-named-png.png": good,
        "png-many-idat": png(64, 48, *[chunk(b"IDAT", b"")] * 1000, idat()),
        "png-no-iend": png(64, 48, idat())[:-12],
        "name with spaces \n and newline.jpg": good,
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in files}
