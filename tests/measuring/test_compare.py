import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve

from realgrain.detector.weights import file_sha256
from realgrain.measuring.compare import ablation_of, compare
from realgrain.measuring.ledger import append_lines, read_lines
from realgrain.measuring.plots import draw
from realgrain.measuring.results import Ablation
from realgrain.measuring.score import write_table
from realgrain.measuring.tables import render_ablation

FOLDS = {"gan|camera": ("gan", "camera"), "diffusion|phone": ("diffusion", "phone")}
ANY_FILES = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Ledger:
    """A ledger as ``realgrain ablate`` writes it, of runs with made-up logits."""

    def __init__(self, folder):
        self.path = folder / "runs.jsonl"

    def add(self, setting, logits, *, seed=0, fold="gan|camera", deliveries=("clean", "web"), threshold=0.0, **fields):
        """One run; ``logits`` is condition -> (n,), the first half of it real."""
        identity = {
            "settings": {"noise.kind": setting, "tuning.seed": seed},
            "seed": seed,
            "protocol": "pairs",
            "left_out": fold,
            "method": "lora",
            "recipe_sha256": "a" * 64,
            "sizes": {"training": 60, "validation": 10, "testing": 60},
            "pictures_sha256": "b" * 64,
            **fields,
        }
        key = json.dumps(identity, sort_keys=True)
        rows, figures = [], {}
        for condition, values in logits.items():
            values, fake = np.float32(values), [index >= len(values) // 2 for index in range(len(values))]
            names = [f"{fold}{index:03}" for index in range(len(values))]
            parts = [{"sha256": n, "label": ("real", "fake")[f], "source": FOLDS[fold][not f]} for n, f in zip(names, fake, strict=True)]
            rows += [{**of, "generator": "", "condition": condition, "logit": v} for of, v in zip(parts, values, strict=True)]
            fpr, tpr, _ = roc_curve(fake, values, drop_intermediate=False)
            figures[condition] = {
                "auc": float(roc_auc_score(fake, values)),
                "balanced_accuracy": float(balanced_accuracy_score(fake, values >= threshold)),
                "tpr_at_5_fpr": float(tpr[fpr <= 0.05].max()),
            }
        file = self.path.parent / "scores" / f"{abs(hash(key)):x}.parquet"
        write_table(pa.Table.from_pylist(rows), file)
        shared = {"key": key, **identity, "deliveries": list(deliveries), "threshold": threshold}
        shared |= {"scores": f"scores/{file.name}", "scores_sha256": file_sha256(file)}
        append_lines(self.path, [{**shared, "delivery": condition, **found} for condition, found in figures.items()])
        return file


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path)


@pytest.fixture
def fresh(tmp_path_factory):
    """Another ledger each time, for tests that hypothesis runs often."""
    return lambda: Ledger(tmp_path_factory.mktemp("ledger"))


def scores(seed, apart=1.0, n=80):
    """Logits (n,) whose classes are ``apart`` standard deviations apart."""
    return np.random.default_rng(seed).normal(size=n) + apart * (np.arange(n) >= n // 2)


def found_in(ledger, setting, condition="clean", baseline="none", **options):
    chosen = None if baseline is None else {"noise.kind": baseline}
    (found,) = [c for c in compare(ledger.path, chosen, **options) if (c.settings["noise.kind"], c.condition) == (setting, condition)]
    return found


@given(st.integers(0, 999), st.floats(0, 3))
@ANY_FILES
def test_identical_scores_differ_by_nothing(fresh, seed, apart):
    ledger = fresh()
    for setting in ("none", "pin"):
        ledger.add(setting, {"clean": scores(seed, apart), "web": scores(seed + 1, apart)})
    for condition in ("clean", "web", "mean"):
        for difference in found_in(ledger, "pin", condition, resamples=50).differences.values():
            assert (difference.value, difference.low, difference.high) == (0, 0, 0)


@given(st.integers(0, 999))
@ANY_FILES
def test_a_planted_difference_is_found(fresh, seed):
    ledger, better = fresh(), scores(seed, 3.0)
    worse = better - 1.5 * (np.arange(len(better)) >= len(better) // 2)
    ledger.add("none", {"clean": worse, "web": worse}, threshold=0.75)
    ledger.add("pin", {"clean": better, "web": better}, threshold=1.5)
    found = found_in(ledger, "pin", "mean", resamples=300)
    assert found.differences["auc"].low > 0
    for metric, difference in found.differences.items():
        expected = found.metrics[metric].value - found_in(ledger, "none", "mean", resamples=1).metrics[metric].value
        assert difference.value == pytest.approx(expected)
        assert difference.low <= difference.value <= difference.high


def test_a_difference_of_chance_is_not_claimed_too_often(fresh):
    """Two settings that are equally good by construction: the 95 % interval holds 0 in about 95 of 100 pairs."""
    holds = 0
    for trial in range(60):
        ledger = fresh()
        for index, setting in enumerate(("none", "pin")):
            ledger.add(setting, {"clean": scores([trial, index])}, deliveries=("clean",))
        difference = found_in(ledger, "pin", resamples=200).differences["auc"]
        holds += difference.low <= 0 <= difference.high
    assert holds >= 51  # 57 expected, give or take 2


def test_pairing_matters(ledger):
    """Scores that agree but for a little noise: the interval of the difference is far narrower than independent intervals would give."""
    hard = scores(1, 0.8, 200)
    ledger.add("none", {"clean": hard})
    ledger.add("pin", {"clean": hard + 0.1 * scores(2, 0, 200)})
    found = found_in(ledger, "pin")
    base = found_in(ledger, "none").metrics["auc"]
    unpaired = np.hypot(found.metrics["auc"].high - found.metrics["auc"].low, base.high - base.low)
    difference = found.differences["auc"]
    assert 0 < difference.high - difference.low < unpaired / 3


def test_intervals_agree_with_an_independent_bootstrap(ledger):
    logit = scores(5, 1.0, 120)
    ledger.add("none", {"clean": logit})
    rng, fake, drawn = np.random.default_rng(0), np.arange(120) >= 60, []
    for _ in range(400):
        rows = np.concatenate([rng.integers(0, 60, 60), rng.integers(60, 120, 60)])
        drawn.append(roc_auc_score(fake[rows], logit[rows]))
    found = found_in(ledger, "none").metrics["auc"]
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.015)


def test_means_are_over_folds_of_means_over_seeds(ledger):
    """The second fold has one seed only: it weighs as much as the first."""
    runs = [("gan|camera", 0, 0.5), ("gan|camera", 1, 2.0), ("diffusion|phone", 0, 1.0)]
    for fold, seed, apart in runs:
        ledger.add("none", {"clean": scores(seed, apart), "web": scores(9, apart)}, fold=fold, seed=seed)
    auc = {(line["left_out"], line["seed"]): line["auc"] for line in read_lines(ledger.path) if line["delivery"] == "clean"}
    found = found_in(ledger, "none", baseline=None)
    measure = found.metrics["auc"]
    assert measure.value == pytest.approx((np.mean([auc["gan|camera", 0], auc["gan|camera", 1]]) + auc["diffusion|phone", 0]) / 2)
    assert measure.seeds == {0: pytest.approx((auc["gan|camera", 0] + auc["diffusion|phone", 0]) / 2)}  # seed 1 has not all folds
    assert (found.runs, found.folds, found.differences) == (3, ["gan|camera", "diffusion|phone"], {})
    assert measure.low <= measure.value <= measure.high


def test_mean_is_over_the_deliveries_of_the_recipe(ledger):
    ledger.add("none", {"clean": scores(1), "web": scores(2), "blur-2": scores(3, 0.0)})
    found = {c.condition: c for c in compare(ledger.path)}
    assert list(found) == ["clean", "web", "mean", "blur-2"]
    assert [c.delivery for c in found.values()] == [True, True, True, False]
    assert found["mean"].metrics["auc"].value == pytest.approx((found["clean"].metrics["auc"].value + found["web"].metrics["auc"].value) / 2)


def test_a_comparison_does_not_depend_on_what_else_is_in_the_ledger(ledger):
    ledger.add("none", {"clean": scores(1)})
    ledger.add("pin", {"clean": scores(2)})
    alone = found_in(ledger, "pin", resamples=50)
    ledger.add("gaussian", {"clean": scores(3)})
    ledger.add("pin", {"clean": scores(4)}, protocol="other")
    assert found_in(ledger, "gaussian", resamples=50).differences
    again = [c for c in compare(ledger.path, {"noise.kind": "none"}, resamples=50) if (c.settings, c.condition) == (alone.settings, "clean")]
    assert [c.protocol for c in again] == ["pairs", "other"]
    assert again[0].differences == alone.differences
    assert again[1].differences == {}


class TestLeftOut:
    def test_a_run_without_scores(self, ledger):
        for seed in (0, 1):
            ledger.add("none", {"clean": scores(seed)}, seed=seed)
        kept = ledger.add("pin", {"clean": scores(5)}, seed=0)
        ledger.add("pin", {"clean": scores(6, 2.0)}, seed=1).unlink()
        found = found_in(ledger, "pin", resamples=50)
        assert (found.runs, sorted(found.metrics["auc"].seeds)) == (2, [0, 1])
        assert [note.split(":")[0] for note in found.notes] == ["seed 1 without gan|camera"]
        assert "missing" in found.notes[0]
        with_it = found.differences["auc"].value
        kept.unlink()
        found = found_in(ledger, "pin", resamples=50)
        assert (found.differences, found.metrics["auc"].low) == ({}, None)
        assert found.metrics["auc"].value > 0.5
        assert with_it == pytest.approx(read_lines(ledger.path)[2]["auc"] - np.mean([line["auc"] for line in read_lines(ledger.path)[:2]]))

    def test_scores_of_another_run(self, ledger):
        """Killed after it wrote scores anew and before it wrote its lines."""
        ledger.add("none", {"clean": scores(1)})
        file = ledger.add("pin", {"clean": scores(2)})
        write_table(pa.table({"sha256": ["x"]}), file)
        found = found_in(ledger, "pin", resamples=50)
        assert found.differences == {}
        assert "not of this run" in found.notes[0]

    def test_scores_of_other_pictures(self, ledger):
        ledger.add("none", {"clean": scores(1)})
        ledger.add("pin", {"clean": scores(2, n=40)})
        found = found_in(ledger, "pin", resamples=50)
        assert found.differences == {}
        assert "other pictures" in found.notes[0]

    def test_a_fold_that_only_one_has(self, ledger):
        ledger.add("none", {"clean": scores(1)})
        for fold in FOLDS:
            ledger.add("pin", {"clean": scores(2)}, fold=fold)
        found = found_in(ledger, "pin", resamples=50)
        auc = [line["auc"] for line in read_lines(ledger.path)]
        assert found.differences["auc"].value == pytest.approx(auc[1] - auc[0])
        assert found.notes == ["no difference without diffusion|phone: no scores of both"]

    def test_lines_of_an_older_layout(self, ledger, caplog):
        append_lines(ledger.path, [{"key": "old", "settings": {}, "delivery": "clean", "auc": 0.5}])
        ledger.add("none", {"clean": scores(1)})
        assert len(compare(ledger.path, resamples=1)) == 2  # clean, mean
        assert "1 lines of an older layout" in caplog.text

    def test_a_line_that_was_replaced(self, ledger):
        ledger.add("none", {"clean": scores(1, 0.0)})
        ledger.add("none", {"clean": scores(1, 3.0), "web": scores(1, 3.0)})
        found = found_in(ledger, "none", resamples=50)
        assert found.runs == 1
        assert found.metrics["auc"].value > 0.9
        assert found.notes == []


class TestBaseline:
    def test_must_pick_one_setting(self, ledger):
        for value in (1, 2):
            ledger.add("none", {"clean": scores(1)}, settings={"noise.kind": "none", "penalty": value})
        with pytest.raises(ValueError, match=r"picks several settings.*penalty=1.*penalty=2"):
            compare(ledger.path, {"noise.kind": "none"}, resamples=1)
        assert [c.baseline for c in compare(ledger.path, {"penalty": 2}, resamples=1) if c.condition == "clean"] == [False, True]
        ledger.add("none", {"clean": scores(1)}, settings={"noise.kind": "none"})  # has these alone: named in full
        assert [c.baseline for c in compare(ledger.path, {"noise.kind": "none"}, resamples=1) if c.condition == "clean"] == [False, False, True]

    def test_of_several_recipes_the_last(self, ledger):
        for index, recipe in enumerate("cd"):
            ledger.add("none", {"clean": scores(index)}, recipe_sha256=recipe * 64)
        found = [c for c in compare(ledger.path, {"noise.kind": "none"}, resamples=20) if c.condition == "clean"]
        assert [c.baseline for c in found] == [False, True]
        assert found[0].setting != found[1].setting
        assert found[0].differences

    def test_that_has_not_run(self, ledger):
        ledger.add("pin", {"clean": scores(1)})
        found = found_in(ledger, "pin", resamples=10)
        assert found.differences == {}
        assert found.notes == ["no run of the baseline under this protocol with these sizes and pictures"]

    def test_never_of_other_sizes(self, ledger):
        ledger.add("none", {"clean": scores(1)}, sizes={"training": 5, "validation": 10, "testing": 60})
        ledger.add("pin", {"clean": scores(1)})
        assert found_in(ledger, "pin", resamples=10).differences == {}


def test_wrong_use(ledger):
    with pytest.raises(ValueError, match="no lines"):
        ablation_of(ledger.path, None)
    with pytest.raises(ValueError, match="at least 1"):
        compare(ledger.path, resamples=0)


@pytest.fixture
def filled(ledger):
    """Two settings, two seeds, two folds, and curves."""
    conditions = ("clean", "web", *(f"jpeg-{quality}" for quality in (95, 70, 50)), "blur-0.5", "blur-2")
    for setting, apart in (("none", 1.0), ("pin", 2.0)):
        for seed in (0, 1):
            for fold in FOLDS:
                ledger.add(setting, {name: scores(seed + index, apart) for index, name in enumerate(conditions)}, seed=seed, fold=fold)
    return ledger


def text_of(found):
    console = Console(width=250)
    with console.capture() as capture:
        console.print(render_ablation(found))
    return capture.get()


def test_table_shows_means_spreads_and_differences(filled):
    found = compare(filled.path, {"noise.kind": "none"}, resamples=50)
    shown = text_of(found)
    pin = next(of for of in found if (of.settings["noise.kind"], of.condition) == ("pin", "mean"))
    auc, difference = pin.metrics["auc"], pin.differences["auc"]
    assert f"{auc.value:.3f} ({min(auc.seeds.values()):.3f}–{max(auc.seeds.values()):.3f})" in shown
    assert f"{difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})" in shown
    assert all(words in shown for words in ("Balanced accuracy", "Recall at 5 %", "mean − noise.kind=none", "jpeg-95", "blur-2"))
    assert "*" not in shown


def test_words_leave_out_what_all_settings_share(ledger):
    kinds = [{"adapter.kind": "lora", "noise.kind": kind, "penalty": value} for kind, value in (("none", 1), ("pin", [1, 2]), ("pin", 2))]
    for settings_ in kinds:
        ledger.add("any", {"clean": scores(1)}, settings=settings_)
    assert [c.setting for c in compare(ledger.path, resamples=1) if c.condition == "clean"] == [
        "noise.kind=none, penalty=1",
        "noise.kind=pin, penalty=[1, 2]",
        "noise.kind=pin, penalty=2",
    ]


def test_settings_that_one_word_fits_are_told_apart(ledger):
    """By what one of them sets and the other leaves as it is, and by digests where they set the same over recipes that differ."""
    ledger.add("none", {"clean": scores(0)})
    ledger.add("pin", {"clean": scores(1)})
    ledger.add("any", {"clean": scores(2)}, settings={"noise.kind": "pin", "tuning.head_rate": 1e-7}, recipe_sha256="e" * 64)
    for recipe in "cd":
        ledger.add("gaussian", {"clean": scores(3)}, recipe_sha256=recipe * 64)
    names = sorted(found.setting for found in compare(ledger.path, {"noise.kind": "none"}, resamples=1) if found.condition == "clean")
    assert names[:1] + names[2:4] == [
        "noise.kind=gaussian (recipe cccccc, pictures bbbbbb, 60/10/60 of a source)",
        "noise.kind=none",
        "noise.kind=pin",
    ]
    assert "recipe dddddd" in names[1] and names[4] == "noise.kind=pin, tuning.head_rate=1e-07"


def test_table_says_what_was_left_out(filled):
    filled.add("pin", {"clean": scores(1), "web": scores(1)}, seed=2).unlink()
    shown = text_of(compare(filled.path, resamples=10))
    assert " noise.kind=pin * " in shown
    assert "* noise.kind=pin: seed 2 without gan|camera" in shown


def test_what_is_written_down_can_be_read(filled):
    found = ablation_of(filled.path, {"noise.kind": "none"}, resamples=10)
    assert Ablation.model_validate_json(found.model_dump_json()) == found


class TestPlots:
    def test_are_drawn(self, filled, tmp_path):
        from PIL import Image

        files = draw(compare(filled.path, {"noise.kind": "none"}, resamples=20), tmp_path / "plots")
        assert [file.name for file in files] == ["pairs-deliveries.png", "pairs-robustness.png"]
        for file in files:
            with Image.open(file, formats=("PNG",)) as image:
                pixels = np.asarray(image.convert("RGB"))
            assert pixels.mean() > 200  # a light background
            assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
        assert {file.name for file in (tmp_path / "plots").iterdir()} == {file.name for file in files}

    def test_show_what_was_found(self, filled, tmp_path, monkeypatch):
        """Each seed, mean and interval is in the panel of its metric and delivery, within its limits."""
        from matplotlib.figure import Figure

        drawn = []
        monkeypatch.setattr(Figure, "savefig", lambda figure, file, **_: (drawn.append(figure), file.touch()))
        found = compare(filled.path, {"noise.kind": "none"}, resamples=20)
        draw(found, tmp_path)
        panels = {panel.get_title(): panel for panel in drawn[0].axes}
        for of in found:
            if of.delivery:
                panel, measure = panels[f"balanced accuracy, {of.condition}"], of.metrics["balanced_accuracy"]
                values = {float(value) for line in panel.lines for value in np.atleast_1d(line.get_xdata())}
                assert {measure.value, measure.low, measure.high, *measure.seeds.values()} <= values
                assert panel.get_xlim()[0] < min(values) <= max(values) < panel.get_xlim()[1]
        assert drawn[1].axes[0].get_xlim()[0] > drawn[1].axes[0].get_xlim()[1]  # JPEG 50 to the right of 95

    def test_without_curves_there_is_no_figure_of_them(self, ledger, tmp_path):
        ledger.add("none", {"clean": scores(1), "web": scores(2)}, protocol="a/b")
        assert [file.name for file in draw(compare(ledger.path, resamples=10), tmp_path / "plots")] == ["a-b-deliveries.png"]
