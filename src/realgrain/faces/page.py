"""What HTML pages share: the template environment, pictures inside the page, and writing at once. A page loads nothing."""

from __future__ import annotations

import base64
import io
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from realgrain.picture.errors import printable

SIDE = 176  # pixels, longest, of a thumbnail; shown at half of that on the screens of phones


def check_output(file: Path, refusal: str, *packages: str) -> None:
    """See to it, before long work, that a file is HTML and that what its page takes is installed.

    Args:
        file: to be written.
        refusal: why another kind of file will not do.
        packages: that the page takes beside jinja2.

    Raises:
        ValueError: it is not HTML.
        ModuleNotFoundError: a package is missing.
    """
    if file.suffix != ".html":
        raise ValueError(f"{file}: {refusal}")
    for package in ("jinja2", *packages):
        import_module(package)


def fill(template: str, **values: Any) -> str:
    """A page of ``templates/``; every value is escaped, and a missing one is an error.

    What does not print (controls, changes of direction, lone surrogates) is shown as its code, in all that is put in.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("realgrain.faces"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    return environment.get_template(template).render(**values)


def _shown(value: Any) -> Any:
    if type(value) is not str or value.isprintable():  # what is marked as safe is the template's own
        return value
    return "\n".join(printable(line, len(line)) for line in value.split("\n"))


def thumbnail(pixels: NDArray[np.uint8], side: int = SIDE) -> str:
    """The URI of a picture (H, W, 3), its longest side at most ``side`` pixels. Of its file nothing but the pixels goes in."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=None)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=82)
    return uri(file.getvalue(), "jpeg")


def uri(content: bytes, kind: str) -> str:
    """A picture's bytes as a URI that holds them."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
