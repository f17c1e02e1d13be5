import json
import sys
from pathlib import Path

import pytest
from PIL import Image

import realgrain
from realgrain.learning import methods

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import training


def test_every_method_is_timed():
    names = [case.name for case in training.CASES]
    assert set(methods.names()) <= set(names)
    assert {one for pair in training.RATIOS.values() for one in pair} <= set(names)
    assert len(set(names)) == len(names)


def test_ratio_is_of_rounds():
    found = training.ratio([2.0, 20.0, 3.0] * 2, [1.0, 10.0, 1.0] * 2)
    assert (found.value, found.low, found.high) == (2, 2, 3)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_rounds_give_no_interval(count):
    found = training.ratio([0.9, 1.1, 1.0, 1.0, 1.0][:count], [1.0] * count)
    assert (found.low, found.high, len(found.rounds)) == (None, None, count)
    assert "too few for an interval" in str(found)
    assert "0.90" in str(found)
    assert "cannot be told" in found.within(2.0)


def test_a_limit_is_judged_by_the_interval():
    found = training.ratio([0.9, 1.0, 1.1, 0.9, 1.0, 1.1], [1.0] * 6)
    assert found.value == 1
    assert (found.within(1.2), found.within(0.5)) == ("yes", "no")
    assert found.within(1.05).startswith("cannot be told")  # though the median lies below it


def test_cost_sums_rounds_up():
    found = training.cost([training.Measured(seconds, peak, 0.5) for seconds, peak in ((0.1, 5e6), (0.3, 7e6), (0.2, 6e6))])
    assert (found.ms_per_picture, found.peak_memory_mb, found.prepare_ms) == pytest.approx((200, 7, 500))
    assert found.quartiles == pytest.approx((150, 250))


@pytest.mark.slow
def test_whole(tiny_tower, tmp_path, monkeypatch, capsys):
    only = ["probe", "lora", "pinclip", "lora, 1 thread", "lora, 2 processes of 1 thread"]
    small = ["--base", tiny_tower.folder, "--rounds", "1", "--steps", "4", "--uncounted", "1", "--batch", "4", "--pictures", "16"]
    output = ["-o", tmp_path / "t.json", "--picture", tmp_path / "t.png"]
    monkeypatch.setattr(sys, "argv", ["training.py", *map(str, [*small, *output, "--only", *only])])
    monkeypatch.setenv("PYTHONPATH", str(Path(realgrain.__file__).parents[1]))
    training.main()
    found = training.Training.model_validate(json.loads((tmp_path / "t.json").read_text())["result"])
    assert list(found.costs) == [case.name for case in training.CASES if case.name in only]
    assert all(cost.ms_per_picture > 0 and cost.peak_memory_mb > 50 for cost in found.costs.values())
    assert set(found.ratios) == {"noise: pinclip over lora", "2 processes over 1"}
    assert "noise costs at most the 1.05 that are aimed at: cannot be told from 1 rounds" in capsys.readouterr().out
    with Image.open(tmp_path / "t.png") as picture:
        assert picture.size[0] == training.WIDTH
