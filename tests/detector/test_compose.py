import hashlib
import json
import shutil
import threading
from dataclasses import replace
from itertools import pairwise

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from realgrain.detector import graph as graphs
from realgrain.detector.bundle import BaseRef, BundleError, array_bytes
from realgrain.detector.compose import DATA, MODEL, PAGE, SEALS, compose
from realgrain.detector.runtime import RUNTIMES, open_runtime
from realgrain.detector.weights import CONFIG, TENSORS, WeightsError, file_sha256


@pytest.fixture
def composed(tiny_bundle, home):
    return compose(tiny_bundle)


def on_base(bundle, folder, sha256=None):
    """The bundle, naming the tower in a folder as its base."""
    named = BaseRef(id=str(folder), sha256=sha256 or file_sha256(folder / TENSORS), config=bundle.card.base.config)
    return replace(bundle, card=bundle.card.model_copy(update={"base": named}))


def test_lies_in_the_home(composed, home):
    assert composed.parent == home / "graphs"
    assert sorted(path.name for path in composed.iterdir() if not path.name.endswith(".seal.json")) == sorted([MODEL, DATA, SEALS])
    assert [path.name for path in composed.parent.iterdir() if path.name.startswith(".")] == []


def test_holds_every_array(composed, tiny_bundle, tiny_tower):
    model = onnx.load(composed / MODEL)
    onnx.checker.check_model(str(composed / MODEL), full_check=True)
    card = tiny_bundle.card
    _, arrays = graphs.build_graph(load_file(tiny_tower.tensors), tiny_tower.config(), tiny_bundle.head, card.views.size, card.block)
    found = {tensor.name: onnx.numpy_helper.to_array(tensor, str(composed)) for tensor in model.graph.initializer}
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert np.array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_large_arrays_are_page_aligned(composed):
    model = onnx.load(composed / MODEL, load_external_data=False)
    outside = [tensor for tensor in model.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
    places = [{entry.key: entry.value for entry in tensor.external_data} for tensor in outside]
    assert outside
    assert all(int(place["offset"]) % PAGE == 0 and place["location"] == DATA for place in places)
    ends = sorted((int(place["offset"]), int(place["offset"]) + int(place["length"])) for place in places)
    assert all(end <= start for (_, end), (start, _) in pairwise(ends))
    assert ends[-1][1] == (composed / DATA).stat().st_size


def test_is_done_once(composed, tiny_bundle, monkeypatch):
    monkeypatch.setattr(graphs, "build_graph", lambda *arguments: pytest.fail("it was composed again"))
    assert compose(tiny_bundle) == composed


def test_runs_without_the_base_from_then_on(tiny_tower, tiny_bundle, tmp_path, home, monkeypatch):
    folder = shutil.copytree(tiny_tower.folder, tmp_path / "base")
    moved = on_base(tiny_bundle, folder)
    compose(moved)
    shutil.rmtree(folder)
    monkeypatch.setattr(graphs, "build_graph", lambda *arguments: pytest.fail("it was composed again"))
    assert open_runtime("onnxruntime", moved, threads=1, offline=True).logits(np.zeros((1, 3, 224, 224), np.float32)).shape == (1,)


def test_another_head_or_block_is_another_graph(composed, tiny_bundle):
    head = {**tiny_bundle.head, "bias": tiny_bundle.head["bias"] + 1}
    sha256 = hashlib.sha256(array_bytes(head)).hexdigest()
    others = [
        replace(tiny_bundle, head=head, card=tiny_bundle.card.model_copy(update={"head_sha256": sha256})),
        replace(tiny_bundle, card=tiny_bundle.card.model_copy(update={"block": 1})),
    ]
    assert len({composed, *map(compose, others)}) == 3


def test_many_threads_at_once(tiny_bundle, home):
    found, threads = [], []
    for _ in range(6):
        threads.append(threading.Thread(target=lambda: found.append(compose(tiny_bundle))))
        threads[-1].start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1


class TestRefused:
    @pytest.mark.parametrize("name", [MODEL, DATA])
    @pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
    def test_a_changed_graph(self, composed, tiny_bundle, name, runtime):
        data = bytearray((composed / name).read_bytes())
        data[len(data) // 2] ^= 1
        (composed / name).write_bytes(data)
        with pytest.raises(BundleError, match=rf"{composed}: changed since it was composed; delete it and run again"):
            open_runtime(runtime, tiny_bundle, threads=1)
        shutil.rmtree(composed)
        assert compose(tiny_bundle) == composed

    @pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("{")])
    @pytest.mark.parametrize("name", [MODEL, DATA, SEALS])
    def test_a_half_graph(self, composed, tiny_bundle, name, damage):
        damage(composed / name)
        with pytest.raises(BundleError, match=rf"{composed}: changed since it was composed; delete it and run again"):
            compose(tiny_bundle)

    @pytest.mark.parametrize("runtime", [name for name in RUNTIMES if "int8" not in name])
    def test_another_base(self, tiny_bundle, tiny_tower, tmp_path, home, runtime):
        folder = shutil.copytree(tiny_tower.folder, tmp_path / "base")
        arrays = load_file(folder / TENSORS)
        save_file({name: array + 1 for name, array in arrays.items()}, folder / TENSORS, {"format": "pt"})
        other = file_sha256(folder / TENSORS)
        with pytest.raises(BundleError, match=rf"trained on {folder} with sha256 {tiny_tower.sha256}, but this one has {other}"):
            open_runtime(runtime, on_base(tiny_bundle, folder, tiny_tower.sha256), threads=1)
        assert not any(home.glob("graphs/*"))

    def test_no_base(self, tiny_bundle, tmp_path, home):
        with pytest.raises(WeightsError, match="nowhere: not a folder"):
            compose(on_base(tiny_bundle, tmp_path / "nowhere", "0" * 64))

    @pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "torch"])
    def test_a_base_with_another_architecture(self, tiny_bundle, tiny_tower, tmp_path, home, runtime):
        """The same tensors under another activation are another tower, and only ``config.json`` tells."""
        folder = shutil.copytree(tiny_tower.folder, tmp_path / "base")
        changed = json.loads((folder / CONFIG).read_text()) | {"hidden_act": "gelu"}
        (folder / CONFIG).write_text(json.dumps(changed))
        with pytest.raises(BundleError, match=r"another config\.json"):
            open_runtime(runtime, on_base(tiny_bundle, folder))

    def test_a_base_that_lacks_an_array(self, tiny_bundle, tiny_tower, tmp_path, home):
        folder = shutil.copytree(tiny_tower.folder, tmp_path / "base")
        arrays = load_file(folder / TENSORS)
        del arrays["vision_model.encoder.layers.0.mlp.fc1.bias"]
        save_file(arrays, folder / TENSORS)
        with pytest.raises(WeightsError, match=r"has no 'vision_model\.encoder\.layers\.0\.mlp\.fc1\.bias'"):
            compose(on_base(tiny_bundle, folder))

    @pytest.mark.parametrize(("change", "reason"), [({"block": 4}, "block 4"), ({"block": None}, "the head reads 32 numbers")])
    def test_a_card_that_does_not_fit_the_tower(self, tiny_bundle, home, change, reason):
        with pytest.raises(BundleError, match=reason):
            compose(replace(tiny_bundle, card=tiny_bundle.card.model_copy(update=change)))
