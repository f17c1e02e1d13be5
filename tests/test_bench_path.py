import json
import sys
from pathlib import Path

import pytest

import realgrain
from realgrain.learning.data import read_manifest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import bench_path


def test_ratio_is_of_rounds():
    found = bench_path.ratio([2.0, 20.0, 3.0] * 2, [1.0, 10.0, 1.0] * 2)
    assert (found.value, found.low, found.high) == (2, 2, 3)


def test_pictures_are_drawn_among_those_that_open(toy_manifest, tmp_path):
    samples = read_manifest(toy_manifest)
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    bad = [sample.model_copy(update={"file": tmp_path / "bad.jpg"}) for sample in samples]
    found = bench_path.drawn([*bad, *samples], 10)
    assert found == bench_path.drawn([*bad, *samples], 10)
    assert len({sample.path for sample in found}) == 10
    assert all(sample in samples for sample in found)


def test_contestants_do_the_same_work(tiny_detector, toy_manifest):
    runs = bench_path.contestants(tiny_detector, read_manifest(toy_manifest)[::16], ("clean", "hard"))
    logits = [run() for run in runs.values()]
    assert len(logits) == 3
    assert len(logits[0]) == 8
    assert logits[0] == logits[1] == logits[2]


def test_other_logits_are_no_benchmark(tiny_detector, toy_manifest, monkeypatch):
    monkeypatch.setattr(bench_path, "score", lambda *_: iter([{"logit": 0.0}]))
    with pytest.raises(RuntimeError, match="path: other logits"):
        bench_path.measure_speed(tiny_detector, read_manifest(toy_manifest)[:1], ("clean",), 1)


@pytest.mark.slow
def test_whole(tiny_bundle, toy_manifest, tmp_path, monkeypatch, capsys):
    output = tmp_path / "found.json"
    options = ["--data", toy_manifest, "--bundle", tiny_bundle.folder, "--runtimes", "onnxruntime", "--conditions", "clean", "hard"]
    monkeypatch.setattr(sys, "argv", ["bench_path.py", *map(str, [*options, "--pictures", 4, "--rounds", 2, "--memory", 100, "-o", output])])
    monkeypatch.setenv("PYTHONPATH", str(Path(realgrain.__file__).parents[1]))
    bench_path.main()
    found = bench_path.BenchPath.model_validate(json.loads(output.read_text())["result"])
    assert [of.conditions for of in found.speed] == [["clean"], ["clean", "hard"]]
    assert set(found.speed[0].ratios) == {"path", "one thread"}
    assert list(found.memory.mb_at) == ["10%", "50%", "100%"]
    assert list(found.memory.most_mb) == ["reading", "scoring", "figures", "audit"]
    assert list(found.memory.most_mb.values()) == sorted(found.memory.most_mb.values())
    assert found.memory.most_mb["scoring"] >= max(found.memory.mb_at.values())
    assert "path over raw" in capsys.readouterr().out
