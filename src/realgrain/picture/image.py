"""The only opener of image bytes: everything else in realgrain sees pictures through `open_picture`."""

import hashlib
import os
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile

from realgrain.picture import colour, decode, facts, structure
from realgrain.picture.errors import Code, Limits, PictureError, Refused, check_size, printable
from realgrain.picture.magic import identify
from realgrain.picture.source import read_source

__all__ = ["DEFAULT_LIMITS", "Code", "Limits", "Picture", "PictureError", "open_file", "open_picture"]

DEFAULT_LIMITS = Limits()


NO_PIXELS = np.empty((0, 0, 3), np.uint8)


@dataclass(frozen=True)
class Picture:
    """One opened picture. Two are equal if all but the pixels are: the digest of the file stands for those.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, 0..255, upright, contiguous and read-only.
        name: What it was called, printable.
        format: JPEG, PNG, WEBP, AVIF, HEIC, GIF, TIFF or BMP, by content.
        width: Pixels, upright.
        height: Pixels, upright.
        bytes: Size of the file.
        sha256: Of the file's bytes, 64 lower-case hexadecimal digits.
        mode: Pillow's name for the pixels as stored, e.g. "CMYK", "I;16", "P"; ";16" is added for 16-bit colour.
        frames: Pictures in the file, of which this is the first; a lower bound if a note says "many". Of a PNG whose default image is not part of its
            animation, those of the animation; the first is taken where it fills the picture, else the default image, as a note says.
        orientation: EXIF orientation found and applied, 1..8; 1 is none.
        icc: Description of the ICC profile, which is not applied; None without one.
        jpeg_quality: 1..100, see `facts.jpeg_quality`; None if not JPEG.
        subsampling: Of a JPEG's colour, such as "4:2:0", see `facts.subsampling`; None if not JPEG.
        progressive: Whether the file is a progressive JPEG or an interlaced PNG.
        notes: What was done to the pixels, in words.
    """

    pixels: NDArray[np.uint8] = field(repr=False, compare=False)
    name: str
    format: str
    width: int
    height: int
    bytes: int
    sha256: str
    mode: str
    frames: int
    orientation: int
    icc: str | None
    jpeg_quality: int | None
    subsampling: str | None
    progressive: bool
    notes: tuple[str, ...]

    def without_pixels(self) -> Self:
        """What is known of it, for who needs the pixels no more: they are nearly all of its memory."""
        return replace(self, pixels=NO_PIXELS)


def open_picture(source: str | os.PathLike[str] | bytes, *, name: str | None = None, limits: Limits = DEFAULT_LIMITS) -> Picture:
    """Open one picture from a path or from its bytes, the same way everywhere in realgrain.

    Reads JPEG (the first picture of an MPO), PNG, WebP, AVIF, GIF, TIFF, BMP and, with the `heic` extra, HEIC; the content decides,
    not the name. The first frame is taken, the orientation in EXIF is applied (one in XMP is not), and pixels become 8-bit RGB as
    `colour` says. Metadata has no other influence on the pixels. Safe to call from many threads; changes no process-wide state.

    Args:
        source: The content if `bytes`, else the path of a regular file.
        name: What to call it in messages and in the result; by default the path as given, or "<bytes>".
        limits: What to refuse for its size. WebP and GIF above about 179 million pixels are refused by Pillow in any case.

    Returns:
        The picture, wholly decoded.

    Raises:
        PictureError: Whatever is wrong with the file, under one of the codes of `errors.Code`.
        TypeError: `source` is neither bytes nor a path.
    """
    return open_file(source, name=name, limits=limits)[0]


def open_file(source: str | os.PathLike[str] | bytes, *, name: str | None = None, limits: Limits = DEFAULT_LIMITS) -> tuple[Picture, bytes]:
    """As `open_picture`, with the bytes of the file beside the picture, read once: for who also looks at its metadata."""
    if name is None:
        name = "<bytes>" if isinstance(source, bytes) else os.fsdecode(source)
    outcome = _attempt(source, printable(name), limits)
    if isinstance(outcome[0], Picture):
        return outcome
    # Raised here, not where it was found: an error kept in a list must not keep a decoder and the file's bytes with it.
    raise PictureError(name, *outcome)


def _attempt(source: str | os.PathLike[str] | bytes, name: str, limits: Limits) -> tuple[Picture, bytes] | tuple[Code, str]:
    try:
        data = read_source(source, limits)
        kind = identify(data)
        frames = structure.inspect(kind, data, limits)
    except Refused as refused:
        return refused.code, refused.reason
    try:
        return _decode(data, kind, frames, name, limits), data
    except Refused as refused:
        return refused.code, refused.reason
    except Exception as error:  # decoders raise nearly anything on hostile bytes, and each of them means the same to a user
        return decode.explain(error)


def _decode(data: bytes, kind: str, frames: structure.Frames | None, name: str, limits: Limits) -> Picture:
    animation = structure.animation(data) if kind == "PNG" else None
    with decode.start(kind, animation.first if animation and animation.first else data) as image:
        check_size(*image.size, limits)
        mode, raw = image.mode, decode.raw_mode(image)
        image.load()
        pixels, notes = colour.to_rgb(image, raw)
        turn = facts.orientation(data if kind == "TIFF" else image.info.get("exif"))
        frames = frames or structure.Frames(animation.frames if animation else _frames_in_header(image), True)
        icc = facts.icc_description(image.info.get("icc_profile"))
        quality = _quality(image) if kind == "JPEG" else None
        sampling = facts.subsampling(getattr(image, "layer", [])) if kind == "JPEG" else None
        progressive = bool(image.info.get("progressive") or image.info.get("interlace"))
    upright = np.ascontiguousarray(_turned(pixels, turn))
    upright.setflags(write=False)
    return Picture(
        pixels=upright,
        name=name,
        format=kind,
        width=upright.shape[1],
        height=upright.shape[0],
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        mode=f"{mode};16" if colour.is_wide(raw) and not mode.startswith("I") else mode,
        frames=frames.count,
        orientation=turn,
        icc=icc,
        jpeg_quality=quality,
        subsampling=sampling,
        progressive=progressive,
        notes=(
            *(_animation_note(animation) if animation else _frame_note(frames)),
            *notes,
            *([f"EXIF orientation {turn} applied"] if turn != 1 else []),
        ),
    )


def _frames_in_header(image: ImageFile.ImageFile) -> int:
    """Ask only what the header tells: for the formats left here, counting never seeks through the file."""
    if image.format == "JPEG":
        return facts.pictures_in_jpeg(image.info.get("mp"))
    return max(1, int(getattr(image, "n_frames", 1)))


def _frame_note(frames: structure.Frames) -> list[str]:
    if not frames.complete:
        return [f"first of many frames (counting stopped at {frames.count})"]
    return [f"first of {frames.count} frames"] if frames.count > 1 else []


def _animation_note(animation: structure.Animation) -> list[str]:
    of = f"the animation of {animation.frames} frames" if animation.frames > 1 else "the animation of 1 frame"
    return [f"first frame of {of}; the file's default image is not part of it" if animation.first else f"default image, which is not part of {of}"]


def _quality(image: ImageFile.ImageFile) -> int | None:
    layers, tables = getattr(image, "layer", []), getattr(image, "quantization", {})
    return facts.jpeg_quality(tables.get(layers[0][3])) if layers else None


def _turned(pixels: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation (CIPA DC-008, tag 0x0112): 5 to 8 swap the axes, then each mirrors none, one or both."""
    if turn >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
