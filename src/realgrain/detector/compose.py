"""Base + bundle -> runtime graph in the cache: done once, without torch, and checked by sha256 ever after."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from realgrain.detector import graph as graphs
from realgrain.detector import weights
from realgrain.detector.bundle import Bundle, BundleError
from realgrain.detector.merging import merge

if TYPE_CHECKING:
    import onnx

MODEL, DATA, SEALS = "model.onnx", "model.data", "graph.json"
PAGE = 4096  # bytes; runtimes map external data, and mapping wants page-aligned offsets
SMALL = 1024  # bytes; shorter arrays stay inside the model file, where shape inference can see them


def compose(bundle: Bundle, *, offline: bool = False) -> Path:
    """Folder with ``model.onnx`` and ``model.data`` for a bundle, made on first use.

    Raises:
        WeightsError: the base cannot be had.
        BundleError: the base is not the one that the card names, or the cached graph was changed.
    """
    parts = f"{bundle.card.base.model_dump_json()} {bundle.card.head_sha256} {bundle.card.adapter_sha256} {bundle.card.block} {graphs.VERSION}"
    folder = weights.home() / "graphs" / hashlib.sha256(parts.encode()).hexdigest()[:24]
    if not folder.exists():
        tower = base_of(bundle, offline=offline)
        with weights.building(folder) as scratch:
            if scratch is not None:
                _write(scratch, tower, bundle)
    if not _untouched(folder):
        raise BundleError(f"{folder}: changed since it was composed; delete it and run again")
    return folder


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


def _write(folder: Path, tower: weights.Tower, bundle: Bundle) -> None:
    import onnx

    try:
        model, arrays = graphs.build_graph(tower_of(bundle, tower), tower.config(), bundle.head, bundle.card.block)
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
    (folder / SEALS).write_text(json.dumps(seals, indent=2) + "\n")


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
