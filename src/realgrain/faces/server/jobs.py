"""Jobs: many pictures, judged in the background, that a restart neither loses nor does twice.

A job is accepted when its pictures and its row are on disk. Each picture's outcome is kept before the picture is deleted, and the job ends in the
transaction that puts its webhook in line: wherever the process dies, what is on disk says what is left to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from realgrain.faces.server.problems import Problem
from realgrain.faces.server.spool import Spool, Staged, new_id
from realgrain.faces.server.store import Store
from realgrain.faces.server.tables import Job
from realgrain.faces.server.trouble import Trouble, is_locked

AGAIN = 1.0  # seconds until what the store or the disk did not take is tried again
TRIES = 5  # of one picture, those that a restart cut short included: one that takes the server down each time is given up
PURGE = 600  # seconds between looks for results that are too old


class JobStatus(BaseModel):
    """A job as its owner sees it.

    Attributes:
        id: of the job.
        state: ``queued``, ``running`` or ``done``.
        total: pictures.
        done: of them that were judged or have failed.
        failed: of them that have failed, each with its own problem among the results.
        made: when it was accepted, UTC.
        ended: when it ended, UTC.
        results: where its results are.
        kept_until: when they are deleted, UTC; None while it has not ended.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    state: str
    total: int
    done: int
    failed: int
    made: datetime
    ended: datetime | None
    results: str
    kept_until: datetime | None


def status_of(job: Job, keep_days: float) -> JobStatus:
    """A job as its owner sees it."""
    ended = None if job.ended is None else datetime.fromtimestamp(job.ended, UTC)
    until = None if job.ended is None else datetime.fromtimestamp(job.ended + 86_400 * keep_days, UTC)
    return JobStatus(
        id=job.id,
        state=job.state,
        total=job.total,
        done=job.done,
        failed=job.failed,
        made=datetime.fromtimestamp(job.made, UTC),
        ended=ended,
        results=f"/v1/jobs/{job.id}/results",
        kept_until=until,
    )


class Jobs:
    """Runs the jobs of one store and spool.

    Args:
        store: of the jobs.
        spool: of their uploads.
        judge: a picture's bytes, name and what was asked, to its report as JSON; raises Problem where there is none.
        width: pictures at work at a time; small, so that who waits for an answer is not kept waiting by jobs.
        keep_days: that results are kept.
        ended: is called when a job has.
    """

    def __init__(
        self,
        store: Store,
        spool: Spool,
        judge: Callable[[bytes, str, str], Awaitable[str]],
        *,
        width: int,
        keep_days: float,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._store, self._spool, self._judge, self._keep_days, self._ended = store, spool, judge, keep_days, ended
        self._width, self._trouble = width, Trouble()
        self._left: dict[str, deque[int]] = {}  # pictures of each job that are still to begin
        self._open: dict[str, int] = {}  # pictures of each job that have not ended
        self._turns: deque[str] = deque()  # jobs with pictures to begin, one picture a turn: a large one does not keep small ones waiting
        self._work = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self._accepting: set[asyncio.Task[str]] = set()
        self._unsettled: asyncio.Queue[Staged] = asyncio.Queue()  # of which nobody knows whether the store kept them

    async def start(self) -> None:
        """Take up what was left, and begin."""
        left = await asyncio.to_thread(self._store.unfinished)
        await asyncio.to_thread(self._spool.keep_only, {job for job, _ in left})
        for job, pictures in left:
            await self._add(job, pictures)
        self._tasks = [asyncio.create_task(self._run()) for _ in range(self._width)]
        self._tasks += [asyncio.create_task(self._purge()), asyncio.create_task(self._settle_later())]

    async def stop(self) -> None:
        """Stop; what is not done is left for the next start."""
        await asyncio.gather(*self._accepting, return_exceptions=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def waiting(self) -> int:
        """Pictures that have not ended."""
        return sum(self._open.values())

    async def accept(self, staged: Staged, key: str, asked: str, webhook: str | None, once: str | None) -> str:
        """Accept a job; when this returns it survives whatever happens. Its name, or that of the job which the key made under the same ``once``.

        From here on the uploads are the job's: they are discarded here if there is to be none. Who gives up waiting stops nothing.
        """
        task = asyncio.create_task(self._accept(staged, key, asked, webhook, once))
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)
        return await asyncio.shield(task)

    async def _accept(self, staged: Staged, key: str, asked: str, webhook: str | None, once: str | None) -> str:
        try:
            new = await asyncio.to_thread(self._store.add_job, staged.job, key, asked, webhook, staged.names, once)
        except Exception as error:
            if is_locked(error):  # certainly not kept, and to ask would wait once more
                await asyncio.to_thread(staged.discard)
                raise
            try:
                kept = await self._settle(staged)  # for a database that could not answer may have kept the job
            except Exception:
                self._unsettled.put_nowait(staged)
                raise error from None
            if not kept:
                raise
            return staged.job
        if not new:
            await asyncio.to_thread(staged.discard)
            assert once is not None
            return await asyncio.to_thread(self._store.job_once, key, once) or staged.job
        await self._add(staged.job, list(range(len(staged.names))))
        return staged.job

    async def _settle(self, staged: Staged) -> bool:
        """Take up a job or discard its uploads, by what the store says of it; whether it was kept."""
        kept = await asyncio.to_thread(self._store.keeps, staged.job)
        if kept:
            await self._add(staged.job, list(range(len(staged.names))))
        else:
            await asyncio.to_thread(staged.discard)
        return kept

    async def _settle_later(self) -> None:
        """Likewise, of what the store could not say even that, when it answers again; where the server ends before, its next start does so."""
        while True:
            staged = await self._unsettled.get()
            while True:
                await asyncio.sleep(AGAIN)
                with contextlib.suppress(Exception):
                    await self._settle(staged)
                    break

    async def forget(self, job: str) -> None:
        """Drop a job and all that is kept of it, whether it has ended or not; where the store is away, it goes on."""
        await asyncio.to_thread(self._store.forget, job)
        async with self._work:
            self._left.pop(job, None)
            self._open.pop(job, None)
            with contextlib.suppress(ValueError):
                self._turns.remove(job)
        await asyncio.to_thread(self._spool.delete, job)

    async def _add(self, job: str, pictures: list[int]) -> None:
        if not pictures:  # the server died between its last picture and its end
            await self._end(job)
            return
        async with self._work:
            self._left[job], self._open[job] = deque(pictures), len(pictures)
            self._turns.append(job)
            self._work.notify(len(pictures))

    async def _next(self) -> tuple[str, int]:
        async with self._work:
            await self._work.wait_for(lambda: self._turns)
            job = self._turns.popleft()
            n = self._left[job].popleft()
            if self._left[job]:
                self._turns.append(job)
            else:
                del self._left[job]
            return job, n

    async def _run(self) -> None:
        while True:
            job, n = await self._next()
            try:
                await self._picture(job, n)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                # The store or the disk is away. Nothing is lost: the picture takes its turn again.
                self._trouble.tell(error, "a picture of job %s could not be worked on; it is tried again", job)
                await asyncio.sleep(AGAIN)
                async with self._work:
                    if job in self._open:
                        self._left.setdefault(job, deque()).append(n)
                        if job not in self._turns:
                            self._turns.append(job)
                        self._work.notify()

    async def _picture(self, job: str, n: int) -> None:
        item = await asyncio.to_thread(self._store.begin_item, job, n)
        if item is not None:
            report = problem = None
            try:
                if item.tries > TRIES:
                    raise Problem(500, "given_up", f"{item.name}: could not be judged in {TRIES} attempts")
                report = await self._report(job, n, item.name)
            except Problem as found:
                if found.status == 503:  # not the picture's fault: later, as often as it takes
                    await asyncio.to_thread(self._store.give_back, job, n)
                    raise
                problem = found.body.model_dump_json()
            except asyncio.CancelledError:  # the server stops, which says nothing of the picture
                with contextlib.suppress(Exception):
                    await asyncio.to_thread(self._store.give_back, job, n)
                raise
            await self._keep(job, n, report, problem)
        await asyncio.to_thread(self._spool.delete, job, n)
        if job not in self._open:  # forgotten meanwhile
            return
        self._open[job] -= 1
        if not self._open[job]:
            del self._open[job]
            await self._end(job)

    async def _keep(self, job: str, n: int, report: str | None, problem: str | None) -> None:
        """Write what came of a picture; again and again while the store is away, for another try of the picture would say the same."""
        while True:
            try:
                await asyncio.to_thread(self._store.end_item, job, n, report, problem)
                return
            except Exception as error:
                self._trouble.tell(error, "what came of a picture of job %s could not be written; it is tried again", job)
                await asyncio.sleep(AGAIN)

    async def _report(self, job: str, n: int, name: str) -> str:
        found = await asyncio.to_thread(self._store.job, job, None)
        try:
            data = await asyncio.to_thread(self._spool.read, job, n)
        except FileNotFoundError:
            raise Problem(500, "lost", f"{name}: its upload is no longer there") from None
        return await self._judge(data, name, "{}" if found is None else found.asked)

    async def _end(self, job: str) -> None:
        """End a job whose pictures all have; again and again while the store is away, because nobody else would."""
        delivery, now = new_id(), time.time()
        while True:
            try:
                await self._try_to_end(job, delivery, now)
                return
            except Exception as error:
                self._trouble.tell(error, "job %s could not be ended; it is tried again", job)
                await asyncio.sleep(AGAIN)

    async def _try_to_end(self, job: str, delivery: str, now: float) -> None:
        await asyncio.to_thread(self._spool.delete, job)  # first: what is said to have ended, or was deleted by another server, has left nothing
        found = await asyncio.to_thread(self._store.job, job, None)
        if found is None:
            return
        ended = datetime.fromtimestamp(now, UTC)
        said = status_of(found, self._keep_days).model_copy(
            update={"state": "done", "ended": ended, "kept_until": datetime.fromtimestamp(now + 86_400 * self._keep_days, UTC)}
        )
        body = json.dumps({"type": "job.ended", "timestamp": ended.isoformat(), "data": said.model_dump(mode="json")})
        await asyncio.to_thread(self._store.end_job, job, delivery, body, now)
        self._ended()

    async def _purge(self) -> None:
        while True:
            with contextlib.suppress(Exception):  # a store that is away: the next time will do
                await asyncio.to_thread(self._store.forget_before, time.time() - 86_400 * self._keep_days)
            await asyncio.sleep(PURGE)
