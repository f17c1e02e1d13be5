"""Whether a case report holds what its picture and its detector say: everything is computed again, and compared field by field.

What was measured (logits, a distance) must be equal to the last bit on the same versions and processor, and within the card's tolerance on others.
What follows from it is computed from the numbers that the report has, so that none can be changed alone; with other versions, to a relative 1e-9.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from realgrain.detector.detect import Detector
from realgrain.evidence.regions import Regions, judged
from realgrain.faces.case import Case, assemble, parsed
from realgrain.faces.origins import escaped
from realgrain.picture.errors import printable

Part = Literal["file", "bundle", "versions", "names", "logits", "verdict", "evidence", "regions", "settings", "words"]
PARTS: dict[Part, tuple[str, ...]] = {
    "file": ("/report/picture",),
    "versions": ("/machine", "/report/detector/realgrain", "/report/detector/runtime_version"),
    "names": ("/settings/bundle", "/report/evidence/trust_list/name", "/report/evidence/trust_list/date"),
    "bundle": ("/report/detector", "/report/decision/bundle", "/weights", "/tolerance", "/intended_use"),
    "words": ("/report/sentence", "/report/fused/rule", "/report/evidence/caution", "/limits", "/origins", "/command"),
    "logits": ("/report/logit", "/report/view_logits", "/report/stability", "/report/domain/distance"),
    "verdict": ("/report",),
    "evidence": ("/report/evidence",),
    "regions": ("/regions",),
    "settings": ("",),
}
"""Where in the JSON each part is; of those that fit, the longest counts."""
EXCUSED: tuple[Part, ...] = ("versions", "names")
"""That is shown and makes no difference: the rest is what counts. Words are not: whoever changes a sentence can change the version beside it too."""
DISTANCE = 1e-3
"""Of distances in [0, 2], on other versions and processors (our choice)."""
SAME = 1e-9


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Difference(_Part):
    """One field: JSON pointer into the case, what the report has there, and what there is when it is computed again; None: nothing."""

    part: Part
    field: str
    recorded: str | None
    now: str | None


class Checked(_Part):
    """What was found.

    Attributes:
        outcome: ``other version``: only versions are not the same.
        exact: whether logits had to be equal to the last bit.
        tolerance: of a logit.
        furthest: largest difference of a logit.
        verdict: label now.
        differences: one a field, in the order of the JSON.
    """

    outcome: Literal["same", "other version", "differs"]
    exact: bool
    tolerance: float
    furthest: float
    verdict: str
    differences: list[Difference]


def check(recorded: Case, raw: bytes, now: Case, detector: Detector) -> Checked:
    """Compare.

    Args:
        recorded: the case.
        raw: the bytes that it was read from.
        now: the same picture, looked at again.
        detector: that did.
    """
    exact = recorded.machine == now.machine and recorded.report.detector == now.report.detector
    tolerance = 0.0 if exact else now.tolerance
    expected = _expected(recorded, now, detector, exact, tolerance)
    old, new, own = (dict(_leaves(parsed(content), "")) for content in (raw, expected.content(), now.content()))
    new |= {field: own[field] for field in PARTS["names"] if field in own}
    fields = [field for field in dict.fromkeys((*old, *new)) if field not in old or field not in new or not _equal(old[field], new[field], exact)]
    found = [Difference(part=_part(field), field=field, recorded=_shown(old, field), now=_shown(new, field)) for field in fields]
    was, verdict = recorded.report.verdict, now.report.verdict
    if (was.label, was.reasons) != (verdict.label, verdict.reasons) and not any(one.field.startswith("/report/verdict/") for one in found):
        pair = (f"{of.label} {', '.join(of.reasons)}".strip() for of in (was, verdict))
        found.append(Difference(part="verdict", field="/report/verdict", recorded=next(pair), now=next(pair)))
    real = [one for one in found if one.part not in EXCUSED]
    return Checked(
        outcome="differs" if real else "same" if exact else "other version",
        exact=exact,
        tolerance=tolerance,
        furthest=max((abs(a - b) for a, b in _logits(recorded, now)), default=0.0),
        verdict=verdict.label,
        differences=found,
    )


def _expected(recorded: Case, now: Case, detector: Detector, exact: bool, tolerance: float) -> Case:
    """The case that follows from the recorded numbers where they are near enough to those of now, and from those of now where they are not."""
    was, report = recorded.report, now.report

    def near(old: Sequence[float], new: Sequence[float], most: float = tolerance) -> list[float]:
        return [a if abs(a - b) <= most else b for a, b in zip(old, new, strict=True)] if len(old) == len(new) else list(new)

    again = {} if report.stability is None else {view.name: view.logit for view in report.stability.views[1:]}
    before = {} if was.stability is None else {view.name: view.logit for view in was.stability.views[1:]}
    if before.keys() == again.keys():
        again = dict(zip(again, near([before[name] for name in again], list(again.values())), strict=True))
    place = report.domain
    if place is not None and was.domain is not None:
        (distance,) = near([was.domain.distance], [place.distance], 0.0 if exact else DISTANCE)
        place = place.model_copy(update={"distance": distance, "outside": distance >= place.threshold})
    said = report.evidence
    if said is not None and said.trust_list is not None and was.evidence is not None and was.evidence.trust_list is not None:
        # The name and the day of a list are the file's, as folders have the names that they had there: bundle and list are the same by sha256.
        listed = said.trust_list.model_copy(update={"name": was.evidence.trust_list.name, "date": was.evidence.trust_list.date})
        said = said.model_copy(update={"trust_list": listed})
    where = now.regions
    if where is not None and recorded.regions is not None and len(where.tiles) == len(recorded.regions.tiles):
        where = _regions(where, recorded.regions, near)
    settled = detector.conclude(report.picture, near(was.view_logits, report.view_logits), again, place, said, report.borders)
    settings = now.settings.model_copy(
        update={"bundle": recorded.settings.bundle, "trust_list": None if said is None or said.trust_list is None else said.trust_list.name}
    )
    return assemble(settled, where, settings, detector.bundle).model_copy(update={"made": recorded.made})


def _regions(now: Regions, recorded: Regions, near: Callable[[list[float], list[float]], list[float]]) -> Regions:
    both = [
        np.array(near([getattr(tile, name) for tile in recorded.tiles], [getattr(tile, name) for tile in now.tiles])) for name in ("logit", "resaved")
    ]
    return judged(now.width, now.height, [tile.box for tile in now.tiles], *both)


def _logits(recorded: Case, now: Case) -> Iterator[tuple[float, float]]:
    yield recorded.report.logit, now.report.logit
    yield from zip(recorded.report.view_logits, now.report.view_logits, strict=False)
    if recorded.report.stability and now.report.stability:
        yield from zip(recorded.report.stability.logits, now.report.stability.logits, strict=False)
    if recorded.regions and now.regions:
        for old, new in zip(recorded.regions.tiles, now.regions.tiles, strict=False):
            yield from ((old.logit, new.logit), (old.resaved, new.resaved))


def _leaves(content: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Values by JSON pointer; an empty list or object is one too."""
    if isinstance(content, dict) and content:
        for key in content:
            yield from _leaves(content[key], f"{prefix}/{escaped(key)}")
    elif isinstance(content, list) and content:
        for place, value in enumerate(content):
            yield from _leaves(value, f"{prefix}/{place}")
    else:
        yield prefix, content


def _equal(old: Any, new: Any, exact: bool) -> bool:
    if isinstance(old, float) and isinstance(new, float) and not exact:
        return math.isclose(old, new, rel_tol=SAME, abs_tol=SAME)
    return old == new and isinstance(old, bool) == isinstance(new, bool)


def _part(field: str) -> Part:
    fits = [(len(start), part) for part, starts in PARTS.items() for start in starts if field == start or field.startswith(f"{start}/")]
    return max(fits)[1]


def _shown(leaves: dict[str, Any], field: str) -> str | None:
    return printable(json.dumps(leaves[field])) if field in leaves else None
