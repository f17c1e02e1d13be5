"""Clips decoded in a process of their own, which may crash, hang or be taken over: whoever asked goes on, with an error that names the file.

Decoders of video are large and written in C, and what they do to a process no exception handler sees. Pictures are decoded in place: that is a
hundred times as common, and a thousandth of the code. (The server does both in processes that it keeps, ``realgrain.faces.server.guard``.)

The process is told its task by a line of JSON, and the clip's bytes follow where it has no path. It answers in JSON and safetensors: nothing that
comes out of it is unpickled or run.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel

import realgrain
from realgrain.detector.clips import ClipSeen, look_through, packed, unpacked
from realgrain.picture.clip import DEFAULT_CLIP_LIMITS, ClipLimits
from realgrain.picture.confine import child_environment, confine
from realgrain.picture.errors import Code, PictureError, printable
from realgrain.picture.views import ViewSpec

GRACE = 30  # seconds beyond those for decoding: to start, to make views, and to refuse in its own words
_SIZE = struct.Struct(">I")  # of an answer's JSON; the rest is arrays


class _Task(BaseModel):
    """What to do; the path is hexadecimal, because a name on disk need not be text."""

    path: str | None
    name: str
    views: ViewSpec
    limits: ClipLimits


class _Answer(BaseModel):
    clip: dict | None = None
    code: Code | None = None
    reason: str = ""


def memory_for_clips(limits: ClipLimits) -> int:
    """Bytes: a decoder of 10 bits keeps up to some twenty frames of 6 bytes a pixel (H.264 up to 16, threads none), conversions the rest."""
    return 2**30 + 256 * limits.max_pixels


def look_apart(
    source: str | os.PathLike[str] | bytes, views: ViewSpec, *, name: str | None = None, limits: ClipLimits = DEFAULT_CLIP_LIMITS
) -> ClipSeen:
    """As ``realgrain.detector.clips.look_through``, out of harm's way.

    Raises:
        PictureError: it cannot be read as a clip, or its decoder hung or crashed.
    """
    data = source if isinstance(source, bytes) else b""
    path = None if isinstance(source, bytes) else os.fsencode(Path(os.fsdecode(source)).absolute()).hex()
    called = printable(name or ("<bytes>" if isinstance(source, bytes) else os.fsdecode(source)))
    task = _Task(path=path, name=called, views=views, limits=limits)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "realgrain.detector.apart"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=child_environment(str(realgrain.__file__)),
        start_new_session=True,  # a Ctrl-C at the terminal is for whoever asked
    )
    with process:
        try:
            answer, _ = process.communicate(task.model_dump_json().encode() + b"\n" + data, timeout=limits.decode_seconds + GRACE)
        except subprocess.TimeoutExpired:
            raise PictureError(called, "decoder_hung", f"it takes more than {limits.decode_seconds:g} seconds to decode") from None
        finally:
            process.kill()
    try:
        (size,) = _SIZE.unpack_from(answer)
        found = _Answer.model_validate_json(answer[_SIZE.size : _SIZE.size + size])
        if found.clip is not None:
            return unpacked(found.clip, answer[_SIZE.size + size :])
    except (ValueError, struct.error):
        found = None
    if found is None or found.code is None:
        code = process.returncode
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise PictureError(called, "decoder_crashed", f"its decoder stopped ({how})")
    raise PictureError(called, found.code, found.reason)


def _answered(source: BinaryIO) -> tuple[dict, bytes]:
    task = _Task.model_validate_json(source.readline())
    data = source.read() if task.path is None else os.fsdecode(bytes.fromhex(task.path))
    with contextlib.suppress(ModuleNotFoundError):  # which is told when the clip is opened
        import av  # noqa: F401  (before what it takes is counted)
    confine(memory_for_clips(task.limits))
    try:
        said, arrays = packed(look_through(data, task.views, name=task.name, limits=task.limits))
    except PictureError as error:
        return {"code": error.code, "reason": error.reason}, b""
    except MemoryError:
        return {"code": "too_many_pixels", "reason": "there is not enough memory to decode it"}, b""
    return {"clip": said}, arrays


def main() -> None:
    """Answers go to what was standard output; what a decoder prints goes nowhere."""
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    said, arrays = _answered(sys.stdin.buffer)
    text = json.dumps(said).encode()
    sink.write(_SIZE.pack(len(text)) + text)
    sink.write(arrays)
    sink.flush()


if __name__ == "__main__":
    main()
