import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import toy
import yaml
from PIL import Image

import realgrain
from realgrain._version import __version__
from realgrain.detector.bundle import read_bundle
from realgrain.detector.calibration import Calibration
from realgrain.detector.decision import Policy, decision_of, interval
from realgrain.detector.detect import load
from realgrain.detector.verdict import Report
from realgrain.detector.weights import file_sha256
from realgrain.faces import show
from realgrain.faces.cli import main
from realgrain.learning.recipe import Recipe, read_recipe
from realgrain.measuring.metrics import evaluate
from realgrain.measuring.results import Ablation, Evaluation

sys.path.insert(0, str(Path(__file__).parents[1] / "picture"))
from hostile import build_hostile

SOURCE = str(Path(realgrain.__file__).parents[1])


@pytest.fixture
def bundle(tiny_bundle):
    return ["--bundle", str(tiny_bundle.folder)]


@pytest.fixture
def judge(bundle, capsys):
    """Run ``realgrain detect --json`` here; gives the exit code, the reports, and what it said."""

    def call(*arguments):
        code = main(["detect", *map(str, arguments), *bundle, "--json"])
        out, err = capsys.readouterr()
        return code, [Report.model_validate_json(line) for line in out.splitlines()], err

    return call


@pytest.fixture(scope="module")
def judged(tiny_bundle, toy_pictures):
    """Verdict of each toy picture."""
    detector = load(tiny_bundle, threads=1)
    return {path: detector.detect(path).verdict.label for path in toy_pictures}


class TestExitCodes:
    def test_done(self, judge, toy_pictures):
        code, reports, err = judge(*toy_pictures[:3])
        assert (code, err) == (0, "")
        assert [report.picture.name for report in reports] == [str(path) for path in toy_pictures[:3]]

    @pytest.mark.parametrize("bad", ["gone.png", "nowhere/*.png", "empty"])
    def test_some_input_failed(self, judge, toy_pictures, tmp_path, bad):
        (tmp_path / "empty").mkdir()
        code, reports, err = judge(tmp_path / bad, toy_pictures[0])
        assert code == 1
        assert len(reports) == 1
        assert err == f"realgrain: {tmp_path / bad}: no such file, and no picture behind it\n"

    def test_all_input_failed(self, judge, tmp_path):
        (tmp_path / "bad.jpg").write_bytes(b"no picture")
        code, reports, err = judge(tmp_path / "bad.jpg")
        assert (code, reports) == (2, [])
        assert err.startswith(f"realgrain: {tmp_path / 'bad.jpg'}: ")
        assert judge(tmp_path / "gone.jpg", "--fail-on", "ai")[:2] == (2, [])

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["nonsense"], "nonsense"),
            (["detect", "a.png", "--nonsense"], "--nonsense"),
            (["detect", "-x", "--json"], "-x"),
            (["evaluate", "s.parquet", "--nonsense"], "--nonsense"),
            (["detect", "a.png", "--runtime", "tensorrt"], "tensorrt"),
            (["detect", "a.png", "--fail-on", "camera"], "camera"),
            (["detect", "a.png", "--threads", "many"], "many"),
            (["detect", "a.png", "--threads", "0"], "Must be >= 1"),
            (["score", "m.csv", "-o", "s.parquet", "--threads", "-3"], "Must be >= 1"),
            (["score", "m.csv"], "output"),
            (["weights", "nonsense"], "nonsense"),
        ],
    )
    def test_wrong_usage(self, capsys, arguments, words):
        assert main(arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("realgrain: ")
        assert words in err
        assert err.endswith("Try `realgrain --help`.\n")

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["detect"], "no pictures: give files"),
            (["detect", "a.png", "--bundle", "nowhere"], "nowhere: not a bundle"),
            (["score", "nowhere.csv", "-o", "s.parquet"], "nowhere.csv: not readable"),
            (["evaluate", "nowhere.parquet"], "nowhere.parquet: no such file"),
            (["train", "nowhere.yaml", "--data", "m.csv", "-o", "b"], "nowhere.yaml"),
            (["crossval", "nowhere.yaml", "--data", "m.csv", "-o", "c.json"], "nowhere.yaml"),
            (["export", "--bundle", "nowhere", "--data", "m.csv", "-o", "b"], "nowhere: not a bundle"),
            (["weights", "pull", "./nowhere"], "./nowhere: not a folder"),
        ],
    )
    def test_nothing_could_be_done(self, capsys, arguments, words, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert main(arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("realgrain: ")
        assert words in err
        assert list(tmp_path.iterdir()) == []

    def test_fail_on_ai(self, judge, judged):
        assert set(judged.values()) == {"ai", "camera", "unsure"}
        for label, expected in (("ai", 1), ("camera", 0), ("unsure", 0)):
            path = next(path for path, found in judged.items() if found == label)
            code, (report,), err = judge(path, "--fail-on", "ai")
            assert (code, report.verdict.label, err) == (expected, label, "")
            assert judge(path)[0] == 0

    def test_interrupted(self, bundle, capsys, monkeypatch, toy_pictures):
        def interrupt(*arguments, **options):
            raise KeyboardInterrupt

        monkeypatch.setattr("realgrain.detector.detect.load", interrupt)
        assert main(["detect", str(toy_pictures[0]), *bundle]) == 130
        assert capsys.readouterr().err == "realgrain: interrupted\n"

    def test_version_and_help(self, capsys):
        assert main(["--version"]) == 0
        assert capsys.readouterr().out.strip() == __version__
        assert main(["--help"]) == 0
        shown = capsys.readouterr().out
        assert all(command in shown for command in ("detect", "score", "evaluate", "train", "crossval", "export", "weights"))


class TestNothingIsWrittenOverItsSource:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["score", "a", "-o", "a"],
            ["evaluate", "b", "--folds", "a", "-o", "a"],
            ["crossval", "b", "--data", "a", "-o", "a"],
            ["crossval", "a", "--data", "b", "-o", "c.json", "--scores", "a"],
            ["ablate", "b", "--data", "a", "-o", "a"],
            ["ablation", "comparison.json", "-o", "."],
            ["inspect", "m.png", "-o", "r.json", "-o", "m.png"],
            ["adapt", "--fake", "f", "--real", "r", "-o", "new", "--replay", "a", "--report", "a"],
            ["drift", "b", "m.png", "--plot", "m.png"],
        ],
    )
    def test_each_command_refuses(self, capsys, arguments, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        files = [Path(name) for name in ("a", "b", "m.png", "comparison.json")]
        for file in files:
            file.write_text("what was there")
        assert main(arguments) == 2
        assert "is what this is made from; name another file" in capsys.readouterr().err
        assert sorted(tmp_path.iterdir()) == sorted(file.absolute() for file in files)
        assert {file.read_text() for file in files} == {"what was there"}

    def test_a_manifest_under_another_name(self, bundle, toy_pictures, tmp_path, capsys):
        shutil.copyfile(toy_pictures[0], tmp_path / "good.png")
        manifest = toy.write_manifest(tmp_path / "m.csv", [{"path": "good.png", "label": "real"}])
        before = manifest.read_bytes()
        (tmp_path / "link").symlink_to(manifest)
        assert main(["score", str(manifest), "-o", str(tmp_path / "link"), *bundle]) == 2
        assert "link: is what this is made from" in capsys.readouterr().err
        assert manifest.read_bytes() == before

    @pytest.mark.parametrize(
        "arguments", [["crossval", "a", "--data", "b", "-o", "c", "--scores", "./c"], ["drift", "a", "-o", "c", "--plot", "./c"]]
    )
    def test_two_outputs_are_two_files(self, capsys, arguments, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert main(arguments) == 2
        assert "c: is named for two outputs" in capsys.readouterr().err


class TestWhatIsJudged:
    def test_folder(self, judge, toy_manifest):
        (toy_manifest.parent / "notes.txt").write_text("not a picture")
        code, reports, err = judge(toy_manifest.parent / "real")
        assert (code, err) == (0, "")
        assert [report.picture.name for report in reports] == sorted(str(path) for path in toy_manifest.parent.glob("real/*/*"))

    def test_glob(self, judge, toy_manifest):
        _, reports, _ = judge(toy_manifest.parent / "real" / "*" / "0[12].*")
        assert [report.picture.name for report in reports] == sorted(str(path) for path in toy_manifest.parent.glob("real/*/0[12].*"))
        assert len(reports) == 2 * len(toy.REAL)

    def test_a_name_that_looks_like_a_glob(self, judge, toy_pictures, tmp_path):
        for name in ("a[1].png", "a1.png", "b*.png"):
            shutil.copyfile(toy_pictures[0], tmp_path / name)
        _, reports, _ = judge(tmp_path / "a[1].png", tmp_path / "b*.png")
        assert [report.picture.name for report in reports] == [str(tmp_path / "a[1].png"), str(tmp_path / "b*.png")]

    def test_each_once_in_the_order_given(self, judge, toy_pictures):
        a, b, c = toy_pictures[:3]
        _, reports, _ = judge(c, a.parent, a, b)
        assert [report.picture.name for report in reports][:1] == [str(c)]
        assert len(reports) == len({report.picture.name for report in reports}) == len(list(a.parent.iterdir()))

    def test_a_named_file_whatever_its_suffix(self, judge, toy_pictures, tmp_path):
        shutil.copyfile(toy_pictures[0], tmp_path / "picture.dat")
        code, reports, _ = judge(tmp_path / "picture.dat")
        assert (code, len(reports)) == (0, 1)
        assert judge(tmp_path)[0] == 2  # in a folder, only what is named like a picture counts

    @pytest.mark.parametrize("ending", ["\n", "\r\n"])
    def test_standard_input(self, run, bundle, toy_pictures, ending):
        listed = ["", *map(str, toy_pictures[:3]), "", "gone.png"]
        found = run("-m", "realgrain", "detect", "-", "--json", *bundle, input=ending.join(listed))
        assert found.returncode == 1
        assert [json.loads(line)["picture"]["name"] for line in found.stdout.splitlines()] == [str(path) for path in toy_pictures[:3]]
        assert found.stderr == "realgrain: gone.png: no such file, and no picture behind it\n"

    @pytest.mark.skipif(sys.platform != "linux", reason="names that are no text exist on Linux alone")
    def test_names_that_are_no_text(self, bundle, toy_pictures, tmp_path, judge):
        names = [os.fsdecode(name) for name in (b"latin-\xe9.png", "line\u2028separator.png".encode(), b"tab\tand \x1b[31m.png")]
        for name in names:
            shutil.copyfile(toy_pictures[0], tmp_path / name)
        listed = b"".join(os.fsencode(tmp_path / name) + b"\n" for name in names)
        command = [sys.executable, "-m", "realgrain", "detect", "-", "--json", *bundle]
        found = subprocess.run(command, input=listed, capture_output=True, check=False, env={**os.environ, "PYTHONPATH": SOURCE})
        assert (found.returncode, found.stderr) == (0, b"")
        reports = [Report.model_validate_json(line) for line in found.stdout.splitlines()]
        assert len(reports) == len(names)
        assert all(report.picture.name.isprintable() for report in reports)
        assert len(judge(tmp_path)[1]) == len(names)

    @pytest.mark.parametrize("name", ["nul\0.png", "nul\0/*.png", "*/nul\0"])
    def test_a_name_with_nul_stops_nothing(self, run, bundle, toy_pictures, name):
        """As where a picture comes instead of a list."""
        found = run("-m", "realgrain", "detect", "-", "--json", *bundle, input=f"{name}\n{toy_pictures[0]}\n")
        assert found.returncode == 1
        assert [json.loads(line)["picture"]["name"] for line in found.stdout.splitlines()] == [str(toy_pictures[0])]
        shown = name.replace("\0", r"\x00")
        assert found.stderr == f"realgrain: {shown}: no such file, and no picture behind it\n"

    def test_a_name_too_long_to_be_one(self, judge, toy_pictures, tmp_path):
        code, reports, err = judge(tmp_path / ("a" * 3000), toy_pictures[0])
        assert (code, len(reports)) == (1, 1)
        assert err.count("realgrain: ") == 1

    def test_two_hundred_good_and_twenty_bad(self, judge, tmp_path):
        good, bad = tmp_path / "good", tmp_path / "bad"
        good.mkdir(), bad.mkdir()
        for index in range(200):
            kind, suffix = (("PNG", "png"), ("JPEG", "jpg"))[index % 2]
            (good / f"{index:03}.{suffix}").write_bytes(toy.saved(toy.picture(index, fake=index % 3 == 0, size=(48, 40)), kind))
        hostile = list(build_hostile(bad).values())
        chosen = hostile[:: len(hostile) // 20][:20]
        assert len(chosen) == len(set(chosen)) == 20
        goods = sorted(good.iterdir())
        mixed = [path for index, path in enumerate(goods) for path in ([path, chosen[index // 10]] if index % 10 == 0 else [path])]
        code, reports, err = judge(*mixed)
        assert code == 1
        assert [report.picture.name for report in reports] == [str(path) for path in goods]
        assert {report.verdict.label for report in reports} == {"unsure"}  # they are all too small for a verdict
        lines = err.splitlines()
        assert len(lines) == 20
        assert all(line.startswith(f"realgrain: {bad}") or "aaa" in line or "/dev/zero" in line for line in lines)


class TestWhatIsPrinted:
    def test_reports_are_those_of_the_detector(self, judge, tiny_detector, toy_pictures):
        assert judge(*toy_pictures[:2])[1] == [tiny_detector.detect(str(path)) for path in toy_pictures[:2]]

    def test_table_for_people(self, bundle, capsys, toy_pictures, judged, tiny_bundle, monkeypatch):
        monkeypatch.setenv("COLUMNS", "300")
        chosen = [next(path for path, label in judged.items() if label == kind) for kind in ("ai", "camera", "unsure")]
        assert main(["detect", *map(str, chosen), *bundle]) == 0
        out, err = capsys.readouterr()
        assert err == ""
        for path, words in zip(chosen, ("AI-generated", "camera", "unsure: "), strict=True):
            (line,) = (line for line in out.splitlines() if str(path) in line)
            assert words in line
        found, words = decision_of(tiny_bundle, Policy()), " ".join(out.split())
        assert f"at this threshold {interval(found.false_positive)} of real photographs" in words
        assert f"{interval(found.missed)} of generated pictures pass as photographs, n = {found.missed.n}" in words
        assert "\x1b" not in out

    def test_evidence_stands_beside_the_verdict(self, bundle, capsys, toy_pictures, tmp_path, monkeypatch):
        monkeypatch.setenv("COLUMNS", "300")
        exif = Image.Exif()
        exif[0x010F], exif[0x0110] = "[bold]Canon", "EOS 5D"
        path = tmp_path / "spoofed.jpg"
        with Image.open(toy_pictures[0]) as image:
            image.convert("RGB").save(path, "JPEG", exif=exif)
        assert main(["detect", str(path), *bundle]) == 0
        out = capsys.readouterr().out
        assert 'EXIF (unsigned): "[bold]Canon EOS 5D"' in out
        assert "no evidence" in out
        assert "see the notes" not in out
        assert main(["detect", str(path), "--no-evidence", *bundle]) == 0
        assert "Canon" not in capsys.readouterr().out
        reports = []
        for flags in ([], ["--no-evidence"]):
            assert main(["detect", str(path), "--json", *flags, *bundle]) == 0
            reports.append(Report.model_validate_json(capsys.readouterr().out))
        assert reports[0].evidence.claims[0].camera == "[bold]Canon EOS 5D"
        assert reports[0].model_copy(update={"evidence": None}) == reports[1]

    def test_what_was_not_read_is_noted(self, bundle, capsys, toy_pictures, tmp_path, monkeypatch):
        monkeypatch.setenv("COLUMNS", "300")
        paths = [tmp_path / f"{name}.png" for name in "abcd"]
        for path in paths:
            path.write_bytes(toy_pictures[0].read_bytes() + b"tail")
        assert main(["detect", *map(str, paths), *bundle]) == 0
        out = capsys.readouterr().out
        assert out.count("nothing that was read: see the notes") == 4
        assert " ".join(out.split()).count("4 bytes follow the end of the picture: not read") == 1
        assert "and 1 more: 4 bytes" in " ".join(out.split())

    def test_what_verdicts_are_worth_is_said_of_several_pictures_too(self, bundle, capsys, toy_pictures, tiny_bundle):
        assert main(["detect", *map(str, toy_pictures[:2]), *bundle]) == 0
        words, found = " ".join(capsys.readouterr().out.split()), decision_of(tiny_bundle, Policy())
        assert f"of generated pictures {interval(found.caught)} are flagged" in words
        assert f"of photographs {interval(found.passed)} are called so" in words

    def test_a_probability_that_tells_nothing(self, tiny_detector, toy_pictures, capsys):
        report = tiny_detector.detect(toy_pictures[0])
        flat = report.model_copy(
            update={"probability": 0.5, "decision": report.decision.model_copy(update={"calibration": Calibration(method="platt", slope=0.0)})}
        )
        table = show.Table("tiny")
        for one in (report, flat):
            table.add(one)
        table.close()
        assert capsys.readouterr().out.count("0.50, tells nothing") == 1

    def test_a_trust_list_without_certificates(self, bundle, capsys, toy_pictures, tmp_path):
        (tmp_path / "list.pem").write_text("none")
        assert main(["detect", str(toy_pictures[0]), "--trust-list", str(tmp_path / "list.pem"), *bundle]) == 2
        assert "list.pem: not a trust list" in capsys.readouterr().err

    def test_a_name_is_not_markup(self, bundle, capsys, toy_pictures, tmp_path, monkeypatch):
        monkeypatch.setenv("COLUMNS", "300")
        path = tmp_path / "[bold red]x[/nonsense].png"
        shutil.copytree(toy_pictures[0].parent, tmp_path / "[bold red]x[")
        shutil.copyfile(toy_pictures[0], path)
        assert main(["detect", str(path), *bundle]) == 0
        assert str(path) in capsys.readouterr().out

    @pytest.mark.parametrize("style", [["--json"], []])
    def test_no_noise_where_there_is_no_terminal(self, run, bundle, toy_manifest, style):
        found = run("-W", "error", "-m", "realgrain", "detect", toy_manifest.parent / "real", *bundle, *style)
        assert (found.returncode, found.stderr) == (0, "")
        if style:
            assert len([Report.model_validate_json(line) for line in found.stdout.splitlines()]) == sum(toy.REAL.values())

    @pytest.mark.parametrize("style", [["--json"], []])
    def test_a_reader_that_leaves(self, bundle, toy_manifest, style):
        """As in ``realgrain detect ... | head -1``."""
        command = [sys.executable, "-m", "realgrain", "detect", str(toy_manifest.parent), *bundle, *style]
        environment = {**os.environ, "PYTHONPATH": SOURCE}
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
            if style:
                assert Report.model_validate_json(process.stdout.readline())
            process.stdout.close()
            said = process.stderr.read()
            assert process.wait(timeout=60) == 1
        assert said == b""


class TestScoreAndEvaluate:
    def test_round_trip(self, bundle, toy_manifest, tiny_bundle, tmp_path, capsys):
        scores, figures = tmp_path / "deep" / "scores.parquet", tmp_path / "figures" / "f.json"
        arguments = ["score", str(toy_manifest), "-o", str(scores), "--conditions", "clean", "web", *bundle]
        assert main(arguments) == 0
        count = sum(toy.REAL.values()) + sum(toy.FAKE.values())
        assert capsys.readouterr() == ("", f"realgrain: {scores}: {2 * count} scores of {count} pictures, 0 pictures failed\n")
        assert main(["evaluate", str(scores), "-o", str(figures), "--json", "--resamples", "20"]) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        found = Evaluation.model_validate_json(printed.out)
        assert found == evaluate(pq.read_table(scores), resamples=20)
        written = json.loads(figures.read_text())
        assert Evaluation.model_validate(written["result"]) == found
        assert written["run"]["inputs"] == {"scores.parquet": file_sha256(scores)}
        assert list(found.conditions) == ["clean", "web"]
        assert found.thresholds == [decision_of(tiny_bundle, Policy(), 0).ai]

    def test_table_for_people(self, bundle, toy_manifest, tmp_path, capsys):
        scores = tmp_path / "s.parquet"
        assert main(["score", str(toy_manifest), "-o", str(scores), *bundle]) == 0
        assert main(["evaluate", str(scores), "--resamples", "0"]) == 0
        out = capsys.readouterr().out
        assert all(words in out for words in ("auc", "clean", "Recall by generator", *toy.REAL))

    def test_groups_of_conditions_and_clusters(self, bundle, toy_manifest, tmp_path, capsys):
        scores = tmp_path / "s.parquet"
        assert main(["score", str(toy_manifest), "-o", str(scores), "--conditions", "hard", "deliveries", *bundle]) == 0
        capsys.readouterr()
        assert main(["evaluate", str(scores), "--json", "--resamples", "20", "--clusters", "source"]) == 0
        found = Evaluation.model_validate_json(capsys.readouterr().out)
        assert (list(found.conditions), found.clusters) == (["hard", "clean", "web"], "source")
        assert found.conditions["clean"].n_clusters == {"real": len(toy.REAL), "fake": len(toy.FAKE)}
        assert main(["evaluate", str(scores), "--clusters", "photographer"]) == 2
        assert "no column 'photographer'" in capsys.readouterr().err

    def test_unlabelled_folder(self, bundle, toy_manifest, tmp_path, capsys):
        scores = tmp_path / "s.parquet"
        assert main(["score", str(toy_manifest.parent / "fake"), "-o", str(scores), *bundle]) == 0
        table = pq.read_table(scores)
        assert table.num_rows == sum(toy.FAKE.values())
        assert set(table["label"].to_pylist()) == {""}
        capsys.readouterr()
        assert main(["evaluate", str(scores)]) == 2
        assert "a label is real or fake" in capsys.readouterr().err

    def test_split(self, bundle, toy_manifest, tmp_path, capsys):
        with toy_manifest.open(newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            row["path"] = os.path.relpath(toy_manifest.parent / row["path"], toy_manifest.parent)
        chosen = [{**row, "split": "test" if index < 3 else "train"} for index, row in enumerate(rows)]
        toy.write_manifest(toy_manifest.parent / "other.csv", chosen)
        assert main(["score", str(toy_manifest.parent / "other.csv"), "-o", str(tmp_path / "s.parquet"), "--split", "test", *bundle]) == 0
        assert pq.read_table(tmp_path / "s.parquet").num_rows == 3
        assert main(["score", str(toy_manifest.parent / "other.csv"), "-o", str(tmp_path / "t.parquet"), "--split", "none", *bundle]) == 2
        assert "no pictures in split 'none'" in capsys.readouterr().err
        assert not (tmp_path / "t.parquet").exists()

    @pytest.mark.skipif(sys.platform != "linux", reason="names that are no text exist on Linux alone")
    def test_names_that_are_no_text(self, bundle, toy_pictures, tmp_path, capsys):
        (tmp_path / "in").mkdir()
        for name in (b"bad\xff.png", "bäd.png".encode()):
            shutil.copyfile(toy_pictures[0], tmp_path / "in" / os.fsdecode(name))
        assert main(["score", str(tmp_path / "in"), "-o", str(tmp_path / "s.parquet"), *bundle]) == 0
        table = pq.read_table(tmp_path / "s.parquet")
        assert set(table["path"].to_pylist()) == {r"bad\xff.png", "bäd.png"}
        assert len(set(table["logit"].to_pylist())) == 1

    def test_a_bad_file_is_named_once(self, bundle, toy_pictures, tmp_path, capsys):
        shutil.copyfile(toy_pictures[0], tmp_path / "good.png")
        (tmp_path / "bad.png").write_bytes(b"no picture")
        toy.write_manifest(tmp_path / "m.csv", [{"path": name, "label": "real"} for name in ("bad.png", "good.png")])
        assert main(["score", str(tmp_path / "m.csv"), "-o", str(tmp_path / "s.parquet"), "--conditions", "clean", "web", *bundle]) == 1
        err = capsys.readouterr().err.splitlines()
        assert len(err) == 2
        assert "bad.png: " in err[0]
        assert err[1].endswith("4 scores of 2 pictures, 1 pictures failed")


class TestLearning:
    @pytest.fixture
    def recipe(self, tmp_path, tiny_tower):
        path = tmp_path / "r.yaml"
        path.write_text(json.dumps({"base": str(tiny_tower.folder), "draws": 1, "deliveries": ["clean"], "block": 1}))
        return path

    def test_train_detect(self, recipe, toy_manifest, toy_pictures, tmp_path, run):
        command = ["-W", "error", "-m", "realgrain", "train", recipe, "--data", toy_manifest, "-o", tmp_path / "b"]
        logged = ["--tuning.log", "tensorboard", "--tuning.log-to", tmp_path / "logs"]
        found = run(*command, "--name", "mine", "--augmentation.p_blur=0.5", "--block", "null", "--penalty", "1e-2", *logged)
        assert (found.returncode, found.stdout) == (0, ""), found.stderr
        made = read_bundle(tmp_path / "b")
        *concerns, last = found.stderr.splitlines()
        assert last == f"realgrain: {tmp_path / 'b'}: bundle {made.hash}"
        assert [line.split(": ")[1].split(" pictures")[0] for line in concerns] == ["only 32 real", "only 32 fake"]
        learned = made.card.recipe
        assert "log_to" not in learned["tuning"]  # of this machine and nobody's business
        assert (made.card.name, made.card.block, learned["augmentation"]["p_blur"], learned["penalty"]) == ("mine", None, 0.5, 0.01)
        assert main(["detect", str(toy_pictures[0]), "--bundle", str(tmp_path / "b")]) == 0

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (["--block"], "--block: no value"),
            (["stray"], "stray: settings are given as --NAME VALUE"),
            (["--nonsense", "1"], "nonsense: no such setting"),
            (["--penalty", "-1"], "penalty: "),
            (["--block.x", "1"], "block.x: block is 1"),
            (["--augmentation.p_blurr", "1"], "did you mean augmentation.p_blur"),
        ],
    )
    def test_a_setting_that_does_not_fit(self, recipe, toy_manifest, tmp_path, change, words, capsys):
        assert main(["train", str(recipe), *change, "--data", str(toy_manifest), "-o", str(tmp_path / "b")]) == 2
        assert words in capsys.readouterr().err
        assert not (tmp_path / "b").exists()

    def test_recipe_tells_all_settings(self, recipe, capsys):
        assert main(["recipe"]) == 0
        assert Recipe.model_validate(yaml.safe_load(capsys.readouterr().out)) == Recipe()
        assert main(["recipe", str(recipe), "--tuning.rate", "2e-4"]) == 0
        out = capsys.readouterr().out
        assert Recipe.model_validate(yaml.safe_load(out)) == read_recipe(recipe, {"tuning.rate": 2e-4})
        assert "\n  # of learning, for what moves in the tower; AdamW.\n  rate: 0.0002\n" in out

    def test_crossval(self, recipe, toy_manifest, tmp_path, capsys):
        arguments = ["crossval", str(recipe), "--data", str(toy_manifest), "-o", str(tmp_path / "c.json"), "--scores", str(tmp_path / "c.parquet")]
        assert main(arguments) == 0
        assert "gan-a|camera-a" in capsys.readouterr().out
        found = json.loads((tmp_path / "c.json").read_text())["result"]
        table = pq.read_table(tmp_path / "c.parquet")
        assert set(found["folds"]) == set(table["fold"].to_pylist())
        assert np.isfinite(found["mean"]["clean"]["auc"])
        capsys.readouterr()
        assert main(["evaluate", str(tmp_path / "c.parquet"), "--resamples", "1000", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == found

    def test_ablate_then_ablation(self, recipe, toy_manifest, tmp_path, capsys):
        plan, ledger, folder = tmp_path / "plan.yaml", tmp_path / "runs.jsonl", tmp_path / "report"
        folds = "[{fake: [gan-a], real: [camera-a]}]"
        plan.write_text(
            f"recipe: {recipe}\naxes: {{penalty: [1, 100]}}\nprotocols: {{pairs: {folds}}}\nvalidation: 2\nbaseline: {{penalty: 1}}\n"
            "conditions: [clean, jpeg-95, jpeg-50]\n"
        )
        assert main(["ablate", str(plan), "--data", str(toy_manifest), "-o", str(ledger)]) == 0
        shown, err = capsys.readouterr()
        assert "mean − penalty=1" in shown
        assert err.count("without gan-a|camera-a") == 2 * 3
        assert main(["ablation", str(ledger), "--baseline", "penalty=1", "--resamples", "20", "-o", str(folder)]) == 0
        assert "mean − penalty=1" in capsys.readouterr().out
        assert {file.name for file in folder.iterdir()} == {"comparison.json", "pairs-deliveries.png", "pairs-robustness.png"}
        written = json.loads((folder / "comparison.json").read_text())
        assert written["run"]["inputs"] == {"runs.jsonl": file_sha256(ledger)}
        assert Ablation.model_validate(written["result"]).baseline == {"penalty": 1}

    def test_ablation_of_nothing(self, tmp_path, capsys):
        assert main(["ablation", str(tmp_path / "gone.jsonl")]) == 2
        assert "no lines" in capsys.readouterr().err

    def test_export_says_what_it_measured(self, tiny_bundle, toy_manifest, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr("realgrain.learning.export.AUC_LOSS", 0.2)  # of a random tower
        original = shutil.copytree(tiny_bundle.folder, tmp_path / "original")
        arguments = ["export", "--bundle", str(original), "--data", str(toy_manifest), "-o", str(tmp_path / "out")]
        assert main([*arguments, "--record"]) == 0
        out, err = capsys.readouterr()
        made = read_bundle(tmp_path / "out")
        assert out == ""
        for name, graph in made.card.runtimes.items():
            assert f"realgrain: {name}: at most {graph.measured:.2e} of logit off on {graph.pictures} pictures" in err
            assert read_bundle(original).card.runtimes[name].measured == graph.measured
        assert main(arguments) == 2
        assert "exists already" in capsys.readouterr().err


class TestImports:
    HEAVY = (
        "torch",
        "transformers",
        "sklearn",
        "scipy",
        "pyarrow",
        "pandas",
        "openvino",
        "nncf",
        "huggingface_hub",
        "imagehash",
        "torchmetrics",
        "c2pa",
    )

    def test_detect_is_light(self, run, bundle, toy_pictures):
        found = run("-X", "importtime", "-m", "realgrain", "detect", toy_pictures[0], *bundle)
        assert found.returncode == 0
        imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in found.stderr.splitlines() if line.startswith("import time:")}
        assert {"realgrain", "numpy", "onnxruntime"} <= imported
        assert not imported & set(self.HEAVY)

    def test_detect_works_without_them(self, run, bundle, toy_pictures, judged):
        code = f"""
import sys
from importlib.abc import MetaPathFinder
class Forbidden(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {self.HEAVY}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Forbidden())
from realgrain.faces.cli import main
sys.exit(main(sys.argv[1:]))
"""
        found = run("-c", code, "detect", toy_pictures[0], "--json", *bundle, env={"REALGRAIN_OFFLINE": "1"})
        assert (found.returncode, found.stderr) == (0, "")
        assert Report.model_validate_json(found.stdout).verdict.label == judged[toy_pictures[0]]

    def test_composes_without_them(self, run, bundle, toy_pictures, home):
        """Also the first time, when the graph is built."""
        names = ["torch", "transformers", "sklearn", "scipy"]
        code = f"import sys\nsys.modules.update(dict.fromkeys({names}))\nfrom realgrain.faces.cli import main\nsys.exit(main(sys.argv[1:]))"
        found = run("-c", code, "detect", toy_pictures[0], *bundle)
        assert (found.returncode, found.stderr) == (0, "")
        assert any((home / "graphs").iterdir())

    def test_import_is_lazy(self, run):
        code = "import sys, realgrain; print(sorted({name.partition('.')[0] for name in sys.modules}))"
        found = run("-c", code)
        assert not {"numpy", "PIL", "pydantic", "onnxruntime", *self.HEAVY} & set(json.loads(found.stdout.replace("'", '"')))

    def test_public_names(self):
        assert all(getattr(realgrain, name) is not None for name in realgrain.__all__)
        assert realgrain.load is load
        assert realgrain.__version__ == __version__
        with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
            _ = realgrain.nonsense


def test_output_encoding(run, bundle, toy_pictures, tmp_path):
    """A console that cannot show a name must not end the run."""
    path = tmp_path / "bäd-日本.png"
    shutil.copyfile(toy_pictures[0], path)
    for style in (["--json"], []):
        found = run("-m", "realgrain", "detect", path, *bundle, *style, env={"PYTHONIOENCODING": "ascii", "COLUMNS": "300"})
        assert (found.returncode, found.stderr) == (0, "")
        assert str(path) in found.stdout
        assert not style or Report.model_validate_json(found.stdout).picture.name == str(path)


def test_reports_of_bytes_are_utf8_json(judge, toy_pictures, tmp_path):
    path = tmp_path / "日本.png"
    shutil.copyfile(toy_pictures[0], path)
    _, (report,), _ = judge(path)
    assert report.picture.name == str(path)
