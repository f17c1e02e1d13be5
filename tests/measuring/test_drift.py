import json
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import binom, kstest
from sklearn.metrics import mutual_info_score

from realgrain.detector.bundle import read_bundle
from realgrain.detector.decision import Policy, decision_of
from realgrain.detector.detect import load
from realgrain.faces.cli import main
from realgrain.faces.watching import Failed
from realgrain.learning.data import Sample
from realgrain.measuring import drift as watching
from realgrain.measuring.drift import drift, psi
from realgrain.measuring.drift_log import LogError, Row, Stream, read_logs
from realgrain.measuring.drift_plots import draw
from realgrain.measuring.drift_results import Drift
from realgrain.measuring.drift_tables import conclusion
from realgrain.measuring.exchangeability import BINS, category_ranks, earlier_below, histograms, log_evidence, number_ranks
from realgrain.measuring.score import as_table, score, write_table

SCORES = sorted((Path(__file__).parents[2] / "results" / "ablation" / "scores").glob("*.parquet"))[0]
DAYS, EACH, REFERENCE = 14, 60, 5


@cache
def logits(label: str, condition: str) -> np.ndarray:
    """Of a committed scores table: a real detector on pictures of sources that it had not seen."""
    rows = pq.read_table(SCORES).to_pylist()
    return np.array([row["logit"] for row in rows if (row["label"], row["condition"]) == (label, condition)])


def stream(seed: int, change=lambda day, rows, rng: rows, days: int = DAYS, each: int = EACH) -> Stream:
    """Days of rows drawn by chance from one law: three photographs to one fake, most of them JPEG; ``change`` is what happens to a day."""
    rng = np.random.default_rng(seed)
    found = []
    for day in range(days):
        rows = []
        for _ in range(each):
            logit = float(rng.choice(logits(*(("fake" if rng.random() < 0.25 else "real"), "clean"))))
            kind = str(rng.choice(["JPEG", "WEBP", "PNG"], p=[0.8, 0.15, 0.05]))
            rows.append(Row(f"2026-01-{day + 1:02}", logit, 0 < logit < 1, kind, float(rng.choice([480, 720, 1080]))))
        found += change(day, rows, rng)
    return Stream(tuple(f"2026-01-{day + 1:02}" for day in range(days)), tuple(found), "")


def later(draw_row):
    """From day 9 on, each row becomes another with a probability."""
    return lambda day, rows, rng: [draw_row(row, rng) if day >= 8 else row for row in rows]


class TestRanks:
    @given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.integers(0, 9))
    def test_counts_of_smaller_before(self, values, seed):
        order = np.lexsort((np.random.default_rng(seed).random(len(values)), values)).argsort()
        assert earlier_below(order).tolist() == [int((order[:place] < rank).sum()) for place, rank in enumerate(order)]
        assert np.array_equal(earlier_below(np.stack([order, order[::-1]])), [earlier_below(order), earlier_below(order[::-1])])

    @pytest.mark.parametrize("values", ["continuous", "ties"])
    def test_uniform_and_without_memory_if_the_order_is_by_chance(self, values):
        rng = np.random.default_rng(3)
        drawn = rng.normal(size=(300, 50)) if values == "continuous" else rng.integers(0, 2, (300, 50)).astype(float)
        ranks = number_ranks(drawn, rng)
        assert ((ranks >= 0) & (ranks < 1)).all()
        assert kstest(ranks.ravel(), "uniform").pvalue > 0.01
        assert mutual_info_score((ranks[:, 1:] * 3).astype(int).ravel(), (ranks[:, :-1] * 3).astype(int).ravel()) < 5e-4

    def test_categories_are_uniform_and_new_ones_rank_low(self):
        rng = np.random.default_rng(4)
        ranks = np.concatenate([category_ranks(rng.choice(4, 60, p=[0.7, 0.2, 0.07, 0.03]), rng) for _ in range(300)])
        assert kstest(ranks, "uniform").pvalue > 0.01
        assert category_ranks(np.array([0] * 99 + [1]), rng)[-1] <= 0.01

    def test_a_shift_moves_the_ranks(self):
        rng = np.random.default_rng(5)
        assert number_ranks(np.concatenate([rng.normal(size=200), rng.normal(3, 1, 20)]), rng)[200:].mean() > 0.85

    def test_histograms_count_each_picture_once(self):
        found = histograms(np.array([[0.0, 0.05, 0.95, 0.5], [0.1, 0.2, 0.3, 0.999]]), np.array([0, 0, 1, 2]), 3)
        assert found.shape == (2, 3, BINS)
        assert found.sum(axis=(1, 2)).tolist() == [4, 4]
        assert (found[0, 0, 0], found[0, 1, 9], found[1, 2, 9]) == (2, 1, 1)


class TestGuarantee:
    def test_wealth_is_fair(self):
        """The mean of the wealth is that at the start, 1, whatever day one stops on."""
        rng = np.random.default_rng(6)
        wealth = np.exp(log_evidence(rng.multinomial(3, [1 / BINS] * BINS, (60_000, 3))))
        assert wealth.mean(axis=0) == pytest.approx(1, abs=0.03)
        assert (wealth > 0).all()

    @pytest.mark.parametrize("alpha", [0.2, 0.05])
    def test_false_alarms_of_reshuffles_of_a_real_stream(self, alpha):
        """At most alpha of the reshuffles ever alarm, on any of the days; the bound is what chance allows of a test that just keeps its word."""
        times, rng = 1500, np.random.default_rng(7)
        day = np.repeat(np.arange(DAYS), 20)
        pool = np.concatenate([logits("real", "clean"), logits("fake", "clean")])
        shuffled = rng.permuted(np.tile(pool[rng.integers(0, len(pool), len(day))], (times, 1)), axis=1)
        evidence = log_evidence(histograms(number_ranks(shuffled, rng), day, DAYS)[:, REFERENCE:])
        alarms = int((evidence.max(axis=1) >= np.log(1 / alpha)).sum())
        assert alarms <= binom.ppf(0.999, times, alpha)

    @pytest.mark.parametrize("failing", [0.002, 0.05, 0.5])
    def test_false_alarms_of_what_fails_by_chance(self, failing):
        """Also where a reference saw no file that failed, or few."""
        times, alpha, rng = 600, 0.2, np.random.default_rng(9)
        day = np.repeat(np.arange(DAYS), 20)
        ranks = np.stack([category_ranks((rng.random(len(day)) < failing).astype(int), rng) for _ in range(times)])
        evidence = log_evidence(histograms(ranks, day, DAYS)[:, REFERENCE:])
        assert (evidence.max(axis=1) >= np.log(1 / alpha)).sum() <= binom.ppf(0.999, times, alpha)

    def test_all_signals_together_alarm_no_more_often(self):
        """Reshuffles of one day's law, with files that fail by chance."""
        times, alpha = 60, 0.2
        failing = lambda day, rows, rng: [Row(row.day, None) if rng.random() < 0.1 else row for row in rows]  # noqa: E731
        alarms = sum(bool(drift(stream(seed, failing, each=20), reference=REFERENCE, alpha=alpha).alarms) for seed in range(times))
        assert alarms <= binom.ppf(0.999, times, alpha)

    def test_what_does_not_keep_its_word_would_be_seen(self):
        """The same bound catches a stream whose days differ, so the test above can fail."""
        times, rng = 300, np.random.default_rng(8)
        day = np.repeat(np.arange(DAYS), 20)
        drifting = rng.normal(0.1 * day, 1, (times, len(day)))
        evidence = log_evidence(histograms(number_ranks(drifting, rng), day, DAYS)[:, REFERENCE:])
        assert (evidence.max(axis=1) >= np.log(20)).sum() > binom.ppf(0.999, times, 0.05)


class TestDrift:
    def test_quiet_on_reshuffles(self):
        for seed in range(12):
            found = drift(stream(seed), reference=REFERENCE)
            assert found.alarms == {}
            assert "no drift found" in conclusion(found)

    @pytest.mark.parametrize("seed", range(4))
    def test_a_new_generator(self, seed):
        """Half of the pictures turn into those of a generator whose scores lie elsewhere."""
        high = float(np.quantile(logits("fake", "clean"), 0.9))
        new = later(lambda row, rng: Row(row.day, high + float(rng.normal(0, 1)), False, row.format, row.side) if rng.random() < 0.5 else row)
        found = drift(stream(seed, new), reference=REFERENCE)
        assert found.alarms["score"] > "2026-01-08"
        assert {"format", "size"}.isdisjoint(found.alarms)
        assert conclusion(found).startswith("drift: score since")

    @pytest.mark.parametrize("seed", range(4))
    def test_a_change_of_codec(self, seed):
        """Half of the pictures arrive as WebP; scores stay."""

        def webp(row, rng):
            return Row(row.day, row.logit, row.unsure, "WEBP" if rng.random() < 0.5 else row.format, row.side)

        found = drift(stream(seed, later(webp)), reference=REFERENCE)
        assert set(found.alarms) == {"format"}
        format_ = next(signal for signal in found.signals if signal.name == "format")
        assert format_.days[-1].level == "large"
        assert format_.days[-1].psi > format_.days[-1].psi_by_chance

    def test_a_codec_never_seen(self):
        found = drift(stream(1, later(lambda row, rng: Row(row.day, row.logit, row.unsure, "AVIF", row.side))), reference=REFERENCE)
        assert found.alarms["format"] == "2026-01-09"

    def test_abstention(self):
        found = drift(stream(1, later(lambda row, rng: Row(row.day, row.logit, True, row.format, row.side))), reference=REFERENCE)
        assert set(found.alarms) == {"abstention"}

    def test_feature_distance_and_size(self):
        def far(day, rows, rng):
            return [Row(row.day, row.logit, row.unsure, row.format, row.side * (2 if day >= 8 else 1), rng.normal(2 * (day >= 8))) for row in rows]

        assert set(drift(stream(1, far), reference=REFERENCE).alarms) == {"size", "feature distance"}

    def test_it_is_deterministic_and_a_model_of_json(self):
        found = drift(stream(2), reference=REFERENCE)
        assert found == drift(stream(2), reference=REFERENCE)
        assert Drift.model_validate_json(found.model_dump_json()) == found
        assert found.notes == ["feature distance: not watched, the reference has too few values"]
        assert found.log10_alarm == pytest.approx(np.log10(5 / 0.01))
        assert [(day.pictures, day.failed) for day in found.days] == [(EACH, 0)] * DAYS

    def test_another_day_changes_nothing_of_those_before_it(self):
        """Else looking each day would be many watches and not one: each with its false-alarm rate."""
        unknown = later(lambda row, rng: Row(row.day, row.logit, row.unsure, "AVIF" if rng.random() < 0.5 else row.format, row.side))
        whole = stream(5, unknown)
        long = drift(whole, reference=REFERENCE)
        for days in (REFERENCE + 1, 9, DAYS - 1):
            known = set(whole.days[:days])
            short = drift(Stream(whole.days[:days], tuple(row for row in whole.rows if row.day in known), ""), reference=REFERENCE)
            for before, after in zip(short.signals, long.signals, strict=True):
                told = [day.log10_evidence for day in after.days[: days - REFERENCE]]
                assert [day.log10_evidence for day in before.days] == pytest.approx(told, abs=1e-9)

    def test_order_within_a_day_says_nothing(self):
        """A log sorted by score is not drift."""
        found = drift(stream(3, lambda day, rows, rng: sorted(rows, key=lambda row: row.logit)), reference=REFERENCE)
        assert found.alarms == {}

    def test_days_without_pictures_and_failed_ones(self):
        broken = lambda day, rows, rng: [Row(row.day, None) for row in rows[:2]] if day == 9 else rows  # noqa: E731
        found = drift(stream(4, broken), reference=REFERENCE)
        assert (found.days[9].pictures, found.days[9].failed) == (0, 2)
        assert (found.signals[0].days[9 - REFERENCE].psi, found.alarms) == (None, {})
        assert found.notes[-1] == "2026-01-10: no picture could be read"
        assert "no drift found" not in conclusion(found)
        assert "no picture of 2026-01-10 could be read: what came then is not known" in conclusion(found)

    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize("share", [1.0, 0.3])
    def test_files_that_cannot_be_read(self, seed, share):
        """All of them, or more than before: five in a hundred."""

        def broken(day, rows, rng):
            return [Row(row.day, None) if rng.random() < (share if day >= 8 else 0.05) else row for row in rows]

        found = drift(stream(seed, broken), reference=REFERENCE)
        assert set(found.alarms) == {"failed"}
        assert "2026-01-09" <= found.alarms["failed"] <= "2026-01-11"
        signal = next(signal for signal in found.signals if signal.name == "failed")
        assert (signal.reference.n, set(signal.reference.shares)) == (REFERENCE * EACH, {"read", "failed"})

    def test_files_that_failed_change_nothing_of_the_others(self):
        """Other signals are of files that could be read, whatever is known of a file that could not."""
        strange = lambda day, rows, rng: [*rows, *(Row(row.day, None, None, "AVIF", 9.0, 9.0) for row in rows[:3])]  # noqa: E731
        plain, found = drift(stream(1), reference=REFERENCE), drift(stream(1, strange), reference=REFERENCE)
        assert [signal for signal in found.signals if signal.name != "failed"] == [signal for signal in plain.signals if signal.name != "failed"]

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"reference": DAYS}, "at least one more"),
            ({"reference": 0}, "at least one more"),
            ({"alpha": 0.0}, "between 0 and 1"),
            ({"alpha": 1.0}, "between"),
        ],
    )
    def test_wrong_settings(self, options, words):
        with pytest.raises(ValueError, match=words):
            drift(stream(0), **options)

    def test_a_small_reference(self):
        with pytest.raises(LogError, match="at least 50"):
            drift(stream(0, each=10), reference=2)

    def test_many_formats_are_told_apart_up_to_a_number(self):
        strange = lambda day, rows, rng: [Row(row.day, row.logit, format=f"k{rng.integers(40)}") for row in rows]  # noqa: E731
        found = next(signal for signal in drift(stream(0, strange), reference=REFERENCE).signals if signal.name == "format")
        assert len(found.reference.shares) == watching.CATEGORIES
        assert sum(found.reference.shares.values()) == pytest.approx(1)


class TestPsi:
    def test_by_hand(self):
        p, q = np.array([30.5, 10.5]) / 41, np.array([20.5, 20.5]) / 41
        assert psi(np.array([30, 10]), np.array([20, 20])) == pytest.approx(((p - q) * np.log(p / q)).sum())

    @given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=12))
    @settings(max_examples=50)
    def test_never_negative_nor_infinite(self, pairs):
        a, b = np.array(pairs).T
        assert 0 <= psi(a, b) < np.inf
        assert psi(a, b) == pytest.approx(psi(b, a))

    def test_by_chance_is_what_chance_gives(self):
        rng = np.random.default_rng(9)
        drawn = [psi(rng.multinomial(200, [0.1] * 10), rng.multinomial(800, [0.1] * 10)) for _ in range(500)]
        assert np.mean(drawn) == pytest.approx(9 * (1 / 200 + 1 / 800), rel=0.15)


def table(folder: Path, of: Stream, name: str = "log.parquet", **more) -> Path:
    """As ``realgrain score`` writes it: columns beyond the schema are text."""
    blank = dict.fromkeys(("path", "label", "generator", "source", "set", "split", "sha256", "runtime"), "")
    rows = [
        {**blank, "condition": "clean", "bundle": "", "error": "" if row.logit is not None else "broken", "logit": row.logit, "probability": None}
        | {"day": row.day, "format": row.format or "", "width": str(row.side or ""), "height": "2000"}
        | more
        for row in of.rows
    ]
    write_table(as_table(rows), folder / name)
    return folder / name


class TestLogs:
    def test_scores_tables(self, tmp_path):
        of = stream(5, lambda day, rows, rng: [*rows[1:], Row(rows[0].day, None, None, "JPEG", 480.0)])
        found = read_logs([table(tmp_path, of)])
        assert found.days == of.days
        assert [(row.day, row.logit, row.format, row.side) for row in found.rows] == [(row.day, row.logit, row.format, row.side) for row in of.rows]

    def test_days_are_sorted_whatever_the_files(self, tmp_path):
        of = stream(5, days=2)
        halves = [Stream((), tuple(row for row in of.rows if row.day == day), "") for day in reversed(of.days)]
        assert read_logs([table(tmp_path, half, f"{place}.parquet") for place, half in enumerate(halves)]) == read_logs([table(tmp_path, of)])

    def test_each_file_is_a_day_in_the_order_given(self, tmp_path):
        paths = [table(tmp_path, stream(seed, days=1), f"{name}.parquet", day="") for seed, name in enumerate("ba")]
        assert read_logs(paths).days == tuple(map(str, paths))

    def test_time(self, tmp_path):
        found = read_logs([table(tmp_path, stream(0, days=1), day="", time="2026-03-04T23:59:00Z")])
        assert found.days == ("2026-03-04",)

    def test_verdicts_by_the_thresholds_of_the_detector_that_scored(self, tmp_path):
        shipped = read_bundle(None)
        for group in (None, 0, 1, 2):
            path = table(tmp_path, stream(0), bundle=shipped.hash, content_group=group)
            by, found = decision_of(shipped, Policy(), group), read_logs([path], shipped)
            assert [row.unsure for row in found.rows] == [by.camera < row.logit < by.ai for row in found.rows]
            assert {row.unsure for row in read_logs([path]).rows} == {None}
        assert {row.unsure for row in read_logs([table(tmp_path, stream(0), bundle="other")], shipped).rows} == {None}

    def test_small_and_strange_pictures_are_unsure_whatever_their_score(self, tmp_path):
        shipped = read_bundle(None)
        sure = Row("2026-01-01", 50.0, side=720.0)
        least, far = shipped.card.smallest_side, shipped.card.domain.threshold
        rows = [sure, replace(sure, side=float(least - 1)), replace(sure, side=float(least))]
        of = Stream(("2026-01-01",), tuple(rows), "")
        assert [row.unsure for row in read_logs([table(tmp_path, of, bundle=shipped.hash)], shipped).rows] == [False, True, False]
        for distance, unsure in ((far, True), (far - 1e-6, False)):
            found = read_logs([table(tmp_path, of, bundle=shipped.hash, feature_distance=repr(distance))], shipped)
            assert [row.unsure for row in found.rows] == [unsure, True, unsure]
        for length, unsure in ((2.0, True), (0.0, False)):
            found = read_logs([table(tmp_path, of, bundle=shipped.hash, borders=repr(length))], shipped)
            assert [row.unsure for row in found.rows] == [unsure, True, unsure]

    def test_a_table_tells_what_reports_without_stability_do(self, tmp_path, tiny_bundle, toy_pictures):
        """One definition: the same pictures, scored and judged."""
        detector = load(tiny_bundle, threads=1, policy=Policy(stability=False))
        small = tmp_path / "small.png"
        Image.open(toy_pictures[0]).resize((64, 64)).save(small)
        samples = [Sample(path=str(path), file=str(path), label="real", source="s") for path in (*toy_pictures, small)]
        write_table(as_table(score(detector, samples, traits=True)), tmp_path / "scores.parquet")
        reports = [detector.detect(sample.path).verdict.label == "unsure" for sample in samples]
        assert len(set(reports)) == 2
        assert [row.unsure for row in read_logs([tmp_path / "scores.parquet"], tiny_bundle).rows] == reports

    @pytest.mark.parametrize("more", [{"verdict": "ai"}, {"width": ""}, {"feature_distance": "0.5"}, {"borders": "0.5"}])
    def test_two_ways_to_tell_what_is_unsure_are_not_one_stream(self, tmp_path, more):
        shipped = read_bundle(None)
        paths = [
            table(tmp_path, stream(0, days=1), "a.parquet", bundle=shipped.hash),
            table(tmp_path, stream(0, days=1), "b.parquet", **{"bundle": shipped.hash, **more}),
        ]
        with pytest.raises(LogError, match=r"a\.parquet: what is unsure is told by its scores, size, in .*b\.parquet by "):
            read_logs(paths, shipped)
        assert len(read_logs(paths[:1], shipped).rows) == EACH

    def test_a_table_and_reports_are_not_one_stream(self, tmp_path, tiny_detector, toy_pictures):
        """Also where the detector is not there that could tell what was unsure in the table."""
        (tmp_path / "reports.jsonl").write_text(tiny_detector.detect(toy_pictures[0]).model_dump_json() + "\n")
        paths = [tmp_path / "reports.jsonl", table(tmp_path, stream(0, days=1), bundle=tiny_detector.bundle.hash)]
        with pytest.raises(LogError, match="watch them apart"):
            read_logs(paths)
        assert len(read_logs(paths[1:]).rows) == EACH

    def test_reports(self, tmp_path, tiny_detector, toy_pictures):
        path = tmp_path / "reports.jsonl"
        reports = [tiny_detector.detect(picture) for picture in toy_pictures[:3]]
        path.write_text("".join(report.model_dump_json() + "\n" for report in reports))
        found = read_logs([path])
        assert (found.days, found.bundle) == ((str(path),), tiny_detector.bundle.hash)
        assert [row.distance for row in found.rows] == [report.domain and report.domain.distance for report in reports]
        assert [(row.logit, row.unsure, row.format, row.side) for row in found.rows] == [
            (report.logit, report.verdict.label == "unsure", report.picture.format, min(report.picture.width, report.picture.height))
            for report in reports
        ]

    def test_lines_of_a_watched_folder(self, tmp_path, tiny_detector, toy_pictures):
        """Beside reports they say which files failed."""
        failed = Failed(name="bad.png", code="truncated", reason="cut short")
        lines = [tiny_detector.detect(toy_pictures[0]), failed, tiny_detector.detect(toy_pictures[1])]
        (tmp_path / "watched.jsonl").write_text("".join(line.model_dump_json() + "\n" for line in lines))
        found = read_logs([tmp_path / "watched.jsonl"])
        assert [row.logit for row in found.rows] == [lines[0].logit, None, lines[2].logit]
        assert found.bundle == tiny_detector.bundle.hash

    @pytest.mark.parametrize("asked", [{"profile": "art"}, {"max_fpr": 0.2}])
    def test_reports_by_other_thresholds_are_not_one_stream(self, tmp_path, tiny_bundle, toy_pictures, asked):
        """They call more or fewer pictures unsure, whatever comes in."""
        for name, policy in (("a", Policy()), ("b", Policy(**asked))):
            report = load(tiny_bundle, threads=1, policy=policy).detect(toy_pictures[0])
            (tmp_path / name).write_text(report.model_dump_json() + "\n")
        with pytest.raises(LogError, match=r"a: what is unsure is told by its verdicts of profile .*, in .*b by verdicts of"):
            read_logs([tmp_path / "a", tmp_path / "b"])

    def test_reports_with_and_without_a_look_at_re_saves_are_not_one_stream(self, tmp_path, tiny_bundle, toy_pictures):
        """Without it fewer are unsure. A picture that is unsure anyway says nothing of that."""
        with_, without = (load(tiny_bundle, threads=1, policy=Policy(stability=asked)) for asked in (True, False))
        sure = next(picture for picture in toy_pictures if without.detect(picture).verdict.label != "unsure")
        unsure = next(picture for picture in toy_pictures if without.detect(picture).verdict.label == "unsure")
        for name, detector, picture in (("a", with_, sure), ("b", without, sure), ("c", without, unsure)):
            (tmp_path / name).write_text(detector.detect(picture).model_dump_json() + "\n")
        with pytest.raises(LogError, match=r"a: what is unsure is told by its verdicts that hold in re-saves, in .*b by verdicts without"):
            read_logs([tmp_path / "a", tmp_path / "b"])
        assert len(read_logs([tmp_path / "a", tmp_path / "c"]).rows) == 2

    def test_a_committed_table_has_several_conditions(self):
        with pytest.raises(LogError, match="--condition"):
            read_logs([SCORES])
        assert len(read_logs([SCORES], condition="clean").rows) == len(logits("real", "clean")) + len(logits("fake", "clean"))
        with pytest.raises(LogError, match="no pictures in condition 'nosuch'"):
            read_logs([SCORES], condition="nosuch")

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"", "no pictures"),
            (b"{}\n", "line 1"),
            (b"[1]\n", "line 1"),
            (b'{"kind": "failed"}\n', "line 1"),
            (b"no json", "line 1"),
            (b"PAR1 cut off", "parquet"),
            (b"\xff\xfe\n", "line 1"),
        ],
    )
    def test_no_logs(self, tmp_path, content, words):
        path = tmp_path / "log"
        path.write_bytes(content)
        with pytest.raises(LogError, match=words) as error:
            read_logs([path])
        assert str(error.value).startswith(str(path))

    @pytest.mark.parametrize(("more", "words"), [({"day": "yesterday"}, "no day"), ({"width": "wide"}, "no number"), ({"width": "nan"}, "no number")])
    def test_bad_values(self, tmp_path, more, words):
        with pytest.raises(LogError, match=words):
            read_logs([table(tmp_path, stream(0, days=1), **more)])

    def test_what_does_not_belong_together(self, tmp_path):
        one, two = (table(tmp_path, stream(0, days=1), f"{name}.parquet", bundle=name) for name in "ab")
        with pytest.raises(LogError, match="2 detectors"):
            read_logs([one, two])
        with pytest.raises(LogError, match="twice"):
            read_logs([one, one])
        (tmp_path / "link.parquet").hardlink_to(one)
        for again in (tmp_path / ".." / tmp_path.name / one.name, tmp_path / "link.parquet"):
            with pytest.raises(LogError, match="twice"):
                read_logs([one, again])
        with pytest.raises(LogError, match="without a day"):
            read_logs([one, table(tmp_path, stream(0, days=1), "c.parquet", day="", bundle="a")])
        with pytest.raises(LogError, match="cannot be read"):
            read_logs([tmp_path])

    def test_a_table_without_scores(self, tmp_path):
        pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
        with pytest.raises(LogError, match="no column logit"):
            read_logs([tmp_path / "x.parquet"])


class TestCommand:
    @pytest.fixture
    def call(self, capsys, tmp_path):
        def call(of: Stream, *arguments) -> SimpleNamespace:
            code = main(["drift", str(table(tmp_path, of)), "--reference", str(REFERENCE), *map(str, arguments)])
            return SimpleNamespace(code=code, **dict(zip(("out", "err"), capsys.readouterr(), strict=True)))

        return call

    def test_quiet(self, call):
        found = call(stream(0), "--fail-on", "drift")
        assert (found.code, found.err) == (0, "")
        assert "no drift found in score, format, size" in found.out

    def test_alarm_json_and_plot(self, call, tmp_path):
        of = stream(1, later(lambda row, rng: Row(row.day, row.logit, row.unsure, "$AVIF[red]", row.side)))
        assert call(of).code == 0
        found = call(of, "--json", "--fail-on", "drift", "-o", tmp_path / "new" / "drift.json", "--plot", tmp_path / "new" / "drift.png")
        assert found.code == 1
        assert json.loads(found.out) == json.loads((tmp_path / "new" / "drift.json").read_text())["result"]
        assert Drift.model_validate_json(found.out).alarms == {"format": "2026-01-09"}
        assert (tmp_path / "new" / "drift.png").read_bytes().startswith(b"\x89PNG")

    @pytest.mark.parametrize("name", ["drift.jpg", "drift"])
    def test_a_plot_is_png(self, call, tmp_path, name):
        """It would be PNG whatever its name; that is said before the work."""
        found = call(stream(0), "--plot", tmp_path / name)
        assert (found.code, found.out) == (2, "")
        assert f"{name}: a plot is a .png file" in found.err
        assert not (tmp_path / name).exists()

    def test_what_draws_is_looked_for_before_the_work(self, call, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        found = call(stream(0), "-o", tmp_path / "drift.json", "--plot", tmp_path / "drift.png")
        assert (found.code, found.out) == (2, "")
        assert "needs the package matplotlib" in found.err
        assert not (tmp_path / "drift.json").exists()

    def test_plot_shows_the_finding(self):
        quiet, loud = (
            drift(stream(1, change), reference=REFERENCE) for change in (lambda day, rows, rng: rows, later(lambda row, rng: Row(row.day, 9.0)))
        )
        assert draw(quiet) == draw(quiet)
        assert draw(quiet) != draw(loud)

    @pytest.mark.parametrize("arguments", [(), ("nowhere.parquet",), ("--reference", "0")])
    def test_wrong_usage(self, arguments, capsys):
        assert main(["drift", *arguments]) == 2
        assert capsys.readouterr().err
