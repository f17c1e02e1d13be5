"""Bodies of requests, read with bounds: refused as soon as they are too large, and given up when they come too slowly."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from realgrain.faces.server.problems import Problem, busy
from realgrain.faces.server.settings import Settings

HEAD = 256  # bytes by which the kind of a file is told
OPTIONS = frozenset({"profile", "max_fpr", "prior", "stability", "evidence", "regions", "tiles", "format"})  # of all routes that take a form


class Sink(Protocol):
    """Where the bytes of one upload go."""

    def write(self, data: bytes) -> object: ...

    def close(self) -> None: ...


class Target(Protocol):
    """Where the files of a body go."""

    def open(self, name: str) -> Sink:
        """A new file.

        Raises:
            Problem: there are too many.
        """
        ...


class Room:
    """Memory for bodies that are being read or judged, shared by all requests.

    Args:
        most: bytes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0

    @contextlib.contextmanager
    def hold(self) -> Iterator[Callable[[int], None]]:
        """Memory of one request: what this gives takes bytes of it, and raises Problem, 503, where there are no more; all go back at the end."""
        mine = 0

        def take(count: int) -> None:
            nonlocal mine
            if self._taken + count > self._most:
                raise busy("too many pictures are held in memory")
            self._taken += count
            mine += count

        try:
            yield take
        finally:
            self._taken -= mine


async def chunks(request: Request, most: int, settings: Settings) -> AsyncIterator[bytes]:
    """The body, piece by piece.

    Args:
        request: whose body.
        most: bytes.
        settings: how slowly it may come.

    Raises:
        Problem: 413 if it is larger, before a byte is read where its length is announced; 408 if it comes too slowly.
    """
    too_many = Problem(413, "too_many_bytes", f"the body has more than {most:,} bytes")
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > most:
        raise too_many
    loop = asyncio.get_running_loop()
    begun, got = loop.time(), 0
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout_at(begun + settings.body_grace + got / settings.body_rate):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Problem(408, "too_slow", "the body comes too slowly", Connection="close") from None
        except ClientDisconnect:
            raise Problem(400, "cut_short", "the body ended early") from None
        got += len(piece)
        if got > most:
            raise too_many
        yield piece


async def whole(request: Request, most: int, settings: Settings, take: Callable[[int], None]) -> bytes:
    """The body at once; raises as ``chunks`` does, and as ``Room.hold`` does."""
    pieces = []
    async for piece in chunks(request, most, settings):
        take(2 * len(piece))
        pieces.append(piece)
    return b"".join(pieces)


@dataclass
class _Part:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    name: bytes = b""
    value: bytes = b""
    size: int = 0
    sink: Sink | None = None


class _Reader:
    """Callbacks of the parser: parts with a file name become files, fields are passed over."""

    def __init__(self, target: Target, settings: Settings) -> None:
        self._target, self._settings = target, settings
        self._part = _Part()
        self.files = self._fields = 0
        self.ended = False
        self.parser_calls = {
            "on_part_begin": self._begin,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_end,
            "on_end": self._all,
        }

    def _begin(self) -> None:
        self._part = _Part()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._part.name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._part.value += data[start:end]

    def _header_end(self) -> None:
        self._part.headers[self._part.name.lower()] = self._part.value
        self._part.name = self._part.value = b""

    def _headers_end(self) -> None:
        kind, options = parse_options_header(self._part.headers.get(b"content-disposition", b""))
        if kind != b"form-data":
            raise Problem(400, "bad_form", "a part of the form is no form-data")
        name = options.get(b"filename")
        if name is None:
            if (field := options.get(b"name", b"").decode("utf-8", "replace")) in OPTIONS:
                raise Problem(422, "bad_option", f"{field} in the form would not be used: options go in the address, ?{field}=")
            self._fields += 1
            if self._fields > self._settings.form_fields:
                raise Problem(413, "too_many_fields", f"the form has more than {self._settings.form_fields} fields beside its files")
            return
        self.files += 1
        self._part.sink = self._target.open(name.decode("utf-8", "replace").replace("\0", "\ufffd"))  # PostgreSQL keeps no NUL in a text

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part.sink is not None:
            self._part.sink.write(data[start:end])
            return
        self._part.size += end - start
        if self._part.size > self._settings.form_field_bytes:
            raise Problem(413, "too_many_bytes", f"a field of the form has more than {self._settings.form_field_bytes:,} bytes")

    def _end(self) -> None:
        if self._part.sink is not None:
            self._part.sink.close()
            self._part.sink = None

    def _all(self) -> None:
        self.ended = True

    def give_up(self) -> None:
        """Close what is open."""
        self._end()


async def read_form(request: Request, target: Target, most: int, settings: Settings) -> None:
    """Read a multipart body's files into a target, whatever their fields are called.

    Args:
        request: whose body.
        target: of the files.
        most: bytes, of the whole body.
        settings: how slowly it may come, and how large its fields and headers may be.

    Raises:
        Problem: as ``chunks``; 413 if there are too many fields, or one is too large; 400 if it is no form, has too many or too large headers, is cut
            short, or has no file; 422 if a field is called like an option; and whatever the target raises.
    """
    _, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise Problem(400, "bad_form", "the form has no boundary")
    reader, headers = _Reader(target, settings), {"max_header_count": settings.form_headers, "max_header_size": settings.form_header_bytes}
    try:
        parser = MultipartParser(boundary, reader.parser_calls, **headers)  # type: ignore[arg-type]
        async for piece in chunks(request, most, settings):
            # A piece has at most 64 KiB or so: what a callback does with it is soon done.
            await asyncio.to_thread(parser.write, piece)
    except FormParserError as error:
        raise Problem(400, "bad_form", f"the form cannot be read: {error}") from None
    finally:
        reader.give_up()
    if not reader.ended:
        raise Problem(400, "cut_short", "the form ends early")
    if not reader.files:
        raise Problem(400, "no_file", "the form has no file")


class Memory:
    """A target that keeps one file in memory; nothing of it is ever on disk.

    Args:
        most_of: bytes that it may have, by its first ``HEAD`` bytes or all that have come.
        take: of ``Room.hold``.
    """

    def __init__(self, most_of: Callable[[bytes], int], take: Callable[[int], None]) -> None:
        self._most_of, self._take = most_of, take
        self.name = ""
        self._pieces: list[bytes] = []
        self._head, self._most = b"", 0
        self._size = self._files = 0

    def open(self, name: str) -> Sink:
        """See ``Target``."""
        self._files += 1
        if self._files > 1:
            raise Problem(413, "too_many_files", "one picture at a time; /v1/batch takes many")
        self.name = name
        return self

    def write(self, data: bytes) -> None:
        """See ``Sink``."""
        self._size += len(data)
        self._take(2 * len(data))  # pieces, and their sum
        if len(self._head) < HEAD:
            self._head += data[: HEAD - len(self._head)]
            self._most = self._most_of(self._head)
        if self._size > self._most:
            raise Problem(413, "too_many_bytes", f"the file has more than {self._most:,} bytes")
        self._pieces.append(data)

    def close(self) -> None:
        """See ``Sink``."""

    @property
    def data(self) -> bytes:
        """What the file holds."""
        return b"".join(self._pieces)
