import csv
import json
import logging
import shutil
from collections import Counter

import numpy as np
import pytest
import toy

from realgrain.detector.bundle import read_bundle
from realgrain.detector.detect import load
from realgrain.detector.runtime import open_runtime
from realgrain.detector.weights import WeightsError, file_sha256
from realgrain.learning import train as training
from realgrain.learning.data import Fold, ManifestError
from realgrain.learning.frozen import FrozenFitter
from realgrain.learning.methods import probe
from realgrain.learning.problem import Problem, prepare
from realgrain.learning.train import folds_of, learn, train
from realgrain.measuring import crossval
from realgrain.picture.image import open_picture
from realgrain.picture.views import View, ViewSpec, make_views


@pytest.fixture
def rows(toy_manifest):
    with toy_manifest.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def changed(tmp_path, toy_manifest, rows):
    """A copy of the toy set with its rows changed; ``write(rows)`` writes its manifest."""
    folder = shutil.copytree(toy_manifest.parent, tmp_path / "toy")

    def write(rows):
        return toy.write_manifest(folder / "manifest.csv", rows)

    return write


@pytest.fixture
def quick_recipe(tiny_recipe):
    """One view, one delivery: for tests that train anew."""
    return tiny_recipe.model_copy(update={"views": ViewSpec((View("resize"),)), "deliveries": ("clean",)})


class TestBundle:
    def test_loads_and_is_calibrated(self, tiny_bundle):
        assert read_bundle(tiny_bundle.folder).hash == tiny_bundle.hash
        card = tiny_bundle.card
        assert card.calibration.slope > 0
        assert card.operating_point.camera < card.operating_point.ai
        assert card.operating_point.false_positive.value <= card.operating_point.target_fpr
        assert card.operating_point.missed.value <= card.operating_point.target_miss
        assert card.operating_point.deliveries == ("clean", "web", "hard")
        assert card.runtimes == {}

    def test_says_what_it_learned_from(self, tiny_bundle, toy_manifest):
        training = tiny_bundle.card.training
        assert training.counts == {"real": toy.REAL, "fake": toy.FAKE}
        assert training.manifest_sha256 == file_sha256(toy_manifest)
        assert training.licences == {"CC0-1.0": sum(toy.REAL.values()) + sum(toy.FAKE.values())}
        assert set(tiny_bundle.card.operating_point.false_positive_per_source) == set(toy.REAL)

    def test_says_how(self, tiny_bundle, tiny_recipe, tiny_tower):
        card = tiny_bundle.card
        assert card.recipe == tiny_recipe.model_dump(mode="json", exclude={"tuning": {"log", "log_to"}})  # whose folder is nobody's business
        assert type(tiny_recipe).model_validate(card.recipe) == tiny_recipe
        assert (card.views, card.block, card.method, card.name) == (tiny_recipe.views, 2, "probe", "tiny")
        assert (card.base.id, card.base.sha256) == (str(tiny_tower.folder), tiny_tower.sha256)
        assert card.licence == tiny_recipe.licence
        assert card.intended_use
        assert card.limits

    def test_names_no_picture(self, tiny_bundle, rows):
        text = (tiny_bundle.folder / "card.json").read_text()
        assert not any(row["path"] in text for row in rows)

    def test_runs_as_it_was_trained(self, tiny_bundle, problem, fitter):
        """The graph gives what the features that it was trained on give: one preprocessing, one tower, from training to running."""
        detector = load(tiny_bundle, threads=1)
        expected = probe.logits(fitter.delivered["clean"], tiny_bundle.head)
        found = [detector.detect(sample.file).logit for sample in problem.samples]
        np.testing.assert_allclose(found, expected, atol=2e-2)  # features are kept in half precision
        assert np.ptp(expected) > 1

    @pytest.mark.parametrize("method", ["realgrain", "mpft"])
    def test_used_at_another_size_than_learned(self, recipe_of, toy_manifest, toy_pictures, home, tmp_path, method):
        """Positions are interpolated alike in training, in the graph and in torch, whether the tower stays or moves."""
        smaller, larger = ViewSpec((View("resize", 160),)), ViewSpec((View("resize"),))
        recipe = recipe_of(method).model_copy(update={"views": smaller, "training_views": larger, "content_directions": 0, "draws": 1})
        bundle = train(recipe, toy_manifest, tmp_path / "bundle")
        views = make_views(open_picture(toy_pictures[0]).pixels, bundle.card.views)
        assert views.shape == (1, 3, 160, 160)
        logits = [open_runtime(name, bundle, threads=1).logits(views) for name in ("onnxruntime", "openvino", "torch")]
        np.testing.assert_allclose(logits, [logits[0]] * 3, atol=1e-4, rtol=0)

    def test_same_twice(self, quick_recipe, toy_manifest, monkeypatch, tmp_path):
        """From nothing, with no cache of the other run to lean on; and nearly the same when the rows are in another order."""
        made = []
        for name in ("one", "two"):
            monkeypatch.setenv("REALGRAIN_HOME", str(tmp_path / name / "home"))
            made.append(train(quick_recipe, toy_manifest, tmp_path / name / "bundle"))
        assert made[0].card.head_sha256 == made[1].card.head_sha256
        assert made[0].card.model_copy(update={"made": made[1].card.made}) == made[1].card

    def test_order_of_rows_does_not_matter_much(self, quick_recipe, toy_manifest, changed, rows, tmp_path):
        first, second = train(quick_recipe, toy_manifest, tmp_path / "1"), train(quick_recipe, changed(rows[::-1]), tmp_path / "2")
        scale = np.abs(first.head["weight"]).max()
        np.testing.assert_allclose(second.head["weight"] / scale, first.head["weight"] / scale, atol=0.02)

    def test_temperature(self, tiny_recipe, toy_manifest, tmp_path):
        found = train(tiny_recipe.model_copy(update={"calibration": "temperature"}), toy_manifest, tmp_path / "b")
        assert (found.card.calibration.method, found.card.calibration.intercept) == ("temperature", 0)


class TestPictures:
    def test_an_unreadable_one_is_left_out_with_a_warning(self, quick_recipe, changed, rows, tmp_path, caplog):
        path = changed(rows)
        (path.parent / rows[0]["path"]).write_bytes(b"no picture")
        (path.parent / rows[-1]["path"]).unlink()
        with caplog.at_level(logging.WARNING):
            found = train(quick_recipe, path, tmp_path / "b")
        for row in (rows[0], rows[-1]):
            assert sum(row["path"] in record.getMessage() for record in caplog.records if record.levelno == logging.WARNING) == 1
            assert found.card.training.counts[row["label"]][row["source"]] == {**toy.REAL, **toy.FAKE}[row["source"]] - 1

    def test_the_same_bytes_with_both_labels(self, tiny_recipe, changed, rows, tmp_path):
        path = changed(rows)
        shutil.copyfile(path.parent / rows[0]["path"], path.parent / rows[-1]["path"])
        with pytest.raises(ManifestError, match=rf"{rows[0]['path']} and {rows[-1]['path']} are the same bytes with different labels"):
            train(tiny_recipe, path, tmp_path / "b")
        assert not (tmp_path / "b").exists()

    @pytest.mark.parametrize("label", ["real", "fake"])
    def test_one_label_only(self, tiny_recipe, changed, rows, tmp_path, label):
        with pytest.raises(ManifestError, match="readable pictures of both labels in split 'train'"):
            train(tiny_recipe, changed([row for row in rows if row["label"] == label]), tmp_path / "b")

    def test_one_source_only(self, tiny_recipe, changed, rows, tmp_path):
        with pytest.raises(ManifestError, match="at least two sources"):
            train(tiny_recipe, changed([row for row in rows if row["source"] in {"camera-a", "gan-a", "gan-b"}]), tmp_path / "b")

    def test_none_readable(self, tiny_recipe, changed, rows, tmp_path):
        path = changed(rows)
        for row in rows:
            (path.parent / row["path"]).write_bytes(b"no picture")
        with pytest.raises(ManifestError, match="readable pictures of both labels"):
            train(tiny_recipe, path, tmp_path / "b")

    def test_another_split_is_left_alone(self, quick_recipe, changed, rows, tmp_path):
        for row in rows[::2]:
            row["split"] = "test"
        found = train(quick_recipe, changed(rows), tmp_path / "b")
        expected = Counter(row["source"] for row in rows if row["split"] == "train" and row["label"] == "fake")
        assert found.card.training.counts["fake"] == expected
        with pytest.raises(ManifestError, match="in split 'validation'"):
            prepare(quick_recipe.model_copy(update={"split": "validation"}), changed(rows))
        assert len(prepare(quick_recipe.model_copy(update={"split": ""}), changed(rows)).samples) == len(rows)

    def test_few_pictures_of_each_source(self, quick_recipe, toy_manifest, tmp_path, caplog):
        found = train(quick_recipe.model_copy(update={"per_source": 4}), toy_manifest, tmp_path / "b")
        counts = found.card.training.counts
        assert {*counts["fake"].values(), *counts["real"].values()} == {4}
        assert not any("pictures: fewer than" in record.getMessage() for record in caplog.records)  # as few as were asked for

    def test_no_base(self, tiny_recipe, toy_manifest, tmp_path):
        with pytest.raises(WeightsError, match="nowhere"):
            train(tiny_recipe.model_copy(update={"base": str(tmp_path / "nowhere")}), toy_manifest, tmp_path / "b")


class TestFolds:
    def test_automatic(self, tiny_recipe, problem):
        folds = folds_of(tiny_recipe, problem)
        assert sorted(source for fold in folds for source in fold.real) == sorted(toy.REAL)
        assert sorted(source for fold in folds for source in fold.fake) == sorted(toy.FAKE)

    def test_the_recipes_own(self, tiny_recipe, problem):
        mine = (Fold(fake=("gan-a",), real=("camera-b",)), Fold(fake=("gan-b",), real=("nowhere",)), Fold(fake=("diffusion-a",), real=("camera-a",)))
        assert folds_of(tiny_recipe.model_copy(update={"folds": mine}), problem) == [mine[0], mine[2]]

    def test_sources_that_are_not_there_are_named(self, tiny_recipe, problem, caplog):
        """A misspelt one narrows its fold, or drops it: never without a word."""
        mine = (Fold(fake=("gan-a", "gan-bb"), real=("camera-b",)), Fold(fake=("gan-b",), real=("camera-aa",)))
        with caplog.at_level(logging.WARNING):
            assert folds_of(tiny_recipe.model_copy(update={"folds": mine}), problem) == [mine[0]]
        narrowed, dropped = [record.getMessage() for record in caplog.records]
        assert narrowed == "fold gan-a+gan-bb|camera-b: no fake picture of source 'gan-bb'"
        assert dropped == "fold gan-b|camera-aa: no real picture of source 'camera-aa': the fold is dropped"

    def test_that_leave_nothing_of_a_label(self, tiny_recipe, toy_manifest, tmp_path, monkeypatch):
        """Before features are computed or anything is learned."""
        monkeypatch.setattr(training, "fitter_of", lambda *_: pytest.fail("something was computed"))
        monkeypatch.setattr(crossval, "fitter_of", training.fitter_of)
        fakes, reals = (tuple(of) for of in (toy.FAKE, toy.REAL))
        two = (Fold(fake=fakes[:3], real=reals), Fold(fake=fakes[3:], real=reals[:1]))
        recipe = tiny_recipe.model_copy(update={"folds": two})
        with pytest.raises(ManifestError, match=r"without the fold gan-a\+.*: no real picture is left to learn from"):
            train(recipe, toy_manifest, tmp_path / "b")
        halves = (Fold(fake=fakes[:1], real=reals[:2]), Fold(fake=fakes[1:2], real=reals[2:]), Fold(fake=fakes[2:3], real=reals[:1]))
        with pytest.raises(ManifestError, match=r"without the fold gan-b.*: no real picture is left to learn from"):
            crossval.cross_validate(tiny_recipe.model_copy(update={"folds": halves}), toy_manifest)
        assert not (tmp_path / "b").exists()

    def test_fewer_than_two(self, tiny_recipe, problem, fitter):
        with pytest.raises(ManifestError, match="fewer than two folds"):
            learn(problem, [Fold(fake=("gan-a",), real=("camera-b",))], tiny_recipe, fitter)


class TestLearn:
    def test_thresholds_come_from_heads_that_had_not_seen_the_source(self, tiny_recipe, problem, fitter):
        """Computed here the long way round, fold by fold."""
        from realgrain.detector import calibration
        from realgrain.learning.data import left_in

        folds = folds_of(tiny_recipe, problem)
        held = {name: np.full(len(problem.samples), np.nan) for name in fitter.delivered}
        for fold in folds:
            head = fitter.fit(problem.keep(left_in(problem.samples, fold, problem.twins))).head
            out = np.array([fold.leaves_out(sample) for sample in problem.samples])
            for name, features in fitter.delivered.items():
                held[name][out] = probe.logits(features[out], head)
        assert all(np.isfinite(values).all() for values in held.values())
        point = calibration.choose(held, problem.fake, problem.source, target_fpr=tiny_recipe.target_fpr, target_miss=tiny_recipe.target_miss)
        found = learn(problem, folds, tiny_recipe, fitter)
        assert found.operating_point.ai == pytest.approx(point.ai, abs=1e-4)
        assert found.operating_point.camera == pytest.approx(point.camera, abs=1e-4)
        assert found.operating_point.false_positive == point.false_positive
        expected = fitter.fit(problem).head
        assert all(np.array_equal(found.model.head[name], expected[name]) for name in expected)

    def test_pictures_do_not_see_their_twins(self, tiny_recipe, problem, fitter):
        """A near-duplicate in a source that stays in is left out with its twin, so that it changes nothing."""
        folds = folds_of(tiny_recipe, problem)
        left_out, kept = folds[0], folds[1]
        a = next(i for i, sample in enumerate(problem.samples) if left_out.leaves_out(sample) and not sample.fake)
        b = next(i for i, sample in enumerate(problem.samples) if kept.leaves_out(sample) and not sample.fake)
        twins = problem.twins.copy()
        twins[b] = twins[a]
        from realgrain.learning.data import left_in

        assert left_in(problem.samples, left_out, problem.twins)[b]
        assert not left_in(problem.samples, left_out, twins)[b]
        found = learn(Problem(problem.samples, problem.sha256, twins), folds, tiny_recipe, fitter)
        assert found.operating_point != learn(problem, folds, tiny_recipe, fitter).operating_point

    def test_every_draw_counts(self, quick_recipe, toy_manifest):
        problem = prepare(quick_recipe, toy_manifest)
        one, two = (FrozenFitter(problem, quick_recipe.model_copy(update={"draws": draws})) for draws in (1, 2))
        assert two.drawn.shape[0] == 2
        assert np.array_equal(two.drawn[0], one.drawn[0])
        assert not np.array_equal(two.drawn[1], one.drawn[0])
        assert not np.array_equal(two.fit(problem).head["weight"], one.fit(problem).head["weight"])


def test_card_is_json_for_people(tiny_bundle):
    card = json.loads((tiny_bundle.folder / "card.json").read_text())
    assert (tiny_bundle.folder / "card.json").read_text().endswith("}\n")
    assert card["operating_point"]["false_positive"].keys() == {"k", "n", "value", "low", "high"}
