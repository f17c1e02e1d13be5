"""The script that does the whole chain of a benchmark on two published layouts."""

import json
import shutil
import sys
from pathlib import Path

import pytest

import realgrain
from realgrain.measuring.results import Estimate

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import chain


def made(tree: str, method: str, auc: Estimate) -> chain.Ran:
    return chain.Ran(
        tree=tree,
        method=method,
        bundle="0" * 64,
        condition="clean",
        n_real=9,
        n_fake=9,
        n_failed=0,
        figures={"auc": auc},
        no_interval="",
        no_spread=[],
        auc_by_condition={"clean": auc.value, "web": None, "hard": 0.5},
        verified=True,
        faults=[],
        kill=None,
        seconds=1.0,
        cpu_seconds=1.0,
    )


def test_a_plot_with_what_is_missing_left_out():
    estimates = [Estimate(value=0.9, low=0.8, high=0.95), Estimate(value=1.0), Estimate(value=None)]
    runs = [made(tree, f"m{place}", of) for tree in ("a", "b") for place, of in enumerate(estimates)]
    step = chain.Step(command="c", seconds=1, cpu_seconds=1, code=0)
    found = chain.Chain(
        pictures=18, split="", limit=None, condition_names=["clean"], sets={}, runs=runs, pairs=[], steps={"s": step}, seconds=1, cpu_seconds=1
    )
    assert found.good
    assert chain.drawn(found)[:4] == b"\x89PNG"
    faulty = [*runs[:-1], runs[-1].model_copy(update={"verified": False})]
    assert not found.model_copy(update={"runs": faulty}).good
    kill = chain.Kill(killed=True, kept=1, rows=2, equal=False)
    assert not found.model_copy(update={"runs": [runs[0].model_copy(update={"kill": kill})]}).good


def test_bundles_of_one_name_are_refused(tiny_bundle):
    assert list(chain.bundles(["shipped", str(tiny_bundle.folder)]).values())[1][0] == ["--bundle", str(tiny_bundle.folder)]
    with pytest.raises(ValueError, match="another bundle called tiny"):
        chain.bundles([str(tiny_bundle.folder)] * 2)


@pytest.mark.slow
def test_the_chain_and_that_it_goes_on(tiny_bundle, toy_manifest, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONPATH", str(Path(realgrain.__file__).parents[1]))
    shutil.copytree(tiny_bundle.folder, tmp_path / "other")
    card = json.loads((tmp_path / "other" / "card.json").read_text())
    (tmp_path / "other" / "card.json").write_text(json.dumps({**card, "name": "other"}))
    output = tmp_path / "chain.json"
    given = [
        toy_manifest,
        tmp_path / "work",
        "--bundles",
        tiny_bundle.folder,
        tmp_path / "other",
        "--trees",
        "genimage",
        "--conditions",
        "clean",
        "web",
    ]
    given += ["--split", "", "--resamples", 20, "--limit", 2, "--count", 2, "--kill-after", 0, "-o", output]
    monkeypatch.setattr(sys, "argv", ["chain.py", *map(str, given)])
    assert chain.main() == 0
    found = chain.Chain.model_validate(json.loads(output.read_text())["result"])
    assert found.good
    assert [ran.method for ran in found.runs] == ["tiny", "other"]
    first, second = found.runs
    assert first.kill is not None and first.kill.killed and first.kill.equal and second.kill is None
    assert first.figures == second.figures and set(first.auc_by_condition) == {"clean", "web"}
    assert found.pairs[0].auc is not None and found.pairs[0].auc.difference == 0
    assert set().union(*found.sets["genimage"].values()) == {"gan-a", "gan-b", "diffusion-a", "diffusion-b"}
    assert str(tmp_path) not in "".join(step.command for step in found.steps.values())
    assert output.with_suffix(".png").is_file() and (tmp_path / "work" / "genimage.html").is_file()
    monkeypatch.setattr(chain.Steps, "_do", lambda *_: pytest.fail("done again"))
    assert chain.main() == 0
    assert json.loads(output.read_text())["result"] == found.model_dump(mode="json")
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--count", "3"])
    assert chain.main() == 2
    assert "asked for otherwise" in capsys.readouterr().err
