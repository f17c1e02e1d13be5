"""Samples x conditions -> scores table: pictures are scored once, and everything measured afterwards reads the table."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from realgrain.detector import content
from realgrain.detector.ahead import ahead
from realgrain.detector.bundle import Bundle
from realgrain.detector.calibration import probability
from realgrain.detector.decision import Policy, decision_of
from realgrain.detector.detect import Detector
from realgrain.detector.domain import placed
from realgrain.learning.data import Sample
from realgrain.measuring.batch.items import shown
from realgrain.measuring.whole import whole
from realgrain.picture.borders import straight_borders
from realgrain.picture.conditions import condition
from realgrain.picture.degrade import Pixels
from realgrain.picture.image import Picture, PictureError

SAMPLE = ("path", "label", "generator", "source", "set", "split")
"""What a row keeps of its sample."""
TEXT = (*SAMPLE, "condition", "sha256", "bundle", "runtime", "error")
SCHEMA = pa.schema(
    [(name, pa.string()) for name in TEXT]
    + [("logit", pa.float64()), ("probability", pa.float64()), ("content_group", pa.int64()), ("threshold", pa.float64())]
)
UNSCORED = dict.fromkeys(("logit", "probability", "content_group", "threshold"))
"""What a row says of a picture that did not open."""


def score(
    detector: Detector,
    samples: Iterable[Sample],
    conditions: Sequence[str] = ("clean",),
    *,
    skip: int = 0,
    day: str | None = None,
    traits: bool = False,
    repeated: Collection[str] = (),
) -> Iterator[dict[str, Any]]:
    """Rows of the scores table, in order of samples, then conditions; a bad file gives rows with its error.

    ``threshold`` is the logit from which the detector calls this very picture AI-generated: that of its group of content, as ``detect`` has it.

    Pictures are opened, degraded and scored on all threads, a bounded number of them ahead of the reader.

    Args:
        detector: scores.
        samples: labelled or not; extra columns are kept. They are drawn as they are needed.
        conditions: names of ``realgrain.picture.conditions.CONDITIONS``.
        skip: rows to leave out at the beginning, which are there already.
        day: of scoring, such as 2026-11-24, which rows then carry; a sample's own ``day`` or ``time`` stays. None: nothing that depends on when it is
            run, as runs that can be resumed need it.
        traits: rows carry format and size of the file, the length of straight borders, and, where the detector knows it, the distance of the feature
            from those of training: with the group of content, which is there anyway, all that ``drift`` and ``calibrate`` read.
        repeated: sha256 of files that several samples have, as sets of a benchmark share photographs: what is found in one is kept, and holds for
            the next.

    Raises:
        ValueError: an unknown condition.
    """
    degrade = {name: condition(name) for name in conditions}
    thresholds = thresholds_of(detector.bundle)
    known: dict[tuple[str, str], dict[str, Any]] = {}
    jobs = _jobs(detector, samples, degrade, known, partial(_found, detector, thresholds, traits=traits))
    for seen in ahead(islice(jobs, skip, None), detector.threads):
        row = {**(seen.sample.model_extra or {}), **seen.sample.model_dump(include=set(SAMPLE)), "condition": seen.condition}
        row |= {"bundle": detector.bundle.hash, "runtime": detector.runtime.name}
        if day is not None and not (row.get("day") or row.get("time")):
            row["day"] = day
        if seen.error:
            yield {**row, **UNSCORED, "sha256": "", "error": seen.error}
            continue
        place = (seen.sha256, seen.condition)
        found = known.get(place) or seen.found
        if seen.sha256 in repeated:
            known[place] = found
        yield {**row, **found, "sha256": seen.sha256, "error": ""}


def thresholds_of(bundle: Bundle) -> dict[int | None, float | None]:
    """Logit from which ``detect``, by default, calls a picture AI-generated, by its group of content (None: not known); None: from none."""
    return {group: decision_of(bundle, Policy(), group).ai for group in (None, *range(content.count(bundle.statistics)))}


def _found(detector: Detector, thresholds: Mapping[int | None, float | None], picture: Picture, pixels: Pixels, *, traits: bool) -> dict[str, Any]:
    """What a row says of a picture that opened, from its pixels in a condition."""
    card = detector.bundle.card
    view_logits, features = detector.runtime.look(detector.views(pixels))
    place = None if card.domain is None or features is None else placed(features, card.domain, detector.bundle.statistics)
    logit, group = float(view_logits.mean(dtype="float64")), None if place is None else place.group
    chance = None if card.calibration is None else float(probability(card.calibration.of(group), logit))
    found = {"logit": logit, "probability": chance, "content_group": group, "threshold": thresholds[group]}
    if traits:
        found |= {"format": picture.format, "width": picture.width, "height": picture.height, "borders": straight_borders(pixels)}
        found |= {} if place is None else {"feature_distance": place.distance}
    return found


@dataclass(frozen=True)
class _Seen:
    """A sample in a condition; ``found`` is empty where it did not open, or is known."""

    sample: Sample
    condition: str
    sha256: str
    error: str
    found: dict[str, Any]


class _Opening:
    """A picture that whoever needs it first opens, for all."""

    def __init__(self, detector: Detector, sample: Sample) -> None:
        self._detector, self._sample = detector, sample
        self._lock = threading.Lock()
        self._found: Picture | PictureError | None = None

    def picture(self) -> Picture | PictureError:
        """The picture, or why there is none: under the manifest's name, which says the same wherever its folder is."""
        with self._lock:
            if self._found is None:
                try:
                    self._found = self._detector.open(self._sample.content(), name=self._sample.path)
                except OSError as error:
                    self._found = unreadable(self._sample, error)
            return self._found


def unreadable(sample: Sample, error: OSError) -> PictureError:
    """Says that a sample's bytes cannot be had: what it is packed into may be gone or broken."""
    return PictureError(sample.path, "missing", f"cannot be read: {error.strerror or error}")


def _jobs(
    detector: Detector,
    samples: Iterable[Sample],
    degrade: Mapping[str, Callable[[Pixels], Pixels]],
    known: Container[tuple[str, str]],
    found: Callable[[Picture, Pixels], dict[str, Any]],
) -> Iterator[Callable[[], _Seen]]:
    """A job for each sample and condition rather than for each sample, so that many conditions take no more memory than one.

    A picture that is in ``known`` under a condition when its turn comes is not scored.
    """

    def look(sample: Sample, opening: _Opening, name: str) -> _Seen:
        picture = opening.picture()
        if isinstance(picture, PictureError):
            return _Seen(sample, name, "", str(picture), {})
        scored = (picture.sha256, name) in known
        return _Seen(sample, name, picture.sha256, "", {} if scored else found(picture, degrade[name](picture.pixels)))

    for sample in samples:
        opening = _Opening(detector, sample)
        for name in degrade:
            yield partial(look, sample, opening, name)


def as_table(rows: Iterable[dict[str, Any]]) -> pa.Table:
    """A scores table of rows as ``score`` gives them; columns beyond the schema are kept as text.

    Of names that are no text, such bytes are kept as codes, as ``batch`` has them.
    """
    rows = [{**row, "path": shown(row["path"])} for row in rows]
    return table_of(rows, schema_with({name for row in rows for name in row}))


def schema_with(columns: Iterable[str], **metadata: Any) -> pa.Schema:
    """``SCHEMA`` and, as text, the columns it lacks, in order of name; metadata as JSON under the key ``realgrain``."""
    extra = sorted(set(columns) - set(SCHEMA.names))
    return pa.schema([*SCHEMA, *((name, pa.string()) for name in extra)], metadata={"realgrain": json.dumps(metadata)})


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table of a schema by ``schema_with``; an extra column that a row lacks is empty."""
    extra = schema.names[len(SCHEMA) :]
    return pa.Table.from_pylist([{**row, **{name: cell(row.get(name)) for name in extra}} for row in rows], schema=schema)


def cell(value: Any) -> str:
    """What an extra column holds of a value: its text, empty for None."""
    return "" if value is None else str(value)


def write_table(table: pa.Table, path: Path) -> None:
    """Write a parquet file at once, or not at all."""
    with whole(path) as scratch:
        pq.write_table(table, scratch, compression="zstd")
