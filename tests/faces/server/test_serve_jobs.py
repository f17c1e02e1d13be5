"""Jobs: many pictures, zips, results in both forms, webhooks, and what survives a kill."""

import asyncio
import base64
import hashlib
import hmac
import io
import json
import os
import socket
import struct
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow.parquet as pq
import pytest
from hostile import encoded
from serving import Server, file_of, zipped
from sqlalchemy.exc import OperationalError

from realgrain.faces.server import jobs, webhooks
from realgrain.faces.server.jobs import TRIES
from realgrain.faces.server.problems import busy
from realgrain.faces.server.tables import Delivery
from realgrain.faces.server.webhooks import Webhooks, secret_of, signature


def files_of(*pictures: tuple[str, bytes]):
    return [("files", picture) for picture in pictures]


def wait_for(client, job: str) -> dict:
    for _ in range(600):
        status = client.get(f"/v1/jobs/{job}").json()
        if status["state"] == "done":
            return status
        time.sleep(0.05)
    raise TimeoutError(status)


def results(client, job: str) -> list[dict]:
    return [json.loads(line) for line in client.get(f"/v1/jobs/{job}/results").text.splitlines()]


def send(client, data: bytes, **options):
    return client.post("/v1/batch?stability=false", content=data, headers={"Content-Type": "application/zip"}, **options)


class TestBatch:
    def test_each_picture_has_its_report_or_its_problem(self, client):
        good = encoded("PNG", (256, 256))
        answer = client.post("/v1/batch?stability=false", files=files_of(("a.png", good), ("b.txt", b"text"), ("c.jpg", encoded("JPEG"))))
        assert answer.status_code == 202
        job = answer.json()["id"]
        assert answer.headers["location"] == f"/v1/jobs/{job}"
        status = wait_for(client, job)
        assert (status["total"], status["done"], status["failed"]) == (3, 3, 1)
        found = results(client, job)
        assert [one["name"] for one in found] == ["a.png", "b.txt", "c.jpg"]
        assert json.dumps(found[0]["report"]) == json.dumps(client.post("/v1/detect?stability=false", files=file_of(good)).json())
        assert found[1]["problem"]["code"] == "unknown_format" and "report" not in found[1]

    def test_results_as_a_table(self, client):
        job = client.post("/v1/batch?stability=false", files=files_of(("a.png", encoded("PNG")), ("b", b""))).json()["id"]
        wait_for(client, job)
        lines = results(client, job)
        for ask in ({"params": {"format": "parquet"}}, {"headers": {"Accept": "application/vnd.apache.parquet"}}):
            rows = pq.read_table(io.BytesIO(client.get(f"/v1/jobs/{job}/results", **ask).content)).to_pylist()
            assert [row["logit"] for row in rows] == [lines[0]["report"]["logit"], None]
            assert [row["error"] for row in rows] == [None, "empty"]
            assert json.loads(rows[0]["report"]) == lines[0]["report"]
        refused = client.get(f"/v1/jobs/{job}/results", headers={"Accept": "text/csv"})
        assert refused.status_code == 406 and refused.json()["code"] == "not_acceptable"

    def test_uploads_are_gone_when_the_job_has_ended(self, open_app, tmp_path):
        from starlette.testclient import TestClient

        with TestClient(open_app(data=tmp_path), base_url="http://localhost") as client:
            job = client.post("/v1/batch?stability=false", files=files_of(("a", encoded("PNG", (200, 200))))).json()["id"]
            wait_for(client, job)
            assert list((tmp_path / "uploads").iterdir()) == []
            marker = encoded("PNG", (200, 200))[60:100]
            assert not any(marker in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())

    def test_a_refused_batch_leaves_nothing(self, open_app, tmp_path):
        from starlette.testclient import TestClient

        with TestClient(open_app(data=tmp_path, batch_files=2, batch_bytes=100_000), base_url="http://localhost") as client:
            many = client.post("/v1/batch", files=files_of(*[(str(n), b"x") for n in range(3)]))
            assert many.status_code == 413 and many.json()["code"] == "too_many_files"
            large = client.post("/v1/batch", files=files_of(("a", b"x" * 100_001)))
            assert large.status_code == 413 and large.json()["code"] == "too_many_bytes"
            assert send(client, zipped(("a", os.urandom(70_000)))).status_code == 202  # the zip and what is in it do not both count
            zipped_many = send(client, zipped(*[(str(n), b"x") for n in range(3)]))
            assert zipped_many.status_code == 413 and zipped_many.json()["code"] == "too_many_files"
            assert list((tmp_path / "uploads").iterdir()) == []

    def test_delete_forgets(self, client):
        job = client.post("/v1/batch?stability=false", files=files_of(("a", encoded("PNG")))).json()["id"]
        assert client.delete(f"/v1/jobs/{job}").status_code == 204
        for path in (f"/v1/jobs/{job}", f"/v1/jobs/{job}/results"):
            assert client.get(path).status_code == 404

    def test_the_same_request_again_is_the_same_job(self, client):
        def ask(once: str) -> str:
            files = files_of(("a", encoded("PNG")))
            return client.post("/v1/batch?stability=false", files=files, headers={"Idempotency-Key": once}).json()["id"]

        assert ask("one") == ask("one") != ask("two")

    def test_an_empty_name_for_a_request_is_none(self, client):
        """A script whose variable is empty would get the results of its first pictures for all others."""
        answer = client.post("/v1/batch?stability=false", files=files_of(("a", encoded("PNG"))), headers={"Idempotency-Key": ""})
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_option")

    def test_a_name_of_a_request_with_other_options(self, client):
        def ask(query, **headers):
            return client.post(f"/v1/batch?{query}", files=files_of(("a", encoded("PNG"))), headers={"Idempotency-Key": "other", **headers})

        first = ask("stability=false")
        assert ask("stability=false").json()["id"] == first.json()["id"]
        for again in (ask("stability=false&profile=photo"), ask("stability=false", **{"Webhook-URL": "http://1.1.1.1/"})):
            assert (again.status_code, again.json()["code"]) == (422, "other_request")

    def test_results_of_a_job_that_goes_on(self, client):
        job = client.post("/v1/batch", files=files_of(*[(str(n), encoded("PNG", (400, 400))) for n in range(12)])).json()["id"]
        answer = client.get(f"/v1/jobs/{job}/results")
        assert answer.status_code == 409 and answer.json()["code"] == "not_ended"
        client.delete(f"/v1/jobs/{job}")


class TestZips:
    def test_pictures_in_a_zip(self, client):
        inside = zipped(("inner.png", encoded("PNG")))
        names = [("a/b.png", encoded("PNG")), ("a/", b""), ("__MACOSX/._b.png", b"x"), ("nested.zip", inside)]
        job = send(client, zipped(*names)).json()["id"]
        wait_for(client, job)
        found = results(client, job)
        assert [one["name"] for one in found] == ["batch.zip/a/b.png", "batch.zip/nested.zip"]
        assert found[1]["problem"]["status"] == 415  # a zip in a zip is not opened: no depth, no bomb of depth

    def test_zip_slip(self, open_app, tmp_path):
        from starlette.testclient import TestClient

        names = ["../../../evil.png", "/etc/evil.png", "..\\..\\evil.png", "C:\\evil.png", "a/\x00b.png", "\x1b[31m.png"]
        data = tmp_path / "deep" / "data"
        with TestClient(open_app(data=data), base_url="http://localhost") as client:
            job = send(client, zipped(*[(name, encoded("PNG")) for name in names])).json()["id"]
            assert wait_for(client, job)["failed"] == 0
            shown = [one["report"]["picture"]["name"] for one in results(client, job)]
        assert all(name.isprintable() for name in shown)
        assert list(tmp_path.rglob("*evil*")) == []

    def test_bombs(self, client):
        bomb = send(client, zipped(("a.png", bytes(30_000_000))))
        assert bomb.status_code == 422 and bomb.json()["code"] == "zip_bomb"
        one = zipped(("a.png", encoded("PNG", (300, 300))))
        overlapping = bytearray(one)
        at = one.rindex(b"PK\1\2")
        end = one.rindex(b"PK\5\6")
        entry = one[at:end]
        overlapping[at:end] = entry * 50
        tail = at + 50 * len(entry)
        overlapping[tail + 8 : tail + 12] = (50).to_bytes(2, "little") * 2
        overlapping[tail + 12 : tail + 16] = (50 * len(entry)).to_bytes(4, "little")
        answer = send(client, bytes(overlapping))
        assert answer.status_code == 422 and answer.json()["code"] in ("zip_bomb", "bad_zip")

    @pytest.mark.parametrize(
        "junk",
        [b"", b"PK\3\4", b"PK\5\6" + bytes(18), b"PK\3\4" + b"a" * 1000, zipped(("a", b"x"))[:-10]],
        ids=["empty", "start", "end", "no-directory", "cut"],  # a zip holds the time: its bytes name no test
    )
    def test_broken(self, client, junk):
        answer = send(client, junk)
        assert answer.status_code == 422 and answer.json()["code"] in ("bad_zip", "no_file"), answer.text

    def test_the_64_bit_form_is_seen_behind_the_longest_comment(self, client):
        """Python reads the directory that the 64-bit end names, of any size, whatever the ordinary end says."""
        plain = zipped(("a.png", encoded("PNG")))
        at = plain.rindex(b"PK\5\6")
        start, size = struct.unpack_from("<L", plain, at + 16)[0], struct.unpack_from("<L", plain, at + 12)[0]
        large = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, size, start)
        locator = struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
        end = plain[at : at + 20] + struct.pack("<H", 0xFFFF) + b" " * 0xFFFF
        data = plain[:at] + large + locator + end
        assert zipfile.ZipFile(io.BytesIO(data)).namelist() == ["a.png"]
        answer = send(client, data)
        assert answer.status_code == 422 and "64-bit" in answer.json()["detail"]

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_packings_that_can_ask_for_any_memory(self, client, method):
        answer = send(client, zipped(("a.png", encoded("PNG")), method=method))
        assert answer.status_code == 422 and answer.json()["code"] == "bad_zip"


class Receiver:
    """Takes webhooks; refuses the first few."""

    def __init__(self, refuse: int = 0) -> None:
        self.got: list[tuple[dict, bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((dict(self.headers), body))
                self.send_response(500 if len(outer.got) <= refuse else 204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, count: int, seconds: float = 30) -> None:
        for _ in range(int(seconds * 20)):
            if len(self.got) >= count:
                return
            time.sleep(0.05)
        raise TimeoutError(f"{len(self.got)} webhooks")


@pytest.fixture
def receiver():
    made = []

    def make(**options) -> Receiver:
        made.append(Receiver(**options))
        return made[-1]

    yield make
    for one in made:
        one.server.shutdown()
        one.server.server_close()


class TestWebhooks:
    def test_signed_and_tried_again_under_the_same_id(self, open_app, receiver, tmp_path):
        from starlette.testclient import TestClient

        hooks = receiver(refuse=2)
        app = open_app(data=tmp_path, private_hosts=(hooks.host,), webhook_delays=(0.1, 0.1, 0.1))
        with TestClient(app, base_url="http://localhost") as client:
            headers = {"Webhook-URL": f"http://{hooks.host}/done"}
            job = client.post("/v1/batch?stability=false", files=files_of(("a", encoded("PNG"))), headers=headers).json()["id"]
            hooks.wait(3)
            time.sleep(0.7)
        assert len(hooks.got) == 3
        assert len({headers["Webhook-Id"] for headers, _ in hooks.got}) == 1
        assert len({body for _, body in hooks.got}) == 1
        headers, body = hooks.got[0]
        said = json.loads(body)
        assert said["type"] == "job.ended" and said["data"]["id"] == job and said["data"]["state"] == "done" and said["data"]["done"] == 1
        secret = base64.b64decode(secret_of((tmp_path / "webhook.secret").read_bytes(), "anonymous").removeprefix("whsec_"))
        signed = f"{headers['Webhook-Id']}.{headers['Webhook-Timestamp']}.".encode() + body
        own = "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
        assert headers["Webhook-Signature"] == own
        assert (tmp_path / "webhook.secret").stat().st_mode & 0o77 == 0

    def test_known_signature(self):
        """The example of the Standard Webhooks specification's own libraries."""
        body = b'{"test": 2432232314}'
        found = signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
        assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    def test_given_up_in_the_end(self, open_app, receiver, tmp_path):
        from starlette.testclient import TestClient

        hooks = receiver(refuse=99)
        app = open_app(data=tmp_path, private_hosts=(hooks.host,), webhook_delays=(0.05,))
        with TestClient(app, base_url="http://localhost") as client:
            headers = {"Webhook-URL": f"http://{hooks.host}/"}
            client.post("/v1/batch?stability=false", files=files_of(("a", encoded("PNG"))), headers=headers)
            hooks.wait(2)
            time.sleep(0.8)
            assert 'realgrain_webhooks_total{outcome="given_up"} 1.0' in client.get("/metrics").text
        assert len(hooks.got) == 2

    def test_a_slow_receiver_keeps_nobody_elses_waiting(self, open_app, receiver, tmp_path):
        from starlette.testclient import TestClient

        hooks = receiver()
        with socket.create_server(("127.0.0.1", 0)) as slow:  # takes connections and never answers
            asleep = f"127.0.0.1:{slow.getsockname()[1]}"
            app = open_app(data=tmp_path, private_hosts=(hooks.host, asleep), fetch_seconds=60)
            with TestClient(app, base_url="http://localhost") as client:
                for n in range(6):
                    headers = {"Webhook-URL": f"http://{asleep}/{n}"}
                    job = client.post("/v1/batch?stability=false", files=files_of(("a", b"x")), headers=headers).json()["id"]
                    wait_for(client, job)
                headers = {"Webhook-URL": f"http://{hooks.host}/"}
                job = client.post("/v1/batch?stability=false", files=files_of(("a", b"x")), headers=headers).json()["id"]
                wait_for(client, job)
                hooks.wait(1, seconds=20)
                time.sleep(1)
                assert len(client.app._app.state.service.webhooks._under_way) == webhooks.EACH
        assert len(hooks.got) == 1

    @pytest.mark.parametrize(
        ("url", "status"),
        [("http://127.0.0.1/", 403), ("http://169.254.169.254/", 403), ("http://10.1.2.3:8080/", 403), ("file:///a", 422), ("x", 422)],
    )
    def test_no_way_into_the_servers_network(self, client, url, status):
        answer = client.post("/v1/batch", files=files_of(("a", b"x")), headers={"Webhook-URL": url})
        assert answer.status_code == status, answer.text


def accept_many(server: Server, jobs: int, each: int, hook: str) -> list[str]:
    picture = encoded("PNG", (128, 128))
    made = []
    for _ in range(jobs):
        files = files_of(*[(f"{n}.png", picture) for n in range(each)])
        answer = server.http.post("/v1/batch?stability=false", files=files, headers={"Webhook-URL": hook})
        assert answer.status_code == 202, answer.text
        made.append(answer.json()["id"])
    return made


class TestKill:
    @pytest.mark.slow
    def test_nothing_is_lost_and_nothing_ends_twice(self, start, receiver):
        hooks = receiver()
        flags = ("--private-host", hooks.host, "--rate", "100000/minute")
        server = start(*flags)
        jobs = accept_many(server, 8, 3, f"http://{hooks.host}/")
        server.kill()
        for _ in range(2):  # also while it catches up
            server = start(*flags)
            time.sleep(0.5)
            server.kill()
        server = start(*flags)
        for job in jobs:
            status = server.wait_for(job)
            assert (status["total"], status["done"], status["failed"]) == (3, 3, 0)
            found = [json.loads(line) for line in server.http.get(f"/v1/jobs/{job}/results").text.splitlines()]
            assert [one["n"] for one in found] == [0, 1, 2] and all("report" in one for one in found)
        ended = lambda: {json.loads(body)["data"]["id"] for _, body in list(hooks.got)}  # noqa: E731
        for _ in range(100):
            if ended() == set(jobs):
                break
            time.sleep(0.1)
        assert ended() == set(jobs)
        ids = {}
        for headers, body in hooks.got:
            ids.setdefault(json.loads(body)["data"]["id"], set()).add(headers["Webhook-Id"])
        assert all(len(found) == 1 for found in ids.values())
        assert list((server.log.with_suffix("") / "uploads").iterdir()) == []

    def test_one_that_takes_the_server_down_each_time_is_given_up(self, open_app, tmp_path):
        from starlette.testclient import TestClient

        from realgrain.faces.server.service import open_store
        from realgrain.faces.server.settings import Settings
        from realgrain.faces.server.spool import Spool

        settings = Settings(data=tmp_path)
        store = open_store(settings)
        staged = Spool(tmp_path / "uploads", settings).stage()
        sink = staged.open("poison.png")
        sink.write(encoded("PNG"))
        sink.close()
        staged.unpack()
        assert store.add_job(staged.job, "anonymous", "{}", None, staged.names, None)
        for _ in range(TRIES):
            assert store.begin_item(staged.job, 0) is not None  # and then the process died
        store.close()
        with TestClient(open_app(data=tmp_path), base_url="http://localhost") as client:
            wait_for(client, staged.job)
            assert results(client, staged.job)[0]["problem"]["code"] == "given_up"

    def test_a_busy_server_uses_up_no_tries(self, open_app, tmp_path, monkeypatch):
        """For want of a decoder a picture is not judged now; that says nothing of it, however often."""
        from starlette.testclient import TestClient

        monkeypatch.setattr(jobs, "TRIES", 1)
        report, refused = jobs.Jobs._report, []

        async def busy_at_first(*given):
            if len(refused) < 2:
                refused.append(given)
                raise busy("no decoder could be started", 5)
            return await report(*given)

        monkeypatch.setattr(jobs.Jobs, "_report", busy_at_first)
        with TestClient(open_app(data=tmp_path), base_url="http://localhost") as client:
            job = client.post("/v1/batch?stability=false", files=files_of(("a.png", encoded("PNG", (128, 128))))).json()["id"]
            assert wait_for(client, job)["failed"] == 0
        assert len(refused) == 2

    def test_two_servers_do_not_share_a_folder(self, open_app, tmp_path):
        from starlette.testclient import TestClient

        with TestClient(open_app(data=tmp_path)), pytest.raises(RuntimeError, match="another server"), TestClient(open_app(data=tmp_path)):
            pass


class TestStoreAway:
    """A store that fails once: nothing hangs, nothing is lost."""

    def run(self, folder, once, talk, times=1):
        """A job of one picture, with a store whose method of this name fails so many times at first; what is kept of it, when it has ended or
        the conversation says that there is nothing to wait for."""
        from realgrain.faces.server.jobs import Jobs
        from realgrain.faces.server.service import open_store
        from realgrain.faces.server.settings import Settings
        from realgrain.faces.server.spool import Spool

        settings, failed = Settings(data=folder), []
        store, spool = open_store(settings), Spool(folder / "uploads", settings)
        look = store.job

        async def judge(data: bytes, name: str, asked: str) -> str:
            if once is not None:
                name, work = once, getattr(store, once)

                def fail(*arguments):
                    if len(failed) < times:
                        failed.append(1)
                        raise OperationalError("", {}, Exception("away"))
                    return work(*arguments)

                setattr(store, name, fail)
            return "{}"

        async def run():
            jobs = Jobs(store, spool, judge, width=1, keep_days=1)
            await jobs.start()
            staged = spool.stage()
            sink = staged.open("a")
            sink.write(b"x")
            sink.close()
            staged.unpack()
            over = await talk(jobs, staged, store)
            for _ in range(0 if over else 200):
                if (found := look(staged.job, None)) is not None and found.state == "done":
                    break
                await asyncio.sleep(0.05)
            await jobs.stop()
            assert not list((folder / "uploads").iterdir())
            return look(staged.job, None)

        try:
            return asyncio.run(run())
        finally:
            store.close()

    @pytest.mark.parametrize("method", ["job", "end_item", "end_job"])
    def test_at_the_end_of_a_job(self, tmp_path, method):
        async def talk(jobs, staged, store):
            await jobs.accept(staged, "key", "{}", None, None)

        assert self.run(tmp_path, method, talk).state == "done"

    def test_an_outcome_that_is_not_taken_costs_no_try(self, tmp_path, monkeypatch):
        monkeypatch.setattr(jobs, "AGAIN", 0.01)

        async def talk(jobs, staged, store):
            await jobs.accept(staged, "key", "{}", None, None)

        found = self.run(tmp_path, "end_item", talk, times=TRIES + 3)
        assert (found.done, found.failed) == (1, 0)

    @pytest.mark.parametrize("method", ["begin_item", "end_item", "end_job"])
    def test_trouble_that_lasts_is_one_line_of_the_log(self, tmp_path, monkeypatch, caplog, method):
        monkeypatch.setattr(jobs, "AGAIN", 0.01)

        async def talk(jobs, staged, store):
            begin, failed = getattr(store, method), []

            def away(*given):
                if len(failed) < 4:
                    failed.append(1)
                    raise OperationalError("", {}, Exception("database or disk is full"))
                return begin(*given)

            setattr(store, method, away)
            await jobs.accept(staged, "key", "{}", None, None)

        assert self.run(tmp_path, None, talk).state == "done"
        (said,) = caplog.messages
        assert "tried again" in said and said.endswith("database or disk is full") and "\n" not in said
        assert caplog.records[0].exc_info is None

    def test_a_webhook_that_came_is_not_sent_again_because_the_store_is_away(self):
        sent, written = [], []
        delivery = Delivery(id="msg_1", job="a", key="k", url="http://x/", body="{}", tries=0)

        class Away:
            def due(self, *_):
                return [] if len(written) == 3 else [delivery]

            def tried(self, *given):
                written.append(given)
                if len(written) < 3:
                    raise OperationalError("", {}, Exception("away"))

        class Receiver:
            async def post(self, *given):
                sent.append(given)
                return 204

        async def run():
            told = []
            hooks = Webhooks(Away(), Receiver(), b"secret", (0.1,), told.append)
            await hooks.start()
            while not told:
                hooks.wake()
                await asyncio.sleep(0.01)
            await hooks.stop()
            return told

        assert asyncio.run(run()) == ["delivered"]
        assert (len(sent), len(written), written[-1][1:]) == (1, 3, ("status 204", None))

    def test_a_job_that_could_not_be_forgotten_goes_on(self, tmp_path):
        async def talk(jobs, staged, store):
            def away(job):
                raise OperationalError("", {}, Exception("away"))

            store.forget, let = away, asyncio.Event()
            judge = jobs._judge

            async def wait(*given):
                await let.wait()
                return await judge(*given)

            jobs._judge = wait
            await jobs.accept(staged, "key", "{}", None, None)
            with pytest.raises(OperationalError):
                await jobs.forget(staged.job)
            let.set()

        assert self.run(tmp_path, None, talk).done == 1

    def test_a_job_that_another_server_deleted_leaves_nothing(self, tmp_path):
        async def talk(jobs, staged, store):
            begin = store.begin_item

            def begin_too_late(*given):
                store.forget(staged.job)
                return begin(*given)

            store.begin_item = begin_too_late
            await jobs.accept(staged, "key", "{}", None, None)
            for _ in range(100):
                if not list((tmp_path / "uploads").iterdir()):
                    break
                await asyncio.sleep(0.05)
            return True

        assert self.run(tmp_path, None, talk) is None

    def test_who_gives_up_while_a_job_is_accepted_loses_nothing(self, tmp_path):
        async def talk(jobs, staged, store):
            add, began = store.add_job, threading.Event()

            def slow(*arguments):
                began.set()
                time.sleep(0.3)
                return add(*arguments)

            store.add_job = slow
            asking = asyncio.create_task(jobs.accept(staged, "key", "{}", None, None))
            await asyncio.to_thread(began.wait)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking

        assert self.run(tmp_path, None, talk).done == 1

    @pytest.mark.parametrize("kept", [True, False])
    def test_an_answer_that_never_came(self, tmp_path, kept):
        """The database went away while it was asked: the job is there if it kept it, and leaves nothing if it did not."""

        async def talk(jobs, staged, store):
            add = store.add_job

            def torn(*arguments):
                if kept:
                    add(*arguments)
                raise OperationalError("", {}, Exception("away"))

            store.add_job = torn
            if kept:
                assert await jobs.accept(staged, "key", "{}", None, None) == staged.job
            else:
                with pytest.raises(OperationalError):
                    await jobs.accept(staged, "key", "{}", None, None)
            return not kept

        found = self.run(tmp_path, None, talk)
        assert found.done == 1 if kept else found is None

    @pytest.mark.parametrize("kept", [True, False])
    def test_an_answer_that_never_came_and_none_to_what_became_of_it(self, tmp_path, kept, monkeypatch):
        """It is asked until it answers; a job that it kept must not stand still until the next start."""
        monkeypatch.setattr(jobs, "AGAIN", 0.05)

        async def talk(jobs, staged, store):
            add, keeps, asked = store.add_job, store.keeps, []

            def torn(*arguments):
                if kept:
                    add(*arguments)
                raise OperationalError("", {}, Exception("away"))

            def away_at_first(job):
                asked.append(job)
                if len(asked) < 3:
                    raise OperationalError("", {}, Exception("away"))
                return keeps(job)

            store.add_job, store.keeps = torn, away_at_first
            with pytest.raises(OperationalError):
                await jobs.accept(staged, "key", "{}", None, None)
            assert list((tmp_path / "uploads").iterdir())
            while len(asked) < 3 or (not kept and list((tmp_path / "uploads").iterdir())):
                await asyncio.sleep(0.02)
            return not kept

        found = self.run(tmp_path, None, talk)
        assert found.done == 1 if kept else found is None


class TestLimits:
    def test_jobs_of_a_key(self, open_app, tmp_path):
        from starlette.testclient import TestClient

        with TestClient(open_app(data=tmp_path, jobs_waiting=1), base_url="http://localhost") as client:
            files = files_of(*[(str(n), encoded("PNG", (400, 400))) for n in range(16)])
            first = client.post("/v1/batch", files=files, headers={"Idempotency-Key": "1"})
            second = client.post("/v1/batch", files=files)
            assert (first.status_code, second.status_code, second.json()["code"]) == (202, 429, "too_many_jobs")
            again = client.post("/v1/batch", files=files, headers={"Idempotency-Key": "1"})
            assert (again.status_code, again.json()["id"]) == (202, first.json()["id"]), "it is no new one"
            assert len(list((tmp_path / "uploads").iterdir())) == 1
            client.delete(f"/v1/jobs/{first.json()['id']}")

    def test_uploads_on_disk(self, open_app, tmp_path):
        from starlette.testclient import TestClient

        with TestClient(open_app(data=tmp_path, uploads_bytes=1000), base_url="http://localhost") as client:
            (tmp_path / "uploads" / "full").write_bytes(bytes(1001))
            answer = client.post("/v1/batch", files=files_of(("a", b"x")))
            assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "busy", "60")

    def test_results_are_kept_so_long_and_no_longer(self, open_app, tmp_path):
        from starlette.testclient import TestClient

        with TestClient(open_app(data=tmp_path, keep_days=1 / 86_400), base_url="http://localhost") as client:
            job = client.post("/v1/batch?stability=false", files=files_of(("a", encoded("PNG")))).json()["id"]
            wait_for(client, job)
        time.sleep(1.1)
        with TestClient(open_app(data=tmp_path, keep_days=1 / 86_400), base_url="http://localhost") as client:
            for _ in range(100):
                if client.get(f"/v1/jobs/{job}").status_code == 404:
                    return
                time.sleep(0.05)
        raise AssertionError("it is still there")


class TestFairness:
    def test_a_small_job_does_not_wait_for_a_large_one(self, tmp_path):
        from realgrain.faces.server.jobs import Jobs
        from realgrain.faces.server.service import open_store
        from realgrain.faces.server.settings import Settings
        from realgrain.faces.server.spool import Spool

        settings, order = Settings(data=tmp_path), []
        store, spool = open_store(settings), Spool(tmp_path / "uploads", settings)

        async def run():
            both = asyncio.Event()

            async def judge(data: bytes, name: str, asked: str) -> str:
                await both.wait()
                order.append(name)
                return "{}"

            jobs = Jobs(store, spool, judge, width=1, keep_days=1)
            await jobs.start()
            for size, name in ((20, "large"), (2, "small")):
                staged = spool.stage()
                for _ in range(size):
                    sink = staged.open(name)
                    sink.write(b"x")
                    sink.close()
                staged.unpack()
                await jobs.accept(staged, "key", "{}", None, None)
            both.set()
            while len(order) < 22:
                await asyncio.sleep(0.02)
            await jobs.stop()

        asyncio.run(run())
        store.close()
        assert order.index("small") < 3 and [n for n, name in enumerate(order) if name == "small"][1] < 5
