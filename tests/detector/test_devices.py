import pytest

from realgrain.detector import devices

CPU = ["CPUExecutionProvider"]
CUDA = ["CUDAExecutionProvider", *CPU]
ALL = ["TensorrtExecutionProvider", *CUDA]


@pytest.mark.parametrize(
    ("asked", "runtime", "available", "torch", "device"),
    [
        ("auto", "onnxruntime", CPU, True, "cpu"),
        ("auto", "onnxruntime", CUDA, False, "cuda:0"),
        ("auto", "onnxruntime", ALL, False, "cuda:0"),
        ("auto", "torch", CUDA, False, "cpu"),
        ("auto", "torch", CPU, True, "cuda:0"),
        ("auto", "openvino-int8", ALL, True, "cpu"),
        ("cpu", "onnxruntime", ALL, True, "cpu"),
        ("cuda", "onnxruntime", CUDA, False, "cuda:0"),
        ("cuda:3", "torch", CPU, True, "cuda:3"),
        ("tensorrt:1", "onnxruntime", ALL, False, "tensorrt:1"),
    ],
)
def test_chosen_by_what_is_there(asked, runtime, available, torch, device):
    assert devices.chosen(asked, runtime, available, lambda: torch) == device


@pytest.mark.parametrize(
    ("asked", "runtime", "words"),
    [
        ("cuda", "onnxruntime", "onnxruntime-gpu"),
        ("cuda", "torch", "a build of torch for CUDA"),
        ("cuda", "openvino", "the runtime onnxruntime or torch"),
        ("tensorrt", "torch", "cannot use it here"),
        ("rocm", "onnxruntime", "no device 'rocm'"),
        ("cuda:x", "onnxruntime", "no device 'cuda:x'"),
        ("cuda:", "onnxruntime", "no device 'cuda:'"),
    ],
)
def test_what_is_not_there_is_refused(asked, runtime, words):
    with pytest.raises(devices.DeviceError, match=words):
        devices.chosen(asked, runtime, CPU, lambda: False)


def test_torch_is_asked_only_for_itself():
    def never() -> bool:
        raise AssertionError

    assert devices.chosen("auto", "onnxruntime", CPU, never) == "cpu"


def test_providers_fall_back_to_the_processor():
    assert devices.providers("cpu") == CPU
    assert devices.providers("cuda:2") == [("CUDAExecutionProvider", {"device_id": 2, "use_tf32": 0}), *CPU]
    assert [name if isinstance(name, str) else name[0] for name in devices.providers("tensorrt:0")] == ALL


def test_auto_takes_no_card_that_is_not_there(tiny_bundle, monkeypatch):
    """ONNX Runtime names what it was built with."""
    import onnxruntime

    from realgrain.detector.detect import load

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ALL)
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        assert devices.here("auto", "onnxruntime") == "cpu"
    assert devices.here("cuda", "onnxruntime") == "cuda:0"  # who names one is told that it does not work
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"), pytest.raises(devices.DeviceError, match="ONNX Runtime cannot use it"):
        load(tiny_bundle, device="cuda:0")


def test_auto_takes_a_card_that_opens(monkeypatch):
    import onnxruntime

    class Session:
        def __init__(self, model, providers):
            self.given = [name if isinstance(name, str) else name[0] for name in providers]

        def get_providers(self):
            return self.given

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ALL)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    assert devices.here("auto", "onnxruntime") == "cuda:0"


def test_here_without_a_card(tiny_bundle):
    from realgrain.detector.detect import load

    assert devices.here("cpu", "onnxruntime") == "cpu"
    assert devices.here("auto", "openvino") == "cpu"
    with pytest.raises(ValueError, match="computes on the processor"):
        load(tiny_bundle, runtime="openvino", device="cuda:0")
