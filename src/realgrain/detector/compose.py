"""Base + bundle -> runtime graph in the cache: done once, without torch, and checked by sha256 ever after."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from realgrain.detector import graph as graphs
from realgrain.detector import weights
from realgrain.detector.bundle import INT8, Bundle, BundleError
from realgrain.detector.merging import merge
from realgrain.detector.rounding import Range, from_arrays, smoothed

if TYPE_CHECKING:
    import onnx

MODEL, DATA, SEALS = "model.onnx", "model.data", "graph.json"
LOSSLESS = "lossless"  # in ``SEALS``: whether weights in eight bits are those that there were
PAGE = 4096  # bytes; runtimes map external data, and mapping wants page-aligned offsets
ROUNDED = 2  # version of the rounding, part of its cache key: raise it when ``rounding`` or its part of the graph changes
SMALL = 1024  # bytes; shorter arrays stay inside the model file, where shape inference can see them


Rounded = Literal["none", "weights", "all"]
"""What is in eight bits: nothing, the weights of linear layers, or these layers with what they read, whose ranges the bundle says."""


def compose(bundle: Bundle, *, offline: bool = False, int8: Rounded = "none") -> Path:
    """Folder with ``model.onnx`` and ``model.data`` for a bundle, made on first use.

    Args:
        bundle: what to compose.
        offline: never touch the network.
        int8: what is rounded to eight bits.

    Raises:
        WeightsError: the base cannot be had.
        BundleError: the base is not the one that the card names, the cached graph was changed, or the bundle does not say how to round.
    """
    if int8 == "all" and bundle.card.int8 is None:
        raise BundleError(f"{bundle.folder}: does not say how to round to eight bits; `realgrain export` makes a bundle that does")
    card = bundle.card
    parts = f"{card.base.model_dump_json()} {card.head_sha256} {card.adapter_sha256} {card.views.size} {card.block} {graphs.VERSION}"
    if int8 == "all" and card.int8 is not None:
        parts += f" int8 {ROUNDED} {card.int8.sha256}"
    elif int8 == "weights":
        parts += f" int8 weights {ROUNDED}"
    folder = weights.home() / "graphs" / hashlib.sha256(parts.encode()).hexdigest()[:24]
    if not folder.exists():
        tower = base_of(bundle, offline=offline)
        with weights.building(folder) as scratch:
            if scratch is not None:
                _write(scratch, tower, bundle, int8)
    if not _untouched(folder):
        raise BundleError(f"{folder}: changed since it was composed; delete it and run again")
    return folder


def lossless(bundle: Bundle, *, offline: bool = False) -> bool:
    """Whether a bundle's linear weights are the same in eight bits: those of bases that come so are, unless an adapter changes them.

    Raises:
        WeightsError, BundleError: as ``compose``.
    """
    folder = compose(bundle, offline=offline, int8="weights")
    return bool(json.loads((folder / SEALS).read_text())[LOSSLESS])


def _untouched(folder: Path) -> bool:
    try:
        seals = json.loads((folder / SEALS).read_text())
        return all(weights.sealed_sha256(folder / name) == seals[name] for name in (MODEL, DATA))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def base_of(bundle: Bundle, *, offline: bool = False) -> weights.Tower:
    """The tower that a bundle was trained on, and no other.

    Raises:
        WeightsError: it cannot be had.
        BundleError: its sha256 or its architecture is not the card's.
    """
    named = bundle.card.base
    tower = weights.pull(named.id, offline=offline)
    if tower.sha256 != named.sha256:
        raise BundleError(f"{bundle.folder}: trained on {named.id} with sha256 {named.sha256}, but this one has {tower.sha256}")
    if tower.config() != named.config:
        raise BundleError(f"{bundle.folder}: trained on {named.id} with another {weights.CONFIG} than the one in {tower.folder}")
    return tower


def tower_of(bundle: Bundle, tower: weights.Tower) -> dict[str, np.ndarray]:
    """Arrays of a base with what the bundle learned added to them.

    Raises:
        BundleError: its adapter does not fit the tower.
    """
    from safetensors.numpy import load_file

    try:
        return merge(load_file(tower.tensors), bundle.adapter)
    except (KeyError, ValueError) as error:
        raise BundleError(f"{bundle.folder}: its adapter does not fit {tower.id}: {error}") from error


def rounded(bundle: Bundle, arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, Range]]:
    """A tower's arrays smoothed as a bundle says, and the ranges of its activations.

    Raises:
        BundleError: what the bundle says does not fit the tower.
    """
    try:
        rounding = from_arrays(bundle.int8)
        return smoothed(arrays, rounding.smooth), rounding.ranges
    except (KeyError, ValueError) as error:
        raise BundleError(f"{bundle.folder / INT8}: does not fit {bundle.card.base.id}: {error}") from error


def _write(folder: Path, tower: weights.Tower, bundle: Bundle, int8: Rounded) -> None:
    import onnx

    tensors, ranges = tower_of(bundle, tower), {}
    if int8 == "all":
        tensors, ranges = rounded(bundle, tensors)
    try:
        size, block = bundle.card.views.size, bundle.card.block
        model, arrays = graphs.build_graph(tensors, tower.config(), bundle.head, size, block, ranges, eight_bit_weights=int8 == "weights")
    except KeyError as error:
        raise weights.WeightsError(f"{tower.id}: {tower.tensors} has no {error}") from error
    except ValueError as error:
        raise BundleError(f"{bundle.folder}: does not fit {tower.id}: {error}") from error
    with (folder / DATA).open("wb") as file:
        for name, array in arrays.items():
            model.graph.initializer.append(_initialiser(name, array, file.tell() + -file.tell() % PAGE))
            if array.nbytes >= SMALL:
                file.write(b"\0" * (-file.tell() % PAGE))
                file.write(array.tobytes())
    onnx.save(model, folder / MODEL)
    seals = {name: weights.file_sha256(folder / name) for name in (MODEL, DATA)}
    (folder / SEALS).write_text(json.dumps({**seals, LOSSLESS: _kept(tensors, arrays)}, indent=2) + "\n")


def _kept(tensors: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether a graph's eight-bit weights are the tower's, but for the last bits of float32."""
    eight, step = graphs.EIGHT, graphs.STEP
    names = [name.removesuffix(eight) for name in arrays if name.endswith(eight)]
    return all(np.allclose(arrays[name + eight].T * arrays[name + step][:, None], tensors[name], rtol=1e-6, atol=0) for name in names)


def _initialiser(name: str, array: np.ndarray, offset: int) -> onnx.TensorProto:
    """An initialiser that holds a short array itself and points a long one to ``offset`` in the data file."""
    import onnx

    proto = onnx.TensorProto(name=name, data_type=onnx.helper.np_dtype_to_tensor_dtype(array.dtype), dims=array.shape)
    if array.nbytes < SMALL:
        proto.raw_data = array.tobytes()
        return proto
    proto.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", DATA), ("offset", offset), ("length", array.nbytes)):
        proto.external_data.add(key=key, value=str(value))
    return proto
