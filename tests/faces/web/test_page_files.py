"""The files of the page: nothing inline, nothing from elsewhere, and every sentence in one file."""

import json
import re
from html.parser import HTMLParser
from typing import get_args

import pytest

from realgrain.detector.stability import PICTURE, VIEWS
from realgrain.detector.verdict import WHY, Label
from realgrain.evidence.claims import ABSENCE, SOURCE_TYPES, Claim, Kind, Trust
from realgrain.evidence.region_map import words
from realgrain.evidence.regions import Box, Regions, Tile
from realgrain.faces.server.app import WEB
from realgrain.faces.server.shield import CSP
from realgrain.picture.errors import Code

HTML, CSS, JS = ((WEB / name).read_text(encoding="utf-8") for name in ("index.html", "page.css", "page.js"))
STRINGS: dict[str, str] = json.loads((WEB / "strings.json").read_text(encoding="utf-8"))
FAMILIES: dict[str, set[str]] = {
    "error": set(get_args(Code)),
    "why": set(WHY),
    "verdict": set(get_args(Label)),
    "trust": set(get_args(Trust)),
    "kind": set(get_args(Kind)),
    "view": {PICTURE, *VIEWS},
    "source": set(SOURCE_TYPES),
    "claim": set(Claim.model_fields) - {"kind", "trust"},
    "side": {*get_args(Label), "none"},
    "profile": {"camera", "web", "screenshot", "art", "document", "photo", "video"},
}
"""Of whose keys the last part comes from the server: all that it can say."""


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        if data.strip():
            self.words.append(data.strip())


@pytest.fixture(scope="module")
def tags() -> Tags:
    found = Tags()
    found.feed(HTML)
    return found


def test_files_are_what_a_strict_policy_lets_through(tags):
    assert "unsafe" not in CSP and "require-trusted-types-for 'script'" in CSP
    for tag, attributes in tags.found:
        assert tag != "style" and "style" not in attributes and not any(name.startswith("on") for name in attributes)
        assert tag != "script" or attributes.get("src")
    assert tags.words == ["realgrain", "realgrain"]  # the title and the heading; everything else is in the file of strings


def test_script_makes_no_markup_of_text():
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc|DOMParser|createContextualFragment", JS
    )


def test_script_keeps_nothing():
    assert not re.search(r"localStorage|sessionStorage|indexedDB|document\.cookie|caches\.|serviceWorker", JS)


@pytest.mark.parametrize("name", sorted(path.name for path in WEB.iterdir()))
def test_nothing_comes_from_elsewhere(name):
    text = (WEB / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")  # a name, not an address
    assert not re.search(r"""https?:|["'(]//|@import|\burl\((?!#)""", text)


class TestStrings:
    def used(self) -> set[str]:
        direct = set(re.findall(r'\bt\(\s*"([^"]+)"', JS)) | set(re.findall(r'data-t="([^"]+)"', HTML))
        return direct | {f"{a}" for pair in re.findall(r'\bt\([^"()]+\? "([^"]+)" : "([^"]+)"', JS) for a in pair}

    def families(self) -> set[str]:
        return set(re.findall(r'\bknown\("(\w+)"', JS))

    def test_families_are_those_of_the_script(self):
        assert self.families() == set(FAMILIES)

    def test_every_key_that_is_used_is_there(self):
        assert self.used() <= set(STRINGS)

    def test_no_key_is_there_in_vain(self):
        of_families = {key for key in STRINGS if key.partition(".")[0] in FAMILIES}
        assert set(STRINGS) - of_families - {"lang"} <= self.used()

    @pytest.mark.parametrize("family", FAMILIES)
    def test_all_that_the_server_can_say_has_words(self, family):
        assert {f"{family}.{member}" for member in FAMILIES[family]} <= set(STRINGS)

    def test_errors_have_no_words_for_what_no_server_says(self):
        from pathlib import Path

        import realgrain

        source = "".join(path.read_text(encoding="utf-8") for path in (Path(realgrain.__file__).parent / "faces" / "server").glob("*.py"))
        of_the_page = {"other", "unreachable"}
        for code in {key.partition(".")[2] for key in STRINGS if key.startswith("error.")} - set(get_args(Code)) - of_the_page:
            assert f'"{code}"' in source

    def test_source_types_are_called_what_the_library_calls_them(self):
        assert {name: STRINGS[f"source.{name}"] for name in SOURCE_TYPES} == SOURCE_TYPES

    def test_what_the_server_says_too_is_said_alike(self):
        tiles = [Tile(box=Box(left=0, top=0, width=8, height=8), logit=logit, resaved=logit) for logit in (-1.26, 2.0)]
        for localised, key in ((True, "map.words"), (False, "map.flat")):
            found = Regions(width=8, height=8, spread=0.5, wobble=0.125, localised=localised, tiles=tiles)
            assert STRINGS[key].format(spread="0.50", wobble="0.12", low="-1.3", high="+2.0") == words(found)
        assert STRINGS["evidence.caution"] == ABSENCE

    def test_places_are_filled(self):
        """Every {place} of a sentence is named where the sentence is asked for."""
        for key, sentence in STRINGS.items():
            for name in re.findall(r"\{(\w+)\}", sentence):
                assert re.search(rf"\b{name}\b", JS), (key, name)


def test_server_gives_the_files_with_types_that_browsers_take(tiny_detector, tmp_path):
    from starlette.testclient import TestClient

    from realgrain.faces.server.app import create
    from realgrain.faces.server.settings import Settings

    with TestClient(create(Settings(data=tmp_path, auth=False, workers=1), tiny_detector), base_url="http://localhost") as client:
        for path, kind in (
            ("/", "text/html"),
            ("/page.css", "text/css"),
            ("/page.js", "javascript"),
            ("/strings.json", "application/json"),
            ("/icon.svg", "image/svg+xml"),
        ):
            answer = client.get(path)
            assert answer.status_code == 200 and kind in answer.headers["content-type"], path
            assert answer.headers["content-security-policy"] == CSP and answer.headers["x-content-type-options"] == "nosniff"
