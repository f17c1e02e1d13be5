"""A picture made ready for a runtime: all that is done with a stranger's bytes, and nothing that needs a detector's weights.

It stands apart from the detector so that another process can do it, see ``realgrain.faces.server.guard``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from realgrain.detector.stability import changed
from realgrain.evidence.c2pa import TrustList
from realgrain.evidence.claims import Evidence
from realgrain.evidence.provenance import provenance
from realgrain.picture.borders import straight_borders
from realgrain.picture.image import Limits, Picture, open_file
from realgrain.picture.views import ViewSpec, make_views


@dataclass(frozen=True)
class Seen:
    """A picture, ready for the runtime.

    Attributes:
        picture: as opened.
        evidence: what its file says of itself; None: not looked at.
        views: (V, 3, H', W') float32.
        borders: length of its straight ones, by ``realgrain.picture.borders``; None: not to be looked at.
        again: by name, views of what ``stability.changed`` makes of it; empty: not asked for.
    """

    picture: Picture
    evidence: Evidence | None
    views: np.ndarray
    borders: float | None
    again: dict[str, np.ndarray]


def prepare(picture: Picture, evidence: Evidence | None, views: ViewSpec, smallest_side: int | None) -> Seen:
    """Make the views of a picture that is already open; ``smallest_side`` is what the detector judges, in pixels, None for no changed ones."""
    again = () if smallest_side is None else changed(picture.pixels, smallest_side)
    return Seen(
        picture,
        evidence,
        make_views(picture.pixels, views),
        straight_borders(picture.pixels),
        {name: make_views(pixels, views) for name, pixels in again},
    )


def look(
    source: str | os.PathLike[str] | bytes, name: str | None = None, *, limits: Limits, evidence: bool, trust_list: TrustList | None
) -> tuple[Picture, Evidence | None]:
    """Open a picture, from its path or its bytes, and read what its file says of itself.

    Raises:
        PictureError: it cannot be read as a picture.
    """
    picture, data = open_file(source, name=name, limits=limits)
    return picture, provenance(data, picture, trust_list=trust_list) if evidence else None
