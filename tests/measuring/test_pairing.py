import json
import shutil
from functools import partial
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import chi2
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from realgrain.learning.data import read_manifest
from realgrain.measuring.delong import delong_test, placements
from realgrain.measuring.lock import LOCK, LockError, Protocol, read_lock
from realgrain.measuring.metrics import evaluate, numbered
from realgrain.measuring.pairing import PairingError, compare_runs, sign_test
from realgrain.measuring.resampling import resample_counts, weighted_metrics
from realgrain.measuring.run_tables import rows
from realgrain.measuring.running import SCORES, run
from realgrain.measuring.score import schema_with


def by_definition(fake, first, second):
    """DeLong et al. 1988, equations 3 to 6, over all pairs of a fake and a real."""
    from scipy.stats import norm

    auc, ten, one = [], [], []
    for scores in (first, second):
        psi = np.array([[1.0 if x > y else 0.5 if x == y else 0.0 for y in scores[~fake]] for x in scores[fake]])
        auc.append(psi.mean())
        ten.append(psi.mean(axis=1))
        one.append(psi.mean(axis=0))
    covariance = np.cov(ten) / fake.sum() + np.cov(one) / (~fake).sum()
    contrast = np.array([1.0, -1.0])
    return 2 * norm.sf(abs(auc[0] - auc[1]) / np.sqrt(contrast @ covariance @ contrast)), ten, one


def scores(seed, n=(40, 60), shift=(0.8, 1.2), decimals=8):
    rng = np.random.default_rng(seed)
    fake = rng.permutation(np.repeat([False, True], n))
    common = rng.normal(size=fake.size)
    return fake, *(np.round(common + rng.normal(size=fake.size) + of * fake, decimals) for of in shift)


class TestDeLong:
    @pytest.mark.parametrize("decimals", [8, 0])
    @pytest.mark.parametrize("seed", range(4))
    def test_equals_the_definition(self, seed, decimals):
        fake, first, second = scores(seed, decimals=decimals)
        p, ten, one = by_definition(fake, first, second)
        found = placements(fake, np.stack([first, second]))
        np.testing.assert_allclose(found[0], ten)
        np.testing.assert_allclose(found[1], one)
        np.testing.assert_allclose(found[0].mean(axis=1), [roc_auc_score(fake, first), roc_auc_score(fake, second)])
        assert delong_test(fake, first, second) == pytest.approx(p)
        assert delong_test(fake, second, first) == pytest.approx(p)

    def test_agrees_with_the_bootstrap(self):
        fake, first, second = scores(1, n=(250, 350), shift=(0.8, 1.0))
        drawn = np.concatenate(
            [
                weighted_metrics(counts, fake, second, None, None)["auc"] - weighted_metrics(counts, fake, first, None, None)["auc"]
                for counts in resample_counts(fake, 2000, 0)
            ]
        )
        of_fakes, of_reals = placements(fake, np.stack([first, second]))
        spread = np.sqrt((of_fakes[0] - of_fakes[1]).var(ddof=1) / fake.sum() + (of_reals[0] - of_reals[1]).var(ddof=1) / (~fake).sum())
        assert drawn.std() == pytest.approx(spread, rel=0.08)

    def test_holds_its_level(self):
        ps = [delong_test(*scores(seed, shift=(1, 1))) for seed in range(400)]
        assert np.mean(np.array(ps) < 0.05) == pytest.approx(0.05, abs=0.03)

    def test_edges(self):
        fake, first, _ = scores(0)
        assert delong_test(fake, first, first) == 1
        assert delong_test(fake, first, 3 * first + 1) == 1
        assert delong_test(np.array([True, False, False]), np.zeros(3), np.arange(3.0)) is None
        perfect, reverse = fake.astype(float), -fake.astype(float)
        assert delong_test(fake, perfect, reverse) is None


@pytest.mark.parametrize(("b", "c"), [(0, 0), (5, 5), (1, 9), (30, 60)])
def test_the_sign_test_is_mcnemars_where_classes_are_equal(b, c):
    first = np.repeat([True, False, True, False], [b, c, 10, 4])
    second = np.repeat([False, True, True, False], [b, c, 10, 4])
    fake = np.arange(len(first)) % 2 == 0
    p = sign_test(fake, first, second)
    assert sign_test(fake, second, first) == pytest.approx(p)
    if b == c:
        assert p == 1
    elif b + c > 50:
        assert p == pytest.approx(chi2.sf((abs(b - c) - 1) ** 2 / (b + c), 1), rel=0.1)
    else:
        assert p == pytest.approx(2 * 11 / 1024)  # 1 or fewer heads of 10


@pytest.mark.parametrize("seed", range(8))
def test_the_sign_test_counts_all_ways_to_swap_decisions(seed):
    rng = np.random.default_rng(seed)
    fake = np.arange(14) < rng.integers(2, 12)
    first, second = rng.random((2, 14)) < [[0.4], [0.8]]
    weights = np.where(fake, 1 / fake.sum(), 1 / (~fake).sum())
    gains = (second.astype(int) - first) * weights
    swapped = [abs(sum(sign * gain for sign, gain in zip(signs, gains, strict=True))) for signs in product((1, -1), repeat=14)]
    assert sign_test(fake, first, second) == pytest.approx(np.mean(np.array(swapped) >= abs(gains.sum()) - 1e-9))


def test_the_sign_test_is_of_balanced_accuracy():
    """As many decisions are lost as won, but those won are of the smaller class."""
    fake = np.repeat([False, True], [1000, 100])
    first, second = np.ones(1100, bool), np.ones(1100, bool)
    second[:60] = False
    first[-60:] = False
    assert sign_test(fake, first, second) < 1e-9


@pytest.fixture(scope="module")
def first(tiny_detector, toy_manifest, tmp_path_factory):
    samples = read_manifest(toy_manifest)
    return run(tmp_path_factory.mktemp("runs") / "first", tiny_detector, samples, "toy", Protocol(conditions=("clean", "hard"), resamples=0)).folder


@pytest.fixture
def second(first, tmp_path):
    """A run like the first whose table of scores a test changes."""
    shutil.copytree(first, tmp_path / "second")

    return partial(rewrite, tmp_path / "second")


def rewrite(folder, edit, threshold=None, clusters=None):
    """A run's table of scores as edited, with one threshold for all, and with clusters in its lock."""
    lock = read_lock(folder)
    lock = lock.model_copy(update={"protocol": lock.protocol.model_copy(update={"clusters": clusters})})
    (folder / LOCK).write_bytes(lock.content())
    table = pq.read_table(folder / SCORES)
    said = {**json.loads(table.schema.metadata[b"realgrain"]), "lock": lock.sha256}
    rows = edit([{**row, "threshold": row["threshold"] if threshold is None else threshold} for row in table.to_pylist()])
    columns = {name for row in rows for name in row}
    pq.write_table(pa.Table.from_pylist(rows, schema=schema_with(columns, **said)), folder / SCORES)
    return folder


def noisy(rows):
    rng = np.random.default_rng(0)
    return [{**row, "logit": row["logit"] + rng.normal(0, 3)} for row in rows]


def dated(rows, shift=0.0):
    """Four pictures of a day follow each other in two conditions; what moves their scores is the day's."""
    moved = np.random.default_rng(1).normal(0, shift, len(rows))
    return [{**row, "day": f"{place // 8}", "logit": row["logit"] + moved[place // 8]} for place, row in enumerate(rows)]


class TestClusters:
    @pytest.fixture
    def compared(self, first, tmp_path):
        """Two runs of the same days, each drawing clusters by a column of its own or by none."""

        def call(a, b, edit=lambda rows: dated(rows, 4)):
            for name, change, column in (("a", dated, a), ("b", edit, b)):
                shutil.rmtree(tmp_path / name, ignore_errors=True)
                rewrite(shutil.copytree(first, tmp_path / name), change, clusters=column)
            return compare_runs(tmp_path / "a", tmp_path / "b", resamples=400)

        return call

    def test_are_drawn_whole(self, compared):
        """Pictures of a day tell less than as many of as many days: an interval from pictures drawn alone is too narrow."""
        alone, whole = compared(None, None), compared("day", "day")
        assert (alone.clusters, whole.clusters) == (None, "day")
        for name, of in whole.conditions.items():
            assert of.n_clusters == {"real": 8, "fake": 8} and alone.conditions[name].n_clusters is None
            for metric in ("auc", "balanced_accuracy"):
                mine, other = getattr(of, metric), getattr(alone.conditions[name], metric)
                assert (mine.a, mine.b, mine.p) == (other.a, other.b, other.p)
                assert mine.high - mine.low > 1.2 * (other.high - other.low)
        assert alone.notes == []
        assert [note.split(":")[0] for note in whole.notes] == [
            "clusters by day were drawn whole for the intervals, which are too narrow where they are few",
            "both tests take pictures as independent",
        ]

    def test_of_one_picture_each_change_nothing(self, compared):
        whole, alone = compared("path", "path"), compared(None, None)
        assert whole.conditions["clean"].n_clusters == {"real": 32, "fake": 32}
        for name, of in whole.conditions.items():
            assert of.auc.high - of.auc.low == pytest.approx(alone.conditions[name].auc.high - alone.conditions[name].auc.low, rel=0.15)

    @pytest.mark.parametrize(
        ("a", "b", "words"),
        [
            ("day", None, "A has clusters by day, B has no clusters: each picture was drawn alone"),
            (None, "day", "A has no clusters, B has clusters by day: each picture was drawn alone"),
            ("day", "source", "A has clusters by day, B has clusters by source: each picture was drawn alone"),
        ],
    )
    def test_of_one_run_or_by_other_columns_are_not_drawn_and_said(self, compared, a, b, words):
        found, alone = compared(a, b), compared(None, None)
        assert found.conditions == alone.conditions
        assert [note[: len(words)] for note in found.notes] == [words]

    def test_few_give_no_interval(self, compared):
        found = compared("source", "source")
        assert {tuple(of.n_clusters.values()) for of in found.conditions.values()} == {(4, 4)}
        assert all(of.auc.low is None for of in found.conditions.values())
        assert found.notes[0] == "no bootstrap interval in clean, hard: a class has fewer than 5 clusters"

    def test_that_the_runs_name_otherwise_are_said(self, compared):
        found = compared("day", "day", lambda rows: [{**row, "day": "other"} for row in dated(rows, 4)])
        assert found.notes[-1] == "A and B have other values of day for the same pictures: clusters are those of A"
        assert found.conditions["clean"].n_clusters == {"real": 8, "fake": 8}

    def test_no_such_column(self, compared):
        with pytest.raises(PairingError, match=r"b.scores.parquet: no column 'day' to draw clusters by"):
            compared("day", "day", lambda rows: rows)


def in_sets(rows, name="{}"):
    """Two sets of unlike size that share the reals of one source."""
    found = []
    for row in rows:
        shared = row["label"] == "real" and row["source"] == "camera-a"
        homes = ["few", "many"] if shared else ["few" if row["source"].endswith("-a") else "many"]
        found += [{**row, "set": name.format(home)} for home in homes]
    return found


class TestSets:
    @pytest.fixture
    def compared(self, first, tmp_path):
        def call(a=in_sets, b=lambda rows: in_sets(noisy(rows)), resamples=200):
            for name, edit, threshold in (("a", a, None), ("b", b, 0.5)):
                shutil.rmtree(tmp_path / name, ignore_errors=True)
                rewrite(shutil.copytree(first, tmp_path / name), edit, threshold=threshold)
            return compare_runs(tmp_path / "a", tmp_path / "b", resamples=resamples), tmp_path / "a", tmp_path / "b"

        return call

    def test_means_are_those_of_the_evaluations(self, compared):
        found, *folders = compared()
        a, b = (evaluate(pq.read_table(folder / SCORES), resamples=0) for folder in folders)
        for name, of in found.conditions.items():
            assert (of.n_sets, of.n_real) == (2, 32)
            assert list(of.over_sets) == ["auc", "balanced_accuracy_at_threshold", "accuracy_at_half"]
            for metric, mean in of.over_sets.items():
                mine, other = (evaluation.conditions[name].over_sets[metric].value for evaluation in (a, b))
                assert (mean.a, mean.b, mean.p) == (pytest.approx(mine), pytest.approx(other), None)
                assert mean.difference == pytest.approx(other - mine)
            assert of.over_sets["auc"].low < of.over_sets["auc"].difference < of.over_sets["auc"].high
            assert of.over_sets["auc"].a != of.auc.a
        assert found.notes == ["a mean over sets has no interval in clean, hard: a class of a set has fewer than 5, or no resample moves it"] * any(
            mean.low is None for of in found.conditions.values() for mean in of.over_sets.values()
        )
        assert compared()[0] == found

    def test_both_runs_are_drawn_alike_and_by_set(self, compared):
        """The interval is that of the difference in an evaluation's own resamples."""
        found, *folders = compared(resamples=50)
        tables = [pq.read_table(folder / SCORES).filter(pa.compute.field("condition") == "clean") for folder in folders]
        fake, sets = np.array(tables[0]["label"].to_pylist()) == "fake", np.array(tables[0]["set"].to_pylist(), object)
        drawn = []
        for counts in resample_counts(fake, 50, 0, sets, None, numbered(tables[0], sets)):
            aucs = [
                [
                    weighted_metrics(counts[:, sets == name], fake[sets == name], table["logit"].to_numpy()[sets == name], None, None)["auc"]
                    for name in set(sets)
                ]
                for table in tables
            ]
            drawn.append(np.mean(aucs[1], axis=0) - np.mean(aucs[0], axis=0))
        mean = found.conditions["clean"].over_sets["auc"]
        assert [mean.low, mean.high] == pytest.approx(np.quantile(np.concatenate(drawn), [0.025, 0.975]).tolist())

    def test_alike_runs_differ_by_nothing(self, compared):
        found, *_ = compared(b=lambda rows: in_sets([{**row, "logit": row["logit"] * 2} for row in rows]))
        mean = found.conditions["clean"].over_sets["auc"]
        assert (mean.difference, mean.low, mean.high) == (0, 0, 0)

    def test_a_small_set_has_no_interval_and_a_set_of_one_label_no_mean(self, compared):
        def small(rows, labels):
            return [{**row, "set": "small" if row["path"].endswith("00.png") and row["label"] in labels else row["set"]} for row in in_sets(rows)]

        few, *_ = compared(*[lambda rows: small(rows, {"real", "fake"})] * 2)
        assert few.conditions["clean"].n_sets == 3 and few.conditions["clean"].over_sets["auc"].low is None
        assert few.conditions["clean"].auc.low is not None
        assert few.notes[0].startswith("a mean over sets has no interval in clean, hard")
        one, *_ = compared(*[lambda rows: small(rows, {"fake"})] * 2)
        assert list(one.conditions["clean"].over_sets) == ["accuracy_at_half"]
        assert "no mean over sets of AUC in clean, hard: a set lacks a class among the pictures that both scored" in one.notes

    def test_sets_by_other_names_have_no_mean_and_are_said(self, compared):
        found, *_ = compared(b=lambda rows: in_sets(rows, "my-{}"))
        assert {(of.n_sets, len(of.over_sets)) for of in found.conditions.values()} == {(0, 0)}
        assert found.notes == ["A and B have other sets for the same pictures in clean, hard: no means over sets, and draws are not by set"]

    def test_shown(self, compared):
        found, *_ = compared(resamples=20)
        assert [name for name, _ in rows(found.conditions["clean"])] == [
            "AUC",
            "balanced accuracy",
            "mean of AUC over 2 sets",
            "mean of balanced accuracy over 2 sets",
            "mean of accuracy at 0.5 over 2 sets",
        ]


class TestRuns:
    def test_figures(self, first, second):
        other = second(noisy, threshold=0.5)
        found = compare_runs(first, other, resamples=200)
        assert list(found.conditions) == ["clean", "hard"]
        assert found.a.bundle.name == "tiny"
        assert found.notes == []
        for name, of in found.conditions.items():
            tables = [pq.read_table(folder / SCORES).filter(pa.compute.field("condition") == name) for folder in (first, other)]
            fake = np.array(tables[0]["label"].to_pylist()) == "fake"
            logits = [table["logit"].to_numpy() for table in tables]
            assert (of.n_real, of.n_fake, of.only_a, of.only_b) == ((~fake).sum(), fake.sum(), 0, 0)
            assert (of.auc.a, of.auc.b) == tuple(roc_auc_score(fake, logit) for logit in logits)
            assert of.auc.difference == of.auc.b - of.auc.a
            assert of.auc.p == delong_test(fake, *logits)
            thresholds = (tables[0]["threshold"].to_numpy(), 0.5)
            accuracies = [balanced_accuracy_score(fake, logit >= at) for logit, at in zip(logits, thresholds, strict=True)]
            assert [of.balanced_accuracy.a, of.balanced_accuracy.b] == accuracies
            for metric in (of.auc, of.balanced_accuracy):
                assert metric.low < metric.difference < metric.high
                assert 0 <= metric.p <= 1
        assert compare_runs(first, other, resamples=200) == found

    def test_intervals_are_paired(self, first, second):
        """A detector that ranks as the other does differs from it by nothing in every resample."""
        found = compare_runs(first, second(lambda rows: [{**row, "logit": row["logit"] * 2} for row in rows]), resamples=50)
        assert {(of.auc.difference, of.auc.low, of.auc.high, of.auc.p) for of in found.conditions.values()} == {(0, 0, 0, 1)}

    def test_no_interval_from_few_pictures(self, first, second):
        few = second(lambda rows: [row for row in rows if row["label"] == "real" or row["path"] in {of["path"] for of in rows[-8:]}])
        found = compare_runs(first, few, resamples=50)
        assert {of.n_fake for of in found.conditions.values()} == {4}
        assert all(of.auc.low is None and of.balanced_accuracy.low is None for of in found.conditions.values())
        assert found.notes[-1] == "no bootstrap interval in clean, hard: a class has fewer than 5 pictures"

    def test_a_difference_that_no_resample_changes_is_not_called_certain(self, second, tmp_path):
        """Both find every fake, in another order: nothing differs in any resample, and yet other pictures might tell them apart."""

        def parted(seed):
            rng = np.random.default_rng(seed)
            return lambda rows: [{**row, "logit": float(rng.uniform(1, 9)) * (1 if row["label"] == "fake" else -1)} for row in rows]

        shutil.copytree(second(parted(1)), tmp_path / "third")
        found = compare_runs(tmp_path / "third", second(parted(2)), resamples=50)
        assert {(of.auc.difference, of.auc.low) for of in found.conditions.values()} == {(0, None)}

    def test_order_and_names_do_not_matter(self, first, second):
        renamed = second(lambda rows: [{**row, "path": f"else/{row['path']}", "set": "x"} for row in rows[::-1]])
        found = compare_runs(first, renamed, resamples=10)
        assert all(of.auc.difference == 0 == of.only_a for of in found.conditions.values())

    def test_unpaired_pictures_are_left_out_and_said(self, first, second):
        def edit(rows):
            failed = {**rows[10], "error": "bad", "logit": None, "probability": None, "sha256": ""}
            return [*rows[2:10], failed, *rows[11:], {**rows[0], "sha256": "0" * 64}]

        found = compare_runs(first, second(edit), resamples=0)
        assert (found.conditions["clean"].only_a, found.conditions["clean"].only_b) == (2, 1)
        assert (found.conditions["hard"].only_a, found.conditions["hard"].only_b) == (1, 0)
        assert found.notes == ["left out, because only one run scored them: up to 2 pictures of A, 1 of B"]
        assert found.conditions["clean"].auc.low is None

    def test_conditions_that_one_lacks(self, first, second):
        found = compare_runs(first, second(lambda rows: rows[1::2]), resamples=0)
        assert list(found.conditions) == ["hard"]
        assert found.notes == ["only A has the condition clean"]

    def test_one_class_has_no_figures(self, first, second):
        half = second(lambda rows: [row for row in rows if row["label"] == "real" or row["condition"] == "hard"])
        found = compare_runs(first, half, resamples=10).conditions
        assert (found["clean"].n_fake, found["clean"].auc, found["clean"].balanced_accuracy) == (0, None, None)
        assert found["hard"].auc is not None
        with pytest.raises(PairingError, match="share pictures of both classes"):
            compare_runs(first, second(lambda rows: [row for row in rows if row["label"] == "real"]), resamples=10)

    def test_repeated_pictures_are_paired_as_often_as_both_have_them(self, first, second):
        found = compare_runs(first, second(lambda rows: [*rows, {**rows[0], "path": "copy"}]), resamples=0)
        assert (found.conditions["clean"].only_a, found.conditions["clean"].only_b) == (0, 1)

    @pytest.mark.parametrize(
        ("edit", "words"),
        [
            (lambda rows: [{**row, "condition": "other"} for row in rows], "conditions clean, hard.*other"),
            (lambda rows: [{**row, "sha256": f"{number:064}"} for number, row in enumerate(rows)], "share no picture"),
            (lambda rows: [{**rows[0], "label": "fake"}, *rows[1:]], r"00.png \(sha256 .*real in .*first, fake in .*second"),
        ],
    )
    def test_refusals(self, first, second, edit, words):
        with pytest.raises(PairingError, match=words):
            compare_runs(first, second(edit))

    def test_no_run(self, first, tmp_path):
        with pytest.raises(LockError, match="not the folder of a run"):
            compare_runs(first, tmp_path)

    def test_resamples(self, first):
        with pytest.raises(ValueError, match="resamples"):
            compare_runs(first, first, resamples=-1)
