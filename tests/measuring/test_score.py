import csv
import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow.parquet as pq
import pytest
import toy

from realgrain.detector.ahead import AHEAD
from realgrain.detector.bundle import read_bundle
from realgrain.detector.calibration import Calibration, probability
from realgrain.detector.content import CENTRES
from realgrain.detector.decision import Policy, decision_of
from realgrain.detector.detect import load
from realgrain.detector.domain import places
from realgrain.detector.runtime import cores
from realgrain.faces.cli import main
from realgrain.learning.data import Sample, read_manifest
from realgrain.measuring.drift_log import read_logs
from realgrain.measuring.metrics import evaluate
from realgrain.measuring.score import SCHEMA, as_table, score, thresholds_of, write_table
from realgrain.picture.conditions import CONDITIONS, condition
from realgrain.picture.image import open_picture


@pytest.fixture(scope="module")
def samples(toy_manifest):
    return read_manifest(toy_manifest)


@pytest.fixture(scope="module")
def rows(tiny_detector, samples):
    return list(score(tiny_detector, samples, ("clean", "hard")))


class TestRows:
    def test_order(self, rows, samples):
        assert [(row["path"], row["condition"]) for row in rows] == [(sample.path, name) for sample in samples for name in ("clean", "hard")]

    def test_scores_are_the_detectors(self, rows, samples, tiny_detector):
        for row, sample in list(zip(rows[::2], samples, strict=True))[::9]:
            report = tiny_detector.detect(sample.file)
            assert (row["logit"], row["probability"], row["sha256"]) == (report.logit, report.probability, report.picture.sha256)
            assert (row["bundle"], row["runtime"], row["error"]) == (tiny_detector.bundle.hash, "onnxruntime", "")

    def test_probability_is_on_the_scale_of_the_pictures_content(self, samples, tiny_bundle):
        scales = [Calibration(method="platt", slope=slope) for slope in (1.0, 2.0)]
        card = tiny_bundle.card.model_copy(update={"calibration": Calibration(method="platt", slope=3.0, groups=scales)})
        whole = load(tiny_bundle, threads=1)
        place = places(whole.runtime.look(whole.views(open_picture(samples[0].file).pixels))[1][None], tiny_bundle.statistics)[0]
        far = place + 0.01 * np.eye(len(place))[0]
        for centres, group in (((place, far), 0), ((far, place), 1)):
            bundle = replace(tiny_bundle, card=card, statistics={**tiny_bundle.statistics, CENTRES: np.stack(centres).astype(np.float32)})
            (row,) = score(load(bundle, threads=1), samples[:1])
            assert (row["content_group"], row["probability"]) == (group, float(probability(scales[group], row["logit"])))

    def test_conditions_degrade_first(self, rows, samples, tiny_detector):
        pixels = condition("hard")(open_picture(samples[0].file).pixels)
        assert rows[1]["logit"] == float(tiny_detector.view_logits(pixels).mean(dtype=np.float64))
        assert rows[1]["probability"] == float(probability(tiny_detector.bundle.card.calibration, rows[1]["logit"]))
        assert rows[1]["logit"] != rows[0]["logit"]

    def test_keep_what_the_manifest_says(self, rows, samples):
        for row, sample in zip(rows[::2], samples, strict=True):
            assert (row["label"], row["source"], row["generator"], row["split"]) == (sample.label, sample.source, sample.generator, sample.split)
            assert row["license"] == "CC0-1.0"

    def test_a_manifests_own_scores_do_not_win(self, tiny_detector, samples):
        named = Sample.model_validate({**samples[0].model_dump(), "sha256": "theirs", "logit": "99", "error": "theirs", "condition": "theirs"})
        (row,) = score(tiny_detector, [named])
        assert (row["sha256"], row["error"], row["condition"]) == (open_picture(samples[0].file).sha256, "", "clean")
        assert row["logit"] == tiny_detector.detect(samples[0].file).logit

    def test_a_bad_file_stops_nothing(self, tiny_detector, samples, tmp_path):
        (tmp_path / "bad.jpg").write_bytes(b"no picture")
        bad = samples[1].model_copy(update={"file": tmp_path / "bad.jpg", "path": "bad.jpg"})
        found = list(score(tiny_detector, [samples[0], bad, samples[2]], ("clean", "web")))
        assert [bool(row["error"]) for row in found] == [False, False, True, True, False, False]
        for row in found[2:4]:
            assert (row["logit"], row["probability"], row["sha256"]) == (None, None, "")
            assert "bad.jpg" in row["error"]

    def test_uncalibrated(self, tiny_bundle, samples):
        card = tiny_bundle.card.model_copy(update={"calibration": None, "operating_point": None})
        detector = load(replace(tiny_bundle, card=card), threads=1)
        (row,) = score(detector, samples[:1])
        assert row["logit"] is not None
        assert row["probability"] is None

    def test_unknown_condition(self, tiny_detector, samples):
        with pytest.raises(ValueError, match="fax"):
            list(score(tiny_detector, samples, ("clean", "fax")))

    def test_another_split_of_the_work_gives_the_same_scores(self, rows, samples, tiny_detector):
        assert list(score(tiny_detector, samples[::-1], ("hard", "clean")))[::-1] == rows

    def test_many_conditions_take_no_more_memory_than_one(self, tiny_detector, samples, monkeypatch):
        made, opened = [], []
        views, opener = type(tiny_detector).views, type(tiny_detector).open
        monkeypatch.setattr(type(tiny_detector), "views", lambda *given: made.append(1) or views(*given))
        monkeypatch.setattr(type(tiny_detector), "open", lambda *given, **named: opened.append(1) or opener(*given, **named))
        names = list(CONDITIONS)[:10]
        found = score(tiny_detector, samples, names)
        for read in range(1, 25):
            next(found)
            assert len(made) <= AHEAD * cores() + read
            assert len(opened) <= 1 + (AHEAD * cores() + read) / len(names)
        found.close()

    def test_a_file_that_several_samples_have_is_looked_at_once(self, rows, tiny_detector, samples, monkeypatch):
        looked = []
        runtime = type(tiny_detector.runtime)
        look = runtime.look
        monkeypatch.setattr(runtime, "look", lambda *given: looked.append(1) or look(*given))
        twice = [sample.model_copy(update={"path": f"{sample.path} of {name}"}) for name in "ab" for sample in samples[:3]]
        repeated = {row["sha256"] for row in rows[:6:2]}
        found = list(score(tiny_detector, twice, ("clean", "hard"), repeated=repeated))
        assert len(looked) == 6
        assert [row["logit"] for row in found] == [row["logit"] for row in rows[:6]] * 2
        assert [row["path"] for row in found[::2]] == [sample.path for sample in twice]

    def test_samples_are_drawn_as_they_are_needed(self, tiny_detector, samples):
        drawn = []
        found = score(tiny_detector, (drawn.append(sample) or sample for sample in samples))
        next(found)
        found.close()
        assert len(drawn) <= AHEAD * cores() + 1

    def test_an_error_names_the_picture_as_the_manifest_does(self, tiny_detector, samples, tmp_path):
        bad = samples[0].model_copy(update={"file": tmp_path / "gone.png", "path": "some/where.png"})
        (row,) = score(tiny_detector, [bad])
        assert row["error"] == "some/where.png: there is no such file"


class TestThresholds:
    def test_each_is_that_of_the_group_of_content(self, tiny_detector, samples, monkeypatch):
        (row,) = score(tiny_detector, samples[:1])
        assert row["threshold"] == tiny_detector.detect(samples[0].file).verdict.threshold
        monkeypatch.setattr("realgrain.measuring.score.thresholds_of", lambda _: {None: 1.0, 0: 7.5})
        (other,) = score(tiny_detector, samples[:1])
        assert other == {**row, "threshold": 7.5 if row["content_group"] == 0 else 1.0}

    def test_a_bundle_with_groups_has_those_that_verdicts_go_by(self):
        shipped = read_bundle(None)
        found = thresholds_of(shipped)
        assert found == {group: decision_of(shipped, Policy(), group).ai for group in (None, 0, 1, 2)}
        assert len(set(found.values())) > 1 and shipped.card.operating_point.ai not in found.values()


class TestTable:
    def test_columns(self, rows):
        table = as_table(rows)
        assert table.schema.names == [*SCHEMA.names, "license"]
        assert table.num_rows == len(rows)
        assert json.loads(table.schema.metadata[b"realgrain"]) == {}
        assert table["logit"].to_pylist() == [row["logit"] for row in rows]

    def test_no_threshold(self, rows):
        assert evaluate(as_table([{**row, "threshold": None} for row in rows]), resamples=0).thresholds == []

    def test_extra_columns_may_be_missing_in_some_rows(self, rows):
        table = as_table([rows[0], {**rows[1], "camera": "X100", "iso": 200}])
        assert table["camera"].to_pylist() == ["", "X100"]
        assert table["iso"].to_pylist() == ["", "200"]

    def test_parquet_round_trip(self, rows, tmp_path):
        table = as_table(rows)
        write_table(table, tmp_path / "deep" / "scores.parquet")
        again = pq.read_table(tmp_path / "deep" / "scores.parquet")
        assert again.equals(table, check_metadata=True)
        assert [path.name for path in (tmp_path / "deep").iterdir()] == ["scores.parquet"]

    def test_a_table_is_replaced_at_once(self, rows, tmp_path, monkeypatch):
        write_table(as_table(rows), tmp_path / "scores.parquet")
        before = (tmp_path / "scores.parquet").read_bytes()

        def fails(table, path, **_):
            path.write_bytes(b"half")
            raise OSError("no space left")

        monkeypatch.setattr(pq, "write_table", fails)
        with pytest.raises(OSError, match="no space left"):
            write_table(as_table(rows[:1]), tmp_path / "scores.parquet")
        assert (tmp_path / "scores.parquet").read_bytes() == before

    def test_evaluates(self, rows, tiny_bundle, toy_manifest):
        found = evaluate(as_table(rows), resamples=20)
        assert list(found.conditions) == ["clean", "hard"]
        assert found.thresholds == [decision_of(tiny_bundle, Policy(), 0).ai]
        with toy_manifest.open() as file:
            generators = {row["generator"] for row in csv.DictReader(file)} - {""}
        for result in found.conditions.values():
            assert (result.n_real, result.n_fake, result.n_failed) == (sum(toy.REAL.values()), sum(toy.FAKE.values()), 0)
            assert set(result.recall_per_generator) == generators
            assert set(result.fpr_per_source) == set(toy.REAL)
            assert result.metrics["auc"].value > 0.8


class TestForDrift:
    """With a day and traits, rows carry what `drift` reads."""

    def test_day_file_and_distance(self, tiny_detector, samples):
        found = list(score(tiny_detector, samples[:3], ("clean", "web"), day="2026-11-24", traits=True))
        for row, plain in zip(found, score(tiny_detector, samples[:3], ("clean", "web")), strict=True):
            assert plain.items() <= row.items()
            assert row.keys() - plain.keys() == {"day", "format", "width", "height", "feature_distance", "borders"}
        for row, sample in zip(found[::2], samples, strict=False):
            report = tiny_detector.detect(sample.file)
            assert (row["feature_distance"], row["content_group"]) == (report.domain.distance, report.domain.group)
            assert row["borders"] == report.borders.length
            assert (row["day"], row["format"], row["width"], row["height"]) == (
                "2026-11-24",
                report.picture.format,
                report.picture.width,
                report.picture.height,
            )

    @pytest.mark.parametrize("own", [{"day": "2026-01-02"}, {"time": "2026-01-02T03:04:05"}])
    def test_a_samples_own_day_stays(self, tiny_detector, samples, own):
        (row,) = score(tiny_detector, [Sample.model_validate({**samples[0].model_dump(), **own})], day="2026-11-24", traits=True)
        assert own.items() <= row.items()
        assert row.get("day") != "2026-11-24"

    def test_a_detector_without_a_domain(self, tiny_bundle, samples):
        card = tiny_bundle.card.model_copy(update={"domain": None})
        (row,) = score(load(replace(tiny_bundle, card=card), threads=1), samples[:1], day="2026-11-24", traits=True)
        assert "feature_distance" not in row
        assert row["content_group"] is None

    def test_a_bad_file_has_a_day(self, tiny_detector, samples, tmp_path):
        (row,) = score(tiny_detector, [samples[0].model_copy(update={"file": tmp_path / "gone.png"})], day="2026-11-24", traits=True)
        assert row["day"] == "2026-11-24"
        assert row["error"]

    def test_drift_reads_it(self, tiny_bundle, toy_manifest, tmp_path):
        logs = []
        for day in ("2026-11-01", "2026-11-02"):
            logs.append(tmp_path / f"{day}.parquet")
            assert main(["score", str(toy_manifest), "-o", str(logs[-1]), "--bundle", str(tiny_bundle.folder), "--day", day]) == 0
        stream = read_logs(logs)
        assert stream.days == ("2026-11-01", "2026-11-02")
        assert len(stream.rows) == 2 * (sum(toy.REAL.values()) + sum(toy.FAKE.values()))
        assert all(0 <= row.distance <= 2 and row.side >= 160 and row.format in ("PNG", "JPEG") for row in stream.rows)

    def test_today_without_a_day(self, tiny_bundle, toy_manifest, tmp_path):
        before = datetime.now(UTC).date()
        assert main(["score", str(toy_manifest), "-o", str(tmp_path / "scores.parquet"), "--bundle", str(tiny_bundle.folder)]) == 0
        assert set(pq.read_table(tmp_path / "scores.parquet")["day"].to_pylist()) <= {day.isoformat() for day in (before, datetime.now(UTC).date())}

    def test_no_day(self, tiny_bundle, toy_manifest, tmp_path, capsys):
        assert main(["score", str(toy_manifest), "-o", str(tmp_path / "s.parquet"), "--bundle", str(tiny_bundle.folder), "--day", "soon"]) == 2
        assert "--day" in capsys.readouterr().err
