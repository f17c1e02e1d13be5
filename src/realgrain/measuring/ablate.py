"""Runs the grid of a plan on left-out sources, a line in a ledger for each delivery of a run: what is finished is never run again."""

from __future__ import annotations

import hashlib
import math
import resource
import time
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve
from tqdm import tqdm

from realgrain.detector import weights
from realgrain.learning.collapse import NoiseCollapse
from realgrain.learning.data import ManifestError, labels_missing, left_in, nowhere, read_manifest
from realgrain.learning.frozen import FrozenFitter
from realgrain.learning.problem import Problem, prepare
from realgrain.learning.recipe import Recipe, check_fit, read_recipe
from realgrain.learning.train import check_part, fitter_of, part_of
from realgrain.measuring.ledger import append_lines, read_lines, run_info
from realgrain.measuring.plan import Plan, Run, runs_of
from realgrain.measuring.points import point_metrics
from realgrain.measuring.score import write_table

SCORES = pa.schema([*((name, pa.string()) for name in ("sha256", "label", "source", "generator", "condition")), ("logit", pa.float32())])
"""Of the table beside the ledger: every left-out picture of a run in every condition."""


def ablate(plan: Plan, manifest: Path, ledger: Path) -> Iterator[dict[str, Any]]:
    """Run what the ledger lacks, adding a line for each condition of a finished run, and yield those lines.

    The scores behind them are written first, to ``scores/`` beside the ledger, in a file that the lines name with its sha256: a run that is killed in
    between has no lines, so it is made again and writes the same file.

    Raises:
        ManifestError: the pictures do not allow it: a fold names a source that they are not of, or leaves nothing of a label to train on, to choose a
            threshold by, or to test on. Nothing has been run or written then.
        RecipeError: a combination is no recipe, or does not fit its base.
        NoiseCollapse: after all other runs: the noise of these stopped teaching anything, so they have no lines.
    """
    samples = read_manifest(manifest)
    runs = runs_of(plan, samples)  # a wrong value is found before hours are spent
    for run in runs:
        if absent := nowhere(run.fold, [sample for sample in samples if run.recipe.split in ("", sample.split)]):
            raise ManifestError(f"{manifest}: {', '.join(absent)}, which protocol {run.protocol} leaves out ({run.fold.name})")
    done: dict[str, dict[str, int]] = {}
    for line in read_lines(ledger):
        done.setdefault(line["key"], {})[line["delivery"]] = line.get("at_most", 0)
    todo = [run for run in runs if not run.conditions.items() <= done.get(run.key, {}).items()]
    if not todo:
        return
    for recipe in {run.recipe.model_dump_json(include={"base", "views", "block", "content_directions"}): run.recipe for run in todo}.values():
        check_fit(recipe)
    problem, manifest_sha256 = prepare(read_recipe(plan.recipe), manifest), weights.file_sha256(manifest)
    for run in todo:
        _check(run, problem, manifest)
    asked = problem.keep(np.logical_or.reduce([_asked(run, problem) for run in todo]))
    frozen: dict[str, FrozenFitter] = {}
    collapsed = []
    for run in tqdm(todo, "runs", disable=None):
        # what an earlier plan asked for is scored again with the rest, so that all lines of a run speak of the same model
        try:
            lines, scores = _measure(run, {**done.get(run.key, {}), **run.conditions}, problem, asked, frozen)
        except NoiseCollapse as error:
            collapsed.append(f"{run.changes} without {run.fold.name}: {error}")
            continue
        file = ledger.parent / "scores" / f"{hashlib.sha256(run.key.encode()).hexdigest()[:16]}.parquet"
        write_table(scores, file)
        named = {"manifest_sha256": manifest_sha256, "scores": f"scores/{file.name}", "scores_sha256": weights.file_sha256(file)}
        lines = [{**line, **named} for line in lines]
        append_lines(ledger, lines)
        yield from lines
    if collapsed:
        raise NoiseCollapse("\n".join(collapsed))


def _parts(run: Run, problem: Problem) -> tuple[Problem, Problem, Problem]:
    """What a run trains on, what chooses its threshold, and what it leaves out."""
    left, plan = problem.keep(left_in(problem.samples, run.fold, problem.twins)), run.plan
    training, check = (left.keep(some_of_each_source(left, *part)) for part in ((plan.validation, plan.training), (0, plan.validation)))
    return training, check, part_of(problem, run.fold)


def _check(run: Run, problem: Problem, manifest: Path) -> None:
    """Raises ManifestError: a part of a run has nothing of a label."""
    where = f"{manifest}: protocol {run.protocol} without {run.fold.name}"
    training, *others = _parts(run, problem)
    check_part(
        training, run.recipe, f"{where}: training, {run.plan.training} of each source after the {run.plan.validation} that choose the threshold"
    )
    for name, part in zip(("the pictures that choose the threshold", "the left-out pictures"), others, strict=True):
        if missing := labels_missing(part.samples):
            raise ManifestError(f"{where}: no {' and no '.join(missing)} picture among {name}")


def _asked(run: Run, problem: Problem) -> np.ndarray:
    """Mask (N,) of the pictures that a run looks at."""
    training, check, out = _parts(run, problem)
    out = out.keep(some_of_each_source(out, 0, max(run.conditions.values())))
    return np.isin(problem.sha256, [*training.sha256, *check.sha256, *out.sha256])


def _measure(
    run: Run, conditions: dict[str, int], problem: Problem, asked: Problem, frozen: dict[str, FrozenFitter]
) -> tuple[list[dict[str, Any]], pa.Table]:
    """Train without the fold and score it: a line for each condition, and the scores behind them."""
    recipe = run.recipe
    training, check, left_out = _parts(run, problem)
    started = time.perf_counter()
    fitter = fitter_of(recipe, problem) if recipe.tunes else _frozen_fitter(recipe, asked, frozen)
    model = fitter.fit(training)
    seconds = time.perf_counter() - started
    chosen = _single(model.logits(check))
    threshold = best_threshold(np.tile(check.fake, len(chosen)), np.concatenate(list(chosen.values())))
    scored: dict[str, tuple[Problem, np.ndarray]] = {}
    for at_most in sorted(set(conditions.values())):
        out = left_out.keep(some_of_each_source(left_out, 0, at_most))
        found = model.logits(out, [name for name, limit in conditions.items() if limit == at_most])
        scored |= {name: (out, logits) for name, logits in _single(found).items()}
    lines = [
        {
            "key": run.key,
            **run.identity,
            "method": recipe.method,
            "adapter": recipe.adapter.kind,
            "masking": recipe.masking.kind,
            "noise": recipe.noise.kind,
            "deliveries": list(recipe.deliveries),
            "delivery": name,
            "at_most": conditions[name],
            **_figures(scored[name][0].fake, scored[name][1], threshold),
            "threshold": threshold,
            "validation_auc": float(roc_auc_score(check.fake, chosen[name])) if name in chosen else None,
            "pictures": {"training": len(training.samples), "validation": len(check.samples), "testing": len(scored[name][0].samples)},
            "seconds": round(seconds, 1),
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "diagnostics": _plain(getattr(model, "diagnostics", None)),
            **{key: value for key, value in run_info([]).items() if key in ("day", "processor", "python", "versions")},
        }
        for name in conditions
    ]
    return lines, pa.concat_tables([_rows(name, *scored[name]) for name in conditions])


def _single(logits: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """In single precision, as they are kept: whoever computes a figure from the kept scores finds the line's."""
    return {name: values.astype(np.float32) for name, values in logits.items()}


def _figures(fake: np.ndarray, logits: np.ndarray, threshold: float) -> dict[str, float | None]:
    found = point_metrics(fake, logits, np.zeros(len(logits)), None)
    balanced = float(balanced_accuracy_score(fake, logits >= threshold))
    return {"balanced_accuracy": balanced, "auc": found["auc"], "tpr_at_5_fpr": found["tpr_at_5_fpr"]}


def _plain(diagnostics: dict[str, float] | None) -> dict[str, float | None] | None:
    """As JSON takes them: it knows no infinity."""
    return None if diagnostics is None else {name: float(value) if math.isfinite(value) else None for name, value in diagnostics.items()}


def _rows(name: str, problem: Problem, logits: np.ndarray) -> pa.Table:
    samples = problem.samples
    columns = [problem.sha256, *([getattr(sample, column) for sample in samples] for column in ("label", "source", "generator"))]
    return pa.Table.from_arrays([*map(pa.array, columns), pa.array([name] * len(samples)), pa.array(logits)], schema=SCORES)


def _frozen_fitter(recipe: Recipe, asked: Problem, frozen: dict[str, FrozenFitter]) -> FrozenFitter:
    """Features of a frozen tower are taken once, of the pictures that some run looks at, and serve every fold and every setting of the head."""
    features = recipe.model_dump_json(
        include={"base", "views", "training_views", "block", "augmentation", "aligned", "draws", "precision", "deliveries"}
    )
    if features not in frozen:
        frozen[features] = FrozenFitter(asked, recipe)
    fitter = copy(frozen[features])
    fitter.recipe = recipe
    return fitter


def some_of_each_source(problem: Problem, first: int, count: int) -> np.ndarray:
    """Mask (N,) of ``count`` pictures of each source from the ``first`` on, in order of their sha256, so that the choice depends on nothing else."""
    kept = np.zeros(len(problem.samples), bool)
    order = np.argsort(problem.sha256)
    labels, sources = problem.fake[order], problem.source[order]
    for fake, source in {(sample.fake, sample.source) for sample in problem.samples}:
        rows = order[(labels == fake) & (sources == source)]
        kept[rows[first : first + count]] = True
    return kept


def best_threshold(fake: np.ndarray, logits: np.ndarray) -> float:
    """The logit (at or above it: generated) of the best balanced accuracy, for pictures that are not tested on.

    Args:
        fake: (N,) bool, both classes present.
        logits: (N,).
    """
    fpr, tpr, thresholds = roc_curve(fake, logits, drop_intermediate=False)
    best = thresholds[np.argmax(tpr - fpr)]
    return float(best) if np.isfinite(best) else float(np.nextafter(logits.max(), np.inf))
