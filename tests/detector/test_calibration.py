import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from realgrain.detector.calibration import LEAST, Calibration, choose, fit, fit_each, probability, rate

DELIVERIES = ("clean", "web", "hard")


def drawn(slope, intercept, n=200_000, seed=0):
    """Logits with labels drawn from the probability that a calibration gives them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=n) * 2
    return logits, rng.random(n) < 1 / (1 + np.exp(-(slope * logits + intercept)))


class TestFit:
    @pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.4, -0.7), (3.0, 1.5)])
    def test_recovers_platts_numbers(self, slope, intercept):
        logits, fake = drawn(slope, intercept)
        found = fit(logits, fake, np.ones(len(logits)))
        assert found.method == "platt"
        assert found.slope == pytest.approx(slope, rel=0.03)
        assert found.intercept == pytest.approx(intercept, abs=0.03)

    def test_temperature_has_no_intercept(self):
        logits, fake = drawn(0.5, 0.0)
        found = fit(logits, fake, np.ones(len(logits)), "temperature")
        assert (found.method, found.intercept) == ("temperature", 0)
        assert found.slope == pytest.approx(0.5, rel=0.03)

    @pytest.mark.parametrize("method", ["platt", "temperature"])
    def test_labels_that_do_not_overlap(self, method):
        """No slope is the best; that of so few pictures must not promise one in a billion."""
        logits = np.concatenate([np.linspace(-3, -1, 20), np.linspace(1, 3, 20)])
        fake = logits > 0
        few, many = (fit(logits.repeat(n), fake.repeat(n), np.ones(40 * n), method) for n in (1, 10))
        assert 0 < few.slope < many.slope
        assert 0.9 < probability(few, 3.0) < 0.999
        assert abs(few.intercept) < 1e-3

    def test_weights_count_as_repetitions(self):
        logits, fake = drawn(1.0, 0.3, n=400)
        times = np.random.default_rng(1).integers(1, 5, len(logits))
        weighted, repeated = fit(logits, fake, times), fit(logits.repeat(times), fake.repeat(times), np.ones(times.sum()))
        assert weighted.slope == pytest.approx(repeated.slope, rel=1e-3)
        assert weighted.intercept == pytest.approx(repeated.intercept, abs=1e-3)

    @pytest.mark.parametrize("label", [True, False])
    def test_one_class(self, label):
        with pytest.raises(ValueError, match="both real and generated"):
            fit(np.arange(5.0), np.full(5, label), np.ones(5))

    @pytest.mark.parametrize("method", ["platt", "temperature"])
    def test_no_better_than_chance(self, method):
        logits, fake = drawn(1.0, 0.0, n=2000)
        with pytest.raises(ValueError, match="no better than chance"):
            fit(-logits, fake, np.ones(2000), method)


class TestFitEach:
    """Two groups whose logits say the same of other labels: the second one's lie higher by 3."""

    logits, fake = drawn(1.0, 0.0, n=4000)
    group = np.arange(4000) % 2
    shifted = logits + 3 * group
    weight = np.ones(4000)

    def fit(self, logits, fake, group, groups=2, **options):
        return fit_each({"clean": logits}, fake, np.ones(len(fake)), {"clean": group}, groups, **options)

    def test_each_group_has_its_own(self):
        found = self.fit(self.shifted, self.fake, self.group, share=0)
        for number, intercept in enumerate((0, -3)):
            assert found.of(number).slope == pytest.approx(1, abs=0.15)
            assert found.of(number).intercept == pytest.approx(intercept, abs=0.3)
        assert found.of(None) == fit(self.shifted, self.fake, self.weight)

    def test_a_share_of_all_draws_them_together(self):
        alone, some, all_ = (self.fit(self.shifted, self.fake, self.group, share=share) for share in (0.0, 0.3, 1.0))
        assert alone.of(1).intercept < some.of(1).intercept < all_.of(1).intercept
        assert all_.of(0) == all_.of(1)

    def test_labels_count_alike_in_each(self):
        """However many of a group are generated: 0.5 means even odds there too."""
        few = ~(self.fake & (self.group == 1)) | (np.arange(4000) % 10 == 1)
        whole, fewer = (self.fit(self.shifted[kept], self.fake[kept], self.group[kept], share=0) for kept in (self.weight > 0, few))
        assert fewer.of(1).intercept == pytest.approx(whole.of(1).intercept, abs=0.4)

    def test_logits_that_tell_nothing_in_a_group_give_a_half_there(self):
        turned = np.where(self.group == 1, -self.logits, self.logits)
        found = self.fit(turned, np.where(self.group == 1, self.fake, self.logits > 0), self.group, share=0.1)
        assert probability(found.of(1), [-9.0, 9.0]).tolist() == [0.5, 0.5]
        assert found.of(0).slope > 0

    @pytest.mark.parametrize("count", [LEAST - 1, LEAST])
    def test_a_group_of_few_goes_by_all(self, count):
        kept = (self.group == 0) | (np.cumsum((self.group == 1) & self.fake) <= count) & self.fake | (self.group == 1) & ~self.fake
        found = self.fit(self.shifted[kept], self.fake[kept], self.group[kept])
        assert (found.of(1) == found.of(None)) == (count < LEAST)
        assert found.of(0) != found.of(None)

    def test_one_group_is_all(self):
        assert self.fit(self.logits, self.fake, 0 * self.group, 1) == fit(self.logits, self.fake, self.weight)


class TestProbability:
    @given(st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=20), st.floats(1e-3, 1e3), st.floats(-50, 50))
    def test_is_a_probability_and_never_falls(self, logits, slope, intercept):
        found = probability(Calibration(method="platt", slope=slope, intercept=intercept), np.sort(logits))
        assert ((found >= 0) & (found <= 1)).all()
        assert (np.diff(found) >= 0).all()

    def test_values(self):
        scale = Calibration(method="platt", slope=2, intercept=-1)
        assert probability(scale, 0.5) == 0.5
        assert probability(scale, np.array([[1.0, 0.0]])) == pytest.approx(np.array([[1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1))]]))
        assert probability(scale, [-math.inf, math.inf]).tolist() == pytest.approx([0, 1])

    def test_float32_logits_lose_nothing(self):
        value = np.float32(0.1)
        assert float(probability(Calibration(method="platt", slope=1), value)) == 1 / (1 + math.exp(-float(value)))


class TestRate:
    @pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 50), (50, 50), (3, 20), (97, 1000)])
    def test_interval_is_clopper_and_pearsons(self, k, n):
        found = rate([True] * k + [False] * (n - k))
        assert (found.k, found.n, found.value) == (k, n, k / n)
        assert found.low == pytest.approx(beta.ppf(0.025, k, n - k + 1) if k else 0, abs=1e-9)
        assert found.high == pytest.approx(beta.ppf(0.975, k + 1, n - k) if k < n else 1, abs=1e-9)

    def test_no_cases(self):
        with pytest.raises(ValueError, match="at least one case"):
            rate([])


@st.composite
def held_out(draw):
    """Logits on a coarse grid, so that there are many ties, of the same pictures in each delivery."""
    reals, fakes = draw(st.integers(1, 25)), draw(st.integers(1, 25))
    values = st.lists(st.integers(-6, 6).map(lambda v: v / 4), min_size=reals + fakes, max_size=reals + fakes)
    logits = {name: np.array(draw(values)) for name in DELIVERIES[: draw(st.integers(1, 3))]}
    return logits, np.arange(reals + fakes) >= reals, np.array([f"s{index % 3}" for index in range(reals + fakes)])


TARGETS = st.sampled_from([0.01, 0.05, 0.1, 0.25, 0.5, 0.9])


class TestChoose:
    @settings(deadline=None)
    @given(held_out(), TARGETS, TARGETS)
    def test_keeps_its_targets_in_every_delivery(self, given_, target_fpr, target_miss):
        logits, fake, source = given_
        point = choose(logits, fake, source, target_fpr=target_fpr, target_miss=target_miss)
        assert point.camera <= point.ai
        for values in logits.values():
            assert np.mean(values[~fake] >= point.ai) <= target_fpr
            assert np.mean(values[fake] <= point.camera) <= target_miss
        assert point.deliveries == tuple(logits)

    @settings(deadline=None)
    @given(held_out(), TARGETS, TARGETS)
    def test_states_the_worst_rates(self, given_, target_fpr, target_miss):
        logits, fake, source = given_
        point = choose(logits, fake, source, target_fpr=target_fpr, target_miss=target_miss)
        assert point.false_positive.value == max(np.mean(values[~fake] >= point.ai) for values in logits.values())
        assert point.missed.value == max(np.mean(values[fake] <= point.camera) for values in logits.values())
        assert set(point.false_positive_per_source) == set(source[~fake])
        for name, found in point.false_positive_per_source.items():
            mine = ~fake & (source == name)
            assert (found.n, found.value) == (mine.sum(), max(np.mean(values[mine] >= point.ai) for values in logits.values()))

    @settings(deadline=None)
    @given(held_out(), TARGETS)
    def test_no_lower_threshold_would_do(self, given_, target):
        logits, fake, source = given_
        point = choose(logits, fake, source, target_fpr=target, target_miss=0.05)
        lower = np.nextafter(point.ai, -np.inf)
        assert any(np.mean(values[~fake] >= lower) > target for values in logits.values())

    def test_known_thresholds(self):
        logits = {"clean": np.array([0.0, 1, 2, 3, 2, 3, 4, 5]), "web": np.array([0.0, 1, 2, 3.5, 1, 3, 4, 5])}
        fake = np.repeat([False, True], 4)
        point = choose(logits, fake, np.repeat(["r", "f"], 4), target_fpr=0.25, target_miss=0.25)
        assert point.ai == np.nextafter(2, 3)
        assert point.camera == np.nextafter(2, 3)  # by the miss rate alone it could be just below 3, but it gives way to `ai`
        point = choose(logits, fake, np.repeat(["r", "f"], 4), target_fpr=0.01, target_miss=0.01)
        assert (point.ai, point.camera) == (np.nextafter(3.5, 4), np.nextafter(1, 0))
        assert (point.false_positive.k, point.missed.k) == (0, 0)
