"""PostgreSQL with an end to every wait: a database that hangs must not hang the server.

Times are our choices: all that the server asks takes milliseconds, so that what takes seconds is a database in trouble.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Engine

CONNECT = 5  # seconds to connect and log in
STATEMENT = 10  # seconds for a statement, locks included; then the database itself gives up, and the connection can be used again
ANSWER = 15  # seconds for an answer: later than the above, for a database that no longer does even that
POOL = 5  # seconds that a thread waits for a connection which others have
TCP = {"keepalives_idle": "30", "keepalives_interval": "5", "keepalives_count": "3"}  # a peer that is gone is noticed before it is asked


class Bounded(psycopg.Connection[Any]):
    """A connection that is closed when there is no answer in time: one that comes later would be taken for that to another question."""

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """As psycopg calls it for all that a connection waits for.

        Raises:
            psycopg.OperationalError: there is no answer.
        """
        try:
            return super().wait(gen, interval, ANSWER if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:
            self.close()
            raise psycopg.OperationalError("the database takes too long to answer") from None


def open_bounded(url: URL, **options: Any) -> Engine:
    """An engine of such connections; what the address itself says of connecting goes before the times above."""
    url = url.set(query={"connect_timeout": str(CONNECT), **TCP, **url.query})
    engine = create_engine(url, pool_timeout=POOL, **options)

    @event.listens_for(engine, "do_connect")
    def _connect(_: object, __: object, arguments: list[Any], options: dict[str, Any]) -> Bounded:
        return Bounded.connect(*arguments, **options)

    @event.listens_for(engine, "connect")
    def _settings(connection: Bounded, _: object) -> None:
        connection.execute("SELECT set_config('statement_timeout', %s, false)", [f"{STATEMENT}s"])
        connection.commit()

    return engine
