from dataclasses import replace

import numpy as np
import pytest
import toy
from hypothesis import given, settings
from hypothesis import strategies as st

from realgrain.detector.calibration import Calibration, probability
from realgrain.detector.decision import Decision, Policy
from realgrain.detector.detect import load
from realgrain.detector.stability import PICTURE, VIEWS, changed, stability
from realgrain.detector.verdict import Report, decide
from realgrain.faces.cli import main

SCALE = Calibration(method="platt", slope=1)
NAMES = ["jpeg-90", "jpeg-70", "jpeg-50", "half", "flip", "crop-0.9"]


@pytest.fixture(scope="module")
def plain(tiny_bundle):
    return load(tiny_bundle, threads=1, policy=Policy(stability=False))


def planted(bundle, ai, camera):
    """A bundle without profiles, and with other thresholds."""
    point = bundle.card.operating_point.model_copy(update={"ai": ai, "camera": camera})
    return replace(bundle, card=bundle.card.model_copy(update={"operating_point": point, "profiles": {}}))


class TestViews:
    def test_names_and_shapes(self):
        pixels = toy.picture(0, fake=False, size=(400, 300))
        found = dict(changed(pixels, 128))
        assert list(found) == NAMES == list(VIEWS)
        assert [found[name].shape for name in NAMES] == [(300, 400, 3)] * 3 + [(150, 200, 3), (300, 400, 3), (270, 360, 3)]
        assert np.array_equal(found["flip"], pixels[:, ::-1])
        assert all(not np.array_equal(found[name], pixels) for name in NAMES)

    def test_none_is_too_small_to_judge(self):
        assert [name for name, _ in changed(toy.picture(0, fake=False, size=(200, 150)), 128)] == [*NAMES[:3], "flip", "crop-0.9"]
        assert [name for name, _ in changed(toy.picture(0, fake=False, size=(200, 130)), 128)] == [*NAMES[:3], "flip"]
        assert [name for name, _ in changed(toy.picture(0, fake=False, size=(100, 60)), 128)] == [*NAMES[:3], "flip"]

    @settings(deadline=None, max_examples=15)
    @given(st.integers(1, 40), st.integers(1, 40))
    def test_any_size(self, width, height):
        pixels = np.full((height, width, 3), 7, np.uint8)
        assert {"flip", "jpeg-50"} <= {name for name, _ in changed(pixels, 1)}
        assert (pixels == 7).all()


class TestSummary:
    def test_values(self):
        found = stability(0.5, {"a": -1.0, "b": 2.0}, SCALE)
        assert [view.name for view in found.views] == [PICTURE, "a", "b"]
        assert (found.minimum, found.median, found.maximum) == tuple(float(probability(SCALE, logit)) for logit in (-1.0, 0.5, 2.0))
        assert found.logits == [0.5, -1.0, 2.0]

    def test_without_a_scale(self):
        found = stability(0.5, {"a": 1.0}, None)
        assert (found.minimum, found.median, found.maximum, found.views[1].probability) == (None, None, None, None)


class TestVerdict:
    @pytest.mark.parametrize(
        ("logit", "others", "label", "reasons"),
        [
            (2.0, [1.0, 3.0], "ai", []),
            (2.0, [0.5, 3.0], "ai", []),
            (2.0, [0.4, 3.0], "unsure", ["unstable"]),
            (2.0, [-5.0, 3.0], "unsure", ["unstable"]),
            (-2.0, [-1.0, -3.0], "camera", []),
            (-2.0, [0.4, -3.0], "camera", []),
            (-2.0, [0.5, -3.0], "unsure", ["unstable"]),
            (0.5, [2.0, 3.0], "unsure", ["near_threshold"]),
        ],
    )
    def test_stands_only_where_all_are_on_its_side_of_the_middle(self, tiny_bundle, logit, others, label, reasons):
        card = planted(tiny_bundle, 1.0, 0.0).card if logit > -2 else planted(tiny_bundle, 2.0, -1.0).card
        seen = stability(logit, {str(index): value for index, value in enumerate(others)}, SCALE)
        verdict, _ = decide(logit, 500, card, None, seen)
        assert (verdict.label, verdict.reasons) == (label, reasons)

    def test_without_a_threshold_of_camera_it_stays_flagged(self, tiny_bundle):
        card = tiny_bundle.card
        only = Decision(profile=None, asked_fpr=0.05, ai=1.0, fitted=card.made, bundle="")
        labels = [decide(2.0, 500, card, only, stability(2.0, {"a": other}, SCALE))[0].label for other in (1.0, 0.9)]
        assert labels == ["ai", "unsure"]

    def test_planted(self, tiny_bundle, toy_pictures, tiny_detector):
        """Thresholds whose middle lies between what the detector says of a picture and what it says of it saved again."""
        report = tiny_detector.detect(toy_pictures[-1])
        lowest = min(report.stability.logits)
        assert lowest < report.logit
        for middle, label, reasons in (((report.logit + lowest) / 2, "unsure", ["unstable"]), (lowest, "ai", [])):
            detector = load(planted(tiny_bundle, report.logit, 2 * middle - report.logit), threads=1)
            found = detector.detect(toy_pictures[-1])
            assert (found.verdict.label, found.verdict.reasons) == (label, reasons)
            assert load(detector.bundle, threads=1, policy=Policy(stability=False)).detect(toy_pictures[-1]).verdict.label == "ai"
            assert ("changes with a re-save" in found.sentence) == (label == "unsure")


class TestScore:
    def test_is_the_pictures_own_to_the_last_bit(self, tiny_detector, plain, toy_pictures):
        for path in toy_pictures[::9]:
            with_, without = tiny_detector.detect(path), plain.detect(path)
            assert (with_.logit, with_.view_logits, with_.probability) == (without.logit, without.view_logits, without.probability)
            assert without.stability is None
            assert with_.stability.views[0].logit == with_.logit
            assert with_.stability.minimum <= with_.probability <= with_.stability.maximum

    def test_of_a_view_is_that_of_the_changed_picture(self, tiny_detector, plain):
        pixels = toy.picture(3, fake=True, size=(300, 280))
        report = tiny_detector.detect(toy.saved(pixels))
        found = {view.name: view.logit for view in report.stability.views}
        for name, view in changed(pixels, tiny_detector.bundle.card.smallest_side):
            assert found[name] == pytest.approx(plain.detect(toy.saved(view)).logit, abs=1e-5)

    def test_many_at_once(self, tiny_detector, toy_pictures):
        assert list(tiny_detector.detect_many(toy_pictures[:3])) == [tiny_detector.detect(path) for path in toy_pictures[:3]]


def test_command(tiny_bundle, toy_pictures, capsys):
    arguments = ["detect", str(toy_pictures[0]), "--bundle", str(tiny_bundle.folder), "--json"]
    texts = []
    for flags in ([], [], ["--no-stability"]):
        assert main([*arguments, *flags]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    with_, without = Report.model_validate_json(texts[0]), Report.model_validate_json(texts[2])
    assert without.stability is None
    assert len(with_.stability.views) >= 5
    assert with_.logit == without.logit
