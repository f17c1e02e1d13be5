"""API keys: who asks, and what they may do.

A key is ``rg_ID_SECRET``. The secret has 256 random bits, so one round of SHA-256 hides it as well as a slow hash would: slow ones are for what
people make up, and would let anyone keep a processor busy by sending wrong keys.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Literal, get_args

from realgrain.faces.server.problems import Problem
from realgrain.faces.server.store import Store
from realgrain.faces.server.tables import KeyRow

Scope = Literal["detect", "batch", "metrics"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
FRESH = 5.0  # seconds that a key is remembered: so soon does a revoked one stop working


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Attributes:
        id: of the key; ``anonymous`` where there are none.
        scopes: what it may do.
        rate: its own limit; None: the server's.
    """

    id: str
    scopes: frozenset[str]
    rate: str | None = None


ANONYMOUS = Caller("anonymous", frozenset(SCOPES))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


_NOBODY = _hash(secrets.token_urlsafe(32))  # compared with where there is no such key, so that both take the same time


def make_key(store: Store, name: str, scopes: tuple[Scope, ...], rate: str | None = None, days: float | None = None) -> str:
    """Make a key and keep its hash; the key itself is known only to who called this."""
    id_, secret, now = secrets.token_hex(6), secrets.token_urlsafe(32), time.time()
    ends = None if days is None else now + 86_400 * days
    store.add_key(KeyRow(id_, name, _hash(secret), " ".join(scopes), rate, now, ends, None))
    return f"rg_{id_}_{secret}"


def check(store: Store, key: str) -> Caller | None:
    """Whose key it is; None if nobody's, or its time is over."""
    start, _, rest = key.partition("_")
    id_, _, secret = rest.partition("_")
    row = store.key(id_) if start == "rg" and 0 < len(id_) <= 16 and id_.isascii() and id_.isalnum() else None
    same = hmac.compare_digest(_hash(secret), _NOBODY if row is None else row.hash)
    now = time.time()
    if row is None or not same or row.revoked is not None or (row.ends is not None and row.ends <= now):
        return None
    return Caller(row.id, frozenset(row.scopes.split()), row.rate)


class Keys:
    """Checks keys, remembering for a few seconds those that were right."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, tuple[float, Caller]] = {}
        self._lock = threading.Lock()  # callers come from several threads

    def caller(self, key: str) -> Caller | None:
        """As ``check``."""
        now, digest = time.monotonic(), _hash(key)
        seen = self._known.get(digest)
        if seen is not None and now - seen[0] < FRESH:
            return seen[1]
        caller = check(self._store, key)
        with self._lock:
            self._known.pop(digest, None)
            if caller is not None:
                self._known = {other: entry for other, entry in self._known.items() if now - entry[0] < FRESH}
                self._known[digest] = (now, caller)
        return caller


def key_in(authorization: str | None, api_key: str | None) -> str | None:
    """The key of a request: ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``."""
    kind, _, value = (authorization or "").partition(" ")
    return value.strip() if kind.lower() == "bearer" and value.strip() else api_key or None


def unauthorized() -> Problem:
    """No key, or a wrong one: which of the two is not said."""
    return Problem(401, "unauthorized", "a valid API key is needed: Authorization: Bearer rg_...", WWW_Authenticate="Bearer")


def forbidden(scope: Scope) -> Problem:
    """A key without the scope."""
    return Problem(403, "forbidden", f"this API key lacks the scope {scope!r}")
