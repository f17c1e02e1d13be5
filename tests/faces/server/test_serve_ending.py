"""What whoever runs a server relies on: how it begins, how it ends, and what it says when the disk or the database is gone."""

import contextlib
import errno
import json
import shutil
import signal
import sqlite3
import threading
import time

import httpx2
import pytest
from hostile import encoded
from serving import file_of
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.testclient import TestClient

from realgrain.faces.server.tables import StoreError

SECONDS = 60  # for a server to end, on a machine that is busy with other things


class TestBeginning:
    @pytest.mark.slow
    def test_a_folder_that_is_taken_is_said_in_a_line(self, start, run, bundle_folder, tmp_path):
        start(data=tmp_path / "data")
        second = run("-m", "realgrain", "serve", "--port", "0", "--bundle", bundle_folder, "--data", tmp_path / "data")
        assert second.returncode == 2
        assert second.stderr.strip() == f"realgrain: {tmp_path / 'data'}: another server uses this folder"

    @pytest.mark.slow
    def test_a_port_that_is_taken(self, start, run, bundle_folder, tmp_path):
        port = start().port
        second = run("-m", "realgrain", "serve", "--port", port, "--bundle", bundle_folder, "--data", tmp_path / "other")
        assert second.returncode == 2
        assert "address already in use" in second.stderr


class TestOtherDatabase:
    """A data folder and a database belong together: uploads of jobs that another one does not know would be deleted."""

    @pytest.fixture
    def waiting(self, tmp_path):
        """The data folder of a server that died with a job in line."""
        from realgrain.faces.server.service import open_store
        from realgrain.faces.server.settings import Settings
        from realgrain.faces.server.spool import Spool

        settings = Settings(data=tmp_path / "data")
        store = open_store(settings)
        staged = Spool(settings.data / "uploads", settings).stage()
        sink = staged.open("a.png")
        sink.write(encoded("PNG"))
        sink.close()
        staged.unpack()
        assert store.add_job(staged.job, "anonymous", "{}", None, staged.names, None)
        store.close()
        return settings.data, staged.job

    @pytest.mark.slow
    def test_a_start_with_another_one_is_refused_and_deletes_nothing(self, waiting, run, start, bundle_folder, tmp_path):
        data, job = waiting
        before = {path: path.is_file() and path.read_bytes() for path in data.rglob("*") if path.name != "realgrain.db"}
        wrong = f"sqlite:///{tmp_path / 'wrong.db'}?timeout=7"
        for command in (["serve", "--port", "0", "--bundle", bundle_folder], ["keys", "list"]):
            refused = run("-m", "realgrain", *command, "--data", data, "--database", wrong)
            assert refused.returncode == 2
            for words in (
                f"{data} belongs to",
                f"sqlite:///{data / 'realgrain.db'}",
                f"sqlite:///{tmp_path / 'wrong.db'}:",
                f"delete {data / 'store'}",
            ):
                assert words in refused.stderr
        after = {path: path.is_file() and path.read_bytes() for path in data.rglob("*") if path.name not in ("realgrain.db", "lock")}
        assert after == before
        assert start(data=data).wait_for(job)["failed"] == 0

    def test_to_leave_one_for_good(self, waiting, tmp_path):
        from realgrain.faces.server.service import open_store
        from realgrain.faces.server.settings import Settings

        data, _ = waiting
        other = Settings(data=data, database=f"sqlite:///{tmp_path / 'other.db'}")
        (data / "store").unlink()
        open_store(other).close()
        open_store(other).close()
        with pytest.raises(StoreError, match="belongs to the database"):
            open_store(Settings(data=data))

    def test_a_folder_and_a_database_of_an_earlier_version(self, waiting):
        """They have nothing of each other's: they get it."""
        from realgrain.faces.server.service import open_store
        from realgrain.faces.server.settings import Settings

        data, job = waiting
        (data / "store").unlink()
        with contextlib.closing(sqlite3.connect(data / "realgrain.db")) as database:
            database.execute("DROP TABLE identity")
        for _ in range(2):
            store = open_store(Settings(data=data))
            assert [name for name, _ in store.unfinished()] == [job]
            store.close()
        assert (data / "store").read_text().startswith(store.id)

    def test_a_folder_that_lost_its_name_deletes_nothing(self, waiting):
        from realgrain.faces.server.service import open_store
        from realgrain.faces.server.settings import Settings

        data, job = waiting
        (data / "name").unlink()
        with pytest.raises(StoreError, match="put it back from a backup"):
            open_store(Settings(data=data))
        assert (data / "uploads" / job / "0").is_file() and not (data / "name").exists()

    def test_a_password_is_not_written(self, monkeypatch, tmp_path):
        from realgrain.faces.server import service
        from realgrain.faces.server.settings import Settings

        class Anywhere:
            id = "1"

            def __init__(self, *_):
                pass

        monkeypatch.setattr(service, "Store", Anywhere)
        service.open_store(Settings(data=tmp_path, database="postgresql+psycopg://me:secret@host/name?sslpassword=secret"))
        assert (tmp_path / "store").read_text() == "1 postgresql+psycopg://me:***@host/name\n"


class TestEnding:
    @pytest.mark.slow
    def test_what_is_asked_is_answered_and_nothing_more_is_taken(self, start, tmp_path):
        server, answers = start("--drain", "3"), []
        body = file_of(encoded("PNG"))

        def ask():
            answers.append(httpx2.post(f"{server.url}/v1/detect", files=body, timeout=SECONDS, trust_env=False).status_code)

        ask()
        asking = threading.Thread(target=ask)
        asking.start()
        server.process.send_signal(signal.SIGTERM)
        deadline, ready = time.monotonic() + SECONDS, 200
        while ready == 200 and time.monotonic() < deadline:
            found = server.http.get("/ready")
            ready = found.status_code
        assert ready == 503 and not found.json()["parts"]["staying"]
        assert server.http.get("/health").status_code == 200, "it is alive, and must not be killed for leaving"
        ask()  # a balancer that has not looked yet
        asking.join(SECONDS)
        assert server.process.wait(SECONDS) == 0
        server.stop()
        assert answers == [200, 200, 200]
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{server.url}/health", trust_env=False)

    @pytest.mark.slow
    def test_without_a_drain_it_ends_at_once(self, start):
        server = start()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(SECONDS) == -signal.SIGTERM
        server.stop()
        assert "Traceback" not in server.log.read_text()


class TestTrouble:
    @pytest.fixture
    def broken(self, open_app, monkeypatch):
        """A server whose store raises what a test says; requests that fail do not raise here."""
        app = open_app()
        with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:

            def breaks(error):
                from realgrain.faces.server.store import Store

                def raises(*_, **__):
                    raise error

                monkeypatch.setattr(Store, "waiting", raises)
                return client.post("/v1/batch", files=file_of(encoded("PNG"), field="files"))

            yield breaks

    def test_disk_full(self, broken):
        answer = broken(OSError(errno.ENOSPC, "No space left on device"))
        assert (answer.status_code, answer.json()["code"]) == (503, "no_room") and answer.headers["retry-after"]

    def test_store_away(self, broken, caplog):
        answer = broken(OperationalError("SELECT ...", {"name": "secret.png"}, Exception("connection refused")))
        assert (answer.status_code, answer.json()["code"]) == (503, "store_away") and answer.headers["retry-after"]
        assert "connection refused" in caplog.text and "secret.png" not in caplog.text

    @pytest.mark.parametrize(
        "error",
        [
            PoolTimeout("no connection is free"),
            DisconnectionError("gone"),
            InterfaceError("", {}, Exception("closed")),
            InternalError("", {}, Exception("cannot execute INSERT in a read-only transaction")),
        ],
    )
    def test_store_away_in_other_words(self, broken, error):
        answer = broken(error)
        assert (answer.status_code, answer.json()["code"]) == (503, "store_away") and answer.headers["retry-after"]

    def test_another_process_that_writes_is_waited_for_and_not_for_long(self, open_app, tmp_path):
        with (
            TestClient(open_app(data=tmp_path), base_url="http://localhost") as client,
            contextlib.closing(sqlite3.connect(tmp_path / "realgrain.db", isolation_level=None)) as other,
        ):
            other.execute("BEGIN IMMEDIATE")
            begun = time.monotonic()
            answer = client.post("/v1/batch", files=file_of(encoded("PNG"), field="files"))
            assert (answer.status_code, answer.json()["code"]) == (503, "store_away")
            assert time.monotonic() - begun < 20
            assert list((tmp_path / "uploads").iterdir()) == [], "it was certainly not kept"
            assert client.get("/ready").json()["parts"]["store"]

    def test_connections_that_others_have_are_waited_for_and_not_for_long(self, open_app, tmp_path):
        with TestClient(open_app(data=tmp_path), base_url="http://localhost") as client, contextlib.ExitStack() as held:
            engine = client.app._app.state.service.store._engine
            for _ in range(engine.pool.size() + engine.pool._max_overflow):
                held.enter_context(engine.connect())
            begun = time.monotonic()
            assert client.get("/ready").status_code == 503
            assert time.monotonic() - begun < 20

    def test_a_database_that_has_no_room(self, open_app, tmp_path):
        with TestClient(open_app(data=tmp_path), base_url="http://localhost") as client:
            engine = client.app._app.state.service.store._engine

            @event.listens_for(engine, "connect")
            def _full(connection, _):
                connection.execute("PRAGMA max_page_count=1")  # no page more than there are

            engine.dispose()
            files = [("files", (f"{n}{'x' * 900}", b"x")) for n in range(40)]
            answer = client.post("/v1/batch", files=files)
            assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "no_room", "60")

    def test_other_faults_of_the_system_stay_faults_of_ours(self, broken):
        answer = broken(PermissionError(errno.EACCES, "no"))
        assert (answer.status_code, answer.json()["code"]) == (500, "internal")

    def test_errors_of_the_store_do_not_tell_what_was_stored(self, tmp_path):
        from sqlalchemy import insert

        from realgrain.faces.server.tables import METADATA, items, open_engine

        engine = open_engine(f"sqlite:///{tmp_path / 'a.db'}")
        METADATA.create_all(engine)
        row = {"job": "none", "n": 0, "name": "secret.png", "tries": 0}
        with pytest.raises(Exception, match="FOREIGN KEY") as found, engine.begin() as connection:
            connection.execute(insert(items).values(**row))
        assert "secret.png" not in str(found.value)
        engine.dispose()


class TestPassword:
    def test_it_comes_out_of_a_file(self, tmp_path):
        from realgrain.faces.serve_cli import _address

        file = tmp_path / "password"
        file.write_text("p@ss:w/rd\n")
        assert _address("postgresql+psycopg://user@host/name", file) == "postgresql+psycopg://user:p%40ss%3Aw%2Frd@host/name"
        assert _address("sqlite:///a.db", None) == "sqlite:///a.db"

    @pytest.mark.parametrize(
        ("database", "text", "words"), [(None, "x", "no --database"), ("a://b", "\n", "no password in it"), ("none", "x", "URL")]
    )
    def test_refused(self, tmp_path, database, text, words):
        from realgrain.faces.serve_cli import _address

        file = tmp_path / "password"
        file.write_text(text)
        with pytest.raises(ValueError, match=words):
            _address(database, file)

    def test_variables_do_what_flags_do(self, run, tmp_path):
        variables = {"REALGRAIN_DATA": str(tmp_path / "here"), "REALGRAIN_DATABASE": f"sqlite:///{tmp_path / 'there.db'}"}
        assert run("-m", "realgrain", "keys", "add", "desk", env=variables).returncode == 0
        assert (tmp_path / "here" / "webhook.secret").is_file() and (tmp_path / "there.db").is_file()
        listed = run("-m", "realgrain", "keys", "list", "--data", tmp_path / "here", "--database", variables["REALGRAIN_DATABASE"])
        assert "desk" in listed.stdout


class TestMetrics:
    def test_what_runs_and_what_room_there_is(self, client):
        text = client.get("/metrics").text
        bundle = json.loads(client.get("/v1/model").text)["bundle"]
        assert f'bundle="{bundle}"' in next(line for line in text.splitlines() if line.startswith("realgrain_build_info{"))
        assert float(next(line for line in text.splitlines() if line.startswith("realgrain_data_free_bytes ")).split()[1]) > 0


class TestRoom:
    def test_jobs_that_go_while_uploads_are_counted(self, tmp_path):
        from realgrain.faces.server.spool import _sizes

        for name in "abc":
            (tmp_path / name).mkdir()
            (tmp_path / name / "0").write_bytes(b"four")
        sizes = _sizes(tmp_path)
        assert next(sizes) == 4
        for folder in list(tmp_path.iterdir()):
            shutil.rmtree(folder)
        assert list(sizes) == []
