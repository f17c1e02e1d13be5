"""Samples opened once for an audit: of each picture what its file, its bytes and its marks are, and no pixels kept."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from tqdm import tqdm

from realgrain.detector.ahead import ahead
from realgrain.evidence.claims import Evidence
from realgrain.evidence.provenance import provenance
from realgrain.learning.data import Sample
from realgrain.measuring.score import unreadable
from realgrain.picture.degrade import pieces
from realgrain.picture.image import Picture, PictureError, open_file

PLAIN_QUALITY = 75  # of the JPEG that a picture's bytes are compared with (our choice)


@dataclass(frozen=True)
class Seen:
    """A sample that opens.

    Attributes:
        sample: as given.
        picture: facts of the file; its pixels are gone.
        hash: (64,) bool, perceptual.
        evidence: what the file says of itself.
        plain_bytes: what the same pixels take as a JPEG of quality 75 and 4:2:0: what their content, and not their file, costs.
    """

    sample: Sample
    picture: Picture
    hash: np.ndarray
    evidence: Evidence
    plain_bytes: int


@dataclass(frozen=True)
class Survey:
    """What was seen of samples, in their order, and one error for each that did not open."""

    seen: list[Seen]
    failed: list[str]


def survey(samples: Sequence[Sample]) -> Survey:
    """Open every sample once. What cannot be read stops nothing."""
    seen, failed = [], []
    for found in tqdm(ahead(partial(_look, sample) for sample in samples), "looking", len(samples), disable=None):
        if isinstance(found, Seen):
            seen.append(found)
        else:
            failed.append(found)
    return Survey(seen, failed)


def opened(sample: Sample) -> tuple[Picture, bytes]:
    """The picture of a sample and the bytes of its file, from a file or from a packed one, by its name in the manifest.

    Raises:
        PictureError: it cannot be opened.
        OSError: what it is packed into cannot be read.
    """
    return open_file(sample.content(), name=sample.path)


def _look(sample: Sample) -> Seen | str:
    from imagehash import phash
    from PIL import Image

    try:
        picture, data = opened(sample)
    except PictureError as error:
        return str(error)
    except OSError as error:
        return str(unreadable(sample, error))
    file = io.BytesIO()
    for piece in pieces(picture.pixels, "JPEG")[1]:
        Image.fromarray(piece).save(file, "JPEG", quality=PLAIN_QUALITY, subsampling=2)
    evidence = provenance(data, picture)
    return Seen(sample, picture.without_pixels(), phash(Image.fromarray(picture.pixels)).hash.ravel(), evidence, file.tell())
