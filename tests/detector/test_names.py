"""Bundles that realgrain ships are known by name."""

import shutil

import pytest

from realgrain.detector.bundle import DEFAULT, SHIPPED, BundleError, read_bundle


def test_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fast").mkdir()  # no bundle
    assert read_bundle("default").folder == read_bundle().folder == DEFAULT
    assert read_bundle("fast").folder == SHIPPED / "fast"


def test_a_folder_of_that_name_comes_first(tmp_path, monkeypatch, tiny_bundle):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_bundle.folder, tmp_path / "fast")
    assert read_bundle("fast").hash == tiny_bundle.hash
    assert read_bundle("./fast").hash == tiny_bundle.hash


@pytest.mark.parametrize("name", ["other", "..", "default/card.json", ""])
def test_other_names_are_folders(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match="not a bundle"):
        read_bundle(name)
