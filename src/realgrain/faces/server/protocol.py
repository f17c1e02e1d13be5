"""uvicorn's HTTP, with what it lacks: limits in time, for headers to arrive and for a body that nobody reads any more to end, and errors as ours."""

from __future__ import annotations

import asyncio
import sys

import h11
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from realgrain.faces.server.problems import MEDIA, Problem

LINGER = 5.0  # seconds that a client may go on sending after its answer, so that it gets to read that; then the connection is cut


def protocol(header_seconds: float, connections: int, full: ASGIApp) -> type[H11Protocol]:
    """A class for ``uvicorn.Config(http=...)``.

    Args:
        header_seconds: that a request's headers may take.
        connections: at a time.
        full: answers whoever comes when there are as many. It stands here because uvicorn's own ``limit_concurrency`` answers in plain text.
    """

    class Timed(H11Protocol):
        _timer: asyncio.TimerHandle | None = None
        _awaits_headers = False
        _over = False  # came when there were as many as there may be, and none of them has gone since

        def handle_events(self) -> None:
            self._over = self._over and len(self.connections) > connections
            self.app = full if self._over or len(self.tasks) >= connections else self.config.loaded_app
            super().handle_events()

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._over = len(self.connections) > connections
            self._watch(header_seconds, True)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._look()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.conn.their_state is h11.SEND_BODY:
                self._watch(LINGER, False)
            else:
                self._look()

        def connection_lost(self, exc: Exception | None) -> None:
            self._rest()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            error = sys.exc_info()[1]
            large = isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431
            problem = (
                Problem(431, "headers_too_large", "the request's headers are too large")
                if large
                else Problem(400, "bad_request", msg or "the request cannot be read")
            )
            body = problem.body.model_dump_json().encode()
            headers = [("content-type", MEDIA), ("content-length", str(len(body))), ("connection", "close")]
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                for event in (h11.Response(status_code=problem.status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
                    self.transport.write(self.conn.send(event) or b"")
            self.transport.close()

        def _look(self) -> None:
            """Of a request that has begun, the headers must come in time; between requests uvicorn's own clock runs."""
            state, answered = self.conn.their_state, self.conn.our_state is h11.DONE
            if self._timer is not None and not self._awaits_headers:
                if answered and state is h11.SEND_BODY:
                    return  # the body that nobody reads still comes
                self._rest()
            if state is h11.IDLE and self.conn.trailing_data[0]:
                if self._timer is None:
                    self._watch(header_seconds, True)
            elif state is not h11.IDLE and self._awaits_headers:
                self._rest()

        def _watch(self, seconds: float, headers: bool) -> None:
            self._rest()
            self._timer, self._awaits_headers = self.loop.call_later(seconds, self._cut), headers

        def _rest(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._awaits_headers = None, False

        def _cut(self) -> None:
            self._timer = None
            self.transport.abort()

    return Timed
