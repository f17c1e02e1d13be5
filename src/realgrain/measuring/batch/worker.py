"""The work itself: items in, outcomes out. The same on a driver's own machine and on any other."""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa

from realgrain.detector import devices
from realgrain.detector.ahead import ahead
from realgrain.detector.bundle import read_bundle
from realgrain.detector.detect import Detector, Seen, load
from realgrain.measuring.alone import RunError
from realgrain.measuring.batch.items import Item
from realgrain.measuring.batch.known import Known
from realgrain.measuring.batch.outcomes import Outcome, as_array, judged, refused
from realgrain.measuring.batch.pins import Scoring, scoring
from realgrain.measuring.batch.reading import Reader
from realgrain.measuring.lock import differences
from realgrain.picture.errors import NO_MEMORY, PictureError

_turn = threading.Lock()
_reader = Reader()  # one of a process: a parquet file is read on from where the items before ended, not from the start of its group of rows each time


@dataclass(frozen=True)
class Plan:
    """What a worker needs to know; plain enough to be sent to one.

    Attributes:
        bundle: folder of the detector, which each worker must have at the same path; None: the one that realgrain ships.
        scoring: what the worker's detector has to be, as JSON of ``Scoring``: versions may differ between machines, rows must not.
        threads: processors to use; None: all that the worker has.
        offline: never touch the network for the base.
        known: folder for outcomes by content; None: none are kept.
        device: of the kind that ``scoring`` names, as it was asked for; each worker looks whether it has one.
    """

    bundle: str | None
    scoring: str
    threads: int | None = None
    offline: bool = False
    known: str | None = None
    device: str = "cpu"


@functools.lru_cache(maxsize=1)
def opened(plan: Plan) -> tuple[Detector, Known | None]:
    """A process's one detector: loaded once, whatever asks for it and however often.

    Raises:
        RunError: it is not the one that the plan wants; the message says what differs.
    """
    wanted = Scoring.model_validate_json(plan.scoring)
    bundle = read_bundle(plan.bundle)
    here = scoring(bundle, wanted.runtime, wanted.asked, wanted.device)
    if here != wanted:
        raise RunError(f"this worker would give other scores: {'; '.join(differences(wanted, here))}")
    means = {"threads": plan.threads, "offline": plan.offline, "device": devices.here(plan.device, wanted.runtime)}
    detector = load(bundle, runtime=wanted.runtime, evidence=False, policy=wanted.asked.policy, **means)
    return detector, None if plan.known is None else Known(Path(plan.known), wanted)


def score_items(plan: Plan, items: Sequence[Item], query: str) -> pa.Array:
    """Outcomes of items, in their order, as an array of ``outcomes.STRUCT``.

    One call at a time in a process: a detector already uses all the processors that it may, and two at once would only be in each other's way.

    Args:
        plan: which detector.
        items: to be read and judged.
        query: they belong to; files stay open between calls of one alone, for by the next one a store may hold another file of that name.
    """
    with _turn:
        _reader.serve(query)
        return as_array(list(outcomes(*opened(plan), items)))


@dataclass(frozen=True)
class _Ready:
    """An item that is read: what is known of it, or what the runtime needs to judge it."""

    outcome: Outcome | None
    sha256: str = ""
    seen: Seen | None = None


def outcomes(detector: Detector, known: Known | None, items: Sequence[Item]) -> Iterator[Outcome]:
    """Judge items in order, reading and decoding ahead; each content is judged once."""
    found: dict[str, Outcome] = {}
    for ready in ahead((partial(_look, detector, known, item, _reader.job(item, detector.limits)) for item in items), detector.threads):
        outcome = ready.outcome or found.get(ready.sha256)
        if outcome is None:
            assert ready.seen is not None
            outcome = judged(detector.judged(ready.seen))
        if outcome.sha256 is not None and outcome.sha256 not in found:
            found[outcome.sha256] = outcome
            if known is not None and ready.outcome is None:
                known.put(outcome)
        yield outcome


def _look(detector: Detector, known: Known | None, item: Item, read: Callable[[], bytes]) -> _Ready:
    try:
        data = read()
    except PictureError as error:
        return _Ready(refused(error))
    digest = hashlib.sha256(data).hexdigest()
    if known is not None and (before := known.get(digest)):
        return _Ready(before, digest)
    picture = detector.open(data, name=item.uri)
    if isinstance(picture, PictureError):
        return _Ready(refused(_passing(picture), digest, len(data)))
    return _Ready(None, digest, detector.seen(picture).without_pixels())


def _passing(error: PictureError) -> PictureError:
    """Want of memory may be over when the item is asked for again, which ``unreachable`` stands for."""
    return PictureError(error.name, "unreachable", error.reason) if error.reason == NO_MEMORY else error
