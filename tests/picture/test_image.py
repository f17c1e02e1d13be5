import errno
import hashlib
import io
import os
import pickle
import struct
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hostile
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile, ImageOps, PngImagePlugin

from realgrain.picture import decode, facts, source
from realgrain.picture.image import Limits, PictureError, open_picture

CODES = {
    *("missing", "unreachable", "not_a_file", "empty", "too_many_bytes", "unknown_format"),
    *("unsupported_format", "truncated", "corrupt", "too_many_pixels", "too_small"),
}
SMALL = Limits(min_side=1)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(*shape: int, top: int = 256, dtype=np.uint8) -> np.ndarray:
    return np.random.default_rng(5).integers(0, top, shape, dtype=dtype)


def within(seconds: float, work):
    """Run in a thread, so that a hang fails instead of hanging."""
    result = []

    def run():
        try:
            result.append(work())
        except BaseException as error:
            result.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"took over {seconds} s"
    return result[0]


def refusal(source, **options) -> PictureError:
    error = within(5, lambda: open_picture(source, **options))
    assert isinstance(error, PictureError), repr(error)
    assert error.code in CODES
    assert error.reason
    assert str(error) == f"{error.name}: {error.reason}"
    assert str(error).isprintable()
    assert "object at 0x" not in str(error)
    return error


RGB = noise(40, 56, 3)


@pytest.mark.parametrize(
    ("kind", "options", "exact"),
    [
        ("JPEG", {}, False),
        ("PNG", {}, True),
        ("WEBP", {"lossless": True}, True),
        ("WEBP", {}, False),
        ("AVIF", {}, False),
        ("GIF", {}, False),
        ("TIFF", {}, True),
        ("TIFF", {"compression": "tiff_lzw"}, True),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, True),
        ("TIFF", {"compression": "jpeg"}, False),
        ("BMP", {}, True),
    ],
)
def test_every_format(tmp_path, kind, options, exact):
    data = saved(Image.fromarray(RGB), kind, **options)
    path = tmp_path / "wrong.extension"
    path.write_bytes(data)
    picture = open_picture(path)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(picture.pixels, np.asarray(image.convert("RGB")))
    assert np.array_equal(picture.pixels, RGB) == exact
    assert (picture.format, picture.width, picture.height, picture.bytes) == (kind, 56, 40, len(data))
    assert picture.sha256 == hashlib.sha256(data).hexdigest()
    assert (picture.name, picture.frames, picture.orientation, picture.icc, picture.notes) == (str(path), 1, 1, None, ())
    assert picture.pixels.flags.c_contiguous
    assert not picture.pixels.flags.writeable
    assert picture.pixels.dtype == np.uint8
    assert picture == open_picture(data, name=str(path))
    assert hash(picture) == hash(open_picture(str(path)))
    assert open_picture(data).name == "<bytes>"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_orientation(kind, turn):
    exif = Image.Exif()
    exif[274] = turn
    data = saved(Image.fromarray(RGB), kind, exif=exif)
    picture = open_picture(data)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(picture.pixels, np.asarray(ImageOps.exif_transpose(image)))
    assert picture.orientation == turn
    assert picture.notes == ((f"EXIF orientation {turn} applied",) if turn > 1 else ())
    assert (picture.width, picture.height) == ((40, 56) if turn > 4 else (56, 40))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_orientation_of_compressed_tiff_is_applied_once(compression):
    picture = open_picture(saved(Image.fromarray(RGB), "TIFF", compression=compression, tiffinfo={274: 6}))
    assert np.array_equal(picture.pixels, np.rot90(RGB, -1))


def test_invalid_orientation_is_none():
    exif = Image.Exif()
    exif[274] = 9
    assert open_picture(saved(Image.fromarray(RGB), "JPEG", exif=exif)).orientation == 1


class TestColour:
    def test_grey_and_bits(self):
        grey = noise(40, 56)
        assert np.array_equal(open_picture(saved(Image.fromarray(grey), "PNG")).pixels, np.repeat(grey[..., None], 3, 2))
        picture = open_picture(saved(Image.fromarray(grey > 127), "PNG"))
        assert np.array_equal(picture.pixels[..., 0], np.where(grey > 127, 255, 0))
        assert picture.mode == "1"

    @pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
    def test_alpha_on_white(self, kind):
        rgba = noise(40, 56, 4)
        picture = open_picture(saved(Image.fromarray(rgba), kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {})))
        alpha = rgba[..., 3:].astype(float) / 255
        expected = rgba[..., :3] * alpha + 255 * (1 - alpha)
        assert np.abs(picture.pixels - expected).max() <= 1
        assert "alpha composited on white" in picture.notes
        assert picture.mode == "RGBA"

    def test_opaque_alpha_changes_nothing(self):
        picture = open_picture(saved(Image.fromarray(np.dstack([RGB, np.full((40, 56), 255, np.uint8)])), "PNG"))
        assert np.array_equal(picture.pixels, RGB)
        assert picture.notes == ()

    def test_grey_with_alpha(self):
        la = np.zeros((40, 56, 2), np.uint8)
        la[:, 28:, 1] = 255
        picture = open_picture(saved(Image.fromarray(la, "LA"), "PNG"))
        assert (picture.pixels[:, :28] == 255).all()
        assert (picture.pixels[:, 28:] == 0).all()

    def test_palette(self):
        indexed = Image.fromarray(RGB).quantize(64)
        picture = open_picture(saved(indexed, "PNG"))
        assert picture.mode == "P"
        assert np.array_equal(picture.pixels, np.asarray(indexed.convert("RGB")))

    @pytest.mark.parametrize("kind", ["PNG", "GIF"])
    def test_palette_with_transparency(self, kind):
        index = noise(40, 56, top=4)
        image = Image.fromarray(index, "P")
        image.putpalette([0, 0, 0, 10, 20, 30, 90, 80, 70, 1, 2, 3])
        picture = open_picture(saved(image, kind, transparency=1))
        assert (picture.pixels[index == 1] == 255).all()
        assert (picture.pixels[index == 2] == (90, 80, 70)).all()
        assert "alpha composited on white" in picture.notes

    def test_transparent_colour(self):
        pixels = RGB.copy()
        pixels[3:9, 3:9] = (1, 2, 3)
        picture = open_picture(saved(Image.fromarray(pixels), "PNG", transparency=(1, 2, 3)))
        assert (picture.pixels[3:9, 3:9] == 255).all()

    @pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
    def test_cmyk(self, kind):
        cmyk = Image.fromarray(RGB).convert("CMYK")
        picture = open_picture(saved(cmyk, kind, **({"quality": 100} if kind == "JPEG" else {})))
        assert picture.mode == "CMYK"
        assert "CMYK converted without its profile" in picture.notes
        assert np.abs(picture.pixels.astype(int) - RGB).mean() < 3

    @pytest.mark.parametrize(("kind", "mode"), [("PNG", "I;16"), ("TIFF", "I;16"), ("TIFF", "I;16B")])
    def test_16_bit_grey_is_scaled_not_clipped(self, kind, mode):
        wide = noise(40, 56, top=65536, dtype=np.uint16)
        wide[0, :4] = (0, 128, 129, 65535)
        stored = wide.astype(">u2") if mode == "I;16B" else wide
        data = saved(Image.frombytes(mode, (56, 40), stored.tobytes()), kind)
        picture = open_picture(data)
        assert picture.mode == mode
        assert np.array_equal(picture.pixels[..., 1], np.rint(wide / 257))
        assert picture.notes == ("16-bit reduced to 8",)

    def test_32_bit_integers_within_16(self):
        wide = noise(40, 56, top=65536, dtype=np.int32)
        picture = open_picture(saved(Image.fromarray(wide), "TIFF"))
        assert np.array_equal(picture.pixels[..., 1], np.rint(wide / 257))

    def test_16_bit_colour_png(self):
        wide = noise(48, 64, 3, top=65536, dtype=np.uint16)
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in wide)
        data = hostile.png(64, 48, hostile.chunk(b"IDAT", hostile.zlib.compress(rows)), depth=16)
        picture = open_picture(data)
        assert picture.mode == "RGB;16"
        assert picture.notes == ("16-bit reduced to 8",)
        assert np.abs(picture.pixels - wide / 257).max() <= 1

    def test_ycbcr_tiff(self):
        picture = open_picture(saved(Image.fromarray(RGB).convert("YCbCr"), "TIFF"))
        assert np.abs(picture.pixels.astype(int) - RGB).max() <= 3


class TestFrames:
    @pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "AVIF", "PNG", "MPO"])
    def test_first_of_three(self, kind):
        frames = [Image.fromarray(np.full((40, 56, 3), level, np.uint8)) for level in (30, 120, 220)]
        options = {"lossless": True} if kind == "WEBP" else {}
        picture = open_picture(saved(frames[0], kind, save_all=True, append_images=frames[1:], **options))
        assert picture.frames == 3
        assert "first of 3 frames" in picture.notes
        assert np.abs(picture.pixels.astype(int) - 30).max() <= 2
        assert picture.format == ("JPEG" if kind == "MPO" else kind)

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
    def test_an_animation_without_the_default_image(self, mode):
        """Viewers show the animation: its first frame is judged, as it is alone."""
        default, first, second = (Image.fromarray(noise(40, 56, 3, top=top)).convert(mode) for top in (256, 90, 30))
        made = saved(default, "PNG", save_all=True, default_image=True, append_images=[first, second])
        picture, alone = open_picture(made), open_picture(saved(first, "PNG"))
        assert np.array_equal(picture.pixels, alone.pixels)
        assert (picture.frames, picture.mode) == (2, mode)
        assert picture.notes == ("first frame of the animation of 2 frames; the file's default image is not part of it", *alone.notes)
        assert picture.sha256 == hashlib.sha256(made).hexdigest()

    def test_an_animation_whose_first_frame_is_a_part(self):
        """What lies around it is nothing that a file alone tells: the default image is judged, and that is said."""
        default, first = Image.fromarray(noise(40, 56, 3)), Image.fromarray(noise(40, 56, 3, top=9))
        made = saved(default, "PNG", save_all=True, default_image=True, append_images=[first])
        at = made.index(b"fcTL") + 8
        part = made[: at + 4] + struct.pack(">LL", 33, 33) + made[at + 12 :]
        for strange in (part, made[: made.index(b"fcTL") - 4] + made[made.index(b"IEND") - 4 :]):
            picture = open_picture(strange)
            assert np.array_equal(picture.pixels, np.asarray(default))
            assert picture.notes == ("default image, which is not part of the animation of 1 frame",)

    def test_a_first_frame_that_is_cut_short(self):
        default = Image.fromarray(noise(40, 56, 3))
        made = saved(default, "PNG", save_all=True, default_image=True, append_images=[Image.fromarray(noise(40, 56, 3, top=90))])
        assert refusal(made[: made.index(b"fdAT") + 900]).code in {"truncated", "corrupt"}

    def test_metadata_beside_an_animation(self):
        exif = Image.Exif()
        exif[0x0112] = 6
        frames = [Image.fromarray(noise(40, 56, 3, top=top)) for top in (256, 90)]
        made = saved(frames[0], "PNG", save_all=True, default_image=True, append_images=frames[1:], exif=exif)
        assert (open_picture(made).orientation, open_picture(made).width) == (6, 40)

    def test_hostile_counts_are_bounded(self, tmp_path):
        accepted = hostile.build_accepted(tmp_path)
        picture = within(5, lambda: open_picture(accepted["gif-5000-frames"]))
        assert picture.frames == 5001
        picture = within(5, lambda: open_picture(accepted["gif-uncountable"]))
        assert picture.notes[0].startswith("first of many frames")


class TestMetadata:
    def test_does_not_change_pixels(self):
        exif = Image.Exif()
        exif[271] = "Maker"
        text = PngImagePlugin.PngInfo()
        text.add_text("parameters", "a photograph of a cat")
        plain = open_picture(saved(Image.fromarray(RGB), "JPEG"))
        icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        rich = open_picture(saved(Image.fromarray(RGB), "JPEG", exif=exif, comment=b"x", dpi=(72, 72), icc_profile=icc, xmp=b"<x/>"))
        assert np.array_equal(plain.pixels, rich.pixels)
        assert rich.notes == plain.notes == ()
        assert np.array_equal(open_picture(saved(Image.fromarray(RGB), "PNG", pnginfo=text, exif=exif)).pixels, RGB)

    def test_xmp_does_not_turn(self):
        xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
        for kind in ("TIFF", "PNG", "WEBP", "JPEG"):
            assert open_picture(saved(Image.fromarray(RGB), kind, xmp=xmp)).width == 56

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
    def test_profile_is_named_and_not_applied(self, kind):
        icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        options = {"lossless": True} if kind == "WEBP" else {}
        picture = open_picture(saved(Image.fromarray(RGB), kind, icc_profile=icc, **options))
        assert picture.icc == "sRGB built-in"
        assert np.array_equal(picture.pixels, open_picture(saved(Image.fromarray(RGB), kind, **options)).pixels)

    @given(st.binary(max_size=400))
    @example(bytes(128) + b"\xff" * 100)
    @example(bytes(128) + b"\0\0\0\1desc" + hostile.struct.pack(">LL", 144, 90) + b"desc\0\0\0\0\0\0\0\x40" + b"a\x1b[31m\n" * 10)
    def test_any_profile(self, profile):
        text = facts.icc_description(profile)
        assert (text is None) == (not profile)
        assert text is None or (text.isprintable() and 0 < len(text) <= facts.MAX_ICC_TEXT)

    @given(st.binary(max_size=300) | st.binary(max_size=100).map(lambda tail: b"II*\0\x08\0\0\0" + tail))
    def test_any_exif(self, exif):
        assert facts.orientation(exif) in range(1, 9)
        assert facts.pictures_in_jpeg(exif) >= 1

    @pytest.mark.parametrize("quality", [1, 2, 10, 35, 49, 50, 51, 75, 90, 95, 99, 100])
    def test_jpeg_quality(self, quality):
        assert open_picture(saved(Image.fromarray(RGB), "JPEG", quality=quality)).jpeg_quality == quality
        assert open_picture(saved(Image.fromarray(RGB[..., 0]), "JPEG", quality=quality)).jpeg_quality == quality

    def test_quality_only_of_jpeg(self):
        assert open_picture(saved(Image.fromarray(RGB), "WEBP", quality=50)).jpeg_quality is None
        assert facts.jpeg_quality([1] * 63) is None


SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))


@settings(deadline=None, max_examples=40)
@given(SHAPES, st.sampled_from([("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True})]))
def test_lossless_round_trip(shape, kind):
    height, width, seed = shape
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert np.array_equal(open_picture(saved(Image.fromarray(pixels), kind[0], **kind[1]), limits=SMALL).pixels, pixels)


KINDS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP")
VALID = {kind: hostile.encoded(kind) for kind in KINDS} | {"LZW": hostile.encoded("TIFF", compression="tiff_lzw")}
MAGIC = [data[:12] for data in VALID.values()]


def only_picture_errors(data: bytes) -> None:
    try:
        picture = open_picture(data, limits=Limits(max_pixels=100_000, min_side=1))
    except PictureError as error:
        assert error.code in CODES
        assert str(error).isprintable()
    else:
        assert picture.pixels.shape == (picture.height, picture.width, 3)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=200), st.sampled_from([b"", *MAGIC]))
def test_arbitrary_bytes(tail, magic):
    only_picture_errors(magic + tail)


@settings(deadline=None, max_examples=600)
@given(st.sampled_from(sorted(VALID)), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_mutations(kind, changes):
    data = bytearray(VALID[kind])
    for where, value in changes:
        data[int(where**3 * (len(data) - 1))] = value  # mostly in the header
    only_picture_errors(bytes(data))


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(sorted(VALID)), st.floats(0, 1))
def test_truncations(kind, share):
    only_picture_errors(VALID[kind][: int(share * len(VALID[kind]))])


@pytest.mark.parametrize("kind", KINDS)
def test_half_a_file_is_refused(kind):
    assert refusal(VALID[kind][: len(VALID[kind]) // 2]).code in ("truncated", "corrupt")


def test_hostile_files(tmp_path):
    built = hostile.build_hostile_with_codes(tmp_path)
    assert len(built) >= 100
    wrong = {}
    for name, (path, codes) in built.items():
        error = refusal(path)
        if error.code not in codes:
            wrong[name] = (error.code, error.reason)
    assert not wrong


def test_odd_files_are_accepted(tmp_path):
    for name, path in hostile.build_accepted(tmp_path).items():
        picture = within(5, lambda path=path: open_picture(path))
        assert not isinstance(picture, BaseException), (name, picture)
        assert picture.pixels.shape == (48, 64, 3)


class TestLimits:
    def test_bytes_before_reading(self, tmp_path, monkeypatch):
        path = tmp_path / "sparse.jpg"
        with path.open("wb") as file:
            file.truncate(2**40)  # a terabyte of nothing
        error = refusal(path)
        assert error.code == "too_many_bytes"
        assert "104,857,600" in error.reason
        assert refusal(b"x" * 100, limits=Limits(max_bytes=99)).code == "too_many_bytes"

    def test_limits_are_inclusive(self):
        data = saved(Image.fromarray(RGB), "PNG")
        open_picture(data, limits=Limits(max_bytes=len(data), max_pixels=40 * 56, min_side=40))
        assert refusal(data, limits=Limits(max_bytes=len(data) - 1)).code == "too_many_bytes"
        error = refusal(data, limits=Limits(max_pixels=40 * 56 - 1))
        assert error.code == "too_many_pixels"
        assert "2,239" in error.reason
        error = refusal(data, limits=Limits(min_side=41))
        assert error.code == "too_small"
        assert "41" in error.reason

    def test_ours_not_pillows(self, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        assert open_picture(saved(Image.fromarray(RGB), "PNG")).width == 56

    def test_limits_are_positive(self):
        with pytest.raises(ValueError, match="min_side"):
            Limits(min_side=0)


class TestSources:
    def test_bad_paths(self):
        assert refusal("").code == "missing"
        assert refusal("a\0b.jpg").code == "missing"
        assert refusal("\ud800.jpg").code == "missing"

    @pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES])
    @pytest.mark.parametrize("call", ["stat", "open"])
    def test_what_says_nothing_of_the_file_is_no_missing_file(self, call, number, tmp_path, monkeypatch):
        file, real = tmp_path / "a.png", getattr(os, call)
        file.write_bytes(saved(Image.fromarray(RGB), "PNG"))

        def fail(path, *rest, **options):
            if path == str(file):
                raise OSError(number, os.strerror(number))
            return real(path, *rest, **options)

        monkeypatch.setattr(source.os, call, fail)
        error = refusal(str(file))
        assert (error.code, error.reason) == ("unreachable", f"cannot be read: {os.strerror(number)}")

    def test_name_is_printable(self):
        error = refusal(b"x", name="a\nb\x1b[31m\u202e")
        assert error.name == "a\\nb\\x1b[31m\\u202e"
        assert len(refusal(b"x", name="n" * 10_000).name) == 300

    def test_wrong_type_is_a_type_error(self):
        with pytest.raises(TypeError):
            open_picture(7)

    def test_link_is_followed(self, tmp_path):
        (tmp_path / "a.png").write_bytes(saved(Image.fromarray(RGB), "PNG"))
        (tmp_path / "b.jpg").symlink_to("a.png")
        assert np.array_equal(open_picture(tmp_path / "b.jpg").pixels, RGB)

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
    def test_unreadable(self, tmp_path):
        path = tmp_path / "secret.png"
        path.touch(mode=0)
        assert "denied" in refusal(path).reason.lower()

    def test_error_survives_pickling(self):
        error = refusal(b"x" * 9, name="a")
        again = pickle.loads(pickle.dumps(error))
        assert (again.name, again.code, again.reason, str(again)) == (error.name, error.code, error.reason, str(error))

    def test_error_keeps_nothing_alive(self):
        error = refusal(b"\xff\xd8\xff" + b"x" * 100)
        assert error.__cause__ is None
        assert error.__context__ is None


def test_heic_without_decoder_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    error = refusal(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    assert error.code == "unsupported_format"
    assert "realgrain[heic]" in error.reason


def test_heic_decoder_is_used_if_there(monkeypatch):
    class Fake:
        HeifImageFile = decode._DECODERS["PNG"]

    monkeypatch.setitem(sys.modules, "pillow_heif", Fake)
    monkeypatch.setattr("realgrain.picture.image.identify", lambda data: "HEIC")
    assert open_picture(saved(Image.fromarray(RGB), "PNG")).format == "HEIC"


@pytest.mark.parametrize("trouble", [MemoryError(), KeyError("x"), RecursionError(), Image.DecompressionBombWarning("big"), OSError()])
def test_whatever_a_decoder_raises(monkeypatch, trouble):
    def load(self):
        raise trouble

    monkeypatch.setattr(decode._DECODERS["PNG"], "load", load)
    assert refusal(saved(Image.fromarray(RGB), "PNG")).reason


def test_many_threads_and_no_traces():
    before = (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS)
    files = [saved(Image.fromarray(RGB), kind) for kind in KINDS] * 6
    alone = [open_picture(data).pixels for data in files]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda data: open_picture(data).pixels, files))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
    assert before == (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS)


def test_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_bytes(saved(Image.fromarray(RGB), "PNG"))
    assert open_picture("a.png").name == "a.png"


@pytest.mark.parametrize(("number", "name"), [(0, "4:4:4"), (1, "4:2:2"), (2, "4:2:0")])
def test_subsampling(number, name):
    picture = open_picture(saved(Image.fromarray(RGB), "JPEG", subsampling=number))
    assert (picture.subsampling, picture.progressive) == (name, False)


def test_grey_and_progressive_jpeg():
    picture = open_picture(saved(Image.fromarray(RGB[..., 0]), "JPEG", progressive=True))
    assert (picture.subsampling, picture.progressive) == ("grey", True)
    assert open_picture(saved(Image.fromarray(RGB), "PNG")).subsampling is None
