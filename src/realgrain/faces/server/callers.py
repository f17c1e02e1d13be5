"""Who asks: the dependency of every route that is not for everyone."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from realgrain.faces.server.auth import ANONYMOUS, Caller, Scope, forbidden, key_in, unauthorized
from realgrain.faces.server.problems import Problem
from realgrain.faces.server.service import Service

_bearer = HTTPBearer(auto_error=False, description="An API key, as `realgrain keys add` gives it.")
_header = APIKeyHeader(name="X-API-Key", auto_error=False)


def service_of(request: Request) -> Service:
    """The server's parts."""
    return request.app.state.service


Parts = Annotated[Service, Depends(service_of)]


def each_once(request: Request) -> None:
    """A dependency: of an option that is given twice nobody knows which counts.

    Raises:
        Problem: 422, one is.
    """
    if len(request.query_params.multi_items()) > len(request.query_params):
        raise Problem(422, "bad_option", "an option is given more than once")


def caller(scope: Scope | None, cost: int = 1) -> Callable[..., Awaitable[Caller]]:
    """A dependency: who asks, if they may; ``cost``: requests that it counts as."""

    async def check(
        request: Request,
        parts: Parts,
        bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None,
        header: Annotated[str | None, Security(_header)] = None,
    ) -> Caller:
        address = _network(request.client.host if request.client else "nowhere")
        if not parts.settings.auth:
            who, counts = ANONYMOUS, address
        else:
            key = key_in(None if bearer is None else f"Bearer {bearer.credentials}", header)
            if key is None:  # is no guess: the page asks so before it has one
                raise unauthorized()
            found = await asyncio.to_thread(parts.keys.caller, key)
            if found is None:
                await parts.rates.count_wrong(address)
                raise unauthorized()
            who = counts = found
            counts = found.id
        if scope is not None and scope not in who.scopes:
            raise forbidden(scope)
        if cost:
            await parts.rates.count(counts, who.rate, cost)
        return who

    return check


def _network(address: str) -> str:
    """What is counted for an address: of version 6, its network, of which one caller has all addresses."""
    try:
        found = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
