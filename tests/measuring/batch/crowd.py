"""Many small pictures, some of them broken, and what a run says of them."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def picture(number: int) -> bytes:
    """A small JPEG: another one for each number."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def crowd(folder: Path, count: int, broken: int = 0) -> list[str]:
    """Write pictures into folders of a hundred; every ``broken``-th is cut short. Names of those that are, in order."""
    bad = []
    for number in range(count):
        file = folder / f"{number // 100:03}" / f"{number:05}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        data = picture(number)
        if broken and number % broken == broken - 1:
            data = data[: len(data) // 2]
            bad.append(str(file))
        file.write_bytes(data)
    return bad


def rows(folder: Path) -> list[dict]:
    """All rows of a run, in the order of its shards."""
    shards = sorted(folder.glob("shard-*.parquet"))
    return pa.concat_tables([pq.read_table(shard) for shard in shards]).to_pylist()


def shards(folder: Path) -> dict[str, bytes]:
    """All that a run leaves but its listing, byte for byte."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix in (".parquet", ".jsonl", ".json")}
