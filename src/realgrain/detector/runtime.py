"""Pixels -> logits: ONNX Runtime, OpenVINO or torch, each imported only when asked for. Which one ran, and how exactly, goes into the report."""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import sys
import threading
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast

import numpy as np

from realgrain.detector.bundle import Bundle, BundleError
from realgrain.detector.compose import MODEL, base_of, compose, lossless, tower_of
from realgrain.detector.devices import CPU, DeviceError, providers
from realgrain.detector.weights import file_sha256


class Runtime(Protocol):
    """Scores views.

    Attributes:
        name: as on the command line.
        precision: of the arithmetic, such as ``f32`` or ``int8``.
        version: of the library that runs it.
    """

    @property
    def name(self) -> str: ...

    @property
    def precision(self) -> str: ...

    @property
    def version(self) -> str: ...

    def logits(self, views: np.ndarray) -> np.ndarray:
        """Logits (N,) float32 of views (N, 3, H, W) float32; threads may call it at the same time, and wait where only one of them can be served."""
        ...

    def look(self, views: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The same logits, to the last bit, and the features (N, D) float32 that the head read; None where the graph does not give them."""
        ...


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class OnnxRuntime:
    """ONNX Runtime, f32: the reference that tolerances in the card are measured against."""

    name, precision = "onnxruntime", "f32"

    def __init__(self, bundle: Bundle, *, threads: int, offline: bool, device: str = CPU) -> None:
        import onnxruntime

        self.version = onnxruntime.__version__
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        wanted = providers(device)
        self._session = onnxruntime.InferenceSession(str(compose(bundle, offline=offline) / MODEL), options, providers=wanted)
        if device != CPU and self._session.get_providers()[0] == "CPUExecutionProvider":  # which it falls to in silence
            raise DeviceError(f"{device}: ONNX Runtime cannot use it; its log says why")
        self._turn = threading.Lock()  # a run takes all threads: two at once would be in each other's way

    def logits(self, views: np.ndarray) -> np.ndarray:
        """See ``Runtime``."""
        with self._turn:
            return np.asarray(self._session.run(["logit"], {"pixels": views})[0])

    def look(self, views: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """See ``Runtime``."""
        with self._turn:
            logits, features = self._session.run(["logit", "feature"], {"pixels": views})
        return np.asarray(logits), np.asarray(features)


def import_openvino() -> ModuleType:
    """OpenVINO without its usage reports: left alone, importing it sends one to its makers unless the user has opted out."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # Python's own way to say "not installed"; OpenVINO copes
    return importlib.import_module("openvino")


@functools.cache
def _core() -> Any:
    """OpenVINO's one core of this process, never taken down.

    Each core gives the thread that first uses it a stack for signals of its own, and takes that away when it goes. Of two that went in the order in
    which they came, nothing was put back: the next signal killed the process (seen with OpenVINO 2026.4).
    """
    return import_openvino().Core()


class OpenVino:
    """OpenVINO; its precision is set, because left alone it computes in bf16 where the processor can.

    Each view is a run of its own, on an equal share of the threads: runs wait less for each other than the threads of one run do
    (docs/decisions/0019). As many run at once as a picture has views, or, where ``many`` pictures come at a time, as there are threads.
    """

    name, precision, hint = "openvino", "f32", "f32"  # the hint is for what is not rounded in the graph itself
    group = 0  # activations in a row that are rounded together as they come; 0: they are not

    def __init__(self, bundle: Bundle, *, threads: int, offline: bool, many: bool = False) -> None:
        openvino = import_openvino()
        self.version = openvino.__version__.split("-")[0]
        self._streams = threads if many else min(threads, bundle.card.views.count)
        settings = {
            "INFERENCE_PRECISION_HINT": self.hint,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": self._streams,
            "ENABLE_CPU_PINNING": False,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": self.group,
        }
        self._model = _core().compile_model(self._graph(bundle, offline), "CPU", settings)
        # Graphs that were exported before there was a second output have none.
        self._gives_features = any("feature" in output.get_names() for output in self._model.outputs)
        self._idle: dict[int, list[Any]] = {}  # queues that nobody uses, by how many runs they hold: a caller takes one, or makes one

    def _graph(self, bundle: Bundle, offline: bool) -> Path:
        """The bundle's own graph if it carries one for this runtime, else the composed one."""
        return carried_graph(bundle, self.name) or compose(bundle, offline=offline) / MODEL

    def logits(self, views: np.ndarray) -> np.ndarray:
        """See ``Runtime``."""
        return self.look(views)[0]

    def look(self, views: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """See ``Runtime``."""
        size = min(self._streams, len(views))
        idle = self._idle.setdefault(size, [])
        try:
            queue = idle.pop()
        except IndexError:
            queue = import_openvino().AsyncInferQueue(self._model, size)
        logits: list[Any] = [None] * len(views)
        features: list[Any] = [None] * len(views)

        def keep(request: Any, place: int) -> None:
            logits[place] = np.array(request.get_tensor("logit").data)
            features[place] = np.array(request.get_tensor("feature").data) if self._gives_features else None

        queue.set_callback(keep)
        for place in range(len(views)):
            queue.start_async({"pixels": views[place : place + 1]}, place)
        queue.wait_all()
        idle.append(queue)
        return np.concatenate(logits), np.concatenate(features) if self._gives_features else None


def graph_sha256(path: Path) -> str | None:
    """Sha256 over both files of an OpenVINO graph (.xml, .bin), or None where one is missing."""
    files = (path, path.with_suffix(".bin"))
    if not all(file.is_file() for file in files):
        return None
    return hashlib.sha256(" ".join(file_sha256(file) for file in files).encode()).hexdigest()


def carried_graph(bundle: Bundle, runtime: str) -> Path | None:
    """Path of the graph that a bundle carries for a runtime, None if it carries none.

    Raises:
        BundleError: it is not the one that the card names.
    """
    graph = bundle.card.runtimes.get(runtime)
    if graph is None or graph.file is None:
        return None
    path = bundle.folder / graph.file
    if graph_sha256(path) != graph.sha256:
        raise BundleError(f"{path}: missing, or not the graph that the card names")
    return path


class OpenVinoExact(OpenVino):
    """OpenVINO in f32 on weights that are kept in eight bits, which must lose nothing: they take a quarter of the memory."""

    def _graph(self, bundle: Bundle, offline: bool) -> Path:
        return compose(bundle, offline=offline, int8="weights") / MODEL


class OpenVinoInt8(OpenVino):
    """OpenVINO in eight bits: the graph that the bundle carries, or the one that its ranges and the base make; the rest of it is float32."""

    name, precision = "openvino-int8", "int8"

    def __init__(self, bundle: Bundle, *, threads: int, offline: bool, many: bool = False) -> None:
        super().__init__(bundle, threads=threads, offline=offline, many=many)
        check_parity(self.name, bundle)
        self.parity = bundle.card.runtimes[self.name]
        self._exact = partial(_exact, bundle, threads=threads, offline=offline, many=many)
        self._loaded: Runtime | None = None
        self._lock = threading.Lock()

    def exact(self) -> Runtime:
        """The same detector in f32; see ``second``."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self._exact()
        return self._loaded

    def _graph(self, bundle: Bundle, offline: bool) -> Path:
        return carried_graph(bundle, self.name) or compose(bundle, offline=offline, int8="all") / MODEL


class OpenVinoDynamic(OpenVinoInt8):
    """OpenVINO with weights in eight bits, and activations rounded as they come: each token alone, 128 channels at a time, in steps of their own.

    Nothing has to be measured beforehand, and it is nearer to float32 than ranges that hold for all pictures. A processor without VNNI multiplies in
    float32 instead, and one with AMX does not use its tiles for it (docs/decisions/0018).
    """

    name = "openvino-int8-dynamic"
    group = 128
    _graph = OpenVinoExact._graph  # the same weights; only the group makes the difference


def _exact(bundle: Bundle, *, threads: int, offline: bool, many: bool) -> Runtime:
    """In f32, as small as can be; where eight bits do not hold the weights, ONNX Runtime, which maps them instead of copying them."""
    if lossless(bundle, offline=offline):
        return OpenVinoExact(bundle, threads=threads, offline=offline, many=many)
    return OnnxRuntime(bundle, threads=threads, offline=offline)


class Torch:
    """transformers' own tower in torch, f32: what training sees, to compare the graphs with."""

    name, precision = "torch", "f32"

    def __init__(self, bundle: Bundle, *, threads: int, offline: bool, device: str = CPU) -> None:
        import torch
        from transformers import CLIPVisionModelWithProjection
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        self.version = torch.__version__
        torch.set_num_threads(threads)
        torch.backends.cudnn.allow_tf32 = False  # its ten bits would move scores
        base = base_of(bundle, offline=offline)
        self._tower = cast(Any, CLIPVisionModelWithProjection.from_pretrained(base.folder, local_files_only=True).eval())
        if bundle.adapter:
            changed = {name.rpartition(".")[0] for name in bundle.adapter}
            merged = tower_of(bundle, base)
            self._tower.load_state_dict({name: torch.from_numpy(merged[name]) for name in changed}, strict=False)
        self._block = bundle.card.block
        self._weight, self._bias = (torch.from_numpy(bundle.head[name]).to(device) for name in ("weight", "bias"))
        self._tower, self._device = self._tower.to(device), device
        self._turn = threading.Lock()

    def logits(self, views: np.ndarray) -> np.ndarray:
        """See ``Runtime``."""
        return self.look(views)[0]

    def look(self, views: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """See ``Runtime``."""
        import torch

        with self._turn, torch.inference_mode():
            seen, deep = torch.from_numpy(views).to(self._device), self._block is not None
            found = self._tower(seen, output_hidden_states=deep, interpolate_pos_encoding=True)
            feature = found.image_embeds if self._block is None else found.hidden_states[self._block][:, 0]
            return (feature @ self._weight + self._bias).cpu().numpy(), feature.cpu().numpy()


RUNTIMES = {kind.name: kind for kind in (OnnxRuntime, OpenVino, OpenVinoInt8, OpenVinoDynamic, Torch)}
EXTRAS = {OpenVino.name: "openvino", OpenVinoInt8.name: "openvino", OpenVinoDynamic.name: "openvino", Torch.name: "train"}

ON_CARDS = (OnnxRuntime.name, Torch.name)


def check_parity(name: str, bundle: Bundle) -> None:
    """See to it that a bundle says how far a runtime in eight bits is off, which its verdicts are given by.

    Raises:
        BundleError: it does not.
    """
    if issubclass(RUNTIMES[name], OpenVinoInt8) and name not in bundle.card.runtimes:
        raise BundleError(f"{bundle.folder}: its card does not say how far eight bits are off; `realgrain export` measures that")


def open_runtime(name: str, bundle: Bundle, *, threads: int | None = None, offline: bool = False, device: str = CPU, many: bool = False) -> Runtime:
    """Load a bundle into a runtime.

    Args:
        name: a key of ``RUNTIMES``.
        bundle: what to run.
        threads: processors to use; None: all that this process may use.
        offline: never touch the network.
        device: by ``realgrain.detector.devices.chosen``.
        many: pictures come many at a time, from several threads: OpenVINO then serves as many as it has threads, which is more in all, and each of
            them later. No bit of a score depends on it.

    Raises:
        ValueError: no such runtime, or it cannot use the device.
        BundleError: the bundle does not fit the base, or lacks what the runtime needs.
        WeightsError: the base cannot be had.
    """
    if name not in RUNTIMES:
        raise ValueError(f"no runtime {name!r}; there are {', '.join(RUNTIMES)}")
    if device != CPU and name not in ON_CARDS:
        raise DeviceError(f"{device}: the runtime {name} computes on the processor")
    kind = RUNTIMES[name]
    means: dict[str, Any] = {"device": device} if device != CPU else {"many": many} if issubclass(kind, OpenVino) else {}
    try:
        return kind(bundle, threads=threads or cores(), offline=offline, **means)
    except ImportError as error:
        raise BundleError(f"the runtime {name} needs `pip install realgrain[{EXTRAS.get(name, name)}]` ({error})") from error
