"""Short videos on the page, in a real browser."""

import re

import pytest
from browsing import card, choose
from filming import filmed, take

from realgrain.detector.clips import detect_clip

pytest.importorskip("av", reason="no clips without the extra video")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    data = filmed((take(1, fake=False), 20), (take(2, fake=True), 10), codec="h264")
    found = {"clip": folder / "clip.mp4", "cut": folder / "cut.mp4"}
    found["clip"].write_bytes(data)
    found["cut"].write_bytes(data[: len(data) // 2])
    return found


def test_frames_scores_and_timeline(open_page, clips, pictures):
    page = open_page()
    choose(page, clips["clip"], clips["cut"], pictures["camera"])
    shown = card(page, "clip.mp4")
    shown.get_by_text("Unsure: no verdict (there is no calibration for what was asked)").first.wait_for()
    assert shown.get_by_text("There are no error rates for videos yet").is_visible()
    drawn = shown.get_by_role("img", name=re.compile(r"Probability of AI of 6 frames over 3\.0 seconds"))
    assert drawn.locator("circle").count() == 6 and drawn.locator(".border").count() == 1
    assert drawn.locator("polyline").get_attribute("points").count(",") == 6
    rows = shown.get_by_role("table", name="Frames of clip.mp4").locator("tbody tr")
    assert rows.count() == 6 and rows.nth(5).inner_text().split("\t")[1] == "2"
    assert re.match(r"^[01]\.\d{3}$", rows.nth(0).inner_text().split("\t")[2])
    refused = card(page, "cut.mp4")
    refused.get_by_text("could not be judged").wait_for()
    card(page, pictures["camera"].name).locator(".lead.camera").wait_for()


RATED = {
    "camera": ("called a recording", "Of 1,000 AI-generated videos like those that it was calibrated with, about 200 are called a recording"),
    "ai": ("Flagged as AI-generated", "Of 1,000 real videos like those that it was calibrated with, about 50 are flagged like this"),
    "unsure": ("Unsure: no verdict", "of 1,000 real videos like those that it was calibrated with it flags about 50 by mistake"),
}


@pytest.mark.parametrize("label", RATED)
def test_verdict_of_a_calibrated_detector(open_page, clips, tiny_detector, label):
    report = detect_clip(tiny_detector, clips["clip"]).model_dump(mode="json")
    report["verdict"] = {"label": label, "reasons": []}
    for name, value in (("false_positive", 0.05), ("missed", 0.2)):
        report["decision"][name] = {"value": value, "low": value / 2, "high": 2 * value, "n": 100}
    page = open_page()
    page.route("**/v1/detect*", lambda route: route.fulfill(json=report))
    choose(page, clips["clip"])
    lead = card(page, "clip.mp4").locator(f".lead.{label}")
    called, wrong = RATED[label]
    lead.get_by_text(called).first.wait_for()
    assert wrong in lead.inner_text() and "not what this detector was validated on" in lead.inner_text()
    assert called in page.locator("#entries").inner_text()


def test_frame_is_shown_by_keyboard(open_page, clips):
    page = open_page()
    choose(page, clips["clip"])
    shown = card(page, "clip.mp4")
    shown.get_by_role("table").wait_for()
    video = shown.locator("video")
    if not video.count():
        pytest.skip("this browser plays no H.264")
    button = shown.get_by_role("button", name="Show the frame at 2.20 s")
    button.focus()
    page.keyboard.press("Enter")
    page.locator("#live").get_by_text("The video stands at 2.20 s.").wait_for()
    assert video.evaluate("node => node.currentTime") == pytest.approx(2.2)
