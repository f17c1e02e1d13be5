"""Clips that tests make themselves, with real encoders: scenes of a picture that drifts sideways, as under a slow camera.

Importing this builds nothing. Tests in any folder use it, because pytest puts this folder on the path:

    from filming import filmed, take
"""

import io
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import toy

SIZE = (256, 240)


def take(seed: int, *, fake: bool, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A picture to film, told from others by its brightness too: (H, W, 3) uint8."""
    shade = (seed * 70) % 140 - 70
    return np.clip(toy.picture(seed, fake=fake, size=size).astype(int) + shade, 0, 255).astype(np.uint8)


def filmed(
    *scenes: tuple[np.ndarray, int],
    rate: int = 10,
    kind: str = "mp4",
    codec: str = "mpeg4",
    turn: int | None = None,
    shape: Fraction | None = None,
    sound: bool = False,
    still: bool = False,
    front: bool = False,
    **made: str,
) -> bytes:
    """The bytes of a clip.

    Args:
        scenes: a picture, and frames of it.
        rate: frames a second.
        kind: mp4, webm, matroska or avi.
        codec: of the frames.
        turn: degrees that a player is told to turn it by.
        shape: of its pixels.
        sound: a second of silence, for each second of frames, beside it.
        still: the picture stands still.
        front: of mp4 and mov, the index stands before the data.
        made: options of the encoder.
    """
    import av

    # A muxer moves the index by reading the file again, for which that needs a name.
    with (
        tempfile.TemporaryDirectory() as folder,
        av.open(f"{folder}/clip", "w", format=kind, options={"movflags": "faststart"} if front else {}) as container,
    ):
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = scenes[0][0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.options = {"g": "1000", **made}
        stream.codec_context.thread_count = 1
        if codec == "mpeg4":
            stream.bit_rate = 4_000_000
        if turn is not None:
            stream.set_display_rotation(turn)
        if shape is not None:
            stream.codec_context.sample_aspect_ratio = shape
        voice = container.add_stream("aac", rate=16000) if sound else None
        for pixels, count in scenes:
            for index in range(count):
                moved = pixels if still else np.roll(pixels, index, axis=1)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(moved), format="rgb24")))
        container.mux(stream.encode())
        if voice is not None:
            _silence(container, voice, sum(count for _, count in scenes) / rate)
        container.close()
        return Path(folder, "clip").read_bytes()


def heard(seconds: float = 1) -> bytes:
    """A file of the same kind that has sound, and no pictures."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        _silence(container, container.add_stream("aac", rate=16000), seconds)
    return file.getvalue()


def _silence(container, stream, seconds: float) -> None:
    import av

    for index in range(int(16000 * seconds / 1024)):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, 1024 * index
        container.mux(stream.encode(frame))
    container.mux(stream.encode())
