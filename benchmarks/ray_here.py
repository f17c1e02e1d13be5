"""A Ray cluster on this machine, for tests and benchmarks: as far as Ray can tell, machines of one processor each. Loopback interface only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ENVIRONMENT = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # so called, it binds to the loopback interface alone, on Linux as well; whoever joins needs it too
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # left alone, workers yield to whatever else the machine does, which is no fair comparison
    "DO_NOT_TRACK": "1",
}


class Here:
    """A cluster. ``address`` leads to it."""

    def __init__(self, workers: int) -> None:
        from ray.cluster_utils import Cluster

        self._cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self._workers = [self._cluster.add_node(num_cpus=1) for _ in range(workers)]
        self.address: str = self._cluster.address

    def kill_one(self) -> None:
        """Kill a worker, without giving it time for anything."""
        self._cluster.remove_node(self._workers.pop(), allow_graceful=False)

    def close(self) -> None:
        """End it, killing what does not go."""
        for node in reversed(self._cluster.list_all_nodes()):  # the head last
            self._cluster.remove_node(node, allow_graceful=False)


@contextmanager
def cluster(workers: int) -> Iterator[Here]:
    """A cluster of so many workers, and a head that does no work."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        here = Here(workers)
        try:
            yield here
        finally:
            here.close()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
