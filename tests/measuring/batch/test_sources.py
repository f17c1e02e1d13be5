import errno
import functools
import glob
import http.server
import io
import os
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import crowd
import packs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from realgrain.measuring.batch import pins, sources
from realgrain.measuring.batch.items import Item
from realgrain.measuring.batch.reading import Reader
from realgrain.measuring.batch.sources import SourceError, Wanted, items
from realgrain.picture.errors import Limits, PictureError

DATA = [crowd.picture(number) for number in range(5)]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The current folder, with pictures in ``p`` and below it."""
    monkeypatch.chdir(tmp_path)
    for name, data in zip(("a.jpg", "b.PNG", "q/c.jpeg", "q/notes.txt", "q/r/d.webp"), DATA, strict=True):
        file = tmp_path / "p" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return tmp_path


def named(*sources: object, **wanted) -> list[str]:
    return sorted(item.uri for item in items(map(str, sources), Wanted(**wanted)))


def contents(found: list[Item], max_bytes: int = 10**6) -> list[bytes | str]:
    """What is read of items, or why it is not."""
    reader, read = Reader(), []
    for item in found:
        try:
            read.append(reader.job(item, Limits(max_bytes=max_bytes))())
        except PictureError as error:
            read.append(f"{error.code}: {error.reason}")
    reader.close()
    return read


class TestHere:
    def test_folders_are_searched_by_suffix(self, folder):
        assert named("p") == ["p/a.jpg", "p/b.PNG", "p/q/c.jpeg", "p/q/r/d.webp"]

    def test_names_stay_as_they_were_given(self, folder):
        assert named(folder / "p" / "q") == [str(folder / "p" / "q" / "c.jpeg"), str(folder / "p" / "q" / "r" / "d.webp")]
        (item,) = items(["p/a.jpg"])
        assert item == Item("p/a.jpg", os.fsencode(folder / "p" / "a.jpg"))
        assert contents([item]) == DATA[:1]

    def test_globs(self, folder):
        assert named("p/*.jpg") == ["p/a.jpg"]
        assert named("p/**/*.jp*g") == ["p/a.jpg", "p/q/c.jpeg"]

    def test_globs_match_what_those_of_the_standard_library_do(self, folder):
        for name in (".h.jpg", ".h/i.jpg", "q/.j.jpg", "q/r/[k].jpg", "x*y.jpg"):
            (folder / "p" / name).parent.mkdir(exist_ok=True)
            (folder / "p" / name).write_bytes(DATA[0])
        (folder / "p" / "q" / "gone.jpg").symlink_to("nowhere")
        (folder / "p" / "folder.jpg").mkdir()
        patterns = (
            "*/*",
            "p/*",
            "p/**",
            "p/**/*",
            "**",
            "**/r/*",
            "p/?/*.[jw]*",
            "p/.*",
            "p/.*/*",
            "./p//q/../*.jpg",
            "p/q/r/[[]k].jpg",
            "p/*/r/d.webp",
        )
        for pattern in (*patterns, f"{folder}/p/**/*.jpg", "p/*/r/../*.j*"):
            expected = {file for file in glob.glob(pattern, recursive=True) if not Path(file).is_dir() and not file.endswith(".txt")}  # noqa: PTH207
            assert expected, pattern
            assert set(named(pattern)) == expected, pattern

    def test_globs_leave_out_what_lies_beside_pictures(self, folder):
        for name, content in {"a.txt": "a cat", "a.json": "{}", "a.csv": "caption\na cat\n", "b.tar.gz": ""}.items():
            (folder / "p" / name).write_text(content)
        packs.tar(folder / "p" / "x.tar", {"a.jpg": DATA[0]})
        assert named("p/*") == ["p/a.jpg", "p/b.PNG", "p/x.tar#a.jpg"]
        with pytest.raises(SourceError, match="no picture behind it"):
            named("p/*.txt")

    def test_globs_and_links_in_a_circle(self, folder):
        (folder / "p" / "q" / "up").symlink_to(folder / "p")
        assert [item.uri for item in items(["p/**/*.jpg"])] == ["p/a.jpg"]
        assert named("p/q/*/*") == ["p/q/r/d.webp"]
        assert named("p/q/up/*.jpg") == ["p/q/up/a.jpg"]

    def test_folders_that_cannot_be_read(self, folder):
        name, parent = "d" * 250, os.open("p", os.O_RDONLY)
        for _ in range(17):  # until the path is longer than the system takes: modes stop not everybody
            os.mkdir(name, dir_fd=parent)
            child = os.open(name, os.O_RDONLY, dir_fd=parent)
            os.close(parent)
            parent = child
        os.close(parent)
        for source in ("p", "p/**/*.jpg"):
            found = {item.uri: item for item in items([source])}
            assert "p/a.jpg" in found
            assert found["/".join(["p", *[name] * 17])].error == "a folder that cannot be read: File name too long"

    def test_a_file_that_is_named_is_taken_whatever_its_suffix(self, folder):
        (folder / "strange.xyz").write_bytes(DATA[0])
        assert named("strange.xyz") == ["strange.xyz"]

    def test_names_that_are_no_text(self, folder):
        name = b"p/\xff.jpg"
        Path(os.fsdecode(name)).write_bytes(DATA[0])
        (item,) = (item for item in items(["p"]) if "xff" in item.uri)
        assert item.uri == "p/\\udcff.jpg" or item.uri == "p/\\xff.jpg"
        assert contents([item]) == DATA[:1]

    def test_names_that_are_no_text_are_no_others(self, folder):
        for name in (b"p/\xff.jpg", b"p/\\xff.jpg"):
            Path(os.fsdecode(name)).write_bytes(DATA[0])
        assert [name for name in named("p") if "xff" in name] == ["p/\\\\xff.jpg", "p/\\xff.jpg"]

    def test_names_with_backslashes_are_sources_and_in_lists(self, folder):
        (folder / "a\\b.jpg").write_bytes(DATA[0])
        (folder / "list.txt").write_text("a\\b.jpg\n")
        for source in ("a\\b.jpg", "list.txt"):
            assert pins.Settings(sources=(source,)).sources == (source,)
            assert contents(list(items([source]))) == DATA[:1]

    def test_packed_files_in_a_folder_are_spoken_of(self, folder, caplog):
        packs.tar(folder / "p" / "q" / "x.tar", {"a.jpg": DATA[0]})
        assert named("p") == ["p/a.jpg", "p/b.PNG", "p/q/c.jpeg", "p/q/r/d.webp"]
        assert caplog.messages == ["p: of .tar and .parquet files in a folder, here 1, nothing is read; name them, or a pattern that finds them"]

    def test_links_in_a_circle(self, folder):
        (folder / "p" / "q" / "up").symlink_to(folder / "p")
        assert named("p") == ["p/a.jpg", "p/b.PNG", "p/q/c.jpeg", "p/q/r/d.webp"]

    def test_manifests_name_files_beside_them(self, folder):
        (folder / "p" / "list.csv").write_text("label,path\nreal,a.jpg\nfake,q/c.jpeg\n")
        assert named("p/list.csv") == ["p/a.jpg", "p/q/c.jpeg"]
        (folder / "p" / "list.txt").write_bytes(b"b.PNG\r\n\nq/r/d.webp\ngone.jpg")
        assert named("p/list.txt") == ["p/b.PNG", "p/gone.jpg", "p/q/r/d.webp"]

    def test_lists_may_begin_with_a_byte_order_mark(self, folder):
        (folder / "list.csv").write_text("path,label\np/a.jpg,real\n", encoding="utf-8-sig")
        (folder / "list.txt").write_text("p/a.jpg\np/b.PNG\n", encoding="utf-8-sig")
        assert named("list.csv") == ["p/a.jpg"]
        assert named("list.txt") == ["p/a.jpg", "p/b.PNG"]

    def test_lists_of_lists(self, folder):
        (folder / "one.txt").write_text("p/a.jpg\np/more.csv\np/more.csv\n")
        (folder / "p" / "more.csv").write_text("path\nb.PNG\n")
        assert set(named("one.txt")) == {"p/a.jpg", "p/b.PNG"}
        (folder / "p" / "more.csv").write_text("path\n../two.txt\n")
        (folder / "two.txt").symlink_to("one.txt")
        with pytest.raises(SourceError, match=r"two\.txt: a list that names itself, or another that leads back to it"):
            named("one.txt")

    def test_gone_files_are_errors_of_their_rows(self, folder):
        (folder / "list.txt").write_text("p/gone.jpg\np/a.jpg\n")
        assert contents(list(items(["list.txt"]))) == ["missing: there is no such file", DATA[0]]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone", None, "gone: no such file, and no picture behind it"),
        ("*.nothing", None, "no such file"),
        ("", None, "no such file"),
        ("x.csv", b"name\na.jpg\n", "needs a column named path"),
        ("x.csv", b"path\n\xff\n", "not a CSV manifest"),
        ("x.csv", b"path,label\n,real\n", "line 2: no path"),
        ("x.tar.gz", b"", "compressed tar files are not read"),
        ("https://example.invalid/a.jpg", None, "--allow-urls"),
        ("x.txt", b"https://example.invalid/a.jpg\n", "--allow-urls"),
        ("x.txt", b"s3://bucket/\xff.jpg\n", "line 1: no name of a file"),
        ("empty", "folder", "empty: holds no picture"),
        ("x.tar", bytes(10240), "x.tar: holds no picture"),
    ],
)
def test_refused(name, content, words, folder):
    if content == "folder":
        (folder / name).mkdir()
    elif content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(SourceError, match=words):
        named(name)


class TestTar:
    def test_members_are_read_where_they_lie(self, folder):
        packs.tar(folder / "x.tar", {"0/a.jpg": DATA[0], "0/a.json": b"{}", "b.png": DATA[1]})
        found = list(items(["x.tar"]))
        assert [item.uri for item in found] == ["x.tar#0/a.jpg", "x.tar#b.png"]
        assert contents(found) == DATA[:2]

    def test_one_that_is_cut_short_gives_what_can_be_had(self, folder):
        file = packs.tar(folder / "x.tar", {f"{number}.jpg": data for number, data in enumerate(DATA)})
        data = file.read_bytes()
        file.write_bytes(data[: 3 * 512 + len(DATA[0])])
        found = list(items(["x.tar"]))
        read = contents(found)
        assert read[0] == DATA[0]
        assert isinstance(read[-1], str)
        assert read[-1].startswith(("missing: cannot be read", "truncated"))

    def test_one_that_is_none(self, folder):
        (folder / "x.tar").write_bytes(b"no tar" * 1000)
        (item,) = items(["x.tar"])
        assert item.uri == "x.tar"
        assert contents([item])[0].startswith("missing: cannot be read")

    @pytest.mark.parametrize(
        ("harm", "known", "words"),
        [
            ("a flipped byte", 3, "damaged or cut short at byte"),
            ("cut in a header", 3, "damaged or cut short at byte"),
            ("cut before a header", 3, "damaged or cut short at byte"),
            ("a header of zeros", 3, "goes on behind its end at byte"),
            ("one behind another", 5, "goes on behind its end at byte"),
        ],
    )
    def test_one_that_is_damaged_says_so(self, harm, known, words, folder):
        file = packs.tar(folder / "x.tar", {f"{number}.jpg": data for number, data in enumerate(DATA)})
        assert contents(list(items(["x.tar"]))) == DATA
        with tarfile.open(file) as archive:
            at = archive.getmember("3.jpg").offset
        data = file.read_bytes()
        harmed = {
            "a flipped byte": data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :],
            "cut in a header": data[: at + 100],
            "cut before a header": data[:at],
            "a header of zeros": data[:at] + bytes(512) + data[at + 512 :],
            "one behind another": data + data,
        }
        file.write_bytes(harmed[harm])
        *found, last = items(["x.tar"])
        assert contents(found) == DATA[:known]
        assert last.uri == "x.tar"
        assert words in str(last.error)

    def test_links(self, folder):
        with tarfile.open(folder / "x.tar", "w") as archive:
            for name, data in zip(("p/a.jpg", "b"), DATA, strict=False):
                archive.addfile(packs.member(name, size=len(data)), io.BytesIO(data))
            archive.addfile(packs.member("hard.jpg", tarfile.LNKTYPE, "./p/a.jpg"))
            archive.addfile(packs.member("harder.png", tarfile.LNKTYPE, "b"))
            archive.addfile(packs.member("nowhere.jpg", tarfile.LNKTYPE, "later.jpg"))
            archive.addfile(packs.member("soft.jpg", tarfile.SYMTYPE, "p/a.jpg"))
            archive.addfile(packs.member("soft.md", tarfile.SYMTYPE, "p/a.jpg"))
            archive.addfile(packs.member("later.jpg", size=len(DATA[2])), io.BytesIO(DATA[2]))
        found = sorted(items(["x.tar"]), key=lambda item: item.uri)
        assert [item.uri.partition("#")[2] for item in found] == ["hard.jpg", "harder.png", "later.jpg", "nowhere.jpg", "p/a.jpg", "soft.jpg"]
        assert contents(found) == [
            *DATA[:3],
            "missing: a hard link to later.jpg, which the tar file does not hold before it",
            DATA[0],
            "missing: a symbolic link in a tar file: not read",
        ]

    def test_links_before_a_damaged_place(self, folder):
        with tarfile.open(folder / "x.tar", "w") as archive:
            archive.addfile(packs.member("a.jpg", size=len(DATA[0])), io.BytesIO(DATA[0]))
            archive.addfile(packs.member("b.jpg", tarfile.LNKTYPE, "a.jpg"))
            end = archive.offset
        (folder / "x.tar").write_bytes((folder / "x.tar").read_bytes()[:end])
        found = {item.uri: item for item in items(["x.tar"])}
        assert sorted(found) == ["x.tar", "x.tar#a.jpg", "x.tar#b.jpg"]
        assert contents([found["x.tar#b.jpg"]]) == DATA[:1]

    def test_two_members_of_one_name_are_two(self, folder, judge):
        with tarfile.open(folder / "x.tar", "w") as archive:
            for data in DATA[:2]:
                archive.addfile(packs.member("a.jpg", size=len(data)), io.BytesIO(data))
        assert judge(folder / "o", "x.tar").items == 2
        found = crowd.rows(folder / "o")
        assert len({row["sha256"] for row in found}) == 2
        assert [row["uri"] for row in found] == ["x.tar#a.jpg", f"x.tar#a.jpg@{2 * 512 + -(-len(DATA[0]) // 512) * 512}"]

    def test_a_member_above_the_limit(self, folder):
        packs.tar(folder / "x.tar", {"a.jpg": DATA[0]})
        (read,) = contents(list(items(["x.tar"])), 100)
        assert str(read).startswith("too_many_bytes")


class TestParquet:
    @pytest.mark.parametrize("rows", [1, 2, 1000])
    def test_rows(self, rows, folder):
        data = DATA * 10
        packs.parquet(folder / "x.parquet", [*data, None], rows=rows)
        found = list(items(["x.parquet"]))
        assert [item.uri for item in found[:2]] == ["x.parquet#000000000", "x.parquet#000000001"]
        assert contents(found) == [*data, "missing: cannot be read: the row has no bytes"]
        assert contents(found[::-7]) == [*["missing: cannot be read: the row has no bytes"], *data[-7::-7]]

    def test_pictures_as_hugging_face_stores_them(self, folder):
        packs.hugging_face(folder / "x.parquet", DATA)
        assert contents(list(items(["x.parquet"]))) == DATA

    def test_the_column_can_be_named(self, folder):
        packs.parquet(folder / "x.parquet", list(DATA), column="what")
        with pytest.raises(SourceError, match=r"x\.parquet: holds no picture: no column of bytes, image.*--column names it"):
            named("x.parquet")
        assert contents(list(items(["x.parquet"], Wanted(column="what")))) == DATA
        with pytest.raises(SourceError, match="no column id "):
            named("x.parquet", column="id")

    def test_one_that_is_none(self, folder):
        (folder / "x.parquet").write_bytes(b"PAR1 it says")
        (item,) = items(["x.parquet"])
        assert contents([item])[0].startswith("missing: cannot be read")

    @pytest.mark.parametrize("values", [["abc"], [[1, 2, 3]], [{"bytes": "abc"}], [{"bytes": [1, 2, 3]}]])
    def test_columns_of_other_types_are_no_pictures(self, values, folder):
        pq.write_table(pa.table({"image": values, "jpg": DATA[:1]}), "x.parquet")
        assert contents(list(items(["x.parquet"]))) == DATA[:1]
        with pytest.raises(SourceError, match="no column image of type binary"):
            named("x.parquet", column="image")

    @pytest.mark.parametrize("kind", [pa.large_binary(), pa.dictionary(pa.int32(), pa.binary()), pa.struct([("bytes", pa.large_binary())])])
    def test_other_types_with_bytes(self, kind, folder):
        values = [{"bytes": one} for one in DATA] if pa.types.is_struct(kind) else DATA
        pq.write_table(pa.table({"image": pa.array(values, pa.binary()).cast(kind) if values is DATA else pa.array(values, kind)}), "x.parquet")
        assert contents(list(items(["x.parquet"]))) == DATA

    def test_one_without_pictures_that_a_pattern_finds_stops_nothing(self, folder):
        pq.write_table(pa.table({"caption": ["a cat"]}), folder / "p" / "meta.parquet")
        found = {item.uri: item for item in items(["p/*"])}
        assert sorted(found) == ["p/a.jpg", "p/b.PNG", "p/meta.parquet"]
        assert found["p/meta.parquet"].error.startswith("holds no picture: no column of bytes, ")
        with pytest.raises(SourceError, match=r"p/meta\.parquet: holds no picture: no column of bytes"):
            named("p/meta.parquet")


@pytest.mark.parametrize("name", ["p/x.tar", "p/x.parquet"])
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_a_packed_file_on_a_disk_that_fails(name, number, folder, monkeypatch):
    """A list of items is for good; what may not be read stays so, and is an error of its own."""
    packs.tar(folder / "p/x.tar", {"a.jpg": DATA[0]})
    packs.parquet(folder / "p/x.parquet", DATA[:1])

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(sources, "open_packed", fail)
    if number == errno.EACCES:
        (item,) = items([name])
        assert item.error == "cannot be read: [Errno 13] Permission denied"
    else:
        with pytest.raises(SourceError, match=f"{name}: out of reach, so what it holds is not known: "):
            list(items([name]))


def test_a_folder_on_a_disk_that_fails(folder, monkeypatch):
    def fail(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    monkeypatch.setattr(os, "scandir", fail)
    for source in ("p", "p/*.jpg"):
        with pytest.raises(SourceError, match=r"p/?: out of reach, so what it holds is not known: Input/output error"):
            list(items([source]))


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def web(folder):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=folder / "p"))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_urls_where_they_are_allowed(web, folder, judge):
    (folder / "list.txt").write_text(f"{web}/a.jpg\n{web}/gone.jpg\n{web}/q/c.jpeg\n")
    done = judge(folder / "o", "list.txt", allow_urls=True)
    assert (done.items, done.failed) == (3, 1)
    found = {row["uri"]: row for row in crowd.rows(folder / "o")}
    assert found[f"{web}/a.jpg"]["bytes"] == len(DATA[0])
    assert found[f"{web}/gone.jpg"]["error_code"] == "missing"


@pytest.fixture(scope="module")
def store():
    """A server like S3 on this machine, with pictures, and the environment that leads to it."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    import boto3

    server.start()
    host, port = server.get_host_and_port()
    there = {
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in there.items():
            patch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="pictures")
        yield lambda key, data: client.put_object(Bucket="pictures", Key=key, Body=data)
    server.stop()


class TestS3:
    def test_prefixes_globs_and_objects(self, store, folder, judge):
        for key, data in zip(("p/a.jpg", "p/b.png", "p/q/é c.jpg", "p/notes.md", "other/d.jpg"), DATA, strict=True):
            store(key, data)
        assert named("s3://pictures/p") == ["s3://pictures/p/a.jpg", "s3://pictures/p/b.png", "s3://pictures/p/q/é c.jpg"]
        assert named("s3://pictures/*/*.jpg") == ["s3://pictures/other/d.jpg", "s3://pictures/p/a.jpg"]
        (folder / "list.txt").write_text("s3://pictures/other/d.jpg\ns3://pictures/gone.jpg\n")
        done = judge(folder / "there", "s3://pictures/p/", "list.txt")
        assert (done.items, done.failed) == (5, 1)
        for name, data in zip(("a.jpg", "b.png", "c.jpg"), DATA, strict=False):
            (folder / "here" / name).parent.mkdir(exist_ok=True)
            (folder / "here" / name).write_bytes(data)
        judge(folder / "o", "here")
        logits = {row["sha256"]: row["logit"] for row in crowd.rows(folder / "there")}
        assert all(logits[row["sha256"]] == row["logit"] for row in crowd.rows(folder / "o"))

    def test_names_in_lists_are_no_patterns(self, store, folder):
        keys = {"odd/l/a[1].jpg": DATA[0], "odd/l/noext": DATA[1], "odd/l/{b}?*.jpg": DATA[2]}
        for key, data in keys.items():
            store(key, data)
        (folder / "list.txt").write_text("".join(f"s3://pictures/{key}\n" for key in keys))
        (folder / "list.csv").write_text("path\n" + "".join(f"s3://pictures/{key}\n" for key in keys))
        for name in ("list.txt", "list.csv"):
            found = list(items([name]))
            assert [item.uri for item in found] == [f"s3://pictures/{key}" for key in keys]
            assert contents(found) == list(keys.values())

    @pytest.mark.parametrize("prefix", ["odd/br{1}", "odd/br{1,2}", "odd/br\\s"])
    def test_prefixes_are_no_patterns(self, prefix, store):
        for key in ("odd/br1/x.jpg", f"{prefix}/y.jpg"):
            store(key, DATA[0])
        assert named(f"s3://pictures/{prefix}") == [f"s3://pictures/{prefix}/y.jpg"]

    def test_packed(self, store, folder):
        store("x.tar", packs.tar(folder / "x.tar", {"a.jpg": DATA[0], "b.jpg": DATA[1]}).read_bytes())
        store("y.parquet", packs.parquet(folder / "y.parquet", list(DATA), rows=2).read_bytes())
        found = list(items(["s3://pictures/x.tar", "s3://pictures/*.parquet"]))
        assert [item.uri for item in found[:3]] == ["s3://pictures/x.tar#a.jpg", "s3://pictures/x.tar#b.jpg", "s3://pictures/y.parquet#000000000"]
        assert contents(found) == [*DATA[:2], *DATA]

    @pytest.mark.parametrize("name", ["x.tar", "x.parquet"])
    def test_what_a_store_does_not_show_is_not_listed_as_missing(self, store, name, monkeypatch):
        """A list of items is for good: one without what a packed file holds would leave its pictures out without a word."""
        store(name, DATA[0])
        (item,) = items([f"s3://pictures/{name}"])
        assert item.error.startswith("cannot be read: ")  # a broken file, which asking again does not mend

        class Closed(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_error(403)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Closed) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
            code = f"from realgrain.measuring.batch.sources import items; list(items(['s3://pictures/{name}']))"
            found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)  # Daft reads the address once
            server.shutdown()
        assert f"SourceError: s3://pictures/{name}: out of reach, so what it holds is not known: " in found.stderr

    def test_a_row_without_bytes_is_missing(self, store, folder):
        """Not out of reach: that would be asked for again at each start."""
        store("y.parquet", packs.parquet(folder / "y.parquet", [DATA[0], None]).read_bytes())
        assert contents(list(items(["s3://pictures/y.parquet"]))) == [DATA[0], "missing: cannot be read: the row has no bytes"]

    @pytest.mark.parametrize("kind", ["tar", "parquet"])
    def test_packed_that_was_changed(self, kind, store, folder):
        """Stores tell no time, but the size."""
        make = {"tar": lambda data: packs.tar(folder / "z", {"a.jpg": data}), "parquet": lambda data: packs.parquet(folder / "z", [data])}[kind]
        store(f"z.{kind}", make(DATA[0]).read_bytes())
        found = list(items([f"s3://pictures/z.{kind}"]))
        assert contents(found) == DATA[:1]
        store(f"z.{kind}", make(DATA[1] + bytes(20480)).read_bytes())
        assert contents(found) == ["missing: the tar or parquet file that holds it is another one since the run began, or was changed"]

    def test_nothing_there(self, store, folder):
        with pytest.raises(SourceError, match="no picture behind it"):
            named("s3://pictures/nothing")
