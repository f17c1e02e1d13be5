"""The command ``report``. The command line loads it when it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from realgrain.faces.options import DONE, say


def report(
    *runs: Annotated[Path, Parameter(help="Folders that `bench run` wrote; several stand side by side.", negative="")],
    output: Annotated[Path, Parameter(alias="-o", help="HTML file to write.")],
    pictures: Annotated[
        tuple[Path, ...],
        Parameter(negative="", help="ROOT of the benchmark, to show the worst errors as pictures; may be repeated, one for each run in order."),
    ] = (),
    resamples: Annotated[int, Parameter(help="Of the paired bootstrap between runs.")] = 1000,
) -> int:
    """Write runs down as one HTML file that loads nothing: words, plots, worst errors, audit, published figures, lock file."""
    from realgrain.faces import run_page
    from realgrain.measuring.finished import read_run

    if not runs:
        raise ValueError("no runs: give the folders that `realgrain bench run` wrote")
    run_page.check_output(output)
    if len(pictures) not in {0, 1, len(runs)}:
        raise ValueError(f"{len(pictures)} folders of pictures for {len(runs)} runs: give one for all, or one for each")
    roots = pictures * len(runs) if len(pictures) == 1 else pictures or (None,) * len(runs)
    found = [read_run(folder) for folder in runs]
    run_page.write(found, roots, output, resamples)
    say(f"{output}: report of {len(found)} run{'' if len(found) == 1 else 's'}")
    return DONE
