"""Who does the work: Daft on this machine alone, or the same on a Ray cluster."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pyarrow as pa

from realgrain.measuring.alone import RunError
from realgrain.measuring.batch.items import SCHEMA, Item
from realgrain.measuring.batch.outcomes import STRUCT
from realgrain.measuring.batch.stores import import_daft
from realgrain.measuring.batch.worker import Plan, score_items

ENGINES = ("embedded", "ray")
CALL = 64  # items that a worker is given at once: few enough for progress to show, enough for reading ahead to pay
REACH = 10.0  # seconds for a cluster to answer
PLACE = ["shard", "position"]


def start(engine: str, address: str | None = None) -> int:
    """Make an engine ready; a process has one, and keeps it.

    Args:
        engine: one of ``ENGINES``.
        address: of a Ray cluster; None: one is started on this machine, reachable from nowhere else, and ends with this process.

    Returns:
        Processors that it has.

    Raises:
        RunError: the process has another engine, or the cluster cannot be reached.
    """
    daft = import_daft()
    if engine == "embedded":
        # One thread gives the calls in order; within a call the work is spread. It stays as it is where the process has a runner already.
        with suppress(daft.exceptions.DaftCoreException):
            daft.set_runner_native(num_threads=1)
        if daft.runners.get_or_create_runner().name != "native":
            raise RunError("this process already runs on Ray")
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return _start_ray(daft, address)


def _start_ray(daft: Any, address: str | None) -> int:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        # What Ray calls so binds to the loopback interface alone, on Linux as well.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    else:
        _reach(address)
    import ray

    if not ray.is_initialized():
        # "local": without it, Ray would go to a cluster that the environment names, or that it finds on this machine.
        options: dict[str, Any] = {"address": "local", "include_dashboard": False} if address is None else {"address": address}
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise RunError(f"Ray{'' if address is None else f' at {address}'}: {str(error).splitlines()[0]}") from error
    daft.set_runner_ray(noop_if_initialized=True)
    if daft.runners.get_or_create_runner().name != "ray":
        raise RunError("this process already runs without Ray")
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _reach(address: str) -> None:
    """Whether anybody is there: Ray itself would try for minutes.

    Raises:
        RunError: nobody is, or it is no address.
    """
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise RunError(f"Ray at {address}: no address; HOST:PORT, ray://HOST:PORT or auto")
    try:
        socket.create_connection((host, int(port)), timeout=REACH).close()
    except (OSError, OverflowError) as error:
        raise RunError(f"Ray at {address}: {error}") from error


def as_table(shard: int, items: Sequence[Item]) -> pa.Table:
    """Items of a shard on their way to workers."""
    rows = [{"shard": shard, "position": position, **vars(item)} for position, item in enumerate(items)]
    return pa.Table.from_pylist(rows, SCHEMA)


def scored(plan: Plan, tables: Sequence[pa.Table]) -> Generator[pa.RecordBatch, None, None]:
    """Rows with ``shard``, ``position`` and the fields of an outcome, some at a time, as they are done.

    Args:
        plan: for the workers.
        tables: by ``as_table``; each is a piece of work that a cluster may give to any of its machines.

    Raises:
        RunError: the engine has failed.
    """
    daft, query = import_daft(), uuid4().hex

    # Without a process of its own, a worker's detector is that of its process, and outlives this query.
    @daft.cls(use_process=False)
    class Scorer:
        def __init__(self, plan: Plan) -> None:
            self._plan = plan

        @daft.method.batch(return_dtype=daft.DataType.from_arrow_type(STRUCT), unnest=True, batch_size=CALL)
        def score(self, *columns: Any) -> Any:
            rows = zip(*(column.to_pylist() for column in columns), strict=True)
            return score_items(self._plan, [Item(*row) for row in rows], query)

    frame = daft.from_arrow(list(tables))
    fields = [frame[name] for name in SCHEMA.names if name not in PLACE]
    try:
        yield from frame.select(*PLACE, Scorer(plan).score(*fields)).to_arrow_iter(results_buffer_size=None)
    except RunError:
        raise
    except Exception as error:  # of Daft, of Ray, or what a worker could not bear: nothing is known of the rest, and what is done stays done
        raise RunError(f"the engine has failed: {str(error) or type(error).__name__}") from error
