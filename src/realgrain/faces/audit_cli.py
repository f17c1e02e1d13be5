"""The command ``audit``. The command line loads it when it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from realgrain.faces.options import DONE, SOME_FAILED, Json, publish, say, spare


def audit(
    manifest: Annotated[Path, Parameter(help="CSV manifest of labelled pictures.")],
    *,
    split: Annotated[str, Parameter(help="Only rows of this split; without it all, and then what is in two splits is found.")] = "",
    output: Annotated[Path | None, Parameter(alias="-o", help="JSON file to write as well.")] = None,
    json: Json = False,
    equalise: Annotated[Path | None, Parameter(help="Folder for a copy in which both classes share one law of size, codec and quality.")] = None,
    least_side: Annotated[int, Parameter(help="Of pictures in that copy, pixels; smaller ones are left out, since none is enlarged.")] = 224,
    fail_on: Annotated[Literal["leak"] | None, Parameter(help="Exit with 1 when there is a leak.")] = None,
) -> int:
    """Check labelled pictures: can the label be read from what is not content, is each picture in the set once, do all open? No network is used."""
    from realgrain.learning.data import read_manifest
    from realgrain.measuring import audit as auditing
    from realgrain.measuring.audit_tables import render
    from realgrain.measuring.equalise import MANIFEST
    from realgrain.measuring.equalise import equalise as copy
    from realgrain.measuring.survey import survey

    spare([manifest], output)
    samples = [sample for sample in read_manifest(manifest) if not split or sample.split == split]
    if not samples:
        raise ValueError(f"{manifest}: no pictures" + (f" in split {split!r}" if split else ""))
    looked = survey(samples)
    found = auditing.audit_survey(looked)
    publish(found, render(found), output, [manifest], json)
    failed = looked.failed
    if equalise:
        made = copy(looked, equalise, least_side)
        failed = made.left_out
        sides, quality = ("–".join(map(str, ends)) for ends in (made.law.sides, made.law.quality))
        say(f"{equalise / MANIFEST}: {made.pictures} pictures, squares of {sides} pixels, JPEG of quality {quality}")
    for error in failed:
        say(error)
    return SOME_FAILED if failed or (fail_on and found.leaks) else DONE
