import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import scale


def test_a_comment_changes_bytes_and_no_pixel(toy_manifest):
    (data,) = scale.jpegs(toy_manifest, 1)
    other = scale.commented(data, "7")
    assert other != data
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(other))), np.asarray(Image.open(io.BytesIO(data))))
    assert Image.open(io.BytesIO(other)).info["comment"] == b"7"


def test_files_are_all_different(toy_manifest, tmp_path):
    size = scale.make(tmp_path / "p", scale.jpegs(toy_manifest, 2), 5)
    data = [file.read_bytes() for file in (tmp_path / "p").rglob("*.jpg")]
    assert len(set(data)) == 5
    assert size == sum(map(len, data)) / 5


def test_model_finds_what_was_put_in():
    runs = [
        scale.Run(pictures=count, workers=workers, seconds=12 + count * (0.001 + 0.05 / workers))
        for count in (1000, 5000, 20000)
        for workers in (1, 2)
    ]
    found = scale.fit([*runs, scale.Run(pictures=1000, workers=0, seconds=1)])
    assert (found.start, found.serial, found.parallel) == pytest.approx((12, 0.001, 0.05))
    assert found.worst == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match="two sizes"):
        scale.fit(runs[:2])


def test_stages_are_timed(tiny_detector, toy_pictures):
    found = scale.stages(tiny_detector, toy_pictures[:2])
    assert min(found.read_ms, found.ready_ms, found.runtime_ms) > 0
