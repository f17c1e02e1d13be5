"""The parts of a server, put together, with their beginning and end."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import make_url

from realgrain._version import __version__
from realgrain.detector.apart import memory_for_clips
from realgrain.detector.clips import ClipReport, conclude
from realgrain.detector.decision import Policy
from realgrain.detector.detect import Detector
from realgrain.detector.runtime import cores
from realgrain.detector.seen import Seen
from realgrain.detector.verdict import Report
from realgrain.faces.server.auth import Keys
from realgrain.faces.server.batching import Batcher
from realgrain.faces.server.fetch import Client
from realgrain.faces.server.guard import Broken, Guard, memory_for
from realgrain.faces.server.jobs import Jobs
from realgrain.faces.server.metrics import Metrics
from realgrain.faces.server.problems import Problem, of_picture
from realgrain.faces.server.ratelimit import RateLimits
from realgrain.faces.server.settings import Settings
from realgrain.faces.server.spool import Spool, new_id
from realgrain.faces.server.store import Store, address_of
from realgrain.faces.server.tables import StoreError
from realgrain.faces.server.uploads import Room
from realgrain.faces.server.webhooks import Webhooks, server_secret
from realgrain.faces.server.worker import Task
from realgrain.measuring.whole import write_whole
from realgrain.picture.errors import PictureError

BOUND = "store"  # file of a data folder that names the store it belongs to
THREADS = 32  # for the store and the disk
JOB_WIDTH = 2  # pictures of jobs at work at a time: they fill what single pictures leave


class Asked(BaseModel):
    """What a caller may ask of verdicts, as on the command line.

    Attributes:
        profile: where the pictures come from: camera, web, screenshot, art, document, or one of the bundle's own.
        max_fpr: share of real pictures that may be flagged at most.
        prior: share of AI-generated pictures among the caller's, for a posterior.
        stability: see whether the verdict survives a re-save.
        evidence: say what the file says of itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: str | None = Field(default=None, max_length=64, description="Where the pictures come from: camera, web, screenshot, art, document, ...")
    max_fpr: float | None = Field(default=None, gt=0, lt=1, description="Share of real pictures that may be flagged at most.")
    prior: float | None = Field(default=None, gt=0, lt=1, description="Share of AI-generated pictures among yours, for a posterior.")
    stability: bool = Field(default=True, description="See whether the verdict survives a re-save, at the cost of six more pictures.")
    evidence: bool = Field(default=True, description="Say what the file says of itself; the score is the same either way.")

    @property
    def policy(self) -> Policy:
        """For the detector."""
        return Policy(self.profile, self.max_fpr, self.prior, self.stability)


def open_folder(data: Path) -> str:
    """The name of a data folder, by which jobs find their uploads again; both are made if need be.

    Raises:
        StoreError: it had a name, which is lost.
    """
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = data / "name"
    if not file.exists():
        if (bound := data / BOUND).exists():
            raise StoreError(
                f"{file} is lost, by which jobs find their uploads: put it back from a backup. To leave those jobs for good, delete {bound}; the "
                "next start then deletes their uploads"
            )
        write_whole(file, new_id().encode())
    return file.read_text().strip()


def open_store(settings: Settings) -> Store:
    """The store of a server.

    Raises:
        StoreError: it cannot be used, or is not the one that the data folder belongs to.
    """
    name, address = open_folder(settings.data), address_of(settings.data, settings.database)
    store = Store(address, name)
    try:
        _bind(settings.data, store.id, make_url(address).set(query={}).render_as_string())
    except BaseException:
        store.close()
        raise
    return store


def _bind(data: Path, store: str, address: str) -> None:
    """See that a data folder goes with the store that it was first used with: uploads of jobs that another does not know would be deleted."""
    file = data / BOUND
    if not file.exists():
        write_whole(file, f"{store} {address}\n".encode())
    bound, _, was = file.read_text().strip().partition(" ")
    if bound != store:
        raise StoreError(
            f"{data} belongs to the database {bound}, which was {was}, and not to {store}, which is {address}: nothing was deleted. Start with the "
            f"database that it belongs to. To leave that one for good, delete {file}: the next start binds it to the database of then, and deletes "
            "all uploads that this one does not know"
        )


def hold(data: Path) -> FileLock:
    """A data folder, held for one server; made if need be. Release it.

    Raises:
        RuntimeError: another server has it.
    """
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = FileLock(data / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RuntimeError(f"{data}: another server uses this folder") from None
    return lock


class Service:
    """One server.

    Args:
        settings: of it.
        detector: that judges; its policy, limits and trust list are not used.
        trust_list: file of certificates whose C2PA signatures are trusted.
        leaving: is set when the server is about to end; it answers, but says that it is not ready.
    """

    def __init__(self, settings: Settings, detector: Detector, trust_list: Path | None = None, leaving: threading.Event | None = None) -> None:
        self.settings, self.detector = settings, detector
        self.metrics = metrics = Metrics()
        self._lock: FileLock | None = None
        self._leaving = leaving or threading.Event()
        self.store = open_store(settings)
        card = detector.bundle.card
        task = Task(
            views=card.views,
            smallest_side=card.smallest_side,
            limits=settings.limits,
            clips=settings.clip_limits,
            trust_list=None if trust_list is None else trust_list.resolve(),
            memory=max(memory_for(settings.max_pixels, settings.max_bytes), memory_for_clips(settings.clip_limits)),
        )
        workers = settings.workers or cores()
        self.guard = Guard(
            task,
            workers=workers,
            seconds=settings.seconds,
            waiting=settings.waiting,
            clip_seconds=settings.clip_decode_seconds,
            clips=settings.clips,
            lost=lambda cause: metrics.lost.labels(cause).inc(),
            behind=lambda: self.batcher.line,
        )
        self.batcher = Batcher(detector, window=settings.window, most=settings.most, observed=metrics.run.observe)
        self.client = Client(private=settings.private_hosts, seconds=settings.fetch_seconds)
        self.keys, self.rates, self.room = Keys(self.store), RateLimits(settings.rate), Room(settings.memory)
        self.secret = server_secret(settings.data / "webhook.secret")
        self.webhooks = Webhooks(
            self.store, self.client, self.secret, settings.webhook_delays, tried=lambda outcome: metrics.webhooks.labels(outcome).inc()
        )
        self.spool = Spool(settings.data / "uploads", settings)
        self.jobs = Jobs(self.store, self.spool, self._of_job, width=JOB_WIDTH, keep_days=settings.keep_days, ended=self._ended)
        runtime = detector.runtime
        metrics.build.info({"version": __version__, "bundle": detector.bundle.hash, "runtime": runtime.name, "precision": runtime.precision})
        metrics.free.set_function(lambda: shutil.disk_usage(settings.data).free)
        metrics.line.set_function(lambda: self.guard.line)
        metrics.judging.set_function(lambda: self.batcher.line)
        metrics.waiting.set_function(lambda: self.jobs.waiting)
        self.started = False

    async def start(self) -> None:
        """Take the data folder, start workers, try the runtime, take up jobs that were left.

        Raises:
            RuntimeError: another server has the folder.
        """
        self._lock = hold(self.settings.data)
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "realgrain-serve"))
        await self.guard.start()
        await self.batcher.start()
        await self.webhooks.start()
        await self.jobs.start()
        self.started = True

    async def stop(self) -> None:
        """Stop everything; jobs that have not ended go on at the next start."""
        self.started = False
        await self.jobs.stop()
        await self.webhooks.stop()
        await self.batcher.stop()
        await self.guard.stop()
        self.store.close()
        if self._lock is not None:
            self._lock.release()

    async def judge(self, data: bytes, name: str, asked: Asked, *, patient: bool = False) -> Report:
        """Judge one picture; ``patient``: wait however many wait already.

        Raises:
            Problem: it cannot be.
        """
        self.batcher.of(asked.policy)
        seen = await self.see(data, name, asked, patient=patient)
        return await self.judge_seen(seen, asked)

    async def judge_seen(self, seen: Seen, asked: Asked) -> Report:
        """Judge a picture that was seen."""
        report = await self.batcher.judge(seen, asked.policy)
        self.metrics.verdicts.labels(report.verdict.label).inc()
        return report

    async def see(self, data: bytes, name: str, asked: Asked, *, patient: bool = False, pixels: bool = False) -> Seen:
        """Open a picture and make it ready, out of the server's way; ``pixels``: they come too.

        Raises:
            Problem: it cannot be.
        """
        with self._refusing(name):
            return await self.guard.see(data, name, evidence=asked.evidence, stability=asked.stability, patient=patient, pixels=pixels)

    async def judge_clip(self, data: bytes, name: str, asked: Asked) -> ClipReport:
        """Judge one clip; its frames take their turns among pictures.

        Raises:
            Problem: it cannot be.
        """
        detector = self.batcher.of(asked.policy)
        with self._refusing(name):
            seen = await self.guard.see_clip(data, name)
        reports = await asyncio.gather(*(self.batcher.judge(frame, asked.policy) for frame in seen.frames()))
        report = conclude(reports, seen.clip, detector.bundle, asked.policy, self.settings.clip_limits)
        self.metrics.verdicts.labels(report.verdict.label).inc()
        return report

    @contextlib.contextmanager
    def _refusing(self, name: str) -> Iterator[None]:
        try:
            yield
        except PictureError as error:
            self.metrics.refused.labels(error.code).inc()
            raise of_picture(error) from None
        except Broken as error:
            self.metrics.refused.labels(error.code).inc()
            raise Problem(422, error.code, f"{name}: {error}") from None

    def check(self, asked: Asked) -> None:
        """See whether what was asked can be had.

        Raises:
            Problem: 422, it cannot.
        """
        try:
            self.batcher.of(asked.policy)
        except ValueError as error:
            raise Problem(422, "bad_option", str(error)) from None

    async def ready(self) -> dict[str, bool]:
        """Which parts work."""
        try:
            await asyncio.to_thread(self.store.ping)
            stored = True
        except Exception:  # of whatever driver
            stored = False
        return {
            "detector": self.started and self.batcher.alive,
            "decoders": self.started and self.guard.alive,
            "store": stored,
            "staying": not self._leaving.is_set(),
        }

    async def _of_job(self, data: bytes, name: str, asked: str) -> str:
        try:
            return (await self.judge(data, name, Asked.model_validate_json(asked), patient=True)).model_dump_json()
        except ValueError as error:  # a profile that an earlier bundle had
            raise Problem(422, "bad_option", str(error)) from None

    def _ended(self) -> None:
        self.metrics.jobs.inc()
        self.webhooks.wake()
