"""The detector that realgrain ships, as a whole."""

import csv
from pathlib import Path

import numpy as np
import pytest

import realgrain
from realgrain.detector.bundle import DEFAULT, read_bundle
from realgrain.detector.decision import Policy
from realgrain.detector.detect import load
from realgrain.detector.weights import BASES, DEFAULT_BASE
from realgrain.learning.recipe import Recipe, read_recipe

RECIPES = Path(__file__).parents[1] / "recipes"
EACH = 24  # labelled pictures of each kind

pytestmark = pytest.mark.skipif(not (DEFAULT / "card.json").exists(), reason="no detector has been trained to ship yet")


@pytest.fixture(scope="module", params=["default", "fast"])
def shipped(request):
    return read_bundle(request.param)


class TestCard:
    def test_stands_on_the_pinned_base(self, shipped):
        assert (shipped.card.base.id, shipped.card.base.sha256) == (DEFAULT_BASE, BASES[DEFAULT_BASE].sha256)
        assert len(shipped.head["weight"]) == (768 if shipped.card.block else 512)
        assert np.isfinite(shipped.head["weight"]).all()

    def test_is_of_a_recipe_in_the_repository(self, shipped):
        assert Recipe.model_validate(shipped.card.recipe) in [read_recipe(path) for path in RECIPES.glob("*.yaml")]

    def test_is_calibrated_and_keeps_its_targets(self, shipped):
        point = shipped.card.operating_point
        assert shipped.card.calibration is not None
        assert point.camera < point.ai
        assert point.false_positive.value <= point.target_fpr
        assert point.missed.value <= point.target_miss

    def test_counts_add_up(self, shipped):
        training = shipped.card.training
        total = sum(count for sources in training.counts.values() for count in sources.values())
        assert total == sum(training.licences.values())
        assert training.counts["real"] and training.counts["fake"]

    def test_carries_no_graph(self, shipped):
        """Graphs are composed from the base, which is not ours to ship."""
        assert all(graph.file is None for graph in shipped.card.runtimes.values())
        assert {path.name for path in shipped.folder.iterdir()} <= {
            "card.json",
            "head.safetensors",
            "statistics.safetensors",
            "int8.safetensors",
        }


@pytest.mark.weights
@pytest.mark.slow
class TestRuns:
    def test_judges_a_picture(self, real_home, toy_pictures):
        report = realgrain.detect(toy_pictures[0])
        assert report == realgrain.load("default", offline=True).detect(str(toy_pictures[0]))
        assert 0 <= report.probability <= 1
        assert report.detector.bundle == read_bundle().hash

    def test_tells_labelled_pictures_apart(self, real_home, labelled_pictures, shipped):
        """A check of signs and preprocessing, far below what the results say: of pictures that it did not learn from, most pairs are in order."""
        with (labelled_pictures / "manifest.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
        detector = load(shipped, offline=True, policy=Policy(stability=False))
        logits = {}
        for label in ("real", "fake"):
            mine = [row for row in rows if row["label"] == label]
            chosen = mine[:: max(1, len(mine) // EACH)][:EACH]
            reports = detector.detect_many(labelled_pictures / row["path"] for row in chosen)
            logits[label] = np.array([report.logit for report in reports])
            assert len(logits[label]) == len(chosen) > 0
        assert np.mean(logits["fake"][:, None] > logits["real"]) > 0.6
