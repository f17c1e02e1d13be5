"""realgrain tells real photographs from AI-generated pictures and shows its evidence.

>>> import realgrain
>>> realgrain.__version__
'0.1.0'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from realgrain._version import __version__

if TYPE_CHECKING:
    from realgrain.detector.clips import ClipReport
    from realgrain.detector.decision import Policy
    from realgrain.detector.detect import Detector, load
    from realgrain.detector.verdict import Report, Verdict
    from realgrain.picture.image import PictureError

__all__ = ["ClipReport", "Detector", "PictureError", "Policy", "Report", "Verdict", "__version__", "detect", "load"]

_HOMES = {
    "ClipReport": "realgrain.detector.clips",
    "Detector": "realgrain.detector.detect",
    "load": "realgrain.detector.detect",
    "Policy": "realgrain.detector.decision",
    "Report": "realgrain.detector.verdict",
    "Verdict": "realgrain.detector.verdict",
    "PictureError": "realgrain.picture.image",
}


def detect(source: Any) -> Report:
    """Judge one picture (a path, or the bytes of a file) with the detector that realgrain ships; loads it anew each time, see ``load``."""
    from realgrain.detector.detect import load

    return load().detect(source)


def __getattr__(name: str) -> Any:
    """Import public names on first use, so that ``import realgrain`` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'realgrain' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
