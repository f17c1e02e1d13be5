"""The script that arranges labelled pictures as a benchmark's tree."""

import csv
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realgrain.learning.data import read_manifest
from realgrain.measuring.benchmarks import benchmark
from realgrain.measuring.benchmarks.check import check

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from arrange import Folder, arrange, deal, folders, main

TREES = ["genimage", "universalfakedetect", "synthbuster", "aigibench"]


@pytest.mark.parametrize("name", ["genimage", "synthbuster", "chameleon"])
@pytest.mark.parametrize("copy", [False, True])
def test_a_tree_is_whole_and_true_to_the_labels(name, copy, toy_manifest, tmp_path):
    ours = read_manifest(toy_manifest)
    rows = arrange(ours, folders(name), tmp_path / "tree", copy=copy)
    found = check(tmp_path / "tree", benchmark(name))
    assert (found.missing, found.broken, found.extra) == ((), (), ())
    assert found.pictures == len(ours) == len(rows)
    theirs = {sample.path: sample.label for sample in benchmark(name).samples(tmp_path / "tree")}
    by_path = {sample.path: sample for sample in ours}
    with (tmp_path / "tree.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert table == rows
    for row in table:
        mine = by_path[row["our_path"]]
        assert (mine.label, mine.source, mine.generator) == (row["label"], row["our_source"], row["our_generator"])
        assert theirs[row["path"]] == mine.label
        assert (tmp_path / "tree" / row["path"]).read_bytes() == mine.file.read_bytes()
        assert (tmp_path / "tree" / row["path"]).is_symlink() != copy


def test_the_table_names_the_sets_that_the_benchmark_reads(toy_manifest, tmp_path):
    rows = arrange(read_manifest(toy_manifest), folders("universalfakedetect-8", "official"), tmp_path / "tree")
    read = {}
    for sample in benchmark("universalfakedetect-8").samples(tmp_path / "tree"):
        read.setdefault(sample.path, set()).add(sample.set)
    assert {row["path"]: set(row["published_set"].split("+")) for row in rows} == read


@pytest.mark.slow
def test_labelled_pictures_as_trees_of_two_benchmarks(labelled_pictures, tmp_path):
    ours = read_manifest(labelled_pictures / "manifest.csv")
    for name in ("genimage", "universalfakedetect"):
        arrange(ours, folders(name), tmp_path / name)
        found = check(tmp_path / name, benchmark(name), quick=True)
        assert (found.missing, found.broken, found.extra) == ((), (), ())  # but short: there are fewer than were published
        assert found.pictures == len(ours)


@pytest.mark.parametrize("name", TREES)
def test_only_folders_that_are_tested_on(name):
    assert all("train" not in folder.path.split("/") for folder in folders(name))
    assert {folder.label for folder in folders(name)} == {"real", "fake"}


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(1, 500), min_size=1, max_size=12), st.integers(1, 25))
def test_dealing_uses_every_source_and_every_name(sources, count):
    names = [f"set-{number}" for number in range(count)]
    given = deal(sources, names)
    assert set(given) == set(sources)
    assert set().union(*given.values()) == set(names)
    uses = Counter(name for of in given.values() for name in of)
    assert max(uses.values()) == 1 or len(sources) > count
    assert all(len(set(of)) == len(of) > 0 for of in given.values())


def test_a_tree_is_not_overwritten(toy_manifest, tmp_path):
    (tmp_path / "tree").mkdir()
    with pytest.raises(FileExistsError):
        arrange(read_manifest(toy_manifest), folders("genimage"), tmp_path / "tree")


def test_one_class_alone_is_refused(toy_manifest, tmp_path):
    with pytest.raises(ValueError, match="both classes"):
        arrange([sample for sample in read_manifest(toy_manifest) if sample.fake], [Folder("a", "fake", ("a",))], tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_command(toy_manifest, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["arrange.py", str(toy_manifest), str(tmp_path / "tree"), "--benchmark", "genimage", "--layout", "re-layout"])
    assert main() == 0
    assert "Midjourney: 9 of our gan-a" in capsys.readouterr().out or (tmp_path / "tree/test/Midjourney/1_fake").is_dir()
    assert main() == 2
    assert "tree" in capsys.readouterr().err
