import re

import numpy as np
import pytest

from realgrain.detector.merging import merge


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture
def tower():
    return {"a.weight": normal(6, 4), "a.bias": normal(6), "kernel.weight": normal(6, 3, 2, 2), "still.weight": normal(4, 4)}


def test_adds_a_change_of_low_rank(tower):
    up, down = normal(6, 2, seed=1), normal(2, 4, seed=2)
    merged = merge(tower, {"a.weight.up": up, "a.weight.down": down})
    np.testing.assert_allclose(merged["a.weight"], tower["a.weight"] + up @ down, rtol=1e-6)


def test_adds_a_change_of_the_weights_shape(tower):
    change = normal(6, seed=1)
    np.testing.assert_array_equal(merge(tower, {"a.bias.delta": change})["a.bias"], tower["a.bias"] + change)


def test_both_add_up(tower):
    up, down, change = normal(6, 1, seed=1), normal(1, 4, seed=2), normal(6, 4, seed=3)
    merged = merge(tower, {"a.weight.up": up, "a.weight.down": down, "a.weight.delta": change})
    np.testing.assert_allclose(merged["a.weight"], tower["a.weight"] + change + up @ down, rtol=1e-5)


def test_a_convolution_is_a_matrix_of_its_kernels(tower):
    up, down = normal(6, 2, seed=1), normal(2, 12, seed=2)
    merged = merge(tower, {"kernel.weight.up": up, "kernel.weight.down": down})
    np.testing.assert_allclose(merged["kernel.weight"][5, 2, 1, 0] - tower["kernel.weight"][5, 2, 1, 0], up[5] @ down[:, 10], rtol=1e-4)


def test_passes_the_rest_through_and_changes_nothing_it_was_given(tower):
    before = {name: array.copy() for name, array in tower.items()}
    merged = merge(tower, {"a.bias.delta": normal(6, seed=1), "a.weight.up": normal(6, 2), "a.weight.down": normal(2, 4)})
    assert merged.keys() == tower.keys()
    assert merged["still.weight"] is tower["still.weight"]
    assert merged["kernel.weight"] is tower["kernel.weight"]
    for name, array in before.items():
        np.testing.assert_array_equal(tower[name], array)


def test_nothing_to_add(tower):
    assert all(array is tower[name] for name, array in merge(tower, {}).items())


def test_keeps_the_towers_type():
    assert merge({"w": np.ones(3, np.float16)}, {"w.delta": normal(3)})["w"].dtype == np.float16


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("b.weight.delta", {}),
        ("b.weight.up", {"b.weight.down"}),
        ("b.weight.down", {"b.weight.up"}),
        ("a.weight", {}),
        ("delta", {}),
        ("a.weight.up", {}),
        ("a.weight.down", {}),
    ],
)
def test_names_that_it_cannot_place(tower, name, others):
    with pytest.raises(KeyError, match=re.escape(name.rpartition(".")[0] or name)):
        merge(tower, {key: normal(6, 6) for key in {name, *others}})


@pytest.mark.parametrize(
    ("name", "arrays"),
    [
        ("a.weight", {"delta": normal(4, 6)}),
        ("a.bias", {"delta": normal(1)}),  # would broadcast
        ("a.bias", {"delta": normal(1, 6)}),
        ("a.bias", {"up": normal(6, 1), "down": normal(1, 1)}),
        ("a.weight", {"up": normal(6, 2), "down": normal(3, 4)}),
        ("a.weight", {"up": normal(4, 2), "down": normal(2, 6)}),
        ("a.weight", {"up": normal(4, 2), "down": normal(2, 4)}),
        ("a.weight", {"up": normal(6), "down": normal(4)}),
        ("kernel.weight", {"up": normal(6, 2), "down": normal(2, 4)}),
    ],
)
def test_shapes_that_do_not_fit(tower, name, arrays):
    with pytest.raises(ValueError, match=re.escape(name)):
        merge(tower, {f"{name}.{part}": array for part, array in arrays.items()})
