import itertools
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import BaseModel, ValidationError

from realgrain.learning.masking import Masking, fill_patches, hidden_patches, kept_tokens, luminance, texture_diversity
from realgrain.picture.views import CLIP_MEAN, CLIP_STD, View, ViewSpec, make_views

PATCH = 16
SIDE = 96  # 6 x 6 patches
PATCHES = (SIDE // PATCH) ** 2
NORMAL = CLIP_MEAN, CLIP_STD
KINDS = ["random", "texture", "low_texture", "soft"]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noisy(count=1, side=SIDE, seed=0):
    """Pictures (count, side, side, 3) uint8 of noise."""
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def viewed(pictures):
    """Views (N, 3, H, W) of square pictures, which show them whole."""
    spec = ViewSpec((View("crop", pictures.shape[1]),))
    return torch.from_numpy(np.concatenate([make_views(picture, spec) for picture in pictures]))


def half_noisy(count=1):
    """Luminance whose upper half is noise, each patch another, and whose lower half is a faint slope; and which patches are noise (PATCHES,)."""
    slope = torch.arange(SIDE).div(8, rounding_mode="floor").float().expand(count, SIDE, SIDE).clone()
    slope[:, : SIDE // 2] = torch.randint(0, 256, (count, SIDE // 2, SIDE), generator=seeded(5)).float()
    return slope, torch.arange(PATCHES) < PATCHES // 2


def slow_diversity(grey, patch):
    """Texture diversity in plain loops."""
    height, width = len(grey), len(grey[0])
    found = []
    for top, left in itertools.product(range(0, height - patch + 1, patch), range(0, width - patch + 1, patch)):
        total = 0
        for y, x in itertools.product(range(patch), range(patch)):
            for down, along in ((0, 1), (1, 0), (1, 1), (1, -1)):
                if y + down < patch and 0 <= x + along < patch:
                    total += abs(int(grey[top + y][left + x]) - int(grey[top + y + down][left + x + along]))
        found.append(total)
    return found


class TestLuminance:
    def test_is_that_of_pillow(self):
        pictures = noisy(2)
        expected = np.stack([np.asarray(Image.fromarray(picture).convert("L")) for picture in pictures])
        np.testing.assert_array_equal(luminance(viewed(pictures), *NORMAL).numpy(), expected)

    def test_holds_what_8_bits_hold(self):
        views = torch.tensor([-100.0, 100.0]).view(2, 1, 1, 1).expand(2, 3, 4, 4)
        assert luminance(views, *NORMAL).flatten(1).unique(dim=1).flatten().tolist() == [0, 255]

    def test_refuses_other_shapes(self):
        with pytest.raises(ValueError, match=r"\(N, 3, H, W\)"):
            luminance(torch.zeros(2, 1, 8, 8), *NORMAL)


class TestTextureDiversity:
    @settings(max_examples=60, deadline=None)
    @given(patch=st.integers(1, 5), height=st.integers(5, 11), width=st.integers(5, 11), levels=st.sampled_from([2, 256]), seed=st.integers(0, 999))
    def test_is_that_of_plain_loops(self, patch, height, width, levels, seed):
        grey = torch.randint(0, levels, (2, height, width), generator=seeded(seed)).float()
        found = texture_diversity(grey, patch)
        assert found.shape == (2, (height // patch) * (width // patch))
        assert found.tolist() == [slow_diversity(one.tolist(), patch) for one in grey]

    @pytest.mark.parametrize(("y", "x"), [(slice(None), 8), (8, slice(None))])
    def test_a_step_between_two_patches_is_in_neither(self, y, x):
        grey = torch.zeros(1, 16, 16)
        grey[0, y if isinstance(y, slice) else slice(y, None), x if isinstance(x, slice) else slice(x, None)] = 255
        assert texture_diversity(grey, 8).sum() == 0

    def test_sums_the_largest_patch_exactly(self):
        board = ((torch.arange(128)[:, None] + torch.arange(128)) % 2 * 255).float()[None]
        assert texture_diversity(board, 128).item() == 2 * 127 * 128 * 255
        stripes = board[:, :1].expand(1, 128, 128)
        assert texture_diversity(stripes, 128).item() == (127 * 128 + 2 * 127 * 127) * 255

    @pytest.mark.parametrize("patch", [0, -1, 9])
    def test_refuses_patches_that_do_not_fit(self, patch):
        with pytest.raises(ValueError, match="do not fit into 8 x 12"):
            texture_diversity(torch.zeros(1, 8, 12), patch)

    def test_refuses_other_shapes(self):
        with pytest.raises(ValueError, match=r"\(N, H, W\)"):
            texture_diversity(torch.zeros(1, 3, 8, 8), 4)


class TestHiddenPatches:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize(("ratio", "count"), [(0.1, 3), (0.25, 9), (0.5, 18), (0.99, 35)])
    def test_are_as_many_as_asked(self, kind, ratio, count):
        grey = torch.stack([torch.full((SIDE, SIDE), 7.0), half_noisy()[0][0], luminance(viewed(noisy()), *NORMAL)[0]])
        hidden = hidden_patches(grey, Masking(kind, ratio), PATCH, seeded())
        assert hidden.dtype == torch.bool
        assert hidden.sum(1).tolist() == [count] * 3

    @pytest.mark.parametrize("kind", KINDS)
    def test_of_an_even_picture_are_drawn_by_lot(self, kind):
        hidden = hidden_patches(torch.full((4000, 24, 24), 9.0), Masking(kind, 0.5), 8, seeded())
        assert hidden.sum(1).unique().tolist() == [4]
        torch.testing.assert_close(hidden.float().mean(0), torch.full((9,), 4 / 9), atol=0.04, rtol=0)

    def test_by_texture_are_the_noisy_half(self):
        grey, noise = half_noisy(3)
        assert (hidden_patches(grey, Masking("texture"), PATCH, seeded()) == noise).all()
        assert (hidden_patches(grey, Masking("low_texture"), PATCH, seeded()) == ~noise).all()

    @pytest.mark.parametrize("kind", ["texture", "low_texture"])
    def test_by_texture_are_the_first_of_its_order(self, kind):
        grey = luminance(viewed(noisy()), *NORMAL)
        order = texture_diversity(grey, PATCH)[0].argsort(descending=kind == "texture")
        hidden = hidden_patches(grey, Masking(kind, 0.25), PATCH, seeded())[0]
        assert set(hidden.nonzero().flatten().tolist()) == set(order[: PATCHES // 4].tolist())

    def test_at_random_do_not_look_at_the_picture(self):
        grey, _ = half_noisy(8)
        masking = Masking("random")
        assert torch.equal(hidden_patches(grey, masking, PATCH, seeded()), hidden_patches(grey.flip(1), masking, PATCH, seeded()))

    def test_soft_are_between_random_and_texture(self):
        grey, noise = half_noisy()
        grey = grey.expand(500, SIDE, SIDE)

        def share(masking):
            return hidden_patches(grey, masking, PATCH, seeded())[:, noise].float().mean().item()

        assert share(Masking("soft", power=0)) == pytest.approx(0.5, abs=0.02)
        assert 0.6 < share(Masking("soft", power=1)) < share(Masking("soft", power=2)) < 0.95
        assert share(Masking("soft", power=1e6)) == 1

    def test_soft_are_drawn_by_their_weights_without_replacement(self):
        grey = torch.zeros(20_000, 8, 4 * 8)
        grey[:, 0, 0::8] = torch.tensor([30.0, 10.0, 40.0, 20.0])  # ranks 3, 1, 4, 2
        hidden = hidden_patches(grey, Masking("soft", 0.5, power=2.0), 8, seeded())
        weight = np.array([9, 1, 16, 4]) / 30
        expected = [
            weight[i] + sum(weight[j] * weight[i] / (1 - weight[j]) for j in range(4) if j != i) for i in range(4)
        ]  # first, or second after another
        np.testing.assert_allclose(hidden.float().mean(0).numpy(), expected, atol=0.015)

    @pytest.mark.parametrize("kind", KINDS)
    def test_come_again_with_the_seed(self, kind):
        grey = torch.cat([half_noisy()[0], torch.zeros(3, SIDE, SIDE)])
        masking = Masking(kind, probability=0.8)
        first = hidden_patches(grey, masking, PATCH, seeded(3))
        assert torch.equal(first, hidden_patches(grey, masking, PATCH, seeded(3)))
        assert not torch.equal(first, hidden_patches(grey, masking, PATCH, seeded(4)))

    @pytest.mark.parametrize("kind", KINDS)
    def test_draw_equally_many_numbers_whatever_the_pictures(self, kind):
        after = []
        for grey in (torch.zeros(2, SIDE, SIDE), half_noisy(2)[0]):
            generator = seeded()
            hidden_patches(grey, Masking(kind), PATCH, generator)
            after.append(generator.get_state())
        assert torch.equal(*after)

    @pytest.mark.parametrize("kind", ["texture", "low_texture"])
    def test_by_texture_do_not_depend_on_the_batch(self, kind):
        grey = luminance(viewed(noisy(9)), *NORMAL)
        together = hidden_patches(grey, Masking(kind, 0.4), PATCH, seeded())
        alone = torch.cat([hidden_patches(one[None], Masking(kind, 0.4), PATCH, seeded(7)) for one in grey])
        assert torch.equal(together, alone)

    @pytest.mark.parametrize("masking", [Masking(), Masking("texture", 0), Masking("random", 0.02), Masking("soft", probability=0)])
    def test_may_be_none(self, masking):
        hidden = hidden_patches(half_noisy(2)[0], masking, PATCH, seeded())
        assert hidden.shape == (2, PATCHES)
        assert not hidden.any()

    @pytest.mark.parametrize("fill", ["mean", "black"])
    def test_are_there_as_often_as_asked(self, fill):
        count = hidden_patches(torch.zeros(4000, 16, 16), Masking("random", 0.5, fill, 0.3), 8, seeded()).sum(1)
        assert count.unique().tolist() == [0, 2]
        assert (count > 0).float().mean().item() == pytest.approx(0.3, abs=0.03)

    def test_to_be_dropped_are_there_for_the_whole_batch_or_not_at_all(self):
        generator = seeded()
        masking = Masking("texture", fill="drop", probability=0.3)
        masked = []
        for _ in range(400):
            count = hidden_patches(torch.zeros(5, 16, 16), masking, 8, generator).sum(1).unique()
            assert len(count) == 1
            masked.append(count.item() > 0)
        assert np.mean(masked) == pytest.approx(0.3, abs=0.07)


class TestFillPatches:
    @pytest.fixture
    def hidden(self):
        return torch.rand(3, PATCHES, generator=seeded()) < 0.5

    @pytest.fixture
    def covered(self, hidden):
        """Hidden pixels (N, H, W), found one patch at a time."""
        pixels = np.zeros((3, SIDE, SIDE), bool)
        for picture, place in hidden.nonzero().tolist():
            top, left = (PATCH * at for at in divmod(place, SIDE // PATCH))
            pixels[picture, top : top + PATCH, left : left + PATCH] = True
        return pixels

    def test_with_black_is_as_blackened_pictures(self, hidden, covered):
        pictures = noisy(3)
        blackened = np.where(covered[..., None], np.uint8(0), pictures)
        assert torch.equal(fill_patches(viewed(pictures), hidden, PATCH, "black", *NORMAL), viewed(blackened))

    def test_with_the_mean_is_0(self, hidden, covered):
        views = viewed(noisy(3))
        before = views.clone()
        filled = fill_patches(views, hidden, PATCH, "mean", *NORMAL)
        assert torch.equal(filled, torch.where(torch.from_numpy(covered)[:, None], torch.zeros(()), views))
        assert torch.equal(views, before)

    def test_leaves_a_rest_that_is_no_patch(self):
        filled = fill_patches(torch.ones(1, 3, 21, 18), torch.ones(1, 4, dtype=torch.bool), 8, "mean", *NORMAL)
        assert not filled[..., :16, :16].any()
        assert filled.sum() == 3 * (21 * 18 - 16 * 16)

    def test_keeps_the_type(self):
        views = torch.ones(1, 3, 16, 16, dtype=torch.bfloat16)
        assert fill_patches(views, torch.ones(1, 4, dtype=torch.bool), 8, "black", *NORMAL).dtype == torch.bfloat16

    def test_lets_gradients_through_what_is_seen(self):
        views = torch.ones(1, 3, 8, 16, requires_grad=True)
        fill_patches(views, torch.tensor([[True, False]]), 8, "mean", *NORMAL).sum().backward()
        assert views.grad is not None
        assert views.grad.sum((0, 1, 2)).tolist() == [0] * 8 + [24] * 8

    @pytest.mark.parametrize(("views", "hidden"), [((2, 3, 16, 16), (1, 4)), ((1, 3, 16, 16), (1, 5)), ((1, 1, 16, 16), (1, 4))])
    def test_refuses_shapes_that_do_not_fit(self, views, hidden):
        with pytest.raises(ValueError, match="expected"):
            fill_patches(torch.zeros(views), torch.zeros(hidden, dtype=torch.bool), 8, "mean", *NORMAL)

    def test_refuses_to_paint_what_is_dropped(self):
        with pytest.raises(ValueError, match="no colour"):
            fill_patches(torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, dtype=torch.bool), 8, "drop", *NORMAL)


class TestKeptTokens:
    def test_are_the_visible_ones_in_order(self):
        hidden = torch.tensor([[True, False, False, True, False], [False, False, True, False, True]])
        kept = kept_tokens(hidden)
        assert kept.dtype == torch.int64
        assert kept.tolist() == [[1, 2, 4], [0, 1, 3]]

    def test_are_all_where_nothing_is_hidden(self):
        assert kept_tokens(torch.zeros(2, 3, dtype=torch.bool)).tolist() == [[0, 1, 2]] * 2

    @pytest.mark.parametrize("hidden", [[[True, False], [False, False]], np.zeros((0, 4), bool)])
    def test_must_be_equally_many(self, hidden):
        with pytest.raises(ValueError, match="equally many"):
            kept_tokens(torch.as_tensor(hidden))

    def test_with_a_probability_there_is_always_a_batch(self):
        masking, generator = Masking("soft", fill="drop", probability=0.5), seeded()
        sizes = {kept_tokens(hidden_patches(half_noisy(4)[0], masking, PATCH, generator)).shape for _ in range(20)}
        assert sizes == {(4, PATCHES), (4, PATCHES // 2)}


class TestMasking:
    WRONG = (
        {"kind": "edges"},
        {"fill": "white"},
        {"ratio": 1.0},
        {"ratio": -0.1},
        {"ratio": float("nan")},
        {"probability": 1.1},
        {"probability": -0.1},
        {"power": -1.0},
        {"power": float("inf")},
        {"power": float("nan")},
    )

    @pytest.mark.parametrize("settings", WRONG, ids=str)
    def test_refuses_what_is_out_of_range(self, settings):
        with pytest.raises(ValueError, match=next(iter(settings))):
            Masking(**settings)

    @pytest.mark.parametrize("settings", WRONG, ids=str)
    def test_so_does_a_recipe(self, settings):
        class Recipe(BaseModel):
            masking: Masking = Masking()

        with pytest.raises(ValidationError):
            Recipe.model_validate({"masking": settings})

    def test_comes_back_from_a_recipe(self):
        class Recipe(BaseModel):
            masking: Masking = Masking()

        recipe = Recipe(masking=Masking("soft", 0.75, "drop", 0.5, 3.0))
        assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
        assert all(getattr(recipe.masking, field.name) != field.default for field in fields(Masking))
