"""A real server for tests, and what is sent to it."""

import asyncio
import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx2

import realgrain
from realgrain.faces.server.guard import Guard
from realgrain.faces.server.worker import Task


def file_of(data: bytes, name: str = "a.png", field: str = "file"):
    return {field: (name, data, "application/octet-stream")}


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return file.getvalue()


def guarded(task: Task, talk, **options):
    """What a conversation with a guard of one worker gives, and the decoders that were lost in it."""
    lost: list[str] = []

    async def run():
        guard = Guard(task, **{"workers": 1, "seconds": 30, "waiting": 4, "lost": lost.append, **options})
        await guard.start()
        try:
            return await talk(guard), lost
        finally:
            await guard.stop()

    return asyncio.run(run())


@contextlib.contextmanager
def listening(app, connections: int = 512) -> Iterator[str]:
    """The address of an application that a real server in a thread of this process answers for."""
    import uvicorn

    from realgrain.faces.server.protocol import protocol

    config = uvicorn.Config(app, host="127.0.0.1", port=0, http=protocol(10, connections, app.full), ws="none", log_level="error")
    server = uvicorn.Server(config)
    with config.bind_socket() as bound:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.05)
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(60)


class Server:
    """A real server in a process of its own."""

    def __init__(self, bundle: Path, data: Path, *flags: str, env: dict[str, str] | None = None, port: int = 0) -> None:
        path = os.pathsep.join([str(Path(realgrain.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "realgrain", "serve", "--port", str(port), "--bundle", str(bundle), "--data", str(data), "--threads", "1"]
        self.log = data.with_suffix(".log")
        self._file = self.log.open("ab")
        start = self.log.stat().st_size
        options = {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, **(env or {})}
        self.process = subprocess.Popen([*command, "--workers", "1", *flags], stderr=self._file, stdout=self._file, env={**os.environ, **options})
        self.url = self._address(start)
        self.port = int(self.url.rpartition(":")[2])
        self.http = httpx2.Client(base_url=self.url, timeout=60, trust_env=False)

    def _address(self, start: int) -> str:
        for _ in range(600):
            if found := re.search(rb"running on (http://[0-9.:]+)", self.log.read_bytes()[start:]):
                return found[1].decode()
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        self.kill()
        raise RuntimeError(self.log.read_text())

    def kill(self) -> None:
        """As nobody should: nothing gets a chance to tidy up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        self.close()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
        self.close()

    def close(self) -> None:
        if hasattr(self, "http"):
            self.http.close()
        self._file.close()

    def wait_for(self, job: str, seconds: float = 60, **options) -> dict:
        for _ in range(int(10 * seconds)):
            status = self.http.get(f"/v1/jobs/{job}", **options).json()
            if status["state"] == "done":
                return status
            time.sleep(0.1)
        raise TimeoutError(status)
