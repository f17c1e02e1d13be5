import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest
import toy

from realgrain.detector import domain, profiles
from realgrain.detector.bundle import CARD, HEAD, read_bundle
from realgrain.detector.decision import Policy, decision_of
from realgrain.detector.detect import load
from realgrain.faces.cli import main
from realgrain.learning.data import read_manifest
from realgrain.measuring import calibrate as calibrating
from realgrain.measuring.score import score


@pytest.fixture
def mine(tmp_path):
    """Manifest of pictures that no bundle has seen: real ones of two cameras, and generated ones; ``write(fakes=False)`` leaves those out."""

    def write(*, fakes=True, reals=8):
        rows = []
        for index in range(reals + 6 * fakes):
            fake = index >= reals
            path = tmp_path / "mine" / f"{index}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(toy.saved(toy.picture(9000 + index, fake=fake)))
            source = "gan" if fake else ("phone", "camera")[index % 2]
            rows.append({"path": path.name, "label": "fake" if fake else "real", "generator": "gan" * fake, "source": source, "split": "train"})
        return toy.write_manifest(tmp_path / "mine" / "manifest.csv", rows)

    return write


def calibrate(bundle, manifest, output, *options):
    return main(["calibrate", str(bundle.folder), "--data", str(manifest), "-o", str(output), *map(str, options)])


def test_makes_a_profile_and_leaves_the_weights_alone(tiny_bundle, mine, tmp_path, capsys, toy_pictures):
    before = (tiny_bundle.folder / CARD).read_bytes()
    assert calibrate(tiny_bundle, mine(), tmp_path / "out", "--profile", "newsroom") == 0
    made = read_bundle(tmp_path / "out")
    assert (made.folder / HEAD).read_bytes() == (tiny_bundle.folder / HEAD).read_bytes()
    assert (tiny_bundle.folder / CARD).read_bytes() == before
    assert made.hash != tiny_bundle.hash
    assert [parent.bundle for parent in made.card.parents] == [tiny_bundle.hash]
    assert "newsroom" in made.card.parents[0].change
    assert set(made.card.profiles) == {*tiny_bundle.card.profiles, "newsroom"}
    profile = made.card.profiles["newsroom"]
    assert profile.counts == {"real": {"phone": 4, "camera": 4}, "fake": {"gan": 6}}
    assert profile.calibration.slope > 0
    name = profiles.from_arrays("web", 0, "real", made.statistics)
    assert name.keys() == toy.REAL.keys()
    assert decision_of(made, Policy()).ai == decision_of(tiny_bundle, Policy()).ai
    assert "n = 8" in capsys.readouterr().err
    logits = [load(bundle, threads=1).detect(toy_pictures[0]).view_logits for bundle in (made, tiny_bundle)]
    assert logits[0] == logits[1]


def test_its_logits_are_those_of_the_detector(tiny_bundle, mine, tmp_path, tiny_detector):
    manifest = mine(fakes=False)
    assert calibrate(tiny_bundle, manifest, tmp_path / "out") == 0
    found = profiles.from_arrays("own", 0, "real", read_bundle(tmp_path / "out").statistics)
    for source, start in (("phone", 0), ("camera", 1)):
        expected = sorted(tiny_detector.detect(manifest.parent / f"{index}.png").logit for index in range(start, 8, 2))
        assert found[source].tolist() == expected


def test_real_pictures_suffice(tiny_bundle, mine, tmp_path):
    assert calibrate(tiny_bundle, mine(fakes=False), tmp_path / "out", "--conditions", "clean", "web") == 0
    made = read_bundle(tmp_path / "out")
    assert (made.card.profiles["own"].calibration, made.card.profiles["own"].deliveries) == (None, ("clean", "web"))
    found = decision_of(made, Policy("own", 0.5))
    assert (found.supported, found.false_positive.n, found.calibration) == (True, 8, made.card.calibration)


def test_pictures_unlike_those_of_training_are_in_the_domain_of_their_own_profile(tiny_bundle, mine, tmp_path):
    """Else a profile of drawings would state an error rate and never give a verdict."""
    strict = tiny_bundle.card.domain.model_copy(update={"threshold": 0.0})
    detector = load(replace(tiny_bundle, card=tiny_bundle.card.model_copy(update={"domain": strict, "borders": strict})), threads=1)
    manifest = mine(fakes=False)
    samples = read_manifest(manifest)
    made = calibrating.calibrate(detector, score(detector, samples, traits=True), samples, manifest, tmp_path / "out", "art")
    plain, art = (load(made, threads=1, policy=Policy(profile, stability=False)) for profile in (None, "art"))
    for sample in samples:
        before, after = (detector.detect(sample.file) for detector in (plain, art))
        assert (before.domain.outside, after.domain.outside) == (True, False)
        assert (before.borders.outside, after.borders.outside) == (True, False)
        assert "out_of_domain" not in after.verdict.reasons
        assert (after.domain.false_alarm.k, after.domain.false_alarm.n) == (0, 8)
    assert (made.card.domain, made.card.profiles["art"].domain.generated) == (strict, None)
    assert (made.card.borders, made.card.profiles["art"].borders.target) == (strict, domain.BORDERS_TARGET)


def test_again_replaces_it(tiny_bundle, mine, tmp_path):
    assert calibrate(tiny_bundle, mine(fakes=False), tmp_path / "one") == 0
    assert calibrate(read_bundle(tmp_path / "one"), mine(fakes=False, reals=6), tmp_path / "two") == 0
    made = read_bundle(tmp_path / "two")
    assert decision_of(made, Policy("own", 0.5)).false_positive.n == 6
    assert len(made.card.parents) == 2


def test_copies_count_once(tiny_bundle, mine, tmp_path):
    manifest = mine(fakes=False)
    shutil.copyfile(manifest.parent / "0.png", manifest.parent / "copy.png")
    with manifest.open("a") as file:
        file.write("copy.png,real,,phone,train\n")
    assert calibrate(tiny_bundle, manifest, tmp_path / "out") == 0
    assert read_bundle(tmp_path / "out").card.profiles["own"].counts["real"] == {"phone": 4, "camera": 4}


def test_a_bad_picture_is_left_out(tiny_bundle, mine, tmp_path, caplog):
    manifest = mine(fakes=False)
    (manifest.parent / "0.png").write_bytes(b"no picture")
    assert calibrate(tiny_bundle, manifest, tmp_path / "out") == 0
    assert read_bundle(tmp_path / "out").card.profiles["own"].counts["real"] == {"phone": 3, "camera": 4}
    assert "0.png" in caplog.text


class TestRefused:
    def test_what_it_learned_from_in_another_manifest(self, tiny_bundle, toy_manifest, mine, tmp_path, capsys, caplog):
        shutil.copytree(toy_manifest.parent, tmp_path / "toy")
        manifest = tmp_path / "toy" / "manifest.csv"
        manifest.write_text(manifest.read_text() + "\n")
        assert calibrate(tiny_bundle, manifest, tmp_path / "out") == 2
        assert "has not learned from" in capsys.readouterr().err
        shutil.copyfile(mine(fakes=False).parent / "0.png", tmp_path / "toy" / "new.png")
        manifest.write_text(manifest.read_text() + "new.png,real,,phone,train,CC0-1.0\n")
        caplog.clear()
        assert calibrate(tiny_bundle, manifest, tmp_path / "out") == 0
        assert read_bundle(tmp_path / "out").card.profiles["own"].counts == {"real": {"phone": 1}, "fake": {}}
        assert len([record for record in caplog.records if "learned from it" in record.message]) == sum(toy.REAL.values()) + sum(toy.FAKE.values())

    def test_what_it_learned_from(self, tiny_bundle, toy_manifest, tmp_path, capsys):
        assert calibrate(tiny_bundle, toy_manifest, tmp_path / "out") == 2
        assert "learned from these pictures" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    def test_no_real_picture(self, tiny_bundle, mine, tmp_path, capsys):
        manifest = mine()
        with manifest.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["label"] == "fake"]
        assert calibrate(tiny_bundle, toy.write_manifest(manifest, rows), tmp_path / "out") == 2
        assert "needs real pictures" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    def test_output_is_there(self, tiny_bundle, mine, tmp_path, capsys):
        assert calibrate(tiny_bundle, mine(fakes=False), tmp_path) == 2
        assert "exists already" in capsys.readouterr().err

    def test_a_name_with_a_slash(self, tiny_bundle, mine, tmp_path, capsys):
        assert calibrate(tiny_bundle, mine(fakes=False), tmp_path / "out", "--profile", "a/b") == 2
        assert "a name without a slash" in capsys.readouterr().err


def test_worst_delivery_of_each_picture():
    logits = {"clean": np.array([0.0, 1.0, 5.0]), "web": np.array([2.0, -1.0, 3.0])}
    group = {name: np.zeros(3, int) for name in logits}
    found = profiles.gather(logits, np.array([False, False, True]), np.array(["a", "a", "g"]), group, 1)[0]
    assert {kind: {name: of.tolist() for name, of in each.items()} for kind, each in found.items()} == {"real": {"a": [1, 2]}, "fake": {"g": [3]}}
