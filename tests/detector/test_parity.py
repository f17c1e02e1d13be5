"""The shipped detector on real pictures: the same scores in every batch, order and runtime, within what its card states."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import parity
from drawing import by_source

from realgrain.detector.bundle import read_bundle
from realgrain.detector.detect import load
from realgrain.detector.runtime import open_runtime
from realgrain.learning.backbone import has_bf16
from realgrain.learning.data import read_manifest
from realgrain.learning.export import export
from realgrain.picture.image import open_picture
from realgrain.picture.views import make_views

PICTURES = 40  # spread over the sources; the card's own figures are of all
COMPARED = int(
    os.environ.get("REALGRAIN_PARITY_PICTURES", "60")
)  # in every runtime; 300, as benchmarks/parity.py takes, are half an hour on a slow machine


@pytest.fixture(scope="module")
def samples(labelled_pictures):
    rows = read_manifest(labelled_pictures / "manifest.csv")
    return [rows[index] for index in np.linspace(0, len(rows) - 1, PICTURES).astype(int)]


@pytest.fixture(scope="module")
def views(samples):
    spec = read_bundle().card.views
    return [make_views(open_picture(sample.file).pixels, spec) for sample in samples]


def logits(runtime, views):
    return np.array([runtime.logits(one).mean(dtype=np.float64) for one in views])


@pytest.mark.slow
@pytest.mark.weights
def test_batch_and_order_do_not_matter(real_home, views):
    runtime = open_runtime("onnxruntime", read_bundle())
    one = np.concatenate([runtime.logits(picture) for picture in views[:16]])
    count = len(views[0])
    step = 8 // count  # pictures in a batch of eight views
    eight = np.concatenate([runtime.logits(np.concatenate(views[start : start + step])) for start in range(0, 16, step)])
    order = np.random.default_rng(0).permutation(16)
    shuffled = np.concatenate(
        [runtime.logits(np.concatenate([views[index] for index in order[start : start + step]])) for start in range(0, 16, step)]
    )
    back = np.empty_like(shuffled)
    for place, index in enumerate(order):
        back[index * count : (index + 1) * count] = shuffled[place * count : (place + 1) * count]
    assert np.abs(one - eight).max() < 1e-5
    assert np.abs(one - back).max() < 1e-5


@pytest.mark.slow
@pytest.mark.weights
def test_verdicts_do_not_depend_on_order(real_home, samples):
    detector = load()
    forth = {report.picture.name: report for report in detector.detect_many(sample.file for sample in samples[:5])}
    back = {report.picture.name: report for report in detector.detect_many(sample.file for sample in reversed(samples[:5]))}
    assert forth == back


@pytest.mark.slow
@pytest.mark.weights
def test_runtimes_agree_within_the_card(real_home, labelled_pictures):
    """Logits, and verdicts, none of which may turn round or, but for those of bf16, change: what is between the thresholds moves with it."""
    bundle, samples = read_bundle(), read_manifest(labelled_pictures / "manifest.csv")
    contestants = [name for name in parity.CONTESTANTS if name != parity.BF16 or has_bf16()]  # without, it is emulated, for minutes
    found = parity.measure(bundle, by_source(samples, COMPARED), contestants)
    assert found.pictures == COMPARED and all(one.met for one in found.runtimes.values()), found
    assert max(found.runtimes[name].largest for name in ("openvino", "torch")) < 1e-4
    for name in (parity.INT8, parity.DYNAMIC):
        assert 0 < found.runtimes[name].largest < bundle.card.runtimes[name].tolerance


@pytest.mark.slow
@pytest.mark.weights
def test_int8_is_within_the_card(real_home, labelled_pictures, samples, views, tmp_path):
    """The graph is quantised anew, on fewer pictures than the card's was, so this also says how much the choice of pictures matters."""
    bundle = read_bundle()
    train = [row for row in read_manifest(labelled_pictures / "manifest.csv") if row.split == "train"][::15]
    others = [sample for sample in samples if sample.split == "test"]
    exported = export(bundle, [*train, *others], tmp_path / "exported", calibration=100)
    reference = logits(open_runtime("onnxruntime", bundle), views)
    small = logits(open_runtime("openvino-int8", exported), views)
    assert np.abs(small - reference).max() < bundle.card.runtimes["openvino-int8"].tolerance
