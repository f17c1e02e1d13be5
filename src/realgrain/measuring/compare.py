"""Compares the settings of an ablation: means over seeds and folds, and a paired bootstrap against a baseline.

What is resampled: the test pictures of each left-out source, within their class and source, as many as there are. The draws depend on those
pictures alone, so all settings, seeds, folds and conditions that were scored on the same pictures of a source see the same resample, and what two
settings find equally hard cancels out of their difference. What is not: seeds and folds are averaged over as they are, training is not repeated,
each run keeps the threshold that its validation pictures chose, and near-duplicates count as pictures of their own. So an interval says how much of
a difference may come from which pictures of these sources were tested; what comes from the seeds shows in their spread, and other generators are
outside of both.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from realgrain.detector.calibration import CONFIDENCE
from realgrain.measuring.dotted import dotted
from realgrain.measuring.ledger import unseeded
from realgrain.measuring.replicates import METRICS, Replicates, latest, replicates
from realgrain.measuring.resampling import Floats
from realgrain.measuring.results import MEAN, Ablation, Comparison, Difference, Measure

Place = tuple[str, int]
"""The fold that a run left out, and its seed."""


@dataclass(frozen=True)
class Cell:
    """A run in one condition: each metric, and, where there are scores, its replicates."""

    values: dict[str, float]
    drawn: Replicates | None


@dataclass
class Setting:
    """The runs of one setting under one protocol.

    Attributes:
        line: one of theirs.
        name: in words, once all are known.
        cells: condition -> run -> what it found there.
        notes: which runs have no scores, and why.
    """

    line: Mapping[str, Any]
    name: str = ""
    cells: dict[str, dict[Place, Cell]] = field(default_factory=lambda: defaultdict(dict))
    notes: list[str] = field(default_factory=list)

    def like(self, other: Setting) -> bool:
        """Whether both were asked about the same pictures, under the same protocol."""
        return all(self.line[name] == other.line[name] for name in ("protocol", "sizes", "pictures_sha256"))

    @property
    def settings(self) -> dict[str, Any]:
        """Over the plan's recipe, without the seed."""
        return unseeded(self.line["settings"])


def ablation_of(ledger: Path, baseline: dict[str, Any] | None, *, resamples: int = 1000, seed: int = 0) -> Ablation:
    """As ``compare``, with what it was asked: what is written down.

    Raises:
        ValueError: as ``compare``, or the ledger has no lines.
    """
    found = compare(ledger, baseline, resamples=resamples, seed=seed)
    if not found:
        raise ValueError(f"{ledger}: no lines of finished runs")
    return Ablation(baseline=baseline, resamples=resamples, seed=seed, comparisons=found)


def compare(ledger: Path, baseline: Mapping[str, Any] | None = None, *, resamples: int = 1000, seed: int = 0) -> list[Comparison]:
    """Compare every setting of a ledger, in every condition and in the mean of the recipe's deliveries, with a baseline.

    Lines of before runs recorded their whole recipe are left out, and so is what later lines of the same run replaced.

    Args:
        ledger: that ``realgrain ablate`` wrote, with its scores beside it. A run without scores counts in means, not in intervals and differences.
        baseline: some settings of a run, enough to pick one, or all that it has, though others have them and more; where runs of several recipes have
            them, the last in the ledger. None: no differences.
        resamples: of the bootstrap; at least 1.
        seed: of the bootstrap.

    Raises:
        ValueError: the baseline picks several settings, or there are no resamples.
    """
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    settings = _settings(latest(ledger), ledger.parent, resamples, seed)
    found = []
    for setting in settings:
        base = None if baseline is None else _pick(baseline, setting, settings)
        found += [_comparison(setting, condition, base, baseline is not None) for condition in setting.cells]
    return found


def _settings(lines: Sequence[Mapping[str, Any]], folder: Path, resamples: int, seed: int) -> list[Setting]:
    """Settings in order of first appearance, with all their cells."""
    drawn, missing = replicates(lines, folder, resamples, seed)
    found: dict[str, Setting] = {}
    for line in lines:
        identity = json.dumps(
            [unseeded(line["settings"]), line["protocol"], line["recipe_sha256"], line["sizes"], line["pictures_sha256"]], sort_keys=True
        )
        setting = found.setdefault(identity, Setting(line))
        place = line["left_out"], line["seed"]
        values = {metric: line[metric] for metric in METRICS}
        setting.cells[line["delivery"]][place] = Cell(values, drawn.get((line["key"], line["delivery"])))
        note = f"seed {line['seed']} without {line['left_out']}: {missing[line['key']]}" if line["key"] in missing else ""
        setting.notes += [note] if note and note not in setting.notes else []
    for setting in found.values():
        _add_mean(setting)
    _name(list(found.values()))
    return list(found.values())


def _add_mean(setting: Setting) -> None:
    """The mean over the recipe's deliveries, of the runs that have all that any of them has; deliveries come first, then it, then the rest."""
    names = [name for name in setting.line["deliveries"] if name in setting.cells]
    places = [place for place in setting.cells[names[0]] if all(place in setting.cells[name] for name in names)] if names else []
    means = {}
    for place in places:
        cells = [setting.cells[name][place] for name in names]
        values = {metric: float(np.mean([cell.values[metric] for cell in cells])) for metric in METRICS}
        means[place] = Cell(values, _mean_replicates(names, [cell.drawn for cell in cells]))
    first = {name: setting.cells[name] for name in names} | ({MEAN: means} if means else {})
    setting.cells = first | {name: cells for name, cells in setting.cells.items() if name not in first}


def _mean_replicates(names: list[str], parts: list[Replicates | None]) -> Replicates | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    pictures = json.dumps([names, [part.pictures for part in known]])
    drawn = {metric: np.mean([part.metrics[metric] for part in known], axis=0) for metric in METRICS}
    return Replicates(hashlib.sha256(pictures.encode()).hexdigest(), drawn)


def _name(settings: Sequence[Setting]) -> None:
    """In words, without what no two settings differ in; where several recipes, sizes or picture sets have the same words, with those."""
    flat = [dotted(setting.settings) for setting in settings]
    values: dict[str, set[str]] = defaultdict(set)
    for each in flat:
        for key, value in each.items():
            values[key].add(str(value))
    alone = len(settings) == 1
    several = len({setting.line["method"] for setting in settings}) > 1
    same = defaultdict(list)
    for setting, each in zip(settings, flat, strict=True):
        told = [f"{key}={value}" for key, value in each.items() if (alone or len(values[key]) > 1) and not (several and key == "method")]
        setting.name = (f"{setting.line['method']}: " if several else "") + (", ".join(told) or "as the recipe")
        same[setting.line["protocol"], setting.name].append(setting)
    for group in same.values():
        if len(group) > 1:
            _tell_apart(group)


def _tell_apart(group: Sequence[Setting]) -> None:
    """Names for settings that had one: with what not all of them set; where that is the same too, with digests of recipe and pictures, and sizes."""
    flat = [dotted(setting.settings) for setting in group]
    shared = set.intersection(*({(key, str(value)) for key, value in each.items()} for each in flat))
    for setting, each in zip(group, flat, strict=True):
        told = [f"{key}={value}" for key, value in each.items() if (key, str(value)) not in shared and f"{key}={value}" not in setting.name]
        setting.name = ", ".join([setting.name, *told])
    names = Counter(setting.name for setting in group)
    for setting in group:
        if names[setting.name] > 1:
            line = setting.line
            sizes = "/".join(str(size) for size in line["sizes"].values())
            setting.name += f" (recipe {line['recipe_sha256'][:6]}, pictures {line['pictures_sha256'][:6]}, {sizes} of a source)"


def _pick(baseline: Mapping[str, Any], setting: Setting, settings: Sequence[Setting]) -> Setting | None:
    having = [other for other in settings if other.like(setting) and baseline.items() <= other.settings.items()]
    picked = [other for other in having if other.settings == baseline] or having
    if any(other.settings != picked[0].settings for other in picked):
        raise ValueError(f"the baseline {dict(baseline)} picks several settings: {'; '.join(other.name for other in picked)}")
    return picked[-1] if picked else None


def _comparison(setting: Setting, condition: str, base: Setting | None, asked: bool) -> Comparison:
    cells = setting.cells[condition]
    folds = list(dict.fromkeys(fold for fold, _ in cells))
    notes = list(setting.notes)
    differences: dict[str, Difference] = {}
    if asked and base is None:
        notes.append("no run of the baseline under this protocol with these sizes and pictures")
    elif base is not None and base is not setting:
        notes += [f"baseline, {note}" for note in base.notes]
        differences, unpaired = _differences(cells, base.cells.get(condition, {}))
        notes += unpaired
    return Comparison(
        setting=setting.name,
        settings=setting.settings,
        protocol=setting.line["protocol"],
        recipe_sha256=setting.line["recipe_sha256"],
        sizes=setting.line["sizes"],
        condition=condition,
        delivery=condition in (*setting.line["deliveries"], MEAN),
        baseline=base is setting,
        runs=len(cells),
        folds=folds,
        metrics={metric: _measure(cells, metric, folds) for metric in METRICS},
        differences=differences,
        notes=notes,
    )


def _measure(cells: Mapping[Place, Cell], metric: str, folds: list[str]) -> Measure:
    value = _over_runs({place: cell.values[metric] for place, cell in cells.items()})
    whole = [seed for seed in sorted({seed for _, seed in cells}) if all((fold, seed) in cells for fold in folds)]
    seeds = {seed: float(np.mean([cells[fold, seed].values[metric] for fold in folds])) for seed in whole}
    drawn = _drawn(cells)
    if {fold for fold, _ in drawn} != set(folds):
        return Measure(value=float(value), seeds=seeds)
    low, high = _interval(_over_runs({place: of.metrics[metric] for place, of in drawn.items()}))
    return Measure(value=float(value), low=low, high=high, seeds=seeds)


def _differences(cells: Mapping[Place, Cell], base: Mapping[Place, Cell]) -> tuple[dict[str, Difference], list[str]]:
    """Of every metric, over the folds whose pictures both were scored on, and which folds had to be left out."""
    sides = [_drawn(cells), _drawn(base)]
    folds, notes = [], []
    for fold in dict.fromkeys(fold for fold, _ in cells):
        pictures = [{of.pictures for (left_out, _), of in side.items() if left_out == fold} for side in sides]
        if pictures[0] == pictures[1] and len(pictures[0]) == 1:
            folds.append(fold)
        else:
            notes.append(f"no difference without {fold}: " + ("scored on other pictures" if all(pictures) else "no scores of both"))
    if not folds:
        return {}, notes
    kept = [{place: side[place] for place in side if place[0] in folds} for side in sides]
    found = {}
    for metric in METRICS:
        values = [_over_runs({place: of[place].values[metric] for place in side}) for of, side in zip((cells, base), kept, strict=True)]
        low, high = _interval(np.subtract(*(_over_runs({place: of.metrics[metric] for place, of in side.items()}) for side in kept)))
        found[metric] = Difference(value=float(values[0] - values[1]), low=low, high=high)
    return found, notes


def _drawn(cells: Mapping[Place, Cell]) -> dict[Place, Replicates]:
    return {place: cell.drawn for place, cell in cells.items() if cell.drawn is not None}


def _over_runs(values: Mapping[Place, float | Floats]) -> Floats:
    """Mean over folds of the mean over seeds, so that a seed that is still to run on some folds tips no balance between them."""
    folds = dict.fromkeys(fold for fold, _ in values)
    return np.mean([np.mean([np.asarray(value) for (of, _), value in values.items() if of == fold], axis=0) for fold in folds], axis=0)


def _interval(drawn: Floats) -> tuple[float, float]:
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [outside, 1 - outside])
    return float(low), float(high)
