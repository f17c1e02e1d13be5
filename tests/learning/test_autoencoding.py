import hashlib

import numpy as np
import pytest
import torch
from toy import picture, saved

from realgrain.learning import autoencoding
from realgrain.learning.autoencoder import DESIGNS
from realgrain.picture.image import PictureError


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(autoencoding, "CROP", 40)
    monkeypatch.setattr(autoencoding, "CROPS", 40)
    monkeypatch.setattr(autoencoding, "BATCH", 4)


@pytest.fixture
def files(tmp_path):
    found = []
    for seed, size in enumerate([(100, 80), (64, 40), (36, 33)]):
        found.append(tmp_path / f"{seed}.png")
        found[-1].write_bytes(saved(picture(seed, fake=False, size=size)))
    return found, [hashlib.sha256(path.read_bytes()).hexdigest() for path in found]


def fit(name, cut, steps=3, seed=0):
    return autoencoding.fit(DESIGNS[name], cut, steps=steps, seed=seed, bf16=False)


class TestCrops:
    def test_are_windows_of_the_photographs(self, small, files):
        found = autoencoding.crops(*files, seed=0)
        assert found.shape == (42, 40, 40, 3) and found.dtype == np.uint8
        windows = np.lib.stride_tricks.sliding_window_view(picture(0, fake=False, size=(100, 80)), (40, 40, 3))
        for crop in found[:14]:
            assert (windows == crop).all((3, 4, 5)).any()
        assert len({crop.tobytes() for crop in found[:14]}) > 7

    def test_small_photographs_are_mirrored(self, small, files):
        crop, pixels = autoencoding.crops(*files, seed=0)[-1], picture(2, fake=False, size=(36, 33))
        assert np.array_equal(crop[:33, :36], pixels)
        assert np.array_equal(crop[33:, :36], pixels[-2:-9:-1])

    def test_depend_on_bytes_and_seed_alone(self, small, files):
        first = autoencoding.crops(*files, seed=0)
        backwards = autoencoding.crops(files[0][::-1], files[1][::-1], seed=0)
        assert np.array_equal(first[:14], backwards[-14:])
        assert not np.array_equal(first, autoencoding.crops(*files, seed=1))

    def test_photograph_that_does_not_open(self, small, files):
        files[0][1].write_bytes(b"nothing")
        with pytest.raises(PictureError):
            autoencoding.crops(*files, seed=0)


class TestFit:
    @pytest.mark.parametrize("name", DESIGNS)
    def test_loss_falls(self, small, name):
        pixels = picture(0, fake=True, size=(160, 160))  # areas and edges, not grain that nobody can guess
        _, losses = fit(name, np.stack([pixels[start : start + 40, start : start + 40] for start in range(0, 120, 5)]), steps=60)
        assert len(losses) == 60 and np.isfinite(losses).all()
        assert np.mean(losses[-10:]) < 0.75 * np.mean(losses[:10])

    @pytest.mark.parametrize("name", ["nearest-kl", "shuffle-vq"])
    def test_same_seed_same_weights(self, small, files, name):
        cut = autoencoding.crops(*files, seed=0)
        first, again, other = (fit(name, cut, seed=seed)[0].state_dict() for seed in (0, 0, 1))
        assert all(torch.equal(values, again[key]) for key, values in first.items())
        assert not all(torch.equal(values, other[key]) for key, values in first.items())

    def test_leaves_others_draws_alone(self, small, files):
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        fit("nearest-kl", autoencoding.crops(*files, seed=0))
        assert torch.equal(torch.rand(3), expected)

    def test_ends_in_evaluation_mode(self, small, files):
        model, _ = fit("shuffle-vq", autoencoding.crops(*files, seed=0), steps=1)
        assert not any(part.training for part in model.modules())


class TestLoss:
    def views(self, seed=0):
        return torch.from_numpy(picture(seed, fake=False, size=(48, 48))).permute(2, 0, 1)[None].float() / 127.5 - 1

    def test_is_0_for_the_same_alone(self):
        pixels = self.views()
        assert autoencoding.loss(pixels, pixels) == 0
        assert autoencoding.loss(pixels + 0.1, pixels) == pytest.approx(0.1, rel=1e-4)

    def test_missing_grain_costs_more_than_other_grain(self, monkeypatch):
        """Which a mean error of pixels and slopes has the other way round."""
        draw = torch.Generator().manual_seed(0)
        pixels, other = (0.2 * torch.randn(1, 3, 48, 48, generator=draw) for _ in range(2))
        blur = torch.zeros_like(pixels)
        monkeypatch.setattr(autoencoding, "GRAIN", 0.0)
        assert autoencoding.loss(blur, pixels) < autoencoding.loss(other, pixels)
        pooled = [autoencoding.loss(values, pixels) for values in (blur, other)]
        monkeypatch.undo()
        extra = [autoencoding.loss(values, pixels) - before for values, before in zip((blur, other), pooled, strict=True)]
        assert extra[0] > 5 * extra[1] > 0
