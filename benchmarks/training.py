"""Times what training costs: each method, and what noise, dropped tokens, kept frozen blocks and a second process change.

    python benchmarks/training.py -o results/benchmarks/training.json

Every run is a new process, on the same pictures, which this script makes. The cases take turns, so that a slow spell of the machine hits all of them.
Run it on a machine that does nothing else. POSIX only: peak memory comes from getrusage.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pydantic import BaseModel
from rounds import Ratio, ratio

from realgrain.learning import methods, processes
from realgrain.measuring.ledger import write_result

RSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in one unit of ru_maxrss: macOS counts bytes, Linux kibibytes."""
SIDE = 512
SOURCES = {"real": ("a", "b"), "fake": ("c", "d")}
LIMIT = 1.05
"""What noise may cost, as a ratio: our target."""
LINE, LEFT, WIDTH = 26, 330, 900
"""Of the drawing, pixels: height of a bar, where bars begin, and how wide it is."""


@dataclass(frozen=True)
class Case:
    """One thing to time: settings over the defaults of a method, processes, and threads of each (None: all there are)."""

    name: str
    changes: dict[str, Any]
    processes: int = 1
    threads: int | None = None


@dataclass(frozen=True)
class Measured:
    """What a run says of itself: seconds of each counted step, or of each picture for a frozen tower; and peak bytes of its first process."""

    per_picture: float
    peak: int
    prepared: float = field(default=0.0)


class Cost(BaseModel):
    """Of a case: median and quartiles over rounds, every round, and the largest peak memory of a process.

    ``prepare_ms`` is what a picture costs before the first step, where something is kept for all of them.
    """

    ms_per_picture: float
    quartiles: tuple[float, float]
    rounds: list[float]
    peak_memory_mb: float
    prepare_ms: float


class Training(BaseModel):
    """All of it."""

    base: str
    batch: int
    steps: int
    pictures: int
    cores: int
    costs: dict[str, Cost]
    ratios: dict[str, Ratio]


CASES = [
    *(Case(name, {"method": name}) for name in methods.names()),
    Case("lora, half hidden", {"method": "lora", "masking": {"kind": "random", "ratio": 0.5}}),
    Case("lora, half dropped", {"method": "lora", "masking": {"kind": "random", "ratio": 0.5, "fill": "drop"}}),
    Case("lora, last 4 blocks", {"method": "lora", "adapter": {"blocks": 4}}),
    Case("lora, last 4 blocks, kept", {"method": "lora", "adapter": {"blocks": 4}, "draws": 1, "tuning": {"cache_frozen": True}}),
    Case("lora, 1 thread", {"method": "lora"}, threads=1),
    Case("lora, 2 processes of 1 thread", {"method": "lora"}, processes=2, threads=1),
]
RATIOS = {
    "noise: pinclip over lora": ("pinclip", "lora"),
    "hidden tokens dropped over painted": ("lora, half dropped", "lora, half hidden"),
    "frozen blocks kept over run": ("lora, last 4 blocks, kept", "lora, last 4 blocks"),
    "2 processes over 1": ("lora, 2 processes of 1 thread", "lora, 1 thread"),
}


def make_pictures(folder: Path, count: int) -> Path:
    """Pictures of both labels and two sources each, and their manifest."""
    rng = np.random.default_rng(0)
    rows = ["path,label,source,split"]
    for index in range(count):
        label = ("real", "fake")[index % 2]
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        grain = rng.normal(0, 12, (SIDE, SIDE, 3))
        Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)).save(folder / f"{index}.jpg", quality=90)
        rows.append(f"{index}.jpg,{label},{SOURCES[label][index // 2 % 2]},train")
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(rows) + "\n")
    return manifest


def work(case: Case, options: argparse.Namespace) -> Measured:
    """Train once, here."""
    import torch

    from realgrain.learning.problem import prepare
    from realgrain.learning.recipe import read_recipe
    from realgrain.learning.train import fitter_of
    from realgrain.learning.tune import TunedFitter

    if case.threads:
        torch.set_num_threads(case.threads)
    recipe_file = options.folder / f"recipe-{os.getpid()}.json"
    recipe_file.write_text(json.dumps({"base": options.base, "precision": "bf16", **case.changes}))
    trained = options.pictures - 4  # one of each source is kept back
    quick = {"epochs": options.steps * options.batch / trained, "batch": options.batch, "validation": 1e-6, "evaluate_every": 10**6}
    recipe = read_recipe(recipe_file, {"draws": 1, **{f"tuning.{name}": value for name, value in quick.items()}})
    problem = prepare(recipe, options.folder / "manifest.csv")
    clock = _clock()
    started = time.perf_counter()
    if recipe.tunes:
        TunedFitter(recipe, callbacks=(clock,)).fit(problem)
        steps = np.diff(clock.ends[options.uncounted :])
        per_picture, prepared = float(np.median(steps)) / options.batch, (clock.began - started) / options.pictures
    else:
        fitter_of(recipe, problem).fit(problem)
        per_picture, prepared = (time.perf_counter() - started) / options.pictures, 0.0
    return Measured(per_picture, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT, prepared if recipe.tuning.cache_frozen else 0.0)


def _clock() -> Any:
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        """When training began and when each step ended."""

        def __init__(self) -> None:
            self.began, self.ends = 0.0, []

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.ends.append(time.perf_counter())

    return Clock()


def run(case: Case, options: argparse.Namespace) -> Measured:
    """Train once, in a process of its own or in several.

    Raises:
        RuntimeError: it failed; the message holds its stderr.
    """
    launched = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(case.processes)] if case.processes > 1 else []
    told = {"case": asdict(case), "options": {**vars(options), "folder": str(options.folder), "output": "", "picture": ""}}
    environment = {**os.environ, "REALGRAIN_HOME": str(options.folder / f"home-{time.monotonic_ns()}")}
    environment.pop("OMP_NUM_THREADS", None)
    if case.threads:
        environment["OMP_NUM_THREADS"] = str(case.threads)
    done = subprocess.run(
        [sys.executable, *launched, str(Path(__file__).resolve()), "--worker", json.dumps(told)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{case.name} exited with {done.returncode}\n{done.stderr}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def cost(found: list[Measured]) -> Cost:
    """Sum the rounds of a case up."""
    times = [one.per_picture * 1000 for one in found]
    low, median, high = np.quantile(times, [0.25, 0.5, 0.75]).tolist()
    return Cost(
        ms_per_picture=median,
        quartiles=(low, high),
        rounds=times,
        peak_memory_mb=max(one.peak for one in found) / 1e6,
        prepare_ms=float(np.median([one.prepared for one in found])) * 1000,
    )


def measure(options: argparse.Namespace) -> Training:
    """Run every case in every round."""
    cases = [case for case in CASES if not options.only or case.name in options.only]
    found: dict[str, list[Measured]] = {case.name: [] for case in cases}
    for round_ in range(options.rounds):
        for case in cases:
            one = run(case, options)
            found[case.name].append(one)
            print(f"round {round_ + 1}: {case.name}: {one.per_picture * 1000:.1f} ms a picture, {one.peak / 1e6:.0f} MB", file=sys.stderr)
    costs = {name: cost(rounds) for name, rounds in found.items()}
    ratios = {name: ratio(costs[one].rounds, costs[two].rounds) for name, (one, two) in RATIOS.items() if one in costs and two in costs}
    sizes = {"base": options.name, "batch": options.batch, "steps": options.steps - options.uncounted - 1, "pictures": options.pictures}
    return Training(**sizes, cores=os.cpu_count() or 1, costs=costs, ratios=ratios)


def draw(result: Training) -> Image.Image:
    """Bars of time for each picture, and the ratios below."""
    lines = [f"{name}: {found}" for name, found in result.ratios.items()]
    frozen = [name for name in result.costs if name in methods.names() and not {"masking", "noise", "adapter"} & methods.defaults(name).keys()]
    lines.append(f"{', '.join(frozen)}: a picture's whole training, a frozen tower's passes over all its versions; the others: one step of many")
    canvas = Image.new("RGB", (WIDTH, LINE * (len(result.costs) + len(lines) + 3)), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    pen.text((8, LINE / 2), f"ms of training a picture, {result.base}, {result.cores} cores: median and quartiles; peak memory", "black", font, "lm")
    longest = max(found.quartiles[1] for found in result.costs.values())

    def across(value: float) -> float:
        return LEFT + value / longest * (WIDTH - LEFT - 170)

    for row, (name, found) in enumerate(result.costs.items(), 1):
        middle = LINE * (row + 0.5)
        pen.text((LEFT - 8, middle), name, "black", font, "rm")
        pen.rectangle((LEFT, middle - 8, across(found.ms_per_picture), middle + 8), "#6b8fb5")
        pen.line((across(found.quartiles[0]), middle, across(found.quartiles[1]), middle), "black", 2)
        pen.text((across(longest) + 8, middle), f"{found.ms_per_picture:.0f} ms, {found.peak_memory_mb:.0f} MB", "black", font, "lm")
    for row, line in enumerate(lines, len(result.costs) + 2):
        pen.text((8, LINE * (row + 0.5)), line, "black", font, "lm")
    return canvas


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Time what training costs.")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/benchmarks/training.json"))
    parser.add_argument("--picture", type=Path, default=Path("docs/training-cost.png"), help="where to draw it")
    parser.add_argument("--base", default="clip-vit-b16", help="tower, as for `realgrain weights pull`")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=8, help="in a run")
    parser.add_argument("--uncounted", type=int, default=2, help="of the first steps")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--only", nargs="*", default=[], help="names of cases")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.worker and (options.steps < options.uncounted + 2 or options.rounds < 1 or options.pictures < 16):
        parser.error("at least two steps that count, one round and 16 pictures")
    return options


def main() -> None:
    """Measure, write and draw."""
    from realgrain.detector import weights

    options = arguments()
    if options.worker:
        told = argparse.Namespace(**{**options.worker["options"], "folder": Path(options.worker["options"]["folder"])})
        found = work(Case(**options.worker["case"]), told)
        if processes.rank() == 0:
            print(json.dumps(asdict(found)))
        return
    options.name, options.base = options.base, str(weights.pull(options.base).folder)
    with tempfile.TemporaryDirectory() as folder:
        options.folder = Path(folder)
        make_pictures(options.folder, options.pictures)
        result = measure(options)
    write_result(options.output, result, [])
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    draw(result).save(options.picture, optimize=True)
    for line in _summary(result):
        print(line)


def _summary(result: Training) -> Iterator[str]:
    for name, found in result.ratios.items():
        yield f"{name}: {found}"
    noise = result.ratios.get("noise: pinclip over lora")
    if noise:
        yield f"noise costs at most the {LIMIT} that are aimed at: {noise.within(LIMIT)}"


if __name__ == "__main__":
    main()
