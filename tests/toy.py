"""Small labelled pictures that tests make themselves: the same ones each time, and told apart by what even a random tower sees.

Importing this builds nothing. Tests in any folder use it, because pytest puts this folder on the path:

    from toy import picture, saved
"""

import csv
import io
from pathlib import Path

import numpy as np
from PIL import Image

REAL = {"camera-a": 9, "camera-b": 8, "camera-c": 8, "camera-d": 7}  # pictures of each source
FAKE = {"gan-a": 9, "gan-b": 8, "diffusion-a": 8, "diffusion-b": 7}


def picture(seed: int, *, fake: bool, size: tuple[int, int] | None = None) -> np.ndarray:
    """Smooth slopes with fine grain, or, for a fake, with the coarse squares that careless up-sampling leaves: (H, W, 3) uint8."""
    rng = np.random.default_rng([seed, fake])
    width, height = size or tuple(int(side) for side in rng.integers(160, 300, 2))
    coarse = Image.fromarray(rng.integers(90, 166, (6, 6, 3), dtype=np.uint8))
    slopes = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float64)
    cell, strength = (12, 45) if fake else (1, 22)
    grain = rng.normal(0, strength, (height // cell + 1, width // cell + 1, 3)).repeat(cell, 0).repeat(cell, 1)[:height, :width]
    return np.clip(slopes + grain, 0, 255).astype(np.uint8)


def saved(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    """The bytes of a file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def write_manifest(path: Path, rows: list[dict[str, str]]) -> Path:
    """A CSV manifest with the columns of the first row."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def build(folder: Path) -> Path:
    """Write the pictures of all sources, half PNG and half JPEG, and their manifest."""
    rows = []
    for label, sources in (("real", REAL), ("fake", FAKE)):
        for number, (source, count) in enumerate(sources.items()):
            for index in range(count):
                kind, suffix = (("PNG", "png"), ("JPEG", "jpg"))[index % 2]
                path = folder / label / source / f"{index:02}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(saved(picture(100 * number + index, fake=label == "fake"), kind))
                generator = source.split("-")[0] if label == "fake" else ""
                row = {"path": str(path.relative_to(folder)), "label": label, "generator": generator, "source": source}
                rows.append({**row, "split": "train", "license": "CC0-1.0"})
    return write_manifest(folder / "manifest.csv", rows)
