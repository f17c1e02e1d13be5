"""Loads realgrain's server from another process: first for its capacity, then for minutes at a share of that, with good and hostile files mixed.

    python benchmarks/serve_load.py --minutes 10 --peer -o results/benchmarks/serve_load.json

Arrivals are at random (Poisson), whether or not earlier requests are answered: a server that falls behind shows it. Latency counts from when one
was due. With --peer, the server of sahu65 is measured for throughput too, its rate limit lifted, in turn with ours of both bundles that ship, and
with the same pictures.
"""

import argparse
import json
import os
import queue
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import peer  # pyrefly: ignore[missing-import] – next to this script
from cold_start import machine  # pyrefly: ignore[missing-import] – likewise
from serving import Server, hostile, picture, post, resident, scratch  # pyrefly: ignore[missing-import] – likewise

from realgrain.measuring.whole import write_whole

PEER_PATH = "/deep-guard/detect"
ROUNDS = 3  # of each server in the comparison


def closed_loop(url: str, path: str, pictures: list[bytes], seconds: float, width: int, **query: Any) -> float:
    """Pictures a second that a server judges when `width` clients send one after another.

    Raises:
        RuntimeError: an answer that is not 200.
    """
    stop, done, wrong = time.monotonic() + seconds, Counter[str](), list[str]()

    def client(number: int) -> None:
        with httpx2.Client(base_url=url, timeout=120, trust_env=False) as http:
            while time.monotonic() < stop and not wrong:
                answer = post(http, pictures[(number + done["all"]) % len(pictures)], "picture.jpg", path, **query)
                if answer.status_code != 200:
                    wrong.append(f"{answer.status_code}: {answer.text[:200]}")
                    return
                done["all"] += 1

    begun = time.monotonic()
    threads = [threading.Thread(target=client, args=(number,)) for number in range(width)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise RuntimeError(f"{url}{path} answered {wrong[0]}")
    return done["all"] / (time.monotonic() - begun)


class Load:
    """Sends at a given rate, whatever comes back, and keeps what does."""

    def __init__(self, url: str, good: list[bytes], bad: dict[str, bytes], share: float, seed: int, **query: Any) -> None:
        self._url, self._good, self._bad, self._share, self._query = url, good, bad, share, query
        self._rng = np.random.default_rng(seed)
        self._line: queue.Queue[tuple[float, str, bytes] | None] = queue.Queue()
        self.answers: list[tuple[str, int, float]] = []  # kind of file, status (0: none came), seconds since it was due

    def run(self, rate: float, seconds: float, clients: int, watch: Callable[[], None], interval: float) -> None:
        """Send for so many seconds, calling `watch` at intervals."""
        threads = [threading.Thread(target=self._client) for _ in range(clients)]
        for thread in threads:
            thread.start()
        begun = due = watched = time.monotonic()
        while due < begun + seconds:
            due += self._rng.exponential(1 / rate)
            time.sleep(max(0, due - time.monotonic()))
            if time.monotonic() - watched > interval:
                watched = time.monotonic()
                watch()
            self._line.put((due, *self._draw()))
        for _ in threads:
            self._line.put(None)
        for thread in threads:
            thread.join()
        watch()

    def _draw(self) -> tuple[str, bytes]:
        if self._rng.random() < self._share:
            name = str(self._rng.choice(sorted(self._bad)))
            return name, self._bad[name]
        return "good", self._good[int(self._rng.integers(len(self._good)))]

    def _client(self) -> None:
        with httpx2.Client(base_url=self._url, timeout=120, trust_env=False) as http:
            while (job := self._line.get()) is not None:
                due, kind, data = job
                try:
                    status = post(http, data, "picture", **self._query).status_code
                except httpx2.HTTPError:
                    status = 0
                self.answers.append((kind, status, time.monotonic() - due))


def latency(answers: list[tuple[str, int, float]]) -> dict[str, float]:
    """Quantiles of the seconds."""
    if not answers:
        return {}
    found = np.quantile([seconds for *_, seconds in answers], [0.5, 0.9, 0.99, 1.0]).tolist()
    return dict(zip(("p50", "p90", "p99", "max"), found, strict=True))


def flat(memory: list[dict[str, Any]]) -> dict[str, float]:
    """How memory of the server itself went after its first third: the slope in bytes a minute, and last over first."""
    late = memory[len(memory) // 3 :] or memory
    times, sizes = [one["seconds"] for one in late], [one["server"] for one in late]
    slope = float(np.polyfit(times, sizes, 1)[0]) * 60 if len(late) > 2 else 0.0
    return {"bytes_a_minute": slope, "last_over_first": sizes[-1] / sizes[0]}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Capacity, then the load."""
    rng = np.random.default_rng(options.seed)
    good = [picture(rng) for _ in range(20)]
    bad = hostile(rng)
    query = {"stability": options.stability}
    with scratch() as folder, Server(Path(folder) / "data", bundle=options.bundle) as server:
        assert server.process is not None
        closed_loop(server.url, "/v1/detect", good, options.probe / 3, options.width, **query)  # warm-up
        capacity = closed_loop(server.url, "/v1/detect", good, options.probe, options.width, **query)
        memory, begun, process = list[dict[str, Any]](), time.monotonic(), server.process

        def watch() -> None:
            own, decoders = resident(process)
            memory.append({"seconds": time.monotonic() - begun, "server": own, "decoders": decoders})

        watch()
        # Refusals cost little, so the share of capacity is of good pictures.
        rate = options.load * capacity / (1 - options.hostile)
        load = Load(server.url, good, bad, options.hostile, options.seed, **query)
        load.run(rate, 60 * options.minutes, 64, watch, options.interval)
        seconds = time.monotonic() - begun
        errors = server.errors()
        alive = server.process.poll() is None
    served = [one for one in load.answers if one[0] == "good"]
    classes = Counter(f"{kind} {status}" for kind, status, _ in load.answers)
    wrong = {
        name: count for name, count in classes.items() if name.endswith(" 0") or name.split()[1] >= "5" or (name[:4] == "good" and name != "good 200")
    }
    return {
        "capacity": capacity,
        "asked_a_second": rate,
        "minutes": seconds / 60,
        "requests": len(load.answers),
        "good_a_second": len(served) / seconds,
        "latency_good": latency(served),
        "latency_hostile": latency([one for one in load.answers if one[0] != "good"]),
        "answers": dict(sorted(classes.items())),
        "errors_not_the_clients": wrong,
        "alive": alive,
        "log_errors": errors[:20],
        "memory": memory,
        "memory_flat": flat(memory),
    }


class Peer:
    """sahu65's own server, its rate limit lifted. Use as a context manager."""

    def __init__(self, folder: Path, port: int, threads: int, first: bytes) -> None:
        peer.ensure(folder)
        self.url = f"http://127.0.0.1:{port}"
        environment = {**peer.environment(threads), "RATE_LIMIT": "100000000/minute"}
        command = [str(peer.program(folder)), "serve", "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
        self.process = subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                with httpx2.Client(base_url=self.url, timeout=60, trust_env=False) as http:
                    if post(http, first, "picture.jpg", PEER_PATH).status_code == 200:
                        return
            except httpx2.HTTPError:
                pass
            time.sleep(0.1)
        self.process.kill()
        raise RuntimeError("the peer's server judges nothing")

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Throughput of the servers in turn, same pictures, same clients. Ours without stability: the peer looks at each picture once, too."""
    good = [picture(np.random.default_rng(options.seed)) for _ in range(20)]
    bundles = {"realgrain": options.bundle, "realgrain-fast": Path("fast")}
    found: dict[str, list[float]] = {name: [] for name in (*bundles, peer.NAME)}
    flags = ("--runtime", options.compare_runtime)
    with scratch() as folder:
        for round_ in range(ROUNDS):
            for name, bundle in bundles.items():
                with Server(Path(folder) / f"{name}{round_}", *flags, bundle=bundle) as server:
                    query = {"stability": False, "evidence": False}
                    closed_loop(server.url, "/v1/detect", good, options.probe / 3, options.width, **query)
                    found[name].append(closed_loop(server.url, "/v1/detect", good, options.probe, options.width, **query))
            with Peer(options.venv, options.peer_port, options.threads, good[0]) as other:
                closed_loop(other.url, PEER_PATH, good, options.probe / 3, options.width)
                found[peer.NAME].append(closed_loop(other.url, PEER_PATH, good, options.probe, options.width))
    theirs = float(np.median(found[peer.NAME]))
    ratios = {name: float(np.median(found[name])) / theirs for name in bundles}
    return {"pictures_a_second": found, "runtime": options.compare_runtime, "ratio": ratios, "peer_threads": options.threads}


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Load realgrain's server, and measure it.")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/benchmarks/serve_load.json"))
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--load", type=float, default=0.8, help="share of the capacity (default: 0.8)")
    parser.add_argument("--hostile", type=float, default=0.3, help="share of hostile files (default: 0.3)")
    parser.add_argument("--probe", type=float, default=30, help="seconds that a measurement of capacity takes (default: 30)")
    parser.add_argument("--width", type=int, default=8, help="clients that measure capacity (default: 8)")
    parser.add_argument("--interval", type=float, default=10, help="seconds between looks at memory (default: 10)")
    parser.add_argument("--stability", action="store_true", help="ask for stability too, which takes eight times as long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bundle", type=Path, help="a bundle's folder; without it, the one that realgrain ships")
    parser.add_argument("--peer", action="store_true", help="measure sahu65's server as well")
    parser.add_argument(
        "--compare-runtime", default="openvino-int8-dynamic", help="realgrain's runtime in that comparison (default: openvino-int8-dynamic)"
    )
    parser.add_argument("--venv", type=Path, default=peer.default_folder(), help="the peer's virtual environment")
    parser.add_argument("--peer-port", type=int, default=18765)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads for the peer's runtime")
    return parser.parse_args()


def main() -> None:
    """Measures, writes the report and prints what matters of it."""
    options = arguments()
    report = {"machine": machine(), "load": {"stability": options.stability, **measure(options)}}
    if options.peer:
        report["throughput"] = compare(options)
    write_whole(options.output, (json.dumps(report, indent=2) + "\n").encode())
    shown = {name: value for name, value in report["load"].items() if name not in ("memory", "answers")}
    print(json.dumps({**shown, **({"throughput": report["throughput"]} if options.peer else {})}, indent=2))


if __name__ == "__main__":
    main()
