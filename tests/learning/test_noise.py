import math
from dataclasses import asdict

import pytest
import torch
from pydantic import BaseModel, ValidationError
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, scaled_dot_product_attention

from realgrain.learning.noise import (
    VANISHED_DEVIATION,
    Diagnostics,
    Noise,
    NoiseCollapse,
    PositiveIncentiveNoise,
    check_collapse,
    make_noise,
    noise_loss,
    noised,
    prototypes,
)

D = 16
PIN = Noise(kind="pin")


@pytest.fixture(autouse=True)
def one_thread():
    """Batches this small are several times as fast without threads that wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def toy(n=64, seed=0, apart=1.0, offset=2.0):
    """Features (n, D) of two overlapping clouds, off the origin as those of CLIP are, and which of them are fake."""
    generator = torch.Generator().manual_seed(seed)
    fake = torch.arange(n) % 2 == 1
    features = torch.randn((n, D), generator=generator) + offset
    features[:, 0] += apart * (2 * fake - 1)
    return features, fake


def pin(seed=0, **changes) -> PositiveIncentiveNoise:
    """A generator with anchors, that has seen the toy features."""
    torch.manual_seed(seed)
    noise = make_noise(D, Noise(kind="pin", **changes))
    assert isinstance(noise, PositiveIncentiveNoise)
    noise.set_anchors(prototypes(*toy(256, seed=9)))
    noise(*toy())
    return noise


def grown(noise, factor=100.0):
    """The generator, its noise no longer near zero."""
    with torch.no_grad():
        for layer in (noise.mean, noise.deviation):
            if layer is not None:
                layer.weight *= factor
    return noise


@pytest.mark.parametrize("heads", [1, 8])
@pytest.mark.parametrize("parts", ["both", "mean", "deviation"])
def test_shapes(heads, parts):
    features, fake = toy(10)
    mean, deviation, attention = pin(heads=heads, parts=parts)(features, fake)
    assert mean.shape == deviation.shape == (10, D)
    assert attention.shape == (10, heads, 2)
    assert (deviation >= 0).all()
    torch.testing.assert_close(attention.sum(-1), torch.ones(10, heads))


def test_none_is_no_module_and_a_plain_loss():
    features, fake = toy()
    head = nn.Linear(D, 1)
    assert make_noise(D, Noise()) is None
    loss, seen = noise_loss(head, features, fake, None, Noise())
    torch.testing.assert_close(loss, binary_cross_entropy_with_logits(head(features)[:, 0], fake.float()))
    assert seen.clean_loss == seen.noised_loss == pytest.approx(loss.item())
    assert seen.information_gain == seen.energy == 0


def test_starts_near_zero_but_not_at_zero():
    features, fake = toy()
    _, seen = noise_loss(nn.Linear(D, 1), features, fake, pin(), PIN)
    assert 0 < seen.mean_norm < 0.02
    assert VANISHED_DEVIATION < seen.deviation_ratio < 0.05
    assert abs(seen.information_gain) < 0.05


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


@pytest.mark.parametrize("detach", [True, False])
def test_a_detached_query_does_not_move_the_features(detach):
    noise = grown(pin(detach_query=detach))
    features, fake = toy()
    features.requires_grad_()
    mean, deviation, _ = noise(features, fake)
    assert mean.requires_grad
    assert deviation.requires_grad
    if detach:
        (gradient,) = torch.autograd.grad((mean + deviation).sum(), features, allow_unused=True)
        assert gradient is None
    else:
        assert torch.autograd.grad((mean + deviation).sum(), features)[0].abs().sum() > 0


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


def test_parts_keep_one_part_alone():
    features, fake = toy()
    mean, deviation, _ = pin(parts="mean")(features, fake)
    assert mean.abs().sum() > 0
    assert (deviation == 0).all()
    mean, deviation, _ = pin(parts="deviation")(features, fake)
    assert (mean == 0).all()
    assert (deviation > 0).any()


@pytest.mark.parametrize("heads", [1, 8])
def test_attention_entropy_is_between_one_anchor_and_both(heads):
    features, fake = toy()
    noise = pin(heads=heads)
    _, start = noise_loss(nn.Linear(D, 1), features, fake, noise, noise.settings)
    assert 0 < start.attention_entropy <= math.log(2) + 1e-6
    with torch.no_grad():
        noise.query.weight *= 1000
    _, sharp = noise_loss(nn.Linear(D, 1), features, fake, noise, noise.settings)
    assert 0 <= sharp.attention_entropy < 0.5 * start.attention_entropy


@pytest.mark.parametrize("heads", [1, 4])
def test_attention_is_that_of_torch(heads):
    features, fake = toy()
    noise = grown(pin(heads=heads)).eval()
    anchors = noise.anchors * features.norm(dim=1).mean()
    query, key, value = (
        layer(rows).unflatten(1, (heads, -1)).transpose(0, 1)
        for layer, rows in ((noise.query, features), (noise.key, anchors), (noise.value, anchors))
    )
    attended = scaled_dot_product_attention(query, key, value).transpose(0, 1).flatten(1)
    mean, deviation, _ = noise(features, fake)
    torch.testing.assert_close(mean, noise.mean(attended))
    torch.testing.assert_close(deviation, noise.deviation(attended).abs())


def test_heads_attend_each_for_itself():
    features, fake = toy()
    attention = pin(heads=8)(features, fake)[2]
    assert attention.std(dim=1).mean() > 1e-3


def test_label_free_noise_does_not_see_the_label():
    features, fake = toy()
    noise = grown(pin()).eval()
    for labels in (~fake, None):
        for one, other in zip(noise(features, fake), noise(features, labels), strict=True):
            assert torch.equal(one, other)


def test_own_class_noise_sees_the_label_and_warns():
    with pytest.warns(UserWarning, match="own_class"):
        noise = grown(pin(keys="own_class")).eval()
    features, fake = toy()
    mean, _, attention = noise(features, fake)
    assert torch.equal(attention[:, 0, 1], fake.float())
    assert not torch.allclose(mean, noise(features, ~fake)[0])
    assert torch.equal(mean, noise(features, fake.float())[0])
    with pytest.raises(ValueError, match="labels"):
        noise(features, None)


def test_own_class_noise_has_finite_gradients():
    with pytest.warns(UserWarning, match="own_class"):
        noise = pin(keys="own_class")
    features, fake = toy()
    noise_loss(nn.Linear(D, 1), features, fake, noise, noise.settings)[0].backward()
    assert all(parameter.grad.isfinite().all() for parameter in noise.parameters())


@pytest.mark.parametrize("energy", [0.05, 0.5, 3.0])
def test_gaussian_noise_has_the_energy_asked_for(energy):
    noise = make_noise(D, Noise(kind="gaussian", energy=energy))
    features, fake = toy(500)
    features = features * torch.linspace(0.1, 5, D)  # unlike dimensions: the noise is isotropic all the same
    mean, deviation, attention = noise(features, fake)
    drawn = noised(features, mean, deviation, 40, torch.Generator().manual_seed(0)).view(40, 500, D) - features
    assert attention.numel() == 0
    assert not list(noise.parameters())
    assert drawn.pow(2).sum(-1).mean() / features.var(0).sum() == pytest.approx(energy**2, rel=0.02)
    torch.testing.assert_close(drawn.std((0, 1)), deviation[0], rtol=0.03, atol=0)
    assert deviation.unique().numel() == 1
    _, seen = noise_loss(nn.Linear(D, 1), features, fake, noise, noise.settings)
    assert seen.energy == pytest.approx(energy, rel=1e-4)
    assert seen.deviation_ratio == pytest.approx(energy, rel=1e-4)
    assert seen.mean_norm == seen.attention_entropy == 0


def test_reported_energy_of_pin_makes_gaussian_noise_as_strong():
    features, fake = toy()
    noise = grown(pin(), 300).eval()
    _, seen = noise_loss(nn.Linear(D, 1), features, fake, noise, PIN)
    mean, deviation, _ = noise(features, fake)
    other = make_noise(D, Noise(kind="gaussian", energy=seen.energy))
    other.load_state_dict({name: value for name, value in noise.state_dict().items() if name in ("norm", "spread")})
    _, same, _ = other.eval()(features)
    assert same.pow(2).sum(1).mean().item() == pytest.approx((mean**2 + deviation**2).sum(1).mean().item(), rel=1e-4)


def test_noise_in_evaluation_does_not_depend_on_the_batch():
    features, _ = toy()
    gaussian = make_noise(D, Noise(kind="gaussian"))
    gaussian(features)
    for noise in (gaussian.eval(), grown(pin()).eval()):
        before = {name: value.clone() for name, value in noise.state_dict().items()}
        for one, all_of in zip(noise(features[:1] * 3), noise(torch.cat([features[:1] * 3, features])), strict=True):
            torch.testing.assert_close(one, all_of[:1])
        assert all(torch.equal(before[name], value) for name, value in noise.state_dict().items())


def test_the_scale_follows_the_features_and_survives_saving():
    noise = make_noise(D, Noise(kind="gaussian", energy=1.0))
    features, _ = toy(512)
    noise(features)
    assert noise.spread.item() == pytest.approx(features.var(0).mean().sqrt().item())
    assert noise.norm.item() == pytest.approx(features.norm(dim=1).mean().item())
    noise(features[:1])  # a single row has no spread
    assert noise.spread.item() == pytest.approx(features.var(0).mean().sqrt().item())
    for _ in range(100):
        noise(features * 4)
    assert noise.spread.item() == pytest.approx(4 * features.var(0).mean().sqrt().item(), rel=1e-3)
    again = make_noise(D, Noise(kind="gaussian", energy=1.0))
    again.load_state_dict(noise.state_dict())
    assert torch.equal(again.eval()(features)[1], noise.eval()(features)[1])


def test_a_floor_keeps_the_deviation_up():
    noise = pin(floor=0.5)
    features, fake = toy()
    _, deviation, _ = noise(features, fake)
    assert deviation.min() >= 0.5 * noise.spread
    assert deviation.min() < 0.51 * noise.spread
    assert (pin(floor=0.5, parts="mean")(features, fake)[1] == 0).all()


def test_anchors_take_the_norm_of_the_features():
    features, fake = toy()
    noise = grown(pin()).eval()
    before = noise(features, fake)
    noise.set_anchors(prototypes(*toy(256, seed=9)) * torch.tensor([[3.0], [0.01]]))
    torch.testing.assert_close(noise.anchors.norm(dim=1), torch.ones(2))
    for one, other in zip(before, noise(features, fake), strict=True):
        torch.testing.assert_close(one, other)
    noise.set_anchors(noise.anchors.flip(0))
    torch.testing.assert_close(noise(features, fake)[2], before[2].flip(-1))


def test_prototypes_are_weighted_class_means():
    features, fake = toy(6)
    weight = torch.tensor([1.0, 2.0, 0.0, 1.0, 1.0, 1.0])
    expected = torch.stack([(features[0] + features[4]) / 2, (2 * features[1] + features[3] + features[5]) / 4])
    torch.testing.assert_close(prototypes(features, fake, weight), expected)
    torch.testing.assert_close(prototypes(features, fake.float()), torch.stack([features[~fake].mean(0), features[fake].mean(0)]))
    with pytest.raises(ValueError, match="each class"):
        prototypes(features, torch.ones(6))
    with pytest.raises(ValueError, match="each class"):
        prototypes(features, fake, (~fake).float())


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


def step(clean, perturbed, mean=0.1, deviation=0.05):
    return Diagnostics(clean, perturbed, clean - perturbed, mean, deviation, 0.1, 0.5)


def test_healthy_training_is_no_collapse():
    history = [step(0.7 * 0.98**i, 0.68 * 0.975**i) for i in range(400)]  # both losses go to 0: learnt, not leaked
    for end in range(1, len(history)):
        check_collapse(history[:end], 20)


def test_vanished_deviation_is_collapse():
    history = [step(0.7, 0.7, deviation=0.05 * 0.9**i) for i in range(100)]
    check_collapse(history[:50], 20)
    with pytest.raises(NoiseCollapse, match="standard deviation") as error:
        check_collapse(history, 20)
    assert "floor" in str(error.value)


def test_one_step_of_noise_within_the_window_is_no_collapse():
    history = [step(0.7, 0.7, deviation=1e-5) for _ in range(30)]
    history[-5] = step(0.7, 0.7)
    check_collapse(history, 20)
    check_collapse(history[:10], 20)  # too few steps to say


def test_leaking_mean_is_collapse():
    history = [step(0.69, 0.6 * 0.9**i) for i in range(60)]
    check_collapse(history[:20], 20)
    with pytest.raises(NoiseCollapse, match="gives the answer away"):
        check_collapse(history, 20)


def test_low_noised_loss_while_the_clean_one_still_falls_is_no_collapse():
    check_collapse([step(0.69 * 0.98**i, 0.01) for i in range(20)], 20)


def test_parts_that_are_switched_off_cannot_collapse():
    check_collapse([step(0.69, 0.69, deviation=0.0)] * 30, 20)  # mean alone
    check_collapse([step(0.69, 0.01, mean=0.0)] * 30, 20)  # deviation alone
    check_collapse([Diagnostics(0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0)] * 30, 20)  # none


def test_collapse_needs_a_window():
    with pytest.raises(ValueError, match="at least 2"):
        check_collapse([], 1)


def test_a_real_leak_is_noticed():
    """Own-class keys, and features that tell nothing of the label: all that can be learned is the leak."""
    with pytest.warns(UserWarning, match="own_class"):
        _, history, _ = learn(Noise(kind="pin", keys="own_class", weight=2.0), steps=120, apart=0.0)
    with pytest.raises(NoiseCollapse, match="gives the answer away"):
        check_collapse(history, 30)


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


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "salt"}, {"parts": "none"}, {"keys": "all"}, {"weight": -1.0}, {"heads": 0}, {"draws": 0}, {"energy": -0.1}, {"floor": math.nan}],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Noise(**wrong)


def test_settings_are_read_from_a_recipe():
    class Settings(BaseModel):
        noise: Noise = Noise()

    assert Settings.model_validate({"noise": {"kind": "pin", "heads": 8}}).noise == Noise(kind="pin", heads=8)
    with pytest.raises(ValidationError, match="draws"):
        Settings.model_validate({"noise": {"draws": 0}})


def test_misuse_is_told_clearly():
    features, fake = toy()
    fresh = make_noise(D, PIN)
    with pytest.raises(RuntimeError, match="set_anchors"):
        fresh(features, fake)
    with pytest.raises(RuntimeError, match="scale of the features"):
        make_noise(D, Noise(kind="gaussian")).eval()(features)
    with pytest.raises(ValueError, match=r"\(N, 16\)"):
        fresh(features[:, :8], fake)
    with pytest.raises(ValueError, match="do not divide"):
        make_noise(D, Noise(kind="pin", heads=3))
    for anchors in (torch.randn(3, D), torch.zeros(2, D), torch.full((2, D), torch.nan)):
        with pytest.raises(ValueError, match="anchor"):
            fresh.set_anchors(anchors)
