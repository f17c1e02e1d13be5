"""A data set of the package ``datasets``: saved to disk, a folder of parquet files, or one on the Hugging Face hub. Pictures stay encoded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import PrivateAttr

from realgrain.detector.weights import offline_asked
from realgrain.learning.data import Sample
from realgrain.measuring.benchmarks.card import Card
from realgrain.measuring.benchmarks.columns import GENERATOR, SOURCE, told
from realgrain.measuring.benchmarks.folder import OPEN
from realgrain.measuring.benchmarks.walk import BenchmarkError, Faults, sound
from realgrain.measuring.resampling import GROUP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from datasets import Dataset

HUB = "hub:"
PICTURE = ("image", "image_data", "img", "picture", "bytes")

CARD = Card(
    name="huggingface",
    title="A data set of Hugging Face `datasets`",
    paper="",
    licence="not stated; see the data set's card",
    where="a folder of save_to_disk, a folder of parquet files, or hub:OWNER/NAME, which asks for the network",
    label_rule="column label: a class named real or fake (0_real, nature, 1_fake, ai), or the numbers 0 real and 1 fake",
    layout_known="code",
    test=OPEN,
    training="yours",
    real_sources="column source or real_source",
    notes="Pictures are in a column image, or image_data as Community Forensics has it, and are never decoded by `datasets`. Columns generator "
    "(model_name), source (real_source), set (subset), split and group are used; without a column split, the data set's own split is taken.",
)

LAYOUT = {
    "saved": ("data-00000-of-00001.arrow", "dataset_info.json", "state.json"),
    "parquet": ("data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"),
}


class Row(Sample):
    """A picture in a row of a data set.

    Attributes:
        path: split, number of the row, and the picture's name if it has one.
        file: the data set; all samples share it.
    """

    _rows: Any = PrivateAttr()
    _column: str = PrivateAttr()
    _number: int = PrivateAttr()

    def content(self) -> bytes:
        """The picture's bytes; none where the row only names a file, which may be any file of this machine."""
        value = self._rows[self._number][self._column]
        return (value.get("bytes") if isinstance(value, dict) else value) or b""


def samples(root: Path) -> list[Sample]:
    """Rows of every split, in order.

    Raises:
        BenchmarkError: it cannot be read, or lacks a column or a label.
    """
    return sound(*look(root))


def look(root: Path) -> tuple[list[Sample], Faults]:
    """Rows of what can be read, in that order, and parquet files and rows that cannot.

    Raises:
        BenchmarkError: nothing can be read, or it lacks a column.
    """
    faults: Faults = []
    return [sample for split, rows in sorted(_read(root, faults).items()) for sample in _rows(root, split, rows, faults)], faults


def _read(root: Path, faults: Faults) -> dict[str, Dataset]:
    import datasets

    from realgrain.detector.weights import home

    try:
        if str(root).startswith(HUB):
            if offline_asked():
                raise BenchmarkError(f"{root}: is on the hub, and this is offline")
            found = datasets.load_dataset(str(root)[len(HUB) :])
        elif (root / "state.json").is_file() or (root / "dataset_dict.json").is_file():
            found = datasets.load_from_disk(str(root))
        elif files := _readable(sorted(root.rglob("*.parquet")), faults):
            # Named one by one: a README in the folder could send `datasets` to other files, or to the network.
            found = datasets.load_dataset("parquet", data_files=_by_split(root, files), cache_dir=str(home() / "datasets"))
        else:
            raise BenchmarkError(f"{root}: neither a data set saved to disk nor a folder of parquet files; hub:OWNER/NAME is one on the hub")
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, BenchmarkError):
            raise
        raise BenchmarkError(f"{root}: not readable as a data set: {error}") from error
    return {"": found} if isinstance(found, datasets.Dataset) else {str(split): rows for split, rows in found.items()}


def _readable(files: list[Path], faults: Faults) -> list[Path]:
    """Those of some parquet files that are whole, at least one; the first fault else."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = []
    for file in files:
        try:
            pq.read_schema(file)
            found.append(file)
        except (OSError, pa.ArrowException) as error:
            faults.append((file, BenchmarkError(f"{file}: not readable as a data set: {error}")))
    if not found:
        sound([], faults)
    return found


def _by_split(root: Path, files: list[Path]) -> dict[str, list[str]]:
    """By what the file's name starts with, such as ``train-00000-of-00002``, else by its folder, else test."""
    splits: dict[str, list[str]] = {}
    for file in files:
        start, folder = file.stem.split("-")[0], file.parent.relative_to(root).name
        split = start if start in {"train", "validation", "val", "test"} else folder if folder not in {"", "data"} else "test"
        splits.setdefault(split, []).append(str(file))
    return splits


def _rows(root: Path, split: str, rows: Dataset, faults: Faults) -> list[Sample]:
    import datasets

    column = next((name for name in PICTURE if name in rows.column_names), None)
    if column is None or "label" not in rows.column_names:
        raise BenchmarkError(f"{root}: needs the columns label and one of {', '.join(PICTURE)}; has {', '.join(rows.column_names)}")
    if isinstance(rows.features[column], datasets.Image):
        rows = rows.cast_column(column, datasets.Image(decode=False))
    label = rows.features["label"]
    names = label.names if isinstance(label, datasets.ClassLabel) else None
    words = [name for name in ("label", *GENERATOR, *SOURCE, "set", "subset", "split", GROUP, "image_name") if name in rows.column_names]
    made: list[Sample] = []
    for number, row in enumerate(rows.select_columns(words)):
        said = dict(cast("Mapping[str, Any]", row))
        if names and said["label"] is not None:
            said["label"] = names[said["label"]] if said["label"] >= 0 else None  # -1 is what the hub has for rows without a label
        name = str(said.get("image_name") or "")
        where = "/".join(filter(None, [split, f"{number:08d}", Path(name).name]))
        try:
            fields = told({**({"split": split} if split else {}), **said}, f"{root}, row {number}", otherwise=root.name)
        except BenchmarkError as error:
            faults.append((root, error))
            continue
        sample = Row(path=where, file=root, **fields)
        sample._rows, sample._column, sample._number = rows, column, number
        made.append(sample)
    return made
