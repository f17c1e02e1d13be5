"""Bundle -> the same bundle prepared for eight bits, with ONNX and OpenVINO graphs beside it, behind a parity gate."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from tqdm import tqdm

from realgrain.detector.bundle import F32_TOLERANCE, Bundle, Eight, Graph, Parent, check_same_detector, read_bundle, statistics_sha256, write_bundle
from realgrain.detector.compose import DATA, MODEL, Rounded, compose
from realgrain.detector.content import squares
from realgrain.detector.domain import distances, places
from realgrain.detector.rounding import as_arrays
from realgrain.detector.runtime import OpenVino, OpenVinoDynamic, OpenVinoInt8, Runtime, graph_sha256, import_openvino, open_runtime
from realgrain.detector.weights import building
from realgrain.learning import rounding
from realgrain.learning.data import ManifestError, Sample
from realgrain.learning.rounding import AsWritten
from realgrain.picture.image import PictureError, open_picture
from realgrain.picture.views import make_views

log = logging.getLogger(__name__)

F32, INT8 = "openvino.xml", "openvino-int8.xml"
AUC_LOSS = 0.005  # of INT8 against f32, at most
USUAL = 0.95  # of pictures are off by no more than what the card calls usual (our choice)
MARGIN = 2  # stated INT8 tolerance over the largest difference seen: with other ranges, on other pictures, it is larger (docs/decisions/0016)


class ParityError(RuntimeError):
    """A graph's scores are too far from the reference; nothing was written."""


def export(bundle: Bundle, samples: Sequence[Sample], output: Path, *, calibration: int = 300) -> Bundle:
    """Measure how to round to eight bits, build the graphs, compare them with ONNX Runtime f32 on pictures that were not measured on, and write a
    bundle that carries all of it.

    Args:
        bundle: what to export.
        samples: labelled pictures; those of the split that the bundle was trained on calibrate, the others are compared. With one split only,
            at most half of them calibrate and the rest are compared.
        output: folder to make; must not exist.
        calibration: pictures to measure activations on, spread evenly over the samples.

    Raises:
        ParityError: OpenVINO f32 is off by more than 1e-4 of logit, or INT8 loses more than 0.005 of AUC.
        ManifestError: no pictures to calibrate or to compare on.
        FileExistsError: the output is there already.
    """
    ranges, compared = _divide(samples, bundle.card.recipe.get("split", ""), calibration)
    with building(output) as scratch:
        if scratch is None:
            raise FileExistsError(f"{output}: exists already")
        rounded = prepared(bundle, [views for _, views in _views(ranges, bundle, "reading")])
        for name in (MODEL, DATA):
            shutil.copyfile(compose(rounded) / name, scratch / name)
        _convert(rounded, scratch)
        card = rounded.card.model_copy(update={"runtimes": {**bundle.card.runtimes, **_measure(rounded, scratch, compared)}})
        write_bundle(scratch, card, bundle.head, bundle.adapter, bundle.statistics, rounded.int8)
    return read_bundle(output)


def prepared(bundle: Bundle, views: Sequence[np.ndarray]) -> Bundle:
    """The bundle with what eight-bit arithmetic needs, measured on the views (V, 3, H, W) of pictures; nothing is written."""
    blocks = bundle.card.block or bundle.card.base.config.num_hidden_layers
    arrays = as_arrays(rounding.measure(bundle, views), blocks)
    facts = Eight(sha256=str(statistics_sha256(arrays)), pictures=len(views))
    return replace(bundle, card=bundle.card.model_copy(update={"int8": facts}), int8=arrays)


def record(bundle: Bundle, exported: Bundle) -> Bundle:
    """Write what an export measured into the bundle that it was made from: tolerances, and how to round. It carries no graphs itself.

    Raises:
        ValueError: the export was made from another detector.
    """
    check_same_detector(exported, bundle)
    stated = {name: graph.model_copy(update={"file": None, "sha256": None}) for name, graph in exported.card.runtimes.items()}
    parent = Parent(
        bundle=bundle.hash, change="ranges of eight-bit arithmetic and tolerances by `realgrain export --record`", made=datetime.now(UTC).date()
    )
    card = bundle.card.model_copy(update={"runtimes": stated, "int8": exported.card.int8, "parents": (*bundle.card.parents, parent)})
    return write_bundle(bundle.folder, card, bundle.head, bundle.adapter, bundle.statistics, exported.int8)


def _divide(samples: Sequence[Sample], trained: str, calibration: int) -> tuple[list[Sample], list[Sample]]:
    mine = [sample for sample in samples if sample.split == trained] or list(samples)
    others = [sample for sample in samples if sample.split != trained]
    count = min(calibration, len(mine) if others else len(mine) // 2)
    spread = set(np.linspace(0, len(mine) - 1, count).astype(int))
    ranges = [sample for index, sample in enumerate(mine) if index in spread]
    others = others or [sample for index, sample in enumerate(mine) if index not in spread]
    if not ranges or len({sample.label for sample in others}) < 2:
        raise ManifestError("export needs pictures to calibrate on and others, of both labels, to compare on")
    return ranges, others


def _views(samples: Sequence[Sample], bundle: Bundle, doing: str) -> list[tuple[Sample, np.ndarray]]:
    found = []
    for sample in tqdm(samples, doing, disable=None):
        try:
            found.append((sample, make_views(open_picture(sample.file).pixels, bundle.card.views)))
        except PictureError as error:
            log.warning("left out: %s", error)
    return found


def _convert(bundle: Bundle, folder: Path) -> None:
    """Write the OpenVINO graphs, for programs other than realgrain, which composes them itself."""
    openvino = import_openvino()
    kinds: tuple[tuple[str, Rounded], ...] = ((F32, "none"), (INT8, "all"))
    for file, int8 in kinds:
        openvino.save_model(openvino.convert_model(compose(bundle, int8=int8) / MODEL), folder / file, compress_to_fp16=False)


def _measure(bundle: Bundle, folder: Path, samples: Sequence[Sample]) -> dict[str, Graph]:
    """The graphs in ``folder`` with their differences from ONNX Runtime f32; in eight bits the larger of this processor's and an exact one's."""
    from sklearn.metrics import roc_auc_score

    seen = _views(samples, bundle, "comparing")
    fake = [sample.fake for sample, _ in seen]

    def looked(runtime: Runtime | AsWritten) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Logit of each picture, its distance from the training pictures, and those from the centres of content, squared."""
        logits, far, apart = [], [], []
        for _, views in tqdm(seen, runtime.name, disable=None):
            each, features = runtime.look(views)
            logits.append(each.mean(dtype=np.float64))
            known = bundle.card.domain is not None and features is not None
            far.append(distances(features[None], bundle.statistics)[0] if known else 0.0)
            apart.append(squares(places(features[None], bundle.statistics), bundle.statistics)[0] if known else np.zeros(1))
        return np.array(logits), np.array(far), np.array(apart)

    reference, place, centres = looked(open_runtime("onnxruntime", bundle))
    best = float(roc_auc_score(fake, reference))
    measured = {}
    for kind, file in ((OpenVino, F32), (OpenVinoInt8, INT8), (OpenVinoDynamic, None)):
        name, eight = kind.name, issubclass(kind, OpenVinoInt8)
        sha256 = None if file is None else graph_sha256(folder / file)
        graph = Graph(tolerance=F32_TOLERANCE, measured=0, auc_loss=0, pictures=len(seen), file=file, sha256=sha256)
        trial = replace(bundle, folder=folder, card=bundle.card.model_copy(update={"runtimes": {name: graph}}))
        looks = [looked(open_runtime(name, trial))] + ([looked(AsWritten(bundle, kind.group))] if eight else [])
        logits, far, apart = map(np.stack, zip(*looks, strict=True))
        gap = np.abs(logits - reference)
        difference, loss = float(gap.max()), max(best - float(roc_auc_score(fake, each)) for each in logits)
        if not eight and difference > F32_TOLERANCE:
            raise ParityError(f"OpenVINO f32 is {difference:.2e} of logit off ONNX Runtime f32, more than {F32_TOLERANCE:.0e}")
        if loss > AUC_LOSS:
            raise ParityError(f"{name} loses {loss:.4f} of AUC on {len(seen)} pictures, more than {AUC_LOSS}")
        stated: dict[str, float] = {"measured": difference, "auc_loss": loss}
        if eight:
            stated |= {
                "tolerance": _round_up(max(difference * MARGIN, F32_TOLERANCE)),
                "usual": float(np.quantile(gap, USUAL, axis=1).max()),
                "usual_distance": float(np.quantile(np.abs(far - place), USUAL, axis=1).max()),
                "group_tolerance": MARGIN * float(np.ptp(apart - centres, axis=2).max()),
            }
        measured[name] = graph.model_copy(update=stated)
    return measured


def _round_up(value: float) -> float:
    """To two significant digits, upwards."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / unit) * unit
