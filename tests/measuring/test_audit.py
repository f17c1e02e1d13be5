import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import toy
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from sklearn.metrics import roc_auc_score

from realgrain.evidence.claims import Claim, Evidence
from realgrain.evidence.provenance import provenance
from realgrain.faces.cli import main
from realgrain.learning.data import Sample, read_manifest
from realgrain.measuring import audit as auditing
from realgrain.measuring import duplicates, file_traits, leakage
from realgrain.measuring.audit import audit, audit_survey
from realgrain.measuring.audit_results import Audit
from realgrain.measuring.audit_tables import conclusion
from realgrain.measuring.equalise import EqualiseError, Law, equal, equalise
from realgrain.measuring.run_audit import audit_chosen
from realgrain.measuring.run_manifest import content_sha256
from realgrain.measuring.survey import survey
from realgrain.picture.image import open_picture

REAL, FAKE, EACH = ("camera-a", "camera-b", "camera-c"), ("gan-a", "gan-b", "gan-c"), 14


class Packed(Sample):
    """A sample that gives its bytes, as those of tar files do."""

    data: bytes = b""

    def content(self) -> bytes:
        return self.data


def file_of(seed: int, kind: str = "JPEG", size=(64, 80), **options) -> bytes:
    """Noise: content tells nothing, and no two are near-duplicates."""
    return toy.saved(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8), kind, **options)


def pictures(make=lambda fake, n: file_of(n), split=lambda n: "") -> list[Sample]:
    """Of six sources, each with one label; ``make`` gives the bytes from the label and a number."""
    found = []
    for label, sources in (("real", REAL), ("fake", FAKE)):
        for source in sources:
            for index in range(EACH):
                n = len(found)
                data = make(label == "fake", n)
                found.append(Packed(path=f"{source}/{index}", file=Path("packed.tar"), label=label, source=source, split=split(n), data=data))
    return found


def check(found: Audit, name: str):
    return next(one for one in found.checks if one.name == name)


@pytest.fixture(scope="module")
def alike():
    """Sizes and qualities by chance, the same law for both labels."""

    def make(fake, n):
        rng = np.random.default_rng([n, 7])
        return file_of(n, quality=int(rng.integers(60, 95)), size=tuple(rng.integers(64, 128, 2)))

    return pictures(make)


@pytest.fixture(scope="module")
def alike_audit(alike):
    return audit(alike)


class TestNothingLeaks:
    def test_verdicts(self, alike_audit):
        assert alike_audit.passed
        assert alike_audit.leaks == []
        assert (alike_audit.real, alike_audit.fake, alike_audit.failed) == (42, 42, [])
        assert {one.verdict for one in alike_audit.checks if one.auc is not None} == {"ok"}

    def test_what_is_constant_tells_exactly_nothing(self, alike_audit):
        estimate = check(alike_audit, "format").auc
        assert (estimate.value, estimate.low, estimate.high) == (0.5, 0.5, 0.5)

    def test_it_is_deterministic_and_a_model_of_json(self, alike, alike_audit):
        again = audit(alike)
        assert again == alike_audit
        assert Audit.model_validate_json(again.model_dump_json()) == again

    def test_visible_marks_are_not_claimed_to_be_absent(self, alike_audit):
        found = check(alike_audit, "visible marks")
        assert found.verdict == "not judged"
        assert "not looked for" in found.words
        assert "look at pictures of each source" in found.words

    @pytest.mark.parametrize("seed", range(2))
    def test_random_labels(self, alike, seed):
        """Whatever the files are, labels by chance cannot be read from them."""
        labels = np.random.default_rng(seed).permutation(["real", "fake"] * 42)
        shuffled = [
            one.model_copy(update={"label": label, "data": file_of(n, "PNG" if n % 3 else "JPEG", (64 + n % 5, 70))})
            for n, (one, label) in enumerate(zip(alike, labels, strict=True))
        ]
        assert audit(shuffled).leaks == []


class TestAPlantedLeakIsFound:
    @pytest.mark.parametrize(
        ("name", "make"),
        [
            ("format", lambda fake, n: file_of(n, "PNG" if fake else "JPEG")),
            ("size", lambda fake, n: file_of(n, size=(96 + n % 9, 96 + n % 9) if fake else (64 + n % 9, 64 + n % 9))),
            ("aspect", lambda fake, n: file_of(n, size=(70 + n % 9, 70 + n % 9) if fake else (60, 80))),
            ("JPEG quality", lambda fake, n: file_of(n, quality=90 + n % 5 if fake else 70 + n % 5)),
            ("subsampling", lambda fake, n: file_of(n, subsampling=0 if fake else 2)),
            ("progressive", lambda fake, n: file_of(n, progressive=fake)),
            ("EXIF", lambda fake, n: file_of(n, exif=b"" if fake else b"Exif\0\0II*\0\x08\0\0\0\0\0")),
            ("bit depth and mode", lambda fake, n: grey(n) if fake else file_of(n)),
            ("other metadata", lambda fake, n: file_of(n, comment=b"" if fake else b"by hand")),
            ("generator notes", lambda fake, n: noted(n, fake and n % 4 == 0)),
        ],
    )
    def test_by_the_check_of_its_name(self, name, make):
        found = audit(pictures(make))
        planted = check(found, name)
        assert planted.verdict == "leak"
        assert planted.auc.low > (found.mark_bound if name == "generator notes" else found.bound)
        assert planted.unseen.low > 0.5  # every source of a class does it
        assert name in found.leaks
        assert not found.passed

    def test_words_tell_the_difference(self):
        found = audit(pictures(lambda fake, n: file_of(n, "PNG") if fake and n % 2 else file_of(n, quality=90)))
        assert check(found, "format").words == "format JPEG: 100% of real, 50% of fake"
        assert check(found, "JPEG quality").words == "median JPEG quality: 90 of real, 90 of fake; without one: 0% of real, 50% of fake"
        assert check(found, "EXIF").words == "EXIF: 0% of real, 0% of fake"
        assert check(found, "size").words == "median shortest side: 64 of real, 64 of fake"

    def test_bytes_per_pixel_by_a_codec_that_says_nothing_else(self):
        def make(fake, n):
            pixels = np.random.default_rng(n).integers(0, 3, (64, 80, 3), dtype=np.uint8) * 100
            return toy.saved(pixels, "PNG", compress_level=0 if fake else 9)

        found = audit(pictures(make))
        assert found.leaks == ["bytes per pixel"]
        assert check(found, "all but bytes per pixel").auc.value == 0.5

    def test_bytes_that_content_explains_are_no_leak(self):
        def make(fake, n):
            rng = np.random.default_rng(n)
            pixels = np.clip(rng.normal(128, 15 if fake else 40, (64, 80, 3)), 0, 255).astype(np.uint8)
            return toy.saved(pixels, "JPEG", quality=int(rng.integers(70, 95)))

        density = check(audit(pictures(make)), "bytes per pixel")
        assert density.auc.low > auditing.BOUND
        assert density.content.low > auditing.BOUND
        assert density.verdict == "ok"

    def test_of_one_source_only_does_not_carry_over(self):
        """One fake source is PNG: pictures leak, and a probe without that source knows nothing of it."""
        number = len(REAL) * EACH
        found = check(audit(pictures(lambda fake, n: file_of(n, "PNG" if number <= n < number + EACH else "JPEG"))), "format")
        assert found.verdict == "leak"
        assert found.auc.value > 0.6
        assert found.unseen.value == pytest.approx(0.5)

    def test_a_watermark(self):
        seen = survey(pictures())
        mark = Evidence(claims=[Claim(kind="watermark", place="pixels", generator="a model", model="SDXL")])
        marked = [replace(one, evidence=mark) if n % 4 == 0 and one.sample.fake else one for n, one in enumerate(seen.seen)]
        found = check(audit_survey(replace(seen, seen=marked)), "invisible watermark")
        assert (found.verdict, found.words) == ("leak", "SDXL: 0 real, 10 fake")


def grey(seed: int) -> bytes:
    return toy.saved(np.random.default_rng(seed).integers(0, 256, (64, 80), dtype=np.uint8), "JPEG")


def noted(seed: int, note: bool) -> bytes:
    info = PngImagePlugin.PngInfo()
    if note:
        info.add_text("parameters", "a cat\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 80x64")
    return file_of(seed, "PNG", pnginfo=info)


@pytest.mark.parametrize("some", [slice(0, 10), slice(38, 46)], ids=["one label", "few"])
def test_what_could_not_be_judged_is_not_called_ok(alike, some):
    found = audit(alike[some])
    assert check(found, "format").verdict == "not judged"
    assert conclusion(found).startswith("undecided: too few pictures, or one label only")


class TestOtherSplits:
    """A run looks at one split; copies of its pictures in the others are told without decoding those."""

    @pytest.fixture
    def beside(self, alike):
        """Samples to train on: a copy of a picture with its label and one with the other, two that are copies of each other only, and another."""
        data = [alike[0].data, alike[50].data, file_of(901), file_of(901), file_of(902)]
        return [Packed(path=f"train/{place}", file=Path("packed.tar"), label="real", split="train", data=one) for place, one in enumerate(data)]

    def test_the_same_bytes_leak_and_say_where(self, alike, beside, monkeypatch):
        tested = [one.model_copy(update={"split": "test"}) for one in alike]
        found = audit(tested, beside)
        assert found.beside == 5 and found.splits == {"test": 84}
        assert [(of.pictures, of.labels, of.splits) for of in found.duplicates] == [
            ([alike[0].path, "train/0"], ["real", "real"], ["test", "train"]),
            ([alike[50].path, "train/1"], ["fake", "real"], ["test", "train"]),
        ]
        copies, nearly = check(found, "exact duplicates"), check(found, "near duplicates")
        assert copies.verdict == "leak" and copies.words.endswith("across splits: 2; also compared with 5 pictures of other splits")
        assert nearly.verdict == "ok" and "not looked for in 5 pictures of other splits" in nearly.words

    def test_files_of_other_lengths_are_not_read(self, alike, tmp_path, monkeypatch):
        rows = {"copy": alike[3].data, "as long": alike[3].data[:-1] + b"!", "longer": alike[3].data + b"!" * 9999}
        files = [Sample(path=name, file=tmp_path / name, label="real", split="train") for name in rows]
        for sample in files:
            sample.file.write_bytes(rows[sample.path])
        gone = Sample(path="gone", file=tmp_path / "gone", label="real", split="train")
        read = []
        monkeypatch.setattr(duplicates, "content_sha256", lambda content: read.append(content.name) or content_sha256(content))
        (group,) = audit(alike[:20], [*files, gone]).duplicates
        assert group.pictures == [alike[3].path, "copy"]
        assert sorted(read) == ["as long", "copy"]

    def test_of_a_run_are_those_that_it_did_not_choose_from(self, alike, beside):
        tested = [one.model_copy(update={"split": "test"}) for one in alike[:6] + alike[-6:]]
        found = audit_chosen(tested[1:], [*tested, *beside, *beside], "test")
        assert (found.beside, found.duplicates) == (5, [])
        assert audit_chosen([*tested, *beside], [*tested, *beside], "").beside == 0


class TestDuplicates:
    def test_the_same_bytes_with_both_labels(self, alike):
        flipped = alike[0].model_copy(update={"path": "flipped", "label": "fake", "source": "gan-a"})
        found = audit([*alike, flipped])
        assert check(found, "exact duplicates").verdict == "leak"
        (group,) = found.duplicates
        assert (group.pictures, group.labels) == (["camera-a/0", "flipped"], ["real", "fake"])
        assert found.near_duplicates == []  # they are named once

    def test_the_same_bytes_in_two_splits(self, alike):
        found = audit([*alike, alike[0].model_copy(update={"path": "copy", "split": "test"})])
        assert check(found, "exact duplicates").verdict == "leak"
        assert check(found, "near duplicates").verdict == "leak" or found.near_duplicates == []

    def test_the_same_bytes_twice_only_count_double(self, alike):
        found = audit([*alike, alike[0].model_copy(update={"path": "copy"})])
        assert check(found, "exact duplicates").verdict == "warning"
        assert found.passed

    @pytest.mark.parametrize(("changes", "verdict"), [({"split": "test"}, "leak"), ({"label": "fake"}, "warning"), ({}, "ok")])
    def test_saved_again(self, alike, changes, verdict):
        pixels = open_picture(alike[0].data).pixels
        again = alike[0].model_copy(update={"path": "again", "data": toy.saved(pixels, "JPEG", quality=88), **changes})
        found = audit([*alike, again])
        assert check(found, "exact duplicates").verdict == "ok"
        assert check(found, "near duplicates").verdict == verdict
        assert found.near_duplicates[0].pictures == ["camera-a/0", "again"]


class TestSetsThatAreHardToJudge:
    def test_a_corrupt_file_is_named_and_stops_nothing(self, alike):
        bad = alike[3].model_copy(update={"path": "cut", "data": alike[3].data[:200]})
        gone = Sample(path="gone.png", file=Path("no/gone.png"), label="real")
        found = audit([*alike, bad, gone])
        assert check(found, "files").verdict == "warning"
        assert check(found, "files").words == "2 of 86 files cannot be read"
        assert [error.split(":")[0] for error in found.failed] == ["cut", "gone.png"]
        assert found.real == 42

    @pytest.mark.parametrize("count", [1, 42])
    def test_one_label_or_hardly_a_picture(self, alike, count):
        found = audit(alike[:count])
        assert {one.verdict for one in found.checks if one.name in file_traits.TRAITS} == {"not judged"}

    def test_nothing_that_opens(self, alike):
        found = audit([one.model_copy(update={"data": b"no picture"}) for one in alike[:3]])
        assert (found.real, found.fake, len(found.failed)) == (0, 0, 3)

    @pytest.mark.parametrize(("count", "verdict"), [(2, "not judged"), (7, "not judged"), (9, "not judged"), (10, "leak"), (14, "leak")])
    def test_few_pictures_of_each_label(self, alike, count, verdict):
        """Where a probe cannot see a leak, nothing is said of one."""
        few = [*alike[:count], *alike[-count:]]
        found = audit([one.model_copy(update={"data": file_of(n, "PNG" if one.fake else "JPEG")}) for n, one in enumerate(few)])
        assert check(found, "format").verdict == verdict
        assert conclusion(found).startswith("undecided") == (verdict == "not judged")

    @pytest.mark.parametrize("n", [6, 10, 12])
    def test_noise_in_a_few_pictures_is_no_leak(self, n):
        """2.5 % may be called one by chance; of folds with one or two pictures of a class it was every third."""
        rng, fake = np.random.default_rng(5), np.arange(2 * n) < n
        splits, called = leakage.by_picture(fake, np.arange(2 * n)), 0
        assert all(min((split.test & of).sum() for of in (fake, ~fake)) >= 5 for split in splits)
        for _ in range(12 if splits else 0):
            found = leakage.read(file_traits.Trait("x", rng.normal(size=(2 * n, 1))), fake, splits, 100, 0)
            called += not found.no_spread and found.estimate.low > auditing.BOUND
        assert called <= 2

    def test_what_no_resample_moves_is_not_judged(self):
        """0.75 of one split that is perfect and one that is chance, say: no certainty. Perfect ones in all splits are, and so is chance."""
        for value, no_spread in ((0.75, True), (1.0, False), (0.5, False)):
            assert leakage.Reading(value, np.full(9, value)).no_spread == no_spread
        assert auditing._judged([leakage.Reading(0.75, np.full(9, 0.75))], "sizes", leaks=False)[0] == "not judged"
        assert not auditing._above(leakage.Reading(0.75, np.full(9, 0.75)), auditing.BOUND)

    def test_without_sources_nothing_is_said_of_them(self, alike):
        found = audit([one.model_copy(update={"source": ""}) for one in alike])
        assert check(found, "label against source").verdict == "not judged"
        assert check(found, "format").unseen is None

    def test_label_against_source(self, alike, alike_audit):
        found = check(alike_audit, "label against source")
        assert found.verdict == "warning"
        assert found.words.startswith("0 of 6 sources have both labels, 84 of 84 pictures (100.0%) are of one with one label only: what a source")
        assert alike_audit.sources["gan-a"] == {"real": 0, "fake": EACH}
        mixed = [one.model_copy(update={"source": one.source[-1]}) for one in alike]
        assert check(audit(mixed), "label against source").verdict == "ok"

    def test_one_source_with_both_labels_says_nothing_of_the_others(self, alike):
        mixed = [one.model_copy(update={"source": "both" if one.source.endswith("-a") else one.source}) for one in alike]
        found = check(audit(mixed), "label against source")
        assert found.verdict == "warning"
        assert found.words.startswith("1 of 5 sources have both labels, 56 of 84 pictures (66.7%) are of one with one label only: ")

    def test_nothing_or_no_label_is_an_error(self, alike):
        with pytest.raises(ValueError, match="no pictures"):
            audit([])
        with pytest.raises(ValueError, match=r"camera-a/0: an audit needs labels"):
            audit([alike[0].model_copy(update={"label": ""})])


class TestSplits:
    def test_by_source_a_probe_has_not_seen_the_source_under_either_label(self, alike):
        mixed = [one.model_copy(update={"source": f"{n % 3}"}) for n, one in enumerate(alike)]
        found = leakage.by_source(mixed, np.arange(len(mixed)))
        sources = np.array([one.source for one in mixed])
        assert found
        assert all(not set(sources[split.train]) & set(sources[split.test]) for split in found)

    def test_twins_stay_on_one_side(self, alike):
        fake = np.array([one.fake for one in alike])
        twins = np.arange(len(alike)) // 2
        for split in (*leakage.by_picture(fake, twins), *leakage.by_source(alike, twins)):
            assert not set(twins[split.train]) & set(twins[split.test])

    def test_a_fake_without_source_stands_for_its_generator(self, alike):
        named = [one.model_copy(update={"source": "", "generator": one.source}) if one.fake else one for one in alike]
        assert len(leakage.by_source(named, np.arange(len(named)))) == 3

    def test_the_value_is_the_mean_of_scikit_learns(self):
        """A number that orders as a probe on it must: the AUC of each split is that of the number."""
        rng = np.random.default_rng(1)
        fake = np.arange(400) % 2 == 0
        values = (rng.normal(size=400) + 1.2 * fake > 0.6).astype(float)
        splits = leakage.by_picture(fake, np.arange(400))
        found = leakage.read(file_traits.Trait("x", values[:, None]), fake, splits, 200, 0)
        assert found.value == pytest.approx(np.mean([roc_auc_score(fake[split.test], values[split.test]) for split in splits]))
        low, high = leakage.interval(found.drawn)
        assert low < found.value < high
        assert high - low < 0.15


LAW = Law(least_side=96, sides=(72, 96), quality=(75, 95), pictures="")


@pytest.fixture(scope="module")
def leaky():
    """All that tells: fakes are square PNG with notes, photographs are JPEG of other sizes."""

    def make(fake, n):
        rng = np.random.default_rng([n, 5])
        return noted(n, True) if fake else file_of(n, quality=int(rng.integers(60, 99)), size=tuple(rng.integers(64, 160, 2)))

    return [one.model_copy(update={"path": f"{one.path}.png"}) for one in pictures(make)]


class TestEqualise:
    @settings(max_examples=40, deadline=None)
    @given(st.integers(96, 300), st.integers(96, 300), st.integers(0, 2**32))
    def test_a_picture_under_the_law(self, width, height, seed):
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        before, digest = pixels.copy(), f"{seed:064x}"
        data = equal(pixels, LAW, digest)
        picture = open_picture(data)
        assert (picture.format, picture.subsampling, picture.mode) == ("JPEG", "4:2:0", "RGB")
        assert provenance(data, picture).carries == []
        assert picture.width == picture.height
        assert 72 <= picture.width <= 96
        assert 75 <= picture.jpeg_quality <= 95
        assert np.array_equal(pixels, before)
        assert equal(pixels, LAW, digest) == data

    @pytest.fixture
    def copy(self, leaky, tmp_path):
        return equalise(survey(leaky), tmp_path / "out", 64), tmp_path / "out"

    def test_the_same_audit_passes(self, leaky, copy):
        assert {"format", "size", "aspect", "generator notes"} <= set(audit(leaky).leaks)
        made, folder = copy
        found = audit(read_manifest(folder / "manifest.csv"))
        assert found.leaks == []
        assert (made.pictures, made.left_out) == (found.real + found.fake, []) == (84, [])

    def test_the_manifest_tells_where_each_comes_from(self, leaky, copy):
        folder = copy[1]
        rows = list(csv.DictReader((folder / "manifest.csv").read_text().splitlines()))
        for row, sample in zip(rows, leaky, strict=True):
            assert (row["original_path"], row["label"], row["source"]) == (sample.path, sample.label, sample.source)
            assert row["original_sha256"] == open_picture(sample.data).sha256
            picture = open_picture(folder / row["path"])
            assert row["sha256"] == picture.sha256
            assert (row["width"], row["format"], row["bytes"]) == (str(picture.width), "JPEG", str(picture.bytes))

    def test_the_label_has_no_influence(self, leaky, copy, tmp_path):
        flipped = [one.model_copy(update={"label": "fake" if one.label == "real" else "real"}) for one in leaky]
        equalise(survey(flipped), tmp_path / "flipped", 64)
        for file in copy[1].rglob("*.jpg"):
            assert (tmp_path / "flipped" / file.relative_to(copy[1])).read_bytes() == file.read_bytes()

    def test_it_resumes_and_ends_with_the_same_bytes(self, leaky, copy):
        made, folder = copy
        before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        for file in sorted(folder.rglob("*.jpg"))[::3]:
            file.unlink()
        (folder / "manifest.csv").unlink()
        assert equalise(survey(leaky), folder, 64) == made
        assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before

    def test_a_folder_with_something_else_is_refused(self, leaky, copy, tmp_path):
        looked = survey(leaky[:50])
        with pytest.raises(EqualiseError, match="of other pictures or under another law"):
            equalise(looked, copy[1], 64)
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "letter.txt").write_text("dear")
        with pytest.raises(EqualiseError, match="mine: holds something else"):
            equalise(looked, tmp_path / "mine", 64)
        with pytest.raises(EqualiseError, match="is not a folder"):
            equalise(looked, tmp_path / "mine" / "letter.txt", 64)
        assert [file.name for file in (tmp_path / "mine").iterdir()] == ["letter.txt"]

    def test_small_ones_are_left_out_and_named(self, leaky, tmp_path):
        looked = survey(leaky)
        short = [one.sample.path for one in looked.seen if min(one.picture.width, one.picture.height) < 80]
        made = equalise(looked, tmp_path / "out", 80)
        assert 0 < len(short) < 84
        assert [line.split(":")[0] for line in made.left_out] == short
        assert made.law.sides[1] >= 80
        with pytest.raises(EqualiseError, match="no picture has 500 pixels a side"):
            equalise(looked, tmp_path / "none", 500)
        assert not (tmp_path / "none").exists()

    def test_two_names_that_differ_in_the_suffix_stay_two(self, leaky, tmp_path):
        two = [leaky[0], leaky[1].model_copy(update={"path": leaky[0].path.replace(".png", ".jpg")})]
        assert equalise(survey(two), tmp_path / "out", 64).pictures == 2
        assert len(read_manifest(tmp_path / "out" / "manifest.csv")) == 2


class TestCommand:
    @pytest.fixture
    def folder(self, tmp_path):
        """Toy pictures as files: fakes PNG, photographs JPEG."""
        rows = []
        for one in pictures(lambda fake, n: file_of(n, "PNG" if fake else "JPEG")):
            path = tmp_path / "set" / f"{one.path}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(one.data)
            rows.append({"path": f"{one.path}.bin", "label": one.label, "source": one.source, "split": "train", "licence": "CC0-1.0"})
        toy.write_manifest(tmp_path / "set" / "manifest.csv", rows)
        return tmp_path

    def test_tables_and_json(self, folder, capsys):
        manifest = folder / "set" / "manifest.csv"
        assert main(["audit", str(manifest), "-o", str(folder / "audit.json")]) == 0
        out = capsys.readouterr().out
        assert "leak: a detector could score on this set by format" in out
        assert "not looked for" in out
        written = json.loads((folder / "audit.json").read_text())
        assert written["run"]["inputs"] == {"manifest.csv": written["run"]["inputs"]["manifest.csv"]}
        before = manifest.read_bytes()
        assert main(["audit", str(manifest), "-o", str(manifest)]) == 2
        assert manifest.read_bytes() == before
        assert main(["audit", str(manifest), "--json"]) == 0
        assert Audit.model_validate_json(capsys.readouterr().out) == Audit.model_validate(written["result"])

    def test_a_bad_file_and_a_leak_in_scripts(self, folder, capsys):
        manifest = folder / "set" / "manifest.csv"
        assert main(["audit", str(manifest), "--fail-on", "leak"]) == 1
        (folder / "set" / "gan-a" / "0.bin").write_bytes(b"no picture")
        assert main(["audit", str(manifest)]) == 1
        assert "realgrain: gan-a/0.bin: " in capsys.readouterr().err

    def test_equalised_it_passes(self, folder, capsys):
        manifest, out = folder / "set" / "manifest.csv", folder / "equal"
        (folder / "set" / "gan-a" / "0.bin").write_bytes(b"no picture")
        assert main(["audit", str(manifest), "--equalise", str(out), "--least-side", "64"]) == 1
        said = capsys.readouterr().err
        assert f"{out / 'manifest.csv'}: 83 pictures, squares of 48–64 pixels, JPEG of quality 75–95" in said
        assert said.count("gan-a/0.bin") == 1
        assert main(["audit", str(out / "manifest.csv"), "--fail-on", "leak"]) == 0
        assert read_manifest(out / "manifest.csv")[0].model_extra["licence"] == "CC0-1.0"

    @pytest.mark.parametrize("arguments", [["--split", "none"], ["--equalise", "{}/set"]])
    def test_wrong_usage(self, folder, arguments, capsys):
        assert main(["audit", str(folder / "set" / "manifest.csv"), *(one.format(folder) for one in arguments)]) == 2
        assert capsys.readouterr().err.startswith("realgrain: ")

    def test_a_folder_has_no_labels(self, folder, capsys):
        assert main(["audit", str(folder / "set")]) == 2
        assert "a folder has no labels" in capsys.readouterr().err


@pytest.mark.slow
def test_the_known_traps_are_found(labelled_pictures):
    """A part of each source: the format that separates the classes, and squares."""
    samples = [one for n, one in enumerate(read_manifest(labelled_pictures / "manifest.csv")) if one.split == "train" and n % 3 == 0]
    found = audit(samples)
    assert {"format", "size", "aspect", "bytes per pixel", "invisible watermark"} <= set(found.leaks)
    with Image.open(io.BytesIO(samples[0].file.read_bytes())) as image:
        assert image.format in {"JPEG", "PNG"}
    assert check(found, "format").auc.value == pytest.approx(0.81, abs=0.03)


def test_loads_no_torch(run):
    found = run("-c", "import sys, realgrain.measuring.run_audit; print({'torch', 'transformers'} & set(sys.modules))")
    assert (found.returncode, found.stdout) == (0, "set()\n")
