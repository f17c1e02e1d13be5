import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import shrinking


def test_merging_keeps_the_mean_of_all_patches_and_the_class_token():
    tokens = torch.randn(2, 50, 8)
    once, sizes = shrinking.merge(tokens, torch.ones(2, 50), 6)
    twice, sizes = shrinking.merge(once, sizes, 6)
    assert twice.shape == (2, 38, 8) and sizes.sum(1).tolist() == [50, 50]
    torch.testing.assert_close(twice[:, 0], tokens[:, 0])
    torch.testing.assert_close((twice * sizes[:, :, None]).sum(1), tokens.sum(1))


def test_the_most_alike_are_merged():
    tokens = torch.eye(9)[None].repeat(1, 1, 1) + 0.01
    tokens[0, 3] = 2 * tokens[0, 6]  # patches 2 (even) and 5 (odd), of one direction
    merged, sizes = shrinking.merge(tokens, torch.ones(1, 9), 1)
    assert sorted(sizes[0].tolist()) == [1] * 7 + [2]
    torch.testing.assert_close(merged[0][sizes[0] == 2][0], 1.5 * tokens[0, 6])


def test_exits():
    """Views that agree need no second look where they are far from the thresholds; views that do not always do."""
    first = np.array([-9.0, 0.0, 9.0, 5.0] * 4)
    alike = shrinking.exits(np.stack([first, first + 0.2], 1), ["a", "b"], -5.0, 5.05)
    assert [one.clear for one in alike] == [0.75, 1.0] and [one.changed for one in alike] == [0, 0]
    assert alike[0].margin == pytest.approx(0.1)
    apart = shrinking.exits(np.stack([first, -first], 1), ["a", "b"], -5.0, 5.05)
    assert apart[0].clear == 0


def test_whole(tiny_bundle, toy_manifest, tmp_path, monkeypatch, capsys):
    words = ["--bundle", tiny_bundle.folder, "--data", toy_manifest, "--split", "train", "--pictures", 8, "-o", tmp_path / "s.json"]
    monkeypatch.setattr(sys, "argv", ["shrinking.py", *map(str, words)])
    shrinking.main()
    found = shrinking.Found.model_validate(json.loads((tmp_path / "s.json").read_text())["result"])
    assert {name.split()[0] for name in found.ways} == {"drop", "merge"} and len(found.ways) == 8
    assert all(way.largest >= way.usual > 0 for way in found.ways.values())
    assert [one.first for one in found.exits] == ["crop", "resize"]
    assert "whole: AUC" in capsys.readouterr().out
