"""Reading on the worker: what is out of reach is asked for again, what is large is read once, what waits is small."""

import http.server
import sqlite3
import threading

import crowd
import packs
import pytest

from realgrain.detector import detect
from realgrain.detector.devices import DeviceError
from realgrain.faces.cli import main
from realgrain.measuring.alone import RunError
from realgrain.measuring.batch import engine, pins, reading, run, shards, worker
from realgrain.measuring.batch.items import Item
from realgrain.measuring.batch.sources import items
from realgrain.picture.errors import Limits

DATA = [crowd.picture(number) for number in range(5)]


@pytest.fixture
def moody():
    """A server whose answer can be set: the status for a path, 200 with a picture otherwise."""
    said: dict[str, int] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status = said.get(self.path, 200)
            self.send_response(status)
            self.send_header("Content-Length", str(len(DATA[0]) if status == 200 else 0))
            self.end_headers()
            if status == 200:
                self.wfile.write(DATA[0])

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", said
        server.shutdown()


def test_what_was_out_of_reach_is_asked_for_again(moody, judge, tmp_path):
    """A refusal or a fault of the server says nothing of the picture; that there is none does, and stays said."""
    address, said = moody
    (tmp_path / "list.txt").write_text("".join(f"{address}/{name}.jpg\n" for name in ("a", "b", "gone")))
    said.update({"/b.jpg": 403, "/gone.jpg": 404})
    first = judge(tmp_path / "o", tmp_path / "list.txt", allow_urls=True, shard=1)
    assert first.failed == 2
    codes = {row["uri"].rpartition("/")[2]: row["error_code"] for row in crowd.rows(tmp_path / "o")}
    assert codes == {"a.jpg": None, "b.jpg": "unreachable", "gone.jpg": "missing"}
    said.clear()
    again = judge(tmp_path / "o", tmp_path / "list.txt", allow_urls=True, shard=1)
    assert (again.judged, again.failed) == (1, 1)
    assert judge(tmp_path / "o", tmp_path / "list.txt", allow_urls=True, shard=1).judged == 0


@pytest.fixture
def opened(monkeypatch) -> list[int]:
    """Rows for which a parquet file was opened."""
    found, kind = [], reading._Rows
    monkeypatch.setattr(reading, "_Rows", lambda item: found.append(item.row) or kind(item))
    return found


def test_a_group_of_rows_is_read_once_however_many_calls_it_takes(judge, tmp_path, monkeypatch, opened):
    monkeypatch.setattr(engine, "CALL", 8)
    packs.parquet(tmp_path / "x.parquet", [crowd.picture(number) for number in range(40)], rows=1000)
    assert judge(tmp_path / "o", tmp_path / "x.parquet", shard=40).failed == 0
    assert opened == [0]


def test_calls_that_overtake_one_another_open_a_file_once_more(tmp_path, opened):
    data = [b"%d" % number for number in range(160)]
    found = list(items([str(packs.parquet(tmp_path / "x.parquet", data))]))
    reader = reading.Reader()
    for start in (32, 0, 96, 64, 128):
        for row in range(start, start + 32):
            assert reader.job(found[row], Limits())() == data[row]
    reader.close()
    assert opened == [32, 0]


def test_what_is_asked_for_again_costs_nothing_that_is_done(moody, judge, tmp_path):
    """Of a shard only what was out of reach is asked for again, whatever the store says of the rest by then; the end is as if all had been well."""
    address, said = moody
    (tmp_path / "list.txt").write_text("".join(f"{address}/{name}.jpg\n" for name in "abcde"))
    judge(tmp_path / "well", tmp_path / "list.txt", allow_urls=True)
    said.update({"/b.jpg": 503, "/d.jpg": 403})
    judge(tmp_path / "o", tmp_path / "list.txt", allow_urls=True)
    said.update({f"/{name}.jpg": 403 for name in "abcde"})
    assert judge(tmp_path / "o", tmp_path / "list.txt", allow_urls=True).judged == 2
    codes = [row["error_code"] for row in crowd.rows(tmp_path / "o")]
    assert codes == [None, "unreachable", None, "unreachable", None]
    del said["/d.jpg"]
    assert judge(tmp_path / "o", tmp_path / "list.txt", allow_urls=True).failed == 1
    said.clear()
    assert judge(tmp_path / "o", tmp_path / "list.txt", allow_urls=True).judged == 1
    for folder in ("o", "well"):
        assert judge(tmp_path / folder, tmp_path / "list.txt", allow_urls=True).judged == 0
    assert crowd.shards(tmp_path / "o") == crowd.shards(tmp_path / "well")


@pytest.mark.parametrize("remote", [False, True])
def test_a_file_that_was_written_anew_is_read_anew(judge, tmp_path, monkeypatch, remote):
    if remote:  # a store says nothing of a file's identity
        monkeypatch.setattr(reading, "_identity", lambda item: (item.where, item.column))
    for number in (0, 1):
        packs.parquet(tmp_path / "x.parquet", [DATA[number]])
        judge(tmp_path / str(number), tmp_path / "x.parquet")
    assert crowd.rows(tmp_path / "0")[0]["sha256"] != crowd.rows(tmp_path / "1")[0]["sha256"]


def test_finished_shards_are_not_read_at_each_start(judge, tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(DATA[0])
    judge(tmp_path / "o", tmp_path / "a.jpg")
    monkeypatch.setattr(shards.pq.ParquetFile, "read", lambda *_: pytest.fail("was read"))
    monkeypatch.setattr(run, "write_ledger", lambda _: (0, {}))
    assert judge(tmp_path / "o", tmp_path / "a.jpg").judged == 0


def test_no_pixels_wait(tiny_detector, tmp_path, monkeypatch):
    """A photograph of 24 megapixels is 72 MB of pixels, and 1 MB of what the runtime looks at."""
    (tmp_path / "a.jpg").write_bytes(DATA[0])
    ready = worker._look(tiny_detector, None, Item("a.jpg", b"", None, None, None, None, None), lambda: DATA[0])
    assert ready.seen.picture.pixels.size == 0 and ready.seen.picture.width > 0 and ready.seen.views.size > 0
    waiting = []
    monkeypatch.setattr(detect, "ahead", lambda jobs: (waiting.append(job()) or waiting[-1] for job in jobs))
    (report,) = tiny_detector.detect_many([tmp_path / "a.jpg"])
    assert waiting[0].picture.pixels.size == 0
    assert report == tiny_detector.detect(tmp_path / "a.jpg")


class TestFailures:
    def test_a_full_disk_while_listing(self, judge, tmp_path, monkeypatch):
        (tmp_path / "a.jpg").write_bytes(DATA[0])

        def full(*_):
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr(run, "write_listing", full)
        with pytest.raises(OSError, match="disk is full"):
            judge(tmp_path / "o", tmp_path / "a.jpg")

    @pytest.mark.parametrize("error", [KeyError("x"), MemoryError(), AssertionError()])
    def test_of_a_worker(self, judge, tmp_path, monkeypatch, error):
        (tmp_path / "a.jpg").write_bytes(DATA[0])

        def fail(*_):
            raise error

        monkeypatch.setattr(engine, "score_items", fail)
        with pytest.raises(RunError, match="the engine has failed"):
            judge(tmp_path / "o", tmp_path / "a.jpg")


def test_devices_of_a_cluster_are_its_workers(tiny_bundle, tmp_path, monkeypatch):
    """What a worker has, the machine that asks need not have."""
    seen = []

    def caught(folder, settings, scoring, means, *, watch):
        seen.append((scoring.device, means.device))
        raise RunError("enough")

    monkeypatch.setattr(run, "run", caught)
    words = ["batch", str(tmp_path), "-o", str(tmp_path / "o"), "--engine", "ray", "--bundle", str(tiny_bundle.folder)]
    for devices in ("cuda", "tensorrt:1", "auto"):
        assert main([*words, "--devices", devices]) == 2
    assert seen == [("cuda", "cuda"), ("tensorrt", "tensorrt:1"), ("cpu", "cpu")]
    plan = worker.Plan(str(tiny_bundle.folder), pins.scoring(tiny_bundle, "onnxruntime", pins.Asked(), "cuda").model_dump_json(), device="cuda")
    with pytest.raises(DeviceError, match="cannot use it here"):
        worker.opened(plan)
