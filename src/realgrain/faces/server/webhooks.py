"""Webhooks: a job's end told to its owner, at least once, each time under the same id.

Signed as the Standard Webhooks specification has it, so that its libraries can check them: HMAC-SHA256 over ``ID.TIMESTAMP.BODY`` in the header
``Webhook-Signature``. Each key has a secret of its own, derived from one of the server, so that none need be stored.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from realgrain.faces.server.fetch import Client, FetchError
from realgrain.faces.server.store import Store
from realgrain.faces.server.tables import Delivery
from realgrain.faces.server.trouble import Trouble

POLL = 0.5  # seconds between looks for webhooks that are due
MOST = 64  # on their way at a time ...
EACH = 4  # ... to one receiver, so that a slow one keeps nobody else's waiting (all three are our choices)
PREFIX = "whsec_"


def server_secret(file: Path) -> bytes:
    """32 random bytes that only this server has: of a file, made if need be, for its owner alone."""
    with contextlib.suppress(FileExistsError):
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as made:
            made.write(secrets.token_bytes(32))
            made.flush()
            os.fsync(made.fileno())
    found = file.read_bytes()
    if len(found) != 32:
        raise ValueError(f"{file}: not the secret that webhooks are signed with")
    return found


def secret_of(server: bytes, key: str) -> str:
    """What a key's owner checks signatures with: ``whsec_`` and base64."""
    return PREFIX + base64.b64encode(hmac.digest(server, f"webhook {key}".encode(), hashlib.sha256)).decode()


def signature(secret: str, delivery: str, timestamp: int, body: bytes) -> str:
    """The value of ``Webhook-Signature``."""
    signed = f"{delivery}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(base64.b64decode(secret.removeprefix(PREFIX)), signed, hashlib.sha256)).decode()


class Webhooks:
    """Delivers what is due, and tries again later what did not arrive.

    Args:
        store: with the deliveries.
        client: to send them.
        server: secret of the server.
        delays: seconds before each new attempt.
        tried: is told ``delivered``, ``failed`` or ``given_up``.
    """

    def __init__(self, store: Store, client: Client, server: bytes, delays: tuple[float, ...], tried: Callable[[str], None] = lambda _: None) -> None:
        self._store, self._client, self._server, self._delays, self._tried = store, client, server, delays, tried
        self._task: asyncio.Task[None] | None = None
        self._under_way: dict[asyncio.Task[None], Delivery] = {}
        self._wake, self._trouble = asyncio.Event(), Trouble()
        self._came: dict[str, tuple[str, bool]] = {}  # of what was posted, until the store has it

    async def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop; what is due stays so."""
        tasks = [task for task in (self._task, *self._under_way) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def wake(self) -> None:
        """Look at once."""
        self._wake.set()

    async def _run(self) -> None:
        while True:
            # A database that is away comes back; until then there is nothing to do but to wait.
            with contextlib.suppress(Exception):
                await self._begin()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await self._wake.wait()
            self._wake.clear()

    async def _begin(self) -> None:
        """Send what is due, as far as there is room."""
        at_work = Counter(_receiver(delivery) for delivery in self._under_way.values())
        full = [receiver for receiver, count in at_work.items() if count >= EACH]
        under_way = [delivery.id for delivery in self._under_way.values()]
        for delivery in await asyncio.to_thread(self._store.due, time.time(), MOST - len(under_way), under_way, full):
            receiver = _receiver(delivery)
            if at_work[receiver] < EACH:
                at_work[receiver] += 1
                task = asyncio.create_task(self._try(delivery))
                self._under_way[task] = delivery
                task.add_done_callback(self._under_way.pop)

    async def _try(self, delivery: Delivery) -> None:
        """Post, and write what came of it. While the store does not take that, the next time does so and does not post again."""
        try:
            self._came[delivery.id] = outcome, arrived = self._came.get(delivery.id) or await self._post(delivery)
            due = None if arrived or delivery.tries >= len(self._delays) else time.time() + self._delays[delivery.tries]
            await asyncio.to_thread(self._store.tried, delivery.id, outcome, due)
        except Exception as error:
            self._trouble.tell(error, "what came of webhook %s could not be written; it is tried again", delivery.id)
            return
        del self._came[delivery.id]
        self.wake()  # there is room for another
        self._tried("delivered" if arrived else "failed" if due is not None else "given_up")

    async def _post(self, delivery: Delivery) -> tuple[str, bool]:
        """What came of it, in words, and whether it arrived."""
        body, timestamp = delivery.body.encode(), int(time.time())
        headers = {
            "Content-Type": "application/json",
            "Webhook-Id": delivery.id,
            "Webhook-Timestamp": str(timestamp),
            "Webhook-Signature": signature(secret_of(self._server, delivery.key), delivery.id, timestamp, body),
        }
        try:
            status = await self._client.post(delivery.url, headers, body)
        except FetchError as error:
            return str(error), False
        return f"status {status}", 200 <= status < 300


def _receiver(delivery: Delivery) -> str:
    """What its address begins with: scheme, host and port."""
    parts = urlsplit(delivery.url)
    return delivery.url[: len(f"{parts.scheme}://{parts.netloc}")]
