"""Trees of the published layouts, filled with small pictures. Importing this builds nothing."""

import io
import json
import tarfile
from pathlib import Path

from toy import picture, saved

SMALL = saved(picture(0, fake=False, size=(40, 36)))


def fill(root: Path, paths, content: bytes = SMALL) -> Path:
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return root


def pack(shard: Path, members: dict[str, bytes | str | dict]) -> Path:
    """A tar file of members by name."""
    shard.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(shard, "w") as archive:
        for name, content in members.items():
            data = content if isinstance(content, bytes) else (content if isinstance(content, str) else json.dumps(content)).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return shard
