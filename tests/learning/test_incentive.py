import math
from dataclasses import asdict

import pytest
import torch
from clouds import PIN, D, grown, pin, toy
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from realgrain.learning.anchors import prototypes
from realgrain.learning.collapse import NoiseCollapse, check_collapse
from realgrain.learning.incentive import mean_logits, noise_loss, noised
from realgrain.learning.noise import Noise
from realgrain.learning.noise_law import PositiveIncentiveNoise, make_noise

pytestmark = pytest.mark.usefixtures("one_thread")


def test_none_is_no_module_and_a_plain_loss():
    features, fake = toy()
    head = nn.Linear(D, 1)
    assert make_noise(D, Noise()) is None
    loss, seen = noise_loss(head, features, fake, None, Noise())
    torch.testing.assert_close(loss, binary_cross_entropy_with_logits(head(features)[:, 0], fake.float()))
    assert seen.clean_loss == seen.noised_loss == pytest.approx(loss.item())
    assert seen.information_gain == seen.energy == 0


def test_draws_have_the_mean_and_deviation_asked_for():
    features, _ = toy(3)
    mean, deviation = torch.linspace(-1, 1, D).expand(3, D), torch.linspace(0, 2, D).expand(3, D)
    found = noised(features, mean, deviation, 20_000, torch.Generator().manual_seed(0))
    assert found.shape == (60_000, D)
    draws = found.view(-1, 3, D) - features
    torch.testing.assert_close(draws.mean(0), mean, atol=0.06, rtol=0)
    torch.testing.assert_close(draws.std(0), deviation, atol=0.05, rtol=0)


def test_gradients_reach_mean_deviation_and_features():
    features, _ = toy(4)
    parts = [features.requires_grad_(), torch.zeros(4, D, requires_grad=True), torch.ones(4, D, requires_grad=True)]
    noised(*parts, draws=2, generator=torch.Generator().manual_seed(0)).sum().backward()
    unit = noised(torch.zeros(4, D), torch.zeros(4, D), torch.ones(4, D), 2, torch.Generator().manual_seed(0)).view(2, 4, D)
    torch.testing.assert_close(parts[0].grad, torch.full((4, D), 2.0))
    torch.testing.assert_close(parts[1].grad, torch.full((4, D), 2.0))
    torch.testing.assert_close(parts[2].grad, unit.sum(0))


@pytest.mark.parametrize("parts", ["both", "mean", "deviation"])
def test_every_parameter_and_the_features_get_a_gradient(parts):
    """Also of an ablated generator: a distributed run waits for the gradient of each parameter."""
    noise, head = pin(parts=parts), nn.Linear(D, 1)
    features, fake = toy()
    features.requires_grad_()
    noise_loss(head, features, fake, noise, noise.settings)[0].backward()
    for name, parameter in [*noise.named_parameters(), *head.named_parameters(), ("features", features)]:
        assert parameter.grad is not None, name
    for layer in (noise.query, noise.value, noise.mean, noise.deviation):
        assert layer is None or layer.weight.grad.abs().sum() > 0


def test_noised_features_carry_the_gradient_to_the_tower():
    """By weight alone: the gradient of the loss with noise is the clean one and, on top of it, that through the noised features."""
    features, fake = toy()
    features.requires_grad_()
    head, noise = nn.Linear(D, 1), grown(pin())
    gradients = [
        torch.autograd.grad(
            noise_loss(head, features, fake, noise.eval(), Noise(kind="pin", weight=w), torch.Generator().manual_seed(1))[0], features
        )[0]
        for w in (0.0, 1.0, 2.0)
    ]
    assert (gradients[1] - gradients[0]).norm() > 0.1 * gradients[0].norm()
    torch.testing.assert_close(gradients[2] - gradients[1], gradients[1] - gradients[0], atol=1e-6, rtol=1e-4)


def test_reported_energy_of_pin_makes_gaussian_noise_as_strong():
    features, fake = toy()
    noise = grown(pin(), 300).eval()
    _, seen = noise_loss(nn.Linear(D, 1), features, fake, noise, PIN)
    mean, deviation, _ = noise(features, fake)
    other = make_noise(D, Noise(kind="gaussian", energy=seen.energy))
    other.load_state_dict({name: value for name, value in noise.state_dict().items() if name in ("norm", "spread")})
    _, same, _ = other.eval()(features)
    assert same.pow(2).sum(1).mean().item() == pytest.approx((mean**2 + deviation**2).sum(1).mean().item(), rel=1e-4)


def test_loss_is_the_sum_it_says():
    features, fake = toy()
    settings = Noise(kind="pin", weight=0.7, draws=3)
    noise, head = grown(pin(draws=3)).eval(), nn.Linear(D, 1)
    loss, seen = noise_loss(head, features, fake, noise, settings, torch.Generator().manual_seed(4))
    mean, deviation, _ = noise(features, fake)
    draws = noised(features, mean, deviation, 3, torch.Generator().manual_seed(4)).view(3, 64, D)
    clean = binary_cross_entropy_with_logits(head(features)[:, 0], fake.float())
    perturbed = sum(binary_cross_entropy_with_logits(head(draw)[:, 0], fake.float()) for draw in draws) / 3
    torch.testing.assert_close(loss, clean + 0.7 * perturbed)
    assert seen.information_gain == pytest.approx(seen.clean_loss - seen.noised_loss, abs=1e-6)
    assert seen.noised_loss == pytest.approx(perturbed.item())
    assert all(isinstance(value, float) for value in asdict(seen).values())


def test_rows_of_weight_zero_count_for_nothing_and_only_ratios_matter():
    features, fake = toy()
    noise, head = grown(pin(parts="mean")).eval(), nn.Linear(D, 1)
    weight = torch.rand(64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight[32:] = 0
    loss, seen = noise_loss(head, features, fake, noise, PIN, weight=weight)
    half, _ = noise_loss(head, features[:32], fake[:32], noise, PIN, weight=17 * weight[:32])
    torch.testing.assert_close(loss, half)
    assert loss.dtype == torch.float32
    assert seen.clean_loss != pytest.approx(noise_loss(head, features, fake, noise, PIN)[1].clean_loss, rel=1e-3)


def test_the_same_generator_draws_the_same():
    features, fake = toy()
    noise, head = grown(pin(draws=2)).eval(), nn.Linear(D, 1)

    def run(seed):
        return noise_loss(head, features, fake, noise, noise.settings, torch.Generator().manual_seed(seed))

    assert run(1)[0].equal(run(1)[0])
    assert run(1)[1] == run(1)[1]
    assert not run(1)[0].equal(run(2)[0])


@pytest.mark.parametrize("kind", ["gaussian", "pin"])
def test_bf16_autocast(kind):
    settings = Noise(kind=kind, heads=2, draws=2, floor=0.01)
    torch.manual_seed(0)
    tower, head, noise = nn.Linear(D, D), nn.Linear(D, 1), make_noise(D, settings)
    if isinstance(noise, PositiveIncentiveNoise):
        noise.set_anchors(torch.randn(2, D))
    features, fake = toy()
    losses = []
    for enabled in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            embedded = tower(features)
            assert embedded.dtype == (torch.bfloat16 if enabled else torch.float32)
            mean, deviation, attention = noise(embedded, fake)
            assert mean.dtype == deviation.dtype == attention.dtype == torch.float32
            loss, seen = noise_loss(head, embedded, fake, noise, settings, torch.Generator().manual_seed(0))
        assert loss.dtype == torch.float32
        assert all(math.isfinite(value) for value in asdict(seen).values())
        tower.zero_grad()
        loss.backward()
        assert tower.weight.grad.isfinite().all()
        assert tower.weight.grad.abs().sum() > 0
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_known_logits_are_not_asked_for_again():
    features, fake = toy()
    noise, head, asked = grown(pin()).eval(), nn.Linear(D, 1), []

    def count(rows):
        asked.append(len(rows))
        return head(rows)

    loss, _ = noise_loss(count, features, fake, noise, PIN, torch.Generator().manual_seed(1))
    again, _ = noise_loss(count, features, fake, noise, PIN, torch.Generator().manual_seed(1), logits=head(features))
    assert loss.equal(again)
    assert asked == [64, 64, 64]


def test_vectors_of_a_picture_share_its_label():
    """A head that reads the mean of a picture's vectors."""
    features, fake = toy()
    tokens = features[:, None] + torch.randn(64, 5, D, generator=torch.Generator().manual_seed(0))
    noise, head = grown(pin(draws=2)), nn.Linear(D, 1)
    loss, seen = noise_loss(lambda rows: head(rows.mean(1)), tokens, fake, noise, noise.settings)
    loss.backward()
    assert noise.query.weight.grad.abs().sum() > 0
    rows = tokens.view(-1, D)
    mean, deviation, _ = noise.eval()(rows)
    assert seen.mean_norm == pytest.approx((mean.norm(dim=1) / rows.norm(dim=1)).mean().item(), rel=0.1)  # of the scale one step before
    assert seen.deviation_ratio == pytest.approx((deviation.mean() / noise.spread).item(), rel=0.1)


class TestInUse:
    def test_is_the_mean_over_draws(self):
        features, _ = toy(5)
        noise, head = grown(pin(), 1000).eval(), nn.Linear(D, 1)

        def logits(rows):
            return head(rows)[:, 0].tanh()

        mean, deviation, _ = noise(features)
        found = mean_logits(logits, features, noise, 40_000)
        torch.manual_seed(5)
        expected = logits(noised(features, mean, deviation, 40_000)).view(40_000, 5).mean(0)
        torch.testing.assert_close(found, expected, atol=0.03, rtol=0)
        assert (found - logits(features)).abs().max() > 0.05

    def test_same_each_time_whatever_the_neighbours(self):
        features, _ = toy(6)
        noise, head = grown(pin(), 1000).eval(), nn.Linear(D, 1)
        found = mean_logits(head, features, noise, 3)
        torch.manual_seed(77)
        assert torch.equal(mean_logits(head, features, noise, 3), found)
        torch.testing.assert_close(mean_logits(head, features[[4, 1]], noise, 3), found[[4, 1]])
        assert (mean_logits(head, features, noise, 4) - found).abs().max() > 1e-3


def learn(settings, steps=200, seed=0, apart=1.0, batch=128, frozen=False):
    """Train tower (or not), head and noise together on batches that are new each time, so that nothing can be learned by heart."""
    torch.manual_seed(seed)
    tower, head, noise = nn.Linear(D, D), nn.Linear(D, 1), make_noise(D, settings)
    nn.init.eye_(tower.weight)
    nn.init.zeros_(tower.bias)
    nn.init.zeros_(head.weight)
    tower.requires_grad_(not frozen)
    if isinstance(noise, PositiveIncentiveNoise):
        noise.set_anchors(prototypes(*toy(400, seed, apart)))
    optimiser = torch.optim.Adam([*tower.parameters(), *head.parameters(), *noise.parameters()], lr=5e-3)
    history, losses = [], []
    draws = torch.Generator().manual_seed(seed)
    for number in range(steps):
        features, fake = toy(batch, 1000 * (seed + 1) + number, apart)
        loss, seen = noise_loss(head, tower(features), fake, noise, settings, draws)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(seen)
        losses.append(loss.item())
    return nn.Sequential(tower, noise.eval(), head), history, losses


@pytest.mark.parametrize("changes", [{}, {"heads": 8}, {"parts": "mean"}, {"parts": "deviation"}, {"detach_query": False}, {"kind": "gaussian"}])
def test_joint_training_lowers_the_loss(changes):
    _, history, losses = learn(Noise(**{"kind": "pin", **changes}), steps=50)
    assert losses[0] == pytest.approx(2 * math.log(2), rel=0.05)
    assert sum(losses[-5:]) / 5 < 0.8 * losses[0]
    assert history[-1].clean_loss < 0.8 * history[0].clean_loss
    check_collapse(history, 20)


@pytest.mark.parametrize("seed", range(3))
def test_learned_noise_helps_more_than_isotropic_noise_of_equal_energy(seed):
    """A linear problem: the tower is the identity. On pictures that neither was trained on, each with the head that it was trained with."""
    mine, history, _ = learn(PIN, seed=seed, frozen=True)
    energy = sum(step.energy for step in history) / len(history)
    control, control_history, _ = learn(Noise(kind="gaussian", energy=energy), seed=seed, frozen=True)
    assert control_history[-1].energy == pytest.approx(energy, rel=1e-3)
    features, fake = toy(4000, seed)
    seen, control_seen = (
        noise_loss(head, tower(features), fake, noise, noise.settings, torch.Generator().manual_seed(0))[1] for tower, noise, head in (mine, control)
    )
    assert seen.information_gain > 0.03
    assert control_seen.information_gain < 0
    assert seen.noised_loss < control_seen.noised_loss - 0.05


def test_a_real_leak_is_noticed():
    """Own-class keys, and features that tell nothing of the label: all that can be learned is the leak."""
    with pytest.warns(UserWarning, match="own_class"):
        _, history, _ = learn(Noise(kind="pin", keys="own_class", weight=2.0), steps=120, apart=0.0)
    with pytest.raises(NoiseCollapse, match="gives the answer away"):
        check_collapse(history, 30)
