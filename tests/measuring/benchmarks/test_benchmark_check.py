import hashlib
import os

import pytest
from toy import write_manifest
from trees import SMALL, fill, pack

from realgrain.measuring.benchmarks import benchmark
from realgrain.measuring.benchmarks.check import check


@pytest.fixture
def genimage(tmp_path):
    of = benchmark("genimage")
    return of, fill(tmp_path, of.layout["re-layout"])


class TestMissing:
    def test_set(self, genimage):
        of, root = genimage
        for file in (root / "test" / "VQDM").rglob("*.png"):
            file.unlink()
        found = check(root, of)
        assert found.missing == ("set VQDM (test)",)
        assert not found.ok

    def test_class_of_a_set(self, genimage):
        of, root = genimage
        (root / "test" / "ADM" / "0_real" / "000001.png").unlink()
        assert check(root, of, quick=True).missing == ("real pictures of set ADM (test)",)

    def test_class_of_training_data_that_are_there_in_part(self, tmp_path):
        of = benchmark("genimage")
        root = fill(tmp_path, [path for path in of.layout["official"] if "ADM" not in path or "train/ai" not in path])
        assert check(root, of, quick=True).missing == ("fake pictures of set ADM (train)",)

    def test_training_data_altogether_is_no_fault(self, genimage):
        assert check(genimage[1], genimage[0]).missing == ()

    def test_what_nobody_published_is_not_missed(self, tmp_path):
        of = benchmark("drct2m")
        assert check(fill(tmp_path, of.layout["official"]), of, quick=True).missing == ()  # folders of generators hold no real pictures

    def test_everything(self, tmp_path):
        assert check(tmp_path, benchmark("wildrf")).missing == ("all: no picture lies where the benchmark's layout has one",)

    def test_class_where_the_sets_are_the_users(self, tmp_path):
        assert check(fill(tmp_path, ["real/0.png"]), benchmark("folder")).missing == ("no fake pictures",)


class TestShort:
    @pytest.fixture
    def wild(self, tmp_path):
        """SynthWildX as published, 500 of each, in number."""
        fill(tmp_path, [f"{name}/{number}.jpg" for name in ("dalle3", "firefly", "midjourney", "real") for number in range(500)])
        return benchmark("synthwildx"), tmp_path

    def test_half_a_download_of_what_is_surely_known(self, tmp_path):
        of = benchmark("synthwildx")
        found = check(fill(tmp_path, of.layout["official"]), of)
        assert found.short == tuple(
            f"1 of 500 {label} pictures of set {name} (test)" for name in ("dalle3", "firefly", "midjourney") for label in ("real", "fake")
        )
        assert (found.missing, found.remarks, found.ok) == ((), (), False)

    def test_one_picture(self, wild):
        of, root = wild
        assert check(root, of, quick=True).ok
        (root / "firefly" / "7.jpg").unlink()
        found = check(root, of, quick=True)
        assert found.short == ("499 of 500 fake pictures of set firefly (test)",)
        assert not found.ok

    def test_more_than_published_is_a_remark(self, wild):
        """It fails nothing, for a benchmark may have grown; but another set may as well have been unpacked into this one."""
        of, root = wild
        found = check(fill(root, ["dalle3/more.jpg"]), of, quick=True)
        assert found.remarks == ("501 fake pictures of set dalle3 (test), more than the 500 published",)
        assert found.ok

    def test_unlike_classes_where_they_were_published_alike(self, tmp_path):
        of = benchmark("aigibench")
        root = fill(tmp_path, [*of.layout["with degraded copies"], "test/E4S/0_real/2.png", "noise/SDXL/1_fake/2.png"])
        found = check(root, of, quick=True)
        assert found.remarks == (
            "2 real and 1 fake pictures of set E4S (test), published with as many of both",
            "1 real and 2 fake pictures of set SDXL (noise), published with as many of both",
        )
        of = benchmark("wildrf")
        assert check(fill(tmp_path / "w", [*of.layout["official"], "test/reddit/1_fake/2.jpg"]), of, quick=True).remarks == ()

    def test_less_than_half_of_a_number_that_may_be_wrong(self, genimage):
        found = check(genimage[1], genimage[0], quick=True)
        assert "1 of 6000 fake pictures of set ADM (test); the number is recalled" in found.short
        assert (len(found.short), found.remarks, found.ok) == (16, (), False)

    @pytest.mark.parametrize(("there", "whole"), [(89, True), (84, False)])  # the number is rounded to tens
    def test_half_of_a_number_that_may_be_wrong_is_a_remark(self, there, whole, tmp_path):
        fill(tmp_path, [f"seeingdark/{folder}/{number}.png" for folder in ("0_real", "1_fake") for number in range(there)])
        found = check(tmp_path, benchmark("forensynths"), quick=True)
        words = f"{there} of 180 real pictures of set seeingdark (test); the number is recalled"
        assert (words in found.remarks, words in found.short) == (whole, not whole)

    @pytest.mark.parametrize(("there", "remarked"), [(176, False), (184, False), (174, True), (186, True)])
    def test_a_rounded_number_is_met_within_its_rounding(self, there, remarked, tmp_path):
        fill(tmp_path, [f"seeingdark/{folder}/{number}.png" for folder in ("0_real", "1_fake") for number in range(there)])
        remarks = check(tmp_path, benchmark("forensynths"), quick=True).remarks
        words = (
            "{0} of 180 {1} pictures of set seeingdark (test)"
            if there < 180
            else "{0} {1} pictures of set seeingdark (test), more than the 180 published"
        )
        words += "; the number is recalled"
        assert remarks == (tuple(words.format(there, label) for label in ("real", "fake")) if remarked else ())

    def test_of_a_number_that_nobody_knows_is_not_said(self, tmp_path):
        of = benchmark("wildrf")
        found = check(fill(tmp_path, of.layout["official"]), of, quick=True)
        assert (found.short, found.remarks) == ((), ())

    def test_a_class_that_is_not_there_is_missing_not_short(self, genimage):
        of, root = genimage
        (root / "test" / "ADM" / "0_real" / "000001.png").unlink()
        assert not any(words.startswith("0 of") for words in check(root, of, quick=True).remarks)


class TestBroken:
    def test_corrupt_and_empty(self, genimage):
        of, root = genimage
        (root / "test/ADM/0_real/000001.png").write_bytes(SMALL[: len(SMALL) // 2])
        (root / "test/glide/1_fake/000001.png").write_bytes(b"")
        found = check(root, of)
        assert [(broken.path, broken.code) for broken in found.broken] == [
            ("test/ADM/0_real/000001.png", "truncated"),
            ("test/glide/1_fake/000001.png", "empty"),
        ]
        assert found.opened
        assert not found.ok
        assert not found.missing

    def test_quick_sees_only_sizes(self, genimage):
        of, root = genimage
        (root / "test/ADM/0_real/000001.png").write_bytes(b"no picture")
        (root / "test/glide/1_fake/000001.png").write_bytes(b"")
        found = check(root, of, quick=True)
        assert [(broken.path, broken.code) for broken in found.broken] == [("test/glide/1_fake/000001.png", "empty")]
        assert not found.opened

    @pytest.mark.parametrize("quick", [True, False])
    def test_files_that_a_manifest_names_and_nobody_has(self, quick, tmp_path):
        fill(tmp_path, ["a.png"])
        write_manifest(tmp_path / "manifest.csv", [{"path": "a.png", "label": "real"}, {"path": "b.png", "label": "fake"}])
        found = check(tmp_path, benchmark("csv"), quick=quick)
        assert [(broken.path, broken.code) for broken in found.broken] == [("b.png", "missing")]

    @pytest.mark.parametrize("quick", [True, False])
    def test_files_that_are_not_those_of_the_manifest(self, quick, tmp_path):
        fill(tmp_path, ["same.png", "other.png", "longer.png", "unsaid.png"])
        right = {"label": "real", "bytes": f"{len(SMALL)}.0", "sha256": hashlib.sha256(SMALL).hexdigest().upper()}
        said = {"same": {}, "other": {"sha256": "0" * 64}, "longer": {"bytes": "7"}, "unsaid": {"bytes": "", "sha256": ""}}
        write_manifest(tmp_path / "manifest.csv", [{"path": f"{name}.png", **right, **wrong} for name, wrong in said.items()])
        found = check(tmp_path, benchmark("csv"), quick=quick)
        longer = ("longer.png", "changed", f"has {len(SMALL)} bytes, not 7 as the manifest says")
        other = ("other.png", "changed", "has not the sha256 that the manifest says")
        assert [(broken.path, broken.code, broken.reason) for broken in found.broken] == ([longer] if quick else [other, longer])

    @pytest.mark.parametrize("quick", [True, False])
    def test_packed(self, quick, tmp_path):
        pack(tmp_path / "s.tar", {"a.png": SMALL, "a.cls": "0", "b.png": b"", "b.cls": "1"})
        found = check(tmp_path, benchmark("webdataset"), quick=quick)
        assert [(broken.path, broken.code) for broken in found.broken] == [("s.tar/b.png", "empty")]

    def test_a_shard_that_cannot_be_read_hides_no_other(self, tmp_path):
        pack(tmp_path / "a.tar", {"a.png": SMALL, "a.cls": "0"}).write_bytes(b"junk" * 400)
        pack(tmp_path / "b.tar", {"a.png": SMALL, "a.cls": "2"})
        pack(tmp_path / "c.tar", {"a.png": SMALL, "a.cls": "0", "b.png": b"x", "b.cls": "1"})
        found = check(tmp_path, benchmark("webdataset"))
        assert [(broken.path, broken.code) for broken in found.broken] == [
            ("a.tar", "corrupt"),
            ("b.tar", "corrupt"),
            ("c.tar/b.png", "unknown_format"),
        ]
        assert found.broken[1].reason == "a.png: label '2' is neither real (0) nor fake (1)"
        assert (found.pictures, found.extra) == (2, ())

    def test_rows_and_files_of_a_data_set_likewise(self, tmp_path, home):
        pytest.importorskip("datasets")
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"image": [SMALL, SMALL, SMALL], "label": [0, 1, 7]}), tmp_path / "0.parquet")
        (tmp_path / "1.parquet").write_bytes((tmp_path / "0.parquet").read_bytes()[:-50])
        found = check(tmp_path, benchmark("huggingface"))
        assert [broken.path for broken in found.broken] == ["1.parquet", tmp_path.name]
        assert found.broken[1].reason == "row 2: label 7 is neither real (0) nor fake (1)"
        assert found.pictures == 2

    def test_dangling_link(self, genimage):
        of, root = genimage
        file = root / "test/ADM/0_real/000001.png"
        file.unlink()
        file.symlink_to("gone.png")
        assert [broken.code for broken in check(root, of).broken] == ["missing"]
        assert [broken.code for broken in check(root, of, quick=True).broken] == ["missing"]


class TestExtra:
    def test_is_named_and_harms_nothing(self, genimage):
        of, root = genimage
        extra = [".DS_Store", "ADM.zip", "test/flux/1_fake/0.png", "test/ADM/0_real/._000001.png", "test/ADM/new/0.png"]
        found = check(fill(root, extra), of)
        assert sorted(found.extra) == sorted(extra)
        assert (found.missing, found.broken) == ((), ())

    def test_files_that_are_published_beside_pictures_are_none(self, tmp_path):
        of = benchmark("synthbuster")
        root = fill(tmp_path, [*of.layout["official"], "synthbuster/prompts.csv", "synthbuster/other.doc"])
        assert check(root, of).extra == ("synthbuster/other.doc",)


class TestCounts:
    def test_beside_published_ones(self, tmp_path):
        of = benchmark("synthwildx")
        root = fill(tmp_path, [*of.layout["official"], "real/another.jpg", "dalle3/another.jpg", "dalle3/third.jpg"])
        found = check(root, of)
        assert [(count.set, count.real, count.fake) for count in found.counts] == [("dalle3", 2, 3), ("firefly", 2, 1), ("midjourney", 2, 1)]
        assert {(count.published_real, count.published_fake, count.known) for count in found.counts} == {(500, 500, "code")}
        assert found.pictures == 7  # shared ones once

    def test_sets_that_only_the_user_has(self, tmp_path):
        found = check(fill(tmp_path, ["b/real/0.png", "a/fake/0.png"]), benchmark("folder"))
        assert [(count.set, count.real, count.fake, count.published_real) for count in found.counts] == [("a", 0, 1, None), ("b", 1, 0, None)]


def test_shared_pictures_are_opened_once(tmp_path, monkeypatch):
    of = benchmark("synthbuster")
    opened = []
    monkeypatch.setattr("realgrain.measuring.benchmarks.check.open_picture", lambda content, name: opened.append(name))
    check(fill(tmp_path, of.layout["official"]), of)
    assert sorted(opened) == sorted(of.layout["official"])


def test_progress_sees_every_picture(genimage):
    of, root = genimage
    seen = []

    def watch(answers, total):
        for answer in answers:
            seen.append(total)
            yield answer

    check(root, of, watch=watch)
    assert seen == [16] * 16


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a folder that may not be listed")
def test_a_folder_that_may_not_be_listed_is_named(genimage):
    of, root = genimage
    (root / "test" / "ADM").chmod(0)
    try:
        with pytest.raises(ValueError, match="ADM: cannot be listed"):
            check(root, of)
    finally:
        (root / "test" / "ADM").chmod(0o700)
