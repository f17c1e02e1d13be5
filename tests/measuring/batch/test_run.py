import errno
import json
import os
import shutil
from pathlib import Path

import crowd
import pyarrow.parquet as pq
import pytest

from realgrain.detector.detect import load
from realgrain.detector.runtime import RUNTIMES
from realgrain.measuring.alone import RunError, alone
from realgrain.measuring.batch import pins, run, shards, worker


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    crowd.crowd(folder / "p", 60, broken=20)
    return folder / "p"


class TestRun:
    def test_rows_are_what_the_detector_says(self, judge, pictures, tiny_bundle, tmp_path):
        done = judge(tmp_path / "o", pictures, shard=25, stability=True)
        assert (done.items, done.judged, done.failed, done.labels.total()) == (60, 60, 3, 57)
        detector = load(tiny_bundle, threads=1, evidence=False)
        found = crowd.rows(tmp_path / "o")
        assert [row["uri"] for row in found] == sorted(map(str, pictures.rglob("*.jpg")))
        for row in found[:4]:
            report = detector.detect(row["uri"])
            assert row["sha256"] == report.picture.sha256
            assert row["view_logits"] == report.view_logits
            assert (row["logit"], row["probability"]) == (report.logit, report.probability)
            assert (row["verdict"], row["reasons"]) == (report.verdict.label, report.verdict.reasons)
            assert report.stability is not None
            stable = report.stability
            assert (row["stable_min"], row["stable_median"], row["stable_max"]) == (stable.minimum, stable.median, stable.maximum)
            assert row["bundle"] == tiny_bundle.hash
            assert row["error"] is None

    def test_ledger_names_each_bad_file(self, judge, pictures, tmp_path):
        judge(tmp_path / "o", pictures, shard=25)
        lines = [json.loads(line) for line in (tmp_path / "o" / "errors.jsonl").read_text().splitlines()]
        assert [line["uri"] for line in lines] == [str(pictures / "000" / f"{number:05}.jpg") for number in (19, 39, 59)]
        assert {line["code"] for line in lines} == {"truncated"}
        bad = [row for row in crowd.rows(tmp_path / "o") if row["error"]]
        assert [row["uri"] for row in bad] == [line["uri"] for line in lines]
        assert all(row["logit"] is None and row["sha256"] for row in bad)

    def test_shards_are_the_same_however_they_are_made(self, judge, pictures, tmp_path):
        judge(tmp_path / "a", pictures, shard=25)
        judge(tmp_path / "b", pictures, shard=25, known=tmp_path / "known")
        judge(tmp_path / "c", pictures, shard=25, known=tmp_path / "known")
        assert sorted(crowd.shards(tmp_path / "a")) == ["errors.jsonl", "run.json", *(f"shard-0000{number}.parquet" for number in range(3))]
        assert crowd.shards(tmp_path / "a") == crowd.shards(tmp_path / "b") == crowd.shards(tmp_path / "c")

    def test_goes_on_with_what_is_missing(self, judge, pictures, tmp_path):
        judge(tmp_path / "o", pictures, shard=25)
        before = crowd.shards(tmp_path / "o")
        (tmp_path / "o" / "shard-00001.parquet").unlink()
        torn = tmp_path / "o" / "shard-00002.parquet"
        torn.write_bytes(torn.read_bytes()[:-9])
        (tmp_path / "o" / "errors.jsonl").unlink()
        assert judge(tmp_path / "o", pictures, shard=25).judged == 35
        assert crowd.shards(tmp_path / "o") == before
        assert judge(tmp_path / "o", pictures, shard=25).judged == 0

    def test_items_are_those_of_its_beginning(self, judge, tmp_path):
        crowd.crowd(tmp_path / "p", 6)
        judge(tmp_path / "o", tmp_path / "p", shard=4)
        (tmp_path / "o" / "shard-00001.parquet").unlink()
        shutil.copy(tmp_path / "p" / "000" / "00000.jpg", tmp_path / "p" / "new.jpg")
        (tmp_path / "p" / "000" / "00005.jpg").unlink()
        assert judge(tmp_path / "o", tmp_path / "p", shard=4).items == 6
        assert crowd.rows(tmp_path / "o")[-1]["error_code"] == "missing"


class TestRefusals:
    def test_another_run(self, judge, pictures, tmp_path):
        judge(tmp_path / "o", pictures, limit=3)
        with pytest.raises(RunError, match=r"settings\.limit was 3, is 4; scoring\.asked\.stability was False, is True\. Take another folder"):
            judge(tmp_path / "o", pictures, limit=4, stability=True)

    def test_the_same_words_in_another_folder(self, judge, tmp_path, monkeypatch):
        for place in ("here", "there"):
            crowd.crowd(tmp_path / place / "p", 2)
        monkeypatch.chdir(tmp_path / "here")
        judge(tmp_path / "o", "p")
        monkeypatch.chdir(tmp_path / "there")
        with pytest.raises(RunError, match=f"another run than the one asked for: sources was {tmp_path}/here/p, is {tmp_path}/there/p"):
            judge(tmp_path / "o", "p")
        judge(tmp_path / "whole", tmp_path / "here" / "p")
        monkeypatch.chdir(tmp_path)
        assert judge(tmp_path / "whole", tmp_path / "here" / "p").judged == 0

    def test_names_that_are_no_text(self, judge, pictures, tmp_path):
        name = os.fsencode(tmp_path) + b"/\xff"
        shutil.copytree(pictures, os.fsdecode(name))
        with pytest.raises(OSError, match=r"/\\xff: the name of a source must be valid UTF-8; name the folder that it is in") as error:
            judge(tmp_path / "o", os.fsdecode(name))
        assert "pydantic" not in str(error.value)

    def test_another_detector(self, judge, pictures, tmp_path):
        judge(tmp_path / "o", pictures, limit=3)
        file = tmp_path / "o" / "run.json"
        before = pins.Pins.model_validate_json(file.read_bytes())
        bundle = before.scoring.bundle.model_copy(update={"hash": "0" * 64})
        file.write_bytes(before.model_copy(update={"scoring": before.scoring.model_copy(update={"bundle": bundle})}).content())
        with pytest.raises(RunError, match=r"scoring\.bundle\.hash was 0{12}…, is"):
            judge(tmp_path / "o", pictures, limit=3)

    def test_a_run_of_another_version(self, judge, pictures, tmp_path):
        judge(tmp_path / "o", pictures, limit=3)
        file = tmp_path / "o" / "run.json"
        file.write_text(file.read_text().replace('"version": 3', '"version": 2'))
        with pytest.raises(RunError, match=r"run\.json: of a run by another version of realgrain; go on with that one, or take another folder$"):
            judge(tmp_path / "o", pictures, limit=3)

    def test_a_second_process(self, judge, pictures, tmp_path):
        folder = tmp_path / "o"
        folder.mkdir()
        with alone(folder), pytest.raises(RunError, match="another process is at work"):
            judge(folder, pictures)

    def test_a_folder_of_something_else(self, judge, pictures, tmp_path):
        with pytest.raises(RunError, match=r"holds 000 but no run\.json"):
            judge(pictures, pictures)

    def test_a_listing_that_is_gone(self, judge, pictures, tmp_path):
        judge(tmp_path / "o", pictures, limit=3)
        (tmp_path / "o" / "listing.sqlite").write_bytes(b"")
        with pytest.raises(RunError, match="gone, or not that of"):
            judge(tmp_path / "o", pictures, limit=3)

    def test_a_worker_with_other_versions(self, tiny_bundle):
        wanted = pins.scoring(tiny_bundle, "onnxruntime", pins.Asked())
        other = wanted.model_copy(update={"packages": {**wanted.packages, "pillow": "1.0"}})
        with pytest.raises(RunError, match=r"other scores: packages\.pillow was 1\.0, is"):
            worker.opened(worker.Plan(str(tiny_bundle.folder), other.model_dump_json()))


@pytest.mark.parametrize(
    ("runtime", "package"),
    [("onnxruntime", "onnxruntime-gpu"), ("openvino-int8", "onnxruntime"), ("openvino-int8-dynamic", "openvino"), ("torch", "transformers")],
)
def test_all_that_computes_is_pinned(runtime, package, tiny_bundle, monkeypatch):
    monkeypatch.setattr(pins, "check_parity", lambda *_: None)
    monkeypatch.setattr(pins, "versions", lambda names: dict.fromkeys(names, "1.0"))
    assert package in pins.scoring(tiny_bundle, runtime, pins.Asked()).packages


def test_each_runtime_is_pinned():
    assert set(pins.BEHIND) == set(RUNTIMES)


def test_a_full_disk_costs_nothing_that_is_done(judge, pictures, tmp_path, monkeypatch):
    judge(tmp_path / "whole", pictures, shard=25)
    write = pq.write_table

    def full(table, file, **options):
        if "00001" in str(file):
            Path(file).write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(table, file, **options)

    with monkeypatch.context() as patch:
        patch.setattr(shards.pq, "write_table", full)
        with pytest.raises(OSError, match="No space left"):
            judge(tmp_path / "o", pictures, shard=25)
    assert sorted(file.name for file in (tmp_path / "o").glob("*shard*")) == ["shard-00000.parquet"]
    assert judge(tmp_path / "o", pictures, shard=25).judged == 35
    assert crowd.shards(tmp_path / "o") == crowd.shards(tmp_path / "whole")


class TestSameContent:
    @pytest.fixture
    def counted(self, monkeypatch):
        """Counts what is really judged."""
        calls = []
        judged = worker.Detector.judged
        monkeypatch.setattr(worker.Detector, "judged", lambda self, seen: calls.append(seen) or judged(self, seen))
        return calls

    def test_is_judged_once(self, judge, tmp_path, counted):
        for number in range(12):
            (tmp_path / "p").mkdir(exist_ok=True)
            (tmp_path / "p" / f"{number:02}.jpg").write_bytes(crowd.picture(number % 3))
        judge(tmp_path / "o", tmp_path / "p", known=tmp_path / "known", shard=5)
        assert len(counted) == 3
        found = crowd.rows(tmp_path / "o")
        assert len({row["uri"] for row in found}) == 12
        assert len({row["logit"] for row in found}) == 3

    def test_is_known_to_later_runs_that_ask_the_same(self, judge, pictures, tmp_path, counted):
        judge(tmp_path / "a", pictures, limit=5, known=tmp_path / "known")
        once = len(counted)
        judge(tmp_path / "b", pictures, limit=5, known=tmp_path / "known")
        assert len(counted) == once
        judge(tmp_path / "c", pictures, limit=5, known=tmp_path / "known", stability=True)
        assert len(counted) == 2 * once

    def test_a_spoilt_file_is_done_without(self, judge, pictures, tmp_path, counted):
        judge(tmp_path / "a", pictures, limit=5, known=tmp_path / "known")
        once = len(counted)
        worker.opened.cache_clear()
        for file in (tmp_path / "known").iterdir():
            file.write_bytes(b"no database" * 1000)
        judge(tmp_path / "b", pictures, limit=5, known=tmp_path / "known")
        assert len(counted) == 2 * once
        assert crowd.shards(tmp_path / "a") == crowd.shards(tmp_path / "b")


class TestOutlook:
    def test_counts_and_writes_nothing(self, judge, pictures, tiny_bundle, tmp_path):
        settings = pins.Settings(sources=(str(pictures),), shard=25)
        wanted = pins.scoring(tiny_bundle, "onnxruntime", pins.Asked(stability=False))
        assert run.outlook(tmp_path / "o", settings, wanted) == run.Outlook(60, 3, 0, 60, None)
        assert not (tmp_path / "o").exists()
        judge(tmp_path / "o", pictures, shard=25)
        (tmp_path / "o" / "shard-00001.parquet").unlink()
        found = run.outlook(tmp_path / "o", settings, wanted)
        assert (found.finished, found.left) == (2, 25)
        assert found.seconds is not None
        assert not (tmp_path / "o" / "shard-00001.parquet").exists()


def test_progress_counts_items(judge, pictures, tmp_path):
    seen = []

    def watch(items, total, doing):
        seen.append((total, doing))
        for item in items:
            seen.append(item)
            yield item

    judge(tmp_path / "o", pictures, shard=25, watch=watch)
    assert seen == [(60, "judging"), *[None] * 60]
