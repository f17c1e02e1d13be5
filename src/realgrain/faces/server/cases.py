"""Routes for what takes longer than a verdict: the map of a picture, and its case report. Like a verdict, they keep nothing.

Both cost up to 128 runs of the detector, which take turns with the verdicts of others, and stand in a short line of their own.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import threading
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from realgrain.detector.verdict import Report
from realgrain.evidence import region_map
from realgrain.evidence.regions import MOST, Regions, regions
from realgrain.faces.case import Case, assemble, settings_of
from realgrain.faces.server import examples
from realgrain.faces.server.api import one_picture
from realgrain.faces.server.auth import ANONYMOUS, Caller
from realgrain.faces.server.callers import Parts, caller, each_once
from realgrain.faces.server.presence import attended
from realgrain.faces.server.problems import busy, documented
from realgrain.faces.server.service import Asked, Service
from realgrain.picture.degrade import Pixels

router = APIRouter()
LETTERS = 30  # pixels: the page shows the map at about a third to all of its size
COST = 10  # requests that a map or a case counts as (our choice: its runs are those of about 10 to 20 verdicts with stability)
LINE = 8  # maps and cases that are at work or wait; more are refused with 503 (our choice: each takes up to some tens of seconds) ...
EACH = 4  # ... of which so many may be of one key
_FAILURES = (400, 401, 403, 408, 413, 415, 422, 429, 502, 503)
_COSTS = f"It counts as {COST} requests. Up to {LINE} at a time wait for each other."


class Mapped(BaseModel):
    """Where in a picture its score comes from.

    Attributes:
        regions: tiles and their logits.
        words: what the map says, and what it does not.
        overlay: base64 of a PNG: the picture with its map drawn over it; None where the map is not localised, for there is nothing to show.
    """

    model_config = ConfigDict(frozen=True)

    regions: Regions
    words: str
    overlay: str | None


class BothForms(BaseModel):
    """A case report in both of its forms.

    Attributes:
        html: for people: one page, which loads nothing.
        json: the very text of the file that ``realgrain verify`` reads.
    """

    model_config = ConfigDict(frozen=True, serialize_by_alias=True, populate_by_name=True)

    html: str
    json_text: str = Field(alias="json")


class MapAsked(BaseModel):
    """What a caller may ask of a map.

    Attributes:
        form: of the answer.
        tiles: at most.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    form: Literal["json", "png"] = Field(default="json", alias="format", description="png: the picture with its map and words.")
    tiles: int = Field(default=MOST, ge=1, le=MOST, description="At most; each costs two runs of the detector.")


class CaseAsked(Asked):
    """What a caller may ask of a case report.

    Attributes:
        regions: look where in the picture the score comes from.
        form: of the answer.
    """

    regions: bool = Field(default=True, description="Look where in the picture the score comes from: nearly all of the time that this takes.")
    form: Literal["json", "html", "both"] = Field(default="json", alias="format", description="both: an object with the texts of the two.")


class _Line:
    """One map at a time, and few that wait. Belongs to one server, whose loop it is used in."""

    def __init__(self) -> None:
        self._turn, self._waiting = asyncio.Semaphore(1), Counter[str]()

    @contextlib.asynccontextmanager
    async def stand(self, who: Caller) -> AsyncIterator[None]:
        """Raises Problem, 503, where too many stand there, or too many of one key."""
        if self._waiting.total() >= LINE or (who is not ANONYMOUS and self._waiting[who.id] >= EACH):
            raise busy("too many maps and case reports wait", 10)
        self._waiting[who.id] += 1
        try:
            async with self._turn:
                yield
        finally:
            self._waiting[who.id] -= 1
            self._waiting += Counter()  # forgets whoever has none


def line_of(request: Request) -> _Line:
    """The server's."""
    state = request.app.state
    if not hasattr(state, "cases"):
        state.cases = _Line()
    return state.cases


Turn = Annotated[_Line, Depends(line_of)]
Asker = Annotated[Caller, Depends(caller("detect", cost=COST))]


@router.post(
    "/v1/regions",
    response_model=Mapped,
    tags=["pictures"],
    dependencies=[Depends(each_once)],
    openapi_extra=examples.DETECT,
    responses={
        200: {"description": "The map.", "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
        **documented(*_FAILURES),
    },
    description=f"Where in a picture its score comes from: its tiles, each scored twice; never proof of what was generated. {_COSTS}",
)
async def where(
    request: Request,
    parts: Parts,
    turn: Turn,
    who: Asker,
    asked: Annotated[MapAsked, Query()],
) -> Response:
    """See ``description``."""
    async with _one(request, parts, turn, who) as (data, name):
        seen = await parts.see(data, name, Asked(stability=False, evidence=False), pixels=True)
        pixels = seen.picture.pixels
        found = await _regions(parts, pixels, asked.tiles)
        if asked.form == "png":
            return Response(await asyncio.to_thread(region_map.draw, pixels, found), media_type="image/png")
        overlay = await asyncio.to_thread(_overlay, pixels, found) if found.localised else None
    said = Mapped(regions=found, words=region_map.words(found), overlay=overlay)
    return Response(said.model_dump_json(), media_type="application/json")


@router.post(
    "/v1/report",
    response_model=Case | BothForms,
    tags=["pictures"],
    dependencies=[Depends(each_once)],
    openapi_extra=examples.DETECT,
    responses={
        200: {
            "description": "The case report: JSON for `realgrain verify`, a page for people, or an object with the texts of both.",
            "content": {"text/html": {"schema": {"type": "string"}}},
        },
        **documented(*_FAILURES),
    },
    description=f"The case report of a picture, as `realgrain report` makes it: all that is said of it, and what it takes to check that. {_COSTS}",
)
async def report(
    request: Request,
    parts: Parts,
    turn: Turn,
    who: Asker,
    asked: Annotated[CaseAsked, Query()],
) -> Response:
    """See ``description``."""
    parts.check(asked)
    async with _one(request, parts, turn, who) as (data, name):
        seen = await parts.see(data, PurePosixPath(name.replace("\\", "/")).name or "picture", asked, pixels=True)
        judged = await parts.judge_seen(seen, asked)
        pixels = seen.picture.pixels
        found = await _regions(parts, pixels, MOST) if asked.regions else None
        case = await asyncio.to_thread(_case, parts, judged, found, asked)
        text = "" if asked.form == "json" else await asyncio.to_thread(_page, case, pixels)
    if asked.form == "html":
        return Response(text, media_type="text/html", headers={"Content-Disposition": 'attachment; filename="case.html"'})
    if asked.form == "json":
        return Response(case.content(), media_type="application/json")
    return Response(BothForms(html=text, json_text=case.content().decode()).model_dump_json(), media_type="application/json")


@contextlib.asynccontextmanager
async def _one(request: Request, parts: Service, turn: _Line, who: Caller) -> AsyncIterator[tuple[bytes, str]]:
    """The picture of a body, when it is its turn. Only one picture's pixels are in memory at a time."""
    with parts.room.hold() as take:
        picture = await one_picture(request, parts, take)
        async with attended(request), turn.stand(who):
            yield picture


async def _regions(parts: Service, pixels: Pixels, tiles: int) -> Regions:
    """As the command line finds them, to the bit: the runs have the same pictures in them. Who gives up waiting stops it before its next run."""
    over = threading.Event()  # a thread cannot be cancelled

    def logits(views: NDArray[np.float32]) -> NDArray[np.float32]:
        if over.is_set():
            raise RuntimeError("nobody waits for this map any more")
        return parts.batcher.logits(views)

    try:
        return await asyncio.to_thread(regions, pixels, parts.detector.bundle.card.views, logits, most=tiles)
    finally:
        over.set()


def _overlay(pixels: Pixels, found: Regions) -> str:
    file = io.BytesIO()
    Image.fromarray(region_map.overlay(pixels, found, LETTERS)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _case(parts: Service, judged: Report, found: Regions | None, asked: CaseAsked) -> Case:
    detector = replace(parts.batcher.of(asked.policy), evidence=asked.evidence)
    trusted = judged.evidence.trust_list if judged.evidence else None  # the detector of a server has none: its workers do
    settings = settings_of(detector, None if found is None else MOST)
    return assemble(judged, found, settings.model_copy(update={"trust_list": trusted and trusted.name}), detector.bundle)


def _page(case: Case, pixels: Pixels) -> str:
    from realgrain.faces.case_page import render

    return render(case, pixels)
