import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from realgrain.picture.degrade import jpeg
from realgrain.picture.views import CLIP_MEAN, CLIP_STD, View, ViewSpec, make_views

MEAN, STD = (np.array(values, np.float32)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 10_007 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def restored(view: np.ndarray) -> np.ndarray:
    """The pixels, of which a view is the normalised form."""
    return np.rint((view * STD + MEAN) * 255).astype(np.uint8).transpose(1, 2, 0)


def only(pixels: np.ndarray, *views: View) -> np.ndarray:
    return make_views(pixels, ViewSpec(views))


@pytest.fixture(scope="module")
def oracle():
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    def process(pixels, size=224):
        processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
        return processor(Image.fromarray(pixels))["pixel_values"][0]

    return process


class TestQuality:
    @settings(deadline=None, max_examples=20)
    @given(st.integers(32, 400), st.integers(32, 400), st.sampled_from(["resize", "crop"]), st.integers(1, 100))
    def test_is_the_square_saved_as_jpeg(self, height, width, kind, quality):
        pixels = noise(height, width)
        square = restored(only(pixels, View(kind))[0])
        assert np.array_equal(restored(only(pixels, View(kind, quality=quality))[0]), jpeg(square, quality))

    def test_tiles_each_on_their_own(self):
        pixels = noise(500, 600)
        plain, saved = only(pixels, View("tiles", grid=2)), only(pixels, View("tiles", grid=2, quality=50))
        assert all(np.array_equal(restored(b), jpeg(restored(a), 50)) for a, b in zip(plain, saved, strict=True))

    @pytest.mark.parametrize("quality", [0, 101])
    def test_out_of_range(self, quality):
        with pytest.raises(ValueError, match="quality"):
            View("resize", quality=quality)


class TestResize:
    @pytest.mark.parametrize(
        "shape",
        [
            *[(32, 32), (33, 47), (224, 224), (223, 224), (225, 224), (224, 225), (480, 640), (640, 480), (1001, 37), (37, 1001)],
            *[(32, 3000), (3000, 32), (3000, 500), (1200, 1799), (32, 32 * 500), (32 * 500, 32), (250, 2501), (2501, 250)],
        ],
    )
    def test_is_clips_to_the_last_bit(self, oracle, shape):
        pixels = noise(*shape)
        expected = oracle(pixels)
        assert expected.dtype == np.float32
        assert np.array_equal(only(pixels, View("resize"))[0], expected)

    @settings(deadline=None, max_examples=40)
    @given(st.integers(32, 700), st.integers(32, 700), st.sampled_from([224, 336, 97]))
    def test_is_clips_for_any_size(self, oracle, height, width, size):
        pixels = noise(height, width)
        assert np.array_equal(only(pixels, View("resize", size))[0], oracle(pixels, size))

    @pytest.mark.parametrize("shape", [(32, 32 * 4000), (32 * 4000, 32)])
    def test_extreme_shapes_stay_small(self, shape):
        pixels = np.full((*shape, 3), 77, np.uint8)
        assert (restored(only(pixels, View("resize"))[0]) == 77).all()

    @pytest.mark.parametrize("turn", [False, True])
    def test_extreme_shapes_show_the_centre(self, turn):
        ramp = np.broadcast_to((np.arange(32 * 600) // 100).astype(np.uint8)[None, :, None], (32, 32 * 600, 3))
        view = restored(only(np.ascontiguousarray(ramp.transpose(1, 0, 2) if turn else ramp), View("resize"))[0])
        assert abs(int(view[112, 112, 0]) - 96) <= 1


class TestCrop:
    def test_is_native_centre(self):
        pixels = noise(301, 400)
        assert np.array_equal(restored(only(pixels, View("crop"))[0]), pixels[38:262, 88:312])

    @given(st.integers(1, 300), st.integers(1, 300))
    @settings(deadline=None, max_examples=40)
    @example(32, 32)
    @example(1, 1)
    @example(32, 300)
    def test_small_pictures_are_mirrored(self, height, width):
        pixels = noise(height, width)
        view = restored(only(pixels, View("crop"))[0])
        for axis, side in enumerate((height, width)):
            start = (224 - side) // 2
            period = max(1, 2 * (side - 1))
            place = np.abs((np.arange(224) - start + side - 1) % period - (side - 1)) if side > 1 else np.zeros(224, int)
            place = np.arange(224) + (side - 224) // 2 if side >= 224 else place
            pixels = np.take(pixels, place, axis)
        assert np.array_equal(view, pixels)


class TestTiles:
    @pytest.mark.parametrize("grid", [1, 2, 3])
    @pytest.mark.parametrize("shape", [(700, 900), (224, 224), (230, 500), (100, 40)])
    def test_count_and_corners(self, shape, grid):
        pixels = noise(*shape)
        view = View("tiles", 224, grid)
        tiles = only(pixels, view)
        assert len(tiles) == view.count == grid**2
        crop = only(pixels, View("crop"))[0]
        if grid == 1 or max(shape) <= 224:
            assert all(np.array_equal(tile, crop) for tile in tiles)
        elif min(shape) >= 224:
            assert np.array_equal(restored(tiles[0]), pixels[:224, :224])
            assert np.array_equal(restored(tiles[-1]), pixels[-224:, -224:])
            assert np.array_equal(restored(tiles[grid - 1]), pixels[:224, -224:])

    def test_middle_of_three_is_the_centre(self):
        pixels = noise(600, 801)
        assert np.array_equal(only(pixels, View("tiles", 224, 3))[4], only(pixels, View("crop"))[0])


class TestSpec:
    def test_order_shape_and_layout(self):
        pixels = noise(300, 400)
        spec = ViewSpec((View("crop", 64), View("tiles", 64, 2), View("resize", 64)))
        views = make_views(pixels, spec)
        assert views.shape == (spec.count, 3, spec.size, spec.size) == (6, 3, 64, 64)
        assert views.dtype == np.float32
        assert views.flags.c_contiguous
        parts = [only(pixels, view) for view in spec.views]
        assert np.array_equal(views, np.concatenate(parts))

    def test_own_statistics(self):
        pixels = noise(40, 40)
        views = make_views(pixels, ViewSpec((View("crop", 40),), mean=(0, 0, 0), std=(1, 1, 1)))
        assert np.allclose(views[0].transpose(1, 2, 0) * 255, pixels)

    def test_lists_become_tuples(self):
        spec = ViewSpec([View("crop")], [0.5, 0.5, 0.5], [1, 1, 1])
        assert spec == ViewSpec((View("crop"),), (0.5, 0.5, 0.5), (1, 1, 1))
        hash(spec)

    @pytest.mark.parametrize(
        "wrong",
        [
            lambda: View("zoom"),
            lambda: View("crop", 0),
            lambda: View("tiles", 224, 0),
            lambda: View("crop", 224, 2),
            lambda: ViewSpec(()),
            lambda: ViewSpec((View("crop", 224), View("crop", 225))),
            lambda: ViewSpec((View("crop"),), mean=(0, 0)),
            lambda: ViewSpec((View("crop"),), mean=(0, 0, float("nan"))),
            lambda: ViewSpec((View("crop"),), std=(1, 1, 0)),
            lambda: only(np.zeros((40, 40), np.uint8), View("crop")),
            lambda: only(np.zeros((40, 40, 3), np.float32), View("crop")),
            lambda: only(np.zeros((0, 40, 3), np.uint8), View("crop")),
        ],
    )
    def test_mistakes_are_value_errors(self, wrong):
        with pytest.raises(ValueError, match=r"\w"):
            wrong()

    def test_input_is_untouched_and_may_be_read_only(self):
        pixels = noise(100, 300)
        before = pixels.copy()
        pixels.setflags(write=False)
        only(pixels, View("resize"), View("crop"), View("tiles", 224, 2))
        assert np.array_equal(pixels, before)

    def test_flat_pictures_stay_flat(self):
        pixels = np.full((123, 321, 3), 200, np.uint8)
        for view in (View("resize"), View("crop"), View("tiles", 224, 2)):
            assert (restored(only(pixels, view)[0]) == 200).all()
