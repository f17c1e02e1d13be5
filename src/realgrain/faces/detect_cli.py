"""The command ``detect``. The command line loads it when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from realgrain.faces.judging import AS_USUAL, Judging
from realgrain.faces.options import DONE, SOME_FAILED, WRONG_USAGE, check_drawing, say, spare

if TYPE_CHECKING:
    from realgrain.picture.clip import ClipLimits


def _no_option(_: object, name: str) -> None:
    """Of what starts with a hyphen, only the hyphen itself names pictures."""
    if name.startswith("-") and name != "-":
        raise ValueError(f"Unknown option: {name}. A file of that name is ./{name}")


@Parameter(name="*")
@dataclass(frozen=True)
class Sampling:
    """Options for clips, with their defaults."""

    frames: Annotated[int, Parameter(help="Of a clip: frames to look at, at most. Verdicts have error rates for the default only.")] = 16
    max_seconds: Annotated[float, Parameter(help="Of a clip: its length at most.")] = 180
    max_clip_mib: Annotated[float, Parameter(help="Of a clip: its size at most, MiB.")] = 512
    decode_seconds: Annotated[float, Parameter(help="Of a clip: for decoding it, after which that is stopped.")] = 120

    def limits(self) -> ClipLimits:
        """For the opener of clips.

        Raises:
            ValueError: one is not above 0.
        """
        from realgrain.picture.clip import ClipLimits

        return ClipLimits(
            frames=self.frames, max_seconds=self.max_seconds, max_bytes=int(self.max_clip_mib * 2**20), decode_seconds=self.decode_seconds
        )


DEFAULTS = Sampling()


def detect(
    *pictures: Annotated[
        str,
        Parameter(
            help="Pictures and clips: files, folders, globs, or - for a list on standard input.", allow_leading_hyphen=True, validator=_no_option
        ),
    ],
    json: Annotated[bool, Parameter(negative="", help="One report a line, as JSON.")] = False,
    fail_on: Annotated[Literal["ai"] | None, Parameter(help="Exit with 1 when a picture gets this verdict, as when a file failed.")] = None,
    timeline: Annotated[Path | None, Parameter(help="Of one clip: PNG file to draw its frames' probabilities over time into.")] = None,
    watch: Annotated[
        Path | None,
        Parameter(help="Folder whose pictures and clips to judge, those that are there and then what arrives, as JSON lines, until Ctrl-C."),
    ] = None,
    sampling: Sampling = DEFAULTS,
    judging: Judging = AS_USUAL,
) -> int:
    """Judge pictures and short videos: AI-generated, made by a camera, or unsure; each with its probability and the measured error rate."""
    from realgrain.detector.clips import ClipReport, detect_each
    from realgrain.detector.decision import unmet
    from realgrain.faces import show
    from realgrain.faces.sources import expand
    from realgrain.picture.clip import is_clip

    limits = sampling.limits()
    if watch is not None:
        return _watch(watch, bool(pictures or timeline or fail_on), judging, limits)
    paths, missing = expand(pictures)
    if not paths and not missing:
        raise ValueError("no pictures: give files, folders, globs, or - for a list on standard input")
    if timeline is not None:
        if (clips := sum(map(is_clip, paths))) != 1:
            raise ValueError(f"--timeline draws one clip, and there are {clips}")
        check_drawing(timeline, "a timeline")
        spare(paths, timeline)
    detector = judging.load(many=len(paths) > 1)
    if short := unmet(detector.policy, detector.decision):
        say(short)
    failed, flagged, judged = len(missing), 0, 0
    for error in missing:
        say(str(error))
    printer = show.JsonLines() if json else show.Table(detector.bundle.card.name)
    for outcome in show.progress(detect_each(detector, paths, limits), len(paths), "judging"):
        if isinstance(outcome, Exception):
            failed += 1
            say(str(outcome))
            continue
        judged += 1
        flagged += outcome.verdict.label == fail_on
        printer.add(outcome)
        if timeline is not None and isinstance(outcome, ClipReport):
            from realgrain.faces.timeline import draw

            draw(outcome, timeline)
            say(f"{timeline}: timeline")
    printer.close()
    if not judged:
        return WRONG_USAGE
    return SOME_FAILED if failed or flagged else DONE


def _watch(folder: Path, more: bool, judging: Judging, limits: ClipLimits) -> int:
    if more:
        raise ValueError("--watch takes no other pictures, no --timeline and no --fail-on: it judges what is in its folder")
    from realgrain.detector.decision import unmet
    from realgrain.faces.watching import arrivals, report_each

    files = arrivals(folder)
    detector = judging.load()
    if short := unmet(detector.policy, detector.decision):
        say(short)
    say(f"{folder}: watched; Ctrl-C ends it")
    report_each(files, detector, limits)
    return DONE
