"""From whatever a decoder gives to 8-bit RGB: one treatment per kind of pixel, each of them our choice.

- 1-bit, grey: the grey value three times.
- palette: looked up; with transparency, as alpha below.
- alpha (also a transparent colour or palette entry): straight, not premultiplied, composited on white.
- CMYK: Pillow's plain conversion, without a profile; Adobe's inverted JPEG values are turned round by the decoder.
- YCbCr (TIFF): ITU-R BT.601 full range, as in JPEG.
- 16-bit grey: divided by 257 and rounded, so that white stays white (Pillow's own conversion would clip at 255);
  12-bit grey likewise from 4095; 32-bit integers only where all of them lie in 0..65535.
- 16-bit colour: the high byte, which is all Pillow keeps (at most one level from the rounded value).
- floating point, LAB: refused, since nothing says which light their numbers mean.

Colour is not managed: an ICC profile is noted but not applied, since CLIP was trained without colour management.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from realgrain.picture.errors import Refused

_PLAIN = frozenset({"1", "L", "P", "RGB", "RGBX", "YCbCr", "CMYK"})
_ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})

ON_WHITE = "alpha composited on white"
TO_8_BITS = "16-bit reduced to 8"


def to_rgb(image: Image.Image, raw: str) -> tuple[NDArray[np.uint8], list[str]]:
    """Convert a decoded picture.

    Args:
        image: Loaded, of any mode.
        raw: Pillow's name for the layout in the file, which alone tells 12 and 16 bits a channel from 8; "" if unknown.

    Returns:
        (H, W, 3) uint8 RGB, 0..255, and what was done as sentences.

    Raises:
        Refused: unsupported_format for a mode without a treatment.
    """
    if image.mode.startswith("I"):
        return _integers(image, 4095 if raw == "I;12" else 65535)
    notes = [TO_8_BITS] if is_wide(raw) else []
    if image.mode in _ALPHA or (image.mode in _PLAIN and "transparency" in image.info and not notes):
        image, more = _on_white(image.convert("RGBA"))
        notes += more
    elif image.mode not in _PLAIN:
        raise Refused("unsupported_format", f"pixels of kind {image.mode} are not read")
    elif image.mode == "CMYK":
        notes.append("CMYK converted without its profile")
    if "transparency" in image.info:  # left only where a 16-bit colour is named, which no 8-bit pixel can match
        image.info.pop("transparency")
    return np.asarray(image.convert("RGB")), notes


def is_wide(raw: str) -> bool:
    """Tell whether a Pillow raw mode has 16 bits a channel."""
    return ";16" in raw


def _on_white(image: Image.Image) -> tuple[Image.Image, list[str]]:
    alpha = image.getchannel("A")
    opaque = alpha.getextrema() == (255, 255)
    if opaque:
        return image.convert("RGB"), []
    canvas = Image.new("RGB", image.size, (255, 255, 255))
    canvas.paste(image.convert("RGB"), mask=alpha)
    return canvas, [ON_WHITE]


def _integers(image: Image.Image, top: int) -> tuple[NDArray[np.uint8], list[str]]:
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > top:
        raise Refused("unsupported_format", f"integer pixels from {low} to {high} do not fit 0 to {top}")
    # +top/2 rounds to nearest; 65535 * 255 + 32767 still fits 32 bits.
    grey = ((values.astype(np.uint32) * 255 + top // 2) // top).astype(np.uint8)
    notes = [TO_8_BITS if top == 65535 else "12-bit reduced to 8"]
    clear = image.info.get("transparency")
    if isinstance(clear, int) and bool((values == clear).any()):
        grey[values == clear] = 255
        notes.append(ON_WHITE)
    return np.repeat(grey[:, :, None], 3, axis=2), notes
