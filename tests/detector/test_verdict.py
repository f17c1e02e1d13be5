import math

import numpy as np
import pytest

from realgrain.detector.calibration import Calibration, OperatingPoint, rate
from realgrain.detector.decision import trained
from realgrain.detector.verdict import decide

AI, CAMERA, SMALLEST = 1.5, -0.5, 128


@pytest.fixture
def card(tiny_bundle):
    point = OperatingPoint(
        ai=AI,
        camera=CAMERA,
        target_fpr=0.05,
        target_miss=0.1,
        false_positive=rate([True] + [False] * 19),
        missed=rate([True] + [False] * 9),
        false_positive_per_source={},
        deliveries=("clean",),
    )
    scale = Calibration(method="platt", slope=2, intercept=0.5)
    return tiny_bundle.card.model_copy(update={"operating_point": point, "calibration": scale, "smallest_side": SMALLEST})


def above(value):
    return math.nextafter(value, math.inf)


def below(value):
    return math.nextafter(value, -math.inf)


@pytest.mark.parametrize(
    ("logit", "side", "label", "reasons"),
    [
        (9.0, 500, "ai", []),
        (AI, 500, "ai", []),
        (below(AI), 500, "unsure", ["near_threshold"]),
        (0.0, 500, "unsure", ["near_threshold"]),
        (above(CAMERA), 500, "unsure", ["near_threshold"]),
        (CAMERA, 500, "camera", []),
        (-9.0, 500, "camera", []),
        (9.0, SMALLEST, "ai", []),
        (-9.0, SMALLEST, "camera", []),
        (9.0, SMALLEST - 1, "unsure", ["too_small"]),
        (-9.0, SMALLEST - 1, "unsure", ["too_small"]),
        (0.0, SMALLEST - 1, "unsure", ["too_small", "near_threshold"]),
    ],
)
def test_every_branch(card, logit, side, label, reasons):
    verdict, chance = decide(logit, side, card)
    assert (verdict.label, verdict.reasons) == (label, reasons)
    assert chance == pytest.approx(1 / (1 + math.exp(-(2 * logit + 0.5))))
    assert (verdict.threshold, verdict.false_positive, verdict.missed) == (AI, card.operating_point.false_positive, card.operating_point.missed)


@pytest.mark.parametrize("missing", ["calibration", "operating_point"])
def test_uncalibrated(card, missing):
    verdict, chance = decide(9.0, 500, card.model_copy(update={missing: None}))
    assert (verdict.label, verdict.reasons, chance) == ("unsure", ["uncalibrated"], None)
    assert verdict.threshold is verdict.false_positive is verdict.missed is None


def test_thresholds_that_meet_leave_no_gap(card):
    met = card.model_copy(update={"operating_point": card.operating_point.model_copy(update={"camera": AI})})
    assert [decide(logit, 500, met)[0].label for logit in (below(AI), AI, above(AI))] == ["camera", "ai", "ai"]


@pytest.mark.parametrize(("logit", "label"), [(9.0, "ai"), (-9.0, "camera"), (0.0, "unsure")])
@pytest.mark.parametrize("worth", [0, 20])
def test_programs_learn_whether_it_tells_anything(card, logit, label, worth):
    right = rate([True] * worth + [False] * (20 - worth))
    found = trained(card, "").model_copy(update={"caught": right, "passed": right})
    verdict, _ = decide(logit, 500, card, found)
    assert verdict.label == label
    assert verdict.tells_little == (None if label == "unsure" else worth == 0)
    assert decide(logit, 500, card)[0].tells_little is None


def test_the_stated_threshold_decides(card):
    """What a report says of its threshold is what it went by, whatever the probability."""
    for logit in np.linspace(-3, 3, 61):
        verdict, _ = decide(float(logit), 500, card)
        assert (verdict.label == "ai") == (logit >= verdict.threshold)
