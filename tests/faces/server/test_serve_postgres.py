"""The same jobs on a real PostgreSQL, which the test starts where it is installed; and what becomes of requests when it hangs."""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from hostile import encoded
from sqlalchemy import make_url
from starlette.testclient import TestClient

from realgrain.faces.server import postgres as bounded
from realgrain.faces.server.store import Store


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
        process.send_signal(signal.SIGINT)  # does not wait for its clients, of which one may have given up while it logged in
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
        again = {"files": [("files", ("a", b"x"))], "headers": {**headers, "Idempotency-Key": "0"}}
        assert server.http.post("/v1/batch?stability=false", **again).json()["id"] == jobs[0]
        assert server.http.post("/v1/batch", **again).json()["code"] == "other_request"
        assert server.http.delete(f"/v1/jobs/{jobs[0]}", headers=headers).status_code == 204
        assert not (data / "realgrain.db").exists()


class TestKept:
    @pytest.mark.parametrize("kept", [True, False])
    def test_a_transaction_that_goes_on_is_waited_for(self, postgres, kept):
        """A database that answers too late may keep a job after it was asked for it in vain, and then its uploads must still be there."""
        store, job = Store(postgres, "folder"), ("c" if kept else "d") * 32
        with psycopg.connect(postgres.replace("+psycopg", "")) as slow, ThreadPoolExecutor(1) as asking:
            slow.execute("INSERT INTO jobs (id, owner, key, asked, state, total, made) VALUES (%s, 'folder', 'k', '{}', 'done', 0, 0)", [job])
            said = asking.submit(store.keeps, job)
            time.sleep(0.3)
            assert not said.done() and store.job(job, None) is None
            slow.commit() if kept else slow.rollback()
            assert said.result(10) is kept
        assert (store.job(job, None) is not None) is kept
        store.close()


class TestHanging:
    """Times are short here; that they are kept is what counts."""

    @pytest.fixture
    def admin(self, postgres):
        with psycopg.connect(postgres.replace("+psycopg", ""), autocommit=True) as connection:
            yield connection

    @pytest.fixture
    def client(self, postgres, open_app, tmp_path, monkeypatch):
        for name, seconds in (("CONNECT", 2), ("STATEMENT", 1), ("ANSWER", 2), ("POOL", 1)):
            monkeypatch.setattr(bounded, name, seconds)
        with TestClient(open_app(data=tmp_path, database=postgres), base_url="http://localhost") as client:
            assert self.ask(client).status_code == 404
            yield client

    def ask(self, client):
        return client.get("/v1/jobs/" + "0" * 32)

    def is_away(self, client, seconds: float) -> None:
        begun = time.monotonic()
        answer = self.ask(client)
        assert (answer.status_code, answer.json()["code"]) == (503, "store_away") and answer.headers["retry-after"]
        assert time.monotonic() - begun < seconds
        assert client.get("/health").status_code == 200

    def test_a_statement_that_waits_for_a_lock(self, client, admin):
        with admin.transaction():
            admin.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
            self.is_away(client, 10)
        assert self.ask(client).status_code == 404

    def test_a_database_that_stands_still(self, client, admin):
        """Nothing in it answers, and its machine takes connections all the same."""
        found = admin.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()").fetchall()
        pids = [pid for (pid,) in found]
        status = Path(f"/proc/{pids[0]}/status").read_text()
        pids.append(int(status.partition("PPid:")[2].split()[0]))
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            self.is_away(client, 20)
            assert client.get("/ready").json()["parts"]["store"] is False
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        assert self.ask(client).status_code == 404

    def test_one_that_takes_no_writes(self, client, admin):
        """A standby, say, to which the address still leads."""
        admin.execute("ALTER ROLE realgrain SET default_transaction_read_only = on")
        client.app._app.state.service.store._engine.dispose()
        try:
            answer = client.post("/v1/batch", files=[("files", ("a.png", b"x"))])
            assert (answer.status_code, answer.json()["code"]) == (503, "store_away") and answer.headers["retry-after"]
            assert self.ask(client).status_code == 404, "what only reads goes on"
        finally:
            admin.execute("ALTER ROLE realgrain RESET default_transaction_read_only")
            client.app._app.state.service.store._engine.dispose()

    def test_no_connection_is_free(self, client):
        engine = client.app._app.state.service.store._engine
        held = []
        try:
            while len(held) < engine.pool.size() + engine.pool._max_overflow:
                held.append(engine.connect())
            self.is_away(client, 10)
        finally:
            for connection in held:
                connection.close()
        assert self.ask(client).status_code == 404

    def test_what_an_address_says_of_connecting_goes_first(self, postgres):
        engine = bounded.open_bounded(make_url(postgres + "?connect_timeout=77"))
        with engine.connect() as connection:
            said = connection.connection.driver_connection.info.get_parameters()
        engine.dispose()
        assert (said["connect_timeout"], said["keepalives_idle"]) == ("77", bounded.TCP["keepalives_idle"])
