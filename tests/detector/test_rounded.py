"""The shipped detector in eight bits on a few real pictures; benchmarks/parity.py does it on 300."""

import numpy as np
import pytest

from realgrain.detector.bundle import read_bundle
from realgrain.detector.decision import Policy
from realgrain.detector.detect import load
from realgrain.learning.data import read_manifest

PICTURES = 24
MOST_CHANGED = 0.003


@pytest.mark.slow
@pytest.mark.weights
def test_verdicts_are_those_of_f32(real_home, labelled_pictures):
    bundle = read_bundle()
    if bundle.card.int8 is None:
        pytest.skip("the shipped detector has not been prepared for eight bits")
    rows = [row for row in read_manifest(labelled_pictures / "manifest.csv") if row.split == "test"]
    files = [rows[index].file for index in np.linspace(0, len(rows) - 1, PICTURES).astype(int)]
    policy = Policy(stability=False)
    f32, int8 = (
        list(load(bundle, runtime=name, offline=True, evidence=False, policy=policy).detect_many(files)) for name in ("onnxruntime", "openvino-int8")
    )
    stated = bundle.card.runtimes["openvino-int8"]
    gaps = np.array([one.logit - other.logit for one, other in zip(int8, f32, strict=True)])
    assert 0 < np.abs(gaps).max() <= stated.tolerance
    pairs = [(one.verdict.label, other.verdict.label) for one, other in zip(int8, f32, strict=True)]
    assert not any(set(pair) == {"ai", "camera"} for pair in pairs)
    assert np.mean([one != other for one, other in pairs]) <= MOST_CHANGED
