import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from realgrain.picture import degrade
from realgrain.picture.conditions import CONDITIONS, GROUPS, condition, expand

FIRST = (
    *("clean", "web", "hard", "webp-80", "half"),
    *(f"jpeg-{quality}" for quality in (95, 90, 80, 70, 60, 50)),
    *("blur-0.5", "blur-1", "blur-1.5", "blur-2"),
)
"""Those that results are committed under."""
FAMILIES = (
    ("jpeg-95", "jpeg-90", "jpeg-80", "jpeg-70", "jpeg-60", "jpeg-50", "jpeg-40", "jpeg-30"),
    ("blur-0.5", "blur-1", "blur-1.5", "blur-2", "blur-3", "blur-4", "blur-5"),
    ("webp-90", "webp-80", "webp-60", "webp-40"),
    ("noise-2", "noise-4", "noise-8", "noise-16"),
    ("resample-0.5", "resample-0.25"),
    ("genimage-jpeg-65", "genimage-jpeg-30"),
    ("genimage-blur-3", "genimage-blur-5"),
)


def photo(height: int = 240, width: int = 320, seed: int = 0) -> np.ndarray:
    """Smooth shapes with some noise, read-only."""
    y, x = np.mgrid[:height, :width]
    base = np.stack([x * 200 / width, y * 200 / height, 100 + 60 * np.sin(x / 9) * np.cos(y / 7)], axis=2)
    pixels = np.clip(base + np.random.default_rng(seed).normal(0, 4, base.shape), 0, 255).astype(np.uint8)
    pixels.setflags(write=False)
    return pixels


def error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b).mean())


def expected_shape(name: str, height: int, width: int) -> tuple[int, int, int]:
    """By the name alone."""
    sides: list[float] = [height, width]
    number = float(found.group()) if (found := re.search(r"[\d.]+$", name)) else 0.0
    if name == "half" or name.startswith(("resize-", "crop-")):
        sides = [side * (number or 0.5) for side in sides]
    elif name in ("web", "hard"):
        sides = [side * min(1, {"web": 768, "hard": 512}[name] / max(height, width)) for side in sides]
    elif name.startswith("genimage-lr-"):
        sides = [side * min(1, number / min(height, width)) for side in sides]
    return (*(max(1, round(side)) for side in sides), 3)


class TestEach:
    @pytest.mark.parametrize("name", CONDITIONS)
    @given(height=st.integers(1, 150), width=st.integers(1, 150), seed=st.integers(0, 99))
    @settings(deadline=None, max_examples=12)
    def test_pure_repeatable_and_of_its_size(self, name, height, width, seed):
        pixels = photo(height, width, seed)  # read-only: whoever writes to it fails
        once, twice = (condition(name)(pixels) for _ in range(2))
        assert once.dtype == np.uint8
        assert once.shape == expected_shape(name, height, width)
        assert np.array_equal(once, twice)
        assert np.array_equal(pixels, photo(height, width, seed))

    @pytest.mark.parametrize("name", CONDITIONS)
    def test_only_clean_leaves_a_picture_as_it_is(self, name):
        assert np.array_equal(condition(name)(photo()), photo()) == (name == "clean")

    @pytest.mark.parametrize("name", CONDITIONS)
    def test_where_the_pixels_lie_in_memory_does_not_matter(self, name):
        whole = photo(90, 160)
        assert np.array_equal(condition(name)(np.asfortranarray(whole)), condition(name)(whole))
        assert np.array_equal(condition(name)(whole[:, ::-1]), condition(name)(whole[:, ::-1].copy()))

    @pytest.mark.parametrize(("name", "longest"), [("web", 768), ("hard", 512)])
    def test_delivery_shrinks_large_pictures(self, name, longest):
        assert condition(name)(photo(600, 1000)).shape == (longest * 6 // 10 + (longest == 768), longest, 3)
        assert condition(name)(photo(1000, 600)).shape[0] == longest

    def test_stronger_means_worse(self):
        for family in FAMILIES:
            errors = [error(condition(name)(photo()), photo()) for name in family]
            assert errors == sorted(set(errors)), family

    @pytest.mark.parametrize(
        ("name", "made"),
        [
            ("web", lambda pixels: degrade.jpeg(degrade.resize(pixels, 768), 60)),
            ("hard", lambda pixels: degrade.jpeg(degrade.resize(pixels, 512), 40)),
            ("jpeg-70", lambda pixels: degrade.jpeg(pixels, 70, 2)),
            ("jpeg96-aligned", lambda pixels: degrade.jpeg(pixels, 96, 2)),
            ("webp-80", lambda pixels: degrade.webp(pixels, 80)),
            ("blur-1.5", lambda pixels: degrade.blur(pixels, 1.5)),
            ("half", lambda pixels: degrade.scale(pixels, 0.5, Image.Resampling.LANCZOS)),
            ("resize-1.5", lambda pixels: degrade.scale(pixels, 1.5, Image.Resampling.LANCZOS)),
            ("crop-0.5", lambda pixels: pixels[pixels.shape[0] // 4 :, pixels.shape[1] // 4 :][: pixels.shape[0] // 2, : pixels.shape[1] // 2]),
            ("genimage-lr-64", lambda pixels: degrade.scale(pixels, 64 / min(pixels.shape[:2]), Image.Resampling.BICUBIC)),
            ("genimage-jpeg-65", lambda pixels: degrade.jpeg(pixels, 65, 2)),
            ("genimage-blur-3", lambda pixels: degrade.blur(pixels, 3)),
        ],
    )
    def test_a_name_means_what_it_says(self, name, made):
        assert np.array_equal(condition(name)(photo(400, 800)), made(photo(400, 800)))


class TestNoise:
    @pytest.mark.parametrize(("name", "sigma"), [("noise-2", 2), ("noise-8", 8), ("noise-16", 16), ("aigibench-noise", 10)])
    def test_has_its_strength(self, name, sigma):
        grey = np.full((200, 200, 3), 128, np.uint8)
        assert abs((condition(name)(grey).astype(float) - 128).std() - sigma) < 0.02 * sigma + 0.1

    def test_no_two_pictures_share_a_pattern(self):
        grey = np.full((64, 64, 3), 128, np.uint8)
        other = grey.copy()
        other[0, 0, 0] += 1
        added = [condition("noise-8")(pixels).astype(int) - pixels for pixels in (grey, other, grey.reshape(32, 128, 3))]
        assert abs(np.corrcoef(added[0].ravel(), added[1].ravel())[0, 1]) < 0.05
        assert abs(np.corrcoef(added[0].ravel(), added[2].ravel())[0, 1]) < 0.05

    def test_another_process_draws_the_same(self):
        code = (
            "import numpy as np, hashlib; from realgrain.picture.conditions import condition;"
            "print(hashlib.sha256(condition('noise-4')(np.full((9, 7, 3), 77, np.uint8)).tobytes()).hexdigest())"
        )
        said = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in range(2)}
        assert len(said) == 1


class TestNames:
    def test_those_of_committed_results_are_still_there(self):
        assert set(FIRST) <= set(CONDITIONS)

    def test_unknown_lists_known(self):
        with pytest.raises(ValueError, match=r"jpeg-55.*known are clean, web, hard"):
            condition("jpeg-55")

    def test_cannot_be_changed(self):
        with pytest.raises(TypeError):
            CONDITIONS["clean"] = None
        with pytest.raises(TypeError):
            GROUPS["all"] = ()

    def test_a_group_is_no_condition(self):
        assert not set(GROUPS) & set(CONDITIONS)
        assert all(set(names) <= set(CONDITIONS) for names in GROUPS.values())

    def test_groups(self):
        assert GROUPS["deliveries"] == ("clean", "web", "hard")
        assert GROUPS["all"] == tuple(CONDITIONS)
        assert set(GROUPS["grid"]) | set(GROUPS["genimage"]) | set(GROUPS["aigibench"]) == set(CONDITIONS)
        assert set(FIRST) | {"jpeg96-aligned"} <= set(GROUPS["grid"])
        assert set(GROUPS["genimage"]) - {"clean"} == {f"genimage-{what}" for what in ("lr-112", "lr-64", "jpeg-65", "jpeg-30", "blur-3", "blur-5")}
        assert set(GROUPS["aigibench"]) - {"clean"} == {f"aigibench-{what}" for what in ("jpeg", "noise", "sample")}

    def test_expand_keeps_the_order_and_names_each_once(self):
        assert expand(["hard", "deliveries", "jpeg-30", "hard"]) == ("hard", "clean", "web", "jpeg-30")

    @given(st.lists(st.sampled_from([*CONDITIONS, *GROUPS]), min_size=1, max_size=8))
    def test_expand_comes_to_rest(self, names):
        found = expand(names)
        assert len(set(found)) == len(found)
        assert set(found) == {one for name in names for one in GROUPS.get(name, (name,))}
        assert expand(found) == found
        assert expand([*names, *names]) == found

    def test_expand_refuses_what_it_does_not_know(self):
        with pytest.raises(ValueError, match=r"'jpeg-55'; groups are deliveries, grid.*conditions are clean"):
            expand(["clean", "jpeg-55"])
        with pytest.raises(ValueError, match="no condition; groups are deliveries"):
            expand([])
