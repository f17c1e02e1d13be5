import json

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from realgrain.learning.recipe import RecipeError
from realgrain.measuring import ablate as ablating
from realgrain.measuring.ablate import best_threshold, read_ledger, read_plan, runs_of
from realgrain.measuring.tables import render_ablation

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
    assert read_ledger(ledger) == json.loads(json.dumps(lines))
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


def test_a_killed_run_leaves_whole_lines(plan_file, toy_manifest, tmp_path, home):
    ledger = tmp_path / "runs.jsonl"
    unfinished = ablating.ablate(read_plan(plan_file()), toy_manifest, ledger)
    next(unfinished)
    unfinished.close()
    assert len(read_ledger(ledger)) == 2  # both deliveries of the one run
    assert len(run(plan_file(), toy_manifest, ledger)) == 6


def test_tuned_runs_too(plan_file, toy_manifest, tmp_path, home):
    axes = {"method": ["pinclip"], "tuning.epochs": [1], "tuning.batch": [8], "tuning.evaluate_every": [4]}
    lines = run(plan_file(axes=axes, protocols={"pairs": FOLDS[:1]}), toy_manifest, tmp_path / "runs.jsonl")
    assert {(line["adapter"], line["noise"]) for line in lines} == {("lora", "pin")}


def test_first_axis_changes_last(plan_file):
    plan = read_plan(plan_file(axes={"tuning.seed": [0, 1], "penalty": [1.0, 2.0]}))
    assert [run.changes["tuning.seed"] for run in runs_of(plan)] == [0, 0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("changes", [{"axes": {"nonsense": [1]}}, {"axes": {"penalty": [-1]}}, {"recipe": "gone.yaml"}, {"extra": 1}])
def test_a_wrong_plan_is_found_before_anything_runs(plan_file, toy_manifest, tmp_path, home, changes):
    with pytest.raises(RecipeError):
        run(plan_file(**changes), toy_manifest, tmp_path / "runs.jsonl")
    assert not (tmp_path / "runs.jsonl").exists()


@given(st.lists(st.tuples(st.booleans(), st.floats(-5, 5)), min_size=4, max_size=40).filter(lambda rows: len({fake for fake, _ in rows}) == 2))
def test_best_threshold_is_the_best(rows):
    fake, logits = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    best = balanced_accuracy_score(fake, logits >= best_threshold(fake, logits))
    assert best >= max(balanced_accuracy_score(fake, logits >= value) for value in logits) - 1e-12


def test_table_averages_over_seeds_and_folds():
    from rich.console import Console

    line = {"settings": {"penalty": 1}, "protocol": "p", "delivery": "clean", "auc": 0.5, "balanced_accuracy": 0.6, "key": "a"}
    console = Console(width=200)
    with console.capture() as capture:
        console.print(render_ablation([line, {**line, "auc": 0.7, "key": "b", "settings": {"penalty": 1, "tuning.seed": 1}}]))
    assert "0.600 / 0.600" in capture.get()


def test_settings_of_the_head_count_though_its_features_are_shared(plan_file, toy_manifest, tmp_path, home):
    lines = run(plan_file(axes={"penalty": [0.001, 1000.0]}), toy_manifest, tmp_path / "runs.jsonl")
    by_penalty = {value: [line["auc"] for line in lines if line["settings"]["penalty"] == value] for value in (0.001, 1000.0)}
    assert by_penalty[0.001] != by_penalty[1000.0]
