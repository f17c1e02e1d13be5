"""Pictures packed into other files."""

import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    """A header of a tar file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def tar(file: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(file, "w") as archive:
        for name, data in members.items():
            archive.addfile(member(name, size=len(data)), io.BytesIO(data))
    return file


def parquet(file: Path, data: list[bytes | None], column: str = "bytes", rows: int = 1000) -> Path:
    pq.write_table(pa.table({"id": list(range(len(data))), column: pa.array(data, pa.binary())}), file, row_group_size=rows)
    return file


def hugging_face(file: Path, data: list[bytes]) -> Path:
    """As datasets stores a column of pictures: a struct."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"image": pa.array([{"bytes": one, "path": f"{number}.jpg"} for number, one in enumerate(data)], kind)}), file)
    return file
