"""The page of ``realgrain inspect``, opened as a reader would."""

import json

import pytest

from realgrain.faces import inspect_page
from realgrain.measuring import inspect_towers
from realgrain.measuring.ledger import run_info

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def file(tiny_bundle, toy_manifest, tmp_path_factory):
    found = inspect_towers.inspect(toy_manifest, tiny_bundle, limit=6)
    path = tmp_path_factory.mktemp("inspected") / "towers.html"
    path.write_text(inspect_page.render(found, run_info([toy_manifest])))
    return path


@pytest.fixture
def opened(browser, file):
    """Open the page; whatever the browser complains of fails the test when that ends."""
    contexts, complaints = [], []

    def make(width: int, *, dark: bool):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", offline=True)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("requestfailed", lambda request: complaints.append(request.url))
        page.goto(file.as_uri())
        return page

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_looks_as_it_should(opened, axe, width, dark):
    page = opened(width, dark=dark)
    images = page.evaluate("Array.from(document.images, image => [image.complete, image.naturalWidth, image.alt])")
    assert len(images) == 1 + 6 * inspect_page.SHOWN
    assert all(complete and wide and alt for complete, wide, alt in images)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shown = page.evaluate("document.querySelector('.plot').currentSrc === document.querySelector('.plot').src")
    assert shown == (width > 640 and not dark)  # another plot where the screen is narrow or dark
    session = page.context.new_cdp_session(page)  # the page's policy lets no script of its own in
    session.send("Runtime.evaluate", {"expression": axe})
    asked = {"expression": "axe.run().then(({violations}) => JSON.stringify(violations))", "awaitPromise": True, "returnByValue": True}
    violations = json.loads(session.send("Runtime.evaluate", asked)["result"]["value"])
    assert [(each["id"], [node["target"] for node in each["nodes"]][:3]) for each in violations] == []
