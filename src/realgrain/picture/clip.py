"""The only opener of video bytes: everything else in realgrain sees clips through `open_clip`.

A clip is decoded twice: once to find its scenes, in which only tiny grey copies of its frames are kept, and once more for the frames that are
chosen, one at a time. Memory does not grow with its length, and no seeking means that every decoder gives the frames that it gives a player.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from realgrain.picture.errors import Limits, PictureError, Refused, check_size, printable
from realgrain.picture.magic import clip_format
from realgrain.picture.source import open_regular, read_source

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

Found = TypeVar("Found")
SUFFIXES = frozenset([".mp4", ".m4v", ".mov", ".3gp", ".webm", ".mkv", ".avi"])
"""By which clips are found in folders; what a file is, its content says."""
FRAMES = 16
"""Frames that are looked at, at most, unless told otherwise (our choice)."""
_MOST = 256  # frames that may be asked for: their views are in memory together
_DEMUXERS = {"MP4": "mov", "Matroska": "matroska", "AVI": "avi"}
_CODECS = ("h264", "hevc", "libdav1d", "av1", "libvpx", "vp8", "libvpx-vp9", "vp9", "mpeg4", "mjpeg", "prores")  # decoders, by FFmpeg's names
_FASTEST = 240  # frames a second that a clip may have, on average: more is no recording
_GREY = (32, 18)  # size of the copies that scenes are told by
_CUT = 20.0  # mean difference of luminance, of 255, from which neighbouring frames may be of two scenes ...
_ABOVE = 3.0  # ... if it is so many times what it was lately ...
_LATELY = 12  # ... over so many frames ...
_SHORTEST = 0.4  # ... and the last cut is so many seconds ago: a flash is two cuts, and no scene
_APART = 0.5  # seconds between frames of a scene, at least: closer ones tell nothing new (all of these are our choices)
_SHORT = 0.5  # seconds that may be missing of what the file promises
_HDR = {16: "PQ", 18: "HLG"}  # AVCOL_TRC_SMPTE2084, AVCOL_TRC_ARIB_STD_B67
_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}  # AVCOL_SPC of a frame -> SWS_CS of the scaler


@dataclass(frozen=True)
class ClipLimits:
    """How much one clip may cost (all are our choices).

    Args:
        frames: Frames that are looked at; 256 at most.
        max_seconds: Length of the clip.
        max_bytes: Size of the file, bytes.
        max_pixels: Width times height of a frame, pixels; the default has room for 4096 x 2304.
        decode_seconds: For decoding, by the clock.
        min_side: Shortest side accepted, pixels.

    Raises:
        ValueError: A limit is not above 0, or there are too many frames.
    """

    frames: int = FRAMES
    max_seconds: float = 180
    max_bytes: int = 512 * 2**20
    max_pixels: int = 9_500_000
    decode_seconds: float = 120
    min_side: int = 32

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"{field.name.replace('_', '-')} must be above 0, got {getattr(self, field.name)}")
        if self.frames > _MOST:
            raise ValueError(f"frames must be at most {_MOST}, got {self.frames}")

    @property
    def of_frames(self) -> Limits:
        """The same for what is a picture in it."""
        return Limits(max_bytes=self.max_bytes, max_pixels=self.max_pixels, min_side=self.min_side)


DEFAULT_CLIP_LIMITS = ClipLimits()


@dataclass(frozen=True)
class Scene:
    """A stretch of a clip between two cuts: seconds from its first frame; the end is that of its last frame."""

    start: float
    end: float


@dataclass(frozen=True)
class Shot:
    """A frame that is looked at.

    Attributes:
        time: Seconds from the clip's first frame.
        scene: Index of its scene.
    """

    time: float
    scene: int


@dataclass(frozen=True)
class Clip:
    """What there is to know of a clip.

    Attributes:
        name: What it was called, printable.
        format: MP4, Matroska or AVI, by content.
        codec: Of its frames, in FFmpeg's words, such as h264.
        width: Pixels, upright.
        height: Pixels, upright.
        bytes: Size of the file.
        sha256: Of the file's bytes, 64 lower-case hexadecimal digits.
        seconds: From the start of its first frame to the end of its last.
        frames: Decoded.
        scenes: In their order; the first begins at 0, each of the others where the one before it ends.
        shots: Frames that are looked at, in order of time.
        notes: What was done to the pixels, or was not, in words.
    """

    name: str
    format: str
    codec: str
    width: int
    height: int
    bytes: int
    sha256: str
    seconds: float
    frames: int
    scenes: tuple[Scene, ...]
    shots: tuple[Shot, ...]
    notes: tuple[str, ...]


def is_clip(source: str | os.PathLike[str] | bytes) -> bool:
    """Whether a file begins as a clip does; False for what cannot be read, so that whoever opens it says why."""
    if isinstance(source, bytes):
        return clip_format(source[:256]) is not None
    try:
        with open_regular(os.fspath(source), 2**63) as file:
            return clip_format(file.read(256)) is not None
    except (OSError, Refused):
        return False


def readable() -> bool:
    """Whether clips can be read here: whether the `video` extra is installed."""
    return importlib.util.find_spec("av") is not None


def open_clip(
    source: str | os.PathLike[str] | bytes,
    see: Callable[[NDArray[np.uint8]], Found],
    *,
    name: str | None = None,
    limits: ClipLimits = DEFAULT_CLIP_LIMITS,
) -> tuple[Clip, list[Found]]:
    """Open one clip, find its scenes, and look at frames of each.

    Reads MP4 and MOV, Matroska and WebM, and AVI; the content decides, not the name. Of their codecs H.264, HEVC, AV1, VP8, VP9, MPEG-4 part 2,
    Motion JPEG and ProRes. The first video stream is taken. Each scene gives one frame, from its middle, the longest ones first where there are too
    many; what is left of `limits.frames` goes to long scenes, spread evenly over their time, with half a second between frames at least. The same
    file gives the same frames. Frames are RGB by the matrix that the file names (without one BT.709 from 720 lines on, else BT.601), turned upright
    as it says; they are neither deinterlaced nor tone-mapped, and pixels that are not square stay so.

    Args:
        source: The content if `bytes`, else the path of a regular file.
        see: Is given each chosen frame in order of time, (H, W, 3) uint8 RGB; frames are not kept.
        name: What to call it in messages and in the result; by default the path as given, or "<bytes>".
        limits: What to refuse for its size, length or the time that it takes.

    Returns:
        The clip, and what `see` made of its frames.

    Raises:
        PictureError: Whatever is wrong with the file.
    """
    if name is None:
        name = "<bytes>" if isinstance(source, bytes) else os.fsdecode(source)
    outcome = _attempt(source, see, printable(name), limits)
    if isinstance(outcome, Refused):
        raise PictureError(name, outcome.code, outcome.reason)
    return outcome


def _attempt(
    source: str | os.PathLike[str] | bytes, see: Callable[[NDArray[np.uint8]], Found], name: str, limits: ClipLimits
) -> tuple[Clip, list[Found]] | Refused:
    try:
        with _opened(source, limits) as file:
            return _Reader(file, limits).look(name, see)
    except Refused as refused:
        return refused


@contextmanager
def _opened(source: str | os.PathLike[str] | bytes, limits: ClipLimits) -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        yield io.BytesIO(read_source(source, limits.of_frames))
    else:
        with open_regular(os.fspath(source), limits.max_bytes) as file:
            yield file


class _Reader:
    """One file, decoded as often as need be until its time is over."""

    def __init__(self, file: BinaryIO, limits: ClipLimits) -> None:
        self._file, self._limits = file, limits
        self._over = time.monotonic() + limits.decode_seconds
        head = file.read(256)
        if not head:
            raise Refused("empty", "has no bytes at all")
        kind = clip_format(head)
        if kind is None:
            raise Refused("unknown_format", "the first bytes are not those of MP4, MOV, Matroska, WebM or AVI")
        if not readable():
            raise Refused("unsupported_format", "is a clip, which needs the extra video: pip install 'realgrain[video]'")
        self.kind = kind

    def look(self, name: str, see: Callable[[NDArray[np.uint8]], Found]) -> tuple[Clip, list[Found]]:
        self._file.seek(0)
        digest, size = hashlib.sha256(), 0
        while block := self._file.read(2**20):
            digest.update(block)
            size += len(block)
        survey = self._survey()
        shots = _chosen(survey.times, survey.scenes, survey.ends, self._limits.frames)
        found, (height, width) = self._see([index for index, _ in shots], see)
        clip = Clip(
            name=name,
            format=self.kind,
            codec=survey.codec,
            width=width,
            height=height,
            bytes=size,
            sha256=digest.hexdigest(),
            seconds=round(survey.end, 6),
            frames=len(survey.times),
            scenes=tuple(Scene(round(start, 6), round(end, 6)) for start, end in survey.ends),
            shots=tuple(Shot(round(survey.times[index], 6), scene) for index, scene in shots),
            notes=survey.notes,
        )
        return clip, found

    def _survey(self) -> _Survey:
        """Decode everything once; of each frame only its time and how far it differs from the one before it is kept."""
        from av.video.reformatter import Interpolation, VideoReformatter

        reformatter = VideoReformatter()
        times: list[float] = []
        changes: list[float] = []
        before: NDArray[np.int16] | None = None
        end, notes = 0.0, []
        with self._video() as (container, stream):
            for frame, begins, ends in self._frames(container, stream):
                if not times:
                    notes = _notes(frame, stream)
                grey = reformatter.reformat(frame, *_GREY, format="gray", interpolation=Interpolation.AREA, threads=1).to_ndarray().astype(np.int16)
                changes.append(0.0 if before is None else float(np.abs(grey - before).mean()))
                before = grey
                times.append(begins)
                end = max(end, ends)
            if not times:
                raise Refused("truncated", "has not a single whole frame")
            promised = _promised(container, stream)
            if promised is not None and end < promised - max(_SHORT, 0.05 * promised):
                raise Refused("truncated", f"ends at {end:.1f} s of the {promised:.1f} s that it should have")
            scenes = _scenes(times, changes)
            codec = stream.codec_context.codec.canonical_name
        starts = [times[first] for first, _ in scenes]
        return _Survey(codec, times, scenes, list(zip(starts, [*starts[1:], end], strict=True)), end, tuple(notes))

    def _see(self, chosen: list[int], see: Callable[[NDArray[np.uint8]], Found]) -> tuple[list[Found], tuple[int, int]]:
        wanted, found, size = set(chosen), [], (0, 0)
        with self._video() as (container, stream):
            for index, (frame, _, _) in enumerate(self._frames(container, stream)):
                if index in wanted:
                    pixels = _upright(frame)
                    size = size if found else pixels.shape[:2]
                    found.append(see(pixels))
                if index == chosen[-1]:
                    break
        if len(found) != len(chosen):
            raise Refused("corrupt", "changed while it was read")
        return found, size

    @contextmanager
    def _video(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        """The file, opened as what it begins as and as nothing else; no other file or address that it names is."""
        import av
        from av.stream import Disposition

        self._file.seek(0)
        # Headers of somewhat larger clips are read, so that these are refused for what they are.
        most = str(8 * self._limits.max_pixels)
        options = {"codec_whitelist": ",".join(_CODECS), "protocol_whitelist": "none", "max_pixels": most, "threads": "1"}
        try:
            with av.open(self._file, "r", format=_DEMUXERS[self.kind], options=options, metadata_errors="replace") as container:
                streams = [one for one in container.streams.video if not Disposition.attached_pic & one.disposition]
                if not streams:
                    raise Refused("no_video", "has no video" + (", only sound" if container.streams.audio else ""))
                self._check(container, streams[0])
                yield container, streams[0]
        except av.error.FFmpegError as error:
            raise self._explained(error) from None
        except UnicodeError:
            raise Refused("corrupt", "has names that are no text") from None

    def _check(self, container: InputContainer, stream: VideoStream) -> None:
        """Refuse by what the file says of itself, before a frame is decoded."""
        context = stream.codec_context
        if context is None or context.codec.name not in _CODECS:
            said = "one that is not known" if context is None else context.codec.canonical_name
            raise Refused("unsupported_format", f"its codec is {said}; {', '.join(_names())} are read")
        if context.width or context.height:
            check_size(context.width, context.height, self._limits.of_frames)
        promised = _promised(container, stream)
        if promised is not None and promised > self._limits.max_seconds:
            raise self._too_long(promised)
        context.thread_count = 1  # the clock is looked at between frames, and a damaged file gives the same each time
        context.options = {"max_pixels": str(self._limits.max_pixels)}

    def _frames(self, container: InputContainer, stream: VideoStream) -> Iterator[tuple[av.VideoFrame, float, float]]:
        """Frames, with the seconds at which each begins and ends; they never run backwards."""
        limits, first, last, count = self._limits, None, 0.0, 0
        usual = float(1 / stream.average_rate) if stream.average_rate else 0.0
        for packet in container.demux(stream):
            self._tick()
            if packet.is_corrupt:
                raise Refused("truncated", f"its data end in the middle of a frame, after {last:.1f} s")
            for frame in packet.decode():
                self._tick()
                if frame.is_corrupt:
                    raise Refused("corrupt", f"is damaged at {last:.1f} s")
                check_size(frame.width, frame.height, limits.of_frames)
                base = frame.time_base
                begins = None if frame.pts is None or base is None else float(frame.pts * base)
                first = begins if first is None else first
                begins = last + usual if begins is None or first is None else begins - first
                last = max(begins, last)
                ends = last + (float(frame.duration * base) if frame.duration and base else usual)
                count += 1
                if last > limits.max_seconds:
                    raise self._too_long(None)
                if count > _FASTEST * limits.max_seconds:
                    raise Refused("too_long", f"has more than {int(_FASTEST * limits.max_seconds):,} frames")
                yield frame, last, min(ends, last + limits.max_seconds)

    def _tick(self) -> None:
        if time.monotonic() > self._over:
            raise Refused("decoder_hung", f"it takes more than {self._limits.decode_seconds:g} seconds to decode")

    def _too_long(self, seconds: float | None) -> Refused:
        return Refused(
            "too_long",
            f"{'more than the limit of' if seconds is None else f'{seconds:.1f} s is more than the limit of'} {self._limits.max_seconds:g} s",
        )

    def _explained(self, error: Exception) -> Refused:
        import av

        if isinstance(error, av.error.InvalidDataError):
            return Refused("corrupt", f"cannot be read as {self.kind}: it is damaged, or its end is missing")
        if isinstance(error, EOFError):
            return Refused("truncated", "ends early")
        if isinstance(error, MemoryError):
            return Refused("too_many_pixels", "there is not enough memory to decode it")
        return Refused("corrupt", f"cannot be decoded: {getattr(error, 'strerror', None) or error}")


@dataclass(frozen=True)
class _Survey:
    """What the first run through a clip finds; scenes are of indices (first, last + 1), ends their seconds."""

    codec: str
    times: list[float]
    scenes: list[tuple[int, int]]
    ends: list[tuple[float, float]]
    end: float
    notes: tuple[str, ...]


def _names() -> list[str]:
    return [name for name in _CODECS if not name.startswith("lib")]


def _promised(container: InputContainer, stream: VideoStream) -> float | None:
    """Seconds that the file says its pictures last; None where it does not."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if container.duration and not container.streams.audio:  # of all streams: sound may last longer
        return (container.duration - max(0, container.start_time or 0)) / 1e6  # Matroska's counts from 0, whenever the first picture comes
    return None


def _scenes(times: list[float], changes: list[float]) -> list[tuple[int, int]]:
    """Where scenes begin and end, as indices, by how far neighbouring frames differ.

    A cut is a change that is large, and large for this clip: that of a shaking hand is large all the time.
    """
    starts = [0]
    for index in range(1, len(times)):
        lately = changes[max(starts[-1] + 1, index - _LATELY) : index]
        usual = float(np.median(lately)) if lately else 0.0
        if changes[index] >= _CUT and changes[index] >= _ABOVE * usual and times[index] - times[starts[-1]] >= _SHORTEST:
            starts.append(index)
    return list(zip(starts, [*starts[1:], len(times)], strict=True))


def _chosen(times: list[float], scenes: list[tuple[int, int]], ends: list[tuple[float, float]], most: int) -> list[tuple[int, int]]:
    """Frames to look at, as (index, scene) in order of time.

    One of each scene; then one more to whichever has the longest stretch for each of its frames (highest averages), so that they lie evenly in time.
    """
    lengths = [end - start for start, end in ends]
    shares = dict.fromkeys(sorted(range(len(scenes)), key=lambda scene: (-lengths[scene], scene))[:most], 1)
    while sum(shares.values()) < most:
        scene = max(shares, key=lambda one: (lengths[one] / (shares[one] + 1), -one))
        if lengths[scene] / (shares[scene] + 1) < _APART:
            break
        shares[scene] += 1
    found = set()
    for scene, share in shares.items():
        (first, beyond), (start, _) = scenes[scene], ends[scene]
        for number in range(share):
            wanted = start + lengths[scene] * (2 * number + 1) / (2 * share)
            index = min(max(bisect_left(times, wanted, first, beyond), first), beyond - 1)
            if index > first and wanted - times[index - 1] <= times[index] - wanted:
                index -= 1
            found.add((index, scene))
    return sorted(found)


def _upright(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """RGB pixels (H, W, 3), contiguous; chroma is interpolated, by arithmetic that is the same on all processors."""
    from av.video.reformatter import Interpolation, VideoReformatter

    exact = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
    matrix = _MATRIX.get(int(frame.colorspace), 1 if frame.height >= 720 else 5)
    made = VideoReformatter().reformat(frame, format="rgb24", src_colorspace=matrix, interpolation=exact, threads=1)
    pixels = made.to_ndarray().astype(np.uint8, copy=False)
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))


def _notes(frame: av.VideoFrame, stream: VideoStream) -> list[str]:
    found = []
    if turn := round(frame.rotation / 90) % 4 * 90:
        found.append(f"turned by {turn} degrees counter-clockwise, as the file says")
    if (shape := stream.sample_aspect_ratio) and shape != 1:
        found.append(f"pixels are {shape.numerator}:{shape.denominator}, not square, and are kept so")
    if name := _HDR.get(int(frame.color_trc)):
        found.append(f"high dynamic range ({name}), not tone-mapped")
    if frame.interlaced_frame:
        found.append("interlaced, not deinterlaced")
    return found
