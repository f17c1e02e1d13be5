import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from realgrain.detector.bundle import BaseRef, BundleError, Graph, array_bytes
from realgrain.detector.compose import lossless
from realgrain.detector.rounding import rounded_weight
from realgrain.detector.runtime import RUNTIMES, OpenVinoExact, cores, open_runtime
from realgrain.detector.weights import BASES, DEFAULT_BASE, file_sha256, pull
from realgrain.picture.views import View, ViewSpec

F32 = ["onnxruntime", "openvino", "torch"]


def views(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3, 224, 224)).astype(np.float32)


@pytest.fixture(scope="module")
def opened(tiny_bundle):
    return {name: open_runtime(name, tiny_bundle, threads=1) for name in F32}


def with_head(bundle, head, **changes):
    card = bundle.card.model_copy(update={**changes, "head_sha256": hashlib.sha256(array_bytes(head)).hexdigest()})
    return replace(bundle, head=head, card=card)


def random_head(size):
    rng = np.random.default_rng(1)
    return {"weight": rng.normal(size=size).astype(np.float32) / np.float32(size**0.5), "bias": np.ones(1, np.float32)}


@pytest.mark.parametrize("name", F32)
def test_names_itself(opened, name):
    assert (opened[name].name, opened[name].precision) == (name, "f32")
    assert opened[name].version[0].isdigit()


@pytest.mark.parametrize("name", F32)
@pytest.mark.parametrize("count", [1, 3, 8])
def test_shape_and_type(opened, name, count):
    found = opened[name].logits(views(count))
    assert (found.shape, found.dtype) == ((count,), np.float32)


@pytest.mark.parametrize("name", F32[1:])
def test_agrees_with_the_reference(opened, name):
    np.testing.assert_allclose(opened[name].logits(views(8)), opened["onnxruntime"].logits(views(8)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("block", [None, 1, 3])
def test_agree_on_every_feature(tiny_bundle, block):
    bundle = with_head(tiny_bundle, random_head(24 if block is None else 32), block=block)
    found = [open_runtime(name, bundle, threads=1).logits(views(2)) for name in F32]
    assert np.ptp(np.stack(found), axis=0).max() < 1e-4


@pytest.mark.parametrize("name", F32)
def test_views_do_not_depend_on_each_other(opened, name):
    pixels, order = views(8), np.random.default_rng(2).permutation(8)
    together = opened[name].logits(pixels)
    alone = np.concatenate([opened[name].logits(pixels[i : i + 1]) for i in range(8)])
    np.testing.assert_allclose(alone, together, atol=1e-5, rtol=0)
    np.testing.assert_allclose(opened[name].logits(pixels[order]), together[order], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", F32)
def test_same_views_same_bits(opened, name):
    assert opened[name].logits(views(3)).tobytes() == opened[name].logits(views(3)).tobytes()


@pytest.mark.parametrize("name", F32)
def test_may_be_shared_by_threads(opened, name):
    expected = [opened[name].logits(views(2, seed)).tobytes() for seed in range(8)]
    found: dict[int, bytes] = {}
    threads = [threading.Thread(target=lambda seed=seed: found.update({seed: opened[name].logits(views(2, seed)).tobytes()})) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[seed] for seed in range(8)] == expected


def test_openvino_gives_a_view_the_bits_that_it_has_alone(tiny_bundle):
    spec = ViewSpec([View("resize", 224), View("crop", 224)])
    two = open_runtime("openvino", replace(tiny_bundle, card=tiny_bundle.card.model_copy(update={"views": spec})), threads=2)
    together, features = two.look(views(5))
    alone = [two.look(views(5)[place : place + 1]) for place in range(5)]
    assert np.concatenate([logits for logits, _ in alone]).tobytes() == together.tobytes()
    assert np.concatenate([of for _, of in alone]).tobytes() == features.tobytes()
    np.testing.assert_allclose(together, open_runtime("onnxruntime", tiny_bundle, threads=1).logits(views(5)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_many_at_a_time_have_the_bits_that_each_has_alone(tiny_bundle, threads):
    alone = open_runtime("openvino", tiny_bundle, threads=threads)
    expected = [alone.look(views(1, seed)) for seed in range(12)]
    many = open_runtime("openvino", tiny_bundle, threads=threads, many=True)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda seed: many.look(views(1, seed)), range(12)))
    assert [(logits.tobytes(), features.tobytes()) for logits, features in found] == [(one.tobytes(), of.tobytes()) for one, of in expected]


def in_eight_bits(bundle):
    """It says of both runtimes how far they are off, which nobody measured."""
    stated = Graph(tolerance=0.1, measured=0.05, usual=0.05, auc_loss=0, pictures=1)
    return replace(bundle, card=bundle.card.model_copy(update={"runtimes": {"openvino-int8-dynamic": stated}}))


def test_float32_of_weights_that_eight_bits_do_not_hold(tiny_bundle):
    assert not lossless(tiny_bundle)
    exact = open_runtime("openvino-int8-dynamic", in_eight_bits(tiny_bundle), threads=1).exact()
    assert exact.logits(views(2)).tobytes() == open_runtime("onnxruntime", tiny_bundle, threads=1).logits(views(2)).tobytes()


def test_float32_of_weights_that_come_in_eight_bits(tiny_bundle, tmp_path, home):
    """Linear weights that are whole steps are the same in eight bits: float32 then takes them so, and agrees with what holds them in full."""
    named = tiny_bundle.card.base
    tower = pull(named.id)
    arrays = load_file(tower.tensors)
    for name, array in arrays.items():
        if ".layers." in name and array.ndim == 2:
            whole, step = rounded_weight(array)
            arrays[name] = whole * step[:, None]
    save_file(arrays, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((tower.folder / "config.json").read_bytes())
    base = named.model_copy(update={"id": str(tmp_path), "sha256": file_sha256(tmp_path / "model.safetensors")})
    bundle = in_eight_bits(replace(tiny_bundle, card=tiny_bundle.card.model_copy(update={"base": base})))
    assert lossless(bundle)
    runtime = open_runtime("openvino-int8-dynamic", bundle, threads=1)
    assert isinstance(runtime.exact(), OpenVinoExact)
    assert runtime.exact() is runtime.exact()
    np.testing.assert_allclose(runtime.exact().logits(views(4)), open_runtime("onnxruntime", bundle, threads=1).logits(views(4)), atol=1e-5, rtol=0)


def test_answers_are_kept_apart(opened):
    """A runtime that answers in a buffer of its own must not write over what it gave before."""
    for runtime in opened.values():
        first = runtime.logits(views(2, 0))
        before = first.copy()
        runtime.logits(views(2, 1))
        assert np.array_equal(first, before)


def test_unknown_runtime(tiny_bundle):
    with pytest.raises(ValueError, match=r"no runtime 'tensorrt'; there are onnxruntime, openvino, openvino-int8, openvino-int8-dynamic, torch"):
        open_runtime("tensorrt", tiny_bundle)


def test_int8_of_a_bundle_that_was_not_prepared(tiny_bundle):
    with pytest.raises(BundleError, match=r"does not say how to round to eight bits.*realgrain export"):
        open_runtime("openvino-int8", tiny_bundle)


@pytest.mark.parametrize(("name", "module", "extra"), [("torch", "torch", "train"), ("openvino", "openvino", "openvino")])
def test_library_missing(tiny_bundle, name, module, extra, run, tmp_path):
    code = f"import sys; sys.modules[{module!r}] = None\nfrom realgrain.detector.detect import load\nload(sys.argv[1], runtime={name!r})"
    found = run("-c", code, tiny_bundle.folder)
    assert f"BundleError: the runtime {name} needs `pip install realgrain[{extra}]`" in found.stderr.splitlines()[-1]


def test_openvino_sends_nothing_home(tiny_bundle, run):
    code = """
import socket, sys
def refuse(*arguments): raise AssertionError(f"it went to the network: {arguments}")
socket.socket.connect = socket.getaddrinfo = refuse
from realgrain.detector.detect import load
load(sys.argv[1], runtime="openvino")
assert "openvino" in sys.modules
print([name for name, module in sys.modules.items() if name.startswith("openvino_telemetry") and module is not None])
"""
    found = run("-c", code, tiny_bundle.folder)
    assert (found.stdout, found.returncode) == ("[]\n", 0), found.stderr


def test_openvino_leaves_signals_alone(tiny_bundle, run):
    told = f"""
import faulthandler, os, signal
faulthandler.enable()
signal.signal(signal.SIGUSR1, lambda *_: print("heard"))
from realgrain.detector.detect import load
first = load({str(tiny_bundle.folder)!r}, runtime="openvino", threads=1)
second = load({str(tiny_bundle.folder)!r}, runtime="openvino", threads=1)
del first
del second
os.kill(os.getpid(), signal.SIGUSR1)
"""
    done = run("-c", told)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def test_cores_are_those_that_the_process_may_use(run):
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system does not bind processes to processors")
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nfrom realgrain.detector.runtime import cores; print(cores())"
    assert run("-c", code).stdout == "1\n"
    assert cores() == len(os.sched_getaffinity(0))


@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.parametrize("block", [None, 10])
def test_agree_on_the_real_tower(tiny_bundle, real_home, block):
    base = BaseRef(id=DEFAULT_BASE, sha256=BASES[DEFAULT_BASE].sha256, config=pull(DEFAULT_BASE, offline=True).config())
    bundle = with_head(tiny_bundle, random_head(512 if block is None else 768), block=block, base=base)
    found = np.stack([open_runtime(name, bundle, offline=True).logits(views(3)) for name in F32])
    assert np.ptp(found, axis=0).max() < 1e-4
    assert np.ptp(found[0]) > 1e-2  # the views differ, so that agreeing means something
    assert set(RUNTIMES) - set(F32) == {"openvino-int8", "openvino-int8-dynamic"}
