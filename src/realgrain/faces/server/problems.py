"""Errors as RFC 9457 has them: ``application/problem+json``, with a code for programs and a sentence for people."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from realgrain.picture.errors import Code, PictureError, printable

MEDIA = "application/problem+json"
STATUS: dict[Code, int] = {"too_many_bytes": 413, "unknown_format": 415, "unsupported_format": 415}
"""Of refused pictures, where it is not 422."""


class ProblemBody(BaseModel):
    """A problem as it is sent.

    Attributes:
        type: ``urn:realgrain:problem:`` and the code.
        title: of the status.
        status: of HTTP.
        detail: what was wrong with this request, printable.
        code: for programs: one of ``picture.errors.Code``, or of the service's own.
    """

    model_config = ConfigDict(frozen=True)

    type: str
    title: str
    status: int
    detail: str
    code: str


class Problem(Exception):
    """A request that is refused.

    Attributes:
        status: of HTTP.
        code: for programs.
        detail: for people.
        headers: of the answer.
    """

    def __init__(self, status: int, code: str, detail: str, **headers: str) -> None:
        self.status, self.code, self.detail = status, code, printable(detail)
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        super().__init__(status, code, self.detail)

    @property
    def body(self) -> ProblemBody:
        """As it is sent."""
        kind = f"urn:realgrain:problem:{self.code.replace('_', '-')}"
        return ProblemBody(type=kind, title=HTTPStatus(self.status).phrase, status=self.status, detail=self.detail, code=self.code)

    def response(self) -> Response:
        """As an answer."""
        return Response(self.body.model_dump_json(), self.status, self.headers, MEDIA)


def of_picture(error: PictureError) -> Problem:
    """What a refused picture means for its request."""
    return Problem(STATUS.get(error.code, 422), error.code, str(error))


def busy(detail: str, seconds: int = 5) -> Problem:
    """The server has too much to do; after some seconds a whole upload is worth another attempt."""
    return Problem(503, "busy", detail, Retry_After=str(seconds))


ALWAYS = (421, 431, 500)  # of every route
_WORDS = {
    400: "the request cannot be read",
    401: "no API key, or none that is valid",
    403: "the API key may not do this, or the page that asks may not",
    404: "there is no such thing",
    406: "no such form of the results",
    408: "the request came too slowly",
    409: "the job has not ended",
    413: "too many bytes, files or entries",
    415: "a body or a picture of a kind that is not read",
    421: "this server does not answer under the name that it was called by",
    422: "a picture or an option that cannot be used",
    429: "too many requests",
    431: "the request's headers are too large",
    500: "a fault of the server's",
    502: "what the address names could not be fetched",
    503: "too much to do at the moment, or the store or the disk cannot be used",
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problems of a route, for OpenAPI; those of every route are added."""
    schema = {"$ref": "#/components/schemas/ProblemBody"}
    return {status: {"description": _WORDS[status], "content": {MEDIA: {"schema": schema}}} for status in sorted({*statuses, *ALWAYS})}
