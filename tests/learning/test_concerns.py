import logging

import pytest
import torch
import toy

from realgrain.learning.concerns import concerns
from realgrain.learning.data import Sample
from realgrain.learning.problem import prepare


def pictures(**counts):
    """Such as real_a=3: samples, with forms that vary alike in both classes."""
    samples = [Sample(path=f"{key}/{i}", file="x", label=key.split("_")[0], source=key) for key, n in counts.items() for i in range(n)]
    return samples, [(("PNG", "JPEG")[i % 2], 400 + i % 7, 500) for i in range(len(samples))]


ENOUGH = {f"{label}_{name}": 40 for label in ("real", "fake") for name in "abc"}


def test_nothing_to_say():
    assert concerns(*pictures(**ENOUGH)) == []


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"real_a": 33, "real_b": 33, "real_c": 33}, "only 99 real pictures"),
        ({"fake_a": 10, "fake_b": 10, "fake_c": 10}, "only 30 fake pictures"),
        ({"fake_a": 60, "fake_b": 60, "fake_c": 0}, "only 2 fake sources"),
        ({"real_a": 400}, "83% of the real pictures are of the source 'real_a'"),
    ],
)
def test_few_or_of_one_source(counts, words):
    (found,) = concerns(*pictures(**{**ENOUGH, **counts}))
    assert words in found


def test_few_that_are_meant_are_no_concern():
    """Their number alone is none: what else they lack still is."""
    samples, forms = pictures(real_a=9, real_b=1, fake_a=2, fake_b=2, fake_c=2)
    found = concerns(samples, forms, few=True)
    assert [words.split(":")[0] for words in found] == ["only 2 real sources", "90% of the real pictures are of the source 'real_a'"]
    assert len(concerns(samples, forms)) == 4


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (("GIF", 400, 500), "file format alone tells 100% of the labels (GIF: 0% of real and 100% of fake pictures)"),
        (("PNG", 1600, 2000), "size alone tells 100% of the labels (some 2048 pixels a side: 0% of real and 100% of fake pictures)"),
        (("PNG", 450, 450), "shape alone tells 100% of the labels (not square: 100% of real and 0% of fake pictures)"),
    ],
)
def test_form_that_tells_the_label(form, words):
    samples, forms = pictures(**ENOUGH)
    (found,) = concerns(samples, [form if sample.fake else one for sample, one in zip(samples, forms, strict=True)])
    assert found.startswith(words)


def test_form_that_tells_little_of_it():
    """Half of the photographs are PNG, and all fakes: a guess by that is right three times out of four, which is just not too much."""
    samples, forms = pictures(**ENOUGH)
    assert concerns(samples, [("PNG", *one[1:]) if sample.fake else one for sample, one in zip(samples, forms, strict=True)]) == []


X86 = {"architecture": "x86_64", "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}


@pytest.mark.parametrize(
    ("precision", "capabilities", "told"),
    [
        ("bf16", X86, True),
        ("bf16", {**X86, "avx512_bf16": True}, False),
        ("bf16", {**X86, "amx_bf16": True}, False),
        ("bf16", {"architecture": "aarch64"}, False),
        ("f32", X86, False),
    ],
)
def test_bf16_where_it_is_slow(tiny_recipe, toy_manifest, caplog, monkeypatch, precision, capabilities, told):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    prepare(tiny_recipe.model_copy(update={"precision": precision}), toy_manifest)
    assert ("--precision f32" in caplog.text) == told


def test_told_once_on_the_log(tiny_recipe, toy_manifest, caplog, monkeypatch):
    with caplog.at_level(logging.WARNING):
        prepare(tiny_recipe, toy_manifest)
    told = [record.getMessage() for record in caplog.records]
    assert [line.split(": ", 1)[1].split(" pictures")[0] for line in told] == [
        f"only {sum(toy.REAL.values())} real",
        f"only {sum(toy.FAKE.values())} fake",
    ]
    caplog.clear()
    monkeypatch.setenv("RANK", "1")
    prepare(tiny_recipe, toy_manifest)
    assert not caplog.records
