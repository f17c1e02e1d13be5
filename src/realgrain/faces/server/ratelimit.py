"""How often one may ask."""

from __future__ import annotations

import math

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from realgrain.faces.server.problems import Problem

WRONG_KEYS = "30/minute"  # from one address (our choice): guessing 256 bits is hopeless anyway, this keeps it from costing anything


class RateLimits:
    """Counts by whom and what, in memory: a restart forgets them.

    Args:
        rate: of who has none of their own, such as ``120/minute``.

    Raises:
        ValueError: it is no rate.
    """

    def __init__(self, rate: str) -> None:
        self._default = parsed(rate)
        self._wrong = parsed(WRONG_KEYS)
        self._storage = MemoryStorage()
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)

    async def count(self, who: str, rate: str | None = None, cost: int = 1) -> None:
        """Count a request, as several if it costs more.

        Raises:
            Problem: 429, there were too many.
        """
        await self._count(self._default if rate is None else parsed(rate), "requests", who, cost)

    async def count_wrong(self, address: str) -> None:
        """Count a request with a wrong key; raises likewise."""
        await self._count(self._wrong, "wrong", address)

    async def _count(self, item: RateLimitItem, what: str, who: str, cost: int = 1) -> None:
        cost = min(cost, item.amount)
        if not await self._limiter.hit(item, what, who, cost=cost):
            raise Problem(429, "too_many_requests", f"more than {item} here", Retry_After=str(await self._wait(item, what, who, cost)))

    async def _wait(self, item: RateLimitItem, what: str, who: str, cost: int) -> int:
        """Seconds, 1 at least, until a request of this cost is let in: those of a window count for less and less in the course of the next."""
        expiry, room = item.get_expiry(), item.amount - cost + 1
        before, _, within, ends = await self._storage.get_sliding_window(item.key_for(what, who), expiry)
        rest = ends - expiry  # of the window; the library counts until the end of the next
        full = rest + expiry * (1 - room / within) if within >= room else rest - expiry * (room - within) / max(before, 1)
        return max(1, math.floor(full) + 1)


def parsed(rate: str) -> RateLimitItem:
    """A rate, such as ``10/second`` or ``1000 per day``.

    Raises:
        ValueError: it is none.
    """
    try:
        found = parse(rate)
    except ValueError:
        raise ValueError(f"{rate!r} is no rate; 120/minute is one") from None
    if found.amount < 1:
        raise ValueError(f"{rate!r} would let nobody in; a rate is at least 1")
    return found
