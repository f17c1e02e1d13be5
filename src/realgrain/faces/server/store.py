"""What must outlive the process: jobs, their pictures' outcomes, webhooks still to deliver, API keys. SQLite by default, PostgreSQL by address.

Every method is one transaction, and safe to call from any thread.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from realgrain.faces.server.tables import (
    METADATA,
    VERSION,
    Delivery,
    Item,
    Job,
    KeyRow,
    StoreError,
    deliveries,
    identity,
    items,
    jobs,
    keys,
    open_engine,
    version,
)


class Store:
    """The tables and what is done with them.

    Args:
        address: of SQLAlchemy, such as ``sqlite:////data/realgrain.db`` or ``postgresql+psycopg://user@host/name``.
        owner: of the jobs made here: a name of the folder that holds their uploads.

    Attributes:
        id: of the database, which it keeps wherever it is moved, and a copy of it has too.

    Raises:
        StoreError: it cannot be reached, or was made by another version.
    """

    def __init__(self, address: str, owner: str) -> None:
        self._engine, self._owner = open_engine(address), owner
        self._reader = self._engine.execution_options(reads=True)
        try:
            METADATA.create_all(self._engine)
            with self._engine.begin() as connection:
                found = connection.scalar(select(version.c.version))
                if found is None:
                    connection.execute(insert(version).values(version=VERSION))
                known = connection.scalar(select(identity.c.id))
                self.id = known or uuid.uuid4().hex
                if known is None:
                    connection.execute(insert(identity).values(n=1, id=self.id))
        except SQLAlchemyError as error:
            raise StoreError(f"the database cannot be used: {error}") from error
        if found not in (None, VERSION):
            raise StoreError(f"the database has tables of version {found}, this realgrain needs {VERSION}")

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def ping(self) -> None:
        """Raise what is wrong with the store, if anything."""
        with self._reader.connect() as connection:
            connection.execute(select(version.c.version))

    # Jobs

    def add_job(self, job: str, key: str, asked: str, webhook: str | None, names: Sequence[str], once: str | None) -> bool:
        """Accept a job; when this returns it is on disk. False: the key has a job with this ``once`` already."""
        row = {"id": job, "owner": self._owner, "key": key, "once": once, "asked": asked, "webhook": webhook}
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(jobs).values(**row, state="queued", total=len(names), made=time.time()))
                connection.execute(insert(items), [{"job": job, "n": n, "name": name, "tries": 0} for n, name in enumerate(names)])
        except IntegrityError:
            if once is not None and self.job_once(key, once) is not None:
                return False
            raise
        return True

    def keeps(self, job: str) -> bool:
        """Whether a job is kept, when nobody has heard what became of the transaction that was to keep it. One that goes on is waited for."""
        row = {"id": job, "owner": self._owner, "key": "", "asked": "", "state": "queued", "total": 0, "made": 0}
        with self._engine.connect() as connection, connection.begin() as attempt:
            try:
                connection.execute(insert(jobs).values(**row))  # a look would not see it while that transaction goes on; this waits for its end
            except IntegrityError:
                return True
            finally:
                attempt.rollback()
        return False

    def job(self, job: str, key: str | None) -> Job | None:
        """A job; with a key, only one that is its own."""
        mine = (jobs.c.id == job) if key is None else (jobs.c.id == job) & (jobs.c.key == key)
        ended = items.c.report.is_not(None) | items.c.problem.is_not(None)
        of = items.c.job == jobs.c.id
        done = select(func.count()).where(of, ended).scalar_subquery()
        failed = select(func.count()).where(of, items.c.problem.is_not(None)).scalar_subquery()
        columns = (jobs.c.id, jobs.c.key, jobs.c.asked, jobs.c.webhook, jobs.c.state, jobs.c.total)
        with self._reader.connect() as connection:
            row: Any = connection.execute(select(*columns, done, failed, jobs.c.made, jobs.c.ended).where(mine)).first()
        return None if row is None else Job(*row)

    def job_once(self, key: str, once: str) -> str | None:
        """The job that a key made under a name of its own."""
        with self._reader.connect() as connection:
            return connection.scalar(select(jobs.c.id).where(jobs.c.key == key, jobs.c.once == once))

    def waiting(self, key: str) -> int:
        """Jobs of a key that have not ended."""
        with self._reader.connect() as connection:
            return connection.scalar(select(func.count()).select_from(jobs).where(jobs.c.key == key, jobs.c.state != "done")) or 0

    def unfinished(self) -> list[tuple[str, list[int]]]:
        """Jobs of this owner that have not ended, oldest first, with the pictures that are still to judge."""
        with self._reader.connect() as connection:
            ids = connection.scalars(select(jobs.c.id).where(jobs.c.owner == self._owner, jobs.c.state != "done").order_by(jobs.c.made)).all()
            left = select(items.c.job, items.c.n).where(items.c.report.is_(None), items.c.problem.is_(None), items.c.job.in_(ids)).order_by(items.c.n)
            found: dict[str, list[int]] = {job: [] for job in ids}
            for job, n in connection.execute(left):
                found[job].append(n)
        return list(found.items())

    def begin_item(self, job: str, n: int) -> Item | None:
        """A picture that is about to be judged, its tries counted first: one that takes the server down is not tried for ever. None: it is ended."""
        mine = (items.c.job == job) & (items.c.n == n) & items.c.report.is_(None) & items.c.problem.is_(None)
        with self._engine.begin() as connection:
            if not connection.execute(update(items).where(mine).values(tries=items.c.tries + 1)).rowcount:
                return None
            connection.execute(update(jobs).where(jobs.c.id == job, jobs.c.state == "queued").values(state="running"))
            return Item(*connection.execute(select(items).where(mine)).one())

    def give_back(self, job: str, n: int) -> None:
        """A try that said nothing of the picture."""
        mine = (items.c.job == job) & (items.c.n == n) & (items.c.tries > 0)
        with self._engine.begin() as connection:
            connection.execute(update(items).where(mine).values(tries=items.c.tries - 1))

    def end_item(self, job: str, n: int, report: str | None, problem: str | None) -> bool:
        """Keep a picture's outcome; False if it had one."""
        mine = (items.c.job == job) & (items.c.n == n) & items.c.report.is_(None) & items.c.problem.is_(None)
        with self._engine.begin() as connection:
            return bool(connection.execute(update(items).where(mine).values(report=report, problem=problem)).rowcount)

    def end_job(self, job: str, delivery: str, body: str, now: float) -> bool:
        """End a job whose pictures all have ended, and put its webhook in line, if it has one, in the same transaction; False if it had ended."""
        with self._engine.begin() as connection:
            ended = update(jobs).where(jobs.c.id == job, jobs.c.state != "done").values(state="done", ended=now)
            if not connection.execute(ended).rowcount:
                return False
            url, key = connection.execute(select(jobs.c.webhook, jobs.c.key).where(jobs.c.id == job)).one()
            if url is not None:
                row = {"id": delivery, "job": job, "owner": self._owner, "key": key, "url": url, "body": body, "tries": 0, "due": now}
                connection.execute(insert(deliveries).values(**row))
        return True

    def items_of(self, job: str, page: int = 100) -> Iterator[Item]:
        """Pictures of a job in order, read in pages."""
        after = -1
        while True:
            with self._reader.connect() as connection:
                rows = connection.execute(select(items).where(items.c.job == job, items.c.n > after).order_by(items.c.n).limit(page)).all()
            yield from (Item(*row) for row in rows)
            if len(rows) < page:
                return
            after = rows[-1].n

    def forget(self, job: str) -> None:
        """Remove a job and all that is known of it."""
        with self._engine.begin() as connection:
            connection.execute(delete(deliveries).where(deliveries.c.job == job))
            connection.execute(delete(items).where(items.c.job == job))
            connection.execute(delete(jobs).where(jobs.c.id == job))

    def forget_before(self, ended: float) -> int:
        """Remove jobs of this owner that ended before a time and whose webhook is not still in line; how many."""
        due = select(deliveries.c.job).where(deliveries.c.due.is_not(None))
        old = (jobs.c.owner == self._owner) & (jobs.c.state == "done") & (jobs.c.ended < ended) & jobs.c.id.not_in(due)
        with self._reader.connect() as connection:
            ids = connection.scalars(select(jobs.c.id).where(old)).all()
        for job in ids:
            self.forget(job)
        return len(ids)

    # Webhooks

    def due(self, now: float, most: int, under_way: Collection[str] = (), full: Collection[str] = ()) -> list[Delivery]:
        """Webhooks whose time has come, so many at most; without those that are under way, and those whose address begins with one of ``full``."""
        columns = (deliveries.c.id, deliveries.c.job, deliveries.c.key, deliveries.c.url, deliveries.c.body, deliveries.c.tries)
        mine = (deliveries.c.owner == self._owner) & (deliveries.c.due <= now) & deliveries.c.id.not_in(under_way)
        others = (~deliveries.c.url.startswith(receiver, autoescape=True) for receiver in full)
        with self._reader.connect() as connection:
            return [Delivery(*row) for row in connection.execute(select(*columns).where(mine, *others).order_by(deliveries.c.due).limit(most))]

    def tried(self, delivery: str, outcome: str, due: float | None) -> None:
        """Keep what came of an attempt, and when the next is due; None: there is none."""
        changed = {"tries": deliveries.c.tries + 1, "outcome": outcome, "due": due}
        with self._engine.begin() as connection:
            connection.execute(update(deliveries).where(deliveries.c.id == delivery).values(**changed))

    def delivery(self, job: str) -> dict[str, Any] | None:
        """How the webhook of a job stands: ``id``, ``tries``, ``outcome`` and ``due``."""
        columns = (deliveries.c.id, deliveries.c.tries, deliveries.c.outcome, deliveries.c.due)
        with self._reader.connect() as connection:
            row = connection.execute(select(*columns).where(deliveries.c.job == job)).first()
        return None if row is None else dict(row._mapping)

    # Keys

    def add_key(self, row: KeyRow) -> None:
        """Keep a key."""
        with self._engine.begin() as connection:
            connection.execute(insert(keys).values(**vars(row)))

    def key(self, key: str) -> KeyRow | None:
        """A key by its name in public."""
        with self._reader.connect() as connection:
            row = connection.execute(select(keys).where(keys.c.id == key)).first()
        return None if row is None else KeyRow(*row)

    def all_keys(self) -> list[KeyRow]:
        """All keys, oldest first."""
        with self._reader.connect() as connection:
            return [KeyRow(*row) for row in connection.execute(select(keys).order_by(keys.c.made))]

    def revoke(self, key: str, now: float) -> bool:
        """Revoke a key; False if there is none that is not revoked."""
        with self._engine.begin() as connection:
            return bool(connection.execute(update(keys).where(keys.c.id == key, keys.c.revoked.is_(None)).values(revoked=now)).rowcount)


def address_of(data: Path, database: str | None) -> str:
    """Of a folder's store."""
    return database or f"sqlite:///{data / 'realgrain.db'}"
