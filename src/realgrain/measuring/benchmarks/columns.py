"""What the columns of a data set, or the keys of a JSON file, say of a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from realgrain.measuring.benchmarks.walk import BenchmarkError, label_of
from realgrain.measuring.resampling import GROUP

NUMBERS = {"0": "real", "1": "fake"}
GENERATOR = ("generator", "model_name", "model")
SOURCE = ("source", "real_source")
SPLITS = {"validation": "val"}


def told(said: Mapping[str, Any], where: str, *, otherwise: str) -> dict[str, str]:
    """Label, generator, source, set and split, as ``Sample`` takes them; ``group`` where it is said.

    Args:
        said: a label by name (``real``, ``0_real``, ``nature``, ``fake``, ``1_fake``, ``ai``) or number (0 real, 1 fake, as ``0_real`` and ``1_fake``
            count; 0.0 and 1.0 too, as columns with gaps have them), and what else there is.
        where: for the message.
        otherwise: source of a picture of which nothing is said.

    Raises:
        BenchmarkError: it has no label, or one that is neither.
    """
    given = said.get("label")
    whole = isinstance(given, bool | int) or (isinstance(given, float) and given.is_integer())
    text = str(int(given)) if whole else str(given if given is not None else "").strip()
    if not (label := NUMBERS.get(text) or label_of(text)):
        raise BenchmarkError(f"{where}: label {given!r} is neither real (0) nor fake (1)")
    fake = label == "fake"
    made = _first(said, GENERATOR) if fake else ""
    split = _first(said, ("split",)) or "test"
    group = _first(said, (GROUP,))
    return {
        "label": label,
        "generator": (made or "unknown") if fake else "",
        "source": _first(said, ("source",) if fake else SOURCE) or made or otherwise,
        "set": _first(said, ("set", "subset")),
        "split": SPLITS.get(split, split),
        **({GROUP: group} if group else {}),
    }


def _first(said: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((str(said[name]).strip() for name in names if said.get(name) not in (None, "")), "")
