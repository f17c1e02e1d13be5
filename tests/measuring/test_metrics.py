import inspect
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from sklearn import metrics as sk

from realgrain.detector.calibration import rate
from realgrain.measuring.metrics import evaluate
from realgrain.measuring.points import METRICS, point_metrics
from realgrain.measuring.resampling import resample_counts, weighted_metrics
from realgrain.measuring.results import ConditionResult, Evaluation
from realgrain.measuring.tables import render

ROOT = Path(__file__).parents[2]
COLUMNS = ["label", "generator", "source", "condition", "logit", "probability", "error"]
SCHEMA = pa.schema([(name, pa.float64() if name in ("logit", "probability") else pa.string()) for name in COLUMNS])
BOTH_CLASSES = {
    *("auc", "ap", "eer", "balanced_accuracy_at_half", "balanced_accuracy_at_threshold", "accuracy_at_oracle", "balanced_accuracy_at_oracle"),
    *("tpr_at_0.1_fpr", "tpr_at_1_fpr", "tpr_at_5_fpr"),
}
OF_FAKES = {"tpr_at_threshold", "fake_accuracy_at_half", "fake_accuracy_at_threshold"}
OF_REALS = {"fpr_at_threshold", "real_accuracy_at_half", "real_accuracy_at_threshold"}


def table(rows, threshold=0.0):
    made = pa.Table.from_pylist([{"path": "p", "extra": 1, **dict(zip(COLUMNS, row, strict=True))} for row in rows])
    made = made.select(COLUMNS).cast(SCHEMA) if rows else SCHEMA.empty_table()
    return made.append_column("threshold", pa.array([threshold] * len(rows), pa.float64()))


def row(label, logit, *, generator="g", source="s", condition="clean", error="", probability=None):
    if probability is None and logit is not None:
        probability = 1 / (1 + math.exp(-logit)) if math.isfinite(logit) else 0.5
    return (label, generator if label == "fake" else "", source, condition, logit, probability, error)


def random_data(seed, n=300, ties=False):
    rng = np.random.default_rng(seed)
    fake = rng.random(n) < 0.4
    logit = rng.normal(size=n) + fake
    logit = np.round(logit, 1) if ties else logit
    probability = np.round(1 / (1 + np.exp(-1.5 * logit)), 2 if ties else 12)
    return fake, logit, probability


def random_table(seed, n=300, threshold=0.3):
    return table([row("fake" if f else "real", x, probability=p) for f, x, p in zip(*random_data(seed, n), strict=True)], threshold)


def only(evaluation) -> ConditionResult:
    (found,) = evaluation.conditions.values()
    return found


def without_failures(found: ConditionResult) -> dict[str, Any]:
    parts = {
        kind: {name: of.model_copy(update={"n_failed": 0}) for name, of in getattr(found, kind).items()} for kind in ("generators", "real_sources")
    }
    return found.model_copy(update={"n_failed": 0, **parts}).model_dump()


def values(evaluation) -> dict[str, Any]:
    return {name: estimate.value for name, estimate in only(evaluation).metrics.items()}


@pytest.mark.parametrize("ties", [False, True])
def test_metrics_match_independent_oracles(ties):
    import torch
    from torchmetrics.classification import BinaryCalibrationError

    fake, logit, probability = random_data(1, ties=ties)
    rows = [row("fake" if f else "real", x, probability=p) for f, x, p in zip(fake, logit, probability, strict=True)]
    found = values(evaluate(table(rows, threshold=0.3), resamples=0))
    fpr, tpr, _ = sk.roc_curve(fake, logit, drop_intermediate=False)
    nearest = np.abs(fpr - (1 - tpr)).argmin()
    anywhere = [logit >= cut for cut in (*logit, np.inf)]
    expected = {
        "auc": sk.roc_auc_score(fake, logit),
        "ap": sk.average_precision_score(fake, logit),
        "accuracy_at_half": sk.accuracy_score(fake, probability >= 0.5),
        "balanced_accuracy_at_half": sk.balanced_accuracy_score(fake, probability >= 0.5),
        "accuracy_at_threshold": sk.accuracy_score(fake, logit >= 0.3),
        "balanced_accuracy_at_threshold": sk.balanced_accuracy_score(fake, logit >= 0.3),
        "tpr_at_1_fpr": max(t for f, t in zip(fpr, tpr, strict=True) if f <= 0.01),
        "tpr_at_5_fpr": max(t for f, t in zip(fpr, tpr, strict=True) if f <= 0.05),
        "eer": pytest.approx((fpr[nearest] + 1 - tpr[nearest]) / 2, abs=1e-6),  # torchmetrics counts in single precision
        "real_accuracy_at_half": np.mean(probability[~fake] < 0.5),
        "fake_accuracy_at_half": np.mean(probability[fake] >= 0.5),
        "real_accuracy_at_threshold": np.mean(logit[~fake] < 0.3),
        "fake_accuracy_at_threshold": np.mean(logit[fake] >= 0.3),
        "accuracy_at_oracle": max(sk.accuracy_score(fake, flagged) for flagged in anywhere),
        "balanced_accuracy_at_oracle": max(sk.balanced_accuracy_score(fake, flagged) for flagged in anywhere),
        "tpr_at_0.1_fpr": max(t for f, t in zip(fpr, tpr, strict=True) if f <= 0.001),
        "brier": np.mean((probability - fake) ** 2),
        "tpr_at_threshold": np.mean(logit[fake] >= 0.3),
        "fpr_at_threshold": np.mean(logit[~fake] >= 0.3),
        "ece": BinaryCalibrationError(n_bins=15, norm="l1")(torch.tensor(probability), torch.tensor(fake).long()).item(),
    }
    assert tuple(found) == METRICS
    assert found.pop("eer") == expected.pop("eer")
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_each_bootstrap_replicate_equals_the_library_metrics_of_the_repeated_rows(ties):
    _, logit, probability = random_data(2, n=160, ties=ties)
    fake = np.arange(160) < 60  # 100 reals: false-positive rates of exactly 1 % and 5 % do occur
    logit[fake] += 1
    probability[:6] = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]  # on the edges of the calibration bins
    (counts,) = resample_counts(fake, 40, seed=5)
    replicates = weighted_metrics(counts, fake, logit, probability, 0.3)
    for index, times in enumerate(counts.astype(int)):
        expected = point_metrics(np.repeat(fake, times), np.repeat(logit, times), np.repeat(probability, times), 0.3)
        assert {name: replicates[name][index] for name in METRICS} == pytest.approx(expected, abs=1e-12)


drawn_rows = st.lists(st.tuples(st.booleans(), st.integers(-5, 5), st.integers(0, 6)), min_size=1, max_size=30)


@settings(max_examples=30, deadline=None)
@given(drawn_rows, st.booleans())
def test_replicates_of_any_table_equal_the_library_metrics(drawn, clustered):
    """With ties, with one class only, and with resamples in which a set of rows misses a class."""
    fake, logit, cluster = (np.array(of) for of in zip(*drawn, strict=True))
    logit, probability = logit / 2, (logit + 5) / 10
    counts = np.concatenate(list(resample_counts(fake, 5, seed=1, clusters=cluster.astype(str).astype(object) if clustered else None)))
    part = cluster != 3
    if not part.any():
        return
    replicates = weighted_metrics(counts[:, part], fake[part], logit[part], probability[part], 0.5)
    for index, times in enumerate(counts[:, part].astype(int)):
        expected = point_metrics(*(np.repeat(of[part], times) for of in (fake, logit, probability)), 0.5)
        found = {name: None if math.isnan(replicates[name][index]) else replicates[name][index] for name in METRICS}
        assert found == pytest.approx(expected, abs=1e-12)


def test_clusters_are_drawn_whole_within_their_class():
    fake = random_data(3, n=60)[0]
    clusters = np.array([f"c{place % 7}" for place in range(60)], dtype=object)
    counts = np.concatenate(list(resample_counts(fake, 40, seed=0, clusters=clusters)))
    for own in (fake, ~fake):
        drawn = [counts[:, own & (clusters == f"c{place}")] for place in range(7)]
        assert all((of == of[:, :1]).all() for of in drawn)
        assert (sum(of[:, 0] for of in drawn) == 7).all()
    both = [counts[:, own & (clusters == "c0")][:, 0] for own in (fake, ~fake)]
    assert not np.array_equal(*both)  # a cluster with both classes is drawn in each by itself


def test_sets_keep_their_class_sizes():
    fake = random_data(3, n=60)[0]
    sets = np.array([f"s{place % 3}" for place in range(60)], dtype=object)
    counts = np.concatenate(list(resample_counts(fake, 20, seed=0, sets=sets)))
    for own in (fake, ~fake):
        for name in ("s0", "s1", "s2"):
            assert (counts[:, own & (sets == name)].sum(axis=1) == (own & (sets == name)).sum()).all()


def test_a_picture_that_sets_share_is_drawn_once_for_all_of_them():
    """Drawn in each set by itself, the photographs of eight sets that have the same ones would seem to be eight times as many."""
    n_sets, n = 8, 30
    pictures = np.concatenate([np.tile(np.arange(n), n_sets), n + np.arange(n * n_sets)])
    fake = pictures >= n
    sets = np.concatenate([np.repeat([f"s{place}" for place in range(n_sets)], n)] * 2).astype(object)
    counts = np.concatenate(list(resample_counts(fake, 400, seed=0, sets=sets, pictures=pictures)))
    assert (counts[:, ~fake].reshape(400, n_sets, n) == counts[:, None, :n]).all()
    assert (counts[:, :n].sum(axis=1) == n).all()
    right = np.arange(n) < 15
    assert (counts[:, ~fake] @ np.tile(right, n_sets) / (n * n_sets)).std() == pytest.approx((0.25 / n) ** 0.5, rel=0.1)
    alone = np.concatenate(list(resample_counts(fake, 20, seed=0, sets=sets, pictures=np.arange(len(fake)))))
    assert np.array_equal(alone, np.concatenate(list(resample_counts(fake, 20, seed=0, sets=sets))))


def test_resamples_keep_the_class_sizes_and_differ():
    fake = random_data(3, n=50)[0]
    counts = np.concatenate(list(resample_counts(fake, 30, seed=0)))
    assert counts.shape == (30, 50)
    assert (counts[:, fake].sum(axis=1) == fake.sum()).all()
    assert (counts[:, ~fake].sum(axis=1) == (~fake).sum()).all()
    assert len(np.unique(counts, axis=0)) == 30


def test_chunked_resampling_draws_the_same_counts(monkeypatch):
    fake = random_data(3, n=50)[0]
    whole = np.concatenate(list(resample_counts(fake, 30, seed=7)))
    monkeypatch.setattr("realgrain.measuring.resampling._CELLS", 50 * 7)
    chunks = list(resample_counts(fake, 30, seed=7))
    assert [len(chunk) for chunk in chunks] == [7, 7, 7, 7, 2]
    assert np.array_equal(np.concatenate(chunks), whole)


def test_hand_made_table():
    rows = [row("real", x) for x in (-3.0, -2.0, -1.0, 1.5)] + [row("fake", x) for x in (-1.5, 1.0, 2.0, 3.0)]
    found = only(evaluate(table(rows, threshold=1.0)))
    assert (found.n_real, found.n_fake, found.n_failed) == (4, 4, 0)
    # 13 of the 16 pairs are in order: 1.5 beats two fakes, -1 beats one
    assert found.metrics["auc"].value == pytest.approx(13 / 16)
    assert found.metrics["tpr_at_1_fpr"].value == 0.5
    assert found.metrics["tpr_at_threshold"].value == 0.75  # 1.0 itself is flagged
    assert found.metrics["fpr_at_threshold"].value == 0.25
    assert found.metrics["accuracy_at_half"].value == 0.75


def test_operating_points_include_a_false_positive_rate_of_exactly_the_limit():
    reals = [row("real", float(x)) for x in range(100)]
    fakes = [row("fake", x) for x in (98.5, 97.5, 94.5, 93.5)]
    found = values(evaluate(table(reals + fakes), resamples=0))
    assert (found["tpr_at_1_fpr"], found["tpr_at_5_fpr"]) == (0.25, 0.75)


def test_each_row_is_flagged_from_the_threshold_beside_it():
    rows = [row("real", 0.0), row("real", 1.5), row("fake", 1.0), row("fake", 1.0)] * 5
    at = [0.5, 1.0, 2.0, 1.0]
    made = table(rows).drop_columns("threshold").append_column("threshold", pa.array(at * 5))
    evaluation = evaluate(made, resamples=100)
    assert evaluation.thresholds == [0.5, 1.0, 2.0]
    found = only(evaluation)
    assert (found.metrics["fpr_at_threshold"].value, found.metrics["tpr_at_threshold"].value) == (0.5, 0.5)
    assert (found.recall_per_generator["g"].k, found.fpr_per_source["s"].k) == (5, 5)
    assert found.metrics["tpr_at_threshold"].low < 0.5 < found.metrics["tpr_at_threshold"].high
    fake, logit = np.array([of[0] == "fake" for of in rows]), np.array([of[4] for of in rows])
    (counts,) = resample_counts(fake, 5, seed=1)
    drawn = weighted_metrics(counts, fake, logit, None, np.array(at * 5))["tpr_at_threshold"]
    assert drawn == pytest.approx([np.mean(np.repeat([False, True] * 5, times.astype(int)[fake])) for times in counts])


@pytest.mark.parametrize(
    "without",
    [
        lambda made: made.drop_columns("threshold"),
        lambda made: made.drop_columns("threshold").replace_schema_metadata({b"realgrain": b'{"threshold": 0.3}'}),
        lambda made: made.set_column(made.num_columns - 1, "threshold", pa.array([None] + [0.3] * (len(made) - 1))),
    ],
)
def test_without_a_threshold_only_what_needs_it_is_left_out(without):
    found = evaluate(without(random_table(4)), resamples=20)
    assert found.thresholds == []
    assert {name for name, value in values(found).items() if value is None} == {name for name in METRICS if "threshold" in name}
    assert only(found).recall_per_generator == only(found).fpr_per_source == only(found).recall_per_source == {}
    assert only(found).worst_generator is None and only(found).worst_source is None


def test_rates_by_generator_and_source_and_their_worst():
    rows = [row("fake", x, generator=g, source="folder") for g, x in (("a", 1.0), ("a", -1.0), ("b", 1.0), ("c", -1.0))]
    rows += [row("fake", -1.0, generator="d", source="other")] * 3
    rows += [row("real", x, source=s) for s, x in (("t", 1.0), ("t", -1.0), ("u", -1.0), ("u", -2.0), ("u", 0.0))]
    rows += [row("real", x, source="v") for x in (1.0, -1.0, 1.0, -1.0)]
    found = only(evaluate(table(rows, threshold=0.0), resamples=0))
    assert {name: (r.k, r.n) for name, r in found.recall_per_generator.items()} == {"a": (1, 2), "b": (1, 1), "c": (0, 1), "d": (0, 3)}
    assert {name: (r.k, r.n) for name, r in found.recall_per_source.items()} == {"folder": (2, 4), "other": (0, 3)}
    assert {name: (r.k, r.n) for name, r in found.fpr_per_source.items()} == {"t": (1, 2), "u": (1, 3), "v": (2, 4)}
    assert found.worst_generator == "d"  # as low as c, but on more rows
    assert found.worst_source == "v"  # as high as t, but on more rows


def test_rate_interval_is_clopper_pearson():
    from scipy.stats import beta

    found = rate([True] * 3 + [False] * 7)
    assert (found.k, found.n, found.value) == (3, 10, 0.3)
    assert (found.low, found.high) == pytest.approx((beta.ppf(0.025, 3, 8), beta.ppf(0.975, 4, 7)), abs=1e-9)
    with pytest.raises(ValueError, match="at least one"):
        rate([])


def test_failed_rows_are_counted_and_change_nothing_else():
    good = random_table(5)
    rows = [row("fake", None, error="unreadable"), row("real", None), row("real", 9.0, error="x")]
    rows.append(("fake", "g", "s", "clean", 9.0, None, ""))
    bad = table(rows, threshold=0.3)
    both = only(evaluate(pa.concat_tables([good, bad]), resamples=30))
    assert both.n_failed == 4
    assert [both.generators["g"].n_failed, both.real_sources["s"].n_failed] == [4, 4]
    assert without_failures(both) == without_failures(only(evaluate(good, resamples=30)))


@pytest.mark.parametrize(("label", "undefined"), [("real", BOTH_CLASSES | OF_FAKES), ("fake", BOTH_CLASSES | OF_REALS)])
def test_one_class_leaves_the_metrics_that_need_both_undefined(label, undefined):
    found = only(evaluate(table([row(label, x) for x in (-1.0, 0.5, 2.0) * 3]), resamples=50))
    assert {name for name, estimate in found.metrics.items() if estimate.value is None} == undefined
    assert all((estimate.low is None) == (name in undefined) for name, estimate in found.metrics.items())
    assert found.metrics["accuracy_at_half"].value == pytest.approx(2 / 3 if label == "fake" else 1 / 3)


def test_a_condition_where_everything_failed_is_all_undefined():
    found = only(evaluate(table([row("fake", None, error="e"), row("real", None, error="e")])))
    assert (found.n_real, found.n_fake, found.n_failed) == (0, 0, 2)
    assert all(estimate.value is None for estimate in found.metrics.values())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no rows"),
        ([row("real", 0.0), row("fake", math.nan)], "NaN"),
        ([row("real", 0.0), row("fake", math.inf)], "infinite"),
        ([row("real", 0.0, probability=1.5)], r"\[0, 1\]"),
        ([row("real", 0.0, probability=math.nan)], r"\[0, 1\]"),
        ([row("photo", 0.0)], "unknown labels"),
        ([row("real", 0.0, source=None)], "nulls in source"),
    ],
)
def test_bad_tables_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        evaluate(table(rows))


def test_bad_arguments_are_refused():
    made = random_table(6)
    with pytest.raises(ValueError, match="lacks the columns logit"):
        evaluate(made.drop_columns(["logit"]))
    with pytest.raises(ValueError, match="finite"):
        evaluate(random_table(6, threshold=math.nan))
    with pytest.raises(ValueError, match="negative"):
        evaluate(made, resamples=-1)


def test_intervals_hold_the_value_and_repeat_with_the_seed():
    made = random_table(7, n=400)
    first = evaluate(made, resamples=400, seed=3)
    for name, estimate in only(first).metrics.items():
        assert estimate.value is not None and estimate.low is not None and estimate.high is not None
        assert estimate.low < estimate.high, name
        # ECE is left out: resampling adds to it, so its percentiles may lie above it
        assert name == "ece" or estimate.low <= estimate.value <= estimate.high, name
    assert evaluate(made, resamples=400, seed=3) == first
    assert only(evaluate(made, resamples=400, seed=4)).metrics != only(first).metrics


def test_interval_width_is_that_of_the_binomial():
    found = only(evaluate(random_table(8, n=2000), resamples=1000))
    estimate, n = found.metrics["tpr_at_threshold"], found.n_fake
    assert estimate.value is not None and estimate.low is not None and estimate.high is not None
    normal = 2 * 1.96 * math.sqrt(estimate.value * (1 - estimate.value) / n)
    assert estimate.high - estimate.low == pytest.approx(normal, rel=0.15)


def test_conditions_are_kept_apart_and_in_order():
    web, clean = random_table(9), random_table(10)
    web = web.set_column(web.column_names.index("condition"), "condition", pa.array(["web"] * web.num_rows))
    both = evaluate(pa.concat_tables([web, clean]), resamples=30)
    assert list(both.conditions) == ["web", "clean"]
    assert both.conditions["clean"] == only(evaluate(clean, resamples=30))


def test_dumps_to_json_and_back():
    found = evaluate(random_table(11), resamples=10)
    assert Evaluation.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize("file", sorted((ROOT / "results" / "test").glob("*.json")), ids=lambda file: file.stem)
def test_results_can_still_be_read_those_of_before_there_were_parts_too(file):
    raw = json.loads(file.read_text())["result"]
    found = Evaluation.model_validate(raw)
    for name, of in found.conditions.items():
        before = raw["conditions"][name]
        assert (of.sets.keys(), of.macc.keys()) == (before.get("sets", {}).keys(), before.get("macc", {}).keys())


scores = st.lists(st.tuples(st.booleans(), st.integers(-20, 20)), min_size=2, max_size=40).filter(lambda s: len({f for f, _ in s}) == 2)


@settings(max_examples=30, deadline=None)
@given(scores)
def test_ranking_metrics_ignore_increasing_transforms(drawn):
    plain = values(evaluate(table([row("fake" if f else "real", float(x)) for f, x in drawn]), resamples=0))
    bent = values(evaluate(table([row("fake" if f else "real", math.exp(x / 7) - 3) for f, x in drawn]), resamples=0))
    for name in ("auc", "ap", "eer", "accuracy_at_oracle", "balanced_accuracy_at_oracle", "tpr_at_0.1_fpr", "tpr_at_1_fpr", "tpr_at_5_fpr"):
        assert plain[name] == pytest.approx(bent[name], abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(scores)
def test_swapped_labels_and_mirrored_scores_mirror_the_metrics(drawn):
    plain = values(evaluate(table([row("fake" if f else "real", float(x)) for f, x in drawn], 0.5), resamples=0))
    swapped = values(evaluate(table([row("real" if f else "fake", float(x)) for f, x in drawn], 0.5), resamples=0))
    mirrored = values(evaluate(table([row("real" if f else "fake", -float(x)) for f, x in drawn], -0.5), resamples=0))
    assert swapped["auc"] == pytest.approx(1 - plain["auc"], abs=1e-12)
    assert mirrored["auc"] == pytest.approx(plain["auc"], abs=1e-12)
    assert swapped["tpr_at_threshold"] == plain["fpr_at_threshold"]
    assert mirrored["balanced_accuracy_at_threshold"] == pytest.approx(plain["balanced_accuracy_at_threshold"], abs=1e-12)


class TestThresholds:
    """A threshold that saw the test labels has no way into a result."""

    def test_only_those_in_the_table(self):
        assert evaluate(random_table(1), resamples=0).thresholds == [0.3]
        assert set(inspect.signature(evaluate).parameters) == {"table", "resamples", "seed", "clusters"}

    @settings(max_examples=30, deadline=None)
    @given(scores, st.integers(-20, 20))
    def test_labels_never_move_it(self, drawn, threshold):
        """Whatever the labels of the test rows are, a row is flagged by its logit and the stored number alone."""
        for flip in (False, True):
            rows = [row("fake" if f != flip else "real", float(x)) for f, x in drawn]
            found = only(evaluate(table(rows, float(threshold)), resamples=0))
            assert sum(r.k for r in (*found.recall_per_generator.values(), *found.fpr_per_source.values())) == sum(x >= threshold for _, x in drawn)

    @settings(max_examples=30, deadline=None)
    @given(scores, st.integers(-20, 20))
    def test_the_oracle_is_never_below_any_threshold(self, drawn, threshold):
        found = values(evaluate(table([row("fake" if f else "real", float(x)) for f, x in drawn], threshold + 0.5), resamples=0))
        for kind in ("accuracy", "balanced_accuracy"):
            assert found[f"{kind}_at_oracle"] >= max(found[f"{kind}_at_threshold"], found[f"{kind}_at_half"]) - 1e-12


def test_rendering_shows_figures_intervals_and_names_as_they_are():
    rows = [row("real", -1.0, source="camera")] * 4 + [row("fake", 1.0, generator="gan[v2]")] * 4
    rows += [row("fake", -2.0, condition="web", generator="gan[v2]")] * 4 + [row("fake", None, condition="web", error="broken")]
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(render(evaluate(table(rows), resamples=10)))
    text = console.export_text()
    lines = [[cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")] for line in text.splitlines()]
    assert ["", "clean", "web"] in lines
    assert ["failed", "0", "1"] in lines
    assert ["auc", "1.000", "–"] in lines
    assert "* clean: no bootstrap interval, 4 real pictures and 4 fake pictures: fewer than 5." in text
    # 0.025 ** (1 / 4) is 40 %: the exact interval's other end when all or none of four are flagged
    assert ["gan[v2]", "4/4 100% (40%–100%)", "0/4 0% (0%–60%)"] in lines
    assert ["camera", "0/4 0% (0%–60%)", "–"] in lines
