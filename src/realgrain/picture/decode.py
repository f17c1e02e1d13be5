"""The decoders: one class of Pillow's per format, chosen by magic and called directly.

`Image.open(formats=...)` would do nearly the same, but hides the decoder's own reason behind "cannot identify image file", and
warns or refuses at Pillow's process-wide `MAX_IMAGE_PIXELS` whatever our own limit is.
"""

import importlib
import io
import struct

from PIL import Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from realgrain.picture import structure
from realgrain.picture.errors import NO_MEMORY, Code, Refused


class _Jpeg(JpegImageFile):
    """A JPEG, also of several pictures (MPO), as its first picture."""

    def _read_dpi_from_exif(self) -> None:
        """Leave EXIF alone: real photographs often carry it broken, and Pillow warns of that. See `ifd`."""


class _Tiff(TiffImageFile):
    """A TIFF as stored: Pillow would turn it upright itself, also by XMP; here that is done as for all other formats."""

    def load_end(self) -> None:
        self._size = self.im.size


_DECODERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": _Jpeg,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "AVIF": AvifImageFile,
    "GIF": GifImageFile,
    "TIFF": _Tiff,
    "BMP": BmpImageFile,
}


def start(kind: str, data: bytes) -> ImageFile.ImageFile:
    """Read the header of `data` with the decoder of format `kind`; no pixels yet.

    Raises:
        Refused: unsupported_format for HEIC without the optional decoder and for run-length BMP.
        Exception: Whatever Pillow raises; see `explain`.
    """
    decoder = _heic_decoder() if kind == "HEIC" else _DECODERS[kind]
    image = decoder(io.BytesIO(structure.without_text(data) if kind == "PNG" else data))
    if kind == "BMP" and image.info.get("compression") in (1, 2):
        # Pillow decodes these in Python, seconds per megapixel; they hold palette graphics, never photographs.
        raise Refused("unsupported_format", "run-length encoded BMP files are not read")
    return image


def raw_mode(image: ImageFile.ImageFile) -> str:
    """Return Pillow's name for the pixel layout in the file, "" if it has none. Known only before loading."""
    arguments = image.tile[0].args if image.tile else None
    if isinstance(arguments, tuple):
        arguments = arguments[0] if arguments else None
    return arguments if isinstance(arguments, str) else ""


def _heic_decoder() -> type[ImageFile.ImageFile]:
    try:
        return importlib.import_module("pillow_heif").HeifImageFile
    except ImportError:
        raise Refused("unsupported_format", "HEIC needs the optional decoder: install realgrain[heic]") from None


_UNSUPPORTED = ("unsupported", "not supported", "not yet supported", "cannot handle", "unknown pixel mode")
_TRUNCATED = ("truncated", "no more", "end of file", "end of stream", "expecting to read")


def explain(error: Exception) -> tuple[Code, str]:
    """Turn whatever a decoder raised into a code and a reason."""
    text = str(error).strip() or type(error).__name__
    lower = text.lower()
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return "too_many_pixels", text
    if isinstance(error, MemoryError):
        return "too_many_pixels", NO_MEMORY
    if any(word in lower for word in _UNSUPPORTED):
        return "unsupported_format", text
    if isinstance(error, struct.error) or isinstance(error.__cause__, struct.error):
        return "truncated", "the file is cut short: its header ends early"
    if text == "not identified by this driver":
        return "corrupt", "cannot be decoded: the header gives no size, or no kind of pixels that exists"
    if isinstance(error, EOFError) or any(word in lower for word in _TRUNCATED):
        return "truncated", f"the file is cut short ({text})"
    return "corrupt", f"cannot be decoded ({text})"
