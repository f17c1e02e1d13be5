import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from realgrain.detector.weights import home as realgrain_home
from realgrain.learning import backbone, features
from realgrain.learning.data import Sample
from realgrain.learning.features import Delivery, Extractor
from realgrain.picture.conditions import condition
from realgrain.picture.degrade import Augmentation
from realgrain.picture.image import open_picture
from realgrain.picture.views import View, ViewSpec, make_views

HALF = 1e-3  # relative error of a feature kept in half precision, rounded up


@pytest.fixture
def extractor(tiny_tower, home):
    return Extractor(tiny_tower, ViewSpec((View("crop"), View("resize"))), None, False)


@pytest.fixture(scope="session")
def some(toy_pictures):
    """Samples and their files' sha256; more than a batch, and no multiple of it."""
    chosen = toy_pictures[:: len(toy_pictures) // 11]
    assert len(chosen) % features.BATCH != 0 and len(chosen) > features.BATCH
    samples = [Sample(path=path.name, file=path, label="real") for path in chosen]
    return samples, [hashlib.sha256(path.read_bytes()).hexdigest() for path in chosen]


CLEAN = Delivery("clean")


def extract(extractor, some, delivery=CLEAN):
    return extractor.extract(*some, delivery, quiet=True)


def shards():
    return sorted((realgrain_home() / "features").iterdir())


def forbid_the_tower(monkeypatch):
    monkeypatch.setattr(backbone, "load_tower", lambda tower: pytest.fail("the tower was loaded"))


class TestValues:
    @pytest.mark.parametrize("block", [None, 1, 3])
    def test_are_the_towers(self, extractor, some, tiny_tower, block):
        found = extract(replace(extractor, block=block), some)
        model = backbone.load_tower(tiny_tower)
        for sample, values in zip(some[0], found, strict=True):
            views = torch.from_numpy(make_views(open_picture(sample.file).pixels, extractor.views))
            with torch.inference_mode():
                out = model(views, output_hidden_states=True)
            expected = out.image_embeds if block is None else out.hidden_states[block][:, 0]
            np.testing.assert_allclose(values, expected.numpy(), rtol=HALF, atol=HALF)
        assert found.shape == (len(some[0]), 2, 24 if block is None else 32)
        assert found.dtype == np.float32

    def test_do_not_depend_on_order_or_neighbours(self, extractor, some):
        found = extract(extractor, some)
        backwards = extract(extractor, (some[0][::-1], some[1][::-1]))
        alone = np.concatenate([extract(extractor, ([sample], [sha256])) for sample, sha256 in zip(*some, strict=True)])
        np.testing.assert_allclose(backwards[::-1], found, rtol=HALF, atol=HALF)
        np.testing.assert_allclose(alone, found, rtol=HALF, atol=HALF)

    def test_shards_are_put_together_in_order(self, extractor, some, monkeypatch):
        whole = extract(extractor, some)
        monkeypatch.setattr(features, "SHARD", 3)
        np.testing.assert_allclose(extract(extractor, some), whole, rtol=HALF, atol=HALF)
        assert len(shards()) == 1 + -(-len(some[0]) // 3)

    def test_condition(self, extractor, some, tiny_tower):
        found = extract(extractor, some, Delivery("hard"))
        views = make_views(condition("hard")(open_picture(some[0][0].file).pixels), extractor.views)
        tokens, embeddings = backbone.taps(backbone.load_tower(tiny_tower), torch.from_numpy(views), bf16=False)
        assert tokens.shape == (2, 3, 32)
        np.testing.assert_allclose(found[0], embeddings.numpy(), rtol=HALF, atol=HALF)
        assert np.abs(found - extract(extractor, some)).max() > 10 * HALF

    def test_bf16_is_near(self, extractor, some):
        found, near = extract(extractor, some), extract(replace(extractor, bf16=True), some)
        assert 0 < np.abs(found - near).max() < 0.05 * np.abs(found).max()


class TestAugmentation:
    def test_depends_on_the_bytes_and_the_draw_alone(self, some, tmp_path):
        pixels, (first, second) = open_picture(some[0][0].file).pixels, some[1][:2]
        law = Augmentation()
        drawn = {(draw, sha256): Delivery("a", law, draw).apply(pixels, sha256).tobytes() for draw in range(3) for sha256 in (first, second)}
        assert len(set(drawn.values())) == 6
        assert all(Delivery("b", law, draw).apply(pixels, sha256).tobytes() == data for (draw, sha256), data in drawn.items())

    def test_neighbours_do_not_shift_the_draws(self, extractor, some):
        law = Delivery("augmented", Augmentation(), 1)
        whole, last = extract(extractor, some, law), extract(extractor, (some[0][-1:], some[1][-1:]), law)
        np.testing.assert_allclose(last[0], whole[-1], rtol=HALF, atol=HALF)


class TestCache:
    def test_second_run_does_not_load_the_tower(self, extractor, some, monkeypatch):
        first = extract(extractor, some)
        forbid_the_tower(monkeypatch)
        assert np.array_equal(extract(extractor, some), first)

    def test_nor_does_another_block(self, extractor, some, monkeypatch):
        extract(extractor, some)
        forbid_the_tower(monkeypatch)
        assert extract(replace(extractor, block=2), some).shape[2] == 32

    @pytest.mark.parametrize(
        "change",
        [
            lambda e: (replace(e, views=ViewSpec((View("resize"), View("crop")))), CLEAN),
            lambda e: (replace(e, bf16=True), CLEAN),
            lambda e: (replace(e, tower=replace(e.tower, sha256="0" * 64)), CLEAN),
            lambda e: (e, Delivery("web")),
            lambda e: (e, Delivery("clean", Augmentation())),
        ],
    )
    def test_whatever_matters_is_computed_anew(self, extractor, some, monkeypatch, change):
        extract(extractor, some)
        forbid_the_tower(monkeypatch)
        other, delivery = change(extractor)
        with pytest.raises(pytest.fail.Exception, match="the tower was loaded"):
            extract(other, some, delivery)

    def test_a_changed_picture_is_computed_anew(self, extractor, some, monkeypatch):
        extract(extractor, some)
        forbid_the_tower(monkeypatch)
        with pytest.raises(pytest.fail.Exception, match="the tower was loaded"):
            extract(extractor, (some[0], ["f" * 64, *some[1][1:]]))

    @pytest.mark.parametrize("moment", ["write", "rename"])
    def test_a_shard_is_whole_or_absent(self, extractor, some, monkeypatch, moment, home):
        def fails(*arguments, **options):
            raise OSError("no space left")

        with monkeypatch.context() as patch:
            if moment == "write":
                patch.setattr(np, "savez", fails)
            else:
                patch.setattr("pathlib.Path.replace", fails)
            with pytest.raises(OSError, match="no space left"):
                extract(extractor, some)
        assert [path for path in shards() if not path.name.startswith(".")] == []
        assert extract(extractor, some).shape[0] == len(some[0])

    def test_a_killed_run_resumes(self, extractor, some, monkeypatch):
        """What was finished before the run died is not computed again."""
        monkeypatch.setattr(features, "SHARD", 4)
        taps, runs = backbone.taps, []

        def dies(*arguments, **options):
            runs.append(1)
            if len(runs) == 3:
                raise KeyboardInterrupt
            return taps(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(backbone, "taps", dies)
            with pytest.raises(KeyboardInterrupt):
                extract(extractor, some)
        assert len(shards()) == 2
        patch_runs = []
        monkeypatch.setattr(backbone, "taps", lambda *a, **o: patch_runs.append(1) or taps(*a, **o))
        extract(extractor, some)
        assert len(patch_runs) == -(-len(some[0]) // 4) - 2
