"""The work itself: items in, outcomes out. The same on a driver's own machine and on any other."""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa

from realgrain.detector import devices
from realgrain.detector.ahead import ahead
from realgrain.detector.bundle import read_bundle
from realgrain.detector.detect import Detector, load
from realgrain.measuring.alone import RunError
from realgrain.measuring.batch.items import Item
from realgrain.measuring.batch.known import Known
from realgrain.measuring.batch.outcomes import Outcome, as_array, judged, refused
from realgrain.measuring.batch.pins import Scoring, scoring
from realgrain.measuring.batch.reading import Reader
from realgrain.measuring.lock import differences
from realgrain.picture.errors import NO_MEMORY, PictureError
from realgrain.picture.image import Picture

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
    detector = load(bundle, runtime=wanted.runtime, evidence=False, policy=wanted.asked.policy, many=True, **means)
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


class _Once:
    """Outcomes by content: whoever comes first judges it, and the others wait."""

    def __init__(self) -> None:
        self._found: dict[str, Future[Outcome]] = {}
        self._lock = threading.Lock()

    def get(self, sha256: str, judge: Callable[[], Outcome]) -> Outcome:
        """What ``judge`` gives the first who asks for a content; what it raises, it raises for all."""
        with self._lock:
            first = sha256 not in self._found
            future = self._found.setdefault(sha256, Future())
        if first:
            try:
                future.set_result(judge())
            except BaseException as error:
                future.set_exception(error)
        return future.result()


def outcomes(detector: Detector, known: Known | None, items: Sequence[Item]) -> Iterator[Outcome]:
    """Judge items in order, on all threads; each content is judged once."""
    once = _Once()
    return ahead((partial(_outcome, detector, known, once, item, _reader.job(item, detector.limits)) for item in items), detector.threads)


def _outcome(detector: Detector, known: Known | None, once: _Once, item: Item, read: Callable[[], bytes]) -> Outcome:
    try:
        data = read()
    except PictureError as error:
        return refused(error)
    digest = hashlib.sha256(data).hexdigest()
    if known is not None and (before := known.get(digest)):
        return before
    picture = detector.open(data, name=item.uri)
    if isinstance(picture, PictureError):
        return refused(_passing(picture), digest, len(data))
    return once.get(digest, partial(_judge, detector, known, picture))


def _judge(detector: Detector, known: Known | None, picture: Picture) -> Outcome:
    outcome = judged(detector.judge(picture))
    if known is not None:
        known.put(outcome)
    return outcome


def _passing(error: PictureError) -> PictureError:
    """Want of memory may be over when the item is asked for again, which ``unreachable`` stands for."""
    return PictureError(error.name, "unreachable", error.reason) if error.reason == NO_MEMORY else error
