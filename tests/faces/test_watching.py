"""A folder that is watched: what is there, what is written slowly, what is moved in, what is broken; and how it ends."""

import errno
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import toy
from filming import filmed, take

import realgrain
from realgrain.faces.cli import main
from realgrain.faces.watching import SETTLED, Arrivals, _notices

pytest.importorskip("watchfiles", reason="no folder is watched without the extra watch")


class TestFinished:
    """Of files, by a clock that the test sets."""

    @pytest.fixture
    def arrivals(self, tmp_path):
        return Arrivals(tmp_path)

    def test_only_what_stands_still(self, arrivals, tmp_path):
        file = tmp_path / "a.png"
        file.write_bytes(b"1")
        assert arrivals.finished(0, {file}) == []
        file.write_bytes(b"12")
        assert arrivals.finished(SETTLED, set()) == []  # it has grown
        assert arrivals.finished(1.9 * SETTLED, set()) == []
        assert arrivals.finished(2.1 * SETTLED, set()) == [file]
        assert arrivals.finished(9 * SETTLED, {file}) == []  # once

    def test_again_when_it_has_become_another(self, arrivals, tmp_path):
        file = tmp_path / "a.png"
        file.write_bytes(b"1")
        arrivals.finished(0, {file})
        assert arrivals.finished(2, set()) == [file]
        other = tmp_path / "other"
        other.write_bytes(b"2")
        other.replace(file)
        arrivals.finished(3, {file})
        assert arrivals.finished(5, set()) == [file]

    def test_what_is_left_alone(self, arrivals, tmp_path):
        (tmp_path / ".hidden").mkdir()
        (tmp_path / "folder.png").mkdir()
        names = ["a.txt", ".a.png", ".hidden/a.png", "a.png.part", "folder.png", "gone.png", "../a.png"]
        for name in names[:4]:
            (tmp_path / name).write_bytes(b"1")
        files = {tmp_path / name for name in names} | {Path("/elsewhere/a.png")}
        arrivals.finished(0, files)
        assert arrivals.finished(5, files) == []

    def test_in_order_of_names_and_in_folders(self, arrivals, tmp_path):
        (tmp_path / "in").mkdir()
        files = [tmp_path / "a.JPG", tmp_path / "in" / "b.png", tmp_path / "z.mp4"]
        for file in files:
            file.write_bytes(b"1")
        arrivals.finished(0, set(files))
        assert arrivals.finished(2, set()) == files

    def test_what_goes_is_forgotten(self, arrivals, tmp_path, monkeypatch):
        file = tmp_path / "a.png"
        file.write_bytes(b"1")
        assert arrivals._seen(set()) == {file}
        arrivals.finished(0, {file})
        assert arrivals.finished(2, set()) == [file] and file in arrivals._known
        file.unlink()
        monkeypatch.setattr("realgrain.faces.watching.EVERYTHING", 0)
        assert arrivals._seen(set()) == set() and not arrivals._known

    def test_again_when_it_can_be_read(self, arrivals, tmp_path, monkeypatch):
        file = tmp_path / "a.png"
        file.write_bytes(b"1")
        with monkeypatch.context() as other:  # whom the file does not belong to; tests may be run by root, who reads everything
            other.setattr(os, "access", lambda *_: False)
            arrivals.finished(0, {file})
            assert arrivals.finished(2, set()) == [file]
        arrivals.finished(3, {file})
        assert arrivals.finished(5, set()) == [file]
        file.chmod(0o640)  # nor is it another because somebody tidies up, or takes it away from us
        os.link(file, tmp_path / "copy")
        arrivals.finished(6, {file})
        assert arrivals.finished(8, set()) == []
        monkeypatch.setattr(os, "access", lambda *_: False)
        arrivals.finished(9, {file})
        assert arrivals.finished(11, set()) == []

    @pytest.mark.parametrize("where", [".", "sub"])
    def test_nothing_is_forgotten_while_a_share_does_not_answer(self, arrivals, tmp_path, monkeypatch, capsys, where):
        monkeypatch.setattr("realgrain.faces.watching.EVERYTHING", 0)
        (tmp_path / "sub").mkdir()
        gone, file = tmp_path / "a.png", tmp_path / "sub" / "b.png"
        gone.write_bytes(b"1"), file.write_bytes(b"1")
        arrivals.finished(0, arrivals._seen(set()))
        assert arrivals.finished(2, set()) == [gone, file]
        gone.unlink()
        away, listed = tmp_path / where, os.scandir

        def stale(folder):
            if Path(folder) == away:
                raise OSError(errno.ESTALE, "Stale file handle", str(folder))
            return listed(folder)

        with monkeypatch.context() as broken:
            broken.setattr(os, "scandir", stale)
            assert arrivals._seen(set()) == arrivals._seen(set()) == set()
        assert capsys.readouterr().err == f"realgrain: {away}: cannot be listed (Stale file handle); tried again every 0 s\n"  # once
        assert (gone in arrivals._known, file in arrivals._known) == (where == ".", True)
        arrivals.finished(3, arrivals._seen(set()))
        assert arrivals.finished(5, set()) == [] and set(arrivals._known) == {file}

    def test_a_folder_that_is_gone_ends_it(self, arrivals, tmp_path):
        tmp_path.rmdir()
        with pytest.raises(FileNotFoundError, match="the folder is gone"):
            arrivals._seen(set())


@pytest.mark.parametrize("name", [".", "in", "../in/link", "link"])
def test_notices_name_files_as_looks_do(name, tmp_path, monkeypatch):
    """However the folder was named: from here, or by a link."""
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path if name == "in" else tmp_path / "in")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "in")
    folder, found = Path(name), set()
    with _notices(folder) as noticed:
        for index in range(100):  # listening begins in a moment
            (folder / f"{index % 2}.png").write_bytes(b"1")
            time.sleep(0.1)
            found |= noticed()
            if found:
                break
    assert found and found <= {folder / "0.png", folder / "1.png"}


@pytest.mark.skipif(sys.platform != "linux", reason="names of other systems are text")
def test_a_name_that_is_no_text_ends_no_notices(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("realgrain.faces.watching.EVERYTHING", 0.2)
    found: set[Path] = set()
    with _notices(tmp_path) as noticed:
        for index in range(100):
            (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(b"%d" % index)
            time.sleep(0.1)
            if said := capsys.readouterr().err:
                break
        for index in range(100):
            (tmp_path / f"{index % 2}.png").write_bytes(b"1")
            time.sleep(0.1)
            if found := found | noticed():
                break
    assert "no notices of changes" in said and said.count("\n") == 1
    assert found and found <= {tmp_path / "0.png", tmp_path / "1.png"}


class Watching:
    """The command in a process of its own."""

    def __init__(self, folder: Path, bundle: Path) -> None:
        path = os.pathsep.join([str(Path(realgrain.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "realgrain", "detect", "--watch", str(folder), "--bundle", str(bundle), "--no-stability", "--threads", "1"]
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=lambda: [self._lines.put(line) for line in self.process.stdout], daemon=True).start()

    def next(self) -> dict:
        return json.loads(self._lines.get(timeout=60))

    def silent(self, seconds: float) -> bool:
        try:
            self._lines.get(timeout=seconds)
        except queue.Empty:
            return True
        return False

    def end(self, how: int) -> str:
        self.process.send_signal(how)
        assert self.process.wait(30) == 0
        with self.process.stderr as said:
            return said.read()


@pytest.fixture
def watch(tiny_bundle, tmp_path):
    made = []

    def begin(folder: Path) -> Watching:
        made.append(Watching(folder, tiny_bundle.folder))
        return made[-1]

    yield begin
    for one in made:
        one.process.kill()
        one.process.wait()
        one.process.stdout.close()
        one.process.stderr.close()


def test_stream(watch, tmp_path):
    pytest.importorskip("av", reason="no clips without the extra video")
    folder, outside = tmp_path / "in", tmp_path / "outside"
    folder.mkdir(), outside.mkdir()
    for name, seed in (("b.png", 1), ("a.jpg", 2)):
        (folder / name).write_bytes(toy.saved(toy.picture(seed, fake=False), "JPEG" if name.endswith("jpg") else "PNG"))
    stream = watch(folder)
    assert [stream.next()["picture"]["name"] for _ in range(2)] == [str(folder / "a.jpg"), str(folder / "b.png")]  # what is there comes first
    slow = toy.saved(toy.picture(3, fake=True))
    step = len(slow) // 6 + 1
    with (folder / "slow.png").open("wb") as file:
        for start in range(0, len(slow), step):
            file.write(slow[start : start + step])
            file.flush()
            time.sleep(0.4)  # for longer than a second in all, at no time for a second
    found = stream.next()
    assert found["picture"]["name"] == str(folder / "slow.png") and found["picture"]["bytes"] == len(slow)
    (folder / "bad.jpg").write_bytes(b"no picture")
    failed = stream.next()
    assert failed == {"version": 1, "kind": "failed", "name": str(folder / "bad.jpg"), "code": "unknown_format", "reason": failed["reason"]}
    shutil.copyfile(folder / "a.jpg", outside / "moved.jpg")
    os.utime(outside / "moved.jpg", (0, 0))
    (outside / "moved.jpg").rename(folder / "moved.jpg")
    assert stream.next()["picture"]["name"] == str(folder / "moved.jpg")
    (outside / "sub").mkdir()
    (outside / "sub" / "clip.mp4").write_bytes(filmed((take(5, fake=True), 8)))
    (outside / "sub").rename(folder / "sub")  # a whole folder: nobody gives notice of what is in it
    clip = stream.next()
    assert (clip["kind"], clip["clip"]["name"], len(clip["frames"])) == ("clip", str(folder / "sub" / "clip.mp4"), 1)
    (folder / "notes.txt").write_text("not looked at")
    assert stream.silent(2.5)
    said = stream.end(signal.SIGINT)
    assert f"realgrain: {folder}: watched; Ctrl-C ends it\n" in said and f"realgrain: {failed['name']}: {failed['reason']}\n" in said
    assert said.endswith("realgrain: ended\n") and "Traceback" not in said


def test_ends_when_a_service_is_stopped(watch, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(toy.saved(toy.picture(1, fake=False)))
    stream = watch(tmp_path / "in")
    stream.next()
    assert stream.end(signal.SIGTERM).endswith("realgrain: ended\n")


def test_what_breaks_in_the_detector_is_one_files_trouble(tiny_detector, tmp_path, monkeypatch, capsys):
    from realgrain.faces import watching
    from realgrain.picture.clip import ClipLimits

    def broken(*arguments):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(watching, "detect_each", broken)
    line = json.loads(watching._line(tmp_path / "a.png", tiny_detector, ClipLimits()))
    assert (line["code"], line["reason"]) == ("internal", "RuntimeError: out of luck")
    assert capsys.readouterr().err == f"realgrain: {tmp_path / 'a.png'}: RuntimeError: out of luck\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--watch", "gone"], "gone: not a folder"),
        (["a.png", "--watch", "."], "no other pictures"),
        (["--watch", ".", "--fail-on", "ai"], "--fail-on"),
    ],
)
def test_wrong_usage(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["detect", *arguments]) == 2
    assert words in capsys.readouterr().err
