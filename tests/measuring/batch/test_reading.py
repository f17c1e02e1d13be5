"""Reading on the worker: what is out of reach is asked for again, what is large is read once, what waits is small."""

import errno
import http.server
import io
import os
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path

import crowd
import packs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from realgrain.detector import detect
from realgrain.detector.devices import DeviceError
from realgrain.faces.cli import main
from realgrain.measuring.alone import RunError
from realgrain.measuring.batch import engine, pins, reading, run, shards, worker
from realgrain.measuring.batch.items import Item
from realgrain.measuring.batch.sources import items
from realgrain.picture import decode, source
from realgrain.picture.errors import Limits, PictureError

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


def rebuilt(kind: str, file: Path, numbers: Iterable[int]) -> Path:
    """A tar or parquet file with pictures of one size, in an order."""
    data = {f"{number}.bmp": even(number) for number in numbers}
    return packs.tar(file, data) if kind == "tar" else packs.parquet(file, list(data.values()))


def even(number: int) -> bytes:
    """A picture of the same size for each number."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (number, 0, 0)).save(file, "BMP")
    return file.getvalue()


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_packed_file_that_was_changed_gives_no_rows_of_others(kind, judge, tmp_path):
    """A place in it, and a row of it, mean other pictures than the listing says."""
    file = rebuilt(kind, tmp_path / f"x.{kind}", range(4))
    judge(tmp_path / "o", file, shard=2)
    before = crowd.rows(tmp_path / "o")
    (tmp_path / "o" / "shard-00001.parquet").unlink()  # as a kill leaves it
    rebuilt(kind, file, range(4)[::-1])
    assert judge(tmp_path / "o", file, shard=2).failed == 2
    now = crowd.rows(tmp_path / "o")
    assert now[:2] == before[:2]
    for row in now[2:]:
        assert (row["error_code"], row["sha256"]) == ("missing", None)
        assert "is another one since the run began, or was changed" in row["error"]


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_packed_file_that_is_as_it_was_goes_on(kind, judge, tmp_path):
    file = rebuilt(kind, tmp_path / f"x.{kind}", range(4))
    judge(tmp_path / "o", file, shard=2)
    (tmp_path / "o" / "shard-00001.parquet").unlink()
    done = judge(tmp_path / "o", file, shard=2)
    assert (done.judged, done.failed) == (2, 0)


@pytest.mark.parametrize("kind", ["file", "tar", "parquet"])
@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.EACCES])
def test_a_disk_that_fails_for_a_while(kind, number, judge, tmp_path, monkeypatch):
    """What could not be read is asked for again, also of what is here."""
    files = {"file": tmp_path / "x.bmp", "tar": tmp_path / "x.tar", "parquet": tmp_path / "x.parquet"}
    files["file"].write_bytes(even(1))
    for packed in ("tar", "parquet"):
        rebuilt(packed, files[packed], [1])

    def fail(file, *rest):
        if file in (str(files["file"]), item):
            raise OSError(number, os.strerror(number))
        return real(file, *rest)

    (item,), real = items([str(files[kind])]), os.open
    with monkeypatch.context() as patch:
        patch.setattr(source.os, "open", fail) if kind == "file" else patch.setattr(reading, "open_packed", fail)
        assert judge(tmp_path / "o", files[kind]).failed == 1
    (row,) = crowd.rows(tmp_path / "o")
    assert (row["error_code"], row["error"]) == ("unreachable", f"cannot be read: {os.strerror(number)}")
    done = judge(tmp_path / "o", files[kind])
    assert (done.judged, done.failed) == (1, 0)


def test_memory_that_is_short_for_a_while(judge, tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(DATA[0])

    def fail(*_):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(decode, "start", fail)
        assert judge(tmp_path / "o", tmp_path / "a.jpg").failed == 1
    (row,) = crowd.rows(tmp_path / "o")
    assert (row["error_code"], row["error"]) == ("unreachable", "there is not enough memory to decode it")
    assert judge(tmp_path / "o", tmp_path / "a.jpg").failed == 0


def test_an_object_is_read_to_its_end_whatever_its_size_was(moody):
    item = Item(f"{moody[0]}/a.jpg", f"{moody[0]}/a.jpg".encode(), size=10)
    assert reading.Reader().job(item, Limits())() == DATA[0]


def test_rows_without_bytes_close_no_file(tmp_path, opened):
    data = [None if number % 2 else b"%d" % number for number in range(60)]
    found = list(items([str(packs.parquet(tmp_path / "x.parquet", data))]))
    reader = reading.Reader()
    for item, content in zip(found, data, strict=True):
        job = reader.job(item, Limits())
        if content is None:
            with pytest.raises(PictureError, match="cannot be read: the row has no bytes"):
                job()
        else:
            assert job() == content
    reader.close()
    assert opened == [0]


@pytest.mark.parametrize(("size", "held"), [(100, reading.ROWS), (2**20, 4), (5 * 2**20, 1)])
def test_large_rows_are_held_few_at_a_time(size, held, tmp_path):
    data = [bytes([number]) * size for number in range(20)]
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"bytes": pa.array(data, pa.binary())}), file, use_dictionary=False)
    found = list(items([str(file)]))
    reader = reading.Reader()
    for item, content in zip(found, data, strict=True):
        assert reader.job(item, Limits())() == content
        assert len(reader._open[0]._held) <= held
    reader.close()


def test_a_group_of_rows_is_not_read_at_once(tmp_path, monkeypatch):
    data = [os.urandom(200_000) for _ in range(40)]
    file, asked = tmp_path / "x.parquet", []
    pq.write_table(pa.table({"bytes": data}), file, use_dictionary=False, write_batch_size=1)  # in pages of a few rows

    class Watched(io.FileIO):
        def read(self, size=-1):
            asked.append(size)
            return super().read(size)

    found = list(items([str(file)]))
    monkeypatch.setattr(reading, "open_packed", lambda item: Watched(item.target))
    reader = reading.Reader()
    assert [reader.job(item, Limits())() for item in found] == data
    reader.close()
    assert 0 < max(asked) <= 2 * reading.PAGES


def test_rows_above_the_limit_are_not_taken_out(tmp_path):
    (item,) = items([str(packs.parquet(tmp_path / "x.parquet", [bytes(2000)]))])
    reader = reading.Reader()
    with pytest.raises(PictureError, match="2,000 bytes is more than the limit of 1,000 bytes") as error:
        reader.job(item, Limits(max_bytes=1000))()
    assert error.value.code == "too_many_bytes"
    reader.close()


def test_finished_shards_are_not_read_at_each_start(judge, tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(DATA[0])
    judge(tmp_path / "o", tmp_path / "a.jpg")
    monkeypatch.setattr(shards.pq.ParquetFile, "read", lambda *_: pytest.fail("was read"))
    monkeypatch.setattr(run, "write_ledger", lambda _: (0, {}))
    assert judge(tmp_path / "o", tmp_path / "a.jpg").judged == 0


def test_threads_bound_decoding(tiny_bundle, judge, tmp_path, monkeypatch):
    asked = []
    for module in (detect, worker):
        monkeypatch.setattr(module, "ahead", lambda jobs, threads: asked.append(threads) or (job() for job in jobs))
    (tmp_path / "a.jpg").write_bytes(DATA[0])
    judge(tmp_path / "o", tmp_path / "a.jpg", threads=3)
    list(detect.load(tiny_bundle, threads=5, offline=True).detect_many([tmp_path / "a.jpg"]))
    assert asked == [3, 5]


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
