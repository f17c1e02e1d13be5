from dataclasses import replace

import numpy as np
import pytest
from profiled import with_groups

from realgrain.detector.bundle import Graph
from realgrain.detector.calibration import Calibration, probability
from realgrain.detector.content import CENTRES
from realgrain.detector.decision import Policy, decision_of
from realgrain.detector.detect import Detector
from realgrain.detector.domain import places
from realgrain.detector.runtime import open_runtime
from realgrain.detector.second import Rounded, close
from realgrain.picture.image import open_picture


class Off:
    """A runtime whose logits are off by as much as its card tolerates; it counts how often it is not believed."""

    name, precision, version = "off", "int8", "1"

    def __init__(self, exact, shift, tolerance, **stated):
        self._exact, self.shift, self.asked = exact, shift, 0
        self.parity = Graph(tolerance=tolerance, measured=tolerance, usual=tolerance / 2, auc_loss=0, pictures=1, **stated)

    def exact(self):
        self.asked += 1
        return self._exact

    def logits(self, views):
        return self.look(views)[0]

    def look(self, views):
        logits, features = self._exact.look(views)
        return logits + np.float32(self.shift), features


@pytest.fixture(scope="module")
def exact(tiny_bundle):
    return open_runtime("onnxruntime", tiny_bundle, threads=1)


def shifted(bundle, logit, camera=None):
    """The bundle with its threshold at a logit, and without profiles."""
    point = bundle.card.operating_point.model_copy(update={"ai": logit, "camera": logit - 50 if camera is None else camera})
    return replace(bundle, card=bundle.card.model_copy(update={"operating_point": point, "domain": None, "profiles": {}}))


@pytest.mark.parametrize("shift", [-0.05, 0.05])
@pytest.mark.parametrize("stability", [False, True])
def test_a_verdict_does_not_change_sides(tiny_bundle, exact, toy_pictures, shift, stability):
    policy = Policy(stability=stability)
    logit = Detector(tiny_bundle, exact, policy=policy).detect(toy_pictures[0]).logit
    for ai in (logit - 0.03, logit + 0.03):
        bundle = shifted(tiny_bundle, ai)
        runtime = Off(exact, shift, 0.05)
        found, right = (Detector(bundle, one, policy=policy).detect(toy_pictures[0]) for one in (runtime, exact))
        assert found.verdict == right.verdict
        crossed = (logit + shift >= ai) != (logit >= ai)
        assert (found.logit == right.logit) == crossed  # else it is not near enough to be asked again
        assert runtime.asked >= crossed


@pytest.mark.parametrize("shift", [-0.05, 0.05])
def test_a_changed_view_does_not_cross_the_middle(tiny_bundle, exact, toy_pictures, shift):
    before = Detector(tiny_bundle, exact).detect(toy_pictures[0])
    ai = before.logit + 20
    for view in before.stability.views[1:]:
        for between in (view.logit - 0.03, view.logit + 0.03):
            bundle = shifted(tiny_bundle, ai, 2 * between - ai)
            reports = [Detector(bundle, one).detect(toy_pictures[0]) for one in (Off(exact, shift, 0.05), exact)]
            sides = [[again.logit >= between for again in report.stability.views[1:]] for report in reports]
            assert sides[0] == sides[1]


def test_far_from_thresholds_it_is_believed(tiny_bundle, exact, toy_pictures):
    logit = Detector(tiny_bundle, exact).detect(toy_pictures[0]).logit
    runtime = Off(exact, 0.05, 0.05)
    found = Detector(shifted(tiny_bundle, logit + 20), runtime, policy=Policy(stability=False)).detect(toy_pictures[0])
    assert found.logit == pytest.approx(logit + 0.05, abs=1e-5)
    assert runtime.asked == 0


def test_near_the_end_of_the_domain_it_is_not(tiny_bundle, exact, toy_pictures):
    policy = Policy(stability=False)
    place = Detector(tiny_bundle, exact, policy=policy).detect(toy_pictures[0]).domain
    for gap, asked in ((0.001, 1), (0.1, 0)):
        bundle = shifted(tiny_bundle, 1000.0)
        domain = tiny_bundle.card.domain.model_copy(update={"threshold": place.distance + gap})
        bundle = replace(bundle, card=bundle.card.model_copy(update={"domain": domain}))
        runtime = Off(exact, 0.05, 0.05, usual_distance=0.01)
        Detector(bundle, runtime, policy=policy).detect(toy_pictures[0])
        assert runtime.asked == asked


@pytest.mark.parametrize(("second", "asked"), [(9.0, 1), (-9.0, 0)])
def test_nearly_between_two_groups_it_is_not_where_the_verdict_hangs_on_it(tiny_bundle, exact, toy_pictures, second, asked):
    """Of two groups with centres that are hardly apart, one whose thresholds make another verdict of the picture, and one whose do not."""
    policy = Policy("own", 0.05, stability=False)
    place = places(exact.look(Detector(tiny_bundle, exact).views(open_picture(toy_pictures[0]).pixels))[1][None], tiny_bundle.statistics)[0]
    alike = np.linspace(-1, 0, 100)
    real = {group: {"real": {"a": alike + shift, "b": alike + shift}, "fake": {}} for group, shift in enumerate((-9.0, second))}
    bundle = with_groups(tiny_bundle, "own", real)
    for apart, times in ((0.001, asked), (0.5, 0)):
        centres = np.stack([place, place + apart**0.5 * np.eye(len(place))[0]]).astype(np.float32)
        runtime = Off(exact, 0.0, 0.05, group_tolerance=0.01)
        found = Detector(replace(bundle, statistics={**bundle.statistics, CENTRES: centres}), runtime, policy=policy).detect(toy_pictures[0])
        assert (found.domain.group, runtime.asked) == (0, times)


@pytest.mark.parametrize(("slopes", "asked"), [((1.0, 1.0), 0), ((1.0, 2.0), 1)])
def test_nor_where_the_probability_does(tiny_bundle, exact, toy_pictures, slopes, asked):
    policy = Policy("own", 0.05, stability=False)
    place = places(exact.look(Detector(tiny_bundle, exact).views(open_picture(toy_pictures[0]).pixels))[1][None], tiny_bundle.statistics)[0]
    real = {group: {"real": {"a": np.linspace(-1, 0, 100) - 9}, "fake": {}} for group in (0, 1)}
    scale = Calibration(method="platt", slope=3.0, groups=[Calibration(method="platt", slope=slope) for slope in slopes])
    bundle = with_groups(tiny_bundle, "own", real, calibration=scale)
    centres = np.stack([place, place + 0.001**0.5 * np.eye(len(place))[0]]).astype(np.float32)
    runtime = Off(exact, 0.0, 0.05, group_tolerance=0.01)
    found = Detector(replace(bundle, statistics={**bundle.statistics, CENTRES: centres}), runtime, policy=policy).detect(toy_pictures[0])
    assert (found.decision.calibration, runtime.asked) == (scale.groups[0], asked)
    assert found.probability == float(probability(scale.groups[0], found.logit))


def test_float32_is_never_asked_twice(exact):
    assert not isinstance(exact, Rounded)


def test_close(tiny_bundle):
    decision = decision_of(shifted(tiny_bundle, 1.0), Policy())
    assert [close(logit, decision, 0.1) for logit in (0.89, 0.91, 1.09, 1.11, -49.05, -48.8)] == [False, True, True, False, True, False]
    assert not close(1.0, decision.model_copy(update={"ai": None, "camera": None}), 0.1)
