import json
import sys
from pathlib import Path

import pytest

from realgrain.faces.cli import main
from realgrain.learning.data import Sample, read_manifest
from realgrain.learning.recipe import read_recipe
from realgrain.measuring.benchmarks import NAMES, benchmark
from realgrain.measuring.benchmarks.manifest import write_manifest
from realgrain.measuring.benchmarks.walk import BenchmarkError

sys.path.insert(0, str(Path(__file__).parents[1] / "measuring" / "benchmarks"))
from trees import fill, pack


@pytest.fixture
def bench(capsys):
    def call(*arguments):
        code = main(["bench", *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


def test_list_names_all(bench):
    code, out, err = bench("list")
    assert (code, err) == (0, "")
    assert all(f" {name} " in out for name in NAMES)


def test_list_as_json_is_the_cards(bench):
    code, out, _ = bench("list", "--json")
    assert code == 0
    assert [card["name"] for card in json.loads(out)] == list(NAMES)


class TestCheck:
    def test_whole(self, bench, tmp_path):
        names = [f"{name}/{number}.jpg" for name in ("dalle3", "firefly", "midjourney", "real") for number in range(500)]
        code, out, err = bench("check", "synthwildx", fill(tmp_path, names))
        assert (code, err) == (0, "")
        assert out.endswith("\nnothing is missing or broken; every picture was opened\n")
        assert out.count("500") == 12

    def test_short(self, bench, tmp_path):
        code, out, _ = bench("check", "synthwildx", fill(tmp_path, benchmark("synthwildx").layout["official"]))
        assert code == 1
        assert "short: 1 of 500 fake pictures of set dalle3 (test)" in out
        assert "not whole; every picture was opened" in out

    def test_shorter_than_a_number_that_may_be_wrong(self, bench, tmp_path):
        root = fill(tmp_path, [f"seeingdark/{folder}/{number}.png" for folder in ("0_real", "1_fake") for number in range(170)])
        fill(root, [path for path in benchmark("forensynths").layout["official"] if "seeingdark" not in path])
        _, out, _ = bench("check", "forensynths", root, "--quick")
        assert "remark: 170 of 180 real pictures of set seeingdark (test); the number is recalled" in out
        code, out, _ = bench("check", "genimage", fill(tmp_path / "other", benchmark("genimage").layout["re-layout"]), "--quick")
        assert code == 1
        assert "short: 1 of 6000 real pictures of set ADM (test); the number is recalled" in out

    def test_not_whole(self, bench, tmp_path):
        root = fill(tmp_path, ["dalle3/a.jpg", "real/a.jpg", "real/b.jpg", "midjourney/a.jpg", "sora/[/]a.jpg"])
        (root / "real/b.jpg").write_bytes(b"x")
        code, out, _ = bench("check", "synthwildx", root)
        assert code == 1
        assert "missing: fake pictures of set firefly (test)" in out
        assert "broken: real/b.jpg: " in out
        assert "extra: sora/[/]a.jpg" in out
        assert out.endswith("not whole; every picture was opened\n")

    def test_names_cannot_paint_the_terminal(self, bench, tmp_path):
        _, out, _ = bench("check", "folder", fill(tmp_path, ["[red]a[/red]/real/0.jpg", "fake/0.jpg", "\x1b[31m.txt"]))
        assert "[red]a[/red]" in out
        assert "\x1b" not in out
        assert "extra: \\x1b[31m.txt" in out

    def test_quick_json(self, bench, tmp_path):
        root = fill(tmp_path, ["real/b.jpg", "fake/a.jpg"], b"x")
        code, out, _ = bench("check", "folder", root, "--quick", "--json")
        found = json.loads(out)
        assert (code, found["opened"], found["pictures"], found["missing"]) == (0, False, 2, [])

    def test_long_lists_are_cut(self, bench, tmp_path):
        root = fill(tmp_path, ["real/b.jpg", "fake/a.jpg", *(f"more/{number}.jpg" for number in range(25))])
        _, out, _ = bench("check", "folder", root, "--quick")
        assert out.count("extra: more/") == 20
        assert "extra: and 5 more" in out

    @pytest.mark.parametrize("arguments", [("nosuch", "."), ("genimage", "nowhere"), ("genimage",)])
    def test_wrong_usage(self, bench, arguments):
        code, out, err = bench("check", *arguments)
        assert (code, out) == (2, "")
        assert err


@pytest.mark.parametrize("words", [["check"], ["manifest", "-o", "m.csv"], ["run", "-o", "run"]])
def test_the_hub_is_not_asked_offline(bench, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("realgrain.measuring.benchmarks.huggingface.look", None)
    code, _, err = bench(words[0], "huggingface", "hub:owner/name", *words[1:], "--offline")
    assert (code, err) == (2, "realgrain: hub:owner/name: is on the hub, and this is offline\n")
    assert not list(tmp_path.iterdir())


class TestManifest:
    def test_of_aigibenchs_training_data_fits_the_recipe(self, bench, tmp_path):
        """Every source of the recipe's folds is there, and no other."""
        fill(tmp_path, benchmark("aigibench").layout["official"])
        assert bench("manifest", "aigibench", tmp_path, "--setting", 2, "-o", tmp_path / "m.csv") == (
            0,
            "",
            f"realgrain: {tmp_path / 'm.csv'}: 10 pictures\n",
        )
        found = read_manifest(tmp_path / "m.csv")
        assert {sample.split for sample in found} == {"train"} and all(sample.file.is_file() for sample in found)
        folds = read_recipe(Path(__file__).parents[2] / "recipes" / "full" / "pinclip-setting2.yaml").folds
        for label in ("real", "fake"):
            assert {sample.source for sample in found if sample.label == label} == {name for fold in folds for name in getattr(fold, label)}
        assert bench("manifest", "aigibench", tmp_path, "--setting", 1, "-o", tmp_path / "one.csv")[0] == 0
        assert {sample.generator for sample in read_manifest(tmp_path / "one.csv")} == {"", "ProGAN"}

    @pytest.mark.parametrize("name", [name for name in NAMES if name not in {"csv", "webdataset", "huggingface"}])
    def test_of_every_reader_is_read_again(self, name, bench, tmp_path, monkeypatch):
        """From a folder above, relative to it; a picture that sets share stands once."""
        of = benchmark(name)
        fill(tmp_path / "it", next(iter(of.layout.values())), b"")
        monkeypatch.chdir(tmp_path)
        assert bench("manifest", name, "it", "-o", "m.csv")[0] == 0
        fields = ("label", "generator", "source", "split")
        expected = {f"it/{sample.path}": [getattr(sample, field) for field in fields] for sample in of.samples(Path("it"))}
        found = {sample.path: [getattr(sample, field) for field in fields] for sample in read_manifest(Path("m.csv"))}
        assert found == expected
        grouped = ",group" if name in {"synthbuster", "drct2m"} else ""
        assert Path("m.csv").read_text().splitlines()[0] == f"path,label,generator,source,split{grouped}"

    def test_links_below_the_folder_are_below_it(self, bench, tmp_path):
        fill(tmp_path / "elsewhere", ["0.jpg"])
        fill(tmp_path / "tree", ["fake/0.jpg"])
        (tmp_path / "tree" / "real").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        assert bench("manifest", "folder", tmp_path / "tree", "-o", tmp_path / "tree" / "m.csv")[0] == 0
        assert [sample.path for sample in read_manifest(tmp_path / "tree" / "m.csv")] == ["fake/0.jpg", "real/0.jpg"]

    def test_sets_that_do_not_agree(self, tmp_path):
        one = Sample(path="0.jpg", file=tmp_path / "0.jpg", label="fake", generator="a", set="a")
        with pytest.raises(BenchmarkError, match="is fake a in one set, fake b in another"):
            write_manifest([one, one.model_copy(update={"generator": "b", "set": "b"})], tmp_path / "m.csv")

    def test_refusals(self, bench, tmp_path):
        fill(tmp_path / "a", ["real/0.jpg"])
        pack(tmp_path / "s.tar", {"a.png": b"x", "a.cls": "0"})
        (tmp_path / "there.csv").write_text("mine")
        (tmp_path / "empty").mkdir()
        for arguments, why in (
            (("folder", tmp_path / "a", "-o", tmp_path / "b" / "m.csv"), "not below"),
            (("folder", tmp_path / "a", "-o", tmp_path / "there.csv"), "exists already"),
            (("folder", tmp_path / "a", "--setting", 1, "-o", tmp_path / "m.csv"), "--setting is of aigibench"),
            (("aigibench", tmp_path / "a", "--setting", 1, "-o", tmp_path / "m.csv"), "there are no pictures of car"),
            (("folder", tmp_path / "empty", "-o", tmp_path / "m.csv"), "no pictures"),
            (("webdataset", tmp_path / "s.tar", "-o", tmp_path / "m.csv"), "holds pictures in one file"),
        ):
            code, out, err = bench("manifest", *arguments)
            assert (code, out) == (2, "") and why in err
        assert (tmp_path / "there.csv").read_text() == "mine"
        assert not (tmp_path / "m.csv").exists() and not (tmp_path / "b").exists()
