"""Whether somebody still waits for an answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.requests import Request

from realgrain.faces.server.problems import Problem


@contextlib.asynccontextmanager
async def attended(request: Request) -> AsyncIterator[None]:
    """Do what is within for as long as the client is there; when it goes, that is cancelled. To be entered when the body was read.

    Raises:
        Problem: 400, it has gone; nobody reads that, but requests are counted by their status.
    """
    loop, there = asyncio.get_running_loop(), asyncio.timeout(None)

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        there.reschedule(loop.time())

    try:
        async with there:
            watching = asyncio.create_task(watch())
            try:
                yield
            finally:
                watching.cancel()
    except TimeoutError:
        if not there.expired():
            raise
        raise Problem(400, "cut_short", "the client has gone") from None
