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
from realgrain.detector.decision import Policy, decision_of
from realgrain.detector.domain import InDomain, bordered
from realgrain.detector.verdict import decide

PARQUET = b"PAR1"  # the first bytes of every parquet file
SCORED = ("condition", "bundle", "error", "logit", "verdict", "stable_min", "feature_distance", "content_group")
COLUMNS = (*SCORED, "borders", "format", "width", "height", "day", "time")
"""What is read of a table; all but the logit may be missing."""


class LogError(ValueError):
    """A log cannot be used. The message names the file and the reason."""


@dataclass(frozen=True)
class Row:
    """One picture.

    Attributes:
        day: on which it came.
        logit: None where it could not be read.
        unsure: whether the verdict was ``unsure``, or by score, size and distance would have been; None where the log does not tell.
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

    @property
    def outcome(self) -> str:
        """``read``, or ``failed`` where it could not be."""
        return "failed" if self.logit is None else "read"


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

    Reports say what the verdict was. Tables do not: it follows from the detector's own thresholds, and from size and distance where they are there;
    whether a re-save would have taken it back they do not tell. So the two are not one stream.

    A picture's day is that of its column ``day`` (2026-11-24) or ``time`` (2026-11-24T09:30:00); where a log has neither, each file is a day, in the
    order given, called by its name.

    Args:
        paths: parquet as ``realgrain score`` and ``bench run`` write it, or JSON lines as ``realgrain detect --json`` prints them.
        card_of: detector that tells what was ``unsure`` where a table does not, if it is the one that scored.
        condition: only rows of it; needed where a table has several.

    Raises:
        LogError: a file is no log, its days cannot be read, or the logs are of several detectors or conditions, or tell in different ways what was
            unsure.
    """
    _check_once(paths)
    found = [(path, line) for path in paths for line in _lines(path, condition)]
    bundles = sorted({str(line["bundle"]) for _, line in found if line.get("bundle")})
    if len(bundles) > 1:
        raise LogError(f"scores of {len(bundles)} detectors ({', '.join(name[:8] for name in bundles)}): their logits cannot be compared")
    bundle = bundles[0] if bundles else ""
    judge = _Judge(card_of) if card_of is not None and card_of.hash == bundle else None
    telling = judge is not None or any(line.get("verdict") for _, line in found)
    good = [(path, line) for path, line in found if not line.get("error")]
    told = {_told_by(line): path for path, line in good if telling}
    told = told if len(told) > 1 else {words: path for path, line in good if (words := _saved_again(line))}
    if len(told) > 1:
        (one, here), (other, there), *_ = told.items()
        raise LogError(f"{here}: what is unsure is told by its {one}, in {there} by {other}: watch them apart, or that would look like drift")
    dated = [bool(line.get("day") or line.get("time")) for _, line in found]
    if any(dated) and not all(dated):
        raise LogError(f"{found[dated.index(False)][0]}: has pictures without a day, while others have one")
    rows = [_row(path, line, _day(path, line), judge) for path, line in found]
    days = tuple(sorted({row.day for row in rows}) if any(dated) else dict.fromkeys(row.day for row in rows))
    order = {day: place for place, day in enumerate(days)}
    return Stream(days, tuple(sorted(rows, key=lambda row: order[row.day])), bundle)


def _check_once(paths: Sequence[Path]) -> None:
    """Refuse a file that is named twice, under one name or two: its pictures would count twice."""
    seen: set[object] = set()
    for path in paths:
        try:
            there = path.stat()
            place: object = (there.st_dev, there.st_ino)
        except OSError:  # whoever opens it will say so
            place = path
        if place in seen:
            raise LogError(f"{path}: named twice")
        seen.add(place)


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
    """Reports, and what ``detect --watch`` says of files that failed, as rows of a table."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                report = json.loads(text)
                row = {"error": report["code"]} if report.get("kind") == "failed" else _reported(report)
            except (ValueError, KeyError, TypeError, AttributeError):
                raise LogError(f"{path}, line {number}: neither a scores table nor a report of `realgrain detect --json`") from None
            yield {**row, "day": report.get("day"), "time": report.get("time")}


def _reported(report: Mapping[str, Any]) -> dict[str, Any]:
    """What a table has of a picture.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is no report.
    """
    facts = {name: report["picture"][name] for name in ("format", "width", "height")}
    rule = "verdicts of profile {profile} at a false-positive rate of {asked_fpr}".format(**report["decision"])
    verdicts = {"verdict": report["verdict"]["label"], "rule": rule, "stable_min": report.get("stability")}
    scored = {"bundle": report["detector"]["bundle"], "logit": report["logit"], "feature_distance": (report.get("domain") or {}).get("distance")}
    return {**facts, **verdicts, **scored}


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


class _Judge:
    """Tells what a detector's verdict on a row of a table was, as far as the row tells."""

    def __init__(self, bundle: Bundle) -> None:
        self._card = bundle.card
        groups: list[int | None] = [None, *range(count(bundle.statistics))]
        self._decisions = {group: decision_of(bundle, Policy(), group) for group in groups}

    def unsure(self, logit: float, side: float | None, distance: float | None, group: int | None, length: float | None) -> bool:
        """Whether it was ``unsure``, for another reason than that it changes with a re-save."""
        domain, place, borders = self._card.domain_of(None), None, self._card.borders_of(None)
        if domain is not None and distance is not None:
            place = InDomain(
                distance=distance,
                threshold=domain.threshold,
                outside=distance >= domain.threshold,
                false_alarm=domain.false_alarm,
                group=group or 0,
            )
        smallest = self._card.smallest_side if side is None else int(side)
        straight = None if borders is None or length is None else bordered(length, borders)
        verdict, _ = decide(logit, smallest, self._card, self._decisions.get(group, self._decisions[None]), domain=place, borders=straight)
        return verdict.label == "unsure"


def _saved_again(line: Mapping[str, Any]) -> str:
    """Whether verdicts had to hold in re-saves; empty where that cannot be seen: what is ``unsure`` may have needed no look at them."""
    if "stable_min" not in line:
        return ""
    if line["stable_min"] is not None:
        return "verdicts that hold in re-saves"
    return "verdicts without a look at re-saves" if line.get("verdict") in {"ai", "camera"} else ""


def _told_by(line: Mapping[str, Any]) -> str:
    """What tells whether a row is ``unsure``."""
    if line.get("verdict"):
        return str(line.get("rule") or "verdicts")
    more = {"size": line.get("width") and line.get("height"), "distance": line.get("feature_distance"), "borders": line.get("borders")}
    return ", ".join(["scores", *(name for name, there in more.items() if there)])


def _row(path: Path, line: Mapping[str, Any], day: str, judge: _Judge | None) -> Row:
    logit = None if line.get("error") else _number(path, line, "logit")
    sides = [_number(path, line, name) for name in ("width", "height")]
    side = None if None in sides else min(value for value in sides if value is not None)
    distance = _number(path, line, "feature_distance")
    unsure = line["verdict"] == "unsure" if line.get("verdict") else None
    if unsure is None and judge is not None and logit is not None:
        group = _number(path, line, "content_group")
        unsure = judge.unsure(logit, side, distance, None if group is None else int(group), _number(path, line, "borders"))
    return Row(day, logit, unsure, line.get("format") or None, side, distance)


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
