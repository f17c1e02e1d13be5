"""The command ``adapt``. The command line loads it when it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from realgrain.faces.options import DONE, REFUSED, SOME_FAILED, Bundle, Json, Offline, publish, say, spare


def adapt(
    *,
    fake: Annotated[Path, Parameter(help="Folder of pictures by the new generator, at least 8.")],
    real: Annotated[Path, Parameter(help="Folder of real photographs, at least 8, best of the same subjects.")],
    output: Annotated[Path, Parameter(alias="-o", help="Folder of the bundle to write; must not exist.")],
    bundle: Bundle = None,
    replay: Annotated[
        Path | None,
        Parameter(help="CSV manifest of known labelled pictures, best the one that it was trained on; without it, what the bundle keeps of those."),
    ] = None,
    generator: Annotated[str, Parameter(help="Name of the new generator; without it, that of its folder.")] = "",
    camera: Annotated[str, Parameter(help="Name of the photographs' source; without it, that of their folder.")] = "",
    licence: Annotated[str, Parameter(help="Of the new pictures, for the card.")] = "not stated",
    share: Annotated[
        float,
        Parameter(help="Of the loss that new pictures count for, where they are many; more learns more and forgets more. Halved, twice, if refused."),
    ] = 0.3,
    margin: Annotated[
        float,
        Parameter(help="Fall of the mean detection rate that is refused though so few pictures do not prove it; twice that for one generator."),
    ] = 0.05,
    report: Annotated[Path | None, Parameter(help="JSON file to write the gate's figures to, whether it passes or not.")] = None,
    json: Json = False,
    offline: Offline = False,
) -> int:
    """Teach a detector a new generator from a few pictures. Refuses with exit code 3, and writes nothing, if it would forget others for it."""
    from realgrain.detector.bundle import read_bundle
    from realgrain.learning import adapt as adapting
    from realgrain.measuring.gate import adapt_gated
    from realgrain.measuring.gate_tables import render

    if output.exists():
        raise FileExistsError(f"{output}: exists already")
    spare([replay] if replay else [], report)
    if not 0 <= margin <= 1:
        raise ValueError(f"margin {margin}: a share from 0 to 1")
    given = adapting.gather(read_bundle(bundle), fake, real, replayed=replay, generator=generator, camera=camera, offline=offline)
    found, gate = adapt_gated(given, share, margin)
    publish(gate, render(gate), report, [replay] if replay else [], json)
    if given.spoiled:
        say("the old detector learned from the replayed pictures and cannot be had without them: it looks better than it is; no profile is written")
    if not gate.passed:
        return REFUSED
    learned = adapting.calibrate(found)
    made = adapting.write(found, learned, output, licence=licence)
    lost = sorted(given.bundle.card.profiles.keys() - made.card.profiles.keys())
    say(f"{output}: bundle {made.hash}, of {given.bundle.hash}")
    if lost:
        say(f"profiles left out, for they were calibrated for the old head: {', '.join(lost)}; make them again with `realgrain calibrate`")
    return SOME_FAILED if given.failed else DONE
