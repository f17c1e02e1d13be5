"""The process that touches strangers' bytes: it opens pictures, reads their metadata and makes views, one after another, until its input ends.

Its input is a line of JSON for its task, then jobs; each is a header of JSON and the picture's bytes. Its answers are JSON for a refusal and
safetensors for views: nothing that comes out of it is ever unpickled or run, because after a hole in a decoder it may be anybody's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydantic import BaseModel, TypeAdapter

from realgrain.picture.clip import DEFAULT_CLIP_LIMITS, ClipLimits
from realgrain.picture.confine import confine
from realgrain.picture.image import Limits, Picture, PictureError
from realgrain.picture.views import ViewSpec

SIZES = struct.Struct(">II")  # of a job's header and bytes, and of an answer's JSON and arrays
FACTS = tuple(field.name for field in dataclasses.fields(Picture) if field.name != "pixels")


class Task(BaseModel):
    """What a worker does with every picture.

    Attributes:
        views: that the detector looks at.
        smallest_side: that the detector judges, pixels.
        limits: of pictures.
        clips: limits of clips.
        trust_list: file of certificates.
        memory: bytes of address space for pictures, beyond what the libraries take.
    """

    views: ViewSpec
    smallest_side: int
    limits: Limits
    clips: ClipLimits = DEFAULT_CLIP_LIMITS
    trust_list: Path | None
    memory: int


class Order(BaseModel):
    """What is done with one picture, or with a clip, of which nothing but views is made."""

    name: str
    evidence: bool = False
    stability: bool = False
    pixels: bool = False
    clip: bool = False


TASK = TypeAdapter(Task)


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Do jobs until the input ends."""
    from safetensors.numpy import save

    from realgrain.detector.clips import look_through, packed
    from realgrain.detector.seen import look, prepare
    from realgrain.evidence.c2pa import read_trust_list

    task = TASK.validate_json(source.readline())
    trusted = None if task.trust_list is None else read_trust_list(task.trust_list)
    with contextlib.suppress(ModuleNotFoundError):  # which is told when a clip is opened
        import av  # noqa: F401  (before what it takes is counted)
    confine(task.memory)
    _answer(sink, {"ready": True})
    while head := source.read(SIZES.size):
        order_size, size = SIZES.unpack(head)
        order, data = Order.model_validate_json(source.read(order_size)), source.read(size)
        try:
            if order.clip:
                clip, arrays = packed(look_through(data, task.views, name=order.name, limits=task.clips))
                _answer(sink, {"clip": clip}, arrays)
                continue
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
            _answer(sink, {"picture": facts, "evidence": said, "borders": seen.borders, "again": list(seen.again)}, arrays)


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
