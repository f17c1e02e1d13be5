"""Sends fuzzed uploads to realgrain's server and counts what it answers: no crash, no hang, no 5xx is what it must show.

    python benchmarks/serve_fuzz.py --uploads 10000 -o results/benchmarks/serve_fuzz.json

Decoders and limits are what is tried, and no detector: with --tiny a tower of a few kilobytes judges what can still be judged, in a fraction of the
time. Uploads are pictures of all formats with bytes changed, cut, doubled or moved, forms and JSON with the same done to them, and zips. The seed is
kept, so that a bad one can be sent again.
"""

import argparse
import base64
import contextlib
import io
import json
import time
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from serving import Server, add_detector, conclude, detector, picture, resident, scratch  # pyrefly: ignore[missing-import] – next to this script

KINDS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
SLOWEST = 20  # kept
BOUNDARY = "fuzz"


def spoil(rng: np.random.Generator, data: bytes) -> bytes:
    """Change, cut, double or move some bytes; also numbers in headers, which is where decoders believe what they read."""
    found = bytearray(data)
    for _ in range(int(rng.integers(1, 8))):
        if not found:
            break
        # Half of all changes go to the first 200 bytes.
        at = int(rng.integers(min(200, len(found)) if rng.random() < 0.5 else len(found)))
        span = int(rng.integers(1, 400))
        match int(rng.integers(6)):
            case 0:
                found[at] = int(rng.integers(256))
            case 1:
                found[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\1"])
            case 2:
                del found[at : at + span]
            case 3:
                found[at:at] = found[at : at + span]
            case 4:
                found[at:at] = rng.bytes(span)
            case _:
                found = found[:at]
    return bytes(found)


def form(data: bytes, name: bytes = b"a") -> bytes:
    """A multipart body with one file."""
    head = b"--%b\r\nContent-Disposition: form-data; name=file; filename=%b\r\n\r\n" % (BOUNDARY.encode(), name)
    return head + data + b"\r\n--" + BOUNDARY.encode() + b"--\r\n"


def zipped(rng: np.random.Generator, good: list[bytes]) -> bytes:
    """A zip of a few spoiled pictures."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(int(rng.integers(1, 4))):
            archive.writestr(f"../{n}.png", spoil(rng, good[int(rng.integers(len(good)))]))
    return file.getvalue()


def request(number: int, seed: int, good: list[bytes]) -> tuple[str, str, str, bytes]:
    """One upload: what it is, where it goes, its media type and its body."""
    rng = np.random.default_rng((seed, number))
    data = good[int(rng.integers(len(good)))]
    multipart = f"multipart/form-data; boundary={BOUNDARY}"
    match int(rng.integers(10)):
        case 0:
            return "form", "/v1/detect", multipart, spoil(rng, form(data[:2000]))
        case 1:
            return "json", "/v1/detect", "application/json", spoil(rng, json.dumps({"image": base64.b64encode(data[:2000]).decode()}).encode())
        case 2:
            return "zip", "/v1/batch", "application/zip", spoil(rng, zipped(rng, good)) if rng.random() < 0.7 else zipped(rng, good)
        case 3:
            return "name", "/v1/detect", multipart, form(data, rng.bytes(int(rng.integers(300))).replace(b"\n", b" "))
        case _:
            return "picture", "/v1/detect", multipart, form(spoil(rng, data))


def ask(http: httpx2.Client, number: int, seed: int, good: list[bytes]) -> dict[str, Any]:
    """Send one upload; a job that comes of it is forgotten again."""
    what, path, media, body = request(number, seed, good)
    begun = time.monotonic()
    try:
        answer = http.post(path, params={"stability": False}, content=body, headers={"Content-Type": media})
        status, problem = answer.status_code, answer.headers["content-type"] == "application/problem+json"
        code = answer.json()["code"] if problem else ""
        if status == 202:
            http.delete(answer.headers["location"])
    except httpx2.HTTPError as error:
        status, code, problem = 0, type(error).__name__, False
    return {"number": number, "what": what, "status": status, "code": code, "seconds": time.monotonic() - begun, "problem": problem}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Send all."""
    rng = np.random.default_rng(options.seed)
    good = [picture(rng, kind, side) for kind in KINDS for side in (48, 200)]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(scratch()))
        bundle, judged_by = detector(options, folder)
        server = stack.enter_context(Server(folder / "data", "--seconds", str(options.seconds), bundle=bundle))
        assert server.process is not None
        with (
            httpx2.Client(base_url=server.url, timeout=options.seconds + 60, trust_env=False) as http,
            ThreadPoolExecutor(options.width) as pool,
        ):
            before = resident(server.process)[0]
            answers = list(pool.map(lambda number: ask(http, number, options.seed, good), range(options.uploads)))
            after = resident(server.process)[0]
            text = http.get("/metrics").text
        lost = {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line.startswith("realgrain_lost_workers_total{")}
        alive, errors = server.process.poll() is None, server.errors()
    bad = [one for one in answers if one["status"] == 0 or one["status"] >= 500]
    slow = [one for one in answers if one["seconds"] > options.seconds + 5]
    return {
        "uploads": len(answers),
        "seed": options.seed,
        "detector": judged_by,
        "statuses": dict(sorted(Counter(str(one["status"]) for one in answers).items())),
        "by_kind": dict(sorted(Counter(f"{one['what']} {one['status']}" for one in answers).items())),
        "codes": dict(Counter(one["code"] for one in answers if one["code"]).most_common()),
        "errors_that_are_no_problems": sum(one["status"] >= 400 and not one["problem"] for one in answers),
        "not_the_clients": bad[:50],
        "over_the_time_limit": slow[:50],
        "slowest": sorted(answers, key=lambda one: -one["seconds"])[:SLOWEST],
        "decoders_lost": lost,
        "alive": alive,
        "log_errors": errors[:20],
        "memory": {"before": before, "after": after},
        "passed": alive and not bad and not slow,
    }


def main() -> None:
    """Measures, writes the report and prints what matters of it."""
    parser = argparse.ArgumentParser(description="Send fuzzed uploads to realgrain's server.")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/benchmarks/serve_fuzz.json"))
    parser.add_argument("--uploads", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--width", type=int, default=4, help="sent at a time (default: 4)")
    parser.add_argument("--seconds", type=float, default=20, help="the server's limit for one picture (default: 20)")
    add_detector(parser)
    options = parser.parse_args()
    conclude(measure(options), options.output, hidden=("machine", "slowest"))


if __name__ == "__main__":
    main()
