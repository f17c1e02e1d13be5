import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from safetensors.numpy import load_file
from transformers import CLIPVisionConfig

from realgrain.detector.graph import TowerConfig, build_graph
from realgrain.learning.backbone import load_tower, save_tiny_tower


@pytest.fixture(scope="module", params=["quick_gelu", "gelu"])
def tower(request, tmp_path_factory):
    return save_tiny_tower(tmp_path_factory.mktemp("towers") / request.param, hidden_act=request.param, layer_norm_eps=1e-3)


def a_head(size, seed=0):
    rng = np.random.default_rng(seed)
    return {"weight": rng.normal(size=size).astype(np.float32), "bias": rng.normal(size=1).astype(np.float32)}


def pixels(count, size=224):
    return np.random.default_rng(count).normal(size=(count, 3, size, size)).astype(np.float32)


def session(tower, head, block, size=224):
    model, arrays = build_graph(load_file(tower.tensors), tower.config(), head, size, block)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@torch.inference_mode()
def torch_logits(tower, head, block, views):
    found = load_tower(tower)(torch.from_numpy(views), output_hidden_states=True, interpolate_pos_encoding=True)
    feature = found.image_embeds if block is None else found.hidden_states[block][:, 0]
    return feature.numpy() @ head["weight"] + head["bias"]


class TestAgainstTransformers:
    @pytest.mark.parametrize("count", [1, 3, 8])
    @pytest.mark.parametrize("block", [None, 1, 2, 3])
    def test_gives_the_towers_logits(self, tower, block, count):
        head = a_head(24 if block is None else 32)
        (found,) = session(tower, head, block).run(["logit"], {"pixels": pixels(count)})
        assert found.shape == (count,)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, torch_logits(tower, head, block, pixels(count)), atol=2e-5, rtol=0)

    def test_activations_differ(self, tmp_path):
        """Else the comparison above could not tell one from the other."""
        found = []
        for kind in ("quick_gelu", "gelu"):
            tower = save_tiny_tower(tmp_path / kind, hidden_act=kind)
            found.append(session(tower, a_head(32), 3).run(["logit"], {"pixels": pixels(1)})[0])
        assert abs(found[0] - found[1]).max() > 2e-5

    def test_other_shapes(self, tmp_path):
        tower = save_tiny_tower(tmp_path / "t", image_size=96, patch_size=16, num_attention_heads=2, num_hidden_layers=1, projection_dim=7)
        (found,) = session(tower, a_head(7), None, 96).run(["logit"], {"pixels": pixels(2, 96)})
        np.testing.assert_allclose(found, torch_logits(tower, a_head(7), None, pixels(2, 96)), atol=2e-5, rtol=0)

    @pytest.mark.parametrize("size", [32, 64, 160, 256, 448])
    def test_views_of_another_size(self, tower, size):
        """Position embeddings are interpolated as transformers does, for fewer patches and for more."""
        (found,) = session(tower, a_head(32), 3, size).run(["logit"], {"pixels": pixels(2, size)})
        np.testing.assert_allclose(found, torch_logits(tower, a_head(32), 3, pixels(2, size)), atol=2e-5, rtol=0)

    def test_config_defaults_are_those_of_transformers(self):
        """Transformers leaves out of config.json what equals its defaults."""
        theirs = CLIPVisionConfig()
        assert TowerConfig().model_dump() == {name: getattr(theirs, name) for name in TowerConfig.model_fields}


def test_later_blocks_are_left_out(tiny_tower):
    head = a_head(32)
    sizes = [len(build_graph(load_file(tiny_tower.tensors), tiny_tower.config(), head, 224, block)[0].graph.node) for block in (1, 2, 3)]
    assert sizes[0] < sizes[1] < sizes[2]
    _, arrays = build_graph(load_file(tiny_tower.tensors), tiny_tower.config(), head, 224, 1)
    assert not any("layers.1" in name or "projection" in name for name in arrays)


class TestErrors:
    def build(self, tiny_tower, *, block=None, head=None, drop=None, **changes):
        arrays = load_file(tiny_tower.tensors)
        if drop:
            del arrays[drop]
        return build_graph(arrays, tiny_tower.config().model_copy(update=changes), head or a_head(32 if block else 24), 224, block)

    def test_unknown_activation(self, tiny_tower):
        with pytest.raises(ValueError, match=r"'relu'.*quick_gelu, gelu"):
            self.build(tiny_tower, hidden_act="relu")

    @pytest.mark.parametrize("block", [-1, 0, 4])
    def test_no_such_block(self, tiny_tower, block):
        with pytest.raises(ValueError, match=rf"block {block}: this tower has blocks 1 to 3"):
            self.build(tiny_tower, block=block)

    @pytest.mark.parametrize("name", ["vision_model.encoder.layers.2.mlp.fc1.weight", "visual_projection.weight"])
    def test_missing_array(self, tiny_tower, name):
        with pytest.raises(KeyError, match=name):
            self.build(tiny_tower, drop=name)

    @pytest.mark.parametrize(("block", "size", "wanted"), [(None, 32, 24), (2, 24, 32)])
    def test_head_of_another_tower(self, tiny_tower, block, size, wanted):
        with pytest.raises(ValueError, match=f"{size}.*{wanted}"):
            self.build(tiny_tower, block=block, head=a_head(size))
