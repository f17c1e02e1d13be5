"""The routes."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable
from functools import partial
from pathlib import PurePosixPath
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import ValidationError

from realgrain._version import __version__
from realgrain.detector.clips import ClipReport
from realgrain.detector.verdict import Report
from realgrain.faces.server import examples, results
from realgrain.faces.server.auth import Caller
from realgrain.faces.server.callers import Parts, caller, each_once
from realgrain.faces.server.fetch import FetchError
from realgrain.faces.server.jobs import JobStatus, status_of
from realgrain.faces.server.presence import attended
from realgrain.faces.server.problems import Problem, busy, documented
from realgrain.faces.server.schemas import Health, Model, PictureBody
from realgrain.faces.server.service import Asked, Service
from realgrain.faces.server.settings import Settings
from realgrain.faces.server.tables import Job
from realgrain.faces.server.uploads import Memory, chunks, read_form, whole
from realgrain.picture.clip import is_clip

JSON_BYTES = 64 * 1024  # of a JSON body beside its picture
WHOLE = "batch.zip"  # what a zip that is the body is called
router = APIRouter()
JobId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="As /v1/batch gave it.")]


@router.post(
    "/v1/detect",
    response_model=Report | ClipReport,
    tags=["pictures"],
    dependencies=[Depends(each_once)],
    openapi_extra=examples.DETECT,
    responses={**examples.REPORT, **documented(400, 401, 403, 408, 413, 415, 422, 429, 502, 503)},
)
async def detect(request: Request, parts: Parts, asked: Annotated[Asked, Query()], _: Annotated[Caller, Depends(caller("detect"))]) -> Response:
    """Judge one picture, or one short video. It is kept in memory for as long as that takes, and nowhere else."""
    parts.check(asked)
    with parts.room.hold() as take:
        data, name = await one_picture(request, parts, take)
        async with attended(request):
            report = await (parts.judge_clip if is_clip(data) else parts.judge)(data, name, asked)
    return Response(report.model_dump_json(), media_type="application/json")


async def one_picture(request: Request, parts: Service, take: Callable[[int], None]) -> tuple[bytes, str]:
    """The bytes and the name of the picture that a body holds.

    Raises:
        Problem: it holds none, or one that is too large.
    """
    kind = _kind(request)
    if kind == "multipart/form-data":
        target = Memory(partial(_most, parts.settings), take)
        most = parts.settings.form_bytes(1, max(parts.settings.max_bytes, parts.settings.clip_bytes))
        await read_form(request, target, most, parts.settings)
        data, name = target.data, target.name
    elif kind == "application/json":
        data, name = await _from_json(request, parts, take)
    else:
        raise Problem(415, "unknown_body", "a picture or a clip comes as multipart/form-data, or as application/json with base64")
    return data, name or "picture"


def _most(settings: Settings, head: bytes) -> int:
    """Bytes that a file may have that begins so."""
    return settings.clip_bytes if is_clip(head) else settings.max_bytes


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _from_json(request: Request, parts: Service, take: Callable[[int], None]) -> tuple[bytes, str]:
    most = max(parts.settings.max_bytes, parts.settings.clip_bytes)
    try:
        body = PictureBody.model_validate_json(await whole(request, most * 4 // 3 + JSON_BYTES, parts.settings, take))
    except ValidationError as error:
        raise Problem(422, "bad_body", _reasons(error)) from None
    if (body.image is None) == (body.url is None):
        raise Problem(422, "bad_body", "give either image or url")
    if body.image is not None:
        try:
            data = base64.b64decode(body.image, validate=True)
        except (binascii.Error, ValueError):
            raise Problem(422, "bad_body", "image is not base64") from None
        if len(data) > (most := _most(parts.settings, data)):
            raise Problem(413, "too_many_bytes", f"the file has more than {most:,} bytes")
        return data, body.name or ""
    assert body.url is not None
    if not parts.settings.allow_urls:
        raise Problem(403, "urls_not_allowed", "this server fetches nothing; send the picture itself")
    try:
        where, data = await parts.client.get(body.url, parts.settings.max_bytes, lambda count: take(2 * count))  # pieces, and their sum
    except FetchError as error:
        raise _fetch_problem(error) from None
    return data, body.name or PurePosixPath(urlsplit(where).path).name


def _fetch_problem(error: FetchError) -> Problem:
    if error.code == "busy":
        return busy(str(error))
    status = {"bad_address": 422, "forbidden_address": 403, "too_many_bytes": 413}.get(error.code, 502)
    return Problem(status, error.code, str(error))


def _reasons(error: ValidationError) -> str:
    """What pydantic has to say, without what it was given."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in found[:5])


@router.post(
    "/v1/batch",
    status_code=202,
    response_model=JobStatus,
    tags=["jobs"],
    dependencies=[Depends(each_once)],
    openapi_extra=examples.BATCH,
    responses=documented(400, 401, 403, 408, 413, 415, 422, 429, 502, 503),
)
async def batch(
    request: Request,
    response: Response,
    parts: Parts,
    who: Annotated[Caller, Depends(caller("batch"))],
    asked: Annotated[Asked, Query()],
    webhook: Annotated[str | None, Header(alias="Webhook-URL", max_length=2048, description="Told when the job ends.")] = None,
    once: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=200,
            description="A second request with it gives the same job, whatever pictures it has.",
        ),
    ] = None,
) -> JobStatus:
    """Accept many pictures, as files or zips. Their uploads are on disk when this answers, and deleted one by one as they are judged."""
    parts.check(asked)
    if webhook is not None:
        try:
            await parts.client.vet(webhook)
        except FetchError as error:
            raise _fetch_problem(error) from None
    id_ = None if once is None else await asyncio.to_thread(parts.store.job_once, who.id, once)
    if id_ is None:
        id_ = await _accepted(request, parts, who, asked, webhook, once)
    else:
        async for _ in chunks(request, parts.settings.batch_bytes, parts.settings):
            pass  # who is still sending would not hear the answer
    job = await _job(parts, id_, who)
    if (Asked.model_validate_json(job.asked), job.webhook) != (asked, webhook):
        raise Problem(422, "other_request", "this Idempotency-Key made a job with other options or another webhook")
    response.headers["Location"] = f"/v1/jobs/{id_}"
    return status_of(job, parts.settings.keep_days)


async def _accepted(request: Request, parts: Service, who: Caller, asked: Asked, webhook: str | None, once: str | None) -> str:
    """The job that a body makes.

    Raises:
        Problem: it makes none, or there are too many.
    """
    if await asyncio.to_thread(parts.store.waiting, who.id) >= parts.settings.jobs_waiting:
        raise Problem(429, "too_many_jobs", f"more than {parts.settings.jobs_waiting} jobs have not ended", Retry_After="30")
    staged = await asyncio.to_thread(parts.spool.stage)
    try:
        kind, settings = _kind(request), parts.settings
        if kind == "multipart/form-data":
            await read_form(request, staged, settings.form_bytes(settings.batch_files, settings.batch_bytes), settings)
        elif kind in ("application/zip", "application/x-zip-compressed"):
            sink = staged.open(WHOLE)
            try:
                async for piece in chunks(request, settings.batch_bytes, settings):
                    await asyncio.to_thread(sink.write, piece)
            finally:
                await asyncio.to_thread(sink.close)
        else:
            raise Problem(415, "unknown_body", "a batch comes as multipart/form-data, or as application/zip")
        await asyncio.to_thread(staged.unpack)
        if kind != "multipart/form-data" and staged.names == [WHOLE]:
            raise Problem(422, "bad_zip", "the body is no zip")
    except BaseException:
        await asyncio.to_thread(staged.discard)
        raise
    return await parts.jobs.accept(staged, who.id, asked.model_dump_json(), webhook, once)


async def _job(parts: Service, id_: str, who: Caller) -> Job:
    job = await asyncio.to_thread(parts.store.job, id_, who.id)
    if job is None:
        raise Problem(404, "no_such_job", "there is no such job, or no longer, or it is another key's")
    return job


@router.get("/v1/jobs/{job}", response_model=JobStatus, tags=["jobs"], responses=documented(401, 403, 404, 422, 429, 503))
async def job_status(job: JobId, parts: Parts, who: Annotated[Caller, Depends(caller("batch"))]) -> JobStatus:
    """How a job stands."""
    return status_of(await _job(parts, job, who), parts.settings.keep_days)


@router.get(
    "/v1/jobs/{job}/results",
    response_class=StreamingResponse,
    tags=["jobs"],
    responses={**examples.RESULTS, **documented(401, 403, 404, 406, 409, 422, 429, 503)},
)
async def job_results(
    job: JobId,
    parts: Parts,
    who: Annotated[Caller, Depends(caller("batch"))],
    form: Annotated[results.Format | None, Query(alias="format", description="Over the header Accept.")] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """Results of a job that has ended: a line of JSON for each picture, or a parquet table."""
    form = results.chosen(accept, form)
    if (await _job(parts, job, who)).state != "done":
        raise Problem(409, "not_ended", "the job has not ended", Retry_After="2")
    media = results.MEDIA[form]
    if form == "jsonl":
        return StreamingResponse(results.lines(parts.store, job), media_type=media)
    return Response(await asyncio.to_thread(results.table, parts.store, job), media_type=media)


@router.delete("/v1/jobs/{job}", status_code=204, tags=["jobs"], responses=documented(401, 403, 404, 422, 429, 503))
async def job_forget(job: JobId, parts: Parts, who: Annotated[Caller, Depends(caller("batch"))]) -> Response:
    """Stop a job if it has not ended, and delete everything that is kept of it."""
    await _job(parts, job, who)
    await parts.jobs.forget(job)
    return Response(status_code=204)


@router.get("/v1/model", response_model=Model, tags=["server"], responses=documented(401, 429, 503))
async def model(parts: Parts, _: Annotated[Caller, Depends(caller(None))]) -> Model:
    """The detector's card: what it learned from, its measured error rates, its licences."""
    bundle, runtime = parts.detector.bundle, parts.detector.runtime
    return Model(
        bundle=bundle.hash,
        runtime=runtime.name,
        precision=runtime.precision,
        runtime_version=runtime.version,
        realgrain=__version__,
        pictures_in_a_run=parts.batcher.most,
        card=bundle.card.model_dump(mode="json"),
    )


@router.head("/health", include_in_schema=False)
@router.get("/health", response_model=Health, tags=["server"], responses=documented())
async def health() -> Health:
    """Whether the process answers."""
    return Health(status="ok")


@router.head("/ready", include_in_schema=False)
@router.get(
    "/ready",
    response_model=Health,
    tags=["server"],
    responses={**documented(), 503: {"model": Health, "description": "Not ready; which parts are."}},
)
async def ready(parts: Parts) -> Response:
    """Whether pictures can be judged."""
    found = await parts.ready()
    fine = all(found.values())
    return JSONResponse(Health(status="ok" if fine else "not ready", parts=found).model_dump(), 200 if fine else 503)


@router.get(
    "/metrics",
    tags=["server"],
    response_class=Response,
    responses={200: {"description": "Prometheus' text form.", "content": {"text/plain": {}}}, **documented(401, 403, 429, 503)},
)
async def metrics(parts: Parts, _: Annotated[Caller, Depends(caller("metrics", cost=0))]) -> Response:
    """Counters for Prometheus."""
    return Response(parts.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
