"""Times the path that benchmarks take against the runtime alone, and watches its memory over many pictures.

    python benchmarks/bench_path.py --data MANIFEST.csv -o results/benchmarks/bench_path.json

Three contestants score the same pictures in turn: `raw`, the runtime on views that are already made; `path`, `realgrain.measuring.score.score`, which
opens, degrades and cuts ahead of the runtime; `one thread`, the same work without looking ahead. Then a whole run of `realgrain bench run` over
pictures that are made as they are asked for, with a tower of a few kilobytes, so that whatever piled up would show.

Run it on a machine that does nothing else. Linux only: resident memory comes from /proc.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import BaseModel
from rounds import Ratio, ratio

from realgrain.detector.detect import Detector, load
from realgrain.learning.data import Sample, read_manifest
from realgrain.measuring.ledger import write_result
from realgrain.measuring.lock import Protocol
from realgrain.measuring.score import score
from realgrain.picture.conditions import condition
from realgrain.picture.image import PictureError, open_picture

LIMIT = 1.10
"""What the path may cost over the raw runtime, as a ratio: our target."""
SHARES = (0.1, 0.5, 1.0)
SIDE = 128
PAGE = os.sysconf("SC_PAGE_SIZE")


class Contestant(BaseModel):
    """Milliseconds for each view set (a picture in a condition): median, quartiles and every round."""

    ms: float
    quartiles: tuple[float, float]
    rounds: list[float]


class Speed(BaseModel):
    """Of one runtime and set of conditions."""

    runtime: str
    bundle: str
    conditions: list[str]
    pictures: int
    megapixels: float
    contestants: dict[str, Contestant]
    ratios: dict[str, Ratio]


class Memory(BaseModel):
    """Of a whole run and its audit: resident megabytes at shares of the scoring, and the most that there had been after each stage."""

    pictures: int
    conditions: list[str]
    seconds: float
    mb_at: dict[str, float]
    growth_mb: float
    most_mb: dict[str, float]


class BenchPath(BaseModel):
    """All of it."""

    cores: int
    speed: list[Speed]
    memory: Memory | None


def contestants(detector: Detector, samples: Sequence[Sample], conditions: Sequence[str]) -> dict[str, Callable[[], list[float]]]:
    """Each gives the logits, so that they can be held equal; views of the raw runtime are made here, once."""

    def views() -> Iterator[np.ndarray]:
        for sample in samples:
            picture = open_picture(sample.content())
            yield from (detector.views(condition(name)(picture.pixels)) for name in conditions)

    made = list(views())

    def logits(of: Iterable[np.ndarray]) -> list[float]:
        return [float(detector.runtime.logits(one).mean(dtype="float64")) for one in of]

    return {
        "raw": lambda: logits(made),
        "path": lambda: [row["logit"] for row in score(detector, samples, conditions)],
        "one thread": lambda: logits(views()),
    }


def measure_speed(detector: Detector, samples: Sequence[Sample], conditions: Sequence[str], rounds: int) -> Speed:
    """Let the contestants take turns, in another order each round; the first round is not counted.

    Raises:
        RuntimeError: their logits are not the same.
    """
    runs = contestants(detector, samples, conditions)
    names, found = list(runs), {name: [] for name in runs}
    expected = runs["raw"]()
    for number in range(rounds + 1):
        for name in (*names[number % len(names) :], *names[: number % len(names)]):
            started = time.perf_counter()
            logits = runs[name]()
            seconds = time.perf_counter() - started
            if logits != expected:
                raise RuntimeError(f"{name}: other logits than the raw runtime's")
            if number:
                found[name].append(seconds / len(expected) * 1000)
        if number:
            print(f"round {number}: " + ", ".join(f"{name} {times[-1]:.1f} ms" for name, times in found.items()), file=sys.stderr)
    return Speed(
        runtime=detector.runtime.name,
        bundle=detector.bundle.card.name,
        conditions=list(conditions),
        pictures=len(samples),
        megapixels=float(np.mean([open_picture(sample.content()).pixels.size / 3e6 for sample in samples])),
        contestants={name: summary(times) for name, times in found.items()},
        ratios={name: ratio(found[name], found["raw"]) for name in names[1:]},
    )


def summary(times: list[float]) -> Contestant:
    """Median and quartiles."""
    low, median, high = np.quantile(times, [0.25, 0.5, 0.75]).tolist()
    return Contestant(ms=median, quartiles=(low, high), rounds=times)


class Made(Sample):
    """A picture that is made when it is asked for: the same one each time."""

    def content(self) -> bytes:
        """A JPEG file."""
        rng = np.random.default_rng(int(self.path))
        pixels = rng.integers(0, 256, (SIDE // 8, SIDE // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=90)
        return file.getvalue()


def made(count: int) -> list[Made]:
    """Pictures of both labels and four sources."""
    labels = ("real", "fake")
    return [
        Made(path=str(number), file=Path("made"), label=labels[number % 2], source=f"{labels[number % 2]}-{number // 2 % 2}", split="train")
        for number in range(count)
    ]


def train_tiny(folder: Path) -> None:
    """A detector on a tower of a few kilobytes, trained on a few of those pictures."""
    from realgrain.learning.backbone import save_tiny_tower
    from realgrain.learning.recipe import Recipe
    from realgrain.learning.train import train

    rows = ["path,label,source,split"]
    for sample in made(32):
        (folder / f"{sample.path}.jpg").write_bytes(sample.content())
        rows.append(f"{sample.path}.jpg,{sample.label},{sample.source},train")
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(rows) + "\n")
    recipe = Recipe(name="tiny", base=str(save_tiny_tower(folder / "tower").folder), block=2, draws=1, licence="CC0-1.0")
    train(recipe, manifest, folder / "bundle")


def resident() -> float:
    """Megabytes of this process that are in memory now."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 1e6


def most() -> float:
    """Megabytes of this process that were ever in memory at once."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def measure_memory(folder: Path, count: int, conditions: Sequence[str]) -> Memory:
    """A whole run of the tiny detector in a folder, with a look at the memory now and then."""
    from realgrain.measuring.run_audit import audit_run
    from realgrain.measuring.running import run

    seen: dict[str, float] = {}
    stages: dict[str, float] = {}

    def watch(items: Iterable[Any], total: int, doing: str) -> Iterator[Any]:
        marks = {max(1, round(share * total)): f"{share:.0%}" for share in SHARES}
        for number, item in enumerate(items, 1):
            if doing == "scoring" and number in marks:
                seen[marks[number]] = resident()
            if number == total:
                stages[doing] = most()
            yield item

    started = time.perf_counter()
    samples, protocol = made(count), Protocol(conditions=tuple(conditions), resamples=100)
    found = run(folder / "run", load(folder / "bundle"), samples, "made", protocol, watch=watch)
    assert not found.errors
    stages["figures"] = most()
    audit_run(folder / "run", found.lock, samples)
    stages["audit"] = most()
    seconds = time.perf_counter() - started
    first, *_, last = seen.values()
    return Memory(pictures=count, conditions=list(conditions), seconds=seconds, mb_at=seen, growth_mb=last - first, most_mb=stages)


def memory_of_its_own(count: int, conditions: Sequence[str]) -> Memory:
    """As ``measure_memory``, in a process in which nothing was before, torch neither.

    Raises:
        RuntimeError: it failed; the message holds its stderr.
    """
    with tempfile.TemporaryDirectory() as folder:
        said = ""
        for step in ({"folder": folder}, {"folder": folder, "count": count, "conditions": list(conditions)}):
            command = [sys.executable, str(Path(__file__).resolve()), "--worker", json.dumps(step)]
            done = subprocess.run(command, env={**os.environ, "REALGRAIN_HOME": folder}, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"the run for memory exited with {done.returncode}\n{done.stderr}")
            said = done.stdout
    return Memory.model_validate_json(said.splitlines()[-1])


def work(folder: str, count: int | None = None, conditions: Sequence[str] = ()) -> None:
    """A step of ``memory_of_its_own``, in a process of its own."""
    if count is None:
        train_tiny(Path(folder))
    else:
        print(measure_memory(Path(folder), count, conditions).model_dump_json())


def drawn(samples: Sequence[Sample], count: int, seed: int = 0) -> list[Sample]:
    """So many samples that open, in random order: the same ones each time."""
    found = []
    for row in np.random.default_rng(seed).permutation(len(samples)):
        if len(found) == count:
            break
        with suppress(PictureError):
            open_picture(samples[row].content())
            found.append(samples[row])
    return found


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Time the path of benchmarks against the runtime alone, and watch its memory.")
    parser.add_argument("--data", type=Path, help="manifest of real files to time on; without it, only memory is measured")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/benchmarks/bench_path.json"))
    parser.add_argument("--bundle", type=Path, help="detector to time; without it, the one that realgrain ships")
    parser.add_argument("--runtimes", nargs="+", default=["onnxruntime", "openvino"])
    parser.add_argument("--conditions", nargs="+", default=["clean", "web", "hard"], help="timed apart: the first alone, then all of them")
    parser.add_argument("--pictures", type=int, default=64, help="to time on, drawn from the manifest")
    parser.add_argument("--rounds", type=int, default=9, help="measured rounds, after one that is not")
    parser.add_argument("--memory", type=int, default=20_000, help="pictures of the run for memory; 0: no such run")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rounds < 1 or options.pictures < 1 or options.memory < 0:
        parser.error("at least one round and one picture")
    return options


def main() -> None:
    """Measure, write, print."""
    options = arguments()
    if options.worker:
        work(**options.worker)
        return
    speed = []
    if options.data:
        samples = drawn(read_manifest(options.data), options.pictures)
        grids = [options.conditions[:1], options.conditions] if len(options.conditions) > 1 else [options.conditions]
        for runtime in options.runtimes:
            detector = load(options.bundle, runtime=runtime)
            speed += [measure_speed(detector, samples, conditions, options.rounds) for conditions in grids]
    memory = memory_of_its_own(options.memory, options.conditions[:2]) if options.memory else None
    result = BenchPath(cores=len(os.sched_getaffinity(0)), speed=speed, memory=memory)
    write_result(options.output, result, [options.data] if options.data else [])
    for line in summed_up(result):
        print(line)


def summed_up(result: BenchPath) -> Iterator[str]:
    """A line for each figure."""
    for of in result.speed:
        for name, found in of.ratios.items():
            times = f"{of.contestants[name].ms:.1f} over {of.contestants['raw'].ms:.1f} ms"
            yield f"{of.runtime}, {' '.join(of.conditions)}: {name} over raw {found}; {times}"
        yield f"  within the {LIMIT} that is aimed at: {of.ratios['path'].within(LIMIT)}"
    if result.memory:
        shares = ", ".join(f"{value:.0f} MB at {share}" for share, value in result.memory.mb_at.items())
        stages = ", ".join(f"{value:.0f} MB after {stage}" for stage, value in result.memory.most_mb.items())
        yield f"memory over {result.memory.pictures} pictures: {shares}; at most {stages}"


if __name__ == "__main__":
    main()
