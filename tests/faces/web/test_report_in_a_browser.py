"""The page of ``realgrain report``, opened as a reader would."""

import io

import pytest
from PIL import Image

from realgrain.faces.cli import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=[1, 2, 5], ids=["one run", "two runs", "five runs"])
def file(request, done, tree, tmp_path_factory):
    path = tmp_path_factory.mktemp("reported") / "report.html"
    assert main(["report", *[str(done)] * request.param, "-o", str(path), "--pictures", str(tree), "--resamples", "20"]) == 0
    return path


@pytest.fixture(scope="module")
def wide(tree, tiny_bundle, tmp_path_factory):
    """Five runs in all conditions."""
    folder = tmp_path_factory.mktemp("wide")
    arguments = ["--bundle", str(tiny_bundle.folder), "--offline", "--resamples", "0", "--limit", "1", "--conditions", "all"]
    assert main(["bench", "run", "genimage", str(tree), "-o", str(folder / "run"), *arguments]) == 0
    assert main(["report", *[str(folder / "run")] * 5, "-o", str(folder / "report.html"), "--resamples", "5"]) == 0
    return folder / "report.html"


@pytest.mark.parametrize("width", [1100, 1280])
def test_five_runs_in_all_conditions_are_compared_on_a_few_screens(open_file, wide, width):
    page = open_file(wide, width, dark=False)
    drawn = page.get_by_role("heading", name="What each condition does to them").locator("..")
    assert drawn.locator("img").count() == 8  # seven families, and deliveries
    assert drawn.bounding_box()["height"] <= 3 * 900
    assert page.get_by_role("heading", name="Robustness: JPEG quality").count() == 1
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def light(page, what: str) -> float:
    """How light a colour of the page is, 0 to 1."""
    colour = page.evaluate(f"getComputedStyle(document.body).{what}")
    return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))) / 765


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 768, 1100, 1280])
def test_looks_as_it_should(open_file, violations, file, width, dark):
    page = open_file(file, width, dark=dark)
    # What is in sight: Chromium fails now and then to draw the whole length of the page where the machine is busy.
    with Image.open(io.BytesIO(page.screenshot())) as shot:
        grey = shot.convert("L").histogram()
    assert (sum(grey[:64]) if dark else sum(grey[192:])) > 0.7 * sum(grey)
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    images = page.evaluate("Array.from(document.images, image => [image.complete, image.naturalWidth, image.alt])")
    assert images and all(complete and wide and alt for complete, wide, alt in images)
    assert page.evaluate("innerWidth") == width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper, ink = light(page, "backgroundColor"), light(page, "color")
    assert (paper < 0.2 and ink > 0.8) if dark else (paper > 0.8 and ink < 0.2)
    plots = page.evaluate("Array.from(document.querySelectorAll('.plot'), plot => plot.currentSrc === plot.src)")
    assert plots and all(shown != dark for shown in plots)  # a plot on dark paper where the page is dark
    assert violations(page) == []
