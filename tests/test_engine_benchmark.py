"""The engine benchmarks' own logic, on towers of a few kilobytes; what they measure is for an idle machine."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from realgrain.detector.graph import TowerConfig
from realgrain.learning.data import read_manifest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import drawing
import parity
import roofline

TINY = TowerConfig(hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=2, patch_size=32)


def test_every_source_has_its_turn(toy_manifest):
    samples = read_manifest(toy_manifest)
    sources = {sample.source for sample in samples}
    found = drawing.by_source(samples, len(sources))
    assert {sample.source for sample in found} == sources
    assert found == drawing.by_source(samples, len(sources))
    assert len(drawing.by_source(samples, 10**6)) == len(samples)
    assert len({sample.path for sample in drawing.by_source(samples, 10)}) == 10


def test_pictures_that_do_not_open_are_not_drawn(toy_manifest, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    samples = read_manifest(toy_manifest)
    assert len(drawing.by_source([*samples[:3], samples[3].model_copy(update={"file": bad})], 4)) == 3


def test_parity_of_f32(tiny_bundle, toy_manifest):
    samples = drawing.by_source(read_manifest(toy_manifest), 8)
    found = parity.measure(tiny_bundle, samples, ["openvino", "torch"])
    for of in found.runtimes.values():
        assert of.largest < 1e-4
        assert (of.changed, of.turned, of.again_share, of.met) == (0, 0, 0, True)
    assert sum(found.sources.values()) == found.pictures == 8


def test_parity_sees_a_change(tiny_bundle):
    right = parity.Scores(
        logits=[0.0, 1.0, 2.0, 3.0], distances=[0.0] * 4, verdicts=["camera", "unsure", "ai", "ai"], raw_verdicts=["ai"] * 4, again=0
    )
    off = right.model_copy(update={"logits": [0.0, 1.0, 2.0, 2.5], "verdicts": ["ai", "unsure", "ai", "unsure"], "again": 1})
    found = parity.compared("openvino-int8", off, right, np.array([False, False, True, True]))
    assert (found.changed, found.turned, found.rounded_changed, found.met) == (2, 1, 2, False)
    assert (found.largest, found.again_share, found.auc) == (0.5, 0.25, 1.0)


def test_multiply_adds():
    """Of two blocks, the second asks for its class token alone: keys and values (2 of 12 parts of its linear layers) are of all tokens."""
    linear, everything = roofline.macs(TINY, 224, 2)
    tokens = 50
    assert linear == (tokens * 12 + tokens * 2 + 1 * 10) * 64 * 64
    assert everything == linear + (tokens + 1) * 2 * tokens * 64 + 49 * 3 * 32 * 32 * 64


@pytest.mark.parametrize("precision", ["f32", "int8"])
def test_peak(precision):
    found = roofline.peak(TINY, 224, precision, 1, seconds=0.02)
    assert found.gmacs == max(found.each.values()) > 0
    assert found.each[found.rows] == found.gmacs


def test_bf16_is_told_so(tiny_bundle):
    opened = parity.opened("openvino-bf16", replace(tiny_bundle))
    assert (opened.name, opened.precision, opened.hint) == ("openvino-bf16", "bf16", "bf16")
