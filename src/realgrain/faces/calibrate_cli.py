"""The command ``calibrate``. The command line loads it when it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from realgrain.faces.options import DONE, Offline, Runtime, Threads, say


def calibrate(
    bundle: Annotated[Path, Parameter(help="A detector's folder; it stays as it is.")],
    *,
    data: Annotated[
        Path, Parameter(help="CSV manifest of labelled pictures that it has not learned from; real ones suffice for a false-positive rate.")
    ],
    output: Annotated[Path, Parameter(alias="-o", help="Folder of the bundle to write; must not exist.")],
    profile: Annotated[str, Parameter(help="Name of the profile to make or to replace; video: of clips, which the manifest then names.")] = "own",
    conditions: Annotated[
        tuple[str, ...], Parameter(consume_multiple=True, help="Deliveries to score each picture in; its worst counts. clean: as the files are.")
    ] = ("clean",),
    split: Annotated[str, Parameter(help="Only rows of this split.")] = "",
    runtime: Runtime = "onnxruntime",
    offline: Offline = False,
    threads: Threads = None,
) -> int:
    """Make a profile of your own pictures: thresholds with error rates for sources like yours. The weights are not touched."""
    from realgrain.detector.decision import Policy, decision_of, of_real
    from realgrain.detector.detect import load
    from realgrain.detector.profiles import VIDEO
    from realgrain.faces import show
    from realgrain.measuring import calibrate as calibrating
    from realgrain.measuring.clips import score_clips
    from realgrain.measuring.score import score
    from realgrain.picture.conditions import expand

    if output.exists():
        raise FileExistsError(f"{output}: exists already")
    conditions = expand(conditions)
    if profile == VIDEO and conditions != ("clean",):
        raise ValueError("clips are scored as their files are: --profile video takes no --conditions")
    detector = load(bundle, runtime=runtime, offline=offline, threads=threads, many=True)
    samples = calibrating.unseen(data, detector.bundle, split)
    scored = score_clips(detector, samples) if profile == VIDEO else score(detector, samples, conditions, traits=True)
    rows = show.progress(scored, len(samples) * len(conditions), "scoring")
    made = calibrating.calibrate(detector, rows, samples, data, output, profile)
    say(f"{output}: bundle {made.hash}")
    say(f"profile {profile}: {of_real(decision_of(made, Policy(profile)))}")
    return DONE
