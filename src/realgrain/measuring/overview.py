"""The ledger of results as one table: a row for each benchmark, detector and condition, with the command that makes it again."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from realgrain.measuring.lock import LOCK, Lock, LockError, read_lock
from realgrain.measuring.running import METRICS

log = logging.getLogger(__name__)

AUC, BALANCED = "auc", "balanced_accuracy_at_threshold"
COLUMNS = ("benchmark", "bundle", "condition", "n", "AUC", "balanced accuracy", "worst generator", "worst real source", "command")
HASH = 8
"""Digits of a bundle's hash that are shown."""


class Line(BaseModel):
    """A detector on a benchmark in one condition.

    Attributes:
        bundle: name, and the first digits of its hash where the file tells it.
        n: pictures behind the figures; None where the file does not tell.
        learned: pictures that the detector learned from, of all that the file is about; None where it does not tell.
        auc: value and, where there is one, the 95 % interval.
        balanced_accuracy: likewise, at the detector's own thresholds.
        worst_generator: the one with the lowest recall, and that recall; of a mean over folds, the lowest of any fold.
        worst_source: the real one with the highest false-positive rate, and that rate; likewise.
        command: that made the figures.
        file: that holds them, below the ledger's folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    benchmark: str
    bundle: str
    condition: str
    n: int | None
    learned: int | None = None
    auc: tuple[float, ...]
    balanced_accuracy: tuple[float, ...]
    worst_generator: str
    worst_source: str
    command: str
    file: str


class Overview(BaseModel):
    """All lines of a folder, by benchmark, bundle and order of conditions.

    Attributes:
        other: files of the ledger that hold figures of another kind.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lines: list[Line]
    other: list[str]


def overview(folder: Path) -> Overview:
    """Reads every result (``<benchmark>/<bundle>.json``) and every run's folder below a folder, or in it.

    Raises:
        ValueError: there is no such folder.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    runs = sorted(path.parent for path in folder.rglob(LOCK) if (path.parent / METRICS).is_file())
    lines = [line for run in runs for line in _of_run(folder, run)]
    other = []
    for file in sorted(folder.rglob("*.json")):
        if file.parent in runs or file.name == LOCK:
            continue
        if found := list(_of_result(folder, file)):
            lines += found
        else:
            other.append(str(file.relative_to(folder)))
    order = {key: number for number, key in enumerate(dict.fromkeys(sorted((line.benchmark, line.bundle) for line in lines)))}
    return Overview(lines=sorted(lines, key=lambda line: order[line.benchmark, line.bundle]), other=other)


def command_of(lock: Lock) -> str:
    """The command that makes a run again, but for its folders ROOT, RUN and BUNDLE, of which a lock holds no path."""
    protocol = lock.protocol
    words = ["realgrain", "bench", "run", lock.benchmark, "ROOT", "-o", "RUN", "--conditions", *protocol.conditions, "--split", protocol.split]
    words += ["--limit", str(protocol.limit)] if protocol.limit is not None else []
    words += ["--seed", str(protocol.seed), "--resamples", str(protocol.resamples)]
    words += ["--clusters", protocol.clusters or ""]  # said where there are none too: a benchmark with a column group would have some
    return shlex.join([*words, "--bundle", "BUNDLE", "--runtime", lock.runtime.name])


def _of_run(folder: Path, run: Path) -> Iterator[Line]:
    try:
        lock = read_lock(run)
        evaluation = json.loads((run / METRICS).read_bytes())
        conditions = evaluation["conditions"]
        if evaluation.get("lock") != lock.sha256:
            raise LockError(f"{METRICS} was made under another {LOCK}")
    except (LockError, OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s: left out: %s", run, error)
        return
    name = f"{lock.bundle.name} {lock.bundle.hash[:HASH]}"
    place = str((run / METRICS).relative_to(folder))
    yield from _lines(conditions, evaluation.get("learned"), lock.benchmark, name, command_of(lock), place)


def _of_result(folder: Path, file: Path) -> Iterator[Line]:
    """Lines of a file that ``ledger.write_result`` wrote of an evaluation or a cross-validation; none of any other."""
    try:
        content = json.loads(file.read_bytes())
        result, command = content["result"], content["run"]["command"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    place = file.relative_to(folder)
    where = file.parent.name if len(place.parts) == 1 else place.parent.as_posix()
    if "conditions" in result:
        yield from _lines(result["conditions"], result.get("learned"), where, file.stem, command, str(place))
    elif "folds" in result and "mean" in result:
        for condition, means in result["mean"].items():
            counts = [fold["conditions"][condition] for fold in result["folds"].values() if condition in fold["conditions"]]
            yield Line(
                benchmark=f"{where} (mean of {len(counts)})",
                bundle=file.stem,
                condition=condition,
                n=sum(of["n_real"] + of["n_fake"] for of in counts),
                auc=_values({"value": means.get(AUC)}),
                balanced_accuracy=_values({"value": means.get(BALANCED)}),
                worst_generator=_worst(counts, "recall_per_generator", highest=False),
                worst_source=_worst(counts, "fpr_per_source", highest=True),
                command=command,
                file=str(place),
            )


def _lines(conditions: dict[str, Any], learned: dict[str, Any] | None, benchmark: str, bundle: str, command: str, file: str) -> Iterator[Line]:
    for name, of in conditions.items():
        if "n_real" not in of or "metrics" not in of:  # figures of another kind under the same name
            return
        yield Line(
            benchmark=benchmark,
            bundle=bundle,
            condition=name,
            n=of["n_real"] + of["n_fake"],
            learned=None if learned is None else learned["pictures"],
            auc=_values(of["metrics"].get(AUC)),
            balanced_accuracy=_values(of["metrics"].get(BALANCED)),
            worst_generator=_worst([of], "recall_per_generator", highest=False),
            worst_source=_worst([of], "fpr_per_source", highest=True),
            command=command,
            file=file,
        )


def _worst(conditions: Sequence[dict[str, Any]], rates: str, *, highest: bool) -> str:
    """Name and rate of the group with the lowest rate, or the highest; of equals, the one with most pictures. Empty where there are none."""
    found = [(rate["value"] * (-1 if highest else 1), -rate["n"], name) for of in conditions for name, rate in of.get(rates, {}).items()]
    if not found:
        return ""
    rate, _, name = min(found)
    return f"{name or '(unnamed)'} {abs(rate):.0%}"


def _values(estimate: dict[str, float | None] | None) -> tuple[float, ...]:
    """Value, low and high; only the value where there is no interval, nothing where there is none."""
    found = [(estimate or {}).get(name) for name in ("value", "low", "high")]
    return tuple(value for value in found if value is not None)


def cells(line: Line) -> tuple[str, ...]:
    """A line's texts, one for each of ``COLUMNS``."""
    count = ("–" if line.n is None else str(line.n)) + (f" ({line.learned} learned from)" if line.learned else "")
    figures = (_figure(line.auc), _figure(line.balanced_accuracy))
    return line.benchmark, line.bundle, line.condition, count, *figures, line.worst_generator or "–", line.worst_source or "–", line.command


def _figure(values: Sequence[float]) -> str:
    if not values:
        return "–"
    return f"{values[0]:.3f}" + (f" ({values[1]:.3f}–{values[2]:.3f})" if len(values) == 3 else "")


def as_markdown(found: Overview) -> str:
    """A table for a page."""
    rows = [cells(line) for line in found.lines]
    rows = [(*(cell.replace("|", "\\|") for cell in row[:-1]), f"`{row[-1]}`".replace("|", "\\|")) for row in rows]
    return "".join("| " + " | ".join(row) + " |\n" for row in (COLUMNS, ["---"] * len(COLUMNS), *rows))
