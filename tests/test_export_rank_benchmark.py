import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import export_rank

from realgrain.learning.train import train


@pytest.mark.slow
def test_whole(recipe_of, toy_manifest, home, tmp_path, monkeypatch, capsys):
    """More rank, less lost and more bytes; all of it, nothing lost."""
    bundle = train(recipe_of("mpft", **{"tuning.epochs": 1}), toy_manifest, tmp_path / "bundle")
    words = [bundle.folder, "--data", toy_manifest, "--split", "train", "--pictures", 12, "--ranks", 1, 8, 32, "-o", tmp_path / "r.json"]
    monkeypatch.setattr(sys, "argv", ["export_rank.py", *map(str, words)])
    export_rank.main()
    found = export_rank.Found.model_validate(json.loads((tmp_path / "r.json").read_text())["result"])
    low, more, full = found.ranks.values()
    assert low.lost > more.lost > full.lost == pytest.approx(0, abs=1e-4)
    assert low.megabytes < more.megabytes < full.megabytes
    assert low.largest > 10 * full.largest
    assert full.auc == found.whole.auc
    assert "whole: " in capsys.readouterr().out


def test_a_frozen_tower_has_no_rank(tiny_bundle):
    with pytest.raises(ValueError, match="no whole changes"):
        export_rank.measure(tiny_bundle, [], [1])
