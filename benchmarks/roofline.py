"""How fast these processors multiply: matrix products of a tower's shapes in OpenVINO, with nothing between them but rounding.

Used by engine.py. Each model is a chain of products of transformer blocks (hidden x hidden, hidden x 4 hidden, 4 hidden x hidden); in int8 what is
between two products stays in eight bits, as in the detector's graph.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

from realgrain.detector.graph import TowerConfig
from realgrain.detector.runtime import import_openvino

Precision = Literal["f32", "bf16", "int8"]
BLOCKS = 3  # of the chain: enough weights that they do not all stay in the smallest cache, as in a tower


class Peak(BaseModel):
    """The best of several numbers of rows, in billions of multiply-adds a second."""

    precision: str
    gmacs: float
    rows: int
    each: dict[int, float]


def tokens_of(config: TowerConfig, size: int) -> int:
    """Patches of a view of ``size`` pixels a side, plus the class token."""
    return (size // config.patch_size) ** 2 + 1


def macs(config: TowerConfig, size: int, blocks: int) -> tuple[float, float]:
    """Multiply-adds of one view of ``size`` pixels a side: of the linear layers of its blocks, and of everything. The last block is for one token."""
    hidden, inner, tokens = config.hidden_size, config.intermediate_size, tokens_of(config, size)
    asking = (blocks - 1) * tokens + 1  # tokens that ask, are mixed and go through the perceptron; keys and values are of all
    linear = asking * (2 * hidden * hidden + 2 * hidden * inner) + blocks * tokens * 2 * hidden * hidden
    return float(linear), float(linear + asking * 2 * tokens * hidden + (tokens - 1) * 3 * config.patch_size**2 * hidden)


def chain(config: TowerConfig, precision: Precision) -> tuple[Any, float]:
    """ONNX model with an input (rows, hidden), and its multiply-adds for each row."""
    from onnx import TensorProto, helper, numpy_helper

    from realgrain.detector.graph import OPSET

    rng, hidden, inner = np.random.default_rng(0), config.hidden_size, config.intermediate_size
    nodes, arrays, tensor, count = [], {}, "x", 0

    def op(kind: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [f"{kind}{len(nodes)}"], **attributes))
        return f"{kind}{len(nodes) - 1}"

    arrays.update({"step": np.array(0.03, np.float32), "zero": np.array(128, np.uint8)})
    for number, (rows, columns) in enumerate([(hidden, hidden), (hidden, hidden), (hidden, inner), (inner, hidden)] * BLOCKS):
        if precision == "int8":
            tensor = op("DequantizeLinear", op("QuantizeLinear", tensor, "step", "zero"), "step", "zero")
            arrays[f"w{number}"] = rng.integers(-127, 128, (rows, columns), dtype=np.int8)
            arrays[f"s{number}"], arrays[f"z{number}"] = np.full(columns, 1e-3, np.float32), np.zeros(columns, np.int8)
            weight = op("DequantizeLinear", f"w{number}", f"s{number}", f"z{number}", axis=1)
        else:
            weight = f"w{number}"
            arrays[weight] = (rng.normal(size=(rows, columns)) / rows**0.5).astype(np.float32)
        tensor, count = op("MatMul", tensor, weight), count + rows * columns
    nodes.append(helper.make_node("Identity", [tensor], ["y"]))
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", hidden]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "chain", values[:1], values[1:], [numpy_helper.from_array(array, name) for name, array in arrays.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9), float(count)


def peak(config: TowerConfig, size: int, precision: Precision, threads: int, *, seconds: float = 1.0) -> Peak:
    """Measure one precision, each number of rows for some seconds; of each the fastest run counts."""
    import onnx

    openvino = import_openvino()
    model, count = chain(config, precision)
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, Path(folder) / "chain.onnx")
        settings = {"INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32", "INFERENCE_NUM_THREADS": threads}
        request = openvino.Core().compile_model(str(Path(folder) / "chain.onnx"), "CPU", settings).create_infer_request()
    each: dict[int, float] = {}
    for views in (1, 2, 4, 8, 16):
        rows = views * tokens_of(config, size)
        pixels = np.random.default_rng(1).normal(size=(rows, config.hidden_size)).astype(np.float32)
        request.infer({"x": pixels})
        best, end = float("inf"), time.perf_counter() + seconds
        while time.perf_counter() < end:
            started = time.perf_counter()
            request.infer({"x": pixels})
            best = min(best, time.perf_counter() - started)
        each[rows] = rows * count / best / 1e9
    rows = max(each, key=lambda name: each[name])
    return Peak(precision=precision, gmacs=each[rows], rows=rows, each=each)
