"""Kills `realgrain batch` at random moments, lets it go on, and compares what is left with a run that nobody disturbed, row for row.

    python benchmarks/batch_crash.py -o results/benchmarks/batch_crash.json

Pictures are made for it, some of them broken. Without --bundle the detector is one on a tower of a few kilobytes: what is tested is that no row is
lost, doubled or changed, which does not depend on how long a score takes. Memory of the undisturbed run is looked at while it goes. Linux only.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from bench_path import train_tiny
from PIL import Image
from pydantic import BaseModel

from realgrain.measuring.ledger import write_result

SIDES = (64, 96, 128)
SHARES = (0.1, 0.5, 1.0)
WAYS = ("cut short", "empty", "no picture", "damaged header")
"""How pictures are broken, in turn."""


class Kill(BaseModel):
    """A kill: seconds after the start, and how many shards there were before that start and after the kill."""

    seconds: float
    before: int
    after: int


class Crash(BaseModel):
    """What came of it.

    Attributes:
        broken: pictures that were.
        tiny: whether the detector was one on a tower of a few kilobytes.
        seconds: of the undisturbed run.
        mb_at: resident megabytes of the undisturbed run when so many shards were done.
        peak_mb: the most there ever were.
        rows_equal: whether the rows of all shards are those of the undisturbed run.
        bytes_equal: whether shards, ledger and run.json are, byte for byte.
        ledger_equal: whether the ledger names the broken pictures and no others.
        twice: pictures that have more than one row.
    """

    pictures: int
    broken: int
    shard: int
    cache: bool
    tiny: bool
    seed: int
    kills: list[Kill]
    seconds: float
    mb_at: dict[str, float]
    peak_mb: float
    rows_equal: bool
    bytes_equal: bool
    ledger_equal: bool
    twice: int

    @property
    def good(self) -> bool:
        """Whether nothing was lost, doubled or changed."""
        return self.rows_equal and self.bytes_equal and self.ledger_equal and not self.twice


def make(folder: Path, count: int, every: int, seed: int = 0) -> set[str]:
    """Write pictures, all different, into folders of a thousand; one of every so many is broken. Returns the paths of those."""
    broken = set()
    for number in range(count):
        file = folder / f"{number // 1000:03}" / f"{number:06}.jpg"
        if number % 1000 == 0:
            file.parent.mkdir(parents=True)
        rng = np.random.default_rng([seed, number])
        side = SIDES[number % len(SIDES)]
        pixels = rng.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        made = io.BytesIO()
        Image.fromarray(pixels).save(made, "JPEG", quality=90)
        data = made.getvalue()
        if number % every == every // 2:
            data = _broken(data, WAYS[number // every % len(WAYS)])
            broken.add(str(file))
        file.write_bytes(data)
    return broken


def _broken(data: bytes, way: str) -> bytes:
    return {"cut short": data[: len(data) // 2], "empty": b"", "no picture": b"no picture", "damaged header": data[:2] + bytes(40) + data[42:]}[way]


def command(pictures: Path, output: Path, bundle: Path | None, shard: int, cache: bool) -> list[str]:
    """A batch run in a process of its own, with a home of its own: what one run has learned must not help another."""
    home = output.with_name(f"home-{output.name}")
    found = ["env", f"REALGRAIN_HOME={home}", sys.executable, "-m", "realgrain", "batch", str(pictures)]
    found += ["-o", str(output), "--shard", str(shard), "--no-stability"]
    return [*found, *(["--bundle", str(bundle), "--offline"] if bundle else []), *([] if cache else ["--no-cache"])]


def shards(output: Path) -> list[Path]:
    """Those that are done, in order."""
    return sorted(output.glob("shard-*.parquet"))


def _resident(pid: int) -> dict[str, float]:
    """Resident megabytes of a process, now and at most."""
    try:
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return {name: int(lines[key].split()[0]) * 1024 / 1e6 for name, key in (("now", "VmRSS"), ("peak", "VmHWM"))}
    except (OSError, KeyError):
        return {}


def undisturbed(what: list[str], output: Path, count: int) -> tuple[float, float, dict[str, float], float]:
    """Run to the end. Seconds, seconds until work began, megabytes at some shares of the shards, and the most.

    Raises:
        RuntimeError: it ended with another code than "done, some failed".
    """
    marks = {max(1, round(share * count)): f"{share:.0%}" for share in SHARES}
    seen: dict[str, float] = {}
    peak, began, started = 0.0, 0.0, time.monotonic()
    with subprocess.Popen(what, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            now = _resident(process.pid)
            peak = max(peak, now.get("peak", 0))
            done = len(shards(output)) if output.is_dir() else 0
            if not began and (output / "run.json").exists():
                began = time.monotonic() - started
            for mark, name in marks.items():
                if done >= mark and name not in seen and now:
                    seen[name] = now["now"]
            time.sleep(0.02)
        said = process.communicate()[1]
    if process.returncode != 1:
        raise RuntimeError(f"the undisturbed run ended with {process.returncode}: {said}")
    return time.monotonic() - started, began, seen, peak


def disturbed(what: list[str], output: Path, kills: int, count: int, seconds: float, began: float, rng: random.Random) -> list[Kill]:
    """Kill so many times, each at a random moment: some way into a random shard of the next so many-th part of the work, or before its start; then
    run to the end. The clock alone would not do: how fast the work goes depends on what else the machine does.

    Raises:
        RuntimeError: a start ended before it was killed, or the last with another code than "done, some failed".
    """
    found, each = [], (seconds - began) / count
    for part in range(1, kills + 1):
        before = len(shards(output))
        awaited = rng.randint(0, max(0, count * part // (kills + 1) - before))
        pause = rng.uniform(0, each if awaited else began + each)
        started = time.monotonic()
        with subprocess.Popen(what, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and len(shards(output)) < before + awaited:
                time.sleep(0.02)
            try:
                process.wait(timeout=pause)
                raise RuntimeError(f"done before it was killed: ended with {process.returncode}")
            except subprocess.TimeoutExpired:
                process.kill()
        found.append(Kill(seconds=time.monotonic() - started, before=before, after=len(shards(output))))
        print(f"killed after {found[-1].seconds:.1f} s: {before} shards before, {found[-1].after} after", file=sys.stderr, flush=True)
    last = subprocess.run(what, capture_output=True, text=True, check=False)
    if last.returncode != 1:
        raise RuntimeError(f"the last start ended with {last.returncode}: {last.stderr}")
    return found


def rows(output: Path) -> list[dict[str, Any]]:
    """All rows, in the order of shards."""
    return [row for shard in shards(output) for row in pq.read_table(shard).to_pylist()]


def left(output: Path) -> dict[str, bytes]:
    """Shards, ledger and run.json, by name."""
    return {file.name: file.read_bytes() for file in output.iterdir() if file.suffix in (".parquet", ".jsonl", ".json")}


def crash(folder: Path, options: argparse.Namespace) -> Crash:
    """All of it, in a folder that is empty."""
    bundle = options.bundle
    if bundle is None:
        train_tiny(folder)
        bundle = folder / "bundle"
    broken = make(folder / "pictures", options.pictures, options.every, options.seed)
    quiet, restless = folder / "undisturbed", folder / "disturbed"
    what = {output: command(folder / "pictures", output, bundle, options.shard, options.cache) for output in (quiet, restless)}
    count = -(-options.pictures // options.shard)
    seconds, began, mb_at, peak = undisturbed(what[quiet], quiet, count)
    kills = disturbed(what[restless], restless, options.kills, count, seconds, began, random.Random(options.seed))
    found, expected = rows(restless), rows(quiet)
    names = [row["uri"] for row in found]
    ledger = [json.loads(line)["uri"] for line in (restless / "errors.jsonl").read_text().splitlines()]
    return Crash(
        pictures=options.pictures,
        broken=len(broken),
        shard=options.shard,
        cache=options.cache,
        tiny=options.bundle is None,
        seed=options.seed,
        kills=kills,
        seconds=seconds,
        mb_at=mb_at,
        peak_mb=peak,
        rows_equal=found == expected and len(found) == options.pictures,
        bytes_equal=left(restless) == left(quiet),
        ledger_equal=sorted(ledger) == sorted(broken),
        twice=len(names) - len(set(names)),
    )


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Kill realgrain batch at random moments and compare with an undisturbed run.")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/benchmarks/batch_crash.json"))
    parser.add_argument("--bundle", type=Path, help="detector; without it, one on a tower of a few kilobytes")
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--every", type=int, default=100, help="one of so many pictures is broken")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--shard", type=int, default=250)
    parser.add_argument("--cache", action="store_true", help="with the cache by content, which saves work across kills")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> int:
    """Run, write, print. Returns 1 where something was lost, doubled or changed."""
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        found = crash(Path(folder), options)
    write_result(options.output, found, [])
    print(found.model_dump_json(indent=1, exclude={"kills"}))
    return 0 if found.good else 1


if __name__ == "__main__":
    sys.exit(main())
