import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realgrain.detector.merging import merge
from realgrain.learning.mixing import Part, mix

NAME = "layer.weight"


def part(share: float, seed: int, *, rank: int = 2, delta: bool = False) -> Part:
    rng = np.random.default_rng(seed)
    low = {f"{NAME}.up": rng.normal(size=(5, rank)).astype("f"), f"{NAME}.down": rng.normal(size=(rank, 4)).astype("f")}
    whole = {f"{NAME}.delta": rng.normal(size=(5, 4)).astype("f")}
    return Part(share, {"weight": rng.normal(size=3).astype("f"), "bias": rng.normal(size=1).astype("f")}, whole if delta else low)


def merged(adapter) -> np.ndarray:
    return merge({NAME: np.zeros((5, 4), np.float32)}, adapter)[NAME]


@given(st.lists(st.tuples(st.floats(-2, 2), st.integers(0, 99), st.integers(1, 3), st.booleans()), min_size=1, max_size=4))
@settings(deadline=None, max_examples=40)
def test_is_the_sum_of_what_each_adds(rows):
    parts = [part(share, seed, rank=rank, delta=delta) for share, seed, rank, delta in rows]
    head, adapter = mix(parts)
    np.testing.assert_allclose(merged(adapter), sum(one.share * merged(one.adapter) for one in parts), atol=1e-4)
    np.testing.assert_allclose(head["weight"], sum(one.share * one.head["weight"] for one in parts), atol=1e-5)


def test_a_share_of_one_changes_nothing():
    only = part(1.0, 3)
    head, adapter = mix([only])
    assert head["bias"] == only.head["bias"]
    assert adapter.keys() == only.adapter.keys()
    np.testing.assert_array_equal(merged(adapter), merged(only.adapter))


def test_half_way_to_the_untuned_tower():
    tuned = part(0.5, 1)
    _, adapter = mix([tuned, Part(0.5, part(1, 2).head, {})])
    np.testing.assert_allclose(merged(adapter), merged(tuned.adapter) / 2, atol=1e-6)


@pytest.mark.parametrize("parts", [[], [part(1, 0), Part(1, {"weight": np.zeros(9), "bias": np.zeros(1)}, {})]])
def test_what_does_not_mix(parts):
    with pytest.raises(ValueError, match="mixture"):
        mix(parts)
