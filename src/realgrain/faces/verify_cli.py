"""The command ``verify``. The command line loads it when it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from cyclopts import Parameter

from realgrain.faces.judging import Judging, TrustList
from realgrain.faces.options import DONE, SOME_FAILED, Bundle, Json, Offline, Threads

if TYPE_CHECKING:
    from realgrain.detector.detect import Detector
    from realgrain.faces.case import Case
    from realgrain.faces.case_check import Checked

SHOWN = 5  # differences of a part that are printed; --json has all
LONGEST = 100  # characters of a value that are printed


def verify(
    case: Annotated[Path, Parameter(help="JSON file that `report PICTURE --json` wrote.")],
    picture: Annotated[Path, Parameter(help="The picture.")],
    *,
    bundle: Bundle = None,
    trust_list: TrustList = None,
    json: Json = False,
    offline: Offline = False,
    threads: Threads = None,
) -> int:
    """Judge a picture again as its case report says, and say what differs: exit code 0 nothing, 1 something, 2 it cannot be done.

    It shows that the numbers are what this detector says of this picture; not who made the report, nor when.
    """
    from realgrain.faces import show
    from realgrain.faces.case import look, read_case
    from realgrain.faces.case_check import check

    recorded, raw = read_case(case)
    detector = _detector(case, recorded, Judging(bundle=bundle, trust_list=trust_list, offline=offline, threads=threads))
    with show.busy("looking at the picture again"):
        now, _ = look(detector, picture, tiles=recorded.settings.tiles, name=recorded.report.picture.name)
    found = check(recorded, raw, now, detector)
    if json:
        print(found.model_dump_json(indent=2))
    else:
        print("\n".join(words(found)))
    return SOME_FAILED if found.outcome == "differs" else DONE


def _detector(file: Path, recorded: Case, asked: Judging) -> Detector:
    """The detector of a case, with its settings.

    Raises:
        CaseError: another bundle or another trust list is there than the case was made with.
    """
    from dataclasses import replace

    from realgrain.detector.bundle import read_bundle
    from realgrain.evidence.c2pa import read_trust_list
    from realgrain.faces.case import CaseError
    from realgrain.faces.options import Runtime
    from realgrain.picture.errors import printable

    wanted, there = recorded.report.detector.bundle, read_bundle(asked.bundle).hash
    if wanted != there:
        of = printable(recorded.settings.bundle or "the one that its realgrain shipped", LONGEST)
        made = f"made by bundle {printable(wanted[:12])} ({of})"
        raise CaseError(f"{printable(str(file))}: {made}, and this one is {there[:12]}: name the other's folder with --bundle")
    listed = None if recorded.report.evidence is None else recorded.report.evidence.trust_list
    here = None if asked.trust_list is None else read_trust_list(asked.trust_list).facts
    if (listed and listed.sha256) != (here and here.sha256):
        made, given = (f"trust list {of.name}, sha256 {printable(of.sha256[:12])}" if of else "no trust list" for of in (listed, here))
        raise CaseError(f"{printable(str(file))}: made with {made}, and given is {given}: name the same with --trust-list")
    of = recorded.settings
    policy = {name: getattr(of, name) for name in ("profile", "max_fpr", "prior", "stability", "fuse", "evidence")}
    return replace(asked, runtime=cast(Runtime, of.runtime), **policy).load()


def words(found: Checked) -> list[str]:
    """What was found, a line for each part, and what differs."""
    from realgrain.faces.case_check import PARTS
    from realgrain.picture.errors import printable

    lines = []
    for part in PARTS:
        mine = [one for one in found.differences if one.part == part]
        lines.append(f"{part:<9} {'same' if not mine else f'{len(mine)} differ'}")
        for one in mine[:SHOWN]:
            recorded, now = ("nothing" if value is None else printable(value, LONGEST) for value in (one.recorded, one.now))
            lines.append(f"  {printable(one.field)}: {recorded} in the report, {now} now")
        if len(mine) > SHOWN:
            lines.append(f"  and {len(mine) - SHOWN} more")
    how = "to the last bit" if found.exact else f"within {found.tolerance:g}, furthest {found.furthest:.2g}, because versions or processors differ"
    end = {
        "same": f"the same: verdict {found.verdict}, logits {how}",
        "other version": f"same verdict ({found.verdict}), other version: logits {how}",
        "differs": f"it differs: this picture and detector do not give this report; logits compared {how}",
    }
    return [*lines, end[found.outcome]]
