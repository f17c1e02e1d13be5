"""Logs of scored pictures -> one stream by day, from scores tables (parquet) or from reports (JSON lines). Labels are not looked at."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from math import isfinite
from pathlib import Path
from typing import Any

from realgrain.detector.bundle import Bundle
from realgrain.detector.content import count
from realgrain.detector.decision import Decision, Policy, decision_of

PARQUET = b"PAR1"  # the first bytes of every parquet file
COLUMNS = ("condition", "bundle", "error", "logit", "verdict", "format", "width", "height", "feature_distance", "content_group", "day", "time")
"""What is read of a table; all but the logit may be missing."""


class LogError(ValueError):
    """A log cannot be used. The message names the file and the reason."""


@dataclass(frozen=True)
class Row:
    """One picture.

    Attributes:
        day: on which it came.
        logit: None where it could not be read.
        unsure: whether the verdict was ``unsure``; None where the log does not tell.
        format: of the file; None likewise.
        side: the shorter one, pixels; None likewise.
        distance: from the features of training; None likewise.
    """

    day: str
    logit: float | None
    unsure: bool | None = None
    format: str | None = None
    side: float | None = None
    distance: float | None = None


@dataclass(frozen=True)
class Stream:
    """Pictures in order of their days.

    Attributes:
        days: in order.
        rows: of each day, in the order of the logs.
        bundle: hash of the detector; empty where the logs do not say.
    """

    days: tuple[str, ...]
    rows: tuple[Row, ...]
    bundle: str


def read_logs(paths: Sequence[Path], card_of: Bundle | None = None, condition: str = "") -> Stream:
    """Read logs into one stream.

    A picture's day is that of its column ``day`` (2026-11-24) or ``time`` (2026-11-24T09:30:00); where a log has neither, each file is a day, in the
    order given, called by its name.

    Args:
        paths: parquet as ``realgrain score`` and ``bench run`` write it, or JSON lines as ``realgrain detect --json`` prints them.
        card_of: detector whose thresholds tell what was ``unsure`` where a table does not, if it is the one that scored.
        condition: only rows of it; needed where a table has several.

    Raises:
        LogError: a file is no log, its days cannot be read, or the logs are of several detectors or conditions.
    """
    if len(set(paths)) != len(paths):
        raise LogError(f"{next(path for path in paths if paths.count(path) > 1)}: named twice")
    found = [(path, line) for path in paths for line in _lines(path, condition)]
    bundles = sorted({str(line["bundle"]) for _, line in found if line.get("bundle")})
    if len(bundles) > 1:
        raise LogError(f"scores of {len(bundles)} detectors ({', '.join(name[:8] for name in bundles)}): their logits cannot be compared")
    bundle = bundles[0] if bundles else ""
    decisions = _decisions(card_of if card_of is not None and card_of.hash == bundle else None)
    dated = [bool(line.get("day") or line.get("time")) for _, line in found]
    if any(dated) and not all(dated):
        raise LogError(f"{found[dated.index(False)][0]}: has pictures without a day, while others have one")
    rows = [_row(path, line, _day(path, line), decisions) for path, line in found]
    days = tuple(sorted({row.day for row in rows}) if any(dated) else dict.fromkeys(row.day for row in rows))
    order = {day: place for place, day in enumerate(days)}
    return Stream(days, tuple(sorted(rows, key=lambda row: order[row.day])), bundle)


def _lines(path: Path, condition: str) -> list[Mapping[str, Any]]:
    try:
        with path.open("rb") as file:
            packed = file.read(len(PARQUET)) == PARQUET
        lines = list(_table(path) if packed else _reports(path))
    except OSError as error:
        raise LogError(f"{path}: cannot be read: {error.strerror or error}") from None
    there = sorted({str(line["condition"]) for line in lines if line.get("condition")})
    if condition and there:
        lines = [line for line in lines if line.get("condition") == condition]
    elif len(there) > 1:
        raise LogError(f"{path}: several conditions ({', '.join(there)}); choose one with --condition")
    if not lines:
        raise LogError(f"{path}: no pictures" + (f" in condition {condition!r}" if condition else ""))
    return lines


def _table(path: Path) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
        if "logit" not in names:
            raise LogError(f"{path}: not a scores table: no column logit")
        yield from pq.read_table(path, columns=[name for name in COLUMNS if name in names]).to_pylist()
    except pa.ArrowException as error:
        raise LogError(f"{path}: not a parquet file that can be read: {error}") from None


def _reports(path: Path) -> Iterator[Mapping[str, Any]]:
    """Reports as rows of a table."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                report = json.loads(text)
                picture, verdict, bundle, logit = report["picture"], report["verdict"]["label"], report["detector"]["bundle"], report["logit"]
                facts = {name: picture[name] for name in ("format", "width", "height")}
                distance = (report.get("domain") or {}).get("distance")
            except (ValueError, KeyError, TypeError, AttributeError):
                raise LogError(f"{path}, line {number}: neither a scores table nor a report of `realgrain detect --json`") from None
            scored = {"verdict": verdict, "bundle": bundle, "logit": logit, "feature_distance": distance}
            yield {**facts, **scored, "day": report.get("day"), "time": report.get("time")}


def _day(path: Path, line: Mapping[str, Any]) -> str:
    day, time = line.get("day"), line.get("time")
    if not day and not time:
        return str(path)
    try:
        if day:
            return date.fromisoformat(str(day)).isoformat()
        return (time if isinstance(time, datetime) else datetime.fromisoformat(str(time))).date().isoformat()
    except ValueError:
        raise LogError(f"{path}: {str(day or time)[:40]!r} is no day such as 2026-11-24") from None


def _row(path: Path, line: Mapping[str, Any], day: str, decisions: Mapping[float | None, Decision]) -> Row:
    logit = None if line.get("error") else _number(path, line, "logit")
    unsure = line["verdict"] == "unsure" if line.get("verdict") else None
    if unsure is None and decisions and logit is not None:
        unsure = _between(logit, decisions.get(_number(path, line, "content_group"), decisions[None]))
    sides = [_number(path, line, name) for name in ("width", "height")]
    side = None if None in sides else min(value for value in sides if value is not None)
    return Row(day, logit, unsure, line.get("format") or None, side, _number(path, line, "feature_distance"))


def _decisions(judge: Bundle | None) -> dict[float | None, Decision]:
    """What verdicts go by in each group of content, and where that is not known; nothing without a detector."""
    return {} if judge is None else {group: decision_of(judge, Policy(), group) for group in (None, *range(count(judge.statistics)))}


def _between(logit: float, found: Decision) -> bool | None:
    """Whether thresholds leave a logit without a verdict; None where there are none."""
    return None if found.ai is None else logit < found.ai and (found.camera is None or logit > found.camera)


def _number(path: Path, line: Mapping[str, Any], name: str) -> float | None:
    """A finite number; columns beyond the schema of scores are text."""
    text = line.get(name)
    if text is None or text == "":
        return None
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = float("nan")
    if not isfinite(value):
        raise LogError(f"{path}: {name} {str(text)[:40]!r} is no number")
    return value
