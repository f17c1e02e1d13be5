"""Pictures that lie in other files: WebDataset shards and data sets of `datasets`."""

import gzip
import io
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import picture, saved
from trees import SMALL, fill, pack

from realgrain.measuring.benchmarks import benchmark, webdataset
from realgrain.measuring.benchmarks.check import check
from realgrain.measuring.benchmarks.columns import told
from realgrain.measuring.benchmarks.walk import BenchmarkError
from realgrain.picture.errors import Limits
from realgrain.picture.image import PictureError, open_picture

OTHER = saved(picture(1, fake=True, size=(48, 40)), "JPEG")


class TestShards:
    def test_pictures_are_read_where_they_lie(self, tmp_path):
        said = {"label": "fake", "generator": "sd", "source": "lab", "set": "one", "split": "train", "prompt": "a cat"}
        pack(tmp_path / "in" / "s-1.tar", {"x/b.jpg": OTHER, "x/b.json": said})
        pack(tmp_path / "s-0.tar", {"a.png": SMALL, "a.cls": "0"})
        before = sorted(tmp_path.rglob("*"))
        fake, real = benchmark("webdataset").samples(tmp_path)
        assert (fake.path, fake.label, fake.generator, fake.source, fake.set, fake.split) == (
            "in/s-1.tar/x/b.jpg",
            "fake",
            "sd",
            "lab",
            "one",
            "train",
        )
        assert (real.path, real.label, real.generator, real.source, real.set, real.split) == ("s-0.tar/a.png", "real", "", "s-0", "", "test")
        assert (fake.content(), real.content()) == (OTHER, SMALL)
        assert open_picture(real.content()).width == 40
        assert sorted(tmp_path.rglob("*")) == before

    def test_one_shard_alone(self, tmp_path):
        shard = pack(tmp_path / "s.tar", {"a.PNG": SMALL, "a.txt": "1_fake\n"})
        (sample,) = benchmark("webdataset").samples(shard)
        assert (sample.path, sample.label, sample.generator) == ("s.tar/a.png", "fake", "unknown")
        assert check(shard, benchmark("webdataset")).missing == ("no real pictures",)

    @pytest.mark.parametrize("value", ["real", "0", 0, 0.0, "nature", "0_real", False])
    def test_label_of_a_real_picture(self, value, tmp_path):
        pack(tmp_path / "s.tar", {"a.png": SMALL, "a.json": {"label": value}})
        assert benchmark("webdataset").samples(tmp_path)[0].label == "real"

    @pytest.mark.parametrize("value", ["fake", "1", 1, 1.0, "ai", True])
    def test_label_of_a_fake(self, value, tmp_path):
        pack(tmp_path / "s.tar", {"a.png": SMALL, "a.json": {"label": value}})
        assert benchmark("webdataset").samples(tmp_path)[0].label == "fake"

    @pytest.mark.parametrize("value", ["", "2", None, 2, -1, 0.5, "maybe", [0]])
    def test_neither(self, value, tmp_path):
        pack(tmp_path / "s.tar", {"a.png": SMALL, "a.json": {"label": value}})
        with pytest.raises(BenchmarkError, match=r"s\.tar, a\.png: label .* is neither real \(0\) nor fake \(1\)"):
            benchmark("webdataset").samples(tmp_path)

    def test_a_caption_is_no_label_where_a_class_is_given(self, tmp_path):
        pack(tmp_path / "s.tar", {"a.png": SMALL, "a.txt": "a horse", "a.cls": "1", "a.json": {"model_name": "sd"}})
        (sample,) = benchmark("webdataset").samples(tmp_path)
        assert sample.label == "fake"

    def test_what_json_says_besides_the_label_is_kept_when_a_class_gives_it(self, tmp_path):
        pack(tmp_path / "s.tar", {"a.png": SMALL, "a.cls": "1", "a.json": {"model_name": "sd", "group": 7}})
        (sample,) = benchmark("webdataset").samples(tmp_path)
        assert (sample.generator, sample.model_extra) == ("sd", {"group": "7"})

    def test_nothing_said(self, tmp_path):
        pack(tmp_path / "s.tar", {"a.png": SMALL})
        with pytest.raises(BenchmarkError, match="label None"):
            benchmark("webdataset").samples(tmp_path)


class TestHostileShards:
    NAMES = ("../../../up.png", "/etc/absolute.png", "a/../../b.png", "..\\..\\windows.png", "\x1b[31mred.png", "C:/drive.png", "./x.png", "a//b.png")

    @pytest.mark.parametrize("name", NAMES)
    def test_names_never_leave_the_shard(self, name, tmp_path):
        pack(tmp_path / "home" / "s.tar", {name: SMALL, name.removesuffix("png") + "cls": "0"})
        (sample,) = benchmark("webdataset").samples(tmp_path / "home")
        parts = sample.path.split("/")
        assert parts[0] == "s.tar"
        assert not {"", ".", ".."} & set(parts)
        assert sample.path.isprintable()
        assert sample.content() == SMALL
        assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["s.tar"]

    def test_links_and_devices_are_passed_over(self, tmp_path):
        secret = fill(tmp_path, ["secret.png"]) / "secret.png"
        with tarfile.open(tmp_path / "s.tar", "w") as archive:
            for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE)):
                info = tarfile.TarInfo(f"{number}.png")
                info.type, info.linkname = kind, str(secret)
                archive.addfile(info)
        assert benchmark("webdataset").samples(tmp_path / "s.tar") == []

    def test_a_member_larger_than_any_picture_is_refused_without_reading_it_whole(self, tmp_path, monkeypatch):
        monkeypatch.setattr(webdataset, "Limits", lambda: Limits(max_bytes=10))
        pack(tmp_path / "s.tar", {"a.png": SMALL, "a.cls": "0"})
        (sample,) = benchmark("webdataset").samples(tmp_path)
        assert len(sample.content()) == 11
        with pytest.raises(PictureError, match="more than the limit"):
            open_picture(sample.content(), limits=Limits(max_bytes=10))

    @pytest.mark.parametrize("members", [{"a.png": SMALL, "A/../a.png": SMALL}, {"a.png": SMALL, "./a.png": SMALL}])
    def test_two_members_of_one_name(self, members, tmp_path):
        notes = {name.removesuffix("png") + "cls": "0" for name in members}
        pack(tmp_path / "s.tar", {**members, **notes})
        found = benchmark("webdataset")
        if "A/../a.png" in members:  # parts are dropped, not resolved: these two stay apart
            assert len(found.samples(tmp_path)) == 2
        else:
            with pytest.raises(BenchmarkError, match=r"holds s\.tar/a\.png twice"):
                found.samples(tmp_path)

    def test_a_member_that_occurs_twice(self, tmp_path):
        with tarfile.open(tmp_path / "s.tar", "w") as archive:
            for data in (SMALL, OTHER):
                info = tarfile.TarInfo("a.png")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        with pytest.raises(BenchmarkError, match=r"holds a\.png twice"):
            benchmark("webdataset").samples(tmp_path)

    @pytest.mark.parametrize("note", [b"not json", b"[1]", b"\xff\xfe", b"[" * 100_000, b" " * (2**20 + 1)])
    def test_notes_that_are_none(self, note, tmp_path):
        pack(tmp_path / "s.tar", {"a.png": SMALL, "a.json": note})
        with pytest.raises(BenchmarkError, match=r"s\.tar"):
            benchmark("webdataset").samples(tmp_path)

    @pytest.mark.parametrize("change", [gzip.compress, lambda data: b"nothing like a tar file" * 100, lambda data: data[:700]])
    def test_compressed_and_damaged_ones_are_named(self, change, tmp_path):
        shard = pack(tmp_path / "s.tar", {"a.png": SMALL, "a.cls": "0"})
        shard.write_bytes(change(shard.read_bytes()))
        with pytest.raises(BenchmarkError, match=r"s\.tar: not readable as an uncompressed tar file"):
            benchmark("webdataset").samples(tmp_path)

    def test_one_that_is_cut_between_members_is_named(self, tmp_path):
        shard = pack(tmp_path / "s.tar", {"a.png": SMALL, "a.cls": "0", "b.png": SMALL, "b.cls": "1"})
        with tarfile.open(shard) as archive:
            ends = [member.offset for member in archive][2:]
        content = shard.read_bytes()
        for end in ends:
            for cut in (content[:end], content[:end] + b"junk" * 500):
                shard.write_bytes(cut)
                with pytest.raises(BenchmarkError, match=rf"s\.tar: is cut off or damaged at byte {end:,}"):
                    benchmark("webdataset").samples(tmp_path)


TEXT = st.text("01 realfk_/\x00é", max_size=6)


@given(
    st.dictionaries(st.sampled_from(["label", "generator", "model_name", "source", "real_source", "set", "split"]), TEXT | st.integers() | st.none())
)
def test_any_columns_give_a_label_or_an_error(said):
    try:
        fields = told(said, "row", otherwise="here")
    except BenchmarkError:
        return
    assert fields["label"] in {"real", "fake"}
    assert fields["source"]
    assert bool(fields["generator"]) == (fields["label"] == "fake")


@pytest.fixture(scope="module")
def datasets():
    return pytest.importorskip("datasets")


class TestHuggingFace:
    def test_saved_with_a_class_label_in_alphabetical_order(self, datasets, tmp_path):
        features = datasets.Features(
            {"image": datasets.Image(), "label": datasets.ClassLabel(names=["ai", "nature"]), "generator": datasets.Value("string")}
        )
        rows = {"image": [{"bytes": OTHER, "path": None}, {"bytes": SMALL, "path": None}], "label": [0, 1], "generator": ["sd", ""]}
        datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "set")
        fake, real = benchmark("huggingface").samples(tmp_path / "set")
        assert (fake.label, fake.generator, fake.path, fake.split) == ("fake", "sd", "00000000", "test")
        assert (real.label, real.generator, real.source) == ("real", "", "set")
        assert (fake.content(), real.content()) == (OTHER, SMALL)  # the files' bytes: nothing was decoded and encoded again
        for quick in (False, True):
            assert check(tmp_path / "set", benchmark("huggingface"), quick=quick).ok

    def test_a_class_label_that_is_not_there(self, datasets, tmp_path):
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["ai", "nature"])})
        rows = {"image": [{"bytes": SMALL, "path": None}], "label": [-1]}
        datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "set")
        with pytest.raises(BenchmarkError, match="row 0: label None is neither real"):
            benchmark("huggingface").samples(tmp_path / "set")

    def test_saved_with_splits(self, datasets, tmp_path):
        part = datasets.Dataset.from_dict({"image": [SMALL], "label": ["real"], "source": ["flickr"], "group": ["clip 3"]})
        datasets.DatasetDict({"validation": part, "test": part}).save_to_disk(tmp_path / "set")
        found = benchmark("huggingface").samples(tmp_path / "set")
        assert [(sample.path, sample.split, sample.source) for sample in found] == [
            ("test/00000000", "test", "flickr"),
            ("validation/00000000", "val", "flickr"),
        ]
        assert [sample.group for sample in found] == ["clip 3"] * 2

    def test_parquet_as_community_forensics_has_it(self, datasets, tmp_path, home):
        for split, label in (("systematic", 1), ("publicEval", 0)):
            rows = {"image_name": ["../7.png"], "image_data": [SMALL], "model_name": ["sd-2"], "label": [label], "real_source": ["coco"]}
            (tmp_path / "data" / split).mkdir(parents=True)
            pq.write_table(pa.table(rows), tmp_path / "data" / split / "0.parquet")
        real, fake = benchmark("huggingface").samples(tmp_path / "data")
        assert (fake.label, fake.generator, fake.source, fake.path) == ("fake", "sd-2", "sd-2", "systematic/00000000/7.png")
        assert (real.label, real.generator, real.source, real.split) == ("real", "", "coco", "publicEval")
        assert real.content() == SMALL

    def test_parquet_files_named_by_split(self, datasets, tmp_path, home):
        rows = {"image": [{"bytes": SMALL, "path": "a.png"}], "label": [0]}
        for split in ("train", "test"):
            pq.write_table(pa.table(rows), tmp_path / f"{split}-00000-of-00001.parquet")
        assert [sample.split for sample in benchmark("huggingface").samples(tmp_path)] == ["test", "train"]

    def test_a_row_that_names_a_file_of_this_machine_reads_nothing(self, datasets, tmp_path, home):
        secret = fill(tmp_path, ["secret.png"]) / "secret.png"
        (tmp_path / "set").mkdir()
        pq.write_table(pa.table({"image": [{"bytes": None, "path": str(secret)}], "label": [0]}), tmp_path / "set" / "0.parquet")
        (sample,) = benchmark("huggingface").samples(tmp_path / "set")
        assert sample.content() == b""
        assert [broken.code for broken in check(tmp_path / "set", benchmark("huggingface")).broken] == ["empty"]

    def test_a_readme_cannot_send_it_elsewhere(self, datasets, tmp_path, home):
        fill(tmp_path, ["README.md"], b"---\nconfigs:\n- config_name: default\n  data_files: https://example.invalid/x.parquet\n---\n")
        pq.write_table(pa.table({"image": [SMALL], "label": [1]}), tmp_path / "0.parquet")
        assert [sample.label for sample in benchmark("huggingface").samples(tmp_path)] == ["fake"]

    @pytest.mark.parametrize(("rows", "why"), [({"image": [SMALL]}, "needs the columns label"), ({"label": [0]}, "needs the columns label")])
    def test_columns_that_are_not_there(self, rows, why, datasets, tmp_path, home):
        pq.write_table(pa.table(rows), tmp_path / "0.parquet")
        with pytest.raises(BenchmarkError, match=why):
            benchmark("huggingface").samples(tmp_path)

    @pytest.mark.parametrize("label", [2, -1, None])
    def test_labels_that_are_none(self, label, datasets, tmp_path, home):
        pq.write_table(pa.table({"image": [SMALL], "label": pa.array([label], pa.int64())}), tmp_path / "0.parquet")
        with pytest.raises(BenchmarkError, match="row 0: label"):
            benchmark("huggingface").samples(tmp_path)

    def test_damaged_files_are_named(self, datasets, tmp_path, home):
        (tmp_path / "0.parquet").write_bytes(b"no parquet")
        with pytest.raises(BenchmarkError, match="not readable as a data set"):
            benchmark("huggingface").samples(tmp_path)

    def test_the_hub_is_not_asked_offline(self, datasets, tmp_path):
        from pathlib import Path

        with pytest.raises(BenchmarkError, match="is on the hub, and this is offline"):
            benchmark("huggingface").samples(Path("hub:owner/name"))
        with pytest.raises(BenchmarkError, match="neither a data set saved to disk nor"):
            benchmark("huggingface").samples(Path("owner/name"))

    def test_json_round_trip_of_a_sample_leaves_the_data_set_out(self, datasets, tmp_path, home):
        pq.write_table(pa.table({"image": [SMALL], "label": [1]}), tmp_path / "0.parquet")
        (sample,) = benchmark("huggingface").samples(tmp_path)
        assert set(json.loads(sample.model_dump_json())) == {"path", "file", "label", "generator", "source", "set", "split"}
