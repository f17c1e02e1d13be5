"""How a server ends: first it says so, then it takes nothing more, and what is being answered is answered."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType

import uvicorn


class Leaving(uvicorn.Server):
    """uvicorn's server, which at the first SIGTERM goes on for a while, so that a balancer sees that it is not ready and sends nothing more.

    Args:
        config: of uvicorn.
        seconds: that it goes on; a second signal cuts them short, and Ctrl-C never waits.
        leaving: is set at the signal.
    """

    def __init__(self, config: uvicorn.Config, seconds: float, leaving: threading.Event) -> None:
        super().__init__(config)
        self._seconds, self._leaving = seconds, leaving
        self._until: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """As uvicorn calls it on a signal."""
        self._leaving.set()
        if sig == signal.SIGTERM and self._seconds > 0 and self.started and self._until is None:
            self._until = time.monotonic() + self._seconds
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """As uvicorn calls it ten times a second; True: stop."""
        if self._until is not None and time.monotonic() >= self._until:
            self.should_exit = True
        return await super().on_tick(counter)
