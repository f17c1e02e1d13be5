"""Results of a job: one line of JSON a picture, or a parquet table."""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Iterator
from typing import Any, Literal

from realgrain.faces.server.problems import Problem
from realgrain.faces.server.store import Store
from realgrain.faces.server.tables import Item

Format = Literal["jsonl", "parquet"]
MEDIA: dict[Format, str] = {"jsonl": "application/x-ndjson", "parquet": "application/vnd.apache.parquet"}


def chosen(accept: str, asked: Format | None) -> Format:
    """The form of results: what the address asks for, else what the header ``Accept`` names, else JSON lines.

    Raises:
        Problem: there is no such form here.
    """
    form = asked
    if form is None:
        kinds = {kind.partition(";")[0].strip().lower() for kind in accept.split(",")}
        form = "parquet" if MEDIA["parquet"] in kinds else "jsonl"
        if accept and form == "jsonl" and not kinds & {"", "*/*", "application/*", "application/jsonl", "application/json", MEDIA["jsonl"]}:
            raise Problem(406, "not_acceptable", f"results come as {' or '.join(MEDIA.values())}")
    if form == "parquet" and importlib.util.find_spec("pyarrow") is None:
        raise Problem(406, "not_acceptable", "parquet needs the package pyarrow on the server")
    return form


def lines(store: Store, job: str) -> Iterator[bytes]:
    """A line a picture: its number and name, and its report or its problem."""
    for item in store.items_of(job):
        head = json.dumps({"n": item.n, "name": item.name})[:-1]
        what = f'"report": {item.report}' if item.report is not None else f'"problem": {item.problem or "null"}'
        yield f"{head}, {what}}}\n".encode()


def table(store: Store, job: str) -> bytes:
    """The same as a table: what one filters by in columns, the report whole as JSON."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("n", pa.int32()),
            ("name", pa.string()),
            ("sha256", pa.string()),
            ("label", pa.string()),
            ("reasons", pa.list_(pa.string())),
            ("probability", pa.float64()),
            ("logit", pa.float64()),
            ("threshold", pa.float64()),
            ("error", pa.string()),
            ("report", pa.string()),
        ]
    )
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        for item in store.items_of(job):
            rows.append(_row(item))
            if len(rows) == 500:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows = []
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema))
    return sink.getvalue()


def _row(item: Item) -> dict[str, Any]:
    row: dict[str, Any] = {"n": item.n, "name": item.name, "report": item.report}
    if item.report is None:
        return {**row, "error": None if item.problem is None else json.loads(item.problem)["code"]}
    report = json.loads(item.report)
    verdict = report["verdict"]
    found = {name: report[name] for name in ("probability", "logit")} | {name: verdict[name] for name in ("label", "reasons", "threshold")}
    return {**row, **found, "sha256": report["picture"]["sha256"]}
