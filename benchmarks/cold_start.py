"""Times process start to verdict on one picture, realgrain and the peer sahu65 in alternation.

    python benchmarks/cold_start.py PICTURE --repeats 15 -o results/benchmarks/cold_start.json

Every run is a new process; files are in the operating system's cache after the warm-up, as for any program used twice.
Run it on a machine that does nothing else. POSIX only: peak memory comes from wait4.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import peer  # pyrefly: ignore[missing-import] – next to this script
from rich.console import Console
from rich.table import Table

from realgrain.measuring.ledger import processor

RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in one unit of ru_maxrss: macOS counts bytes, Linux kibibytes."""


@dataclass(frozen=True)
class Command:
    """One contestant: what to run and which exit codes mean that it reached a verdict."""

    name: str
    argv: list[str]
    env: dict[str, str]
    accepted: tuple[int, ...]


@dataclass(frozen=True)
class Run:
    """One process: seconds from start to exit, and its peak resident memory in bytes.

    Linux counts this script's own 30 to 40 MB as the least a child can have: a smaller peak cannot be told apart.
    """

    seconds: float
    peak_rss: int


def run(command: Command) -> Run:
    """Runs the command once, in a folder of its own so that no configuration file lies in wait.

    Raises:
        RuntimeError: It exited with a code that is not accepted; the message holds its stderr.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command.argv, env=command.env, cwd=folder, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)  # reaped above: Popen must not wait for it again
        if process.returncode not in command.accepted:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip()
            raise RuntimeError(f"{command.name} exited with {process.returncode}: {' '.join(command.argv)}\n{said}")
    return Run(seconds, usage.ru_maxrss * RSS_UNIT)


def alternate(commands: list[Command], repeats: int) -> dict[str, list[Run]]:
    """Runs the commands in turn, so that a slow spell of the machine hits all of them; the first round is not counted."""
    rounds = [[run(command) for command in commands] for _ in range(repeats + 1)]
    return {command.name: [one[index] for one in rounds[1:]] for index, command in enumerate(commands)}


def summary(runs: list[Run]) -> dict[str, Any]:
    """Median and quartiles of the seconds, the largest peak memory, and every single time."""
    seconds = [one.seconds for one in runs]
    low, median, high = np.quantile(seconds, [0.25, 0.5, 0.75]).tolist()
    return {"median": median, "quartiles": [low, high], "peak_rss": max(one.peak_rss for one in runs), "seconds": seconds}


def ratio(ours: list[Run], theirs: list[Run], resamples: int = 10_000, seed: int = 0) -> dict[str, float]:
    """Their median time over ours (above 1: ours is faster) with its 95 % percentile bootstrap interval.

    Rounds are resampled whole, because the two runs of a round shared the machine's mood.
    """
    times = np.array([[one.seconds for one in runs] for runs in (ours, theirs)])
    rounds = np.random.default_rng(seed).integers(times.shape[1], size=(resamples, times.shape[1]))
    mine, other = np.median(times[:, rounds], axis=2)
    low, high = np.quantile(other / mine, [0.025, 0.975]).tolist()
    first, second = np.median(times, axis=1).tolist()
    return {"value": second / first, "low": low, "high": high}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {"cpu": processor(), "cores": os.cpu_count(), "system": platform.platform()}


def versions(python: str, folder: Path) -> dict[str, dict[str, str]]:
    """Python and package versions on both sides."""
    ask = "import platform; print(platform.python_version())"
    sides = {
        "realgrain": (python, "realgrain", "onnxruntime", "openvino", "numpy", "pillow"),
        peer.NAME: (str(peer.python(folder)), peer.NAME, "onnxruntime", "numpy", "pillow"),
    }
    return {
        name: {"python": subprocess.run([interpreter, "-c", ask], check=True, capture_output=True, text=True).stdout.strip()}
        | peer.versions(interpreter, *packages)
        for name, (interpreter, *packages) in sides.items()
    }


def own_environment() -> dict[str, str]:
    """This process's environment, with PYTHONPATH made absolute because runs start in another folder."""
    folders = os.environ.get("PYTHONPATH")
    absolute = {} if not folders else {"PYTHONPATH": os.pathsep.join(str(Path(one).absolute()) for one in folders.split(os.pathsep))}
    return {**os.environ, **absolute}


def commands(options: argparse.Namespace) -> list[Command]:
    """The two contestants, the peer installed first if need be; realgrain exits 0, the peer 0 or, when inconclusive, 2."""
    peer.ensure(options.venv)
    picture = str(options.picture.resolve(strict=True))
    theirs = [str(peer.program(options.venv)), "detect", picture]
    ours = [options.python, "-m", "realgrain", "detect", "--no-stability", picture, "--json"]
    return [
        Command("realgrain", ours, own_environment(), (0,)),
        Command(peer.NAME, theirs, peer.environment(options.threads), (0, 2)),
    ]


def show(report: dict[str, Any]) -> None:
    """Prints the report as a small table."""
    table = Table("", "median s", "quartiles s", "peak MB", title="Process start to verdict", title_justify="left")
    for name, found in report["commands"].items():
        low, high = found["quartiles"]
        table.add_row(name, f"{found['median']:.3f}", f"{low:.3f}–{high:.3f}", f"{found['peak_rss'] / 1e6:.0f}")
    found = report["ratio"]
    console = Console()
    console.print(table)
    console.print(f"{found['value']:.2f} times as fast as {peer.NAME} (95 % interval {found['low']:.2f}–{found['high']:.2f})")


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Time realgrain and sahu65 from process start to verdict, side by side.")
    parser.add_argument("picture", type=Path, help="a JPEG, PNG or WebP file")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/benchmarks/cold_start.json"))
    parser.add_argument("--repeats", type=int, default=15, help="measured rounds, after one that is not (default: 15)")
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has realgrain")
    parser.add_argument("--venv", type=Path, default=peer.default_folder(), help="the peer's virtual environment")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads for the peer's runtime")
    options = parser.parse_args()
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")
    options.venv = options.venv.absolute()
    options.python = str(Path(shutil.which(options.python) or parser.error(f"no interpreter {options.python}")).absolute())
    return options


def main() -> None:
    """Measures, writes the report and prints it."""
    options = arguments()
    contestants = commands(options)
    runs = alternate(contestants, options.repeats)
    report = {
        "machine": machine(),
        "versions": versions(options.python, options.venv),
        "repeats": options.repeats,
        "peer_threads": options.threads,
        "picture": {"name": options.picture.name, "bytes": options.picture.stat().st_size},
        "commands": {name: summary(found) for name, found in runs.items()},
        "ratio": ratio(runs["realgrain"], runs[peer.NAME]),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    show(report)


if __name__ == "__main__":
    main()
