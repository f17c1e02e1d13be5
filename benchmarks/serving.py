"""What the benchmarks of the service share: a server in a process of its own, what is sent to it, and what it is sent."""

import argparse
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2
import numpy as np
import psutil
from cold_start import machine  # pyrefly: ignore[missing-import] – next to this script
from PIL import Image

import realgrain
from realgrain.measuring.whole import write_whole

STARTING = 120  # seconds for a server to answer, on a machine that is busy with other things


class Server:
    """realgrain's own server on a free port of this machine, its data in a folder of its own. Use as a context manager."""

    def __init__(self, data: Path, *flags: str, bundle: Path | None = None) -> None:
        self._data, self._log = data, data.with_suffix(".log")
        self._command = [sys.executable, "-m", "realgrain", "serve", "--port", "0", "--data", str(data), "--rate", "1000000/second", *flags]
        if bundle is not None:
            self._command += ["--bundle", str(bundle)]
        self.process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, and wait until it listens.

        Raises:
            RuntimeError: it does not; the message holds its log.
        """
        path = os.pathsep.join([str(Path(realgrain.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": path})
        for _ in range(10 * STARTING):
            if found := re.search(rb"running on (http://[0-9.:]+)", self._log.read_bytes()):
                self.url = found[1].decode()
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        self.stop()
        raise RuntimeError(self._log.read_text(errors="replace"))

    def kill(self) -> None:
        """As ``kill -9``: nothing gets a chance to tidy up."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """As ``systemctl stop``."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)

    def errors(self) -> list[str]:
        """Lines of its log that tell of what went wrong in the server itself."""
        return [line for line in self._log.read_text(errors="replace").splitlines() if "ERROR" in line or "Traceback" in line]


def resident(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Bytes of memory of a process, and of its decoders: those of their own plus their share of what several use."""
    own = psutil.Process(process.pid)
    children = [child for child in own.children(recursive=True) if child.is_running()]
    total = 0
    for child in children:
        try:
            total += child.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return own.memory_full_info().pss, total


def picture(rng: np.random.Generator, kind: str = "JPEG", side: int = 640) -> bytes:
    """A picture of noise over slopes: no two are alike."""
    slope = np.linspace(0, 190, side)[None, :, None]
    pixels = (rng.integers(0, 60, (side, side, 3)) + slope).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def hostile(rng: np.random.Generator) -> dict[str, bytes]:
    """Files that a server must refuse, each by a name."""
    good, png = picture(rng), picture(rng, "PNG", 256)
    head = png[:16] + (40_000).to_bytes(4, "big") * 2 + png[24:29]
    bomb = head + zlib.crc32(head[12:]).to_bytes(4, "big") + png[33:]
    return {
        "empty": b"",
        "text": b"not a picture",
        "noise": rng.bytes(20_000),
        "page": b"<html><script>alert(1)</script></html>" + good,
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        "half": good[: len(good) // 2],
        "bomb": bomb,
        "tiny": picture(rng, "PNG", 8),
        "zip": b"PK\x03\x04" + rng.bytes(1000),
        "exe": b"MZ" + rng.bytes(1000),
    }


def add_detector(parser: argparse.ArgumentParser) -> None:
    """The options that say which detector a server has."""
    parser.add_argument("--bundle", type=Path, help="a bundle's folder; without it, the one that realgrain ships")
    parser.add_argument("--tiny", action="store_true", help="a detector on a tower of a few kilobytes instead, which is trained first (needs torch)")


def detector(options: argparse.Namespace, folder: Path) -> tuple[Path | None, str]:
    """The bundle that those options ask for, None for the shipped one, and what it is in words; one that is made is made in a folder."""
    if options.tiny:
        from bench_path import train_tiny  # pyrefly: ignore[missing-import] – next to this script

        train_tiny(folder)
        return folder / "bundle", "a detector on a tower of a few kilobytes"
    return options.bundle, "the detector given" if options.bundle else "the detector that realgrain ships"


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for a server's data, gone afterwards."""
    return tempfile.TemporaryDirectory(prefix="realgrain-serve-")


def conclude(found: dict[str, Any], output: Path, hidden: tuple[str, ...] = ()) -> None:
    """Write what was found and on which machine, print it but for what is ``hidden``, and end the process: with 0 where it has ``passed``, else 1."""
    report = {"machine": machine(), **found}
    write_whole(output, (json.dumps(report, indent=2) + "\n").encode())
    print(json.dumps({name: value for name, value in report.items() if name not in hidden}, indent=2))
    raise SystemExit(0 if report["passed"] else 1)


def post(client: httpx2.Client, data: bytes, name: str = "picture", path: str = "/v1/detect", **query: Any) -> httpx2.Response:
    """Send one picture as a form."""
    return client.post(path, params=query, files={"file": (name, data, "application/octet-stream")})
