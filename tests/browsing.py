"""A real browser for tests, and what a reader does in it. Skipped, with the reason, where there is none."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import chromium


@pytest.fixture(scope="module")
def browser():
    """Debian's chromium, or another that is on the path. Not kept longer: while it is open, its event loop is that of the whole process."""
    api = pytest.importorskip("playwright.sync_api", reason="no browser tests without playwright (extra dev)")
    found = chromium.path()
    if found is None:
        pytest.skip("no browser tests without chromium on the path; REALGRAIN_BROWSER names another")
    with api.sync_playwright() as play:
        made = play.chromium.launch(executable_path=found, args=chromium.arguments())
        yield made
        made.close()


@pytest.fixture
def new_page(browser):
    """A page in a context of its own, and where to put what is to fail the test when that ends; errors of its scripts go there by themselves."""
    contexts, complaints = [], []

    def make(**options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        return page, complaints

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


def choose(page, *paths: Path) -> None:
    """Choose pictures on the service's page."""
    page.locator("#files").set_input_files(list(paths))


def card(page, name: str):
    """What that page shows of one of them."""
    return page.get_by_role("article", name=name, exact=True)
