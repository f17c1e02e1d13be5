import math

import pytest
import torch
from clouds import PIN, D, grown, pin, toy
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from realgrain.learning.anchors import prototypes
from realgrain.learning.collapse import VANISHED_DEVIATION
from realgrain.learning.incentive import noise_loss, noised
from realgrain.learning.noise import Noise
from realgrain.learning.noise_law import make_noise

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("heads", [1, 8])
@pytest.mark.parametrize("parts", ["both", "mean", "deviation"])
def test_shapes(heads, parts):
    features, fake = toy(10)
    mean, deviation, attention = pin(heads=heads, parts=parts)(features, fake)
    assert mean.shape == deviation.shape == (10, D)
    assert attention.shape == (10, heads, 2)
    assert (deviation >= 0).all()
    torch.testing.assert_close(attention.sum(-1), torch.ones(10, heads))


def test_starts_near_zero_but_not_at_zero():
    features, fake = toy()
    _, seen = noise_loss(nn.Linear(D, 1), features, fake, pin(), PIN)
    assert 0 < seen.mean_norm < 0.02
    assert VANISHED_DEVIATION < seen.deviation_ratio < 0.05
    assert abs(seen.information_gain) < 0.05


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


@pytest.mark.parametrize("kind", ["gaussian", "pin"])
def test_single_vectors_take_the_spread_of_a_look(kind):
    """As where each part of a batch is one picture."""
    features, fake = toy(64)
    settings = Noise(kind=kind, energy=0.5, floor=0.5)
    noise = make_noise(D, settings)
    if kind == "pin":
        noise.set_anchors(prototypes(features, fake))
    with pytest.raises(RuntimeError, match="spread of the features from a single vector"):
        noise_loss(nn.Linear(D, 1), features[:1], fake[:1], noise, settings)
    noise.look(features)
    for row in range(8):
        _, seen = noise_loss(nn.Linear(D, 1), features[row : row + 1], fake[row : row + 1], noise, settings)
    assert noise.spread.item() == pytest.approx(features.var(0).mean().sqrt().item())
    assert seen.deviation_ratio == pytest.approx(0.5, rel=1e-3)
    assert seen.energy == pytest.approx(0.5, rel=0.2)
    assert seen.clean_loss != seen.noised_loss


def test_batches_count_for_more_than_a_look():
    features, _ = toy(64)
    noise, other = (make_noise(D, Noise(kind="gaussian")) for _ in range(2))
    noise.look(features * 9)
    for one in (noise, other):
        one(features)
    assert torch.equal(noise.spread, other.spread)


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


@pytest.mark.parametrize("changes", [{}, {"keys": "own_class"}, {"kind": "gaussian"}])
@pytest.mark.filterwarnings("ignore:noise with own_class keys")
def test_each_of_a_pictures_vectors_is_a_vector_of_its_own(changes):
    settings = Noise(**{"kind": "pin", "heads": 4, **changes})
    torch.manual_seed(0)
    noise = make_noise(D, settings)
    if settings.kind == "pin":
        grown(noise).set_anchors(prototypes(*toy(256, seed=9)))
    features, fake = toy(24)
    noise(features, fake)
    labels = torch.tensor([False, True, True, False])
    rows = noise.eval()(features, labels.repeat_interleave(6))
    mean, deviation, attention = noise(features.view(4, 6, D), labels)
    assert mean.shape == deviation.shape == (4, 6, D)
    for found, expected in zip((mean.view(24, D), deviation.view(24, D), attention), rows, strict=True):
        assert torch.equal(found, expected)
