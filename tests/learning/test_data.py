import csv

import numpy as np
import pytest
import toy
from hypothesis import given, settings
from hypothesis import strategies as st
from imagehash import phash
from PIL import Image

from realgrain.learning import data
from realgrain.learning.data import Fold, ManifestError, Sample, automatic_folds, balanced_weights, left_in, near_duplicates, read_manifest
from realgrain.picture.degrade import jpeg, scale


def manifest(tmp_path, text, name="m.csv"):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return tmp_path / name


def sample(label, source, index=0):
    return Sample(path=f"{label}/{source}/{index}", file="x", label=label, source=source)


def samples_of(**sizes):
    """Such as real_a=3, fake_b=2."""
    return [sample(*key.split("_"), index) for key, count in sizes.items() for index in range(count)]


class TestManifest:
    def test_columns(self, tmp_path):
        text = "path,label,generator,source,split,license\na/1.png,real,,cam,train,CC0\nb.jpg, fake ,sdxl,net,test,\n"
        first, second = read_manifest(manifest(tmp_path, text))
        assert (first.path, first.file, first.label, first.generator, first.source, first.split) == (
            *("a/1.png", tmp_path / "a" / "1.png", "real", "", "cam", "train"),
        )
        assert (second.label, second.fake, first.fake, second.generator) == ("fake", True, False, "sdxl")
        assert first.model_extra == {"license": "CC0"}

    def test_path_and_label_are_enough(self, tmp_path):
        (found,) = read_manifest(manifest(tmp_path, "label,path\nreal,a.png\n"))
        assert (found.path, found.source, found.split) == ("a.png", "", "")

    @pytest.mark.parametrize("text", ["path,label\r\na.png,real\r\n", 'path,label\n"a.png",real', "\ufeffpath,label\na.png,real\n"])
    def test_as_spreadsheets_write_it(self, tmp_path, text):
        assert [found.path for found in read_manifest(manifest(tmp_path, text))] == ["a.png"]

    def test_the_toy_manifest(self, toy_manifest):
        found = read_manifest(toy_manifest)
        with toy_manifest.open() as file:
            assert len(found) == len(list(csv.DictReader(file))) == sum(toy.REAL.values()) + sum(toy.FAKE.values())
        assert all(one.file.is_file() for one in found)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "no column path, label"),
            ("path\na.png\n", "no column label"),
            ("a.png,real\n", "no column path, label; the first line must name the columns"),
            ("path,label\na.png,real\nb.png,ai\n", "line 3: label 'ai' is neither real nor fake"),
            ("path,label\na.png,\n", "line 2: label '' is neither"),
            ("path,label\na.png,Real\n", "line 2: label 'Real' is neither"),
            ("path,label,source\na.png,real,s\nb.png,real\n", "line 3: not as many values as columns"),
            ("path,label\na.png\n", "line 2: not as many values as columns"),
            ("path,label\na.png,real,extra\n", "line 2: not as many values as columns"),
            ("path,label,generator\na.png,fake,g\nb.png,real,g\n", r"line 3: a real picture with a generator \(g\)"),
            ("path,label\na.png,real\nb.png,real\na.png,fake\n", r"line 4: a\.png occurs twice"),
            ("path,label\na.png,real\n./a.png,real\n", r"line 3: \./a\.png occurs twice"),
            ("path,label\n\na.png,real\n\n\nb.png,ai\n", "line 6: label 'ai'"),
            ('path,label\n"a\nb.png",real\nc.png,ai\n', "line 4: label 'ai'"),
            ("path,label\n../a.png,real\n", r"line 2: path '\.\./a\.png' is not that of a file below"),
            ("path,label\na/../../b.png,real\n", "line 2: path 'a/../../b.png' is not that of a file below"),
            ("path,label\n/etc/passwd,real\n", "line 2: path '/etc/passwd' is not that of a file below"),
            ("path,label\n,real\n", "line 2: path '' is not that of a file below"),
            (b"path,label\n\xff\xfe.png,real\n", "not readable as a CSV manifest"),
            (b"path,label\n" + b"a" * 200_000 + b",real\n", "not readable as a CSV manifest"),
        ],
    )
    def test_refused(self, tmp_path, text, reason):
        path = manifest(tmp_path, text)
        with pytest.raises(ManifestError, match=reason) as error:
            read_manifest(path)
        assert str(error.value).startswith(str(path))

    def test_missing(self, tmp_path):
        with pytest.raises(ManifestError, match=r"not readable as a CSV manifest: .*No such file"):
            read_manifest(tmp_path / "nowhere.csv")

    def test_labels_may_be_unknown_where_asked(self, tmp_path):
        path = manifest(tmp_path, "path,label\na.png,\nb.png,fake\n")
        assert [found.label for found in read_manifest(path, labelled=False)] == ["", "fake"]
        with pytest.raises(ManifestError, match="line 2: label 'x'"):
            read_manifest(manifest(tmp_path, "path,label\na.png,x\n"), labelled=False)

    def test_folder(self, tmp_path):
        for name in ("b.JPG", "a/c.png", "a/notes.txt", "d.webp"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(b"x")
        found = read_manifest(tmp_path, labelled=False)
        assert [(one.path, one.label, one.file) for one in found] == [(name, "", tmp_path / name) for name in ("a/c.png", "b.JPG", "d.webp")]
        with pytest.raises(ManifestError, match="a folder has no labels"):
            read_manifest(tmp_path)


SIZES = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 30), min_size=1, max_size=8)


class TestWeights:
    @given(SIZES, SIZES)
    def test_balanced(self, real, fake):
        samples = [sample(label, source, i) for label, of in (("real", real), ("fake", fake)) for source, n in of.items() for i in range(n)]
        weights = balanced_weights(samples)
        mine = {label: weights[[one.label == label for one in samples]] for label in ("real", "fake")}
        assert weights.mean() == pytest.approx(1)
        assert (weights > 0).all()
        assert mine["real"].sum() == pytest.approx(mine["fake"].sum())
        for label, of in (("real", real), ("fake", fake)):
            share = {source: weights[[one.label == label and one.source == source for one in samples]] for source in of}
            assert all(np.ptp(values) < 1e-9 for values in share.values())
            total = sum(size**0.5 for size in of.values())
            for source, size in of.items():
                assert share[source].sum() == pytest.approx(len(samples) / 2 * size**0.5 / total)


class TestFolds:
    @given(SIZES, SIZES, st.integers(2, 8))
    def test_every_source_is_left_out_once(self, real, fake, count):
        samples = [sample(label, source, i) for label, of in (("real", real), ("fake", fake)) for source, n in of.items() for i in range(n)]
        if min(len(real), len(fake)) < 2:
            with pytest.raises(ManifestError, match="at least two sources"):
                automatic_folds(samples, count)
            return
        folds = automatic_folds(samples, count)
        assert len(folds) == min(count, len(real), len(fake))
        assert all(fold.real and fold.fake for fold in folds)
        assert sorted(source for fold in folds for source in fold.real) == sorted(real)
        assert sorted(source for fold in folds for source in fold.fake) == sorted(fake)
        assert all(sum(fold.leaves_out(one) for fold in folds) == 1 for one in samples)

    def test_sizes_are_evened_out(self):
        folds = automatic_folds(samples_of(real_a=10, real_b=6, real_c=5, fake_x=1, fake_y=1), 2)
        assert [set(fold.real) for fold in folds] == [{"a"}, {"b", "c"}]

    def test_does_not_depend_on_the_order(self):
        samples = samples_of(real_a=3, real_b=3, real_c=4, fake_x=2, fake_y=2, fake_z=2)
        assert automatic_folds(samples) == automatic_folds(samples[::-1])

    def test_same_name_for_both_labels(self):
        fold = Fold(fake=("a",), real=("b",))
        assert [fold.leaves_out(one) for one in samples_of(real_a=1, fake_a=1, real_b=1, fake_b=1)] == [False, True, True, False]
        assert fold.name == "a|b"

    def test_left_in_leaves_twins_out(self):
        samples = samples_of(real_a=2, real_b=2, fake_x=2, fake_y=2)
        twins = np.array([0, 1, 1, 2, 3, 4, 0, 5])  # real_a's second has a twin in real_b; real_a's first one in fake_y
        assert left_in(samples, Fold(fake=("x",), real=("a",)), twins).tolist() == [False, False, False, True, False, False, False, True]
        assert left_in(samples, Fold(fake=("x",), real=("a",)), np.arange(8)).tolist() == [False, False, True, True, False, False, True, True]


class TestNearDuplicates:
    def test_a_copy_is_found_and_another_picture_is_not(self):
        pictures = [toy.picture(seed, fake=seed % 2 == 0, size=(260, 200)) for seed in range(6)]
        pictures += [jpeg(pictures[0], 60), scale(pictures[1], 0.6), jpeg(scale(pictures[1], 0.8), 80)]
        hashes = np.stack([phash(Image.fromarray(pixels)).hash.ravel() for pixels in pictures])
        found = near_duplicates(hashes, 4)
        assert found[6] == found[0]
        assert found[7] == found[8] == found[1]
        assert len(set(found[:6])) == 6

    def test_is_transitive(self):
        bits = np.zeros((4, 64), bool)
        bits[1, :4], bits[2, :8], bits[3, :13] = True, True, True
        found = near_duplicates(bits, 4)
        assert found[0] == found[1] == found[2] != found[3]
        assert len(set(near_duplicates(bits, 3))) == 4
        assert len(set(near_duplicates(bits, 5))) == 1

    def test_of_many_at_once_as_of_few(self, monkeypatch):
        hashes = np.random.default_rng(0).random((200, 64)) < 0.05
        whole = near_duplicates(hashes, 3)
        monkeypatch.setattr(data, "_ROWS", 7)
        assert np.array_equal(near_duplicates(hashes, 3), whole)
        assert 1 < len(set(whole)) < 200

    def test_groups_are_numbered_as_they_come(self):
        bits = np.eye(4, 64, dtype=bool)[[3, 1, 3, 0, 1, 2]]
        assert near_duplicates(bits, 0).tolist() == [0, 1, 0, 2, 1, 3]
        assert near_duplicates(np.zeros((0, 64), bool), 4).tolist() == []

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 2**32), st.integers(0, 20))
    def test_is_the_closure_of_hamming_distance(self, seed, distance):
        rng = np.random.default_rng(seed)
        bits = rng.random((12, 64)) < 0.08
        near = (bits[:, None] ^ bits).sum(2) <= distance
        for _ in range(12):
            near = (near.astype(int) @ near) > 0
        found = near_duplicates(bits, distance)
        assert np.array_equal(found[:, None] == found, near)
