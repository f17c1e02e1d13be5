import json
import math
import shutil
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiled import with_groups, with_profile
from scipy.stats import beta, binom

from realgrain.detector import content, profiles
from realgrain.detector.bundle import CARD, DEFAULT, STATISTICS, BundleError, read_bundle
from realgrain.detector.calibration import Calibration, binomial_cdf, rate_of, threshold
from realgrain.detector.content import CENTRES
from realgrain.detector.decision import Decision, Policy, Worst, decision_of, highest, interval, percent, posterior, sentence, shortfall, trained
from realgrain.detector.detect import load
from realgrain.detector.domain import InDomain
from realgrain.detector.verdict import FileFacts, Report, decide
from realgrain.faces.cli import main

DELTA = 0.025


class TestThreshold:
    @pytest.mark.parametrize(("n", "share"), [(200, 0.05), (400, 0.02), (1000, 0.01), (150, 0.03)])
    def test_the_guarantee_holds(self, n, share):
        """Over many calibration sets, the true rate beyond the threshold is more than was asked in few: known exactly for uniform logits."""
        rng = np.random.default_rng([n, int(1000 * share)])
        true = np.array([1 - threshold(np.sort(rng.random(n)), share)[0] for _ in range(2000)])
        exceeded = np.mean(true > share)
        assert exceeded <= binom.ppf(0.9999, len(true), DELTA) / len(true)
        assert exceeded > DELTA / 20  # it is not kept by flagging nothing
        assert true.mean() > share / 6

    def test_the_empirical_choice_would_not_hold(self):
        """Else the test above could not fail."""
        rng = np.random.default_rng(0)
        n, share = 400, 0.02
        true = np.array([1 - np.sort(rng.random(n))[n - int(share * n) - 1] for _ in range(500)])
        assert np.mean(true > share) > 0.3

    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.integers(-8, 8), min_size=1, max_size=300), st.sampled_from([0.5, 0.1, 0.05, 0.01]))
    def test_is_the_lowest_that_holds(self, values, share):
        logits = np.sort(np.array(values, float))
        found, supported = threshold(logits, share)
        k, n = int(np.sum(logits >= found)), len(logits)
        assert supported == (beta.ppf(1 - DELTA, 1, n) <= share)
        if not supported:
            assert (k, found) == (0, np.nextafter(logits[-1], np.inf))
            return
        assert rate_of(k, n).high <= share
        below = int(np.sum(logits >= np.nextafter(found, -np.inf)))
        assert below == n or rate_of(below, n).high > share

    @pytest.mark.parametrize(("k", "n", "share"), [(0, 1, 0.3), (5, 5, 0.9), (40, 1000, 0.01), (10, 948, 0.5)])
    def test_binomial(self, k, n, share):
        np.testing.assert_allclose(binomial_cdf(k, n, share), binom.cdf(np.arange(k + 1), n, share), rtol=1e-9, atol=1e-300)


class TestDecision:
    @pytest.fixture
    def bundle(self, tiny_bundle):
        real = {"a": np.linspace(-3, 1, 300), "b": np.linspace(-3, 2, 200)}
        return with_profile(tiny_bundle, "web", real, {"g": np.linspace(-1, 5, 400)})

    def test_of_a_profile(self, bundle):
        found = decision_of(bundle, Policy("web", 0.02))
        assert (found.profile, found.asked_fpr, found.supported, found.fitted) == ("web", 0.02, True, date(2026, 1, 2))
        assert found.false_positive.n == 500
        assert found.held_fpr == found.false_positive.high <= 0.02
        assert {source: rate.n for source, rate in found.false_positive_per_source.items()} == {"a": 300, "b": 200}
        assert sum(rate.k for rate in found.false_positive_per_source.values()) == found.false_positive.k > 0
        assert found.camera <= found.ai
        assert found.missed.high <= 0.2
        assert found.caught.k == np.sum(np.linspace(-1, 5, 400) >= found.ai)
        assert found.passed == rate_of(sum(int(np.sum(of <= found.camera)) for of in (np.linspace(-3, 1, 300), np.linspace(-3, 2, 200))), 500)

    def test_each_source_is_judged_by_the_others(self, bundle, tiny_bundle):
        found = decision_of(bundle, Policy("web", 0.02))
        a, b, g = (np.linspace(*ends) for ends in ((-3, 1, 300), (-3, 2, 200), (-1, 5, 400)))
        expected = {"a": (a, b), "b": (b, a)}
        for source, (own, others) in expected.items():
            assert found.false_positive_unseen[source] == rate_of(int(np.sum(own >= threshold(others, 0.02)[0])), len(own))
        assert found.false_positive_unseen["b"].value > 0.19 > 0.02 > found.false_positive_unseen["a"].value
        assert found.missed_unseen == {}  # one generator only: nothing to judge it by
        assert found.worst_false_positive_unseen == Worst(sources=("b",), rate=found.false_positive_unseen["b"])
        two = with_profile(tiny_bundle, "web", {"a": a, "b": b}, {"g": g, "h": g[:200] - 1})
        found = decision_of(two, Policy("web", 0.02))
        assert found.missed_unseen["h"].value > 0.5 > found.missed_unseen["g"].value
        assert found.missed_unseen["h"].k == np.sum(g[:200] - 1 <= min(found.ai, -threshold(-g[::-1], 0.2)[0]))

    def test_sources_of_few_pictures_count_together(self):
        assert highest({"a": rate_of(2, 2), "b": rate_of(10, 100), "c": rate_of(0, 12)}) == Worst(sources=("b",), rate=rate_of(10, 100))
        assert highest({"a": rate_of(2, 2), "b": rate_of(10, 100), "c": rate_of(9, 12)}) == Worst(sources=("a", "c"), rate=rate_of(11, 14))
        assert highest({}) is None

    def test_an_unseen_generator_that_passes_is_counted_by_the_lower_threshold(self, tiny_bundle):
        """Where generated pictures score above the threshold of ``ai``, nothing between the two is called ``camera``."""
        low = with_profile(tiny_bundle, "web", {"a": np.linspace(-3, -2, 300)}, {"g": np.linspace(5, 6, 300), "h": np.linspace(-1, 0, 300)})
        found = decision_of(low, Policy("web", 0.05))
        assert found.camera == found.ai < -1
        assert found.missed_unseen == {"g": rate_of(0, 300), "h": rate_of(0, 300)}

    def test_a_higher_rate_lowers_the_threshold(self, bundle):
        found = [decision_of(bundle, Policy("web", share)).ai for share in (0.01, 0.05, 0.2)]
        assert found[0] > found[1] > found[2]

    def test_a_rate_that_the_data_cannot_support(self, bundle):
        found = decision_of(bundle, Policy("web", 0.001))
        assert (found.supported, found.false_positive.k) == (False, 0)
        assert found.held_fpr == pytest.approx(1 - DELTA ** (1 / 500))
        assert shortfall(found) == (
            "at most 0.10 % cannot be supported by the 500 real calibration pictures of profile web: "
            "the lowest rate that they can is 0.74 %, which is what holds"
        )
        assert shortfall(found) in sentence("ai", "", found)
        assert decision_of(bundle, Policy("web", found.held_fpr * 1.0001)).supported

    @pytest.mark.parametrize("name", ["screenshot", "art", "document"])
    def test_without_data_it_abstains(self, tiny_bundle, name):
        found = decision_of(tiny_bundle, Policy(name, 0.01))
        verdict, chance = decide(9.0, 500, tiny_bundle.card, found)
        assert (verdict.label, verdict.reasons, chance) == ("unsure", ["uncalibrated"], None)
        assert f"profile {name} has no calibration data" in sentence("unsure", "no calibration", found)

    def test_unknown_profile(self, tiny_bundle):
        with pytest.raises(ValueError, match=r"no profile 'wbe'; there are .*web.*document"):
            load(tiny_bundle, policy=Policy("wbe"))

    @pytest.mark.parametrize("share", [0, 1, -0.1, math.nan])
    @pytest.mark.parametrize("name", ["max_fpr", "prior"])
    def test_no_share(self, name, share):
        with pytest.raises(ValueError, match="must be above 0 and below 1"):
            Policy(**{name: share})

    def test_training_makes_profiles(self, tiny_bundle):
        assert set(tiny_bundle.card.profiles) == {"photo", "camera", "web"}
        for name, profile in tiny_bundle.card.profiles.items():
            found = decision_of(tiny_bundle, Policy(name, 0.3))
            assert found.supported
            assert found.deliveries == profile.deliveries == profiles.DELIVERED[name]
            assert found.false_positive.n == sum(profile.counts["real"].values()) == 32
        photo, camera, web = (profiles.from_arrays(name, 0, "real", tiny_bundle.statistics) for name in ("photo", "camera", "web"))
        for source in photo:
            np.testing.assert_array_less(np.maximum(camera[source], web[source]) - 1e-12, photo[source])

    def test_real_pictures_alone_keep_the_parents_camera(self, tiny_bundle):
        point = tiny_bundle.card.operating_point
        high = with_profile(tiny_bundle, "own", {"a": point.ai + np.linspace(0, 1, 100)})
        found = decision_of(high, Policy("own", 0.1))
        assert (found.camera, found.missed, found.caught) == (point.camera, point.missed, None)
        low = with_profile(tiny_bundle, "own", {"a": point.camera - 2 - np.linspace(0, 1, 100)})
        found = decision_of(low, Policy("own", 0.1))
        assert found.camera == found.ai < point.camera
        assert found.missed is None

    def test_real_pictures_alone_on_an_uncalibrated_bundle(self, tiny_bundle):
        bare = replace(tiny_bundle, card=tiny_bundle.card.model_copy(update={"operating_point": None, "calibration": None}))
        bundle = with_profile(bare, "own", {"a": np.linspace(-1, 0, 100)})
        found = decision_of(bundle, Policy("own", 0.1))
        labels = [decide(logit, 500, bundle.card, found)[0].label for logit in (-9.0, 9.0)]
        assert labels == ["unsure", "ai"]
        assert decide(9.0, 500, bundle.card, found)[1] is None


class TestGroups:
    """Content groups: faces score high here, scenes low."""

    @pytest.fixture
    def bundle(self, tiny_bundle):
        sides = {
            0: {"real": {"scenes": np.linspace(-3, -1, 200)[::2], "streets": np.linspace(-3, -1, 200)[1::2]}, "fake": {"g": np.linspace(-1, 1, 100)}},
            1: {"real": {"faces": np.linspace(0, 2, 150), "scenes": [0.5]}, "fake": {"g": np.linspace(1, 4, 100)}},
        }
        return with_groups(tiny_bundle, "own", sides)

    def test_each_keeps_its_rate(self, bundle):
        scenes, faces = (decision_of(bundle, Policy("own", 0.05), group) for group in (0, 1))
        assert -1.2 < scenes.ai < -1 < 1.8 < faces.ai < 2
        assert (scenes.false_positive.n, faces.false_positive.n) == (200, 151)
        assert max(scenes.held_fpr, faces.held_fpr) <= 0.05
        assert set(scenes.false_positive_per_source) == {"scenes", "streets"}
        assert scenes.camera < faces.camera
        assert (scenes.group, faces.group, faces.groups) == (0, 1, 2)

    def test_unknown_is_the_most_cautious(self, bundle):
        scenes, faces, unknown = (decision_of(bundle, Policy("own", 0.05), group) for group in (0, 1, None))
        assert (unknown.ai, unknown.camera) == (faces.ai, scenes.camera)
        assert unknown.false_positive == max(scenes.false_positive, faces.false_positive, key=lambda rate: rate.high)
        assert unknown.caught == rate_of(0, 100)  # of the scenes, at the threshold of the faces, none; at its own more
        assert scenes.caught.k > 0
        assert unknown.false_positive_per_source["scenes"] == max(
            (of.false_positive_per_source["scenes"] for of in (scenes, faces)), key=lambda rate: rate.value
        )
        assert (unknown.group, unknown.groups) == (None, 2)
        assert (set(scenes.false_positive_unseen), set(faces.false_positive_unseen)) == ({"scenes", "streets"}, {"faces", "scenes"})
        assert set(unknown.false_positive_unseen) == {"faces", "scenes", "streets"}
        assert unknown.worst_false_positive_unseen in (scenes.worst_false_positive_unseen, faces.worst_false_positive_unseen)

    def test_one_of_a_single_source_is_not_trusted_with_its_own(self, bundle, tiny_bundle):
        """Without its largest source nothing would be left that supports the rate."""
        alone = with_groups(
            tiny_bundle,
            "own",
            {0: {"real": {"scenes": np.linspace(-3, -1, 200), "few": np.linspace(-3, -1, 71)}}, 1: {"real": {"faces": np.linspace(0, 2, 150)}}},
        )
        scenes, faces = (decision_of(alone, Policy("own", 0.05), group) for group in (0, 1))
        assert scenes.ai == faces.ai > 1.8
        assert scenes.false_positive == rate_of(0, 271)
        assert decision_of(bundle, Policy("own", 0.05), 0).ai < -1
        enough = with_groups(
            tiny_bundle,
            "own",
            {0: {"real": {"scenes": np.linspace(-3, -1, 200), "few": np.linspace(-3, -1, 72)}}, 1: {"real": {"faces": np.linspace(0, 2, 150)}}},
        )
        assert decision_of(enough, Policy("own", 0.05), 0).ai < -1

    def test_one_that_cannot_support_a_rate_says_so(self, bundle):
        scenes, faces, unknown = (decision_of(bundle, Policy("own", 0.02), group) for group in (0, 1, None))
        assert (scenes.supported, faces.supported, unknown.supported) == (True, False, False)
        assert unknown.held_fpr == faces.held_fpr > 0.02 >= scenes.held_fpr

    def test_has_the_scale_of_its_group(self, bundle):
        scale = Calibration(method="platt", slope=3.0, groups=[Calibration(method="platt", slope=slope) for slope in (1.0, 2.0)])
        whole = replace(bundle, card=bundle.card.model_copy(update={"calibration": scale}))
        found = [decision_of(whole, Policy("own"), group).calibration for group in (0, 1, None)]
        assert [(of.slope, of.groups) for of in found] == [(1.0, ()), (2.0, ()), (3.0, ())]
        bare = replace(whole, card=whole.card.model_copy(update={"profiles": {}}))  # goes by what training chose
        assert [decision_of(bare, Policy(), group).calibration for group in (0, 1, None)] == found

    def test_says_which(self, bundle):
        assert "(profile own, content group 2 of 2)" in sentence("ai", "", decision_of(bundle, Policy("own"), 1))
        assert "(profile own, worst of 2 content groups)" in sentence("ai", "", decision_of(bundle, Policy("own")))

    def test_a_verdict_goes_by_its_own(self, bundle):
        detector = replace(
            load(bundle, threads=1, policy=Policy("own", 0.05)), bundle=replace(bundle, statistics={**bundle.statistics, CENTRES: np.zeros((2, 3))})
        )
        size = FileFacts(name="a", sha256="", bytes=1, format="PNG", width=500, height=500, mode="RGB", jpeg_quality=None, notes=[])
        at = {group: InDomain(distance=0, threshold=1, outside=False, false_alarm=rate_of(0, 9), group=group) for group in (0, 1)}
        verdicts = {group: detector.conclude(size, [-0.5], {}, place, None, None) for group, place in {**at, None: None}.items()}
        assert [verdicts[group].verdict.label for group in (0, 1, None)] == ["ai", "camera", "unsure"]
        assert [verdicts[group].decision.group for group in (0, 1, None)] == [0, 1, None]

    def test_no_real_pictures_in_a_group_gives_no_verdict_there(self, tiny_bundle):
        lacking = with_groups(tiny_bundle, "own", {0: {"real": {"a": np.arange(100)}, "fake": {}}, 1: {"real": {}, "fake": {"g": [1.0]}}})
        assert [decision_of(lacking, Policy("own"), group).ai is None for group in (0, 1, None)] == [False, True, True]


class TestGather:
    def test_worst_of_the_deliveries_in_a_group(self):
        rng = np.random.default_rng(0)
        fake, source = np.arange(300) >= 250, np.array(["s"] * 300)
        group = {"clean": np.arange(300) % 2, "web": np.arange(300) % 2}
        group["web"][0] = 1  # the first picture changes sides
        logits = {"clean": rng.normal(size=300), "web": rng.normal(size=300)}
        found = profiles.gather(logits, fake, source, group, 2)
        assert [len(found[number]["real"]["s"]) for number in (0, 1)] == [125, 126]
        assert logits["clean"][0] in found[0]["real"]["s"]
        assert logits["web"][0] in found[1]["real"]["s"]
        worst = np.maximum(logits["clean"], logits["web"])[2:250:2]
        assert np.isin(worst, found[0]["real"]["s"]).all()
        assert np.isin(np.minimum(logits["clean"], logits["web"])[251::2], found[1]["fake"]["s"]).all()

    def test_too_few_are_not_told_apart(self):
        fake, source = np.zeros(150, bool), np.array(["s"] * 150)
        found = profiles.gather({"clean": np.arange(150.0)}, fake, source, {"clean": np.arange(150) % 2}, 2)
        assert [len(of["real"]["s"]) for of in found.values()] == [150]


class TestSentence:
    found = Decision(
        profile="own",
        asked_fpr=0.02,
        held_fpr=0.0171,
        ai=1.0,
        false_positive=rate_of(11, 1100),
        false_positive_per_source={"a": rate_of(1, 900), "b": rate_of(10, 200)},
        fitted=date(2026, 5, 4),
        bundle="ab" * 32,
    )

    def test_says_what_the_card_says(self):
        assert sentence("ai", "", self.found) == (
            "flagged; at this threshold 1.0 % [0.50-1.8] of real pictures from sources like yours (profile own) are flagged, n = 1,100, "
            "fitted on 2026-05-04, bundle abababababab; of the worst source, 5.0 % [2.4-9.0] (n = 200, b): yours may differ"
        )

    @pytest.mark.parametrize(("caught", "little"), [(4, True), (11, True), (60, False)])
    def test_says_what_a_flag_is_worth(self, caught, little):
        """Where no more generated pictures are surely flagged than photographs, a flag is no evidence, however seldom it is given."""
        said = sentence("ai", "", self.found.model_copy(update={"caught": rate_of(caught, 400)}))
        assert f"; of generated pictures {interval(rate_of(caught, 400))} are flagged, n = 400" in said
        assert said.endswith("not surely more than of photographs: a flag tells little here") == little
        assert "of generated pictures" not in sentence("unsure", "between thresholds", self.found)

    @pytest.mark.parametrize(("passed", "little"), [(8, True), (40, False)])
    def test_says_what_a_pass_is_worth(self, passed, little):
        rates = {"camera": 0.0, "missed": rate_of(8, 400), "passed": rate_of(passed, 400), "deliveries": ("clean", "web")}
        said = sentence("camera", "", self.found.model_copy(update=rates))
        assert f"; of photographs {interval(rate_of(passed, 400))} are called so in each of clean, web, n = 400" in said
        assert ("not surely more than of generated pictures: this tells little here" in said) == little

    def test_names_the_threshold_that_the_rate_is_of(self):
        """Where a picture is not flagged, "this threshold" would be another one, or none."""
        assert "at this threshold" in sentence("ai", "", self.found)
        for label in ("camera", "unsure"):
            said = sentence(label, "between thresholds", self.found)
            assert "at this threshold" not in said
            assert "; where 'AI-generated' is said, 1.0 % [0.50-1.8] of real pictures" in said

    def test_says_what_unseen_sources_got(self):
        rates = {
            "camera": 0.0,
            "missed": rate_of(2, 100),
            "worst_false_positive_unseen": highest({"a": rate_of(9, 900), "b": rate_of(20, 200), "few": rate_of(1, 2)}),
            "worst_missed_unseen": highest({"g": rate_of(5, 50), "h": rate_of(12, 19), "i": rate_of(1, 1)}),
        }
        found = self.found.model_copy(update=rates)
        worst = "of a source that the threshold was set without, at worst 10.0 % [6.2-15.0] (n = 200, b): yours may be such a source"
        assert all(worst in sentence(label, "between thresholds", found) for label in ("ai", "camera", "unsure"))
        missed = "of a generator that this was set without, at worst 65.0 % [40.8-84.6] (n = 20, h, i)"
        assert [missed in sentence(label, "", found) for label in ("ai", "camera", "unsure")] == [False, True, False]

    def test_names_of_a_bundle_are_made_safe(self):
        """A bundle is a stranger's file: the names of its sources reach terminals and pages."""
        hostile = "\x1b[31m\u202e" + "x" * 500
        rates = {hostile: rate_of(1, 2), "b": rate_of(0, 200)}
        found = Decision(
            profile="own", asked_fpr=0.02, false_positive_per_source=rates, false_positive=rate_of(1, 202), fitted=date(2026, 5, 4), bundle=""
        )
        said = sentence("ai", "", found)
        assert said.isprintable()
        assert "(n = 2, \\x1b[31m" in said and "x" * 60 not in said

    @pytest.mark.parametrize(("share", "words"), [(0, "0.0 %"), (0.0021, "0.21 %"), (0.00042, "0.042 %"), (0.0105, "1.1 %"), (1, "100.0 %")])
    def test_percent(self, share, words):
        assert percent(share) == words

    def test_interval(self):
        assert interval(rate_of(0, 100)) == "0.0 % [0.0-3.6]"


class TestPosterior:
    def test_the_arithmetic(self):
        found = posterior(Calibration(method="platt", slope=1, intercept=0), math.log(9), 0.01)
        assert found.prior_odds == pytest.approx(1 / 99)
        assert found.likelihood_ratio == pytest.approx(9)
        assert found.posterior_odds == pytest.approx(9 / 99)
        assert found.probability == pytest.approx(9 / 108)
        assert found.arithmetic == (
            "prior odds 0.01 / 0.99 = 0.0101; likelihood ratio p / (1 - p) = 9; "
            "posterior odds 0.0101 x 9 = 0.09091; posterior 0.09091 / (1 + 0.09091) = 0.08333"
        )

    @settings(deadline=None)
    @given(st.floats(-1e4, 1e4), st.floats(1e-12, 1 - 1e-12))
    def test_is_a_probability(self, logit, prior):
        found = posterior(Calibration(method="platt", slope=2, intercept=1), logit, prior)
        assert 0 <= found.probability <= 1
        assert all(map(math.isfinite, (found.posterior_odds, found.likelihood_ratio)))

    def test_even_odds_change_nothing(self, tiny_bundle, toy_pictures):
        report = load(tiny_bundle, threads=1, policy=Policy(prior=0.5)).detect(toy_pictures[0])
        assert report.posterior.probability == pytest.approx(report.probability)


class TestOldCards:
    @pytest.fixture
    def old(self, tiny_bundle, tmp_path):
        """A bundle as it was written before there were profiles."""
        folder = shutil.copytree(tiny_bundle.folder, tmp_path / "old")
        (folder / STATISTICS).unlink()
        card = json.loads((folder / CARD).read_text())
        for name in ("profiles", "domain", "borders", "statistics_sha256", "parents"):
            del card[name]
        (folder / CARD).write_text(json.dumps(card))
        return read_bundle(folder)

    def test_same_scores(self, old, tiny_detector, toy_pictures):
        detector = load(old, threads=1)
        for path in toy_pictures[::12]:
            then, now = detector.detect(path), tiny_detector.detect(path)
            assert (then.logit, then.probability) == (now.logit, now.probability)
            assert then.verdict == decide(then.logit, 500, old.card, trained(old.card, old.hash), then.stability)[0]

    def test_profiles_abstain(self, old):
        assert decision_of(old, Policy("web", 0.01)).ai is None
        assert decision_of(old, Policy(max_fpr=0.01)).ai is None

    def test_go_by_what_training_chose(self, old):
        point, found = old.card.operating_point, trained(old.card, old.hash)
        assert (found.ai, found.camera, found.false_positive, found.missed) == (point.ai, point.camera, point.false_positive, point.missed)
        assert decision_of(old, Policy()) == found


def test_the_shipped_one_keeps_its_rate_in_each_group():
    shipped = read_bundle(DEFAULT)
    groups = shipped.card.profiles[profiles.PHOTO].groups
    assert groups == content.count(shipped.statistics) > 1
    for group in (None, *range(groups)):
        found = decision_of(shipped, Policy(), group)
        assert found.supported
        assert found.held_fpr <= shipped.card.operating_point.target_fpr
        assert found.camera < found.ai


def test_statistics_are_bound_to_the_card(tiny_bundle, tmp_path):
    folder = shutil.copytree(tiny_bundle.folder, tmp_path / "b")
    (folder / STATISTICS).write_bytes((folder / STATISTICS).read_bytes() + b" ")
    with pytest.raises(BundleError, match=r"statistics\.safetensors: its sha256 is not the card's"):
        read_bundle(folder)


def test_no_policy_changes_a_logit(tiny_bundle, toy_pictures):
    policies = [Policy(), Policy("web"), Policy("document"), Policy(max_fpr=0.2, prior=0.01)]
    found = [load(tiny_bundle, threads=1, policy=policy).detect(toy_pictures[0]) for policy in policies]
    assert len({(report.logit, tuple(report.view_logits)) for report in found}) == 1


class TestCommand:
    def test_reports(self, tiny_bundle, toy_pictures, capsys):
        arguments = ["detect", str(toy_pictures[0]), "--bundle", str(tiny_bundle.folder), "--profile", "web", "--max-fpr", "0.01", "--prior", "0.01"]
        printed = []
        for _ in range(2):
            assert main([*arguments, "--json"]) == 0
            printed.append(capsys.readouterr())
        assert printed[0].out == printed[1].out
        report = Report.model_validate_json(printed[0].out)
        assert (report.decision.profile, report.decision.supported, report.decision.bundle) == ("web", False, tiny_bundle.hash)
        assert "at most 1.0 % cannot be supported by the 32 real calibration pictures of profile web: the lowest rate" in printed[0].err
        assert report.posterior.prior == 0.01
        assert "n = 32" in report.sentence
        assert main(arguments) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert report.sentence in shown
        assert report.posterior.arithmetic in shown

    @pytest.mark.parametrize(("flags", "words"), [(["--max-fpr", "2"], "max-fpr must be"), (["--prior", "0"], "prior must be")])
    def test_wrong_usage(self, tiny_bundle, capsys, flags, words):
        assert main(["detect", "a.png", "--bundle", str(tiny_bundle.folder), *flags]) == 2
        assert words in capsys.readouterr().err
