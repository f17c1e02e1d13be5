"""A process that answers lines of JSON with lines of JSON, and ends when its input does."""

from __future__ import annotations

import json
import subprocess
from typing import Any, Self


class JsonWorker:
    """Use as a context manager; who inherits from it starts ``process``, with pipes of text.

    Attributes:
        process: the worker.
        name: what it is called when it ends early.
    """

    process: subprocess.Popen[str]
    name: str

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()

    def _receive(self) -> dict[str, Any]:
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise RuntimeError(f"{self.name} ended early with code {self.process.wait()}; see its message above")
        return json.loads(line)
