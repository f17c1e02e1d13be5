import shutil
from dataclasses import replace

import numpy as np
import pytest
import toy

from realgrain.detector.bundle import BundleError, read_bundle
from realgrain.detector.detect import load
from realgrain.detector.runtime import RUNTIMES, open_runtime
from realgrain.learning import export as exporting
from realgrain.learning.data import ManifestError, read_manifest
from realgrain.learning.export import F32, F32_TOLERANCE, INT8, ParityError, export, record
from realgrain.learning.rounding import AsWritten
from realgrain.picture.image import open_picture
from realgrain.picture.views import make_views

EIGHT = ["openvino-int8", "openvino-int8-dynamic"]


@pytest.fixture(scope="module")
def samples(toy_manifest):
    """Half to calibrate on, half to compare on: the toy manifest has one split only."""
    found = read_manifest(toy_manifest)
    return [sample.model_copy(update={"split": ("train", "test")[index % 2]}) for index, sample in enumerate(found)]


@pytest.fixture(scope="module")
def exported(tiny_bundle, samples, session_home, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "AUC_LOSS", 0.2)  # of a random tower, which quantises worse than a trained one
        return export(tiny_bundle, samples, tmp_path_factory.mktemp("export") / "out")


@pytest.fixture
def copied(exported, tmp_path):
    return shutil.copytree(exported.folder, tmp_path / "copy")


def views_of(bundle, sample):
    return make_views(open_picture(sample.file).pixels, bundle.card.views)


class TestExported:
    def test_is_the_same_detector_with_graphs(self, exported, tiny_bundle):
        assert exported.card.model_copy(update={"runtimes": {}, "int8": None}) == tiny_bundle.card
        assert exported.card.int8.pictures == 32
        assert all(np.array_equal(exported.head[name], tiny_bundle.head[name]) for name in tiny_bundle.head)
        assert {name: graph.file for name, graph in exported.card.runtimes.items()} == {
            "openvino": F32,
            "openvino-int8": INT8,
            "openvino-int8-dynamic": None,
        }
        carried = {name for file in (F32, INT8) for name in (file, file.replace(".xml", ".bin"))}
        assert {path.name for path in exported.folder.iterdir()} == {
            "card.json",
            "head.safetensors",
            "statistics.safetensors",
            "int8.safetensors",
            "model.onnx",
            "model.data",
            *carried,
        }

    def test_states_what_it_measured(self, exported, samples):
        reference = open_runtime("onnxruntime", exported, threads=1)
        compared = [sample for sample in samples if sample.split == "test"]
        for name, graph in exported.card.runtimes.items():
            looks = [open_runtime(name, exported, threads=1)] + ([AsWritten(exported, RUNTIMES[name].group)] if name in EIGHT else [])
            views = [views_of(exported, sample) for sample in compared]
            apart = [max(abs(look.look(v)[0].mean() - reference.logits(v).mean()) for v in views) for look in looks]
            assert graph.pictures == len(compared)
            assert graph.measured == pytest.approx(max(apart), abs=1e-5)
            assert min(apart) > 0
            assert graph.measured <= graph.tolerance
        assert exported.card.runtimes["openvino"].tolerance == F32_TOLERANCE

    @pytest.mark.parametrize("name", EIGHT)
    def test_eight_bits_run(self, exported, toy_pictures, name):
        int8, f32 = (load(exported, runtime=runtime, threads=1).detect(toy_pictures[0]) for runtime in (name, "onnxruntime"))
        assert (int8.detector.runtime, int8.detector.precision) == (name, "int8")
        assert int8.logit == pytest.approx(f32.logit, abs=1)
        assert int8.domain.distance == pytest.approx(f32.domain.distance, abs=0.1)

    @pytest.mark.parametrize("name", EIGHT)
    def test_int8_rounds(self, exported, samples, name):
        """Before anything is looked at again in f32, as what lies near a threshold is."""
        views = np.concatenate([views_of(exported, sample) for sample in samples[:4]])
        int8, f32 = (open_runtime(runtime, exported, threads=1).logits(views) for runtime in (name, "onnxruntime"))
        assert (int8 != f32).all()

    @pytest.mark.parametrize("name", EIGHT)
    def test_int8_views_do_not_depend_on_each_other(self, exported, name):
        runtime = open_runtime(name, exported, threads=1)
        pixels = np.random.default_rng(0).normal(size=(5, 3, 224, 224)).astype(np.float32)
        alone = np.concatenate([runtime.logits(pixels[i : i + 1]) for i in range(5)])
        np.testing.assert_allclose(runtime.logits(pixels), alone, atol=1e-5, rtol=0)

    def test_int8_is_smaller(self, exported):
        sizes = [(exported.folder / file.replace(".xml", ".bin")).stat().st_size for file in (INT8, F32)]
        assert sizes[0] < sizes[1]  # of a tower whose linear layers are the least of it

    @pytest.mark.parametrize("file", [F32, INT8])
    @pytest.mark.parametrize("suffix", [".xml", ".bin"])
    def test_a_changed_graph_is_refused(self, copied, file, suffix):
        path = (copied / file).with_suffix(suffix)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        name = {F32: "openvino", INT8: "openvino-int8"}[file]
        with pytest.raises(BundleError, match="missing, or not the graph that the card names"):
            open_runtime(name, read_bundle(copied), threads=1)
        open_runtime("onnxruntime", read_bundle(copied), threads=1)

    def test_a_missing_graph_is_refused(self, copied):
        (copied / INT8).with_suffix(".bin").unlink()
        with pytest.raises(BundleError, match="missing, or not the graph that the card names"):
            open_runtime("openvino-int8", read_bundle(copied), threads=1)

    def test_record(self, exported, tiny_bundle, tmp_path):
        original = read_bundle(shutil.copytree(tiny_bundle.folder, tmp_path / "original"))
        found = record(original, exported)
        assert found.card.runtimes.keys() == exported.card.runtimes.keys()
        for name, graph in found.card.runtimes.items():
            assert graph == exported.card.runtimes[name].model_copy(update={"file": None, "sha256": None})
        assert found.hash != original.hash
        assert found.card.parents[-1].bundle == original.hash
        pixels = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
        composed, carried = (open_runtime("openvino-int8", one, threads=1).logits(pixels) for one in (found, exported))
        np.testing.assert_allclose(composed, carried, rtol=1e-5)  # one graph, which OpenVINO need not sum in one order: on AMX it does not

    def test_record_of_another_detector(self, exported, tiny_bundle):
        other = replace(tiny_bundle, card=tiny_bundle.card.model_copy(update={"block": 1}))
        with pytest.raises(ValueError, match="differ in block"):
            record(other, exported)
        assert read_bundle(tiny_bundle.folder).hash == tiny_bundle.hash

    @pytest.mark.parametrize("name", EIGHT)
    def test_what_is_usual(self, exported, name):
        rounded, f32 = exported.card.runtimes[name], exported.card.runtimes["openvino"]
        assert 0 < rounded.usual <= rounded.measured
        assert 0 < rounded.usual_distance < 0.5  # of a tiny tower, and on processors without VNNI, which clip
        assert (f32.usual, f32.usual_distance) == (0, 0)


class TestGate:
    @pytest.fixture
    def quick(self, monkeypatch):
        """Without quantising: the gate looks at what there is to compare, which here is the f32 graph twice."""

        def convert(bundle, folder):
            openvino = exporting.import_openvino()
            model = openvino.convert_model(folder / "model.onnx")
            for file in (F32, INT8):
                openvino.save_model(model, folder / file, compress_to_fp16=False)

        monkeypatch.setattr(exporting, "_convert", convert)

    def refused(self, bundle, samples, tmp_path, reason, error=ParityError):
        with pytest.raises(error, match=reason):
            export(bundle, samples, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        assert [path.name for path in tmp_path.iterdir() if path.is_dir() and path.name != "home"] == []

    def test_passes_what_agrees(self, tiny_bundle, samples, tmp_path, quick):
        found = export(tiny_bundle, samples, tmp_path / "out")
        assert found.card.runtimes["openvino-int8"].tolerance >= F32_TOLERANCE
        assert found.card.runtimes["openvino-int8"].auc_loss == 0

    def test_loss_of_auc(self, tiny_bundle, samples, tmp_path, quick, monkeypatch):
        monkeypatch.setattr(exporting, "AUC_LOSS", -1)
        self.refused(tiny_bundle, samples, tmp_path, "openvino loses 0.0000 of AUC on 32 pictures, more than -1")

    def test_difference(self, tiny_bundle, samples, tmp_path, quick, monkeypatch):
        monkeypatch.setattr(exporting, "F32_TOLERANCE", -1.0)
        monkeypatch.setattr(exporting, "Graph", lambda **settings: exporting_graph(**{**settings, "tolerance": 1}))
        self.refused(tiny_bundle, samples, tmp_path, "OpenVINO f32 is .* of logit off ONNX Runtime f32")

    def test_output_is_there(self, tiny_bundle, samples, tmp_path, quick):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine.txt").write_text("mine")
        with pytest.raises(FileExistsError, match="out: exists already"):
            export(tiny_bundle, samples, tmp_path / "out")
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]

    @pytest.mark.parametrize("kept", [lambda s: False, lambda s: s.fake, lambda s: s.fake or s.split == "train"])
    def test_nothing_to_compare_on(self, tiny_bundle, samples, tmp_path, quick, kept):
        self.refused(tiny_bundle, [sample for sample in samples if kept(sample)], tmp_path, "export needs pictures", ManifestError)

    @pytest.mark.parametrize(("asked", "taken"), [(10, 10), (1, 1), (300, 16)])
    def test_one_split_is_divided(self, samples, asked, taken):
        mine = [sample for sample in samples if sample.split == "train"]
        ranges, others = exporting._divide(mine, "train", asked)
        assert len(ranges) == taken
        assert {sample.path for sample in ranges}.isdisjoint(sample.path for sample in others)
        assert len(ranges) + len(others) == len(mine)
        assert {sample.label for sample in others} == {"real", "fake"}

    def test_calibrating_pictures_are_spread(self, samples):
        ranges, _ = exporting._divide(samples, "train", 16)
        assert {sample.source for sample in ranges} == {*toy.REAL, *toy.FAKE}

    def test_the_trained_split_calibrates(self, samples):
        ranges, others = exporting._divide(samples, "train", 10**6)
        assert {sample.split for sample in ranges} == {"train"}
        assert {sample.split for sample in others} == {"test"}
        assert len(ranges) + len(others) == len(samples)

    def test_unreadable_pictures_are_left_out(self, tiny_bundle, samples, tmp_path, quick, caplog):
        bad = tmp_path / "bad.jpg"
        bad.write_bytes(b"no picture")
        found = export(tiny_bundle, [*samples, samples[1].model_copy(update={"file": bad, "path": "bad.jpg"})], tmp_path / "out")
        assert found.card.runtimes["openvino"].pictures == sum(sample.split == "test" for sample in samples)
        assert "bad.jpg" in caplog.text


exporting_graph = exporting.Graph


@pytest.mark.parametrize(("value", "expected"), [(1.0, 1.0), (1.01, 1.1), (0.00123, 0.0013), (0.1, 0.1), (99.1, 100)])
def test_round_up(value, expected):
    assert exporting._round_up(value) == pytest.approx(expected)
    assert exporting._round_up(value) >= value


def test_toy_labels(samples):
    assert sum(sample.fake for sample in samples) == sum(toy.FAKE.values())
