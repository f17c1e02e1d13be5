"""Decoding out of the server's way: strangers' bytes go to processes that may crash, hang or be taken over, and are replaced when they do.

A worker runs the same code as ``Detector.detect``, so views, and with them scores, are the same to the last bit. It has a bound on its memory, may
write no file, sees none of the server's environment, and is killed when its time is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter, create_model

import realgrain
from realgrain.detector.clips import ClipSeen, unpacked
from realgrain.detector.seen import Seen
from realgrain.evidence.claims import Evidence
from realgrain.faces.server.problems import busy
from realgrain.faces.server.worker import FACTS, SIZES, Order, Task
from realgrain.picture.clip import DEFAULT_CLIP_LIMITS
from realgrain.picture.confine import child_environment
from realgrain.picture.errors import Code, PictureError
from realgrain.picture.image import NO_PIXELS, Picture

STARTING = 60  # seconds for a worker to start, on a machine that is busy with other things
DYING = 1  # seconds for one that has closed its end to be gone
PICTURES = 2000  # of one worker, before a fresh one takes its place: whatever a decoder leaks is bounded
ANSWER = 2**30  # bytes, at most: more is no honest answer
CLIP_GRACE = 10  # seconds for a clip's decoder to refuse in its own words, before its process is killed
Found = TypeVar("Found")
_HINTS = get_type_hints(Picture)
_fields: dict[str, Any] = {name: (_HINTS[name], ...) for name in FACTS}
_Facts: type[BaseModel] = create_model("_Facts", __config__=ConfigDict(extra="forbid"), **_fields)
_AGAIN = TypeAdapter(list[str])
_BORDERS = TypeAdapter(float)


class Broken(ValueError):
    """A picture that its worker did not survive.

    Attributes:
        code: ``decoder_hung`` or ``decoder_crashed``.
    """

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        super().__init__(detail)


class _Refusal(BaseModel):
    name: str
    code: Code
    reason: str


def memory_for(pixels: int, size: int) -> int:
    """Bytes for a worker's pictures: ``picture.errors.Limits`` says 26 a pixel at most; changed views take copies, threads of decoders the rest."""
    return 2**29 + 48 * pixels + 8 * size


class _Worker:
    """One process, and a conversation with it."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._process: asyncio.subprocess.Process | None = None
        self._done = 0

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start the process, unless one is alive; its environment holds nothing but where Python finds its modules."""
        if self.alive and self._done < PICTURES:
            return
        await self.stop()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "realgrain.faces.server.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=child_environment(str(realgrain.__file__)),
            start_new_session=True,  # a Ctrl-C in the server's terminal is the server's to handle
        )
        self._done = 0
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(self._task.model_dump_json().encode() + b"\n")
            async with asyncio.timeout(STARTING):
                await self._read()
        except BaseException:  # what it may still have to say is no picture's answer
            await self.stop()
            raise

    async def ask(self, order: Order, data: bytes) -> tuple[dict[str, Any], bytes]:
        """Give it a picture; its answer."""
        assert self._process is not None and self._process.stdin is not None
        text = order.model_dump_json().encode()
        self._process.stdin.write(SIZES.pack(len(text), len(data)) + text)
        self._process.stdin.write(data)
        await self._process.stdin.drain()
        self._done += 1
        return await self._read()

    async def _read(self) -> tuple[dict[str, Any], bytes]:
        assert self._process is not None and self._process.stdout is not None
        said, size = SIZES.unpack(await self._process.stdout.readexactly(SIZES.size))
        if said + size > ANSWER:
            raise EOFError("an answer of impossible size")
        text, arrays = await self._process.stdout.readexactly(said), await self._process.stdout.readexactly(size)
        return TypeAdapter(dict[str, Any]).validate_json(text), arrays

    async def stop(self, *, dying: bool = False) -> str:
        """Kill the process if it lives; how it ended, in words.

        Args:
            dying: it has closed its end, so that it gets a moment to end by itself: killing a process that is dead already loses how it ended,
                because ``Popen.send_signal`` asks for that first, and asyncio then finds nobody.
        """
        process, self._process = self._process, None
        if process is None:
            return ""
        if dying:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DYING):
                    await process.wait()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        if process.stdout is not None:
            # asyncio stops reading where nobody takes what has come, and ``wait`` then never hears that the process is gone.
            with contextlib.suppress(RuntimeError):  # somebody does take it
                await process.stdout.read()
        code = await process.wait()
        if process.stdin is not None:
            process.stdin.close()
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


class Guard:
    """A few workers, and a line of pictures before them.

    Args:
        task: of each worker.
        workers: how many.
        seconds: for one picture.
        waiting: pictures that may wait, beyond those at work; those behind the workers too.
        clip_seconds: for one clip, after which its decoder should have given up by itself.
        clips: that may be at work or wait.
        lost: is told ``decoder_hung`` or ``decoder_crashed`` whenever a worker is lost.
        behind: tells how many pictures have left the workers and are not judged yet.
    """

    def __init__(
        self,
        task: Task,
        *,
        workers: int,
        seconds: float,
        waiting: int,
        clip_seconds: float = DEFAULT_CLIP_LIMITS.decode_seconds,
        clips: int = 8,
        lost: Callable[[str], None] = lambda _: None,
        behind: Callable[[], int] = lambda: 0,
    ) -> None:
        self._workers = [_Worker(task) for _ in range(workers)]
        self._seconds, self._most, self._lost, self._behind = seconds, waiting + workers, lost, behind
        self._idle: asyncio.LifoQueue[_Worker] = asyncio.LifoQueue()
        self._clip_seconds, self._most_clips, self._clips = clip_seconds, clips, 0
        self._turn = asyncio.Semaphore(max(1, workers // 2))
        self.line = 0  # pictures that wait or are at work

    async def start(self) -> None:
        """Start all workers."""
        await asyncio.gather(*(worker.start() for worker in self._workers))
        for worker in self._workers:
            self._idle.put_nowait(worker)

    async def stop(self) -> None:
        """Kill all workers."""
        await asyncio.gather(*(worker.stop() for worker in self._workers))

    @property
    def alive(self) -> bool:
        """Whether any worker is."""
        return any(worker.alive for worker in self._workers)

    @property
    def _full(self) -> bool:
        return self.line + self._behind() >= self._most

    async def see(self, data: bytes, name: str, *, evidence: bool, stability: bool, patient: bool = False, pixels: bool = False) -> Seen:
        """A picture, opened and made ready in a worker; its pixels stay there unless they are asked for.

        Args:
            data: of the file.
            name: what it is called.
            evidence: whether to read what the file says of itself.
            stability: whether to make views of the changed picture too.
            patient: wait however many wait already.
            pixels: whether they come too.

        Raises:
            PictureError: it cannot be read as a picture.
            Broken: its worker hung or crashed, and has been replaced.
            Problem: too many pictures wait already, or no worker would start.
        """
        if self._full and not patient:
            raise busy("too many pictures wait to be judged")
        return await self._in_line(Order(name=name, evidence=evidence, stability=stability, pixels=pixels), data, self._seconds, _as_seen)

    async def see_clip(self, data: bytes, name: str) -> ClipSeen:
        """A clip, opened and its frames made ready in a worker. Clips have a short line of their own and never all workers, unless there is one.

        Args:
            data: of the file.
            name: what it is called.

        Raises:
            PictureError: it cannot be read as a clip.
            Broken: its worker hung or crashed, and has been replaced.
            Problem: too many clips wait already, or no worker would start.
        """
        if self._clips >= self._most_clips or self._full:
            raise busy("too many clips, or pictures, wait to be judged")
        self._clips += 1
        try:
            async with self._turn:
                return await self._in_line(Order(name=name, clip=True), data, self._clip_seconds + CLIP_GRACE, _as_clip)
        finally:
            self._clips -= 1

    async def _in_line(self, order: Order, data: bytes, seconds: float, read: Callable[[dict[str, Any], bytes], Found]) -> Found:
        self.line += 1
        try:
            worker = await self._idle.get()
            try:
                return await self._seen(worker, order, data, seconds, read)
            finally:
                self._idle.put_nowait(worker)
        finally:
            self.line -= 1

    async def _seen(self, worker: _Worker, order: Order, data: bytes, seconds: float, read: Callable[[dict[str, Any], bytes], Found]) -> Found:
        try:
            await worker.start()
        except (TimeoutError, EOFError, OSError):
            raise busy("no decoder could be started") from None
        try:
            async with asyncio.timeout(seconds):
                said, arrays = await worker.ask(order, data)
            _refuse(said)
            return read(said, arrays)
        except PictureError:
            raise
        except TimeoutError:
            await worker.stop()
            self._lost("decoder_hung")
            raise Broken("decoder_hung", f"it takes more than {seconds:g} seconds to decode") from None
        except (EOFError, OSError, ValueError, KeyError) as error:  # ValueError, KeyError: an answer that is none
            how = await worker.stop(dying=not isinstance(error, ValueError | KeyError))
            self._lost("decoder_crashed")
            raise Broken("decoder_crashed", f"its decoder stopped ({how})") from error
        except BaseException:  # given up from outside: what the worker still has to say belongs to nobody
            await worker.stop()
            raise


def _refuse(said: dict[str, Any]) -> None:
    if "refused" in said:
        refusal = _Refusal.model_validate(said["refused"])
        raise PictureError(refusal.name, refusal.code, refusal.reason)


def _as_clip(said: dict[str, Any], arrays: bytes) -> ClipSeen:
    return unpacked(said["clip"], arrays)


def _as_seen(said: dict[str, Any], arrays: bytes) -> Seen:
    from safetensors.numpy import load

    facts = _Facts.model_validate(said["picture"])
    evidence = None if said["evidence"] is None else Evidence.model_validate(said["evidence"])
    found = load(arrays)
    again = {name: found[f"again/{name}"] for name in _AGAIN.validate_python(said["again"])}
    pixels = found.get("pixels", NO_PIXELS)  # they stay in the worker: a verdict needs only the views
    if pixels is not NO_PIXELS and (pixels.dtype != np.uint8 or pixels.shape != (facts.height, facts.width, 3)):  # type: ignore[attr-defined]
        raise ValueError("the pixels are not those of the picture")
    picture = Picture(pixels=pixels, **{name: getattr(facts, name) for name in FACTS})
    return Seen(picture, evidence, found["views"], _BORDERS.validate_python(said["borders"]), again)
