"""The application: routes, errors, the page, and the shield around them."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException

from realgrain._version import __version__
from realgrain.detector.detect import Detector
from realgrain.faces.server.api import router
from realgrain.faces.server.cases import router as cases
from realgrain.faces.server.examples import A_REPORT
from realgrain.faces.server.problems import Problem, ProblemBody
from realgrain.faces.server.schemas import PictureBody
from realgrain.faces.server.service import Service
from realgrain.faces.server.settings import Settings
from realgrain.faces.server.shield import Shield
from realgrain.faces.server.trouble import STORE_AWAY, is_full, words

log = logging.getLogger("realgrain.serve")
WEB = Path(__file__).parents[1] / "web"
ABOUT = (
    "Tells real photographs from AI-generated pictures and shows its evidence. Errors are `application/problem+json` (RFC 9457) with a `code` for "
    "programs. Pictures sent to `/v1/detect` are never on disk; those sent to `/v1/batch` are until each is judged."
)


def create(settings: Settings, detector: Detector, trust_list: Path | None = None, leaving: threading.Event | None = None) -> Shield:
    """An ASGI application that serves a detector.

    Args:
        settings: of the server.
        detector: that judges; its policy, limits and trust list are not used.
        trust_list: file of certificates whose C2PA signatures are trusted.
        leaving: is set when the server is about to end.
    """
    service = Service(settings, detector, trust_list, leaving)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(title="realgrain", version=__version__, description=ABOUT, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.service = service
    app.include_router(router)
    app.include_router(cases)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(OSError, _of_disk)
    for error in STORE_AWAY:
        app.add_exception_handler(error, _of_store)
    app.add_exception_handler(Exception, _unexpected)
    _add_page(app, WEB)
    return Shield(app, service.metrics, settings)


def _add_page(app: FastAPI, folder: Path) -> None:
    """A route for each file of the page, found once: whatever is asked for, no path is ever made of it."""
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_file() and not name.startswith("."):
            address = "/" if name == "index.html" else f"/{name}"
            app.add_api_route(address, _page_of(file), methods=["GET", "HEAD"], include_in_schema=False, response_model=None)


def _page_of(file: Path) -> Callable[[], Awaitable[Response]]:
    async def page() -> Response:
        return FileResponse(file, headers={"Cache-Control": "no-cache"})

    return page


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        parts = schema.setdefault("components", {}).setdefault("schemas", {})
        for model in (ProblemBody, PictureBody):  # routes name them, but read and write them themselves
            parts[model.__name__] = model.model_json_schema(ref_template="#/components/schemas/{model}")
        found = schema["paths"]["/v1/detect"]["post"]["responses"]["200"]["content"]["application/json"]
        found["example"] = A_REPORT  # here, because FastAPI leaves out of a document what is null
        for unused in ("HTTPValidationError", "ValidationError"):
            parts.pop(unused, None)
        if not app.state.service.settings.auth:
            parts_of = schema["components"]
            parts_of.pop("securitySchemes", None)
            for methods in schema["paths"].values():
                for operation in methods.values():
                    operation.pop("security", None)
        app.openapi_schema = schema
    return app.openapi_schema


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response()


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = HTTPStatus(error.status_code).name.lower()
    headers = {name.replace("-", "_"): value for name, value in (error.headers or {}).items()}
    return Problem(error.status_code, code, str(error.detail), **headers).response()


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:5])
    return Problem(422, "bad_option", found).response()


async def _of_disk(_: Request, error: Exception) -> Response:
    if not is_full(error):
        raise error
    log.error("the disk is full: %s", words(error))
    return Problem(503, "no_room", "the server's disk is full", Retry_After="60").response()


async def _of_store(request: Request, error: Exception) -> Response:
    if is_full(error):
        return await _of_disk(request, error)
    log.error("the store does not answer: %s", words(error))
    return Problem(503, "store_away", "the server's store does not answer", Retry_After="5").response()


async def _unexpected(_: Request, __: Exception) -> Response:
    return Problem(500, "internal", "something went wrong here; the server's log has more").response()
