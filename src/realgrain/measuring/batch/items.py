"""What there is to score, one by one: where each picture's bytes are, without the bytes."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pyarrow as pa

REMOTE = ("s3://", "s3a://", "gs://", "gcs://", "az://", "abfs://", "abfss://")
"""Object stores that Daft reads."""
URLS = ("http://", "https://")


@dataclass(frozen=True)
class Item:
    """A picture, or what was to be one.

    Attributes:
        uri: what it is called, valid text: a path as it was given, a URL, ``FILE.tar#MEMBER`` or ``FILE.parquet#ROW``. In a listing unlike any
            other's; two spellings of a path are two.
        where: the file or object that holds it: an absolute path as the system's bytes, or a URL.
        start: first byte of the picture in it; None: it is the whole of it.
        size: bytes of a picture in a tar file; None elsewhere.
        row: of the picture in a parquet file; None elsewhere.
        column: that holds it there.
        state: of the tar or parquet file that holds it, as it was listed: bytes, and time of change where that is known. Another one means another
            content, in which places and rows mean other pictures. None: it is the whole of its file.
        error: why it cannot be had, known before anything is read; None elsewhere.
    """

    uri: str
    where: bytes
    start: int | None = None
    size: int | None = None
    row: int | None = None
    column: str | None = None
    state: str | None = None
    error: str | None = None

    @property
    def remote(self) -> bool:
        """Whether it is reached through a network."""
        return is_remote(self.where.decode("utf-8", "replace"))

    @property
    def target(self) -> str:
        """``where`` as what opens files and objects takes it."""
        return self.where.decode() if self.remote else os.fsdecode(self.where)


SCHEMA = pa.schema(
    [
        ("shard", pa.int64()),
        ("position", pa.int64()),
        ("uri", pa.string()),
        ("where", pa.binary()),
        ("start", pa.int64()),
        ("size", pa.int64()),
        ("row", pa.int64()),
        ("column", pa.string()),
        ("state", pa.string()),
        ("error", pa.string()),
    ]
)
"""Items on their way to a worker; ``shard`` and ``position`` in it tell the driver where their rows belong."""


def is_remote(name: str) -> bool:
    """Whether a name is a URL of an object store or of a web server."""
    return name.startswith((*REMOTE, *URLS))


def shown(path: str) -> str:
    """A path as valid text, another one for each path: bytes that are no text are escaped, and so are backslashes."""
    return os.fsencode(path).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def is_text(name: str) -> bool:
    """Whether the bytes of a name are valid UTF-8."""
    return os.fsencode(name).decode("utf-8", "ignore") == name
