import io
import random
from fractions import Fraction

import numpy as np
import pytest
from filming import filmed, heard, take
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realgrain.picture.clip import ClipLimits, Scene, is_clip, open_clip
from realgrain.picture.errors import PictureError

pytest.importorskip("av", reason="no clips without the extra video")
A, B, C = (take(seed, fake=False) for seed in (1, 2, 3))


def opened(source, **limits):
    return open_clip(source, np.copy, limits=ClipLimits(**limits))


def refused(source, **limits) -> PictureError:
    with pytest.raises(PictureError) as error:
        opened(source, **limits)
    return error.value


def later(data: bytes, kind: str, seconds: int) -> bytes:
    """The same pictures in a file whose times begin later, as a piece of a longer recording."""
    import av

    file = io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(file, "w", format=kind) as made:
        stream = made.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is None:  # says that there are no more
                continue
            shift = int(seconds / packet.time_base)
            packet.dts, packet.pts, packet.stream = packet.dts + shift, packet.pts + shift, stream
            made.mux(packet)
    return file.getvalue()


@pytest.fixture(scope="module")
def three() -> bytes:
    """2 s, 3 s and 1 s."""
    return filmed((A, 20), (B, 30), (C, 10))


class TestWhatIsFound:
    @pytest.mark.parametrize(
        ("kind", "codec", "name"),
        [
            ("mp4", "mpeg4", "mpeg4"),
            ("mov", "mpeg4", "mpeg4"),
            ("mp4", "h264", "h264"),
            ("mp4", "libx265", "hevc"),
            ("webm", "libvpx", "vp8"),
            ("matroska", "mpeg4", "mpeg4"),
            ("avi", "mpeg4", "mpeg4"),
            ("avi", "mjpeg", "mjpeg"),
        ],
    )
    def test_scenes_and_times(self, kind, codec, name):
        extra = (
            {"preset": "ultrafast", "x265-params": "log-level=none:pools=1"}
            if codec == "libx265"
            else {"deadline": "realtime"}
            if codec == "libvpx"
            else {}
        )
        clip, frames = opened(filmed((A, 20), (B, 30), (C, 10), kind=kind, codec=codec, **extra))
        assert clip.codec == name
        assert clip.format == {"webm": "Matroska", "matroska": "Matroska", "avi": "AVI"}.get(kind, "MP4")
        assert (clip.frames, clip.seconds, (clip.width, clip.height)) == (60, pytest.approx(6, abs=0.02), (256, 240))
        assert [scene.start for scene in clip.scenes] == pytest.approx([0, 2, 5], abs=0.02)
        assert [scene.end for scene in clip.scenes] == pytest.approx([2, 5, 6], abs=0.02)
        assert len(frames) == len(clip.shots) == 12
        assert [sum(shot.scene == scene for shot in clip.shots) for scene in range(3)] == [4, 6, 2]
        for shot, pixels in zip(clip.shots, frames, strict=True):
            scene = clip.scenes[shot.scene]
            assert scene.start < shot.time < scene.end
            index = round((shot.time - scene.start) * 10)  # and it is the frame of that time
            wanted = np.roll((A, B, C)[shot.scene], index, axis=1).astype(int)
            assert pixels.shape == wanted.shape and pixels.dtype == np.uint8 and pixels.flags.c_contiguous
            errors = [np.abs(np.roll(wanted, shift, axis=1) - pixels).mean() for shift in (-2, 0, 2)]
            assert np.argmin(errors) == 1 and abs(pixels.mean() - wanted.mean()) < 3

    def test_same_file_same_frames(self, three, tmp_path):
        path = tmp_path / "a.mp4"
        path.write_bytes(three)
        (one, frames), (other, again) = opened(three), opened(path)
        assert one == opened(three)[0] and one.name == "<bytes>" and other.name == str(path)
        assert (one.sha256, one.shots, one.scenes) == (other.sha256, other.shots, other.scenes)
        assert all(np.array_equal(a, b) for a, b in zip(frames, again, strict=True))

    def test_fewer_frames_than_scenes_gives_the_longest_ones(self, three):
        clip, _ = opened(three, frames=2)
        assert [shot.scene for shot in clip.shots] == [0, 1] and len(clip.scenes) == 3
        assert [shot.time for shot in clip.shots] == pytest.approx([1, 3.5], abs=0.11)

    def test_never_more_frames_than_asked_nor_closer_than_half_a_second(self):
        clip, frames = opened(filmed((A, 95)), frames=8)
        assert len(frames) == 8
        times = [shot.time for shot in clip.shots]
        assert np.diff(times) == pytest.approx([9.5 / 8] * 7, abs=0.11)
        short, frames = opened(filmed((A, 3)))
        assert len(frames) == 1 and short.scenes == (Scene(0, 0.3),)

    def test_flash_and_shaking_are_no_scenes(self):
        rng = np.random.default_rng(0)
        flash = filmed((A, 15), (np.full_like(A, 255), 1), (A, 15))
        assert len(opened(flash)[0].scenes) <= 2  # the white itself is within 0.4 s of the cut back
        noise = filmed(*((rng.integers(0, 256, (30, 32, 3), np.uint8).repeat(8, 0).repeat(8, 1), 1) for _ in range(30)))
        assert len(opened(noise)[0].scenes) <= 2

    def test_still_picture_is_one_scene(self):
        assert len(opened(filmed((A, 30), still=True))[0].scenes) == 1

    @pytest.mark.parametrize(("turn", "corner"), [(90, (-1, 0)), (-90, (0, -1)), (180, (-1, -1))])
    def test_turned_upright(self, turn, corner):
        marked = np.zeros((128, 192, 3), np.uint8)
        marked[:40, :40] = 255
        clip, (frame, *_) = opened(filmed((marked, 3), turn=turn, still=True))
        assert (clip.width, clip.height) == ((192, 128) if turn == 180 else (128, 192)) == frame.shape[1::-1]
        assert frame[corner].mean() > 200 and sum(frame[y, x].mean() > 200 for y in (0, -1) for x in (0, -1)) == 1
        assert clip.notes == (f"turned by {turn % 360} degrees counter-clockwise, as the file says",)

    def test_colours(self):
        plain = np.full((96, 128, 3), (200, 60, 30), np.uint8)
        _, (frame, *_) = opened(filmed((plain, 5), still=True))
        assert np.abs(frame.astype(int) - plain).max() <= 3

    def test_pixels_that_are_not_square_are_said_and_kept(self):
        clip, (frame, *_) = opened(filmed((A, 5), shape=Fraction(4, 3)))
        assert clip.notes == ("pixels are 4:3, not square, and are kept so",) and frame.shape == A.shape

    @pytest.mark.parametrize("kind", ["matroska", "mp4"])
    def test_times_that_begin_later(self, three, kind):
        clip, _ = opened(later(three, kind, 600))
        assert (clip.frames, clip.seconds) == (60, pytest.approx(6, abs=0.02))
        cut = refused(later(filmed((A, 30), kind=kind), kind, 600)[:-20_000])
        assert cut.code in ("truncated", "corrupt")

    def test_sound_is_passed_over(self):
        assert opened(filmed((A, 10), sound=True))[0].frames == 10


class TestWhatIsRefused:
    @pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
    @pytest.mark.parametrize("kind", ["mp4", "mov-front", "matroska", "avi"])
    def test_cut_short(self, kind, share):
        front = kind == "mov-front"
        data = filmed((A, 20), (B, 30), kind="mov" if front else kind, front=front)
        error = refused(data[: int(len(data) * share)])
        assert error.code in ("truncated", "corrupt")
        assert str(error).startswith("<bytes>: ")

    def test_only_sound(self):
        error = refused(heard())
        assert (error.code, error.reason) == ("no_video", "has no video, only sound")

    def test_too_long_is_said_before_anything_is_decoded(self):
        error = refused(filmed((A, 30)), max_seconds=2, decode_seconds=60)
        assert (error.code, error.reason) == ("too_long", "3.0 s is more than the limit of 2 s")

    def test_too_long_though_the_file_says_nothing(self):
        import av

        data = filmed((A, 30), kind="matroska", sound=True)
        with av.open(io.BytesIO(data)) as container:
            assert container.streams.video[0].duration is None
        error = refused(data, max_seconds=2)
        assert (error.code, error.reason) == ("too_long", "more than the limit of 2 s")

    def test_too_large(self, three, tmp_path):
        assert refused(three, max_pixels=200 * 200).code == "too_many_pixels"
        assert refused(three, max_bytes=1000).code == "too_many_bytes"
        (tmp_path / "a.mp4").write_bytes(three)
        assert refused(tmp_path / "a.mp4", max_bytes=1000).code == "too_many_bytes"
        assert refused(three, min_side=250).code == "too_small"

    @pytest.mark.parametrize("kind", ["mp4", "avi", "matroska"])
    def test_giant_frames(self, kind):
        error = refused(filmed((np.zeros((2400, 4096, 3), np.uint8), 1), kind=kind))
        assert (error.code, error.reason) == ("too_many_pixels", "4096 x 2400 pixels is more than the limit of 9,500,000 pixels")

    def test_time_is_over(self, three):
        error = refused(three, decode_seconds=1e-9)
        assert error.code == "decoder_hung" and "1e-09 seconds" in error.reason

    @pytest.mark.parametrize(
        ("data", "code"), [(b"", "empty"), (b"no clip", "unknown_format"), (b"\x00\x00\x00\x18ftypisom", "corrupt"), (b"\x1a\x45\xdf\xa3", "corrupt")]
    )
    def test_no_clip(self, data, code):
        assert refused(data).code == code

    def test_missing_and_folders(self, tmp_path):
        assert refused(tmp_path / "gone.mp4").code == "missing"
        assert refused(tmp_path).code == "not_a_file"

    def test_codec_that_is_not_on_the_list(self):
        error = refused(filmed((A, 5), kind="avi", codec="ffv1"))
        assert error.code == "unsupported_format" and "ffv1" in error.reason and "h264" in error.reason

    def test_playlist_inside_opens_nothing(self, tmp_path):
        """What begins as a clip is opened as one, never as a playlist that names other files."""
        (tmp_path / "secret.mp4").write_bytes(filmed((A, 5)))
        playlist = f"ffconcat version 1.0\nfile {tmp_path}/secret.mp4\n".encode()
        assert refused(playlist).code == "unknown_format"
        assert refused(b"\x00\x00\x00\x08free" + playlist).code in ("corrupt", "truncated", "no_video")

    def test_limits_that_are_none(self):
        with pytest.raises(ValueError, match="frames must be above 0, got 0"):
            ClipLimits(frames=0)
        with pytest.raises(ValueError, match="max-seconds"):
            ClipLimits(max_seconds=float("nan"))

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(seed=st.integers(0, 2**32), kind=st.sampled_from(["mp4", "avi", "matroska"]))
    def test_damage_gives_a_clip_or_a_reason(self, seed, kind, clips_by_kind):
        draw = random.Random(seed)
        data = bytearray(clips_by_kind[kind])
        for _ in range(draw.randint(1, 30)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        try:
            clip, frames = opened(bytes(data), decode_seconds=10)
        except PictureError:
            return
        assert len(frames) == len(clip.shots) > 0


@pytest.fixture(scope="module")
def clips_by_kind() -> dict[str, bytes]:
    small = [take(seed, fake=False, size=(64, 48)) for seed in (1, 2)]
    return {kind: filmed((small[0], 10), (small[1], 10), kind=kind) for kind in ("mp4", "avi", "matroska")}


def test_what_begins_as_a_clip(three, tmp_path):
    import toy

    assert is_clip(three) and is_clip(b"RIFF....AVI ") and is_clip(b"\x1a\x45\xdf\xa3") and is_clip(b"\0\0\0\x08wide\0\0\0\0mdat")
    for other in (toy.saved(A), toy.saved(A, "AVIF"), toy.saved(A, "WEBP"), toy.saved(A, "GIF"), b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", b""):
        assert not is_clip(other)
    assert not is_clip(tmp_path) and not is_clip(tmp_path / "gone")
