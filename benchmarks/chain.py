"""The whole chain of a benchmark on our labelled pictures, laid out as two published trees: arrange, run, kill, resume, verify, compare, report.

    python benchmarks/chain.py data/manifest.csv build/chain --bundles shipped bundles/lol bundles/mpft --conditions all

Every step is a command that anyone can type; its seconds are kept. What is done is not done again: the script goes on where it was killed. With other
pictures, bundles, conditions or limit take another folder. The first run of all is killed with SIGKILL while it scores, resumed, and compared,
byte for byte, with one that nobody disturbed. Figures on these trees are no figures on the benchmarks: the pictures are the manifest's.
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from arrange import arrange, folders
from pydantic import BaseModel

from realgrain.detector.bundle import read_bundle
from realgrain.learning.data import read_manifest
from realgrain.measuring.ledger import write_result
from realgrain.measuring.lock import LOCK
from realgrain.measuring.pairing import Paired
from realgrain.measuring.paper import LIGHT, plain, png
from realgrain.measuring.results import Estimate, Evaluation
from realgrain.measuring.running import METRICS, PARTS
from realgrain.measuring.whole import write_whole
from realgrain.picture.conditions import expand

TREES = ("genimage", "universalfakedetect")
SHIPPED = "shipped"
SHOWN = {"auc": "auc", "ap": "ap", "balanced_accuracy": "balanced_accuracy_at_threshold"}
"""Name in the summary -> metric."""
WAIT = 0.05  # seconds between looks at a run that is to be killed


class Step(BaseModel):
    """A command and what it cost.

    Attributes:
        seconds: on the clock.
        cpu_seconds: of all processors.
        code: it ended with; -9 where it was killed.
        kept: rows of scores that were there when it was killed.
    """

    command: str
    seconds: float
    cpu_seconds: float
    code: int
    kept: int | None = None


class Kill(BaseModel):
    """What a kill did to a run.

    Attributes:
        killed: whether the signal came before the run was done.
        kept: rows of scores on the disk when it came.
        rows: of the whole run.
        equal: whether all files of the resumed run are, byte for byte, those of the undisturbed one.
    """

    killed: bool
    kept: int
    rows: int
    equal: bool


class Ran(BaseModel):
    """A method on a tree.

    Attributes:
        condition: that the figures are of: the first.
        figures: ``auc``, ``ap``, ``balanced_accuracy`` at the bundle's own thresholds.
        no_interval: why they have none; empty where they have.
        no_spread: figures without an interval because all resamples give one value.
        auc_by_condition: of all.
        verified: whether `bench verify` found nothing wrong.
        faults: what it found.
        kill: of the run that was killed.
        seconds: of the run, with what the kill cost.
    """

    tree: str
    method: str
    bundle: str
    condition: str
    n_real: int
    n_fake: int
    n_failed: int
    figures: dict[str, Estimate]
    no_interval: str
    no_spread: list[str]
    auc_by_condition: dict[str, float | None]
    verified: bool
    faults: list[str]
    kill: Kill | None
    seconds: float
    cpu_seconds: float


class Pair(BaseModel):
    """A method against the first, in the first condition, on the same pictures; None: not defined there."""

    tree: str
    first: str
    second: str
    auc: Paired | None
    balanced_accuracy: Paired | None
    notes: list[str]


class Chain(BaseModel):
    """All of it.

    Attributes:
        pictures: of the manifest that were laid out.
        sets: of each tree that hold pictures, with those of our sources that stand for it.
        steps: commands in order; trees, runs and pages are below the script's folder, bundles by their names.
        seconds: of all steps.
    """

    pictures: int
    split: str
    limit: int | None
    condition_names: list[str]
    sets: dict[str, dict[str, list[str]]]
    runs: list[Ran]
    pairs: list[Pair]
    steps: dict[str, Step]
    seconds: float
    cpu_seconds: float

    @property
    def good(self) -> bool:
        """The killed run ended as the undisturbed one, and every run is verified."""
        return all(ran.verified and (ran.kill is None or ran.kill.equal) for ran in self.runs)


class Steps:
    """Commands in a folder, each done once: a file beside it says that it is, and what it cost."""

    def __init__(self, folder: Path, shown: dict[str, str]) -> None:
        self.folder, self._shown = folder, shown
        self.done: dict[str, Step] = {}

    def run(self, name: str, words: list[str], good: tuple[int, ...] = (0,), kill_after: float | None = None) -> Step:
        """Do a step, or read what it cost.

        Args:
            name: of the step.
            words: of `realgrain`.
            good: exit codes.
            kill_after: seconds that a benchmark run may score at most before it is killed; None: it is not.

        Raises:
            RuntimeError: it ended with another code.
        """
        file = self.folder / "steps" / f"{name}.json"
        if not file.is_file():
            print(f"{name}: {' '.join(['realgrain', *(self._shown.get(word, word) for word in words)])}", file=sys.stderr, flush=True)
            write_whole(file, self._do(words, good, kill_after).model_dump_json(indent=1).encode())
        self.done[name] = Step.model_validate_json(file.read_bytes())
        return self.done[name]

    def _do(self, words: list[str], good: tuple[int, ...], kill_after: float | None) -> Step:
        log = self.folder / "log.txt"
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        with (
            log.open("a") as said,
            subprocess.Popen([sys.executable, "-m", "realgrain", *words], cwd=self.folder, stdout=said, stderr=said) as process,
        ):
            try:
                kept = None if kill_after is None else killed(process, self.folder / words[words.index("-o") + 1], kill_after)
                process.wait()
            finally:
                process.kill()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if process.returncode not in good:
            raise RuntimeError(f"{shlex.join(words)} ended with {process.returncode}: see {log}")
        return Step(
            command=shlex.join(["realgrain", *(self._shown.get(word, word) for word in words)]),
            seconds=time.monotonic() - began,
            cpu_seconds=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            code=process.returncode,
            kept=kept,
        )


def killed(process: subprocess.Popen, run: Path, after: float) -> int:
    """Kill a run when the first of its scores are on the disk, or so many seconds after it began to score; rows that are on the disk."""
    scoring = None
    while process.poll() is None:
        now = time.monotonic()
        scoring = now if scoring is None and (run / LOCK).is_file() else scoring
        if scoring is not None and (now - scoring >= after or any(run.glob(f"{PARTS}/[0-9]*.parquet"))):
            process.kill()
            break
        time.sleep(WAIT)
    process.wait()
    return sum(pq.read_metadata(file).num_rows for file in run.glob(f"{PARTS}/[0-9]*.parquet"))


def laid_out(options: argparse.Namespace, tree: str) -> dict[str, list[str]]:
    """Make a tree, unless it is there; its sets that hold fakes, with our sources."""
    folder, table = options.folder / "trees" / tree, options.folder / "trees" / f"{tree}.json"
    if not table.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        samples = [sample for sample in read_manifest(options.manifest) if options.split in {"", sample.split}]
        write_whole(table, json.dumps(arrange(samples, folders(tree), folder)).encode())
    sets: dict[str, set[str]] = {}
    for row in json.loads(table.read_bytes()):
        if row["label"] == "fake":
            for name in row["published_set"].split("+"):
                sets.setdefault(name, set()).add(row["our_source"])
    return {name: sorted(of) for name, of in sorted(sets.items())}


def bundles(given: list[str]) -> dict[str, tuple[list[str], str]]:
    """Method -> its options on the command line, and its hash.

    Raises:
        BundleError: one is none.
        ValueError: two have one name.
    """
    found: dict[str, tuple[list[str], str]] = {}
    for word in given:
        bundle = read_bundle(None if word == SHIPPED else Path(word))
        if bundle.card.name in found:
            raise ValueError(f"{word}: there is another bundle called {bundle.card.name}")
        found[bundle.card.name] = ([] if word == SHIPPED else ["--bundle", str(Path(word).resolve())], bundle.hash)
    return found


def contents(run: Path) -> dict[str, bytes]:
    """Files of a run."""
    return {str(file.relative_to(run)): file.read_bytes() for file in sorted(run.rglob("*")) if file.is_file()}


def ran(options: argparse.Namespace, steps: Steps, tree: str, method: str, words: list[str], digest: str, kill: bool) -> Ran:
    """Run a method on a tree and verify it; kill it first, if asked, and run it again undisturbed."""
    run, root = f"runs/{tree}-{method}", f"trees/{tree}"
    how = ["--conditions", *options.conditions, "--resamples", str(options.resamples), "--offline", *words]
    how += [] if options.limit is None else ["--limit", str(options.limit)]
    how += [] if options.threads is None else ["--threads", str(options.threads)]
    cost = []
    if kill:
        if not (options.folder / "steps" / f"kill-{tree}-{method}.json").is_file():
            shutil.rmtree(options.folder / run, ignore_errors=True)
        cost.append(steps.run(f"kill-{tree}-{method}", ["bench", "run", tree, root, "-o", run, *how], (0, 1, -9), options.kill_after))
    cost.append(steps.run(f"run-{tree}-{method}", ["bench", "run", tree, root, "-o", run, *how], (0, 1)))
    evaluation = Evaluation.model_validate_json((options.folder / run / METRICS).read_bytes())
    struck = None
    if kill:
        steps.run(f"undisturbed-{tree}-{method}", ["bench", "run", tree, root, "-o", f"{run}.undisturbed", *how], (0, 1))
        rows = pq.read_metadata(options.folder / run / "scores.parquet").num_rows
        equal = contents(options.folder / run) == contents(options.folder / f"{run}.undisturbed")
        struck = Kill(killed=cost[0].code == -9, kept=cost[0].kept or 0, rows=rows, equal=equal)
    verified, faults = checked(options, steps, tree, method, [run, root, "--count", str(options.count), "--offline", *words])
    first, of = next(iter(evaluation.conditions.items()))
    return Ran(
        tree=tree,
        method=method,
        bundle=digest,
        condition=first,
        n_real=of.n_real,
        n_fake=of.n_fake,
        n_failed=of.n_failed,
        figures={name: of.metrics[metric] for name, metric in SHOWN.items()},
        no_interval=of.no_interval,
        no_spread=[name for name, metric in SHOWN.items() if metric in of.no_spread],
        auc_by_condition={name: found.metrics["auc"].value for name, found in evaluation.conditions.items()},
        verified=verified,
        faults=faults,
        kill=struck,
        seconds=sum(step.seconds for step in cost),
        cpu_seconds=sum(step.cpu_seconds for step in cost),
    )


def checked(options: argparse.Namespace, steps: Steps, tree: str, method: str, words: list[str]) -> tuple[bool, list[str]]:
    """Whether a run verifies, and its faults; a run with faults is asked again what they are."""
    step = steps.run(f"verify-{tree}-{method}", ["bench", "verify", *words], (0, 1))
    if step.code == 0:
        return True, []
    again = subprocess.run(
        [sys.executable, "-m", "realgrain", "bench", "verify", *words, "--json"], cwd=options.folder, capture_output=True, text=True, check=False
    )
    return False, [fault for check in json.loads(again.stdout)["checks"] for fault in check["faults"]]


def pair(options: argparse.Namespace, steps: Steps, tree: str, first: str, second: str) -> Pair:
    """Compare two methods on a tree."""
    out = f"compared/{tree}-{first}-{second}.json"
    runs = [f"runs/{tree}-{method}" for method in (first, second)]
    steps.run(f"compare-{tree}-{first}-{second}", ["bench", "compare", *runs, "--resamples", str(options.resamples), "-o", out])
    found: dict[str, Any] = json.loads((options.folder / out).read_bytes())["result"]
    of = next(iter(found["conditions"].values()))
    return Pair(tree=tree, first=first, second=second, auc=of["auc"], balanced_accuracy=of["balanced_accuracy"], notes=found["notes"])


def chain(options: argparse.Namespace) -> Chain:
    """All of it, or what is missing of it."""
    methods = bundles(options.bundles)
    steps = Steps(options.folder, {words[1]: f"bundles/{method}" for method, (words, _) in methods.items() if words})
    sets = {tree: laid_out(options, tree) for tree in options.trees}
    table = json.loads((options.folder / "trees" / f"{options.trees[0]}.json").read_bytes())
    runs, pairs = [], []
    for tree in options.trees:
        for place, (method, (words, digest)) in enumerate(methods.items()):
            runs.append(ran(options, steps, tree, method, words, digest, kill=tree == options.trees[0] and place == 0))
        first, *rest = methods
        pairs += [pair(options, steps, tree, first, second) for second in rest]
        folders_of = [f"runs/{tree}-{method}" for method in methods]
        steps.run(
            f"report-{tree}", ["report", *folders_of, "-o", f"{tree}.html", "--pictures", f"trees/{tree}", "--resamples", str(options.resamples)]
        )
    return Chain(
        pictures=len(table),
        split=options.split,
        limit=options.limit,
        condition_names=list(expand(options.conditions)),
        sets=sets,
        runs=runs,
        pairs=pairs,
        steps=steps.done,
        seconds=sum(step.seconds for step in steps.done.values()),
        cpu_seconds=sum(step.cpu_seconds for step in steps.done.values()),
    )


def drawn(found: Chain) -> bytes:
    """AUC of each method on each tree: the first condition with its interval, all others as dots. PNG."""
    from matplotlib.figure import Figure

    trees = list(dict.fromkeys(ran.tree for ran in found.runs))
    methods = list(dict.fromkeys(ran.method for ran in found.runs))
    figure = Figure(figsize=(4 * len(trees) + 1.5, 1.2 + 0.34 * len(methods)), dpi=150, facecolor=LIGHT["paper"], layout="constrained")
    panels = figure.subplots(1, len(trees), sharey=True, sharex=True, squeeze=False)[0]
    for panel, tree in zip(panels, trees, strict=True):
        for ran in (ran for ran in found.runs if ran.tree == tree):
            place = methods.index(ran.method)
            rest = [value for name, value in ran.auc_by_condition.items() if value is not None and name != ran.condition]
            panel.plot(rest, [place + 0.22] * len(rest), "o", color=LIGHT["real"], markersize=2.5, alpha=0.5, clip_on=False)
            auc = ran.figures["auc"]
            if auc.value is not None:
                panel.plot(auc.value, place, "o", color=LIGHT["fake"], markersize=5, clip_on=False)
            if auc.low is not None and auc.high is not None:
                panel.plot([auc.low, auc.high], [place, place], color=LIGHT["fake"], linewidth=1.6, solid_capstyle="butt")
        of = next(ran for ran in found.runs if ran.tree == tree)
        panel.set_title(f"laid out as {tree}\n{of.n_real} real, {of.n_fake} generated", fontsize=9, color=LIGHT["ink"])
        panel.set_yticks(range(len(methods)), [plain(name) for name in methods], fontsize=8)
        panel.set_xlabel(f"AUC: {of.condition} with 95 % interval; dots: other conditions", fontsize=8)
        panel.grid(axis="x", color=LIGHT["rule"], linewidth=0.5)
        panel.tick_params(labelsize=8, colors=LIGHT["ink"])
        for side, spine in panel.spines.items():
            spine.set_visible(side == "bottom")
    panels[0].invert_yaxis()
    return png(figure)


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("folder", type=Path, help="for trees, runs and pages; what is done in it is not done again")
    parser.add_argument("--bundles", nargs="+", default=[SHIPPED], help=f"folders of detectors, or {SHIPPED}; the others are compared with the first")
    parser.add_argument("--trees", nargs="+", default=list(TREES))
    parser.add_argument("--conditions", nargs="+", default=["clean", "web", "hard"], help="as `bench run` has them; all: every one")
    parser.add_argument("--split", default="test", help="of the manifest; '' for all")
    parser.add_argument("--limit", type=int, help="pictures of each set, label and source at most")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--count", type=int, default=8, help="pictures of each run that are scored again to verify it")
    parser.add_argument("--kill-after", type=float, default=60.0, help="seconds of scoring after which the first run is killed at the latest")
    parser.add_argument("--threads", type=int)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/layouts/chain.json"), help="summary; the plot lies beside it")
    return parser.parse_args()


def main() -> int:
    """Do what is missing, write, print. Returns 1 where a run does not verify, or the killed one ended otherwise than the undisturbed."""
    options = arguments()
    options.folder.mkdir(parents=True, exist_ok=True)
    options.folder, options.manifest = options.folder.resolve(), options.manifest.resolve()
    asked = {name: value for name, value in vars(options).items() if name not in {"folder", "output", "threads"}}
    written = json.dumps(
        {**asked, "manifest": options.manifest.name, "bundles": {name: of[1] for name, of in bundles(options.bundles).items()}}, default=str
    )
    before = options.folder / "asked.json"
    if before.is_file() and before.read_text() != written:
        print(f"{options.folder}: holds what was asked for otherwise; take another folder, or remove it", file=sys.stderr)
        return 2
    before.write_text(written)
    found = chain(options)
    write_result(options.output, found, [options.manifest])
    write_whole(options.output.with_suffix(".png"), drawn(found))
    for of in found.runs:
        auc = of.figures["auc"]
        said = f"({auc.low:.3f} to {auc.high:.3f})" if auc.low is not None and auc.high is not None else "no interval"
        verified = "verified" if of.verified else "WRONG"
        print(f"{of.tree}, {of.method}: {of.n_real} + {of.n_fake}, AUC {auc.value} {said}, {verified}, {of.cpu_seconds:.0f} s of processors")
    return 0 if found.good else 1


if __name__ == "__main__":
    sys.exit(main())
