"""Requests to addresses that strangers name, without becoming their way into the network that the server stands in.

Each connection goes to an address that was resolved and checked in the same breath, so that a name which changes its address in between (DNS
rebinding) gains nothing; certificates are still checked against the name. Each redirect is a new connection, and checked like the first. Proxies in
the environment are not used: through one, the address could not be checked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpcore2

from realgrain.picture.errors import printable

REDIRECTS = 3
ADDRESS_LENGTH = 2048  # characters
PORTS = frozenset({80, 443})
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_SPECIAL = tuple(
    map(
        ipaddress.ip_network,
        (
            "192.0.0.0/24",
            "192.88.99.0/24",
            "198.18.0.0/15",
            "64:ff9b:1::/48",
            "2001::/23",
            "2001:db8::/32",
            "3fff::/20",
            "5f00::/16",
            "168.63.129.16/32",
        ),
    )
)
"""Of IANA's registries of special addresses, what some versions of Python count as public. A translator's own prefix, 64:ff9b:1::/48, may hide any
version 4 address, in several places (RFC 6052, RFC 8215). The last is public by number, and on every machine of Azure's the host that it runs on."""
RESOLVING = 5  # seconds for a name: the system's resolver takes up to half a minute where nobody answers, and cannot be stopped
_RESOLVERS = ThreadPoolExecutor(8, "realgrain-resolve")  # of their own: names that nobody answers for must not hold up the store
_Take = Callable[[int], None]
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class FetchError(ValueError):
    """What an address names cannot be had.

    Attributes:
        code: ``bad_address``, ``forbidden_address``, ``too_many_bytes`` or ``fetch_failed``; ``busy``: it was not tried, and may be later.
    """

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        super().__init__(printable(detail))


def is_public(address: _Address) -> bool:
    """Whether an address lies in the public internet, also behind each way to write a version 4 address in version 6."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if inner:
            return is_public(inner)
        if address in _NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address.is_site_local:
            return False
    if any(address in network for network in _SPECIAL):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_link_local or address.is_private)


async def resolve(host: str, port: int) -> list[str]:
    """Addresses of a name, in the system's order.

    Raises:
        FetchError: it takes too long; ``busy`` where other names take all that resolve, so that it was never its turn.
        OSError, UnicodeError: there is no such name.
    """
    work = _RESOLVERS.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    asked = asyncio.wrap_future(work)
    try:
        await asyncio.wait([asked], timeout=RESOLVING)
        if not asked.done():
            if work.cancel():
                raise FetchError("busy", "too many names are being looked up")
            raise FetchError("fetch_failed", f"{host}: looking up the name takes more than {RESOLVING:g} seconds")
        found = asked.result()
    finally:
        asked.cancel()  # who gives up leaves the line
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def vetted(host: str, port: int, private: Collection[str] = ()) -> list[str]:
    """Addresses of a host that may be asked: if any of a name's is not public, none may.

    Raises:
        FetchError: the host may not be asked, or there is none.
    """
    try:
        addresses = await resolve(host, port)
    except (OSError, UnicodeError):
        raise FetchError("fetch_failed", f"{host}: there is no such host") from None
    if f"{host}:{port}" in private:
        return addresses
    if port not in PORTS:
        raise FetchError("forbidden_address", f"{host}: only the ports 80 and 443 are asked")
    if not addresses or not all(is_public(ipaddress.ip_address(address.partition("%")[0])) for address in addresses):
        raise FetchError("forbidden_address", f"{host}: not an address in the public internet")
    return addresses


class Checked(httpcore2.AsyncNetworkBackend):
    """Connects to public addresses only.

    Args:
        private: hosts, as ``name:port``, that may be reached whatever their address.
    """

    def __init__(self, private: Collection[str] = ()) -> None:
        self._private = frozenset(private)
        self._inner: Any = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve, check, connect to what was checked."""
        addresses = await vetted(host, port, self._private)
        return await self._inner.connect_tcp(addresses[0], port, timeout, local_address, socket_options)

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore2.AsyncNetworkStream:
        """Never."""
        raise FetchError("forbidden_address", "no sockets of this machine")

    async def sleep(self, seconds: float) -> None:
        """See httpcore."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True)
class Answer:
    """What came back; ``body`` is as sent, never unpacked."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """Asks addresses that strangers name.

    Args:
        private: hosts, as ``name:port``, that may be reached whatever their address.
        seconds: for everything that one request takes, redirects included.
    """

    def __init__(self, *, private: Collection[str], seconds: float) -> None:
        self._private, self._seconds = private, seconds

    async def get(self, address: str, most: int, take: _Take) -> tuple[str, bytes]:
        """What an address gives, following a few redirects: where it was found, and its bytes.

        Args:
            address: to ask.
            most: bytes that it may give.
            take: is told the bytes of each piece as it comes, for an address that gives nothing must not hold memory.

        Raises:
            FetchError: it cannot be had, or has more than ``most`` bytes; and whatever ``take`` raises.
        """
        headers = {"Accept": "image/*", "Accept-Encoding": "identity"}
        async with self._clock():
            for _ in range(REDIRECTS + 1):
                answer = await self._ask("GET", address, headers, b"", most, take)
                if answer.status in (301, 302, 303, 307, 308) and "location" in answer.headers:
                    address = _joined(address, answer.headers["location"])
                    continue
                if answer.status != 200:
                    raise FetchError("fetch_failed", f"the address answers with status {answer.status}")
                if answer.headers.get("content-encoding", "identity").lower() != "identity":
                    raise FetchError("fetch_failed", "the address answers in packed form, unasked")
                return address, answer.body
        raise FetchError("fetch_failed", f"the address leads through more than {REDIRECTS} redirects")

    async def post(self, address: str, headers: dict[str, str], body: bytes) -> int:
        """Send a body; the status of the answer, which is not read. Redirects are not followed.

        Raises:
            FetchError: it cannot be sent.
        """
        async with self._clock():
            return (await self._ask("POST", address, headers, body)).status

    async def vet(self, address: str) -> None:
        """See whether an address may be asked, without asking it; it is looked at again when it is.

        Raises:
            FetchError: it may not.
        """
        checked(address)
        parts = urlsplit(address)
        async with self._clock():
            await vetted(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80), self._private)

    def _clock(self) -> _Clock:
        return _Clock(self._seconds)

    async def _ask(self, method: str, address: str, headers: dict[str, str], body: bytes, most: int = 0, take: _Take = lambda _: None) -> Answer:
        host = checked(address)
        sent = {"Host": host, "User-Agent": "realgrain", "Connection": "close", **headers}
        url = httpcore2.URL(address.partition("#")[0])
        try:
            async with (
                httpcore2.AsyncConnectionPool(network_backend=Checked(self._private), max_connections=1) as pool,
                pool.stream(method, url, headers=list(sent.items()), content=body) as response,
            ):
                return await _taken(response, most, take)
        except (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:
            raise FetchError("fetch_failed", f"{host}: {type(error).__name__}") from None


def _joined(address: str, location: str) -> str:
    try:
        return urljoin(address, location)
    except ValueError:
        raise FetchError("bad_address", "the address leads to one that cannot be read") from None


class _Clock:
    """A time limit that speaks as a FetchError."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._timeout = seconds, asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *what: Any) -> None:
        try:
            await self._timeout.__aexit__(*what)
        except TimeoutError:
            raise FetchError("fetch_failed", f"takes more than {self._seconds:g} seconds") from None


async def _taken(response: httpcore2.Response, most: int, take: _Take) -> Answer:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
    pieces, size = [], 0
    if most and response.status == 200:
        announced = headers.get("content-length", "")
        too_many = FetchError("too_many_bytes", f"the address gives more than {most:,} bytes")
        if announced.isdigit() and int(announced) > most:
            raise too_many
        async for piece in response.aiter_stream():
            size += len(piece)
            if size > most:
                raise too_many
            take(len(piece))
            pieces.append(piece)
    return Answer(response.status, headers, b"".join(pieces))


def checked(address: str) -> str:
    """The host, and the port if it is not the scheme's own, of an address that may be asked.

    Raises:
        FetchError: it is none: not http or https, too long, with a user name, with characters that do not belong.
    """
    if len(address) > ADDRESS_LENGTH or not address.isascii() or not address.isprintable() or " " in address or "\\" in address:
        raise FetchError("bad_address", "the address is too long or has characters that do not belong in one")
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise FetchError("bad_address", "the address cannot be read") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise FetchError("bad_address", "the address is not one of http or https")
    if parts.username is not None or parts.password is not None:
        raise FetchError("bad_address", "the address has a user name in it")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return host if port is None else f"{host}:{port}"
