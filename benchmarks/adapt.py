"""What adapting to a new generator gains, what it costs, and what its gate says: a generator of the training split that the head was not trained on.

    python benchmarks/adapt.py data/manifest.csv --generator ldm --counts 8 32 128 --seeds 3 -o results/adapt/ldm.json

The generator's source and the photographs that the recipe leaves out along with it are taken out of training; of both, some pictures drawn by a
seed are the new ones, and those beyond the largest count are measured on, the same for each count. Known pictures are replayed from the manifest,
or are the few that a bundle would have kept. Features are those of `realgrain train`, in its cache.
"""

import argparse
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel
from tqdm import tqdm

from realgrain.detector import weights
from realgrain.detector.bundle import read_bundle
from realgrain.learning import pool as pools
from realgrain.learning import replay
from realgrain.learning.adapt import Given
from realgrain.learning.backbone import precision_here
from realgrain.learning.data import Fold, balanced_weights, untwinned
from realgrain.learning.features import Extractor
from realgrain.learning.methods import probe
from realgrain.learning.pool import Pool
from realgrain.learning.problem import prepare
from realgrain.learning.recipe import Recipe, read_recipe
from realgrain.learning.train import folds_of
from realgrain.measuring.gate import AUC, MEAN, METRIC, Gate, adapt_gated
from realgrain.measuring.ledger import write_result
from realgrain.measuring.resampling import weighted_metrics

LEAST = 20  # pictures of each label to measure on


class Trial(BaseModel):
    """One adaptation: the left-out generator against photographs before and after, by delivery; the gate has known and left-out generators."""

    replay: str
    count: int
    seed: int
    before: dict[str, dict[str, float]]
    after: dict[str, dict[str, float]]
    gate: Gate


class Summary(BaseModel):
    """Means over seeds (and deliveries) of a count; falls are those of the gate's means."""

    replay: str
    count: int
    tpr_before: float
    tpr_after: float
    auc_before: float
    auc_after: float
    fall_left_out: float
    fall_known: float
    passed: int
    of: int


class Found(BaseModel):
    """The generator, with the photographs that were left out along with it, how many pictures were measured on, and what came out."""

    left_out: str
    recipe: str
    test_fake: int
    test_real: int
    deliveries: tuple[str, ...]
    summary: list[Summary]
    trials: list[Trial]


def head_of(pool: Pool, recipe: Recipe) -> dict[str, np.ndarray]:
    """The head that training with a recipe gives."""
    weight = (balanced_weights(pool.problem.samples) / np.bincount(pool.owner))[pool.owner]
    settings = {"penalty": recipe.penalty, "content_directions": recipe.content_directions}
    return probe.fit(pool.rows, pool.problem.fake[pool.owner], weight, **settings)


def measured(pool: Pool, head: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Both metrics in each delivery."""
    once, found = np.ones((1, len(pool.problem.samples))), {}
    for name, features in pool.delivered.items():
        each = weighted_metrics(once, pool.problem.fake, probe.logits(features[:, None], head).astype(np.float64), None, None)
        found[name] = {metric: float(each[metric][0]) for metric in (METRIC, AUC)}
    return found


def chosen(out: np.ndarray, fake: np.ndarray, counts: list[int], seed: int) -> tuple[dict[int, np.ndarray], np.ndarray]:
    """Masks (N,) of the new pictures by count, and of those to measure on."""
    rng = np.random.default_rng(seed)
    order = [rng.permutation(np.flatnonzero(out & (fake == label))) for label in (True, False)]
    new = {count: np.isin(np.arange(len(out)), np.concatenate([rows[:count] for rows in order])) for count in counts}
    return new, out & ~new[max(counts)]


def trials(pool: Pool, fold: Fold, recipe: Recipe, counts: list[int], seeds: int) -> Iterable[Trial]:
    """Adapt and measure, for every seed, count and replay."""
    problem = pool.problem
    out = np.array([fold.leaves_out(sample) for sample in problem.samples])
    known = pool.keep(untwinned(out, problem.twins))
    bundle = replace(read_bundle(), head=head_of(known, recipe), adapter={})
    kept = pools.replayed(replay.read(replay.fit(known.problem.samples, {name: of[:, None] for name, of in known.delivered.items()})))
    for seed in range(seeds):
        new, test = chosen(out, problem.fake, counts, seed)
        for count in counts:
            for name, old in (("manifest", known), ("bundle", kept)):
                both = pools.joined(old, pool.keep(new[count]), apart=old is kept)
                fresh = np.arange(len(both.problem.samples)) >= len(old.problem.samples)
                found, gate = adapt_gated(Given(bundle, recipe, both, fresh, True, name, ""))
                heads = bundle.head, found.model.head
                before, after = (measured(pool.keep(test), head) for head in heads)
                yield Trial(replay=name, count=count, seed=seed, before=before, after=after, gate=gate)


def summary(found: list[Trial]) -> list[Summary]:
    """A line for each replay and count."""
    lines = []
    for key in dict.fromkeys((trial.replay, trial.count) for trial in found):
        mine = [trial for trial in found if (trial.replay, trial.count) == key]
        falls = {
            group: [row.fall for trial in mine for row in trial.gate.rows if (row.group, row.name) == (group, MEAN)]
            for group in ("left out", "known")
        }

        def mean(side: str, metric: str, mine: list[Trial] = mine) -> float:
            return float(np.mean([of[metric] for trial in mine for of in getattr(trial, side).values()]))

        lines.append(
            Summary(
                replay=key[0],
                count=key[1],
                tpr_before=mean("before", METRIC),
                tpr_after=mean("after", METRIC),
                auc_before=mean("before", AUC),
                auc_after=mean("after", AUC),
                fall_left_out=float(np.mean(falls["left out"])),
                fall_known=float(np.mean(falls["known"])),
                passed=sum(trial.gate.passed for trial in mine),
                of=len(mine),
            )
        )
    return lines


def measure(recipe: Recipe, manifest: Path, generator: str, counts: list[int], seeds: int) -> Found:
    """Leave a generator out, adapt to it, measure.

    Raises:
        SystemExit: no fold of the recipe leaves it out alone, or it has too few pictures for the largest count and some to measure on.
    """
    problem = prepare(recipe, manifest)
    names = {sample.source for sample in problem.samples if sample.fake and generator in (sample.source, sample.generator)}
    fold = next((fold for fold in folds_of(recipe, problem) if set(fold.fake) == names), None)
    if fold is None:
        raise SystemExit(f"{generator}: not a generator that a fold of the recipe leaves out alone")
    out = [sample for sample in problem.samples if fold.leaves_out(sample)]
    rest = {label: sum(sample.label == label for sample in out) - max(counts) for label in ("fake", "real")}
    if min(rest.values()) < LEAST:
        raise SystemExit(
            f"{fold.name}: {max(counts) + rest['fake']} generated and {max(counts) + rest['real']} real pictures are too few for {max(counts)}"
        )
    extractor = Extractor(weights.pull(recipe.base), recipe.views, recipe.block, precision_here(recipe.precision) == "bf16")
    pool = pools.extract(problem, recipe, extractor)
    found = list(tqdm(trials(pool, fold, recipe, counts, seeds), "adapting", seeds * len(counts) * 2, disable=None))
    return Found(
        left_out=fold.name,
        recipe=recipe.name,
        test_fake=rest["fake"],
        test_real=rest["real"],
        deliveries=recipe.deliveries,
        summary=summary(found),
        trials=found,
    )


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description="Adapt a head to a generator that was left out of its training.")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/realgrain.yaml"))
    parser.add_argument("--generator", required=True, help="name or source")
    parser.add_argument("--counts", type=int, nargs="+", default=[8, 32, 128])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    found = measure(read_recipe(options.recipe), options.manifest, options.generator, options.counts, options.seeds)
    write_result(options.output, found, [options.recipe, options.manifest])
    for line in found.summary:
        print(line)


if __name__ == "__main__":
    main()
