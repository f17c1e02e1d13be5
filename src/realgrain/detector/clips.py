"""Clips: each frame is judged as a picture is, and what that says of the clip is decided here, once.

Our choice: a clip's logit is the median of its frames' logits, which some odd frames, a title or a fade, do not move. A short stretch of generated
frames does not move it either: that is what the frames and the scenes are listed for. Thresholds for pictures were measured on pictures and tell
nothing of medians over compressed video, so a clip has a profile of its own, ``video``, and no verdict until a bundle has data for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter

from realgrain.detector.bundle import Bundle
from realgrain.detector.decision import Decision, Policy, decision_of, interval, shortfall
from realgrain.detector.domain import InDomain
from realgrain.detector.profiles import VIDEO
from realgrain.detector.seen import Seen, prepare
from realgrain.detector.verdict import WHY, DetectorFacts, Report, Verdict, _Part, decide
from realgrain.picture.clip import DEFAULT_CLIP_LIMITS, FRAMES, Clip, ClipLimits, is_clip, open_clip
from realgrain.picture.errors import PictureError
from realgrain.picture.image import NO_PIXELS, Picture
from realgrain.picture.views import ViewSpec

if TYPE_CHECKING:
    from realgrain.detector.detect import Detector, Source

CAUTION = "frames of a compressed video are not what the detector was validated on"


class ClipFacts(_Part):
    """The file and how it was read; ``seconds`` is its length, ``frames`` how many were decoded, ``notes`` what was done to them."""

    name: str
    sha256: str
    bytes: int
    format: str
    codec: str
    width: int
    height: int
    seconds: float
    frames: int
    notes: list[str]


class FrameScore(_Part):
    """A frame, judged as a picture is, but for its verdict: thresholds of pictures are not for frames.

    Attributes:
        time: seconds from the clip's first frame.
        scene: number of its scene, from 1.
        logit: mean of the views' logits; higher: more likely AI-generated.
        probability: on the scale of pictures, see ``ClipReport.pictures``; None without one.
        domain: where it lies among the training pictures; None where bundle or runtime do not tell.
    """

    time: float
    scene: int
    logit: float
    probability: float | None = Field(ge=0, le=1)
    domain: InDomain | None = None


class SceneScore(_Part):
    """A stretch between two cuts.

    Attributes:
        scene: its number, from 1.
        start: seconds.
        end: seconds.
        frames: that were looked at; 0 where there were too many scenes for all.
        logit: median of theirs; None for none.
    """

    scene: int
    start: float
    end: float
    frames: int
    logit: float | None


class ClipReport(_Part):
    """Everything that realgrain says of one clip. The same clip, bundle, runtime and limits give the same report, byte for byte.

    Attributes:
        version: of this schema.
        kind: tells it from the report of a picture.
        aggregate: how ``logit`` comes from those of the frames.
        logit: of the clip.
        probability: on the scale of profile ``video``, at even odds; None unless that has one of its own.
        verdict: by the thresholds of profile ``video``; ``unsure: uncalibrated`` where the bundle has no data for it.
        sentence: the verdict in words, with its error rate and its caution.
        decision: the thresholds that it went by.
        pictures: those of pictures of the content that the middle frame has; each frame's probability is on the scale of its own content.
        domain: of the frame in the middle when they are sorted by distance.
        scenes: in order.
        frames: that were looked at, in order of time.
    """

    version: Literal[2] = 2
    kind: Literal["clip"] = "clip"
    clip: ClipFacts
    aggregate: Literal["median"] = "median"
    logit: float
    probability: float | None = Field(ge=0, le=1)
    verdict: Verdict
    sentence: str
    decision: Decision
    pictures: Decision
    domain: InDomain | None = None
    scenes: list[SceneScore]
    frames: list[FrameScore]
    detector: DetectorFacts


@dataclass(frozen=True)
class ClipSeen:
    """A clip, ready for the runtime.

    Attributes:
        clip: as opened.
        views: (F, V, 3, H', W') float32 of its F frames.
    """

    clip: Clip
    views: np.ndarray

    def frames(self) -> list[Seen]:
        """Each as a picture that is ready for the runtime."""
        return [Seen(picture=_as_picture(self.clip), evidence=None, views=views, borders=None, again={}) for views in self.views]


_CLIP = TypeAdapter(Clip)


def _as_picture(clip: Clip, pixels: np.ndarray = NO_PIXELS) -> Picture:
    return Picture(
        pixels=pixels,
        **{name: getattr(clip, name) for name in ("name", "format", "width", "height", "bytes", "sha256", "notes")},
        mode="RGB",
        frames=clip.frames,
        orientation=1,
        icc=None,
        jpeg_quality=None,
        subsampling=None,
        progressive=False,
    )


def look_through(source: str | os.PathLike[str] | bytes, views: ViewSpec, *, name: str | None, limits: ClipLimits) -> ClipSeen:
    """Open a clip in this process and make the views of its frames, as ``realgrain.detector.seen.prepare`` does for a picture.

    Raises:
        PictureError: it cannot be read as a clip.
    """
    nobody = Clip("", "", "", 0, 0, 0, "", 0, 0, (), (), ())

    def see(pixels: np.ndarray) -> np.ndarray:
        return prepare(_as_picture(nobody, pixels), None, views, None).views

    clip, found = open_clip(source, see, name=name, limits=limits)
    return ClipSeen(clip, np.stack(found))


def packed(seen: ClipSeen) -> tuple[dict[str, Any], bytes]:
    """A seen clip as JSON and safetensors, to be sent out of a process that nobody trusts."""
    from safetensors.numpy import save

    return asdict(seen.clip), save({"views": seen.views})


def unpacked(said: dict[str, Any], arrays: bytes) -> ClipSeen:
    """What ``packed`` made, checked.

    Raises:
        ValueError: it cannot be that.
    """
    from safetensors.numpy import load

    clip, views = _CLIP.validate_python(said), load(arrays)["views"]
    if views.ndim != 5 or views.dtype != np.float32 or len(views) != len(clip.shots) or not len(views):
        raise ValueError("the views are not those of the clip")
    if any(not 0 <= shot.scene < len(clip.scenes) for shot in clip.shots):
        raise ValueError("frames of scenes that there are not")
    return ClipSeen(clip, views)


def detect_clip(detector: Detector, source: Source, limits: ClipLimits = DEFAULT_CLIP_LIMITS) -> ClipReport:
    """Judge one clip, decoded in a process of its own.

    Raises:
        PictureError: it cannot be read as a clip; names the file and the reason.
    """
    from realgrain.detector.apart import look_apart

    seen = look_apart(source, detector.bundle.card.views, limits=limits)
    return conclude([detector.judged(frame) for frame in seen.frames()], seen.clip, detector.bundle, detector.policy, limits)


def detect_each(
    detector: Detector, sources: Iterable[Source], limits: ClipLimits = DEFAULT_CLIP_LIMITS
) -> Iterator[Report | ClipReport | PictureError]:
    """Judge pictures and clips, in order; a bad file yields its error and stops nothing."""
    for clips, group in groupby(sources, is_clip):
        judge = partial(map, partial(_caught, detector, limits=limits)) if clips else detector.detect_many
        yield from judge(group)


def _caught(detector: Detector, source: Source, limits: ClipLimits) -> ClipReport | PictureError:
    try:
        return detect_clip(detector, source, limits)
    except PictureError as error:
        return error


def clip_decision(bundle: Bundle, policy: Policy, limits: ClipLimits) -> Decision:
    """The thresholds for clips: of profile ``video``, whatever profile pictures go by. Other samples than it was made of have none."""
    if limits.frames != FRAMES:
        return Decision(profile=VIDEO, asked_fpr=policy.max_fpr, supported=False, fitted=bundle.card.made, bundle=bundle.hash)
    return decision_of(bundle, Policy(VIDEO, policy.max_fpr))


def median_logit(logits: Sequence[float]) -> float:
    """The logit of a clip, or of a scene, from those of its frames, in whatever order."""
    return float(np.median(np.asarray(logits, np.float64)))


def conclude(reports: Sequence[Report], clip: Clip, bundle: Bundle, policy: Policy, limits: ClipLimits) -> ClipReport:
    """What follows from the reports of a clip's frames.

    Args:
        reports: of ``ClipSeen.frames``, in their order; their verdicts are not used.
        clip: whose they are.
        bundle: that judged them.
        policy: that they were judged by.
        limits: that the clip was opened with.
    """
    logit = median_logit([report.logit for report in reports])
    decision = clip_decision(bundle, policy, limits)
    domain = _middle([report.domain for report in reports if report.domain is not None])
    verdict, chance = decide(logit, min(clip.width, clip.height), bundle.card, decision, None, domain)
    profile = bundle.card.profiles.get(VIDEO)
    frames = [
        FrameScore(time=shot.time, scene=shot.scene + 1, logit=report.logit, probability=report.probability, domain=report.domain)
        for shot, report in zip(clip.shots, reports, strict=True)
    ]
    return ClipReport(
        clip=ClipFacts(**{name: getattr(clip, name) for name in ClipFacts.model_fields if name != "notes"}, notes=list(clip.notes)),
        logit=logit,
        probability=chance if profile is not None and profile.calibration is not None and decision.ai is not None else None,
        verdict=verdict,
        sentence=_sentence(verdict, decision, len(frames), logit, limits),
        decision=decision,
        pictures=decision_of(bundle, policy, None if domain is None else domain.group),
        domain=domain,
        scenes=[_scene(number, scene.start, scene.end, frames) for number, scene in enumerate(clip.scenes, 1)],
        frames=frames,
        detector=reports[0].detector,
    )


def _middle(places: Sequence[InDomain]) -> InDomain | None:
    return sorted(places, key=lambda place: place.distance)[len(places) // 2] if places else None


def _scene(number: int, start: float, end: float, frames: Sequence[FrameScore]) -> SceneScore:
    mine = [frame.logit for frame in frames if frame.scene == number]
    return SceneScore(scene=number, start=start, end=end, frames=len(mine), logit=median_logit(mine) if mine else None)


def _sentence(verdict: Verdict, decision: Decision, frames: int, logit: float, limits: ClipLimits) -> str:
    seen = f"median logit {logit:.2f} of {frames} frame{'' if frames == 1 else 's'}"
    rate = decision.false_positive
    if rate is None:
        why = (
            f"error rates are known for {FRAMES} frames a clip, not for {limits.frames}"
            if limits.frames != FRAMES
            else f"this bundle has no calibration data for clips, which `realgrain calibrate --profile {VIDEO}` makes of labelled ones"
        )
        return f"unsure: {', '.join(WHY[reason] for reason in verdict.reasons)}; {seen}; {CAUTION}, and {why}"
    cost = (
        f"at this threshold {interval(rate)} of real clips from sources like yours are flagged, n = {rate.n:,}, fitted on {decision.fitted}, "
        f"bundle {decision.bundle[:12]}"
    )
    if not decision.supported and (short := shortfall(decision)):
        cost += f"; {short}"
    end = f"{cost}; {CAUTION}: the rate is that of the clips that profile {VIDEO} was made of"
    if verdict.label == "ai":
        return f"flagged; {seen}; {end}"
    if verdict.label == "camera":
        missed = decision.missed
        passed = "" if missed is None else f"; {interval(missed)} of generated clips are called so too, n = {missed.n:,}"
        return f"not flagged, called a recording{passed}; {seen}; {end}"
    return f"unsure: {', '.join(WHY[reason] for reason in verdict.reasons)}; {seen}; {end}"
