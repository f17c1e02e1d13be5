"""The same jobs on a real PostgreSQL, which the test starts where it is installed."""

import json
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from hostile import encoded


def program(name: str) -> str | None:
    newest = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(newest[-1]) if newest else None)


@pytest.fixture(scope="module")
def postgres():
    """Address of a server of its own, on a free port of this machine."""
    initdb, server = program("initdb"), program("postgres")
    if initdb is None or server is None:
        pytest.skip("PostgreSQL is not installed: initdb and postgres")
    folder = Path(tempfile.mkdtemp(prefix="realgrain-pg-"))
    as_other = {}
    if os.getuid() == 0:  # it refuses to run as root
        names = {entry.pw_name for entry in pwd.getpwall()}
        owner = "postgres" if "postgres" in names else "nobody"
        shutil.chown(folder, owner)
        as_other = {"user": owner}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"
    log = (folder.parent / f"{folder.name}.log").open("wb")
    quiet = {"stdout": log, "stderr": log, "cwd": folder, **as_other}
    subprocess.run([initdb, "-D", data, "-U", "realgrain", "--auth=trust", "--no-sync"], check=True, timeout=120, **quiet)
    process = subprocess.Popen([server, "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-k", folder], **quiet)
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        time.sleep(0.5)
        yield f"postgresql+psycopg://realgrain@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.wait(30)
        log.close()
        Path(log.name).unlink()
        shutil.rmtree(folder, ignore_errors=True)


class TestPostgres:
    @pytest.mark.slow
    def test_jobs_keys_and_a_kill(self, postgres, start, run, tmp_path):
        data = tmp_path / "data"
        made = run("-m", "realgrain", "keys", "add", "desk", "--data", data, "--database", postgres)
        assert made.returncode == 0, made.stderr
        headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
        server = start("--database", postgres, "--rate", "100000/minute")
        assert server.http.get("/v1/model").status_code == 401
        jobs = []
        for _ in range(4):
            files = [("files", ("a.png", encoded("PNG"))), ("files", ("b\0", b"none"))]  # PostgreSQL keeps no NUL
            answer = server.http.post("/v1/batch?stability=false", files=files, headers={**headers, "Idempotency-Key": str(len(jobs))})
            jobs.append(answer.json()["id"])
        server.kill()
        server = start("--database", postgres, "--rate", "100000/minute")
        for job in jobs:
            status = server.wait_for(job, headers=headers)
            assert (status["total"], status["done"], status["failed"]) == (2, 2, 1)
            found = [json.loads(line) for line in server.http.get(f"/v1/jobs/{job}/results", headers=headers).text.splitlines()]
            assert "report" in found[0] and found[1]["problem"]["code"] == "unknown_format"
        again = server.http.post("/v1/batch", files=[("files", ("a", b"x"))], headers={**headers, "Idempotency-Key": "0"})
        assert again.json()["id"] == jobs[0]
        assert server.http.delete(f"/v1/jobs/{jobs[0]}", headers=headers).status_code == 204
        assert not (data / "realgrain.db").exists()
