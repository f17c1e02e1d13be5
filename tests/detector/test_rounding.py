import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from safetensors.numpy import load_file

from realgrain.detector.graph import build_graph
from realgrain.detector.rounding import (
    POINTS,
    SMOOTHED,
    Rounding,
    as_arrays,
    divisors,
    exponents,
    from_arrays,
    layer_name,
    rounded_weight,
    smoothed,
    step_of,
)

BLOCKS = 3  # of the tiny tower
SIZES = {"attention": 32, "fc1": 32}


@pytest.fixture(scope="module")
def arrays(tiny_tower):
    return load_file(tiny_tower.tensors)


LINEAR = [part for _, parts in SMOOTHED.values() for part in parts]


@pytest.fixture(scope="module")
def smooth(arrays):
    rng = np.random.default_rng(0)
    inner = len(arrays[f"{layer_name(0)}mlp.fc1.bias"])
    sizes = {**SIZES, "fc2": inner}
    return {f"{layer}.{kind}": divisors(exponents(np.exp(rng.normal(size=sizes[kind])))) for layer in range(BLOCKS) for kind in SMOOTHED}


def session(arrays, config, ranges=None, **settings):
    rng = np.random.default_rng(1)
    head = {"weight": rng.normal(size=32).astype(np.float32), "bias": np.zeros(1, np.float32)}
    model, found = build_graph(arrays, config, head, 224, BLOCKS, ranges or {}, **settings)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in found.items())
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # as it is written: optimised, it may round activations too
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def pixels():
    return np.random.default_rng(2).normal(size=(2, 3, 224, 224)).astype(np.float32)


def test_a_step_reaches_both_ends_and_zero():
    for low, high in ((-1.0, 3.0), (0.5, 2.0), (-2.0, -1.0), (0.0, 0.0)):
        step, zero = step_of(low, high)
        assert 0 <= zero <= 255
        assert (0 - zero) * step <= min(low, 0) + step
        assert (255 - zero) * step >= max(high, 0) - step


def test_weights_are_off_by_half_a_step_at_most():
    weight = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    weight[2] = 0
    rounded, step = rounded_weight(weight)
    assert rounded.dtype == np.int8
    assert (np.abs(rounded * step[:, None] - weight) <= step[:, None] / 2 + 1e-7).all()


def test_smoothing_changes_nothing_but_the_order_of_sums(arrays, tiny_tower, smooth):
    plain, other = (session(one, tiny_tower.config()).run(["logit"], {"pixels": pixels()})[0] for one in (arrays, smoothed(arrays, smooth)))
    np.testing.assert_allclose(other, plain, atol=1e-4, rtol=0)


def test_smoothing_scales_what_is_rounded(arrays, tiny_tower, smooth):
    names = [f"{layer}.{kind}" for layer in range(BLOCKS) for kind in SMOOTHED]
    plain, other = (session(one, tiny_tower.config(), watched=True).run(names, {"pixels": pixels()}) for one in (arrays, smoothed(arrays, smooth)))
    for name, before, after in zip(names, plain, other, strict=True):
        np.testing.assert_allclose(after * smooth[name], before, atol=1e-3, rtol=1e-3)


def test_rounding_is_close_and_only_where_there_is_a_range(arrays, tiny_tower):
    watched = session(arrays, tiny_tower.config(), watched=True)
    names = [output.name for output in watched.get_outputs()][2:]
    assert names == [f"{layer}.{kind}" for layer in range(BLOCKS) for kind in POINTS]
    seen = watched.run(names, {"pixels": pixels()})
    ranges = {name: (float(values.min()), float(values.max())) for name, values in zip(names, seen, strict=True)}
    plain = session(arrays, tiny_tower.config()).run(["logit"], {"pixels": pixels()})[0]
    gaps = []
    for kept in ({}, {names[0]: ranges[names[0]]}, ranges):
        rounded = session(arrays, tiny_tower.config(), kept)
        gaps.append(float(np.abs(rounded.run(["logit"], {"pixels": pixels()})[0] - plain).max()))
    assert gaps[0] == 0 < gaps[1]
    assert 0 < gaps[2] < 0.5 * float(np.ptp(plain)) + 0.5


def test_weights_alone(arrays, tiny_tower):
    """The same as a tower whose linear weights were rounded and taken back, and nothing else."""
    names = [f"{layer_name(layer)}{part}.weight" for layer in range(BLOCKS) for part in (*LINEAR, "self_attn.out_proj")]
    back = {name: rounded.astype(np.float32) * step[:, None] for name in names for rounded, step in [rounded_weight(arrays[name])]}
    plain, expected, found = (
        session(one, tiny_tower.config(), eight_bit_weights=eight).run(["logit"], {"pixels": pixels()})[0]
        for one, eight in ((arrays, False), ({**arrays, **back}, False), (arrays, True))
    )
    assert np.abs(expected - plain).max() > 1e-4
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("group", [8, 32, 128])
def test_rounds_as_it_comes(arrays, tiny_tower, group):
    """The first layer reads what numpy rounds: each token by itself, so many channels at a time, or all where they do not divide."""
    head = {"weight": np.zeros(32, np.float32), "bias": np.zeros(1, np.float32)}
    model, found = build_graph(arrays, tiny_tower.config(), head, 224, 2, group=group)  # the last block asks for one token alone
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in found.items())
    before = next(node.input[0] for node in model.graph.node if node.op_type == "Reshape" and node.input[0].startswith("LayerNormalization"))
    after = next(node.input[0] for node in model.graph.node if "self_attn.q_proj.weight" in " ".join(node.input))
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in (before, after))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    seen, rounded = onnxruntime.InferenceSession(model.SerializeToString(), options).run([before, after], {"pixels": pixels()})
    parts = seen.reshape(*seen.shape[:2], -1, min(group, 32))
    step = np.abs(parts).max(-1, keepdims=True) / 127
    assert np.abs(rounded - seen).max() > 0
    np.testing.assert_allclose(rounded, (np.rint(parts / step) * step).reshape(seen.shape), atol=1e-6, rtol=0)


def test_round_trip(smooth):
    ranges = {"0.attention": (-1.0, 2.0), "2.fc2": (-0.25, 8.0)}
    kept = as_arrays(Rounding(ranges, smooth), BLOCKS)
    assert kept["ranges"].shape == (BLOCKS, len(POINTS), 2)
    found = from_arrays(kept)
    assert found.ranges == ranges
    assert found.smooth.keys() == smooth.keys()
    assert all(np.array_equal(found.smooth[name], smooth[name]) for name in smooth)


@pytest.mark.parametrize(
    "change",
    [
        {"ranges": np.zeros((BLOCKS, 9, 2), np.float32)},
        {"smooth.fc2": np.zeros((BLOCKS, 4), np.float32)},
        {"smooth.fc2": np.zeros((BLOCKS + 1, 4), np.int8)},
        {"smooth.other": np.zeros((BLOCKS, 4), np.int8)},
    ],
)
def test_other_arrays_are_refused(smooth, change):
    with pytest.raises(ValueError, match="are wanted, not"):
        from_arrays({**as_arrays(Rounding({}, smooth), BLOCKS), **change})
    with pytest.raises(ValueError, match="are wanted"):
        from_arrays({})
