"""The tables of the store, their rows as the server sees them, and engines that keep what they are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

VERSION = 1  # of the tables
LOCKED = 5  # seconds that SQLite waits for another process that writes, and a thread for a connection which others have (our choices)
State = Literal["queued", "running", "done"]

METADATA = MetaData()
version = Table("realgrain", METADATA, Column("version", Integer, primary_key=True))
identity = Table("identity", METADATA, Column("n", Integer, primary_key=True), Column("id", String(40), nullable=False))  # one row, n = 1
keys = Table(
    "keys",
    METADATA,
    Column("id", String(16), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("scopes", String(200), nullable=False),
    Column("rate", String(200)),
    Column("made", Float(53), nullable=False),
    Column("ends", Float(53)),
    Column("revoked", Float(53)),
)
jobs = Table(
    "jobs",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("owner", String(40), nullable=False),
    Column("key", String(100), nullable=False),
    Column("once", String(200)),
    Column("asked", Text, nullable=False),
    Column("webhook", Text),
    Column("state", String(10), nullable=False),
    Column("total", Integer, nullable=False),
    Column("made", Float(53), nullable=False),
    Column("ended", Float(53)),
    UniqueConstraint("key", "once"),
    Index("jobs_state", "owner", "state"),
)
items = Table(
    "items",
    METADATA,
    Column("job", String(40), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("tries", Integer, nullable=False, default=0),
    Column("report", Text),
    Column("problem", Text),
)
deliveries = Table(
    "deliveries",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("job", String(40), nullable=False, unique=True),
    Column("owner", String(40), nullable=False),
    Column("key", String(100), nullable=False),
    Column("url", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("tries", Integer, nullable=False, default=0),
    Column("due", Float(53)),  # NULL: delivered, or given up
    Column("outcome", Text),
)


class StoreError(RuntimeError):
    """The store cannot be used; says why."""


@dataclass(frozen=True)
class Job:
    """A job as it stands; ``done`` counts pictures judged or failed, ``failed`` those that failed."""

    id: str
    key: str
    asked: str
    webhook: str | None
    state: State
    total: int
    done: int
    failed: int
    made: float
    ended: float | None


@dataclass(frozen=True)
class Item:
    """One picture of a job: its report or its problem, as JSON; neither while it waits."""

    job: str
    n: int
    name: str
    tries: int
    report: str | None
    problem: str | None


@dataclass(frozen=True)
class Delivery:
    """A webhook to deliver."""

    id: str
    job: str
    key: str
    url: str
    body: str
    tries: int


@dataclass(frozen=True)
class KeyRow:
    """An API key, without the key."""

    id: str
    name: str
    hash: str
    scopes: str
    rate: str | None
    made: float
    ends: float | None
    revoked: float | None


def open_engine(address: str) -> Engine:
    """An engine whose commits are on disk when they return.

    Raises:
        StoreError: the address is none, or its driver is missing.
    """
    options = {"pool_pre_ping": True, "hide_parameters": True}  # errors are logged, and reports and names are not
    try:
        url = make_url(address)
        if url.get_driver_name() == "psycopg":
            from realgrain.faces.server.postgres import open_bounded

            return open_bounded(url, **options)
        engine = create_engine(url, pool_timeout=LOCKED, **options)
    except (SQLAlchemyError, ImportError, ValueError, TypeError) as error:  # TypeError: SQLite in memory, which has no pool
        raise StoreError(f"the database cannot be used: {error}") from error
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def _settings(connection: Any, _: object) -> None:
            connection.isolation_level = None  # transactions are begun below, at once as writers, so that none has to turn into one
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={LOCKED * 1000}", "secure_delete=ON"):
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def _begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("reads") else "BEGIN IMMEDIATE")

    return engine
