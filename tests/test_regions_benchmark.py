"""The benchmark of regions draws and counts what it says."""

import sys
from pathlib import Path

import numpy as np
import pytest

from realgrain.learning.data import Sample

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import regions as benchmark


def samples(each: int) -> list[Sample]:
    return [
        Sample(path=f"{source}/{n}", file=Path(f"{source}/{n}"), label=label, source=source)
        for groups in benchmark.GROUPS.values()
        for label, sources in zip(("real", "fake"), groups, strict=True)
        for source in sources
        for n in range(each)
    ]


def test_composites_have_one_generated_half_and_use_it_once():
    pairs = benchmark.pairs(samples(20), 40, 8, seed=0)
    mixed, controls = pairs[:40], pairs[40:]
    assert {pair.generated for pair in mixed} == {"left", "right"}
    assert {pair.generated for pair in controls} == {"both", "neither"}
    fakes = [half.path for pair in mixed for half in (pair.left, pair.right) if half.fake]
    assert len(set(fakes)) == len(fakes) == 40
    assert pairs == benchmark.pairs(samples(20), 40, 8, seed=0)


def test_too_few_pictures():
    with pytest.raises(ValueError, match="too few"):
        benchmark.pairs(samples(5), 100, 0, seed=0)


def test_pointing_by_hand():
    found = benchmark.pointing([("left", (2.0, 1.0)), ("right", (0.0, 3.0)), ("left", (0.5, 4.0)), ("right", (1.5, 5.0))], seed=0)
    assert (found.right.k, found.right.n) == (3, 4)
    assert found.auc.value == pytest.approx(11 / 16)  # pairs of a generated half (2, 3, 0.5, 5) above another (1, 0, 4, 1.5)
    assert benchmark.halves(np.array([[1.0, 1.0, 3.0, 5.0]])) == (1.0, 4.0)
