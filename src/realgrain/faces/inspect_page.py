"""What towers see, as one HTML file: figures, plots, and some pictures at the ends of the line that separates the labels. It loads nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from realgrain.faces import page
from realgrain.measuring.inspect import random_fold_logits
from realgrain.measuring.inspect_plots import draw, project
from realgrain.measuring.ledger import run_info, write_result
from realgrain.measuring.whole import write_whole
from realgrain.picture.conditions import condition
from realgrain.picture.degrade import Pixels
from realgrain.picture.image import open_picture

if TYPE_CHECKING:
    from rich.console import RenderableType

    from realgrain.learning.problem import Problem
    from realgrain.measuring.inspect_results import Inspection
    from realgrain.measuring.inspect_towers import Inspected

KINDS = {".html": ("jinja2", "matplotlib"), ".json": (), ".png": ("matplotlib",)}  # of reports, and the packages that they need
SHOWN = 4  # pictures in a row


@dataclass(frozen=True)
class Thumbnail:
    """A picture, small.

    Attributes:
        data: URI that holds it.
        alt: what it is, for who does not see it.
        logit: by a head that had not seen it.
        name: its path in the manifest.
        group: its source, or its generator.
    """

    data: str
    alt: str
    logit: float
    name: str
    group: str


def render(inspected: Inspected, run: dict[str, Any]) -> str:
    """The page.

    Args:
        inspected: what was found.
        run: of ``ledger.run_info``.
    """
    plots = {name: _plots(features, inspected.problem) for name, features in inspected.features.items()}
    rows = {name: thumbnails(inspected, name) for name in inspected.features}
    return page.fill("inspect.html", found=inspected.result, plots=plots, rows=rows, run=run)


def thumbnails(inspected: Inspected, tower: str) -> dict[str, list[Thumbnail]]:
    """Rows of pictures of either label: the typical, whose logit is nearest to the label's median, and those at both ends.

    The head is the recipe's, and of each picture one that had not seen it; pictures are shown as they were delivered to the tower.
    """
    problem, found = inspected.problem, {}
    logits = random_fold_logits(inspected.features[tower], problem, inspected.head)
    deliver = condition(inspected.result.condition)
    for fake, label in ((False, "Real"), (True, "Generated")):
        mine = np.flatnonzero(problem.fake == fake)
        ranked = mine[np.argsort(logits[mine], kind="stable")]
        typical = mine[np.argsort(np.abs(logits[mine] - np.median(logits[mine])), kind="stable")]
        rows = {f"{label}, typical": typical, f"{label}, most like a photograph": ranked, f"{label}, most like a generated picture": ranked[::-1]}
        for name, order in rows.items():
            found[name] = [_thumbnail(problem, int(row), float(logits[row]), deliver) for row in order[:SHOWN]]
    return found


def _thumbnail(problem: Problem, row: int, logit: float, deliver: Callable[[Pixels], Pixels]) -> Thumbnail:
    sample = problem.samples[row]
    group = sample.generator or sample.source or "(unnamed)"
    kind = f"Generated picture by {group}" if sample.fake else f"Photograph from {group}"
    return Thumbnail(page.thumbnail(deliver(open_picture(sample.file).pixels)), f"{kind}, logit {logit:.2f}", logit, sample.path, group)


def _plots(features: NDArray[np.floating], problem: Problem) -> dict[str, str]:
    """The same plot as data URIs: wide and tall, light and dark."""
    planes = project(features)
    forms = {
        (shape, paper): draw(planes, problem, dark=paper == "dark", tall=shape == "tall") for shape in ("wide", "tall") for paper in ("light", "dark")
    }
    return {f"{shape}_{paper}": page.uri(png, "png") for (shape, paper), png in forms.items()}


def check_outputs(files: Sequence[Path]) -> None:
    """See to it, before long work, that every file is of a kind that ``write`` knows, and that what it needs is installed.

    Raises:
        ValueError: a file is not of such a kind.
        ModuleNotFoundError: a package is missing.
    """
    for file in files:
        if file.suffix not in KINDS:
            raise ValueError(f"{file}: a report is {', '.join(KINDS)}")
        for package in KINDS[file.suffix]:
            import_module(package)


def write(inspected: Inspected, file: Path, inputs: list[Path]) -> None:
    """Write the report (.html), the figures (.json) or the plots (.png) at once, or not at all.

    Args:
        inspected: what was found.
        file: by its suffix.
        inputs: files behind the figures.
    """
    if file.suffix == ".json":
        write_result(file, inspected.result, inputs)
        return
    content = render(inspected, run_info(inputs)).encode() if file.suffix == ".html" else _all_planes(inspected)
    write_whole(file, content)


def _all_planes(inspected: Inspected) -> bytes:
    """One plot: the projections of the only tower, or of both, the name of the tower before that of the projection."""
    planes = {}
    for name, features in inspected.features.items():
        before = f"{name}: " if len(inspected.features) > 1 else ""
        planes |= {before + plane: points for plane, points in project(features).items()}
    return draw(planes, inspected.problem)


def as_tables(found: Inspection) -> RenderableType:
    """The findings of each tower for a rich console."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[RenderableType] = []
    for tower in found.towers.values():
        table = Table("", "", "", title=Text(tower.title), title_justify="left", show_header=False)
        for finding in tower.findings:
            table.add_row(Text(finding.name), Text(finding.value, justify="right"), Text(finding.says))
        parts += [table, *(Text(line) for line in (tower.note, tower.conclusion) if line), Text("")]
    return Group(*parts)
