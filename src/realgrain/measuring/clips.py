"""Scores of labelled clips, as ``score`` gives them of pictures: one logit for each, that of its report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from realgrain.detector.apart import look_apart
from realgrain.detector.clips import median_logit
from realgrain.detector.detect import Detector
from realgrain.learning.data import Sample
from realgrain.picture.clip import DEFAULT_CLIP_LIMITS
from realgrain.picture.errors import PictureError


def score_clips(detector: Detector, samples: Iterable[Sample]) -> Iterator[dict[str, Any]]:
    """Rows of clips with the limits that error rates are known for; a bad file gives a row with its error.

    Args:
        detector: scores.
        samples: labelled clips, each a file of its own.
    """
    for sample in samples:
        row = {"path": sample.path, "condition": "clean", "sha256": "", "error": "", "logit": None}
        try:
            content = sample.content()
            source = content if isinstance(content, bytes) else Path(content)
            seen = look_apart(source, detector.bundle.card.views, name=sample.path, limits=DEFAULT_CLIP_LIMITS)
        except PictureError as error:
            yield {**row, "error": str(error)}
            continue
        logits = [float(detector.runtime.logits(views).mean(dtype="float64")) for views in seen.views]
        yield {**row, "sha256": seen.clip.sha256, "logit": median_logit(logits)}
