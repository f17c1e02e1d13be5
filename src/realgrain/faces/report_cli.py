"""The command ``report``. The command line loads it when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from realgrain.faces.judging import AS_USUAL, Judging
from realgrain.faces.options import DONE, say, spare

RESAMPLES = 1000


def report(
    *what: Annotated[Path, Parameter(help="A picture; or folders that `bench run` wrote; several stand side by side.", negative="")],
    output: Annotated[Path | None, Parameter(alias="-o", help="HTML file to write.")] = None,
    json: Annotated[Path | None, Parameter(help="Of a picture: JSON file to write, which `verify` reads.")] = None,
    regions: Annotated[
        bool, Parameter(negative="--no-regions", help="Of a picture: look where in it the score comes from, at the cost of up to 128 more pictures.")
    ] = True,
    pictures: Annotated[
        tuple[Path, ...],
        Parameter(
            negative="", help="Of runs: ROOT of the benchmark, to show the worst errors as pictures; may be repeated, one for each run in order."
        ),
    ] = (),
    resamples: Annotated[int, Parameter(help="Of runs: of the paired bootstrap between them.", validator=Number(gte=0))] = RESAMPLES,
    judging: Judging = AS_USUAL,
) -> int:
    """Write one HTML file that loads nothing: the case of a picture with its verdict, evidence and limits; or what benchmark runs have found."""
    for path in what:
        if not path.exists():
            raise ValueError(f"{path}: no such file or folder")
    named = [path for path in what if path.is_file()]
    if not named:
        if json is not None or not regions or judging != AS_USUAL:
            raise ValueError("--json, --no-regions and the detector's options are for the report of a picture; runs have their own detector")
        return _runs(what, output, pictures, resamples)
    if len(what) > 1:
        raise ValueError("a case report is of one picture" + ("; give either a picture or folders of runs" if len(named) < len(what) else ""))
    if pictures or resamples != RESAMPLES:
        raise ValueError("--pictures and --resamples are for the report of runs")
    return _case(named[0], output, json, regions, judging)


def _case(picture: Path, output: Path | None, json: Path | None, regions: bool, judging: Judging) -> int:
    from realgrain.detector.decision import unmet
    from realgrain.evidence.regions import MOST
    from realgrain.faces import case_page, page, show
    from realgrain.faces.case import look
    from realgrain.measuring.whole import write_whole

    if output is None and json is None:
        raise ValueError("nothing to write: name an HTML file with -o, a JSON file with --json, or both")
    if output is not None:
        page.check_output(output, "a case report is an .html file; --json names the other")
    spare([picture], output, json)
    detector = judging.load()
    if short := unmet(detector.policy, detector.decision):
        say(short)
    with show.busy("looking at the picture" + (" and its parts" if regions else "")):
        case, pixels = look(detector, picture, tiles=MOST if regions else None)
    if json is not None:
        write_whole(json, case.content())
        say(f"{json}: the case as JSON")
    if output is not None:
        case_page.write(case, pixels, output)
        say(f"{output}: case report")
    say(f"{case.report.picture.name}: {case.report.sentence}")
    return DONE


def _runs(runs: Sequence[Path], output: Path | None, pictures: tuple[Path, ...], resamples: int) -> int:
    from realgrain.faces import page, run_page
    from realgrain.measuring.finished import read_run

    if not runs:
        raise ValueError("nothing to report: give a picture, or the folders that `realgrain bench run` wrote (no runs)")
    if output is None:
        raise ValueError("nothing to write: name an HTML file with -o")
    page.check_output(output, "a report of runs is an .html file", "matplotlib")
    if len(pictures) not in {0, 1, len(runs)}:
        raise ValueError(f"{len(pictures)} folders of pictures for {len(runs)} runs: give one for all, or one for each")
    roots = pictures * len(runs) if len(pictures) == 1 else pictures or (None,) * len(runs)
    found = [read_run(folder) for folder in runs]
    run_page.write(found, roots, output, resamples)
    say(f"{output}: report of {len(found)} run{'' if len(found) == 1 else 's'}")
    return DONE
