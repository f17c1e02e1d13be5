"""The page of ``realgrain inspect``, opened as a reader would."""

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


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_looks_as_it_should(open_file, violations, file, width, dark):
    page = open_file(file, width, dark=dark)
    images = page.evaluate("Array.from(document.images, image => [image.complete, image.naturalWidth, image.alt])")
    assert len(images) == 1 + 6 * inspect_page.SHOWN
    assert all(complete and wide and alt for complete, wide, alt in images)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shown = page.evaluate("document.querySelector('.plot').currentSrc === document.querySelector('.plot').src")
    assert shown == (width > 640 and not dark)  # another plot where the screen is narrow or dark
    assert violations(page) == []
