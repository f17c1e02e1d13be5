"""The committed ledger of results: a figure never stands without the command, the data and the versions that made it."""

from __future__ import annotations

import json
import logging
import os
import platform
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from realgrain.detector.weights import file_sha256
from realgrain.measuring.whole import write_whole

log = logging.getLogger(__name__)

PACKAGES = ("realgrain", "numpy", "pillow", "onnxruntime", "openvino", "torch", "transformers", "scikit-learn")


def processor() -> str:
    """Model name of this machine's processor, as far as the platform tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _program() -> str:
    """What was run, as someone else would type it."""
    script = Path(sys.argv[0])
    return f"python benchmarks/{script.name}" if script.parent.name == "benchmarks" else "realgrain"


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those packages that are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def run_info(inputs: list[Path]) -> dict[str, Any]:
    """Command, day, machine, versions, and the sha256 of each input file, by its name, or by its path where others have the same name."""
    names = Counter(path.name for path in inputs)
    return {
        "command": f"{_program()} {shlex.join(sys.argv[1:])}",
        "day": datetime.now(UTC).date().isoformat(),
        "processor": processor(),
        "python": platform.python_version(),
        "versions": versions(PACKAGES),
        "inputs": {path.name if names[path.name] == 1 else str(path): file_sha256(path) for path in inputs},
    }


def write_result(path: Path, result: BaseModel, inputs: list[Path]) -> None:
    """Write ``{"run": ..., "result": ...}`` at once, or not at all."""
    content = json.dumps({"run": run_info(inputs), "result": result.model_dump(mode="json")}, indent=1) + "\n"
    write_whole(path, content.encode())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Lines of a ledger of JSON lines; none where there is no file. A line that a kill has torn is named on the log and left out."""
    found = []
    for number, line in enumerate(path.read_text().split("\n") if path.exists() else [], 1):
        try:
            found += [json.loads(line)] if line else []
        except json.JSONDecodeError:
            log.warning("%s, line %d: torn, left out", path, number)
    return found


def unseeded(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings but the seed: what the runs of one setting share."""
    return {name: value for name, value in settings.items() if name != "tuning.seed"}


def append_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Add lines in one write, so that a kill leaves all or, but for a torn one, none of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torn = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
    with path.open("a") as file:
        file.write(("\n" if torn else "") + "".join(json.dumps(line) + "\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())
