"""The command ``drift``. The command line loads it when it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from realgrain.faces.options import DONE, SOME_FAILED, Bundle, Json, check_drawing, publish, say, spare


def drift(
    *logs: Annotated[Path, Parameter(help="Scores tables (parquet), or JSON lines of `detect --json`; without days in them, each file is a day.")],
    reference: Annotated[int, Parameter(help="Days, from the first, that the others are compared with.")] = 7,
    alpha: Annotated[float, Parameter(help="Probability of any alarm, all days and signals together, if nothing changes.")] = 0.01,
    condition: Annotated[str, Parameter(help="Only rows of this delivery condition; needed where a table has several.")] = "",
    output: Annotated[Path | None, Parameter(alias="-o", help="JSON file to write as well.")] = None,
    plot: Annotated[Path | None, Parameter(help="PNG file to draw.")] = None,
    json: Json = False,
    bundle: Bundle = None,
    seed: Annotated[int, Parameter(help="Of what breaks ties and shuffles within a day.")] = 0,
    fail_on: Annotated[Literal["drift"] | None, Parameter(help="Exit with 1 when there is an alarm.")] = None,
) -> int:
    """Watch scored pictures without labels: has what comes in changed since a reference window? Says how large a change is, and how sure."""
    from realgrain.detector.bundle import read_bundle
    from realgrain.measuring import drift as watching
    from realgrain.measuring.drift_log import read_logs
    from realgrain.measuring.drift_tables import render
    from realgrain.measuring.whole import write_whole

    if not logs:
        raise ValueError("no logs: give scores tables, or JSON lines of `realgrain detect --json`")
    spare(logs, output, plot)
    if plot:
        check_drawing(plot, "a plot")
    found = watching.drift(read_logs(logs, read_bundle(bundle), condition), reference=reference, alpha=alpha, seed=seed)
    publish(found, render(found), output, list(logs), json)
    if plot:
        from realgrain.measuring.drift_plots import draw

        write_whole(plot, draw(found))
        say(f"{plot}: drawn")
    return SOME_FAILED if fail_on and found.alarms else DONE
