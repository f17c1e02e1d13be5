import io
from copy import copy
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import pytest
import toy
from rich.console import Console

from realgrain.detector.calibration import probability
from realgrain.learning.data import Fold, ManifestError, left_in
from realgrain.learning.methods import probe
from realgrain.learning.train import folds_of, learn
from realgrain.measuring import crossval
from realgrain.measuring.crossval import by_fold, cross_validate, with_folds
from realgrain.measuring.metrics import evaluate
from realgrain.measuring.results import LeftOut
from realgrain.measuring.score import as_table
from realgrain.measuring.tables import render


@pytest.fixture(scope="module")
def table(tiny_recipe, toy_manifest, session_home):
    return cross_validate(tiny_recipe, toy_manifest)


def only(table, fold):
    return table.filter(pc.equal(table["fold"], fold))


class TestTable:
    def test_every_picture_is_scored_once_in_each_delivery(self, table, tiny_recipe, problem):
        for name in tiny_recipe.deliveries:
            mine = table.filter(pc.equal(table["condition"], name))
            assert sorted(mine["path"].to_pylist()) == sorted(sample.path for sample in problem.samples)
        assert set(table["condition"].to_pylist()) == set(tiny_recipe.deliveries)

    def test_pictures_are_in_the_fold_that_leaves_them_out(self, table, tiny_recipe, problem):
        folds = {fold.name: fold for fold in folds_of(tiny_recipe, problem)}
        assert set(table["fold"].to_pylist()) == set(folds)
        for row in table.select(["fold", "label", "source"]).to_pylist():
            fold = folds[row["fold"]]
            assert row["source"] in (fold.fake if row["label"] == "fake" else fold.real)

    def test_one_threshold_a_fold(self, table, tiny_recipe, problem):
        for fold in folds_of(tiny_recipe, problem):
            assert len(set(only(table, fold.name)["threshold"].to_pylist())) == 1
        assert len(set(table["threshold"].to_pylist())) > 1

    def test_rows_are_those_of_a_detector_that_never_saw_the_fold(self, table, tiny_recipe, problem, fitter):
        folds = folds_of(tiny_recipe, problem)
        fold, others = folds[1], [folds[0], *folds[2:]]
        learned = learn(problem.keep(left_in(problem.samples, fold, problem.twins)), others, tiny_recipe, fitter)
        out = np.array([fold.leaves_out(sample) for sample in problem.samples])
        rows = only(table, fold.name)
        for name, features in fitter.delivered.items():
            mine = rows.filter(pc.equal(rows["condition"], name))
            expected = probe.logits(features[out], learned.model.head)
            np.testing.assert_allclose(mine["logit"].to_pylist(), expected, rtol=1e-5)
            np.testing.assert_allclose(mine["probability"].to_pylist(), probability(learned.calibration, expected), rtol=1e-5)
        assert float(rows["threshold"][0].as_py()) == learned.operating_point.ai


class TestNoLeak:
    @pytest.fixture
    def flipped(self, problem, tiny_recipe):
        """The problem with the labels of one fold's pictures turned round, and that fold, which leaves out the same pictures as before."""
        fold = folds_of(tiny_recipe, problem)[0]
        out = [fold.leaves_out(sample) for sample in problem.samples]
        turned = {"real": "fake", "fake": "real"}
        samples = [s.model_copy(update={"label": turned[s.label]}) if o else s for s, o in zip(problem.samples, out, strict=True)]
        other = Fold(fake=fold.real, real=fold.fake)
        assert [other.leaves_out(sample) for sample in samples] == out
        return replace(problem, samples=samples), other

    def test_a_folds_own_labels_change_nothing_it_is_scored_with(self, problem, flipped, tiny_recipe, fitter):
        folds = folds_of(tiny_recipe, problem)
        before = list(crossval._rows(problem, folds, folds[0], tiny_recipe, fitter))
        after = list(crossval._rows(flipped[0], [flipped[1], *folds[1:]], flipped[1], tiny_recipe, fitter))
        assert [row["label"] for row in before] != [row["label"] for row in after]
        for key in ("path", "logit", "probability", "threshold", "condition"):
            assert [row[key] for row in before] == [row[key] for row in after]

    def test_but_the_other_folds_do(self, problem, tiny_recipe, fitter):
        """So that the tests beside this one can fail."""
        folds = folds_of(tiny_recipe, problem)
        fewer = problem.keep(np.array([not folds[0].leaves_out(sample) for sample in problem.samples]))
        before, after = (next(crossval._rows(p, of, folds[1], tiny_recipe, fitter)) for p, of in ((problem, folds), (fewer, folds[1:])))
        assert before["path"] == after["path"]
        for key in ("logit", "probability", "threshold"):
            assert before[key] != after[key]

    def test_nor_do_a_folds_own_pictures(self, problem, tiny_recipe, fitter):
        """Its features may be anything: threshold and probability scale stay, also where a twin of its pictures stayed in."""
        folds = folds_of(tiny_recipe, problem)
        out = np.array([folds[0].leaves_out(sample) for sample in problem.samples])
        changed = copy(fitter)
        changed.drawn = fitter.drawn.copy()
        changed.drawn[:, out] = 1e3
        changed.delivered = {name: np.where(out[:, None, None], 1e3, values).astype(np.float32) for name, values in fitter.delivered.items()}
        before, after = (next(crossval._rows(problem, folds, folds[0], tiny_recipe, of)) for of in (fitter, changed))
        assert before["threshold"] == after["threshold"]
        assert before["logit"] != after["logit"]


class TestByFold:
    def test_is_evaluate_at_each_folds_own_threshold(self, table):
        found = by_fold(table, resamples=10)
        for name, result in found.folds.items():
            part = only(table, name)
            assert result == evaluate(part, resamples=10)
            assert result.thresholds == [part["threshold"][0].as_py()]
        for condition, means in found.mean.items():
            assert means["auc"] == pytest.approx(np.mean([fold.conditions[condition].metrics["auc"].value for fold in found.folds.values()]))

    def test_worst_fold_beside_each_mean(self, table):
        found = by_fold(table, resamples=0)
        for metric, choose in (("auc", min), ("tpr_at_threshold", min), ("brier", max), ("fpr_at_threshold", max)):
            values = {name: fold.conditions["clean"].metrics[metric].value for name, fold in found.folds.items()}
            worst = found.worst["clean"][metric]
            assert (worst.value, values[worst.fold]) == (choose(values.values()),) * 2
        old = LeftOut.model_validate(found.model_dump(exclude={"worst"}))
        assert old.worst == {}
        shown = [Console(width=400, record=True, file=io.StringIO()) for _ in (found, old)]
        for console, of in zip(shown, (found, old), strict=True):
            console.print(render(of))
        texts = [console.export_text() for console in shown]
        auc = found.worst["clean"]["auc"]
        assert f"{auc.value:.3f} {auc.fold}" in texts[0]
        assert "worst fold of it" in texts[0] and "worst fold of it" not in texts[1]

    def test_renders_every_fold(self, table):
        found = by_fold(table, resamples=0)
        console = Console(width=200, record=True, file=io.StringIO())
        console.print(render(found))
        text = console.export_text()
        assert all(name in text for name in (*found.folds, *found.mean))

    def test_tells_the_toy_sources_apart(self, table):
        assert by_fold(table, resamples=0).mean["clean"]["auc"] > 0.75


class TestWithFolds:
    def test_any_scores_are_measured_fold_by_fold(self, table):
        """Of a table with one threshold for all, such as `score` writes."""
        plain = as_table([{**row, "threshold": 0.5} for row in table.drop_columns(["fold"]).to_pylist()])
        folds = [Fold(fake=("gan-a", "gan-b"), real=("camera-a",)), Fold(fake=("diffusion-a",), real=("camera-b",))]
        found = by_fold(with_folds(plain, folds), resamples=0)
        assert list(found.folds) == [fold.name for fold in folds]
        result = found.folds["gan-a+gan-b|camera-a"]
        assert result.thresholds == [0.5]
        assert (result.conditions["clean"].n_fake, result.conditions["clean"].n_real) == (toy.FAKE["gan-a"] + toy.FAKE["gan-b"], toy.REAL["camera-a"])

    def test_folds_of_its_own(self, table):
        with pytest.raises(ValueError, match="folds of its own"):
            with_folds(table, [Fold(fake=("gan-a",), real=("camera-a",))])

    def test_sources_that_are_not_there(self, table):
        with pytest.raises(ValueError, match="no fold leaves out any row"):
            by_fold(with_folds(as_table(table.drop_columns(["fold"]).to_pylist()), [Fold(fake=("x",), real=("y",))]))


def test_fewer_than_three_folds(tiny_recipe, toy_manifest):
    folds = (Fold(fake=("gan-a",), real=("camera-b",)), Fold(fake=("gan-b",), real=("camera-a",)))
    with pytest.raises(ManifestError, match="fewer than two folds"):
        cross_validate(tiny_recipe.model_copy(update={"folds": folds}), toy_manifest)


def test_toy_sources_are_as_many_as_folds(tiny_recipe, problem):
    assert len(folds_of(tiny_recipe, problem)) == len(toy.REAL) == len(toy.FAKE)
