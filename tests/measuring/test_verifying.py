import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import toy

from realgrain.detector.bundle import Bundle, read_bundle
from realgrain.detector.calibration import probability
from realgrain.detector.detect import load
from realgrain.learning.data import read_manifest
from realgrain.measuring import verifying
from realgrain.measuring.lock import LOCK, Lock, LockError, Protocol, environment
from realgrain.measuring.metrics import evaluate
from realgrain.measuring.run_audit import AUDIT, audit_chosen, audit_run, read_audit
from realgrain.measuring.run_manifest import choose, read_entries, write_entries
from realgrain.measuring.running import METRICS, SCORES, run
from realgrain.measuring.score import thresholds_of
from realgrain.measuring.verifying import verify

PROTOCOL = Protocol(conditions=("clean", "hard"), resamples=20)


@pytest.fixture(scope="module")
def original(tiny_detector, toy_manifest, tmp_path_factory):
    folder = tmp_path_factory.mktemp("original")
    shutil.copytree(toy_manifest.parent, folder / "pictures")
    (folder / "pictures" / "real" / "camera-a" / "03.jpg").write_bytes(b"no picture")
    samples = read_manifest(folder / "pictures" / "manifest.csv")
    audit_run(folder / "run", run(folder / "run", tiny_detector, samples, "toy", PROTOCOL).lock, samples)
    return folder


@pytest.fixture(autouse=True)
def known_audit(original, monkeypatch):
    """An audit takes long: done again, it finds what it found before, wherever a test does not say otherwise."""
    found = read_audit(original / "run", Lock.model_validate_json((original / "run" / LOCK).read_bytes()))
    monkeypatch.setattr(verifying, "audit_chosen", lambda *_: found)


@pytest.fixture
def copy(original, tmp_path) -> Path:
    """Pictures and their run, where a test may change them."""
    shutil.copytree(original, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def faults(copy, tiny_detector):
    """What is found wrong with the copy, by check."""

    def call(detector=tiny_detector, **options) -> dict[str, list[str]]:
        found = verify(copy / "run", detector, read_manifest(copy / "pictures" / "manifest.csv"), **options)
        assert found.ok == (not any(check.faults for check in found.checks))
        return {check.name: check.faults for check in found.checks if check.faults}

    return call


def edit_scores(folder: Path, edit, **said) -> None:
    table = pq.read_table(folder / SCORES)
    schema = table.schema.with_metadata({"realgrain": json.dumps({**json.loads(table.schema.metadata[b"realgrain"]), **said})})
    pq.write_table(pa.Table.from_pylist(edit(table.to_pylist()), schema=schema), folder / SCORES)


def measure_again(folder: Path) -> None:
    """What a forger would do after a change to the scores."""
    (folder / METRICS).write_text(evaluate(pq.read_table(folder / SCORES), resamples=20).model_dump_json())


def run_again(copy: Path, *arguments) -> None:
    """Another run instead of the copy's, with the audit of the one before."""
    audit = json.loads((copy / "run" / AUDIT).read_bytes())
    shutil.rmtree(copy / "run")
    done = run(copy / "run", *arguments)
    (copy / "run" / AUDIT).write_text(json.dumps({**audit, "lock": done.lock.sha256}))


def test_a_good_run(copy, faults, tiny_detector):
    before = {path: path.read_bytes() for path in (copy / "run").iterdir()}
    assert faults() == {}
    found = verify(copy / "run", tiny_detector, read_manifest(copy / "pictures" / "manifest.csv"))
    assert [check.name for check in found.checks] == [
        "detector",
        "manifest",
        "scores against manifest",
        "metrics",
        "pictures",
        "choice",
        "audit",
        "learned from",
        "thresholds",
        "probabilities",
        "logits",
    ]
    assert "128 scores of 64 pictures, equal to the last bit" in found.checks[-1].detail
    assert found.notes == []
    assert {path: path.read_bytes() for path in (copy / "run").iterdir()} == before


@pytest.mark.parametrize(("options", "pictures"), [({"share": 0.1}, 7), ({"count": 5}, 5), ({"share": 0}, 0), ({"share": 1}, 64)])
def test_size_of_the_draw(copy, tiny_detector, options, pictures):
    found = verify(copy / "run", tiny_detector, read_manifest(copy / "pictures" / "manifest.csv"), **options)
    assert found.checks[-1].detail.startswith(f"{2 * pictures} scores of {pictures} pictures")


def test_another_seed_draws_other_pictures(copy, tiny_detector, monkeypatch):
    seen = []
    monkeypatch.setattr(verifying, "score", lambda _, chosen, __: seen.append([sample.path for sample in chosen]) or iter(()))
    samples = read_manifest(copy / "pictures" / "manifest.csv")
    for seed in (0, 0, 1):
        verify(copy / "run", tiny_detector, samples, count=9, seed=seed)
    assert seen[0] == seen[1] != seen[2]


def test_without_a_seed_nobody_knows_the_draw(copy, tiny_detector, monkeypatch):
    seen = []
    monkeypatch.setattr(verifying, "score", lambda _, chosen, __: seen.append([sample.path for sample in chosen]) or iter(()))
    samples = read_manifest(copy / "pictures" / "manifest.csv")
    found = [verify(copy / "run", tiny_detector, samples, count=9) for _ in range(2)]
    assert seen[0] != seen[1]
    assert verify(copy / "run", tiny_detector, samples, count=9, seed=found[0].seed).seed == found[0].seed
    assert seen[2] == seen[0]


@pytest.mark.parametrize("forge", [lambda _: None, measure_again])
def test_flipped_label(copy, faults, forge):
    edit_scores(copy / "run", lambda rows: [{**rows[0], "label": "fake"}, *rows[1:]])
    forge(copy / "run")
    assert faults()["scores against manifest"] == ["real/camera-a/00.png, clean: label is 'fake', not 'real'"]


def test_flipped_label_everywhere_but_in_the_benchmark(copy, faults, tiny_detector):
    samples = read_manifest(copy / "pictures" / "manifest.csv")
    run_again(copy, tiny_detector, [samples[0].model_copy(update={"label": "fake"}), *samples[1:]], "toy", PROTOCOL)
    assert faults() == {"pictures": ["real/camera-a/00.png: label is 'real' in the benchmark, 'fake' in manifest.csv"]}


def test_changed_logit(copy, faults):
    edit_scores(copy / "run", lambda rows: [*rows[:-1], {**rows[-1], "logit": float(np.nextafter(rows[-1]["logit"], 9))}])
    measure_again(copy / "run")
    found = faults()
    assert list(found) == ["logits"]
    assert found["logits"][0].startswith("fake/diffusion-b/06.png, hard: logit ")


@pytest.mark.parametrize("forge", [lambda row: float(row["label"] == "fake"), lambda row: 0.5, lambda row: None])
def test_changed_probability(copy, faults, forge):
    """Accuracy at 0.5, ECE and Brier come from it, and no draw of pictures is needed to see that it is not the logit's."""
    edit_scores(copy / "run", lambda rows: [*rows[:-1], {**rows[-1], "probability": forge(rows[-1])}])
    measure_again(copy / "run")
    found = faults(count=0)
    assert list(found) == ["probabilities"]
    assert found["probabilities"][0].startswith(f"fake/diffusion-b/06.png, hard: probability {forge({'label': 'fake'})}, and 0.")


@pytest.mark.parametrize(("forged", "check"), [(7, "probabilities"), (None, "logits")])
def test_changed_group_of_content(copy, faults, forged, check):
    """A group that there is not is seen from the bundle, one that is not the picture's by scoring again."""
    edit_scores(copy / "run", lambda rows: [*rows[:-1], {**rows[-1], "content_group": forged}])
    measure_again(copy / "run")
    assert f"group of content {forged}" in faults()[check][0]


def test_probability_without_a_scale(copy, faults, tiny_bundle, tiny_detector):
    """A bundle without one gives none; what the table then holds is made up."""
    bundle = replace(tiny_bundle, card=tiny_bundle.card.model_copy(update={"calibration": None}))
    found = faults(type(tiny_detector)(bundle, tiny_detector.runtime), count=0)
    assert list(found) == ["probabilities"]
    assert found["probabilities"][-1] == "and 121 more"
    assert found["probabilities"][0].endswith("and None by the bundle's scale")
    edit_scores(copy / "run", lambda rows: [{**row, "probability": None} for row in rows])
    measure_again(copy / "run")
    assert faults(type(tiny_detector)(bundle, tiny_detector.runtime), count=0) == {}


def test_changed_clusters(copy, tiny_detector):
    """Every picture a cluster of its own makes intervals narrower; only the benchmark says what belongs together."""
    samples = [sample.model_copy(update={"day": f"{place % 10}"}) for place, sample in enumerate(read_manifest(copy / "pictures" / "manifest.csv"))]
    run_again(copy, tiny_detector, samples, "toy", PROTOCOL.model_copy(update={"clusters": "day"}))
    assert verify(copy / "run", tiny_detector, samples, count=0).ok
    edit_scores(copy / "run", lambda rows: [*rows[:-1], {**rows[-1], "day": "alone"}])
    (copy / "run" / METRICS).write_text(evaluate(pq.read_table(copy / "run" / SCORES), resamples=20, clusters="day").model_dump_json())
    found = verify(copy / "run", tiny_detector, samples, count=0)
    assert [check.faults for check in found.checks if not check.ok] == [["fake/diffusion-b/06.png, hard: day is 'alone', '3' in the benchmark"]]


@pytest.mark.parametrize("said", [None, {"pictures": 0, "of": 63, "by": "sha256"}])
def test_hiding_what_the_detector_learned_from(copy, faults, said):
    edit_scores(copy / "run", lambda rows: rows, learned=said)
    measure_again(copy / "run")
    found = faults(count=0)
    assert list(found) == ["learned from"]
    assert "Looked up again: The detector learned from 63 of these 63 pictures" in found["learned from"][0]


@pytest.mark.parametrize("name", ["content_group", "threshold", "set"])
def test_missing_column(copy, faults, name):
    pq.write_table(pq.read_table(copy / "run" / SCORES).drop_columns(name), copy / "run" / SCORES)
    assert [fault.split(" of type ")[0] for fault in faults()["files"]] == [f"{SCORES} has no column {name}"]


@pytest.mark.parametrize("edit", [{"label": "photo"}, {"logit": float("nan")}])
def test_scores_that_are_none(copy, faults, edit):
    edit_scores(copy / "run", lambda rows: [{**rows[0], **edit}, *rows[1:]])
    assert f"{copy / 'run' / SCORES}: " in faults()["files"][0]


@pytest.mark.parametrize("edit", [lambda rows: rows[2:], lambda rows: [*rows, rows[0]], lambda rows: rows[::-1]])
def test_rows_that_are_not_the_manifests(copy, faults, edit):
    edit_scores(copy / "run", edit)
    assert "scores against manifest" in faults()


def test_hidden_failure(copy, faults):
    edit_scores(copy / "run", lambda rows: [{**row, "error": "", "logit": row["logit"] or 0.0} for row in rows])
    assert len(faults()["scores against manifest"]) == 4


def test_changed_metric(copy, faults):
    content = json.loads((copy / "run" / METRICS).read_text())
    content["conditions"]["hard"]["metrics"]["auc"]["value"] += 1e-6
    (copy / "run" / METRICS).write_text(json.dumps(content))
    found = faults()
    assert list(found) == ["metrics"]
    assert found["metrics"][0].startswith("conditions.hard.metrics.auc.value is ")


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("{")])
def test_no_metrics(copy, faults, spoil):
    spoil(copy / "run" / METRICS)
    assert list(faults()) == ["metrics"]


@pytest.mark.parametrize("forged", [-1.25, None, float("inf")])
def test_threshold_of_the_test_set(copy, faults, forged):
    edit_scores(copy / "run", lambda rows: [*rows[:-1], {**rows[-1], "threshold": forged}])
    if forged == float("inf"):
        assert "thresholds that are NaN or infinite" in faults(count=0)["files"][0]
        return
    measure_again(copy / "run")
    found = faults(count=0)
    assert list(found) == ["thresholds"]
    assert found["thresholds"][0].startswith(f"fake/diffusion-b/06.png, hard: threshold {forged}, and ")


def test_threshold_of_another_group(copy, faults, tiny_detector, monkeypatch):
    """It is that of the group beside it, of which the bundle has one each."""
    monkeypatch.setattr(verifying, "thresholds_of", lambda bundle: {**thresholds_of(bundle), 0: 7.5})
    found = faults(count=0)
    assert list(found) == ["thresholds"] and "and 7.5 by the bundle" in found["thresholds"][0]


def test_metrics_of_another_run(copy, faults):
    content = json.loads((copy / "run" / METRICS).read_text())
    (copy / "run" / METRICS).write_text(json.dumps({**content, "lock": "0" * 64}))
    assert faults(count=0)["metrics"][0].startswith("lock is 0000")


def test_changed_and_lost_pictures(copy, faults):
    (copy / "pictures" / "fake" / "gan-a" / "01.jpg").write_bytes(toy.saved(toy.picture(999, fake=True)))
    (copy / "pictures" / "real" / "camera-b" / "02.png").unlink()
    found = faults()
    assert found["pictures"] == ["real/camera-b/02.png: cannot be read", "fake/gan-a/01.jpg: has changed"]
    assert len(found["logits"]) == 4


def test_picture_that_the_benchmark_lacks(copy, faults):
    lines = (copy / "pictures" / "manifest.csv").read_text().splitlines()
    (copy / "pictures" / "manifest.csv").write_text("\n".join([lines[0], *lines[2:]]))
    assert faults() == {"pictures": ["real/camera-a/00.png: is not in the benchmark"]}


def test_picture_that_the_run_lacks(copy, faults):
    """It might be one that the detector gets wrong."""
    file = copy / "pictures" / "manifest.csv"
    shutil.copy(copy / "pictures" / "real" / "camera-a" / "00.png", copy / "pictures" / "hard.png")
    file.write_text(file.read_text() + "hard.png,real,,camera-a,train,CC0-1.0\n")
    assert faults() == {"choice": ["hard.png: the benchmark has it, the run has not"]}


def test_pictures_that_the_protocol_does_not_choose(copy, tiny_detector):
    """Easy ones that are added, of another split or beyond the limit, flatter as well as hard ones that are taken away."""
    samples = [
        sample.model_copy(update={"split": "train" if place % 2 else "test"})
        for place, sample in enumerate(read_manifest(copy / "pictures" / "manifest.csv"))
    ]
    chosen = choose(samples, "test")
    run_again(copy, tiny_detector, [*chosen, samples[1].model_copy(update={"split": "test"})], "toy", PROTOCOL.model_copy(update={"split": "test"}))
    file = copy / "run" / "manifest.csv"
    found = verify(copy / "run", tiny_detector, samples, count=0)
    faults = {check.name: check.faults for check in found.checks if check.faults}
    assert faults["choice"] == [f"{samples[1].path}: the run has it and the protocol does not choose it"]
    entries = list(read_entries(file))
    write_entries([*entries[:-1], entries[0]], file)
    found = verify(copy / "run", tiny_detector, samples, count=0)
    (faults,) = [check.faults for check in found.checks if check.name == "choice"]
    assert faults == [f"{samples[0].path}: the run has it twice"]


def test_swapped_bundle(copy, faults, tiny_bundle):
    card = tiny_bundle.card.model_copy(update={"name": "other"})
    found = faults(load(Bundle(tiny_bundle.folder, card, tiny_bundle.head, {}, "f" * 64), threads=1))
    assert found == {"detector": ["bundle.name was tiny, is other", f"bundle.hash was {tiny_bundle.hash[:12]}…, is ffffffffffff…"]}


def test_swapped_weights(copy, faults, tiny_bundle, tiny_detector, monkeypatch):
    """A detector that only says that it is the run's."""
    other = type(tiny_detector)(tiny_bundle, tiny_detector.runtime)
    look = type(other.runtime).look
    monkeypatch.setattr(type(other.runtime), "look", lambda self, views: (np.zeros(len(views), np.float32), look(self, views)[1]))
    assert list(faults(other)) == ["logits"]


def test_changed_manifest(copy, faults):
    file = copy / "run" / "manifest.csv"
    file.write_text(file.read_text().replace("camera-a,", "camera-z,", 1))
    found = faults()
    assert "manifest" in found
    assert found["pictures"] == ["real/camera-a/00.png: source is 'camera-a' in the benchmark, 'camera-z' in manifest.csv"]


def test_audit(copy, faults, tiny_detector, monkeypatch):
    monkeypatch.setattr(verifying, "audit_chosen", audit_chosen)
    samples = read_manifest(copy / "pictures" / "manifest.csv")
    found = verify(copy / "run", tiny_detector, samples, count=0)
    (check,) = [check for check in found.checks if check.name == "audit"]
    assert (check.faults, found.notes) == ([], [])
    assert check.detail.endswith("figures and verdicts of 63 pictures found again")
    content = json.loads((copy / "run" / AUDIT).read_bytes())
    verdicts = [one["verdict"] for one in content["audit"]["checks"]]
    content["audit"]["checks"][0]["verdict"] = "leak"
    (copy / "run" / AUDIT).write_text(json.dumps(content))
    assert faults(count=0) == {"audit": [f"checks.0.verdict is leak, and {verdicts[0]} when done again"]}
    (place,) = [place for place, one in enumerate(content["audit"]["checks"]) if one["auc"] is not None][:1]
    content["audit"]["checks"][0]["verdict"] = verdicts[0]
    before = content["audit"]["checks"][place]["auc"]["value"]
    content["audit"]["checks"][place]["auc"]["value"] = before + 0.001
    (copy / "run" / AUDIT).write_text(json.dumps(content))
    assert list(faults(count=0)) == ["audit"]
    monkeypatch.setattr(verifying, "environment", lambda: environment().model_copy(update={"python": "9.9"}))
    assert faults(count=0) == {}  # other versions may fit another probe


def test_audit_of_another_run_or_of_nothing(copy, faults):
    file = copy / "run" / AUDIT
    file.write_text(json.dumps({**json.loads(file.read_bytes()), "lock": "0" * 64}))
    assert faults(count=0) == {"audit": [f"{AUDIT}: made under another {LOCK}"]}
    file.write_text("{")
    (fault,) = faults(count=0)["audit"]
    assert fault.startswith(f"{file}: not the audit of a run: Invalid JSON") and "\n" not in fault
    file.unlink()
    assert faults(count=0) == {"audit": [f"{AUDIT}: is missing; the command that began the run writes it"]}


def test_changed_lock(copy, faults):
    lock = Lock.model_validate_json((copy / "run" / LOCK).read_bytes())
    changed = lock.model_copy(update={"protocol": lock.protocol.model_copy(update={"seed": 7})})
    (copy / "run" / LOCK).write_bytes(changed.content())
    assert faults()["files"] == [f"{copy / 'run' / SCORES}: made under another {LOCK}"]


@pytest.mark.parametrize("name", ["manifest.csv", SCORES])
def test_files_that_are_none(copy, faults, name):
    (copy / "run" / name).write_bytes(b"nothing")
    assert "files" in faults()


def test_other_versions_are_no_fault(copy, tiny_detector, monkeypatch):
    monkeypatch.setattr(verifying, "environment", lambda: environment().model_copy(update={"python": "9.9"}))
    scale = tiny_detector.bundle.card.calibration

    def moved(row, by):
        return {**row, "logit": row["logit"] + by, "probability": float(probability(scale, row["logit"] + by))}

    edit_scores(copy / "run", lambda rows: [moved(rows[0], 9e-5), moved(rows[1], 2e-4), *rows[2:]])
    measure_again(copy / "run")
    found = verify(copy / "run", tiny_detector, read_manifest(copy / "pictures" / "manifest.csv"))
    assert [note.split(" was ")[0] for note in found.notes] == ["python"]
    assert [len(check.faults) for check in found.checks] == [0] * 10 + [1]
    assert "hard: logit" in found.checks[-1].faults[0]


def test_other_runtime(copy, faults, tiny_bundle):
    assert faults(load(read_bundle(tiny_bundle.folder), runtime="torch", threads=1))["detector"] == ["runtime.name was onnxruntime, is torch"]


def test_wrong_usage(copy, tiny_detector, tmp_path):
    with pytest.raises(LockError, match="not the folder of a run"):
        verify(tmp_path, tiny_detector, [])
    with pytest.raises(ValueError, match="share"):
        verify(copy / "run", tiny_detector, [], share=2)
    (copy / "run" / SCORES).unlink()
    with pytest.raises(LockError, match="not finished"):
        verify(copy / "run", tiny_detector, [])
