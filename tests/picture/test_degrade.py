import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from realgrain.picture import degrade
from realgrain.picture.degrade import Augmentation, augment
from realgrain.picture.views import extended


def photo(height: int = 240, width: int = 320) -> np.ndarray:
    """Smooth shapes with some noise, read-only."""
    y, x = np.mgrid[:height, :width]
    base = np.stack([x * 200 / width, y * 200 / height, 100 + 60 * np.sin(x / 9) * np.cos(y / 7)], axis=2)
    pixels = np.clip(base + np.random.default_rng(0).normal(0, 4, base.shape), 0, 255).astype(np.uint8)
    pixels.setflags(write=False)
    return pixels


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


class TestParts:
    def test_jpeg_is_pillows(self):
        import io

        file = io.BytesIO()
        Image.fromarray(photo()).save(file, "JPEG", quality=70, subsampling=0)
        assert np.array_equal(degrade.jpeg(photo(), 70, 0), np.asarray(Image.open(file)))
        assert not np.array_equal(degrade.jpeg(photo(), 70, 0), degrade.jpeg(photo(), 70))

    @pytest.mark.parametrize("quality", [0, 101, -5])
    def test_quality_is_checked(self, quality):
        for codec in (degrade.jpeg, degrade.webp):
            with pytest.raises(ValueError, match="quality"):
                codec(photo(), quality)

    @given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 120))
    @settings(deadline=None)
    def test_resize_only_shrinks(self, height, width, longest):
        pixels = photo(height, width)
        small = degrade.resize(pixels, longest)
        if longest >= max(height, width):
            assert small is pixels
        else:
            assert max(small.shape[:2]) == longest

    @given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 120))
    @settings(deadline=None)
    def test_shorter_only_shrinks(self, height, width, side):
        pixels = photo(height, width)
        small = degrade.shorter(pixels, side)
        if side >= min(height, width):
            assert small is pixels
        else:
            assert min(small.shape[:2]) == side
            assert abs(max(small.shape[:2]) - side * max(height, width) / min(height, width)) <= 0.5

    @given(st.integers(1, 60), st.integers(1, 60), st.floats(0.05, 3))
    @settings(deadline=None)
    def test_resampled_keeps_the_size(self, height, width, factor):
        assert degrade.resampled(photo(height, width), factor).shape == (height, width, 3)

    def test_resampled_loses_detail(self):
        board = np.indices((64, 64)).sum(axis=0)[..., None].repeat(3, axis=2) % 2 * np.uint8(255)
        assert degrade.resampled(board.astype(np.uint8), 0.5).std() < 20 < board.std()

    def test_noise_has_its_size(self):
        flat = np.full((200, 200, 3), 128, np.uint8)
        noisy = degrade.noise(flat, 5, rng())
        assert abs(noisy.std() - 5) < 0.1
        assert abs(noisy.mean() - 128) < 0.1
        assert np.array_equal(noisy, degrade.noise(flat, 5, rng()))
        assert np.array_equal(degrade.noise(flat, 0, rng()), flat)
        assert degrade.noise(np.full((50, 50, 3), 255, np.uint8), 9, rng()).min() > 200  # clipped, not wrapped

    def test_crop(self):
        pixels = photo(100, 200)
        assert np.array_equal(degrade.crop(pixels, 0.5), pixels[25:75, 50:150])
        assert np.array_equal(degrade.crop(pixels, 1), pixels)
        assert degrade.crop(pixels, 0.8, rng()).shape == (80, 160, 3)
        assert np.array_equal(degrade.crop(pixels, 0.8, rng(1)), degrade.crop(pixels, 0.8, rng(1)))
        for fraction in (0, 1.1):
            with pytest.raises(ValueError, match="fraction"):
                degrade.crop(pixels, fraction)

    @given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 80), st.integers(0, 2**32))
    @settings(deadline=None)
    def test_square_is_a_piece(self, height, width, side, seed):
        pixels = photo(height, width)
        found = degrade.square(pixels, side, rng(seed))
        assert found.shape == (side, side, 3)
        assert np.array_equal(found, degrade.square(pixels, side, rng(seed)))
        inside = np.lib.stride_tricks.sliding_window_view(extended(pixels, side), (side, side), axis=(0, 1))
        assert (inside == np.moveaxis(found, 2, 0)[None, None]).all(axis=(2, 3, 4)).any()

    def test_square_comes_from_anywhere(self):
        pixels = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
        generator = rng()
        corners = {int(degrade.square(pixels, 3, generator)[0, 0, 0]) for _ in range(200)}
        assert corners == {int(pixels[top, left, 0]) for top in range(3) for left in range(2)}

    @pytest.mark.parametrize(("codec", "longest"), [(degrade.jpeg, 65_488), (degrade.webp, 16_368)])
    @pytest.mark.parametrize("axis", [0, 1])
    def test_a_picture_too_long_for_a_codec_is_coded_in_pieces(self, codec, longest, axis):
        pixels = np.random.default_rng(0).integers(0, 256, (longest + 40, 32, 3), np.uint8)
        pixels = pixels if axis == 0 else np.ascontiguousarray(pixels.swapaxes(0, 1))
        coded = codec(pixels, 80)
        first, rest = np.split(pixels, [longest], axis)
        assert np.array_equal(coded, np.concatenate([codec(first, 80), codec(rest, 80)], axis))

    def test_flip_twice_is_nothing(self):
        assert np.array_equal(degrade.flip(degrade.flip(photo())), photo())
        assert not np.array_equal(degrade.flip(photo()), photo())

    def test_bad_factors(self):
        for wrong in (0, -1, float("nan"), float("inf")):
            with pytest.raises(ValueError, match="factor"):
                degrade.scale(photo(), wrong)
        with pytest.raises(ValueError, match="longest"):
            degrade.resize(photo(), 0)
        with pytest.raises(ValueError, match="side"):
            degrade.shorter(photo(), 0)


class TestAugment:
    @given(st.integers(0, 2**32), st.integers(32, 300), st.integers(32, 300))
    @settings(deadline=None, max_examples=40)
    def test_deterministic_and_bounded(self, seed, height, width):
        pixels = photo(height, width)
        law = Augmentation()
        once, twice = (augment(pixels, law, rng(seed)) for _ in range(2))
        assert np.array_equal(once, twice)
        assert once.dtype == np.uint8
        assert min(once.shape[:2]) >= min(law.min_side, height, width)
        assert max(once.shape[:2]) <= max(height, width)

    def test_nothing_where_nothing_is_likely(self):
        law = Augmentation(p_resize=0, p_blur=0, p_noise=0, p_codec=0, p_flip=0)
        assert np.array_equal(augment(photo(), law, rng()), photo())

    def test_a_law_without_squares_draws_what_it_drew_before_there_were_any(self):
        law = Augmentation(p_resize=0, p_blur=0, p_noise=1, p_codec=0, p_flip=0)
        expected = rng(5)
        expected.random(3)  # resize, blur, noise: whether
        sigma = expected.uniform(*law.noise_range)
        assert np.array_equal(augment(photo(), law, rng(5)), degrade.noise(photo(), sigma, expected))

    def test_a_square_first_then_the_rest(self):
        nothing = Augmentation(p_crop=1, crop_size=64, p_resize=0, p_blur=0, p_noise=0, p_codec=0, p_flip=0)
        generator = rng(3)
        generator.random()
        assert np.array_equal(augment(photo(90, 120), nothing, rng(3)), degrade.square(photo(90, 120), 64, generator))
        shrunk = dataclasses.replace(nothing, p_resize=1, scale_range=(0.5, 0.5), min_side=32)
        assert augment(photo(90, 120), shrunk, rng()).shape == (32, 32, 3)
        assert augment(photo(20, 20), nothing, rng()).shape == (64, 64, 3)

    def test_each_step_alone(self):
        nothing = Augmentation(p_resize=0, p_blur=0, p_noise=0, p_codec=0, p_flip=0)
        assert np.array_equal(augment(photo(), dataclasses.replace(nothing, p_flip=1), rng()), photo()[:, ::-1])
        small = augment(photo(400, 500), dataclasses.replace(nothing, p_resize=1, scale_range=(0.5, 0.5)), rng())
        assert small.shape == (200, 250, 3)
        for step in ("p_blur", "p_noise", "p_codec"):
            changed = augment(photo(), dataclasses.replace(nothing, **{step: 1}), rng())
            assert not np.array_equal(changed, photo())
        skipped = augment(photo(200, 200), dataclasses.replace(nothing, p_resize=1, scale_range=(0.5, 0.5)), rng())
        assert np.array_equal(skipped, photo(200, 200))

    @given(st.integers(0, 2**32), st.integers(32, 700), st.integers(32, 700))
    @settings(deadline=None, max_examples=30)
    def test_one_law_of_sizes(self, seed, height, width):
        """Larger pictures come to a shorter side within the range, smaller ones stay."""
        law = Augmentation(short_side=(100, 140), p_resize=0, p_blur=0, p_noise=0, p_codec=0, p_flip=0)
        found = augment(photo(height, width), law, rng(seed))
        assert min(100, height, width) <= min(found.shape[:2]) <= 140 or found.shape == (height, width, 3)
        assert abs(found.shape[0] * width - found.shape[1] * height) <= max(height, width)  # the shape is kept, to a pixel
        if max(height, width) <= 100:
            assert np.array_equal(found, photo(height, width))

    def test_sizes_are_spread_over_the_range(self):
        law = Augmentation(short_side=(100, 140), p_resize=0, p_blur=0, p_noise=0, p_codec=0, p_flip=0)
        sides = {min(augment(photo(300, 400), law, rng(seed)).shape[:2]) for seed in range(60)}
        assert len(sides) > 15

    @pytest.mark.parametrize("wrong", [(0, 5), (9, 8)])
    def test_a_wrong_range_of_sizes_is_refused(self, wrong):
        with pytest.raises(ValueError, match="short_side"):
            Augmentation(short_side=wrong)

    def test_law_is_kept(self, monkeypatch):
        """Count what many draws do, without doing it."""
        seen: dict[str, list] = {"jpeg": [], "webp": [], "scale": [], "blur": [], "noise": [], "flip": []}
        for name in seen:
            monkeypatch.setattr(degrade, name, lambda pixels, *more, name=name, **named: (seen[name].append((more, named)), pixels)[1])
        generator, pixels, n = rng(), photo(500, 500), 4000
        for _ in range(n):
            augment(pixels, Augmentation(), generator)
        shares = {name: len(calls) / n for name, calls in seen.items()}
        expected = {"jpeg": 0.9 * 0.75, "webp": 0.9 * 0.25, "scale": 0.7, "blur": 0.15, "noise": 0.1, "flip": 0.5}
        assert all(abs(shares[name] - share) < 0.03 for name, share in expected.items()), shares
        qualities = [more[0] for more, _ in seen["jpeg"]]
        assert (min(qualities), max(qualities)) == (35, 96)
        assert {named["subsampling"] for _, named in seen["jpeg"]} == {0, 2}
        assert {more[0] for more, _ in seen["webp"]} == set(range(40, 96))
        factors = np.log([more[0] for more, _ in seen["scale"]])
        assert abs(np.median(factors) - np.log(0.4) / 2) < 0.03
        assert {more[1] for more, _ in seen["scale"]} == set(degrade.KERNELS)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"p_flip": 1.5},
            {"p_blur": -0.1},
            {"jpeg_range": (0, 50)},
            {"scale_range": (0.9, 0.4)},
            {"scale_range": (0.5, 2)},
            {"p_crop": 2},
            {"crop_size": 0},
        ],
    )
    def test_impossible_laws(self, wrong):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Augmentation(**wrong)
