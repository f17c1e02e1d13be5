"""Scores every picture of a manifest with the peer sahu65 and writes a scores table that realgrain can evaluate.

    python benchmarks/sahu65_scores.py MANIFEST.csv -o scores.parquet --conditions clean web hard

The peer runs in a virtual environment of its own (see peer.py). Degradations are applied on this side, so that it is
given exactly the pixels realgrain would see, losslessly as PNG; for "clean" it is given the file's own bytes.

Its scores depend on the processor. Its encoder multiplies unsigned by signed 8-bit numbers of full range: exact where
there is VNNI, clipped to 16 bits where there is only AVX2. Its head seems to fit the clipped kind, so always name the
processor next to its figures, and do not take those from a machine with VNNI for the best it can do.
"""

import argparse
import base64
import csv
import hashlib
import io
import json
import math
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peer  # pyrefly: ignore[missing-import] – next to this script
import pyarrow as pa
import pyarrow.parquet as pq
from json_worker import JsonWorker
from PIL import Image

from realgrain.picture.conditions import condition
from realgrain.picture.image import PictureError, open_picture

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("path", "label", "generator", "source", "split", "condition", "sha256")]
    + [("bundle", pa.string()), ("runtime", pa.string()), ("logit", pa.float64()), ("probability", pa.float64()), ("threshold", pa.float64())]
    + [("error", pa.string()), ("verdict", pa.string())]
)
COPIED = ("path", "label", "generator", "source", "split")
FLOOR = 1e-6
"""Raw probabilities are kept this far from 0 and 1 so that their logits stay finite (our choice)."""


def logit(probability: float) -> float:
    """Log odds of a probability, which is first kept `FLOOR` away from 0 and 1."""
    kept = min(max(probability, FLOOR), 1 - FLOOR)
    return math.log(kept / (1 - kept))


class Peer(JsonWorker):
    """A running worker: send it encoded pictures one at a time. Use as a context manager."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.name = f"the {peer.NAME} worker"
        worker = Path(__file__).with_name("sahu65_worker.py").resolve()
        self.process = subprocess.Popen(
            [str(peer.ensure(folder)), str(worker)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=peer.environment(threads),
            cwd=folder,  # it reads ".env" where it is started: ours must not configure it
        )
        self.about = self._receive()

    def threshold(self) -> float:
        """The raw logit from which its verdict is likely_ai: its threshold taken back through its Platt scaling."""
        fusion = self.about["fusion"]
        # Both inputs of its fusion are the same raw probability, so their weights add up.
        return (logit(self.about["thresholds"]["T_hi"]) - fusion["b"]) / (fusion["w1"] + fusion["w2"])

    def score(self, data: bytes) -> dict[str, Any]:
        """Its answer for one encoded picture: error, and where there is none raw, probability, verdict."""
        if self.process.stdin is None:
            raise RuntimeError("the worker has no standard input")
        self.process.stdin.write(base64.b64encode(data).decode("ascii") + "\n")
        self.process.stdin.flush()
        return self._receive()


def answer(running: Peer, data: bytes, name: str) -> dict[str, Any]:
    """The peer's answer under the condition `name`; a picture that realgrain cannot open to degrade it is an error too."""
    try:
        shown = degraded(data, name)
    except PictureError as error:
        return {"error": str(error)}
    return running.score(shown)


def degraded(data: bytes, name: str) -> bytes:
    """The picture under the condition `name`, as PNG; its own bytes for "clean"."""
    degrade = condition(name)
    if name == "clean":
        return data
    buffer = io.BytesIO()
    Image.fromarray(degrade(open_picture(data).pixels)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def rows(manifest: Path, split: str, running: Peer, conditions: list[str]) -> Iterator[dict[str, Any]]:
    """Scores the manifest's pictures, or those of one split, in each condition, one row per picture and condition."""
    threshold = running.threshold()
    with manifest.open(newline="", encoding="utf-8") as file:
        samples = [sample for sample in csv.DictReader(file) if split in ("", sample["split"])]
    started = time.monotonic()
    for number, sample in enumerate(samples, 1):
        data = (manifest.parent / sample["path"]).read_bytes()
        about = {column: sample[column] for column in COPIED} | {"sha256": hashlib.sha256(data).hexdigest()}
        for name in conditions:
            found = answer(running, data, name)
            yield about | {
                "condition": name,
                "bundle": f"{peer.NAME}-{peer.VERSION}",
                "runtime": "onnxruntime-dynamic-int8",
                "logit": logit(found["raw"]) if "raw" in found else None,
                "probability": found.get("probability"),
                "threshold": threshold if "raw" in found else None,
                "error": found["error"],
                "verdict": found.get("verdict", ""),
            }
        if number % 100 == 0 or number == len(samples):
            print(f"{number}/{len(samples)} pictures, {time.monotonic() - started:.0f} s", flush=True)


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Score a manifest's pictures with sahu65 in its own virtual environment.")
    parser.add_argument("manifest", type=Path, help="CSV with path, label, generator, source, split; paths relative to it")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the scores table to write (parquet)")
    parser.add_argument("--split", default="", help="of the manifest; all by default")
    parser.add_argument("--conditions", nargs="+", default=["clean"], help="clean, or names of realgrain's degradations")
    parser.add_argument("--venv", type=Path, default=peer.default_folder(), help="the peer's virtual environment")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads for the peer's runtime")
    return parser.parse_args()


def main() -> None:
    """Scores, checks the threshold against the peer's own verdicts, and writes the table."""
    options = arguments()
    with Peer(options.venv.resolve(), options.threads) as running:
        scored = list(rows(options.manifest, options.split, running, options.conditions))
    good = [row for row in scored if not row["error"]]
    unlike = [row["path"] for row in good if (row["logit"] >= row["threshold"]) != (row["verdict"] == "likely_ai")]
    if unlike:
        print(f"warning: {len(unlike)} verdicts disagree with the threshold {good[0]['threshold']:.6f}, first: {unlike[0]}")
    about = {
        "threads": options.threads,
        "versions": peer.versions(peer.python(options.venv), peer.NAME, "onnxruntime", "numpy", "pillow"),
    }
    table = pa.Table.from_pylist(scored, schema=SCHEMA.with_metadata({b"realgrain": json.dumps(about).encode()}))
    pq.write_table(table, options.output)
    print(f"{len(scored)} rows, {len(scored) - len(good)} failed, written to {options.output}")


if __name__ == "__main__":
    main()
