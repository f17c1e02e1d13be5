import io
import json
from itertools import pairwise

import numpy as np
import pytest
import toy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import spearmanr

from realgrain.detector.bundle import Bundle
from realgrain.detector.detect import load
from realgrain.evidence.region_map import LEAST, LONGEST, draw, words
from realgrain.evidence.regions import BATCH, RESOLUTION, TIMES, Box, Regions, heat, judged, regions, tile_logits, tiling
from realgrain.faces.cli import main
from realgrain.picture.views import View, ViewSpec, make_views

SPEC = ViewSpec((View("crop", 32), View("resize", 32)))


def brightness(views: np.ndarray) -> np.ndarray:
    """A scorer that is easy to foresee."""
    return views.mean(axis=(1, 2, 3))


def halves(left: int, right: int, width: int = 256, height: int = 128) -> np.ndarray:
    pixels = np.full((height, width, 3), left, np.uint8)
    pixels[:, width // 2 :] = right
    return pixels


class TestTiling:
    @given(width=st.integers(1, 3000), height=st.integers(1, 3000), side=st.integers(1, 400), most=st.integers(1, 100))
    @example(width=1, height=1, side=224, most=1)
    @example(width=3000, height=1, side=1, most=1)
    @example(width=12_000, height=8000, side=224, most=64)
    @settings(max_examples=150, deadline=None)
    def test_covers_stays_inside_and_keeps_to_the_number(self, width, height, side, most):
        boxes = tiling(width, height, side, most)
        assert 1 <= len(boxes) <= most
        lefts, tops = sorted({box.left for box in boxes}), sorted({box.top for box in boxes})
        wide, high = boxes[0].width, boxes[0].height
        assert {(box.width, box.height) for box in boxes} == {(wide, high)}
        assert {(box.left, box.top) for box in boxes} == {(left, top) for left in lefts for top in tops}
        for starts, extent, length in ((lefts, wide, width), (tops, high, height)):
            assert (starts[0], starts[-1] + extent) == (0, length)
            assert all(b - a <= extent for a, b in pairwise(starts))
            assert extent >= min(side, length)

    def test_order_is_row_by_row_and_size_that_of_the_view_where_the_number_allows(self):
        boxes = tiling(448, 336, 224, 64)
        assert [(box.left, box.top) for box in boxes] == [(0, 0), (112, 0), (224, 0), (0, 112), (112, 112), (224, 112)]
        assert {(box.width, box.height) for box in boxes} == {(224, 224)}

    def test_fewer_tiles_overlap_less_then_grow(self):
        assert [len(tiling(448, 448, 224, most)) for most in (9, 8, 4, 1)] == [9, 4, 4, 1]
        assert tiling(448, 448, 224, 1) == [Box(left=0, top=0, width=448, height=448)]
        assert max(box.width for box in tiling(4000, 3000, 224, 64)) > 224

    @pytest.mark.parametrize("wrong", [(0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 0, 1), (1, 1, 1, 0)])
    def test_wrong_numbers(self, wrong):
        with pytest.raises(ValueError, match="at least 1"):
            tiling(*wrong)


class TestTileLogits:
    @given(width=st.integers(1, 90), height=st.integers(1, 90), seed=st.integers(0, 9))
    @settings(max_examples=40, deadline=None)
    def test_each_is_the_detector_on_that_part_alone(self, width, height, seed):
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        boxes = tiling(width, height, SPEC.size)
        alone = [
            brightness(make_views(np.ascontiguousarray(pixels[b.top : b.top + b.height, b.left : b.left + b.width]), SPEC)).mean(dtype=float)
            for b in boxes
        ]
        assert tile_logits(pixels, boxes, SPEC, brightness) == pytest.approx(alone, abs=1e-6)

    def test_equal_views_run_once_in_bounded_batches(self):
        ran = []

        def counting(views):
            ran.append(len(views))
            return brightness(views)

        pixels = toy.picture(1, fake=False, size=(160, 128))
        boxes = tiling(160, 128, SPEC.size)
        tile_logits(pixels, boxes, SPEC, counting)
        assert sum(ran) == len(boxes)  # crop and resize of a tile of the view's size are the same square
        assert max(ran) <= BATCH

    def test_a_view_that_saves_its_square_again_is_another(self):
        spec = ViewSpec((View("crop", 32), View("crop", 32, quality=10)))
        pixels = toy.picture(1, fake=False, size=(32, 32))
        assert tile_logits(pixels, tiling(32, 32, 32), spec, brightness)[0] == pytest.approx(brightness(make_views(pixels, spec)).mean(dtype=float))


class TestRegions:
    def test_points_to_the_brighter_half(self):
        found = regions(halves(60, 200), SPEC, brightness)
        assert found.localised
        field = heat(found, found.width, found.height)
        assert field[:, :100].max() < field[:, 156:].min()
        assert [tile.box for tile in found.tiles] == tiling(256, 128, 32)

    def test_an_even_picture_is_not_localised(self):
        found = regions(halves(90, 90), SPEC, brightness)
        assert (found.spread, found.localised) == (pytest.approx(0, abs=1e-6), False)

    def test_a_single_tile_is_not_localised(self):
        found = regions(toy.picture(1, fake=True, size=(33, 20)), SPEC, brightness, most=1)
        assert (len(found.tiles), found.localised) == (1, False)

    def test_what_a_resave_undoes_is_not_localised(self):
        """Tiles that differ in nothing but what JPEG rounds away."""
        pixels = toy.picture(5, fake=False, size=(192, 192))

        def fine(views):  # the grain's last bit: any re-save draws it anew
            return (np.round(views * 1e4) % 7).mean(axis=(1, 2, 3)).astype(np.float32)

        assert not regions(pixels, SPEC, fine).localised

    @given(st.lists(st.floats(-9, 9), min_size=2, max_size=30), st.floats(0, 4))
    def test_the_rule(self, values, effect):
        logits = np.array(values)
        added = effect * (-1.0) ** np.arange(len(logits))
        boxes = [Box(left=0, top=0, width=1, height=1)] * len(logits)
        found = judged(1, 1, boxes, logits, logits + added)
        assert found.localised == (found.spread > max(TIMES * found.wobble, RESOLUTION))
        assert not judged(1, 1, boxes, logits, logits - logits * (1 / TIMES + 0.01)).localised
        assert judged(1, 1, boxes, logits, logits + 3).wobble == pytest.approx(0, abs=1e-9)  # the same for all tiles is no wobble

    @given(width=st.integers(1, 500), height=st.integers(1, 500), drawn=st.tuples(st.integers(1, 80), st.integers(1, 80)))
    @settings(max_examples=60, deadline=None)
    def test_heat_covers_every_cell(self, width, height, drawn):
        boxes = tiling(width, height, 64)
        logits = np.arange(len(boxes), dtype=float)
        field = heat(judged(width, height, boxes, logits, logits), *drawn)
        assert field.shape == drawn[::-1]
        assert np.isfinite(field).all()
        assert (field.min() >= 0) & (field.max() <= len(boxes) - 1)

    def test_it_is_deterministic_and_a_model_of_json(self, tiny_detector):
        pixels = toy.picture(3, fake=True, size=(150, 90))
        found, again = (regions(pixels, tiny_detector.bundle.card.views, tiny_detector.runtime.logits) for _ in range(2))
        assert found == again
        assert Regions.model_validate_json(found.model_dump_json()) == found


class TestSanity:
    """What a map must do that means anything (Adebayo et al. 2018)."""

    def test_another_head_another_map(self, tiny_detector, tiny_bundle, home):
        """With the head's weights in another order the order of the tiles changes."""
        head = {**tiny_bundle.head, "weight": np.random.default_rng(0).permutation(tiny_bundle.head["weight"])}
        shuffled = load(Bundle(tiny_bundle.folder, tiny_bundle.card, head, tiny_bundle.adapter, "shuffled"), threads=1)
        composite = np.concatenate([toy.picture(n, fake=bool(n % 2), size=(224, 224)) for n in range(4)], axis=1)
        maps = [
            [tile.logit for tile in regions(composite, detector.bundle.card.views, detector.runtime.logits).tiles]
            for detector in (tiny_detector, shuffled, tiny_detector)
        ]
        assert maps[0] == maps[2]
        assert spearmanr(maps[0], maps[1]).statistic < 0.9

    def test_points_to_the_generated_half(self, tiny_detector):
        """Better than chance: 12 composites of toy pictures, which the tiny detector tells apart."""
        right = 0
        for number in range(12):
            parts = [toy.picture(1000 + number, fake=fake, size=(224, 224)) for fake in (bool(number % 2), not number % 2)]
            found = regions(np.concatenate(parts, axis=1), tiny_detector.bundle.card.views, tiny_detector.runtime.logits)
            field = heat(found, found.width, found.height)
            right += (field[:, :224].mean() > field[:, 224:].mean()) == bool(number % 2)
        assert right >= 10  # by chance: 2 in 100


class TestMap:
    @pytest.fixture
    def sharp(self):
        pixels = halves(60, 200)
        return pixels, regions(pixels, SPEC, brightness)

    def open(self, data: bytes) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(data)))

    def test_colours_lines_and_numbers(self, sharp):
        drawn = self.open(draw(*sharp))
        left, right = drawn[5, 20].astype(int), drawn[5, -20].astype(int)
        assert left[2] > left[0]
        assert right[0] > right[2]
        assert len(np.unique(drawn[4:300].reshape(-1, 3), axis=0)) > 20

    def test_reads_without_colour(self, sharp):
        """In grey the contour still stands between the halves: black and white side by side."""
        grey = np.asarray(Image.open(io.BytesIO(draw(*sharp))).convert("L")).astype(int)[2]
        middle = grey[len(grey) // 2 - 60 : len(grey) // 2 + 60]
        assert (middle.min(), middle.max()) == (0, 255)

    def test_a_flat_map_says_so_and_paints_nothing(self):
        pixels = halves(90, 90)
        found = regions(pixels, SPEC, brightness)
        assert words(found).startswith("Not localised")
        drawn = self.open(draw(pixels, found))
        assert (drawn[: LEAST // 2] == 90).all()

    def test_words_warn(self, sharp):
        assert "not proof" in words(sharp[1])

    @given(width=st.integers(1, 1500), height=st.integers(1, 300))
    @example(width=1, height=1)
    @example(width=1500, height=2)
    @settings(max_examples=10, deadline=None)
    def test_any_size(self, width, height):
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        boxes = tiling(width, height, 224, 16)
        logits = np.linspace(-1, 1, len(boxes))
        found = judged(width, height, boxes, logits, logits)
        drawn = self.open(draw(pixels, found))
        assert drawn.shape[1] <= LONGEST
        assert drawn.shape[1] >= LEAST

    def test_of_another_picture(self, sharp):
        with pytest.raises(ValueError, match="256 x 128"):
            draw(sharp[0][:-1], sharp[1])

    def test_same_bytes(self, sharp):
        assert draw(*sharp) == draw(*sharp)
        other = sharp[1].model_copy(update={"localised": False})
        assert draw(sharp[0], other) != draw(*sharp)


class TestCommand:
    @pytest.fixture
    def picture(self, tmp_path):
        path = tmp_path / "picture.png"
        path.write_bytes(toy.saved(toy.picture(1, fake=True, size=(260, 230))))
        return path

    def test_map_and_json(self, picture, tiny_bundle, tiny_detector, tmp_path, capsys):
        target = tmp_path / "new" / "map.png"
        code = main(["regions", str(picture), "-o", str(target), "--json", "--bundle", str(tiny_bundle.folder), "--threads", "1", "--offline"])
        out, err = capsys.readouterr()
        found = Regions.model_validate(json.loads(out))
        expected = regions(np.asarray(Image.open(picture)), tiny_detector.bundle.card.views, tiny_detector.runtime.logits)
        assert (code, found) == (0, expected)
        assert words(found) in err
        with Image.open(target) as drawn:
            assert drawn.format == "PNG"
        assert [path.name for path in target.parent.iterdir()] == ["map.png"]

    @pytest.mark.parametrize("arguments", [(), ("--json", "--most", "0"), ("-o",)])
    def test_wrong_usage(self, picture, arguments, capsys):
        assert main(["regions", str(picture), *arguments]) == 2
        assert capsys.readouterr().err

    @pytest.mark.parametrize(("name", "why"), [("picture.png", "is what this is made from"), ("map.jpg", "a map is a .png file")])
    def test_output_that_would_not_do(self, picture, name, why, tmp_path, capsys):
        before = picture.read_bytes()
        assert main(["regions", str(picture), "-o", str(tmp_path / name)]) == 2
        assert why in capsys.readouterr().err
        assert picture.read_bytes() == before and list(tmp_path.iterdir()) == [picture]

    def test_no_picture(self, tmp_path, capsys):
        (tmp_path / "x.jpg").write_bytes(b"no picture")
        assert main(["regions", str(tmp_path / "x.jpg"), "--json"]) == 2
        assert "x.jpg" in capsys.readouterr().err
