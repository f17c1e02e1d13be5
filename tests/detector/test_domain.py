import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from realgrain.detector import domain
from realgrain.detector.bundle import read_bundle, statistics_sha256, write_bundle
from realgrain.detector.calibration import rate_of
from realgrain.detector.detect import Detector, load
from realgrain.detector.domain import Domain, InDomain
from realgrain.detector.runtime import open_runtime
from realgrain.detector.verdict import FRAMED, decide
from realgrain.learning.train import folds_of, learn

F32 = ["onnxruntime", "openvino", "torch"]


def cloud(count, *, size=64, rank=6, seed=0, views=2):
    """Features (N, V, D) that lie about a plane of few directions, the same plane for every seed."""
    plane = np.random.default_rng(99).normal(size=(rank, size))
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, 1, rank)) @ plane + rng.normal(0, 0.3, (count, views, size)) + 5).astype(np.float32)


def elsewhere(count, *, size=64, seed=1):
    """Features off that plane."""
    return np.random.default_rng(seed).normal(5, 3, (count, 1, size)).astype(np.float32)


def the(threshold):
    return Domain(
        threshold=threshold, target=0.05, false_alarm=rate_of(1, 50), generated=rate_of(2, 40), false_alarm_per_source={}, deliveries=("clean",)
    )


class TestDistances:
    def test_tells_apart(self):
        kept = domain.fit(cloud(300))
        near, far = domain.distances(cloud(200, seed=2), kept), domain.distances(elsewhere(200), kept)
        assert np.mean(near[:, None] < far) > 0.99
        assert (near >= 0).all()
        assert (far <= 2).all()

    def test_is_small(self):
        kept = domain.fit(np.random.default_rng(0).normal(size=(5000, 1, 768)).astype(np.float32))
        assert kept[domain.REFERENCES].shape == (domain.MOST, domain.COMPONENTS)
        assert sum(array.nbytes for array in kept.values()) < 300_000

    def test_views_count_by_their_mean(self):
        kept, features = domain.fit(cloud(100)), cloud(5, seed=3)
        np.testing.assert_allclose(domain.distances(features, kept), domain.distances(features.mean(1, keepdims=True), kept), atol=1e-6)

    @settings(deadline=None, max_examples=20)
    @given(st.integers(1, 12), st.integers(1, 40))
    def test_any_shape(self, count, size):
        features = np.random.default_rng(count).normal(size=(count, 2, size)).astype(np.float32)
        found = domain.distances(features, domain.fit(features))
        assert found.shape == (count,)
        assert np.isfinite(found).all()

    def test_same_twice(self):
        first, second = (domain.fit(cloud(50)) for _ in range(2))
        assert all(np.array_equal(first[name], second[name]) for name in first)


class TestThreshold:
    def test_false_alarms_of_new_pictures(self):
        kept = domain.fit(cloud(300))
        fake, source = np.arange(500) >= 400, np.where(np.arange(500) % 2, "a", "b")
        found = {name: domain.distances(cloud(500, seed=seed), kept) for name, seed in (("clean", 4), ("web", 5))}
        card = domain.choose(found, fake, source)
        assert card.false_alarm.high <= card.target
        assert (card.false_alarm.n, card.generated.n, card.deliveries) == (400, 100, ("clean", "web"))
        assert sum(rate.k for rate in card.false_alarm_per_source.values()) == card.false_alarm.k
        new = domain.distances(cloud(2000, seed=6), kept)
        assert np.mean(new >= card.threshold) <= card.target
        assert np.mean(domain.distances(elsewhere(300), kept) >= card.threshold) > 0.95

    def test_few_pictures(self):
        """None of them is outside then, and the interval says how little that means."""
        card = domain.choose({"clean": np.linspace(0.1, 0.5, 10)}, np.zeros(10, bool) | (np.arange(10) > 8), np.array(["a"] * 10))
        assert card.false_alarm == rate_of(0, 9)


class TestTraining:
    def test_the_card_says_it(self, tiny_bundle, problem):
        card = tiny_bundle.card.domain
        assert card.false_alarm.n == np.sum(~problem.fake)
        assert card.deliveries == ("clean", "web", "hard")
        assert tiny_bundle.statistics[domain.REFERENCES].shape == (len(problem.samples), min(domain.COMPONENTS, 32))

    def test_changes_neither_head_nor_scale(self, tiny_bundle, problem, fitter, tiny_recipe):
        found = learn(problem, folds_of(tiny_recipe, problem), tiny_recipe, fitter)
        alone = fitter.fit(problem).head
        assert all(np.array_equal(found.model.head[name], alone[name]) for name in alone)


class TestRuntimes:
    @pytest.mark.parametrize("block", [None, 2])
    def test_agree_on_the_feature(self, tiny_bundle, block):
        rng = np.random.default_rng(0)
        size = 24 if block is None else 32
        head = {"weight": rng.normal(size=size).astype(np.float32), "bias": np.ones(1, np.float32)}
        from realgrain.detector.bundle import array_sha256

        bundle = replace(tiny_bundle, head=head, card=tiny_bundle.card.model_copy(update={"block": block, "head_sha256": array_sha256(head)}))
        views = rng.normal(size=(3, 3, 224, 224)).astype(np.float32)
        found = {}
        for name in F32:
            runtime = open_runtime(name, bundle, threads=1)
            logits, found[name] = runtime.look(views)
            assert found[name].shape == (3, size)
            assert logits.tobytes() == runtime.logits(views).tobytes()
            np.testing.assert_allclose(found[name] @ head["weight"] + head["bias"], logits, atol=1e-4)
        for name in F32[1:]:
            np.testing.assert_allclose(found[name], found[F32[0]], atol=1e-4)

    def test_is_the_feature_of_training(self, tiny_detector, problem, fitter):
        sample = problem.samples[0]
        found = tiny_detector.runtime.look(tiny_detector.views(tiny_detector.open(sample.file).pixels))[1]
        np.testing.assert_allclose(found, fitter.delivered["clean"][0], atol=2e-2)

    def test_a_graph_without_features(self, tiny_bundle, toy_pictures, tiny_detector):
        """As INT8 graphs are that were exported before."""

        class Without:
            name, precision, version = "without", "f32", "0"

            def logits(self, views):
                return tiny_detector.runtime.logits(views)

            def look(self, views):
                return self.logits(views), None

        report = Detector(tiny_bundle, Without()).detect(toy_pictures[0])
        assert report.domain is None
        assert report.logit == tiny_detector.detect(toy_pictures[0]).logit


class TestVerdict:
    @pytest.mark.parametrize("logit", [-9.0, 0.0, 9.0])
    def test_outside(self, tiny_bundle, logit):
        place = InDomain(distance=0.7, threshold=0.6, outside=True, false_alarm=rate_of(1, 50), group=0)
        verdict, chance = decide(logit, 500, tiny_bundle.card, domain=place)
        assert verdict.label == "unsure"
        assert "out_of_domain" in verdict.reasons
        assert chance == decide(logit, 500, tiny_bundle.card)[1]

    def test_planted(self, tiny_bundle, toy_pictures):
        found = []
        for threshold in (-1.0, 2.1):
            card = tiny_bundle.card.model_copy(update={"domain": the(threshold)})
            found.append(load(replace(tiny_bundle, card=card), threads=1).detect(toy_pictures[0]))
        assert [report.domain.outside for report in found] == [True, False]
        assert "out_of_domain" in found[0].verdict.reasons
        assert "not like the pictures it was validated on" in found[0].sentence
        assert "out_of_domain" not in found[1].verdict.reasons
        assert found[0].logit == found[1].logit

    def test_straight_borders(self, tiny_bundle):
        """A photograph in a window: the logit is the same, the verdict is not, and the sentence says what to do."""
        page = np.full((640, 640, 3), 250, np.uint8)
        page[120:520, 120:520] = np.random.default_rng(0).integers(0, 256, (400, 400, 3))
        file = io.BytesIO()
        Image.fromarray(page).save(file, "PNG")
        found = []
        for borders in (None, the(1.25), the(1.26)):
            card = tiny_bundle.card.model_copy(update={"domain": the(2.1), "borders": borders})
            found.append(load(replace(tiny_bundle, card=card), threads=1).detect(file.getvalue()))
        assert [report.borders and report.borders.outside for report in found] == [None, True, False]
        assert ["out_of_domain" in report.verdict.reasons for report in found] == [False, True, False]
        assert [FRAMED in report.sentence for report in found] == [False, True, False]
        assert found[1].borders.length == pytest.approx(1.25)
        assert len({report.logit for report in found}) == 1

    def test_a_bundle_that_does_not_know(self, tiny_bundle, toy_pictures, tmp_path):
        kept = {name: array for name, array in tiny_bundle.statistics.items() if not name.startswith("domain/")}
        card = tiny_bundle.card.model_copy(update={"domain": None, "statistics_sha256": statistics_sha256(kept)})
        write_bundle(tmp_path / "b", card, tiny_bundle.head, {}, kept)
        assert load(read_bundle(tmp_path / "b"), threads=1).detect(toy_pictures[0]).domain is None
