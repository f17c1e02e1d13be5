import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score

from realgrain.learning.methods import probe
from realgrain.learning.methods.probe import fit, logits


def toy_features(seed=0, n=400, size=6, apart=1.5):
    """Two clouds of unlike and correlated dimensions, with weights."""
    rng = np.random.default_rng(seed)
    fake = rng.random(n) < 0.4
    mixed = rng.normal(size=(n, size)) @ rng.normal(size=(size, size)) * 10.0 ** rng.integers(-2, 3, size)
    features = mixed + fake[:, None] * apart * mixed.std(0) * rng.normal(size=size) + rng.normal(size=size) * 50
    return features.astype(np.float32), fake, rng.uniform(0.2, 3, n)


def standardised(features, weight):
    share = weight / weight.sum()
    mean = share @ features
    return (features - mean) / np.sqrt(share @ (features - mean) ** 2)


@pytest.mark.parametrize("penalty", [0.01, 1, 100])
def test_tells_clouds_apart(penalty):
    features, fake, weight = toy_features()
    head = fit(features, fake, weight, penalty=penalty)
    assert head["weight"].shape == (6,)
    assert head["bias"].shape == (1,)
    assert {array.dtype for array in head.values()} == {np.dtype(np.float32)}
    assert roc_auc_score(fake, logits(features[:, None], head)) > 0.9


@pytest.mark.parametrize("count", [6, 7, 1000])
def test_content_must_leave_something_to_look_at(count):
    features, fake, weight = toy_features()
    fit(features, fake, weight, penalty=1, content_directions=5)
    with pytest.raises(ValueError, match=f"{count} content directions leave nothing of features of 6 values"):
        fit(features, fake, weight, penalty=1, content_directions=count)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.1, 1.0, 100.0, 1e5]))
def test_training_logits_have_unit_deviation(seed, penalty):
    features, fake, weight = toy_features(seed, n=120)
    found = logits(features[:, None], fit(features, fake, weight, penalty=penalty))
    share = weight / weight.sum()
    assert np.sqrt(share @ (found - share @ found) ** 2) == pytest.approx(1, rel=1e-2)


@pytest.mark.parametrize("penalty", [0.01, 1, 100])
def test_is_the_optimum_it_says(penalty):
    """The gradient of mean weighted log-loss + penalty / 2 * |w|^2, on standardised features, vanishes at the head unscaled."""
    from scipy.optimize import minimize

    features, fake, weight = toy_features(n=200)
    rows, share, sign = standardised(features.astype(np.float64), weight), weight / weight.sum(), np.where(fake, 1, -1)

    def loss(w):
        return share @ np.logaddexp(0, -sign * (rows @ w[:-1] + w[-1])) + penalty / 2 * w[:-1] @ w[:-1]

    best = minimize(loss, np.zeros(7), tol=1e-12).x
    expected = rows @ best[:-1] + best[-1]
    expected /= np.sqrt(share @ (expected - share @ expected) ** 2)
    np.testing.assert_allclose(logits(features[:, None], fit(features, fake, weight, penalty=penalty)), expected, atol=0.02)


def test_does_not_mind_the_scale_of_features():
    features, fake, weight = toy_features()
    stretch, shift = np.float32([1e-3, 1, 10, 1e3, 3, 7]), np.float32([5, 0, -3, 100, 1, 0])
    other = (features * stretch + shift).astype(np.float32)
    first, second = logits(features[:, None], fit(features, fake, weight, penalty=1)), logits(other[:, None], fit(other, fake, weight, penalty=1))
    np.testing.assert_allclose(first, second, atol=0.02)


@pytest.mark.parametrize("times", [2, 7])
def test_does_not_mind_repetition(times):
    """So that a penalty means the same however many draws and views each picture has."""
    features, fake, weight = toy_features()
    once, often = fit(features, fake, weight, penalty=1), fit(features.repeat(times, 0), fake.repeat(times), weight.repeat(times), penalty=1)
    np.testing.assert_allclose(logits(features[:, None], once), logits(features[:, None], often), atol=1e-2)


def test_only_ratios_of_weights_matter():
    features, fake, weight = toy_features()
    np.testing.assert_allclose(fit(features, fake, weight, penalty=1)["weight"], fit(features, fake, weight * 1000, penalty=1)["weight"], rtol=1e-2)


def test_a_weight_is_a_number_of_rows():
    features, fake, _ = toy_features(n=150)
    times = np.random.default_rng(1).integers(1, 4, 150)
    weighted, repeated = (
        fit(features, fake, times.astype(float), penalty=1),
        fit(features.repeat(times, 0), fake.repeat(times), np.ones(times.sum()), penalty=1),
    )
    np.testing.assert_allclose(logits(features[:, None], weighted), logits(features[:, None], repeated), atol=1e-2)


def test_strong_penalty_gives_the_difference_of_means():
    features, fake, weight = toy_features()
    rows = standardised(features.astype(np.float64), weight)
    means = [np.average(rows[of], axis=0, weights=weight[of]) for of in (fake, ~fake)]
    difference = means[0] - means[1]
    spread = features.astype(np.float64).std(0)
    cosines = []
    for penalty in (0.01, 1e4):
        share = weight / weight.sum()
        spread = np.sqrt(share @ (features - share @ features) ** 2)
        direction = fit(features, fake, weight, penalty=penalty)["weight"] * spread
        cosines.append(direction @ difference / np.linalg.norm(direction) / np.linalg.norm(difference))
    assert cosines[1] > 0.9999
    assert cosines[0] < 0.99


def test_a_constant_feature_is_harmless():
    features, fake, weight = toy_features()
    features[:, 2] = 3
    head = fit(features, fake, weight, penalty=1)
    assert np.isfinite(head["weight"]).all()
    assert roc_auc_score(fake, logits(features[:, None], head)) > 0.9


def test_logit_is_the_mean_over_views():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(5, 3, 4)).astype(np.float32)
    head = {"weight": rng.normal(size=4).astype(np.float32), "bias": np.float32([0.5])}
    np.testing.assert_allclose(logits(features, head), [np.mean([view @ head["weight"] + 0.5 for view in one]) for one in features], rtol=1e-5)


def test_does_not_look_along_content():
    """Real pictures vary most along the first axis, on which the classes differ too; hidden, it gets no weight, and the second axis decides."""
    rng = np.random.default_rng(5)
    fake = np.arange(400) % 2 == 1
    features = rng.normal(size=(400, 6)).astype(np.float32)
    shared = rng.normal(size=400)
    features[:, 0], features[:, 1] = shared * 3 + fake, shared * 3 + fake  # standardised alike, they move together: the leading direction
    features[:, 2] += 2 * fake
    weight = np.ones(400)
    seen, hidden = (fit(features, fake, weight, penalty=1, content_directions=count)["weight"] for count in (0, 1))
    assert abs(seen[0] + seen[1]) > 0.01
    assert abs(hidden[0] + hidden[1]) < 0.1 * abs(seen[0] + seen[1])
    assert hidden[2] > 0.5 * np.abs(hidden).max()


class TestRefit:
    """Fitting again from where the head is."""

    def cloud(self, seed=0, n=400, axis=0):
        rng = np.random.default_rng(seed)
        fake = rng.random(n) < 0.5
        rows = rng.normal(size=(n, 10)).astype(np.float32)
        rows[fake, axis] += 2
        return rows, fake

    @pytest.mark.parametrize("penalty", [0.1, 100.0])
    def test_the_same_rows_again_hardly_move_it(self, penalty):
        rows, fake = self.cloud()
        head = probe.fit(rows, fake, np.ones(len(rows)), penalty=penalty)
        again = probe.refit(rows, fake, np.ones(len(rows)), head, np.ones(len(rows), bool), penalty=penalty)
        assert np.corrcoef(rows @ head["weight"], rows @ again["weight"])[0, 1] > 0.999
        assert np.std(rows @ again["weight"]) == pytest.approx(1, abs=1e-4)

    def test_new_rows_move_it_and_old_ones_hold_it(self):
        old, fake = self.cloud()
        new, new_fake = self.cloud(1, axis=1)
        head = probe.fit(old, fake, np.ones(len(old)), penalty=1.0)
        rows, labels = np.concatenate([old, new]), np.concatenate([fake, new_fake])
        known = np.arange(len(rows)) < len(old)
        moved = [probe.refit(rows, labels, np.where(known, 1 - share, share), head, known, penalty=1.0) for share in (0.1, 0.5)]
        gains = [np.mean(new[new_fake] @ of["weight"]) - np.mean(new[~new_fake] @ of["weight"]) for of in (head, *moved)]
        assert gains[0] < gains[1] < gains[2]
        assert all(np.mean(old[fake] @ of["weight"]) - np.mean(old[~fake] @ of["weight"]) > 0.5 for of in moved)

    def test_it_is_the_optimum(self):
        """Of log-loss plus penalty on the way from the old head, at the old head's best scale: no step in any direction is better."""
        rows, fake = self.cloud(2)
        head = probe.fit(*self.cloud(3, axis=1), np.ones(400), penalty=0.5)
        known = np.arange(400) < 200
        found = probe.refit(rows, fake, np.ones(400), head, known, penalty=0.5)
        mean, spread = rows.mean(0), rows.std(0)
        old = head["weight"] * spread

        def scale_loss(place):
            logits = place[0] * ((rows - mean) / spread) @ old + place[1]
            return np.mean(np.logaddexp(0, np.where(fake, -logits, logits))[known]) + 0.25 * place[0] ** 2 * old @ old

        size = minimize(scale_loss, np.zeros(2)).x[0]

        def loss(place):
            logits = (rows - mean) / spread @ place[:-1] + place[-1]
            return np.mean(np.logaddexp(0, np.where(fake, -logits, logits))) + 0.25 * np.sum((place[:-1] - size * old) ** 2)

        best = minimize(loss, np.zeros(11)).x[:-1] / spread
        np.testing.assert_allclose(found["weight"] / np.linalg.norm(found["weight"]), best / np.linalg.norm(best), atol=2e-3)

    def test_content_directions_are_not_moved_along(self):
        rows, fake = self.cloud()
        content = np.random.default_rng(5).normal(size=len(rows)).astype(np.float32)
        rows[:, 4:] += 5 * content[:, None]
        head = probe.fit(rows, fake, np.ones(len(rows)), penalty=1.0, content_directions=1)
        tied = [
            np.corrcoef(
                probe.refit(rows, content > 0, np.ones(len(rows)), head, np.ones(len(rows), bool), penalty=0.01, content_directions=count)["weight"]
                @ rows.T,
                content,
            )
            for count in (0, 1)
        ]
        assert tied[0][0, 1] > 0.9
        assert abs(tied[1][0, 1]) < 0.5

    def test_a_head_that_tells_nothing(self):
        rows, fake = self.cloud()
        with pytest.raises(ValueError, match="tell nothing"):
            probe.refit(rows * 0, fake, np.ones(len(rows)), {"weight": np.zeros(10), "bias": np.zeros(1)}, np.ones(len(rows), bool), penalty=1.0)
