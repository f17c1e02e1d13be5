"""Measures `realgrain batch` on runs of several sizes and numbers of workers, and fits what a picture costs and what a run costs whatever its size.

    python benchmarks/scale.py --data MANIFEST.csv -o results/benchmarks/scale.json

Workers are machines of one processor each on a Ray cluster of this machine (benchmarks/ray_here.py); runs on the embedded engine stand beside
them. The JPEG files of the manifest are taken over and over, each time with another comment in their header, so that no two are the same and none
is compressed again. Three parts of a picture's cost are timed apart, on one processor: reading, decoding with all that is made ready for the
runtime, and the runtime itself. Run it on a machine that does nothing else. Linux only.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import ray_here
from pydantic import BaseModel

from realgrain.detector.decision import Policy
from realgrain.detector.detect import Detector, load
from realgrain.learning.data import read_manifest
from realgrain.measuring.ledger import write_result

DAY = 86_400
ROUNDS = 3


class Run(BaseModel):
    """A run from start to end. ``workers`` 0: the embedded engine, on all processors."""

    pictures: int
    workers: int
    seconds: float


class Stages(BaseModel):
    """Milliseconds of one processor for a picture, medians of rounds of means: reading, making ready, the runtime."""

    read_ms: float
    ready_ms: float
    runtime_ms: float


class Model(BaseModel):
    """Seconds of a run = start + pictures x (serial + parallel / workers), by least squares of relative errors.

    Attributes:
        start: seconds, whatever the size: processes, cluster, model, listing.
        serial: seconds for each picture that more workers do not shorten.
        parallel: seconds of a worker for each picture.
        worst: largest error of the fit, as a share of the time measured.
    """

    start: float
    serial: float
    parallel: float
    worst: float


class Scale(BaseModel):
    """All of it.

    Attributes:
        picture_bytes: mean size of a file.
        hours_per_million: of this machine with the embedded engine, by its largest run.
        processors_per_billion_a_day: by ``parallel`` alone: as many such processors as 10^9 pictures a day take.
        gigabits_per_billion_a_day: of network for that, if pictures come from elsewhere, each second.
        driver_limit: pictures a day at which one driver is busy all the time, by ``serial``; None where that could not be told from nothing.
    """

    cores: int
    runtime: str
    bundle: str
    stability: bool
    shard: int
    picture_bytes: float
    megapixels: float
    stages: Stages
    runs: list[Run]
    model: Model
    hours_per_million: float
    processors_per_billion_a_day: float
    gigabits_per_billion_a_day: float
    driver_limit: float | None


def jpegs(manifest: Path, count: int) -> list[bytes]:
    """So many JPEG files of a manifest at most: the same ones each time.

    Raises:
        ValueError: it has none.
    """
    found = []
    for sample in read_manifest(manifest):
        data = sample.file.read_bytes()
        if data[:2] == b"\xff\xd8":
            found.append(data)
    if not found:
        raise ValueError(f"{manifest}: no JPEG files")
    order = np.random.default_rng(0).permutation(len(found))
    return [found[place] for place in order[:count]]


def commented(data: bytes, words: str) -> bytes:
    """A JPEG file with a comment in its header (ITU-T T.81, B.2.4.5): other bytes, the same pixels."""
    text = words.encode()
    return data[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2) + text + data[2:]


def make(folder: Path, originals: list[bytes], count: int) -> float:
    """Write so many files, all different; their mean size."""
    total = 0
    for number in range(count):
        if number % 1000 == 0:
            (folder / f"{number // 1000:04}").mkdir(parents=True)
        data = commented(originals[number % len(originals)], f"{number}")
        (folder / f"{number // 1000:04}" / f"{number:07}.jpg").write_bytes(data)
        total += len(data)
    return total / count


def stages(detector: Detector, files: list[Path]) -> Stages:
    """Times the parts one after the other, on the thread that asks."""

    def each(of: Callable[[], Iterator[object]]) -> float:
        started = time.perf_counter()
        count = sum(1 for _ in of())
        return (time.perf_counter() - started) / count * 1000

    found: dict[str, list[float]] = {"read": [], "ready": [], "runtime": []}
    for _ in range(ROUNDS):
        found["read"].append(each(lambda: (file.read_bytes() for file in files)))
        data = [file.read_bytes() for file in files]
        ready = []
        found["ready"].append(each(lambda data=data, ready=ready: (ready.append(detector.seen(detector.open(one))) for one in data)))
        found["runtime"].append(each(lambda ready=ready: (detector.judged(one) for one in ready)))
    return Stages(**{f"{name}_ms": statistics.median(times) for name, times in found.items()})


def timed(pictures: Path, output: Path, workers: int, options: argparse.Namespace) -> float:
    """Seconds of a run, from the start of its process to its end; starting the cluster is not among them.

    Raises:
        RuntimeError: it failed.
    """
    what = [sys.executable, "-m", "realgrain", "batch", str(pictures), "-o", str(output), "--shard", str(options.shard), "--no-cache"]
    what += [
        "--runtime",
        options.runtime,
        *(["--bundle", str(options.bundle)] if options.bundle else []),
        *([] if options.stability else ["--no-stability"]),
    ]
    with ray_here.cluster(workers) if workers else nullcontext() as there:
        if there is not None:
            what += ["--engine", "ray", "--address", there.address, "--threads", "1"]
        started = time.monotonic()
        done = subprocess.run(what, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - started
    if done.returncode:
        raise RuntimeError(f"a run of {workers} workers ended with {done.returncode}: {done.stderr}")
    return seconds


def fit(runs: list[Run]) -> Model:
    """Fit the model to the runs that have workers.

    Raises:
        ValueError: they are too few, or all of one size or one number of workers.
    """
    from scipy.optimize import nnls

    found = [run for run in runs if run.workers]
    if len({run.pictures for run in found}) < 2 or len({run.workers for run in found}) < 2:
        raise ValueError("a model needs runs of two sizes and two numbers of workers")
    seconds = np.array([run.seconds for run in found])
    terms = np.array([[1, run.pictures, run.pictures / run.workers] for run in found])
    values, _ = nnls(terms / seconds[:, None], np.ones(len(found)))  # no part of the cost can be below nothing
    worst = float(np.max(np.abs(terms @ values / seconds - 1)))
    return Model(start=values[0], serial=values[1], parallel=values[2], worst=worst)


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Measure realgrain batch by size and workers, and fit its cost.")
    parser.add_argument("--data", type=Path, required=True, help="manifest of real files, of which the JPEG ones are taken")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/benchmarks/scale.json"))
    parser.add_argument("--bundle", type=Path, help="without it, the detector that realgrain ships")
    parser.add_argument("--runtime", default="onnxruntime")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 5_000, 20_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--originals", type=int, default=200, help="files of the manifest at most")
    parser.add_argument("--shard", type=int, default=256)
    parser.add_argument("--stability", action="store_true", help="with re-saved views, at seven times the pictures")
    return parser.parse_args()


def main() -> None:
    """Measure, write, print."""
    options = arguments()
    originals = jpegs(options.data, options.originals)
    detector = load(options.bundle, runtime=options.runtime, threads=1, evidence=False, policy=Policy(stability=options.stability))
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        pictures = {count: Path(folder) / f"pictures-{count}" for count in options.sizes}
        size = [make(place, originals, count) for count, place in pictures.items()][-1]
        parts = stages(detector, sorted(pictures[options.sizes[0]].rglob("*.jpg"))[: min(100, options.sizes[0])])
        megapixels = float(np.mean([detector.open(data).pixels.size / 3e6 for data in originals]))
        for count in options.sizes:
            for workers in [*options.workers, 0]:
                seconds = timed(pictures[count], Path(folder) / f"run-{count}-{workers}", workers, options)
                runs.append(Run(pictures=count, workers=workers, seconds=seconds))
                print(f"{count} pictures, {workers or 'no'} workers: {seconds:.1f} s", file=sys.stderr, flush=True)
    model = fit(runs)
    largest = max((run for run in runs if not run.workers), key=lambda run: run.pictures)
    rate = 1e9 / DAY
    result = Scale(
        cores=len(os.sched_getaffinity(0)),
        runtime=options.runtime,
        bundle=detector.bundle.card.name,
        stability=options.stability,
        shard=options.shard,
        picture_bytes=size,
        megapixels=megapixels,
        stages=parts,
        runs=runs,
        model=model,
        hours_per_million=largest.seconds / largest.pictures * 1e6 / 3600,
        processors_per_billion_a_day=model.parallel * rate,
        gigabits_per_billion_a_day=size * 8 * rate / 1e9,
        driver_limit=DAY / model.serial if model.serial > 0 else None,
    )
    write_result(options.output, result, [options.data])
    print(result.model_dump_json(indent=1))


if __name__ == "__main__":
    main()
