"""A browser, a server behind the page, and pictures for it. All of it is skipped, with the reason, where there is no browser."""

import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import toy

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))
from serving import Server

AXE = "4.14.1"


@pytest.fixture(scope="session")
def axe(request) -> str:
    """The source of axe-core: from REALGRAIN_AXE, from where an earlier run left it, or from npm."""
    named = os.environ.get("REALGRAIN_AXE")
    if named:
        return Path(named).read_text()
    file = Path(request.config.cache.mkdir("axe-core")) / f"axe-{AXE}.min.js"
    if not file.exists():
        if shutil.which("npm") is None:
            pytest.skip("axe-core is fetched by npm, which is not there; REALGRAIN_AXE names a copy of axe.min.js")
        found = subprocess.run(["npm", "pack", f"axe-core@{AXE}"], cwd=file.parent, capture_output=True, text=True, timeout=120, check=False)
        if found.returncode:
            pytest.skip(f"axe-core cannot be fetched: {found.stderr.strip()[-200:]}")
        with tarfile.open(file.parent / f"axe-core-{AXE}.tgz") as packed:
            content = packed.extractfile("package/axe.min.js")
            assert content is not None
            file.write_bytes(content.read())
    return file.read_text()


@pytest.fixture(scope="session")
def server(tiny_bundle, session_home, tmp_path_factory):
    """A real server with the toy detector and no keys."""
    made = Server(tiny_bundle.folder, tmp_path_factory.mktemp("page") / "data", "--rate", "100000/minute")
    yield made
    made.stop()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory, toy_pictures, tiny_detector) -> dict[str, Path]:
    """One of each kind: that the toy detector flags, that it calls a photograph, with an unsigned claim, with a map
    that is localised, and one that is no picture."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    folder = tmp_path_factory.mktemp("pictures")
    found: dict[str, Path] = {}
    for path in toy_pictures:
        label = tiny_detector.detect(path).verdict.label
        if label not in found and label != "unsure":
            found[label] = folder / f"{label}{path.suffix}"
            found[label].write_bytes(path.read_bytes())
    assert {"ai", "camera"} <= set(found), "the toy detector no longer tells its own pictures apart"
    said = PngInfo()
    said.add_text(
        "parameters", "a <b>cat</b>\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model: spoofed"
    )
    file = io.BytesIO()
    Image.fromarray(toy.picture(3, fake=False, size=(280, 240))).save(file, "PNG", pnginfo=said)
    found["spoofed"] = folder / "spoofed <img src=x onerror=alert(1)>.png"
    found["spoofed"].write_bytes(file.getvalue())
    halves = [toy.picture(1, fake=False, size=(300, 300)), toy.picture(2, fake=True, size=(300, 300))]
    found["mixed"] = folder / "mixed.png"
    found["mixed"].write_bytes(toy.saved(np.concatenate(halves, axis=1)))
    found["broken"] = folder / "broken.jpg"
    found["broken"].write_bytes(toy.saved(toy.picture(4, fake=False), "JPEG")[:400])
    if importlib.util.find_spec("av") is not None:
        from filming import filmed, take

        found["clip"] = folder / "clip.mp4"
        found["clip"].write_bytes(filmed((take(1, fake=False), 20), (take(2, fake=True), 10), codec="h264"))
    return found


@pytest.fixture
def open_page(new_page, server):
    """Open the page as a kind of reader would; whatever it complains of fails the test when that ends."""

    def make(url: str = server.url, *, phone: bool = False, dark: bool = False, quiet: bool = True):
        size = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 900}
        page, complaints = new_page(viewport=size, color_scheme="dark" if dark else "light", has_touch=phone, accept_downloads=True)
        page.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
        page.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text or "TrustedHTML" in said.text else None)
        page.goto(url)
        page.get_by_role("heading", name="Pictures to judge").wait_for()
        return page

    return make


@pytest.fixture
def open_file(new_page):
    """Open a page that loads nothing, without a network; whatever the browser complains of fails the test when that ends."""

    def make(file: Path, width: int, *, dark: bool):
        page, complaints = new_page(viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", offline=True)
        page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("requestfailed", lambda request: complaints.append(request.url))
        page.goto(file.as_uri())
        return page

    return make


@pytest.fixture
def violations(axe):
    """What axe-core finds wrong with a page: rule, and the first places."""

    def find(page) -> list[tuple[str, list]]:
        session = page.context.new_cdp_session(page)  # the page's policy lets no script of its own in
        session.send("Runtime.evaluate", {"expression": axe})
        asked = {"expression": "axe.run().then(({violations}) => JSON.stringify(violations))", "awaitPromise": True, "returnByValue": True}
        found = json.loads(session.send("Runtime.evaluate", asked)["result"]["value"])
        return [(each["id"], [node["target"] for node in each["nodes"]][:3]) for each in found]

    return find
