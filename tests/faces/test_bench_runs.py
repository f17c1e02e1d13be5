import json
import re
import shutil
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from realgrain.faces.cli import main
from realgrain.measuring.finished import read_run
from realgrain.measuring.overview import Overview
from realgrain.measuring.pairing import PairedRuns
from realgrain.measuring.verifying import Verification


@pytest.fixture(scope="module")
def pictures(toy_manifest, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    shutil.copytree(toy_manifest.parent, folder / "toy")
    return folder / "toy" / toy_manifest.name


@pytest.fixture(scope="module")
def command(tiny_bundle, pictures):
    return ["bench", "run", "csv", str(pictures), "--bundle", str(tiny_bundle.folder), "--offline", "--resamples", "20", "--limit", "4"]


@pytest.fixture(scope="module")
def done(command, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "a"
    assert main([*command, "--conditions", "clean", "web", "-o", str(folder)]) == 0
    return folder


def test_run(command, done, tmp_path, capsys):
    assert main([*command, "--conditions", "clean", "web", "-o", str(tmp_path / "again")]) == 0
    out, err = capsys.readouterr()
    assert "auc" in out
    assert f"Audit of the pictures, in full in {tmp_path / 'again' / 'audit.json'}:" in " ".join(out.split())
    audit = out[out.index("Audit of the pictures") :]
    for check in read_run(done).audit.checks:
        assert re.search(rf"│ {check.name} +│ {check.verdict} +│", audit)
    assert "Pictures by source and label" in audit
    assert audit.endswith("ok: nothing that was looked at leaks the label; not judged: visible marks\n")
    learned, last = err.splitlines(keepends=True)
    assert learned.startswith("realgrain: The detector learned from 32 of these 32 pictures; figures on those flatter it")
    assert "* The detector learned from 32 of these 32 pictures" in out
    assert last == f"realgrain: {tmp_path / 'again'}: 32 pictures in 2 conditions, 0 pictures failed\n"
    assert sorted(path.name for path in done.iterdir()) == ["audit.json", "lock.json", "manifest.csv", "metrics.json", "scores.parquet"]
    for file in done.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_pictures_of_a_group_are_drawn_together_unless_asked_otherwise(command, pictures, tmp_path):
    shutil.copytree(pictures.parent, tmp_path / "toy")
    file = tmp_path / "toy" / pictures.name
    first, *rows = file.read_text().splitlines()
    file.write_text("\n".join([f"{first},group", *(f"{row},{place // 2}" for place, row in enumerate(rows))]) + "\n")
    changed = [str(file) if word == str(pictures) else word for word in command]
    for name, more, by in (("a", [], "group"), ("b", ["--clusters", ""], None)):
        assert main([*changed, *more, "-o", str(tmp_path / name)]) == 0
        assert read_run(tmp_path / name).evaluation.clusters == by
    for name, words, by in (("a", [], "group"), ("a", ["--clusters", ""], None)):
        out = tmp_path / "found.json"
        assert main(["evaluate", str(tmp_path / name / "scores.parquet"), "--resamples", "5", "-o", str(out), *words]) == 0
        assert json.loads(out.read_text())["result"]["clusters"] == by


def test_run_refuses(command, done, capsys):
    assert main([*command, "-o", str(done)]) == 2
    assert "protocol.conditions was clean web, is clean" in capsys.readouterr().err


def test_run_with_a_bad_file(command, toy_manifest, tmp_path, capsys):
    shutil.copytree(toy_manifest.parent, tmp_path / "toy")
    bad = tmp_path / "toy" / "fake" / "gan-a" / "00.png"
    bad.write_bytes(b"no picture")
    changed = [str(tmp_path / "toy" / toy_manifest.name) if word.endswith(".csv") else word for word in command[:-2]]
    assert main([*changed, "-o", str(tmp_path / "run")]) == 1
    err = capsys.readouterr().err
    assert "realgrain: fake/gan-a/00.png: " in err
    assert "1 pictures failed" in err
    assert "The detector learned from 63 of these 63" in err
    assert main(["bench", "verify", str(tmp_path / "run"), changed[3], *changed[4:7], "--count", "2"]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nonsense", "x", "-o", "y"], "'nonsense' is no benchmark; there are"),
        (["run", "csv", "gone.csv", "-o", "y"], "gone.csv"),
        (["run", "csv", "gone.csv", "-o", "y", "--limit", "0"], "Must be >= 1"),
        (["run", "csv", "gone.csv", "-o", "y", "--seed", "-1"], "Must be >= 0"),
        (["run", "csv", "gone.csv", "-o", "y", "--resamples", "-1"], "Must be >= 0"),
        (["compare", "gone", "gone", "--resamples", "-1"], "Must be >= 0"),
        (["verify", "gone", "x", "--count", "-1"], "Must be >= 0"),
        (["verify", "gone", "x"], "not the folder of a run"),
        (["compare", "gone", "gone"], "not the folder of a run"),
        (["ledger", "gone"], "no such folder"),
    ],
)
def test_wrong_usage(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_no_condition(command, tmp_path, capsys):
    assert main([*command, "-o", str(tmp_path / "run"), "--conditions"]) == 2
    assert "no condition" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


class TestVerify:
    def test_good(self, done, pictures, tiny_bundle, capsys):
        arguments = ["bench", "verify", str(done), str(pictures), "--bundle", str(tiny_bundle.folder), "--offline", "--share", "0.2"]
        assert main([*arguments, "--json"]) == 0
        found = Verification.model_validate_json(capsys.readouterr().out)
        assert found.ok
        assert found.checks[-1].detail.startswith("14 scores of 7 pictures")
        assert main([*arguments, "--seed", "5"]) == 0
        out = capsys.readouterr().out
        assert "WRONG" not in out
        assert "drawn with seed 5" in out

    def test_wrong(self, done, pictures, tiny_bundle, tmp_path, capsys):
        shutil.copytree(done, tmp_path / "run")
        table = pq.read_table(done / "scores.parquet")
        labels = ["fake", *table["label"].to_pylist()[1:]]
        column = table.schema.get_field_index("label")
        pq.write_table(table.set_column(column, table.schema.field(column), [labels]), tmp_path / "run" / "scores.parquet")
        assert main(["bench", "verify", str(tmp_path / "run"), str(pictures), "--bundle", str(tiny_bundle.folder), "--count", "1"]) == 1
        out = capsys.readouterr().out
        assert "WRONG" in out
        assert "label is 'fake', not 'real'" in out

    def test_another_bundle(self, done, pictures, tiny_bundle, tmp_path, capsys):
        shutil.copytree(tiny_bundle.folder, tmp_path / "other")
        card = json.loads((tmp_path / "other" / "card.json").read_text())
        (tmp_path / "other" / "card.json").write_text(json.dumps({**card, "name": "other"}))
        assert main(["bench", "verify", str(done), str(pictures), "--bundle", str(tmp_path / "other")]) == 1
        assert "bundle.name was tiny, is other" in capsys.readouterr().out


def test_compare(done, tmp_path, capsys):
    assert main(["bench", "compare", str(done), str(done), "--resamples", "20"]) == 0
    out = capsys.readouterr().out
    assert "balanced accuracy" in out
    assert "+0.000 (+0.000 to +0.000)" in out
    assert main(["bench", "compare", str(done), str(done), "--resamples", "20", "--json", "-o", str(tmp_path / "found.json")]) == 0
    found = PairedRuns.model_validate_json(capsys.readouterr().out)
    assert list(found.conditions) == ["clean", "web"]
    assert json.loads((tmp_path / "found.json").read_text())["result"] == found.model_dump(mode="json")


def test_comparing_what_gives_no_figure(done, tmp_path, capsys):
    """Of one class there is nothing to tell apart; a table of dashes would be no comparison."""
    shutil.copytree(done, tmp_path / "run")
    table = pq.read_table(done / "scores.parquet")
    pq.write_table(table.filter(pc.field("label") == "real"), tmp_path / "run" / "scores.parquet")
    assert main(["bench", "compare", str(tmp_path / "run"), str(done)]) == 2
    out, err = capsys.readouterr()
    assert (out, "pictures of both classes" in err) == ("", True)


def test_comparing_overwrites_no_run(done, tmp_path, capsys):
    shutil.copytree(done, tmp_path / "run")
    before = (tmp_path / "run" / "metrics.json").read_bytes()
    assert main(["bench", "compare", str(tmp_path / "run"), str(done), "-o", str(tmp_path / "run" / "metrics.json")]) == 2
    assert "is what this is made from" in capsys.readouterr().err
    assert (tmp_path / "run" / "metrics.json").read_bytes() == before


def test_ledger(done, tmp_path, capsys):
    shutil.copytree(done, tmp_path / "results" / "run")
    (tmp_path / "results" / "other.json").write_text("{}")
    assert main(["bench", "ledger", str(tmp_path / "results")]) == 0
    out, err = capsys.readouterr()
    assert "realgrain bench run csv ROOT" in out
    assert "other.json" in err
    assert main(["bench", "ledger", str(tmp_path / "results"), "--json"]) == 0
    assert [line.condition for line in Overview.model_validate_json(capsys.readouterr().out).lines] == ["clean", "web"]
    assert main(["bench", "ledger", str(tmp_path / "results"), "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("| benchmark | bundle |")
