"""The recipes of whole published setups run from pictures to a verdict, on a tower and pictures of toy size; nothing more can be shown without the
papers' data."""

import json
import re
from pathlib import Path

import pytest

from realgrain.faces.cli import main
from realgrain.learning.recipe import read_recipe

ROOT = Path(__file__).parents[2]
FULL = sorted((ROOT / "recipes" / "full").glob("*.yaml"))
SMALL = {
    "folds": "[{fake: [gan-a], real: [camera-a]}, {fake: [gan-b, diffusion-a], real: [camera-b]}]",
    "tuning.epochs": "0.5",
    "tuning.batch": "16",
    "tuning.evaluate_every": "2",
    "tuning.validation": "0.1",
    "tuning.workers": "0",
}


def test_each_has_one_command_in_the_guide():
    commands = re.findall(r"^realgrain train recipes/full/(\S+) ", (ROOT / "docs" / "full-setups.md").read_text(), re.MULTILINE)
    assert sorted(commands) == [path.name for path in FULL]


@pytest.mark.parametrize("path", FULL, ids=lambda path: path.stem)
def test_every_setting_says_where_it_is_from(path):
    blocks = re.split(r"^(?=\w)", path.read_text(), flags=re.MULTILINE)[1:]
    told = [block for block in blocks if re.search(r"# .*\[(paper|code|code of relatives|our choice)\]", block)]
    assert [block.partition(":")[0] for block in blocks if block not in told] == ["name", "method", "licence"]


@pytest.mark.slow
@pytest.mark.parametrize("path", FULL, ids=lambda path: path.stem)
def test_runs_from_pictures_to_a_verdict(path, toy_manifest, tiny_tower, tiny_clip, toy_pictures, tmp_path, home, capsys):
    base = tiny_clip if read_recipe(path).noise.prompted else tiny_tower
    settings = {**SMALL, "base": str(base.folder), **({"block": "2"} if read_recipe(path).block else {})}
    flags = [token for name, value in settings.items() for token in (f"--{name}", value)]
    assert main(["train", str(path), *flags, "--data", str(toy_manifest), "-o", str(tmp_path / "b")]) == 0
    capsys.readouterr()
    assert main(["detect", str(toy_pictures[0]), "--bundle", str(tmp_path / "b"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert 0 <= report["probability"] <= 1
