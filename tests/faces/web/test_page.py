"""The page in a real browser, against a real server on this machine."""

import importlib.util
import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import toy
from browsing import card, choose
from serving import Server

from realgrain.detector.calibration import Calibration
from realgrain.detector.detect import load

pytestmark = pytest.mark.slow
SEEN = {"desktop": False, "phone": True}


def has_focus(page, selector: str) -> bool:
    return page.locator(selector).evaluate("node => node === document.activeElement")


def drop(page, *paths: Path) -> None:
    """As a hand does it, through the browser's own handling of files."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})


class TestPictures:
    def test_by_drop_an_ai_and_a_real_one_side_by_side(self, open_page, pictures, tiny_detector):
        page = open_page()
        drop(page, pictures["ai"], pictures["camera"])
        flagged, photograph = card(page, pictures["ai"].name), card(page, pictures["camera"].name)
        flagged.get_by_text("Flagged as AI-generated").wait_for()
        photograph.get_by_text("Not flagged: called a photograph").wait_for()
        assert re.search(r"Of 1,000 real pictures, about [\d.]+ are flagged like this by mistake", flagged.inner_text())
        assert re.search(r"at worst [\d.]+ of 1,000 .* whose source the threshold was set without", flagged.inner_text())
        assert re.search(r"Of 1,000 AI-generated pictures, about [\d.]+ are called a photograph", photograph.inner_text())
        assert re.search(r"at worst [\d.]+ of 1,000 .* whose generator the threshold was set without", photograph.inner_text())
        assert flagged.get_by_role("img", name=re.compile("Scale of the probability")).count() == 1
        versions = flagged.get_by_role("list", name=re.compile("Probability of each version")).get_by_role("listitem")
        assert versions.count() == len(tiny_detector.detect(pictures["ai"]).stability.views) > 1
        one, other = flagged.bounding_box(), photograph.bounding_box()
        assert one["y"] == other["y"] and one["x"] + one["width"] <= other["x"]

    def test_by_keyboard_alone(self, open_page, pictures):
        page = open_page()
        page.on("filechooser", lambda _: None)  # from now on, and not from some time after the key is pressed
        page.keyboard.press("Tab")
        assert page.locator(":focus").inner_text() == "Skip to the results"
        page.keyboard.press("Tab")
        with page.expect_file_chooser() as chosen:
            page.keyboard.press("Enter")
        chosen.value.set_files(pictures["ai"])
        page.locator("#live").get_by_text(f"{pictures['ai'].name}: Flagged as AI-generated").wait_for()
        page.get_by_role("button", name=f"Put away {pictures['ai'].name}").focus()
        page.keyboard.press("Enter")
        assert not card(page, pictures["ai"].name).is_visible()
        assert "put away" in page.locator(":focus").inner_text()  # the focus is at its place in the history
        page.keyboard.press("Enter")
        assert card(page, pictures["ai"].name).is_visible() and page.locator(":focus").inner_text() == pictures["ai"].name
        page.get_by_role("button", name="Forget all").press("Enter")
        assert page.get_by_role("article").count() == 0 and page.get_by_text("None yet.").is_visible()

    def test_pasted(self, open_page, pictures):
        page = open_page()
        session = page.context.new_cdp_session(page)
        data = list(toy.saved(toy.picture(5, fake=True, size=(200, 200))))
        paste = f"""const all = new DataTransfer(); all.items.add(new File([new Uint8Array({data})], "pasted.png", {{type: "image/png"}}));
            document.dispatchEvent(new ClipboardEvent("paste", {{clipboardData: all, bubbles: true}}))"""
        session.send("Runtime.evaluate", {"expression": paste})
        card(page, "pasted.png").locator(".lead .verdict").wait_for()

    def test_broken_one_is_refused_in_words_and_stops_nothing(self, open_page, pictures):
        page = open_page()
        choose(page, pictures["broken"], pictures["camera"])
        refused = card(page, "broken.jpg")
        refused.get_by_text("could not be judged").wait_for()
        assert refused.get_by_text(re.compile("The picture (is damaged|ends early)")).is_visible()
        assert refused.get_by_text(re.compile(r"The server says: broken\.jpg: .+ \((truncated|corrupt)\)")).is_visible()
        assert refused.get_by_role("button", name="Try again").is_visible()
        card(page, pictures["camera"].name).get_by_text("called a photograph", exact=False).first.wait_for()

    def test_spoofed_one_shows_an_unsigned_claim_and_runs_nothing(self, open_page, pictures):
        page = open_page()
        choose(page, pictures["spoofed"])
        shown = card(page, pictures["spoofed"].name)
        claim = shown.locator(".claims > li.unsigned").first
        claim.wait_for()
        assert "unsigned claim" in claim.inner_text() and "spoofed" in claim.inner_text()
        assert page.locator("article b, article img[src='x']").count() == 0

    def test_screenshot_is_unlike_and_what_to_do_is_said(self, open_page, tmp_path):
        page, shown = open_page(), np.full((600, 400, 3), 250, np.uint8)
        shown[150:450] = toy.picture(5, fake=False, size=(400, 300))
        (tmp_path / "post.png").write_bytes(toy.saved(shown))
        choose(page, tmp_path / "post.png")
        said = card(page, "post.png").get_by_text(re.compile("^It has long straight borders of one colour"))
        said.wait_for()
        assert "1.33 of its longer side" in said.inner_text() and "Cut the photograph out of it and judge that" in said.inner_text()

    def test_folder_is_refused_at_once(self, open_page, pictures, tmp_path):
        page = open_page()
        (tmp_path / "holiday").mkdir()
        drop(page, tmp_path / "holiday", pictures["ai"])
        refused = card(page, "holiday")
        refused.get_by_text("This is no file. Choose pictures, not folders.").wait_for()
        assert refused.get_by_role("button", name="Try again").count() == 0 and "The server" not in refused.inner_text()
        card(page, pictures["ai"].name).locator(".lead.ai").wait_for()


def test_every_word_is_of_the_file_of_strings(open_page, pictures, tmp_path):
    """In a language that marks its sentences: what is not marked are names, numbers, and what the server says of the file and of the detector."""
    page = open_page()

    def marked(route):
        route.fulfill(json={key: text if key == "lang" else f"\u27e6{text}\u27e7" for key, text in route.fetch().json().items()})

    page.route("**/strings.json", marked)
    page.reload()
    names = ("ai", "camera", "mixed", "spoofed", "broken", *(["clip"] if "clip" in pictures else []))
    choose(page, *(pictures[name] for name in names))
    for name in names:
        card(page, pictures[name].name).locator(".lead").wait_for()
    card(page, pictures["mixed"].name).locator("button", has_text="Show the map").click()
    card(page, pictures["mixed"].name).locator("input[type=range]").wait_for()
    said = page.locator("body").evaluate(
        """body => [...body.querySelectorAll("*")].filter(node => !["H1", "H3", "DD", "SCRIPT"].includes(node.tagName)).flatMap(node => [
            ...["alt", "aria-label", "aria-valuetext"].map(name => node.getAttribute(name) ?? ""),
            [...node.childNodes].filter(part => part.nodeType === 3).map(part => part.data).join("")])"""
    )
    assert sum("\u27e6" in text for text in said) > 100
    left = []
    for text in said:
        while text != (text := re.sub("\u27e6[^\u27e6\u27e7]*\u27e7", "", text)):
            pass
        left += re.findall(r"\S*[^\W\d_]\S*|[,;:()] ", text)
    assert left == []


class TestMore:
    def test_map_with_a_slider_and_case_report_to_save(self, open_page, pictures, tmp_path):
        from realgrain.faces.case import Case

        page = open_page()
        choose(page, pictures["mixed"])
        name = pictures["mixed"].name
        page.get_by_role("button", name=f"Show the map of {name}").click()
        shown = card(page, name)
        shown.get_by_text("Logit of each tile").wait_for()
        drawn = shown.get_by_alt_text("The same picture with the logit of each tile written on it")
        slider = shown.get_by_role("slider", name="Strength of the map")
        assert slider.evaluate("node => node === document.activeElement")
        slider.press("ArrowLeft")
        assert drawn.evaluate("node => node.style.opacity") == "0.99" and slider.get_attribute("aria-valuetext") == "99%"
        size, below = drawn.bounding_box(), shown.get_by_alt_text(f"The picture {name}").bounding_box()
        assert size == pytest.approx(below, abs=1)  # they lie on each other
        page.get_by_role("button", name=f"Make the case report of {name}").click()
        saved = {}
        for kind, label in (("html", "Save as a page"), ("json", "Save for programs")):
            with page.expect_download() as download:
                shown.get_by_role("button", name=label).click()
            assert download.value.suggested_filename == f"mixed.case.{kind}"
            saved[kind] = tmp_path / kind
            download.value.save_as(saved[kind])
        case = Case.model_validate_json(saved["json"].read_bytes())
        assert case.content() == saved["json"].read_bytes()
        assert case.report.picture.name == name and case.report.picture.sha256 in saved["html"].read_text()

    def test_map_stands_alone_where_the_browser_shows_no_picture(self, open_page, pictures, tmp_path):
        from PIL import Image

        Image.open(pictures["mixed"]).save(tmp_path / "mixed.tiff")
        page = open_page()
        choose(page, tmp_path / "mixed.tiff")
        shown = card(page, "mixed.tiff")
        shown.get_by_text("This browser cannot show this file.").wait_for()
        page.get_by_role("button", name="Show the map of mixed.tiff").click()
        shown.get_by_text("Logit of each tile").wait_for()
        assert shown.locator(".frame > *").count() == 1 and shown.get_by_role("slider").count() == 0
        assert shown.get_by_alt_text("The same picture with the logit of each tile written on it").bounding_box()["height"] > 100

    def test_what_is_forgotten_is_sent_no_more_and_says_no_more(self, open_page, pictures):
        page, held = open_page(), []
        choose(page, pictures["camera"])
        page.get_by_role("button", name="Show the map").wait_for()
        page.route(re.compile("/v1/"), lambda route: held.append(route), times=3)
        page.get_by_role("button", name="Show the map").click()
        choose(page, pictures["broken"], pictures["mixed"], pictures["spoofed"])
        while len(held) < 3:
            page.wait_for_timeout(50)
        page.get_by_role("button", name="Forget all").click()
        page.wait_for_timeout(500)
        assert page.locator("#live").inner_text() == "All pictures are forgotten."
        choose(page, pictures["ai"])
        card(page, pictures["ai"].name).locator(".lead.ai").wait_for()

    def test_nothing_is_stored(self, open_page, pictures):
        page = open_page()
        choose(page, pictures["ai"])
        card(page, pictures["ai"].name).locator(".lead").wait_for()
        state = page.context.storage_state(indexed_db=True)
        assert state == {"cookies": [], "origins": []}
        page.reload()
        assert page.get_by_role("article").count() == 0


def test_server_gone_and_back_loses_nothing(open_page, tiny_bundle, pictures, tmp_path):
    first = Server(tiny_bundle.folder, tmp_path / "data")
    page = open_page(first.url)
    choose(page, pictures["camera"])
    card(page, pictures["camera"].name).locator(".lead.camera").wait_for()
    first.kill()
    choose(page, pictures["ai"])
    page.get_by_role("alert").get_by_text("The server does not answer").wait_for()
    page.get_by_role("alert").get_by_text("Waiting: 1.").wait_for()
    assert card(page, pictures["camera"].name).locator(".lead.camera").is_visible()
    page.get_by_role("button", name="Try again now").focus()
    second = Server(tiny_bundle.folder, tmp_path / "data", port=first.port)
    try:
        card(page, pictures["ai"].name).locator(".lead.ai").wait_for()
        page.get_by_role("alert").wait_for(state="hidden")
        assert has_focus(page, "#results")  # which was in what is hidden now
    finally:
        second.stop()


def test_no_scale_is_drawn_where_logits_tell_nothing(open_page, pictures, tiny_bundle):
    """All versions, and both thresholds, would lie on one point."""
    card_ = tiny_bundle.card.model_copy(update={"calibration": Calibration(method="platt", slope=0)})
    report = load(replace(tiny_bundle, card=card_), threads=1).detect(pictures["ai"])
    page = open_page()
    page.route("**/v1/detect*", lambda route: route.fulfill(json=report.model_dump(mode="json")))
    choose(page, pictures["ai"])
    shown = card(page, pictures["ai"].name)
    shown.get_by_text("whatever the logit is").wait_for()
    assert f"The logit is {report.logit:.3f}" in shown.inner_text()
    assert shown.get_by_role("img", name=re.compile("Scale of the probability")).count() == 0
    assert shown.locator(".strip circle").count() == 0 and f"{report.stability.views[1].logit:.2f}" in shown.inner_text()


def test_proxy_that_misses_its_server_is_no_answer(open_page, pictures):
    page = open_page()
    page.route(
        re.compile("/(v1/detect|health|ready)"), lambda route: route.fulfill(status=502, content_type="text/html", body="<h1>Bad Gateway</h1>")
    )
    choose(page, pictures["ai"], pictures["camera"], pictures["mixed"])
    page.get_by_role("alert").get_by_text("Waiting: 3.").wait_for()
    page.unroute_all()
    for name in ("ai", "camera", "mixed"):
        card(page, pictures[name].name).locator(".lead .sign:text-matches('[▲●◆]')").wait_for()


def test_proxy_that_takes_no_large_files(open_page, pictures):
    page = open_page()
    page.route("**/v1/detect*", lambda route: route.fulfill(status=413, content_type="text/html", body="<h1>Request Entity Too Large</h1>"))
    choose(page, pictures["ai"])
    card(page, pictures["ai"].name).get_by_text("The file is larger than this server takes.").wait_for()


def test_busy_server_is_left_alone_for_as_long_as_it_asks(open_page, pictures):
    page, asked = open_page(), []

    def busy(route):
        asked.append(time.monotonic())
        if len(asked) > 10:
            route.continue_()
        else:
            body = {"code": "store_away", "detail": "the server's store does not answer"}
            route.fulfill(status=503, headers={"Retry-After": "1"}, content_type="application/problem+json", body=json.dumps(body))

    page.route("**/v1/detect*", busy)
    choose(page, pictures["ai"], pictures["camera"], pictures["mixed"])
    page.get_by_text("The server cannot reach its database at the moment. Tried again in 1 s.").first.wait_for()
    for name in ("ai", "camera", "mixed"):
        card(page, pictures[name].name).locator(".lead .sign:text-matches('[▲●◆]')").wait_for()
    assert len(asked) == 13 and min(asked[turn + 2] - asked[turn + 1] for turn in range(0, 10, 2)) > 0.8


def test_key_is_asked_for_and_pictures_wait_for_it(open_page, tiny_bundle, pictures, tmp_path):
    from realgrain.faces.server.auth import make_key
    from realgrain.faces.server.service import open_store
    from realgrain.faces.server.settings import Settings

    data = tmp_path / "data"
    store = open_store(Settings(data=data))
    key = make_key(store, "tests", ("detect",))
    store.close()
    server = Server(tiny_bundle.folder, data)
    try:
        page = open_page(server.url)
        field = page.get_by_label("This server asks for an API key")
        field.wait_for()
        choose(page, pictures["ai"])
        field.fill("rg_wrong")
        page.get_by_role("button", name="Use this key").click()
        page.get_by_text("The server does not accept this key.").wait_for()
        refused = {"status": 429, "headers": {"Retry-After": "1"}, "content_type": "application/problem+json"}
        page.route("**/v1/model", lambda route: route.fulfill(**refused, body='{"code": "too_many_requests", "detail": ""}'), times=1)
        field.fill(key)
        field.press("Enter")
        page.get_by_text("There were more requests than the server allows. Tried again in 1 s.").wait_for()
        card(page, pictures["ai"].name).locator(".lead.ai").wait_for()
        assert not field.is_visible() and has_focus(page, "#results")
    finally:
        server.stop()


@pytest.mark.parametrize("device", SEEN)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_serious(open_page, axe, pictures, device, dark):
    page = open_page(phone=SEEN[device], dark=dark)
    session = page.context.new_cdp_session(page)  # evaluates in spite of the policy, which stays in force for the page
    session.send("Runtime.evaluate", {"expression": axe})

    def found() -> list[str]:
        asked = {"expression": "axe.run().then(({violations}) => JSON.stringify(violations))", "awaitPromise": True, "returnByValue": True}
        violations = json.loads(session.send("Runtime.evaluate", asked)["result"]["value"])
        return [
            f"{one['id']} ({one['impact']}): {node['html'][:200]}"
            for one in violations
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]

    assert found() == []
    choose(page, *pictures.values())
    for path in pictures.values():
        card(page, path.name).locator(".lead").wait_for()
    card(page, pictures["ai"].name).locator("summary").click()
    page.get_by_role("button", name=f"Show the map of {pictures['mixed'].name}").click()
    card(page, pictures["mixed"].name).get_by_role("slider").wait_for()
    time.sleep(0.3)  # what appears has appeared
    assert found() == []
    width = session.send("Runtime.evaluate", {"expression": "document.documentElement.scrollWidth - innerWidth", "returnByValue": True})["result"][
        "value"
    ]
    assert width <= 0, "the page is wider than the screen"


@pytest.mark.weights
@pytest.mark.skipif("REALGRAIN_SCREENSHOTS" not in os.environ, reason="REALGRAIN_SCREENSHOTS names no folder for screenshots")
def test_screenshots(open_page, real_home, tmp_path):
    """Two photographs that scikit-image carries, judged by the detector that is shipped."""
    from realgrain.detector.bundle import DEFAULT

    skimage = importlib.util.find_spec("skimage")
    if skimage is None or skimage.origin is None:
        pytest.skip("the pictures of the screenshots are scikit-image's, which is not installed")
    data = Path(skimage.origin).parent / "data"
    server = Server(DEFAULT, tmp_path / "data", env={"REALGRAIN_HOME": str(real_home)})
    try:
        for name, options, size in (("page", {}, (1280, 1500)), ("page-phone", {"phone": True, "dark": True}, (390, 1700))):
            page = open_page(server.url, **options)
            page.set_viewport_size({"width": size[0], "height": size[1]})
            shown = [data / "coffee.png", data / "chelsea.png"] if name == "page" else [data / "coffee.png"]
            choose(page, *shown)
            for path in shown:
                card(page, path.name).locator(".lead").wait_for(timeout=240_000)
            page.keyboard.press("Control+Home")
            time.sleep(0.5)
            file = Path(os.environ["REALGRAIN_SCREENSHOTS"]) / f"{name}.png"
            page.screenshot(path=file)
            _small(file)
            assert file.stat().st_size < 300_000
    finally:
        server.stop()


def _small(file: Path) -> None:
    """256 colours are enough for a page."""
    from PIL import Image

    Image.open(file).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)
