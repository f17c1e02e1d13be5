"""Work done ahead of its reader, in order: what keeps processors busy with the next pictures while a runtime scores this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from realgrain.detector.runtime import cores

Found = TypeVar("Found")
AHEAD = 4  # jobs begun ahead of the reader, for each thread: enough to keep a runtime busy, few enough to keep memory flat


def ahead(jobs: Iterable[Callable[[], Found]], threads: int | None = None) -> Iterator[Found]:
    """Results of jobs, in their order; at most ``AHEAD`` for each thread are begun, or done and not yet read.

    Jobs are drawn from the iterable as room for them comes up. What a job raises is raised where its result would be; a reader that stops early
    leaves only those unfinished that had begun.

    Args:
        jobs: called on the threads.
        threads: how many; None: one for each processor that this process may use.
    """
    rest, threads = iter(jobs), threads or cores()
    pool = ThreadPoolExecutor(threads, "realgrain-ahead")
    try:
        waiting: deque[Future[Found]] = deque(pool.submit(job) for job in islice(rest, AHEAD * threads))
        while waiting:
            done = waiting.popleft().result()
            waiting.extend(pool.submit(job) for job in islice(rest, 1))
            yield done
    finally:
        pool.shutdown(cancel_futures=True)
