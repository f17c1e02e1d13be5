"""Dynamic batching: pictures that come within a few milliseconds share one run of the graph, and keep the scores that each has alone.

That holds to the last bit or is not done: between its first requests, ``Proof`` compares runs of several pictures with runs of one. Which arithmetic
a runtime picks depends on the shapes it is given and not on the numbers in them, so random pictures can show it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from typing import NamedTuple, TypeVar

import numpy as np

from realgrain.detector.decision import Policy
from realgrain.detector.detect import Detector
from realgrain.detector.runtime import Runtime, cores
from realgrain.detector.seen import Seen
from realgrain.detector.verdict import Report

Found = TypeVar("Found")
POLICIES = 256  # whose thresholds are kept at hand


_Found = tuple[np.ndarray, np.ndarray | None]


class Proof:
    """Tries whether pictures may share runs of a runtime.

    Args:
        runtime: to be tried.
        views: (V, 3, H, W) float32 of any picture; others are made by moving them sideways.
    """

    def __init__(self, runtime: Runtime, views: np.ndarray) -> None:
        self._runtime, self._views = runtime, views
        self._pictures: list[np.ndarray] = []
        self._alone: list[_Found] = []

    def holds(self, count: int) -> bool:
        """Whether a run of so many pictures gives each of them the logits and features that it has alone, to the last bit."""
        for shift in range(len(self._pictures), count):
            self._pictures.append(np.ascontiguousarray(np.roll(self._views, shift, axis=-1)))
            self._alone.append(self._runtime.look(self._pictures[-1]))
        parts = _split(self._runtime.look(np.concatenate(self._pictures[:count])), count)
        return all(_same(part, own) for part, own in zip(parts, self._alone, strict=False))


def _split(found: _Found, count: int) -> list[_Found]:
    logits, features = found
    return list(zip(np.split(logits, count), [None] * count if features is None else np.split(features, count), strict=True))


def _same(one: _Found, other: _Found) -> bool:
    return all((a is None and b is None) or (a is not None and b is not None and a.tobytes() == b.tobytes()) for a, b in zip(one, other, strict=True))


class _Asked(NamedTuple):
    seen: Seen
    policy: Policy
    answer: asyncio.Future[Report]


class Batcher:
    """Judges what was seen, a run after the other, in the order in which it came.

    Args:
        detector: whose runtime and bundle; each picture brings its own policy.
        window: seconds that a picture waits for others.
        most: pictures in one run, at most; until more are proven to keep their bits, one.
        observed: is told the number of pictures of each run.
    """

    def __init__(self, detector: Detector, *, window: float, most: int, observed: Callable[[int], None] = lambda _: None) -> None:
        self._detector, self._window, self._observed = detector, window, observed
        self._wanted, self.most = most, 1  # as far as it is proven
        self._line: asyncio.Queue[_Asked] = asyncio.Queue()
        self.line = 0  # pictures that wait to be judged or are
        self._thread = ThreadPoolExecutor(1, "realgrain-score")
        self._judges = ThreadPoolExecutor(detector.threads or cores(), "realgrain-judge")  # of what one run found, each a picture
        self._task: asyncio.Task[None] | None = None
        self._proving: asyncio.Task[None] | None = None
        self._for = lru_cache(POLICIES)(lambda policy: replace(detector, policy=policy))

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())
        self._proving = asyncio.create_task(self._prove())

    async def _prove(self) -> None:
        """Each step takes its turn in the thread that judges, so that nobody waits for all of them."""
        size = 64 + self._detector.bundle.card.smallest_side
        pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
        proof = Proof(self._detector.runtime, self._detector.views(pixels))
        for count in range(2, self._wanted + 1):
            if not await self._in_thread(partial(proof.holds, count)):
                return
            self.most = count

    async def stop(self) -> None:
        """Stop; what has not been judged is not."""
        tasks = [task for task in (self._task, self._proving) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while not self._line.empty():
            self._line.get_nowait().answer.cancel()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._judges.shutdown()

    @property
    def alive(self) -> bool:
        """Whether it judges."""
        return self._task is not None and not self._task.done()

    def of(self, policy: Policy) -> Detector:
        """The detector with a policy.

        Raises:
            ValueError: there is no such profile.
        """
        detector = self._for(policy)
        detector.decision  # noqa: B018  (raises here, where the one who asked is told)
        return detector

    def logits(self, views: np.ndarray) -> np.ndarray:
        """As the runtime gives them, in turn with what else is judged; for threads other than the loop's, which wait."""
        return self._thread.submit(self._detector.runtime.logits, views).result()

    async def judge(self, seen: Seen, policy: Policy) -> Report:
        """Judge one picture."""
        asked = _Asked(seen, policy, asyncio.get_running_loop().create_future())
        self._line.put_nowait(asked)
        self.line += 1
        try:
            return await asked.answer
        finally:
            self.line -= 1

    async def _in_thread(self, work: Callable[[], Found]) -> Found:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _run(self) -> None:
        while True:
            batch = [await self._line.get()]
            await self._gather(batch)
            batch = [asked for asked in batch if not asked.answer.done()]  # whoever has gone is not judged
            if not batch:
                continue
            self._observed(len(batch))
            outcomes = await self._in_thread(lambda batch=batch: self._judged(batch))
            for asked, outcome in zip(batch, outcomes, strict=True):
                if asked.answer.done():
                    continue
                if isinstance(outcome, BaseException):
                    asked.answer.set_exception(outcome)
                else:
                    asked.answer.set_result(outcome)

    async def _gather(self, batch: list[_Asked]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._window):
                while len(batch) < self.most:
                    batch.append(await self._line.get())

    def _judged(self, batch: list[_Asked]) -> list[Report | Exception]:
        try:
            found = _split(self._detector.runtime.look(np.concatenate([asked.seen.views for asked in batch])), len(batch))
        except Exception as error:
            return [error] * len(batch)
        return list(self._judges.map(self._one, batch, found))

    def _one(self, asked: _Asked, found: _Found) -> Report | Exception:
        if asked.answer.done():  # has gone since, or the server ends: a look at stability is six runs more
            return RuntimeError("nobody waits for this picture any more")
        try:
            return self._for(asked.policy).judged(asked.seen, found)
        except Exception as error:
            return error
