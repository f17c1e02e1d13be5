import json
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from realgrain.detector.weights import file_sha256
from realgrain.learning import tune
from realgrain.learning.collapse import NoiseCollapse
from realgrain.learning.data import ManifestError, read_manifest
from realgrain.learning.recipe import RecipeError
from realgrain.measuring import ablate as ablating
from realgrain.measuring.ablate import best_threshold
from realgrain.measuring.ledger import append_lines, read_lines
from realgrain.measuring.plan import read_plan, runs_of
from realgrain.measuring.points import point_metrics

ROOT = Path(__file__).parents[2]
FOLDS = [{"fake": ["gan-a"], "real": ["camera-a"]}, {"fake": ["diffusion-a"], "real": ["camera-b"]}]


@pytest.fixture
def plan_file(tmp_path, tiny_tower):
    (tmp_path / "base.yaml").write_text(f"base: {tiny_tower.folder}\nblock: 2\ndraws: 1\ndeliveries: [clean, hard]\n")
    path = tmp_path / "plan.yaml"

    def write(**changes):
        plan = {"recipe": "base.yaml", "axes": {"penalty": [1.0, 100.0]}, "protocols": {"pairs": FOLDS}, "training": 5, "validation": 2}
        path.write_text(yaml.safe_dump({**plan, **changes}, sort_keys=False))
        return path

    return write


def run(path, manifest, ledger):
    return list(ablating.ablate(read_plan(path), manifest, ledger))


def test_runs_the_grid_and_no_run_twice(plan_file, toy_manifest, tmp_path, home):
    ledger = tmp_path / "runs.jsonl"
    lines = run(plan_file(), toy_manifest, ledger)
    assert len(lines) == 2 * 2 * 2  # settings, folds, deliveries
    assert read_lines(ledger) == json.loads(json.dumps(lines))
    assert run(plan_file(), toy_manifest, ledger) == []
    more = run(plan_file(axes={"penalty": [1.0, 10.0]}), toy_manifest, ledger)
    assert {line["settings"]["penalty"] for line in more} == {10.0}


def test_a_line_says_what_was_run(plan_file, toy_manifest, tmp_path, home):
    line = run(plan_file(), toy_manifest, tmp_path / "runs.jsonl")[0]
    assert (line["adapter"], line["masking"], line["noise"], line["seed"]) == ("none", "none", "none", 0)
    assert (line["protocol"], line["left_out"], line["delivery"]) == ("pairs", "gan-a|camera-a", "clean")
    assert line["pictures"] == {"training": 30, "validation": 12, "testing": 18}
    assert all(0 <= line[name] <= 1 for name in ("auc", "balanced_accuracy", "tpr_at_5_fpr", "validation_auc"))
    assert line["versions"]["realgrain"]
    assert len(line["manifest_sha256"]) == 64


def test_figures_are_those_of_the_kept_scores(plan_file, toy_manifest, tmp_path, home):
    lines = run(plan_file(), toy_manifest, tmp_path / "runs.jsonl")
    for line in lines:
        file = tmp_path / line["scores"]
        assert line["scores_sha256"] == file_sha256(file)
        rows = pq.read_table(file).filter(pc.field("condition") == line["delivery"])
        assert rows.column_names == ["sha256", "label", "source", "generator", "condition", "logit"]
        fake, logit = np.array(rows["label"].to_pylist()) == "fake", rows["logit"].to_numpy()
        assert line["pictures"]["testing"] == len(fake)
        found = point_metrics(fake, logit, np.zeros(len(fake)), line["threshold"])
        assert (found["auc"], found["tpr_at_5_fpr"]) == (line["auc"], line["tpr_at_5_fpr"])
        assert found["balanced_accuracy_at_threshold"] == line["balanced_accuracy"]


def test_conditions_beyond_the_deliveries_use_fewer_pictures(plan_file, toy_manifest, tmp_path, home):
    plan = plan_file(conditions=["clean", "hard", "jpeg-50", "blur-2"], grid_testing=3, protocols={"pairs": FOLDS[:1]})
    lines = run(plan, toy_manifest, tmp_path / "runs.jsonl")
    assert {line["delivery"]: line["pictures"]["testing"] for line in lines} == {"clean": 18, "hard": 18, "jpeg-50": 6, "blur-2": 6}
    for line in lines:
        assert (line["validation_auc"] is None) == (line["delivery"] in ("jpeg-50", "blur-2"))
        assert line["threshold"] == next(other["threshold"] for other in lines if other["key"] == line["key"])
    few, all_of = (
        {r["sha256"] for r in pq.read_table(tmp_path / lines[0]["scores"]).to_pylist() if r["condition"] == n} for n in ("blur-2", "clean")
    )
    assert few < all_of


def test_a_plan_that_asks_for_more_conditions_makes_the_run_again(plan_file, toy_manifest, tmp_path, home):
    ledger, fewer = tmp_path / "runs.jsonl", {"axes": {"penalty": [1.0]}, "protocols": {"pairs": FOLDS[:1]}}
    run(plan_file(**fewer), toy_manifest, ledger)
    more = run(plan_file(**fewer, conditions=["blur-1"]), toy_manifest, ledger)
    assert {line["delivery"] for line in more} == {"clean", "hard", "blur-1"}  # what was there is kept with it, of the same model
    assert run(plan_file(**fewer), toy_manifest, ledger) == run(plan_file(**fewer, conditions=["blur-1"]), toy_manifest, ledger) == []


@pytest.mark.parametrize("changes", [{"training": 4}, {"validation": 3}, {"testing": 6}, {"recipe": "other.yaml"}])
def test_what_decides_the_result_makes_another_run(plan_file, toy_manifest, tmp_path, home, changes):
    other = (tmp_path / "base.yaml").read_text() + "content_directions: 1\n"
    (tmp_path / "other.yaml").write_text(other)
    samples = read_manifest(toy_manifest)
    keys = [{run.key for run in runs_of(read_plan(plan_file(**of)), samples)} for of in ({}, changes)]
    assert len(keys[0]) == len(keys[1]) == 4
    assert not keys[0] & keys[1]


@pytest.mark.parametrize("name", ["cross-family", "full", "effort", "controls", "gentle", "level", "realgrain", "probe"])
def test_recorded_runs_are_still_those_of_their_plans(name):
    """New settings and other defaults must leave them what they are: each digest of a recipe is in the ledger."""
    recorded = {(line["recipe_sha256"], line["seed"], line["left_out"]) for line in read_lines(ROOT / "results" / "ablation" / "runs.jsonl")}
    asked = [run.identity for run in runs_of(read_plan(ROOT / "recipes" / "plans" / f"{name}.yaml"), [])]
    assert asked
    assert {(of["recipe_sha256"], of["seed"], of["left_out"]) for of in asked} <= recorded


def test_other_pictures_make_another_run(plan_file, toy_manifest):
    plan, samples = read_plan(plan_file()), read_manifest(toy_manifest)
    unused = samples[0].model_copy(update={"path": "unused.png", "split": "test"})
    keys = [[run.key for run in runs_of(plan, of)] for of in (samples, samples[::-1], [*samples, unused], samples[1:])]
    assert keys[0] == keys[1] == keys[2] != keys[3]


def test_plans_that_name_the_seed_and_plans_that_do_not_share_runs(plan_file, toy_manifest):
    samples = read_manifest(toy_manifest)
    silent, named = (read_plan(plan_file(axes={**axes, "penalty": [1.0]})) for axes in ({}, {"tuning.seed": [0, 1]}))
    keys = [[run.key for run in runs_of(plan, samples)] for plan in (silent, named)]
    assert keys[0] == keys[1][:2]
    assert len({*keys[1]}) == 4


def test_diagnostics_of_a_model_are_kept_as_json(plan_file, toy_manifest, tmp_path, home, monkeypatch):
    axes = {"method": ["pinclip"], "tuning.epochs": [1], "tuning.batch": [8], "tuning.evaluate_every": [4]}
    monkeypatch.setattr(tune, "_last_steps", lambda *_: {"steps": 4, "noise": float("nan")})
    lines = run(plan_file(axes=axes, protocols={"pairs": FOLDS[:1]}), toy_manifest, tmp_path / "runs.jsonl")
    assert {(line["method"], json.dumps(line["diagnostics"])) for line in lines} == {("pinclip", '{"steps": 4.0, "noise": null}')}


def test_scores_without_lines_are_no_run(plan_file, toy_manifest, tmp_path, home, monkeypatch):
    """Killed between the two, a run is made again and its orphan becomes its own."""
    ledger = tmp_path / "runs.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(ablating, "append_lines", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(plan_file(), toy_manifest, ledger)
    orphans = {file.name for file in (tmp_path / "scores").iterdir()}
    assert len(orphans) == 1
    assert not ledger.exists()
    lines = run(plan_file(), toy_manifest, ledger)
    assert len(lines) == 8
    assert {file.name for file in (tmp_path / "scores").iterdir()} == {line["scores"].removeprefix("scores/") for line in lines} > orphans


def test_a_torn_line_is_left_out_and_its_run_made_again(plan_file, toy_manifest, tmp_path, home, caplog):
    ledger = tmp_path / "runs.jsonl"
    run(plan_file(), toy_manifest, ledger)
    whole = ledger.read_text()
    ledger.write_text(whole[:-40])
    assert len(read_lines(ledger)) == 7
    assert "line 8: torn" in caplog.text
    assert [line["delivery"] for line in run(plan_file(), toy_manifest, ledger)] == ["clean", "hard"]
    assert len(read_lines(ledger)) == 9


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=5)), max_size=4), st.text(st.characters(categories=["L", "Nd"]), max_size=9))
@settings(max_examples=25, deadline=None)
def test_lines_survive_whatever_came_before(tmp_path_factory, lines, tail):
    path = tmp_path_factory.mktemp("ledger") / "runs.jsonl"
    path.write_text('{"torn": "' + tail)
    append_lines(path, lines)
    append_lines(path, lines)
    assert read_lines(path) == lines * 2


def test_a_killed_run_leaves_whole_lines(plan_file, toy_manifest, tmp_path, home):
    ledger = tmp_path / "runs.jsonl"
    unfinished = ablating.ablate(read_plan(plan_file()), toy_manifest, ledger)
    next(unfinished)
    unfinished.close()
    assert len(read_lines(ledger)) == 2  # both deliveries of the one run
    assert len(run(plan_file(), toy_manifest, ledger)) == 6


def test_tuned_runs_too(plan_file, toy_manifest, tmp_path, home):
    axes = {"method": ["pinclip"], "tuning.epochs": [1], "tuning.batch": [8], "tuning.evaluate_every": [4]}
    lines = run(plan_file(axes=axes, protocols={"pairs": FOLDS[:1]}), toy_manifest, tmp_path / "runs.jsonl")
    assert {(line["adapter"], line["noise"]) for line in lines} == {("lora", "pin")}


def test_a_collapse_of_noise_costs_its_own_run_alone(plan_file, toy_manifest, tmp_path, home):
    """Noise as good as none, in one run of two: the other has its lines, and the end says which collapsed."""
    axes = {"noise.kind": ["gaussian"], "noise.energy": [1e-6, 0.5], "tuning.epochs": [4], "tuning.batch": [8]}
    plan, ledger = plan_file(axes=axes, protocols={"pairs": FOLDS[:1]}), tmp_path / "runs.jsonl"
    with pytest.raises(NoiseCollapse, match=r"1e-06.* without gan-a\|camera-a: the noise's standard deviation"):
        run(plan, toy_manifest, ledger)
    assert {line["settings"]["noise.energy"] for line in read_lines(ledger)} == {0.5}
    assert not list((home / "runs").iterdir())  # nor are its checkpoints kept


def test_first_axis_changes_last(plan_file, toy_manifest):
    plan = read_plan(plan_file(axes={"tuning.seed": [0, 1], "penalty": [1.0, 2.0]}))
    assert [run.changes["tuning.seed"] for run in runs_of(plan, read_manifest(toy_manifest))] == [0, 0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(
    "changes",
    [
        {"axes": {"nonsense": [1]}},
        {"axes": {"penalty": [-1]}},
        {"axes": {"block": [2, 9]}},
        {"axes": {"content_directions": [40]}},
        {"axes": {"per_source": [3, None]}},
        {"recipe": "gone.yaml"},
        {"extra": 1},
        {"conditions": ["rain"]},
    ],
)
def test_a_wrong_plan_is_found_before_anything_runs(plan_file, toy_manifest, tmp_path, home, changes):
    with pytest.raises(RecipeError):
        run(plan_file(**changes), toy_manifest, tmp_path / "runs.jsonl")
    assert not (tmp_path / "runs.jsonl").exists()


@given(st.lists(st.tuples(st.booleans(), st.floats(-5, 5)), min_size=4, max_size=40).filter(lambda rows: len({fake for fake, _ in rows}) == 2))
def test_best_threshold_is_the_best(rows):
    fake, logits = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    best = balanced_accuracy_score(fake, logits >= best_threshold(fake, logits))
    assert best >= max(balanced_accuracy_score(fake, logits >= value) for value in logits) - 1e-12


def test_settings_of_the_head_count_though_its_features_are_shared(plan_file, toy_manifest, tmp_path, home):
    lines = run(plan_file(axes={"penalty": [0.001, 1000.0]}), toy_manifest, tmp_path / "runs.jsonl")
    by_penalty = {value: [line["auc"] for line in lines if line["settings"]["penalty"] == value] for value in (0.001, 1000.0)}
    assert by_penalty[0.001] != by_penalty[1000.0]


class TestRefused:
    """What cannot be measured: before anything is trained, and with no line written."""

    @pytest.fixture
    def refused(self, plan_file, toy_manifest, tmp_path, home, monkeypatch):
        monkeypatch.setattr(ablating, "_measure", lambda *_: pytest.fail("something was run"))

        def refused(reason, **changes):
            with pytest.raises(ManifestError, match=reason) as error:
                run(plan_file(**changes), toy_manifest, tmp_path / "runs.jsonl")
            assert str(error.value).startswith(str(toy_manifest))
            assert not (tmp_path / "runs.jsonl").exists()

        return refused

    @pytest.mark.parametrize(("fake", "real", "absent"), [("gan-aa", "camera-a", "fake"), ("gan-a", "gan-b", "real"), ("", "camera-a", "fake")])
    def test_a_source_that_is_not_there(self, refused, fake, real, absent):
        source = fake if absent == "fake" else real
        refused(f"no {absent} picture of source '{source}', which protocol pairs", protocols={"pairs": [FOLDS[0], {"fake": [fake], "real": [real]}]})

    @pytest.mark.parametrize("tuned", [False, True])
    def test_nothing_of_a_label_left_to_learn_from(self, refused, tuned):
        every = {"fake": ["gan-a", "gan-b", "diffusion-a", "diffusion-b"], "real": ["camera-a"]}
        axes = {"method": ["lora" if tuned else "probe"]}
        refused(r"protocol pairs without gan-a\+gan-b.* no fake picture is left to learn from", protocols={"pairs": [every]}, axes=axes)

    def test_nothing_of_a_label_left_out(self, refused):
        refused("no real picture among the left-out pictures", protocols={"pairs": [{"fake": ["gan-a"], "real": []}]})

    def test_all_pictures_choose_the_threshold(self, refused):
        refused("no fake and no real picture is left to learn from", validation=100)

    def test_what_decides_when_to_stop_takes_all(self, refused):
        refused(r"training, 1 of each .*\(tuning.validation\): the fake sources", training=1, axes={"method": ["lora"]})
