"""Straight borders, on pictures that are drawn here."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realgrain.picture.borders import straight_borders
from realgrain.picture.conditions import condition


def grain(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def window(height=640, width=640, box=(120, 120, 520, 520), back=250):
    """A page with something grainy in a box: left, top, right, bottom."""
    page = np.full((height, width, 3), back, np.uint8)
    left, top, right, bottom = box
    page[top:bottom, left:right] = grain(bottom - top, right - left)
    return page


class TestLength:
    def test_of_a_window(self):
        assert straight_borders(window()) == pytest.approx(2 * 400 / 640)

    def test_of_a_strip_alone(self):
        assert straight_borders(window(box=(0, 320, 640, 640))) == 1  # a horizon, as it were: one border from side to side

    def test_of_bars_above_and_below(self):
        assert straight_borders(window(box=(0, 160, 640, 480))) == 2

    def test_by_the_longer_side(self):
        assert straight_borders(window(320, 640, (120, 60, 520, 260))) == pytest.approx(2 * 400 / 640)

    @pytest.mark.parametrize("pixels", [grain(500, 400), np.full((500, 400, 3), 9, np.uint8)])
    def test_none(self, pixels):
        assert straight_borders(pixels) == 0

    def test_an_area_of_two_colours_is_two(self):
        page = window(box=(0, 320, 640, 640))
        page[:, 320:][page[:, 320:] == 250] = 200
        assert straight_borders(page) == 0.5  # the longest above; there is none of another kind

    def test_what_varies_by_more_than_two_levels_is_not_even(self):
        for levels, found in ((3, 1.0), (4, 0.0)):
            page = window(box=(0, 320, 640, 640))
            page[:320] = 250 - np.random.default_rng(0).integers(0, levels, (320, 640, 3), dtype=np.uint8)
            assert straight_borders(page) == found

    @pytest.mark.parametrize("delivery", ["clean", "web", "hard"])
    def test_survives_delivery(self, delivery):
        assert straight_borders(condition(delivery)(window(1200, 900, (150, 300, 750, 900)))) > 0.7

    @settings(deadline=None, max_examples=50)
    @given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 9))
    def test_of_any_size(self, height, width, seed):
        pixels = np.random.default_rng(seed).choice([0, 255], (height // 9 + 1, width // 9 + 1, 3)).astype(np.uint8).repeat(9, 0).repeat(9, 1)
        found = straight_borders(pixels[:height, :width])
        assert 0 <= found <= 2

    @settings(deadline=None, max_examples=25)
    @given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 99))
    def test_is_the_same_turned_and_mirrored(self, rows, columns, seed):
        """Of whole cells."""
        rng = np.random.default_rng(seed)
        pixels = rng.integers(0, 2, (rows, columns, 1), dtype=np.uint8).repeat(3, 2).repeat(8, 0).repeat(8, 1) * grain(rows * 8, columns * 8, seed)
        found = straight_borders(pixels)
        assert {straight_borders(np.rot90(pixels)), straight_borders(pixels[:, ::-1]), straight_borders(pixels.transpose(1, 0, 2))} == {found}
