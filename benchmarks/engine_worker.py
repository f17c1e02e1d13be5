"""One contestant of engine.py, in a process of its own: paths of pictures in, scores and seconds out, as lines of JSON.

Imports nothing before it knows what it is to be, so that memory and start are the contestant's own. It also runs inside the peer's virtual
environment, which has no realgrain.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Score = Callable[[str], float]
Many = Callable[[list[str]], list[float]]


def one_by_one(score: Score) -> Many:
    """For those that have no way of their own to score many."""
    return lambda paths: [score(path) for path in paths]


def peer(threads: int) -> tuple[Score, Many]:  # noqa: ARG001  (its threads are set by its environment)
    """sahu65, which forbids batches; its raw probability."""
    from sahu65_worker import Scorer  # pyrefly: ignore[missing-import] – next to this script

    scorer = Scorer()

    def score(path: str) -> float:
        answer = scorer(Path(path).read_bytes())
        return answer["raw"] if "raw" in answer else float("nan")

    return score, one_by_one(score)


def realgrain(runtime: str, threads: int, bundle: str | None, *, many: bool) -> tuple[Score, Many]:
    """Our own, from a file's bytes to a logit; neither re-saved views nor what files say of themselves."""
    from realgrain.detector.bundle import read_bundle
    from realgrain.detector.decision import Policy
    from realgrain.detector.detect import Detector, load

    settings: dict[str, Any] = {"evidence": False, "policy": Policy(stability=False)}
    if runtime == "openvino-bf16":
        from parity import OpenVinoBf16

        read = read_bundle(bundle)
        detector = Detector(read, OpenVinoBf16(read, threads=threads, offline=True, many=many), **settings)
    else:
        detector = load(bundle, runtime=runtime, threads=threads, offline=True, many=many, **settings)
    return lambda path: detector.detect(path).logit, lambda paths: [getattr(found, "logit", float("nan")) for found in detector.detect_many(paths)]


def pipeline(precision: str, threads: int) -> tuple[Score, Many]:
    """Transformers' pipeline for features of pictures of the same tower: no detector, so the score is a number of the feature."""
    import torch
    from transformers import CLIPImageProcessorPil, CLIPVisionModelWithProjection
    from transformers import pipeline as make

    from realgrain.detector.bundle import read_bundle
    from realgrain.detector.compose import base_of

    torch.set_num_threads(threads)
    tower = CLIPVisionModelWithProjection.from_pretrained(base_of(read_bundle(), offline=True).folder, local_files_only=True)
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    run = make("image-feature-extraction", model=tower.to(kind), image_processor=CLIPImageProcessorPil(), device="cpu")

    def score(path: str) -> float:
        return float(run(path, return_tensors=True).flatten()[0])

    def many(paths: list[str]) -> list[float]:
        return [float(found.flatten()[0]) for found in run(paths, batch_size=8, return_tensors=True)]

    return score, many


def contestant(name: str, mode: str, threads: int, bundle: str | None) -> tuple[Score, Many]:
    """By the name that engine.py gives it."""
    kind, _, rest = name.partition(" ")
    if kind == "sahu65":
        return peer(threads)
    return pipeline(rest, threads) if kind == "transformers" else realgrain(rest, threads, bundle, many=mode == "throughput")


def peak() -> int:
    """Most resident bytes that this process ever had; Linux only."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main() -> None:
    """Answers every line of standard input until it ends."""
    replies, sys.stdout = sys.stdout, sys.stderr  # a stray print of a library must not pass for a reply
    asked = json.loads(sys.argv[1])
    started = time.perf_counter()
    score, many = contestant(**asked)
    print(json.dumps({"loaded": time.perf_counter() - started}), file=replies, flush=True)
    for line in sys.stdin:
        paths = json.loads(line)
        seconds, found = [], []
        if asked["mode"] == "latency":
            for path in paths:
                started = time.perf_counter()
                found.append(score(path))
                seconds.append(time.perf_counter() - started)
        else:
            started = time.perf_counter()
            found = many(paths)
            seconds.append(time.perf_counter() - started)
        print(json.dumps({"seconds": seconds, "scores": found, "peak": peak()}), file=replies, flush=True)


if __name__ == "__main__":
    main()
