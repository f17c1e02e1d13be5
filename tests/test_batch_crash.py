import json
import sys
from pathlib import Path

import pytest

import realgrain

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import batch_crash


def test_pictures_are_all_different_and_broken_in_every_way(tmp_path):
    broken = batch_crash.make(tmp_path / "p", 60, 10)
    files = sorted((tmp_path / "p").rglob("*.jpg"))
    assert len(files) == 60
    assert len(broken) == 6
    data = [file.read_bytes() for file in files]
    assert len({one for file, one in zip(files, data, strict=True) if str(file) not in broken}) == 54


@pytest.mark.slow
@pytest.mark.parametrize("cache", [[], ["--cache"]])
def test_nothing_lost_and_nothing_twice(cache, tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(realgrain.__file__).parents[1]))
    output = tmp_path / "found.json"
    options = ["--bundle", tiny_bundle.folder, "--pictures", 400, "--every", 25, "--kills", 3, "--shard", 10, "-o", output, *cache]
    monkeypatch.setattr(sys, "argv", ["batch_crash.py", *map(str, options)])
    assert batch_crash.main() == 0
    found = batch_crash.Crash.model_validate(json.loads(output.read_text())["result"])
    assert (found.rows_equal, found.bytes_equal, found.ledger_equal, found.twice) == (True, True, True, 0)
    assert len(found.kills) == 3
    assert found.broken == 16
    assert found.peak_mb >= max(found.mb_at.values()) > 0
