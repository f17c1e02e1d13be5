import csv
import io
import json
import shlex
import shutil

import pytest
import toy

from realgrain.faces.bench import ROWS
from realgrain.faces.cli import main
from realgrain.learning.data import read_manifest
from realgrain.measuring import running
from realgrain.measuring.alone import RunError
from realgrain.measuring.ledger import write_result
from realgrain.measuring.lock import LOCK, Protocol, bundle_ref, runtime_ref
from realgrain.measuring.overview import as_markdown, cells, command_of, overview
from realgrain.measuring.results import LeftOut
from realgrain.measuring.run_tables import lines
from realgrain.measuring.running import METRICS, run


@pytest.fixture(scope="module")
def done(tiny_detector, toy_manifest, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    protocol = Protocol(conditions=("clean", "hard"), split="train", limit=5, resamples=20)
    return run(folder, tiny_detector, read_manifest(toy_manifest), "toy|set", protocol)


@pytest.fixture
def folder(done, tmp_path):
    shutil.copytree(done.folder, tmp_path / "ledger" / "deep" / "run")
    write_result(tmp_path / "ledger" / "test" / "probe.json", done.evaluation, [])
    mean = {"clean": {"auc": 0.75, "balanced_accuracy_at_threshold": None}}
    write_result(tmp_path / "ledger" / "left-out" / "probe.json", LeftOut(folds={"a": done.evaluation, "b": done.evaluation}, mean=mean), [])
    (tmp_path / "ledger" / "other.json").write_text(json.dumps({"run": {"command": "x"}, "result": {"seconds": 3}}))
    (tmp_path / "ledger" / "list.json").write_text("[]")
    (tmp_path / "ledger" / "torn.json").write_text("{")
    return tmp_path / "ledger"


def test_lines(folder, done, tiny_bundle):
    found = overview(folder)
    assert found.other == ["list.json", "other.json", "torn.json"]
    assert [(line.benchmark, line.bundle, line.condition) for line in found.lines] == [
        ("left-out (mean of 2)", "probe", "clean"),
        ("test", "probe", "clean"),
        ("test", "probe", "hard"),
        ("toy|set", f"tiny {tiny_bundle.hash[:8]}", "clean"),
        ("toy|set", f"tiny {tiny_bundle.hash[:8]}", "hard"),
    ]
    clean = done.evaluation.conditions["clean"]
    auc = clean.metrics["auc"]
    for line in (found.lines[1], found.lines[3]):
        assert line.n == clean.n_real + clean.n_fake == 40
        assert line.auc == tuple(value for value in (auc.value, auc.low, auc.high) if value is not None)
        assert line.balanced_accuracy[0] == clean.metrics["balanced_accuracy_at_threshold"].value
        assert line.worst_source == f"{clean.worst_source} {clean.fpr_per_source[clean.worst_source].value:.0%}"
        assert line.worst_generator == f"{clean.worst_generator} {clean.recall_per_generator[clean.worst_generator].value:.0%}"
    assert (found.lines[0].n, found.lines[0].auc, found.lines[0].balanced_accuracy) == (80, (0.75,), ())
    assert (found.lines[0].worst_generator, found.lines[0].worst_source) == (found.lines[1].worst_generator, found.lines[1].worst_source)
    assert found.lines[3].file == "deep/run/metrics.json"
    assert [line.learned for line in found.lines] == [None, 40, 40, 40, 40]
    assert cells(found.lines[3])[3] == "40 (40 learned from)"


@pytest.mark.parametrize(
    "protocol",
    [
        {"conditions": ("clean", "hard"), "split": "train", "limit": 5, "resamples": 20},
        {"split": "", "seed": 3, "clusters": "source"},
        {"split": "test", "clusters": "taken on"},
    ],
)
def test_command_makes_the_run_again(done, protocol, toy_manifest, tiny_bundle, tmp_path, monkeypatch):
    """Read as the command line reads it, it asks for the same protocol, detector and runtime."""
    protocol = Protocol(**protocol)
    protocol = protocol.model_copy(update={"part": ROWS // len(protocol.conditions)})
    lock = done.lock.model_copy(update={"benchmark": "csv", "protocol": protocol})
    rows = [dict(row, split=("train", "test")[place % 2]) for place, row in enumerate(csv.DictReader(io.StringIO(toy_manifest.read_text())))]
    shutil.copytree(toy_manifest.parent, tmp_path / "toy")
    toy.write_manifest(tmp_path / "toy" / "manifest.csv", rows)
    folders = {"ROOT": str(tmp_path / "toy" / "manifest.csv"), "RUN": str(tmp_path / "run"), "BUNDLE": str(tiny_bundle.folder)}
    asked = []

    def instead(folder, detector, samples, name, protocol, **_):
        asked.append((str(folder), name, protocol, bundle_ref(detector), runtime_ref(detector)))
        raise RunError("seen enough")

    monkeypatch.setattr(running, "run", instead)
    program, *words = shlex.split(command_of(lock))
    assert program == "realgrain"
    assert main([folders.get(word, word) for word in words]) == 2
    assert asked == [(folders["RUN"], "csv", protocol, lock.bundle, lock.runtime)]


def test_a_mean_over_folds_shows_the_worst_of_any(folder):
    file = folder / "left-out" / "probe.json"
    written = json.loads(file.read_text())
    other = {"recall_per_generator": {"gan": {"value": -0.5, "n": 3}}, "fpr_per_source": {"": {"value": 2.5, "n": 3}}}
    written["result"]["folds"]["b"]["conditions"]["clean"].update(other)
    file.write_text(json.dumps(written))
    line = overview(folder).lines[0]
    assert (line.worst_generator, line.worst_source) == ("gan 50%", "(unnamed) 250%")


def test_a_runs_own_folder(done):
    assert [line.file for line in overview(done.folder).lines] == [METRICS, METRICS]


def test_an_unfinished_run_is_left_out(folder):
    (folder / "deep" / "run" / METRICS).unlink()
    assert len(overview(folder).lines) == 3


def test_a_spoilt_run_is_left_out(folder, caplog):
    (folder / "deep" / "run" / LOCK).write_text("{}")
    assert len(overview(folder).lines) == 3
    assert "left out" in caplog.text


def test_figures_of_another_run_are_left_out(folder, caplog):
    file = folder / "deep" / "run" / METRICS
    file.write_text(json.dumps({**json.loads(file.read_text()), "lock": "0" * 64}))
    assert len(overview(folder).lines) == 3
    assert "metrics.json was made under another lock.json" in caplog.text


def test_no_folder(tmp_path):
    with pytest.raises(ValueError, match="gone: no such folder"):
        overview(tmp_path / "gone")


def test_shown(folder):
    from rich.console import Console

    found = overview(folder)
    text = as_markdown(found)
    rows = text.splitlines()
    assert len(rows) == 2 + len(found.lines)
    assert {row.replace("\\|", "").count("|") for row in rows} == {10}
    assert cells(found.lines[0])[4:6] == ("0.750", "–")
    with Console(width=400) as console, console.capture() as shown:
        console.print(lines(found))
    assert all(line.condition in shown.get() and line.bundle in shown.get() for line in found.lines)
