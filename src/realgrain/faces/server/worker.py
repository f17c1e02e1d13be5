"""The process that touches strangers' bytes: it opens pictures, reads their metadata and makes views, one after another, until its input ends.

Its input is a line of JSON for its task, then jobs; each is a header of JSON and the picture's bytes. Its answers are JSON for a refusal and
safetensors for views: nothing that comes out of it is ever unpickled or run, because after a hole in a decoder it may be anybody's.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import os
import signal
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydantic import BaseModel, TypeAdapter

from realgrain.picture.image import Limits, Picture, PictureError
from realgrain.picture.views import ViewSpec

SIZES = struct.Struct(">II")  # of a job's header and bytes, and of an answer's JSON and arrays
_PARENT_DEATH, _NO_NEW_PRIVILEGES = 1, 38  # of prctl(2): PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS
GOES_FIRST = 500  # of oom_score_adj, 0 as usual to 1000: first
FACTS = tuple(field.name for field in dataclasses.fields(Picture) if field.name != "pixels")


class Task(BaseModel):
    """What a worker does with every picture.

    Attributes:
        views: that the detector looks at.
        smallest_side: that the detector judges, pixels.
        limits: of pictures.
        trust_list: file of certificates.
        memory: bytes of address space for pictures, beyond what the libraries take.
    """

    views: ViewSpec
    smallest_side: int
    limits: Limits
    trust_list: Path | None
    memory: int


class Order(BaseModel):
    """What is done with one picture."""

    name: str
    evidence: bool
    stability: bool
    pixels: bool = False


TASK = TypeAdapter(Task)


def confine(memory: int) -> None:
    """Take from this process what opening a picture does not need; and have it end with its server, also one that hangs."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        libc.prctl(_PARENT_DEATH, signal.SIGKILL, 0, 0, 0)
        with contextlib.suppress(OSError):  # where memory runs out, it is this process that goes, and not the server
            Path("/proc/self/oom_score_adj").write_text(str(GOES_FIRST))
    try:
        import resource
    except ImportError:  # not on Windows: there, only the clock guards
        return
    try:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:  # no Linux
        taken = 2**31
    for what, most in ((resource.RLIMIT_AS, taken + memory), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, 64)):
        resource.setrlimit(what, (most, most))


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Do jobs until the input ends."""
    from safetensors.numpy import save

    from realgrain.detector.seen import look, prepare
    from realgrain.evidence.c2pa import read_trust_list

    task = TASK.validate_json(source.readline())
    trusted = None if task.trust_list is None else read_trust_list(task.trust_list)
    confine(task.memory)
    _answer(sink, {"ready": True})
    while head := source.read(SIZES.size):
        order_size, size = SIZES.unpack(head)
        order, data = Order.model_validate_json(source.read(order_size)), source.read(size)
        try:
            picture, evidence = look(data, order.name, limits=task.limits, evidence=order.evidence, trust_list=trusted)
            seen = prepare(picture, evidence, task.views, task.smallest_side if order.stability else None)
        except PictureError as error:
            _answer(sink, {"refused": {"name": error.name, "code": error.code, "reason": error.reason}})
        except MemoryError:
            _answer(sink, {"refused": {"name": order.name, "code": "too_many_pixels", "reason": "there is not enough memory to decode it"}})
        else:
            facts = {name: getattr(picture, name) for name in FACTS}
            said = None if evidence is None else evidence.model_dump(mode="json")
            shown = {"pixels": np.ascontiguousarray(picture.pixels)} if order.pixels else {}
            arrays = save({"views": seen.views, **{f"again/{name}": views for name, views in seen.again.items()}, **shown})
            _answer(sink, {"picture": facts, "evidence": said, "again": list(seen.again)}, arrays)


def _answer(sink: BinaryIO, said: dict[str, Any], arrays: bytes = b"") -> None:
    text = json.dumps(said).encode()
    sink.write(SIZES.pack(len(text), len(arrays)) + text)
    sink.write(arrays)
    sink.flush()


def main() -> None:
    """Answers go to what was standard output; what a decoder prints goes nowhere."""
    sink = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    serve(sys.stdin.buffer, sink)


if __name__ == "__main__":
    main()
