"""The README keeps its word: its figures are those of the files, and its code runs."""

import hashlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from browsing import card, choose

from realgrain.learning.backbone import has_bf16

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
EACH = 5  # pictures of each source
BIN = Path(sys.executable).parent
SERVE = "realgrain serve"
ELSEWHERE = ("make ", "pip install ")  # tried by whoever runs this test at all
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Lines of the shell blocks, without comments and without what sets up this very environment."""
    lines = [line.split("  #")[0].strip() for kind, block in BLOCKS if kind == "sh" for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith(ELSEWHERE)]


def test_figures_are_those_of_the_files():
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / "readme.py", "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_set_up_commands_are_two_and_are_in_the_makefile():
    first = next(block for kind, block in BLOCKS if kind == "sh")
    targets = [line.split()[1] for line in first.splitlines() if line]
    assert targets == ["detect", "test"]
    assert all(f"\n{target}:" in (ROOT / "Makefile").read_text() for target in targets)


@pytest.fixture
def user_folder(tmp_path, toy_manifest, monkeypatch):
    """A folder in which the README's examples find the files that they name."""
    pictures = sorted(toy_manifest.parent.glob("*/*/*"))
    for place in ("photo.jpg", "downloads/b.jpg", "scans/c.png", "inbox/d.jpg", "scans/e.webp"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(pictures[len(place)], tmp_path / place)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 not much of a picture")
    shutil.copytree(toy_manifest.parent, tmp_path / "data")
    (tmp_path / "data" / toy_manifest.name).unlink()
    lines = few(toy_manifest.read_text().splitlines())
    (tmp_path / "data" / "manifest.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "pictures.csv").write_text("\n".join([lines[0], *(f"data/{line}" for line in lines[1:])]) + "\n")
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    if not has_bf16():  # else this is most of all tests' time there
        recipe = tmp_path / "recipes" / "realgrain.yaml"
        recipe.write_text(recipe.read_text().replace("precision: bf16", "precision: f32"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def few(lines: list[str]) -> list[str]:
    """Of a manifest, some pictures of each source: the real tower looks at each of them many times."""
    column, seen = lines[0].split(",").index("source"), Counter()
    kept = []
    for line in lines[1:]:
        seen[line.split(",")[column]] += 1
        if seen[line.split(",")[column]] <= EACH:
            kept.append(line)
    return [lines[0], *kept]


@pytest.mark.weights
def test_python_blocks_run(real_home, user_folder, capsys):
    for block in (block for kind, block in BLOCKS if kind == "python"):
        exec(compile(block, "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert "broken.jpg" in said
    assert re.match(r"(ai|camera|unsure) [01]\.\d+ ", said)


@contextmanager
def served(data: Path) -> Iterator[str]:
    """Start the service as the README says, on a port that is free and with a folder of its own, and wait until it answers; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [BIN / "realgrain", "serve", "--port", str(port)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "REALGRAIN_DATA": str(data)})
    try:
        until = time.monotonic() + 180
        while True:
            assert running.poll() is None, running.stderr and running.stderr.read()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except urllib.error.URLError:
                assert time.monotonic() < until, "no answer after three minutes"
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/"
    finally:
        running.terminate()
        running.communicate(timeout=60)


@pytest.mark.slow
@pytest.mark.weights
def test_service_judges_a_picture_and_gives_its_case_report(real_home, user_folder, new_page):
    """As a reader does it: start it, open the page, choose a picture, wait for its verdict, save its report."""
    assert SERVE in commands()
    picture = user_folder / "photo.jpg"
    with served(user_folder / "served") as address:
        page, _ = new_page(accept_downloads=True)
        page.set_default_timeout(240_000)
        page.goto(address)
        choose(page, picture)
        shown = card(page, picture.name)
        verdict = shown.locator(".lead .verdict")
        verdict.wait_for()
        assert re.search("Flagged as AI-generated|Not flagged: called a photograph|Unsure: no verdict", verdict.inner_text())
        shown.get_by_role("button", name=f"Make the case report of {picture.name}").click()
        with page.expect_download() as download:
            shown.get_by_role("button", name="Save as a page (HTML)").click()
        assert download.value.suggested_filename == "photo.case.html"
        download.value.save_as(user_folder / "saved.html")
    saved = (user_folder / "saved.html").read_text()
    assert saved.lower().startswith("<!doctype html>")
    assert hashlib.sha256(picture.read_bytes()).hexdigest() in saved


@pytest.mark.slow
@pytest.mark.weights
def test_shell_blocks_run(real_home, user_folder):
    recipe = user_folder / "recipes" / "realgrain.yaml"
    recipe.write_text(recipe.read_text().split("folds:")[0])  # the toy pictures have sources of their own
    for command in commands():
        if command == SERVE:  # has a test of its own
            continue
        done = subprocess.run(
            ["bash", "-c", f"PATH={shlex.quote(str(BIN))}:$PATH; set -o pipefail; {command}"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
