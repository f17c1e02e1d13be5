import numpy as np
import pytest
import toy
from hypothesis import given, settings
from hypothesis import strategies as st

from realgrain.evidence.watermark import FALSE_ALARM, MESSAGES, STEP, agreeing_bits, watermark
from realgrain.learning.data import read_manifest
from realgrain.picture.degrade import scale
from realgrain.picture.image import open_picture

COLOURS = np.array([[0.299, 0.587, 0.114], [-0.14713, -0.28886, 0.436], [0.615, -0.51499, -0.10001]])  # RGB to YUV, BT.601


def marked(pixels: np.ndarray, message: np.ndarray) -> np.ndarray:
    """Write a message as the method "dwtDct" does: by the published description, the long way round."""
    height, width = (side // 4 * 4 for side in pixels.shape[:2])
    yuv = pixels[:height, :width] @ COLOURS.T + [0, 128, 128]
    quads = yuv[..., 1].reshape(height // 2, 2, width // 2, 2).swapaxes(1, 2)
    low = quads.sum((2, 3)) / 2
    changed = low.copy()
    number = 0
    for top in range(0, low.shape[0] - 3, 4):
        for left in range(0, low.shape[1] - 3, 4):
            block = changed[top : top + 4, left : left + 4]
            place = np.unravel_index(np.argmax(np.abs(block).ravel()[1:]) + 1, (4, 4))
            block[place] = (abs(block[place]) // STEP + 0.25 + 0.5 * message[number % len(message)]) * STEP
            number += 1
    yuv[..., 1] += (quads + (changed - low)[..., None, None] / 2).swapaxes(1, 2).reshape(height, width) - yuv[..., 1]
    out = pixels.copy()
    out[:height, :width] = np.clip(np.rint((yuv - [0, 128, 128]) @ np.linalg.inv(COLOURS).T), 0, 255)
    return out


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("size", [(512, 512), (413, 300)])
def test_a_mark_is_read(name, size):
    pixels = toy.picture(3, fake=False, size=size)
    assert watermark(pixels) == ""
    assert watermark(marked(pixels, MESSAGES[name])) == name
    assert watermark(marked(pixels[..., ::-1], MESSAGES[name])[..., ::-1]) == name  # written by who mistook RGB for BGR


def test_resizing_destroys_it():
    pixels = marked(toy.picture(3, fake=False, size=(512, 512)), MESSAGES["SDXL"])
    assert watermark(scale(pixels, 0.7)) == ""


def test_other_messages_are_not_taken_for_known_ones():
    rng = np.random.default_rng(0)
    for length in (32, 48):
        assert watermark(marked(toy.picture(5, fake=False, size=(400, 400)), rng.random(length) < 0.5)) == ""


def test_below_the_writers_least_size_nothing_is_read():
    assert watermark(marked(toy.picture(3, fake=False, size=(240, 240)), MESSAGES["SDV2"])) == ""


@pytest.mark.parametrize("length", [32, 46, 48, 136])
def test_fair_coins_agree_rarely(length):
    from scipy.stats import binom

    least = agreeing_bits(length)
    assert binom.sf(least - 1, length, 0.5) <= FALSE_ALARM < binom.sf(least - 2, length, 0.5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 400), st.integers(1, 400), st.sampled_from(["noise", "flat", "picture"]))
def test_nothing_is_read_from_what_carries_nothing(seed, width, height, kind):
    rng = np.random.default_rng(seed)
    pixels = {
        "noise": lambda: rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
        "flat": lambda: np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8),
        "picture": lambda: toy.picture(seed, fake=bool(seed % 2), size=(width, height)),
    }[kind]()
    before = pixels.copy()
    assert watermark(pixels) == ""
    assert np.array_equal(pixels, before)


@pytest.mark.slow
def test_no_photograph_raises_a_false_alarm_and_stable_diffusion_is_found(labelled_pictures):
    """None on more than a thousand photographs: by the rule of three, a rate below 0.3 % with 95 % confidence."""
    samples = read_manifest(labelled_pictures / "manifest.csv")
    found = {label: [watermark(open_picture(sample.file).pixels) for sample in samples if one(sample)] for label, one in CHOSEN.items()}
    assert len(found["real"]) > 1000
    assert set(found["real"]) == {""}
    assert found["sd1"].count("StableDiffusionV1") > len(found["sd1"]) / 2
    assert set(found["gan"]) == {""}


CHOSEN = {
    "real": lambda sample: not sample.fake,
    "sd1": lambda sample: sample.source == "sd1",
    "gan": lambda sample: sample.source in {"stylegan3", "cyclegan"},
}
