"""What stands before every route, and before every answer: security headers, who may ask from where, time to take an answer in, metrics."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from realgrain.faces.server.metrics import Metrics
from realgrain.faces.server.problems import Problem, busy
from realgrain.faces.server.settings import Settings

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src blob:; connect-src 'self'; font-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
SECURITY = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
ASKED = ("Authorization", "X-API-Key", "Content-Type", "Webhook-URL", "Idempotency-Key")  # headers that pages of other origins may send ...
TOLD = ("Content-Disposition", "Location", "Retry-After", "WWW-Authenticate")  # ... and those of answers that they may read, beside what all may
OTHER = "other"  # label of what is no known route
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})


class _Cors(CORSMiddleware):
    """With refusals in the form of all errors."""

    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        return answer if answer.status_code == HTTPStatus.OK else Problem(403, "wrong_origin", bytes(answer.body).decode()).response()


class Shield:
    """The outermost layer.

    Args:
        app: within.
        metrics: where requests are counted.
        settings: of the server. Of them, ``hosts`` is all that, where there are no keys, keeps a page elsewhere, whose name was made to point here,
            from reading answers.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, settings: Settings) -> None:
        self._metrics, self._settings = metrics, settings
        self._app, self._full = self._readable(app), self._readable(busy("too many connections").response())
        self._hosts, self._cors = frozenset(host.lower() for host in settings.hosts), frozenset(settings.cors)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        await self._pass(self._app, scope, receive, send)

    async def full(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Likewise, when there is no room for one more connection: answers that and nothing else."""
        await self._pass(self._full, scope, receive, send)

    def _readable(self, app: ASGIApp) -> ASGIApp:
        """What answers, its errors included, so that pages of the origins that are named can read it."""
        if not self._settings.cors:
            return app
        return _Cors(app, self._settings.cors, allow_methods=("GET", "POST", "DELETE"), allow_headers=ASKED, expose_headers=TOLD)

    async def _pass(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def shielded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            async with asyncio.timeout(self._settings.send_seconds):  # a reader that has stopped reading; the error ends the connection
                await send(message)

        try:
            refused = self._refused(Headers(scope=scope), scope)
            await (app if refused is None else self._readable(refused.response()))(scope, receive, shielded)
        finally:
            route = getattr(scope.get("route"), "path", OTHER) or OTHER
            method = scope["method"] if scope["method"] in METHODS else OTHER
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - begun)

    def _refused(self, headers: Headers, scope: Scope) -> Problem | None:
        size = len(scope["raw_path"]) + len(scope["query_string"]) + sum(len(name) + len(value) for name, value in scope["headers"])
        if size > self._settings.header_bytes:  # h11 looks only at headers that come in pieces
            return Problem(431, "headers_too_large", "the request's headers are too large")
        host = _bare(headers.get("host", ""))
        if self._hosts and host not in self._hosts:
            return Problem(421, "wrong_host", "this server does not answer under that name")
        origin = headers.get("origin")
        if origin is None or origin in self._cors or scope["method"] in ("GET", "HEAD"):
            # A browser shows a page nothing of an answer to another origin unless CORS says so, and to read without being shown it changes nothing.
            return None
        if origin.partition("://")[2].lower() == headers.get("host", "").lower():
            return None
        return Problem(403, "wrong_origin", "pages of other origins may not ask")


def _bare(host: str) -> str:
    """A host without its port."""
    if host.startswith("["):
        return host.partition("]")[0].removeprefix("[").lower()
    return host.partition(":")[0].lower()
