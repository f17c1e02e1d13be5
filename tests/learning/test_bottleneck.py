import pytest
import torch

from realgrain.learning import bottleneck
from realgrain.learning.bottleneck import CODES, GROUP, Gaussian, Quantiser


def latents(seed, count=2, channels=8, side=24, scale=1.0):
    return scale * torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def quantiser():
    torch.manual_seed(0)
    made = Quantiser(8).train()
    for step in range(30):
        made(latents(step))
    return made.eval()


class TestQuantiser:
    def test_gives_codes_and_nothing_else(self, quantiser):
        found, _ = quantiser(latents(99))
        for group in range(2):
            vectors = found[:, group * GROUP : (group + 1) * GROUP].permute(0, 2, 3, 1).reshape(-1, GROUP)
            apart = torch.cdist(vectors, quantiser.codes[group], compute_mode="donot_use_mm_for_euclid_dist")
            assert apart.min(1).values.max() < 1e-5

    def test_gives_the_nearest(self, quantiser):
        given = latents(99)
        vectors = given[:, GROUP:].permute(0, 2, 3, 1).reshape(-1, GROUP)
        expected = torch.cdist(vectors, quantiser.codes[1], compute_mode="donot_use_mm_for_euclid_dist").min(1).values
        found = (quantiser(given)[0] - given)[:, GROUP:].permute(0, 2, 3, 1).reshape(-1, GROUP).norm(dim=1)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)

    def test_gradient_goes_straight_through(self, quantiser):
        given, weight = latents(3).requires_grad_(), latents(4)
        (quantiser(given)[0] * weight).sum().backward()
        torch.testing.assert_close(given.grad, weight)

    def test_latents_are_drawn_to_their_codes(self, quantiser):
        given = latents(3).requires_grad_()
        found, extra = quantiser(given)
        extra.backward()
        torch.testing.assert_close(given.grad, 2 * bottleneck.COMMITMENT * (given - found).detach() / given.numel())

    def test_codes_are_used(self, quantiser):
        vectors = latents(99, count=8).reshape(8, 2, GROUP, -1).permute(1, 0, 3, 2).flatten(1, 2)
        for chosen in quantiser.nearest(vectors):
            assert len(chosen.unique()) > 0.9 * CODES

    def test_codes_follow_when_latents_move(self, quantiser):
        """Even to where no code was near."""
        given = latents(99, scale=0.1) + 50
        before = quantiser(given)[1]
        quantiser.train()
        for step in range(150):
            quantiser(latents(step, scale=0.1) + 50)
        quantiser.eval()
        assert quantiser(given)[1] < 1e-4 * before
        vectors = given.reshape(2, 2, GROUP, -1).permute(1, 0, 3, 2).flatten(1, 2)
        assert all(len(chosen.unique()) > CODES / 2 for chosen in quantiser.nearest(vectors))

    def test_evaluation_changes_nothing(self, quantiser):
        before = {name: values.clone() for name, values in quantiser.state_dict().items()}
        quantiser(latents(1, scale=5.0))
        assert all(torch.equal(values, before[name]) for name, values in quantiser.state_dict().items())


class TestGaussian:
    @pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
    def test_divergence_is_finite_and_not_negative(self, scale):
        given = latents(0, scale=scale).requires_grad_()
        found, extra = Gaussian().train()(given)
        (found.mean() + extra).backward()
        assert extra >= 0 and all(values.isfinite().all() for values in (found, extra, given.grad))

    def test_divergence_is_that_of_the_library(self):
        given = latents(0)
        mean, log_variance = given.chunk(2, dim=1)
        law = torch.distributions.Normal(mean, (0.5 * (log_variance + bottleneck.FIRST_LOG_VARIANCE)).exp())
        expected = torch.distributions.kl_divergence(law, torch.distributions.Normal(0.0, 1.0)).mean()
        torch.testing.assert_close(Gaussian()(given)[1], bottleneck.KL_WEIGHT * expected)

    def test_draws_in_training_alone(self):
        layer, given = Gaussian(), latents(0)
        mean, log_variance = given.chunk(2, dim=1)
        assert torch.equal(layer.eval()(given)[0], mean)
        torch.manual_seed(0)
        noise = (layer.train()(given)[0] - mean) / (0.5 * (log_variance + bottleneck.FIRST_LOG_VARIANCE)).exp()
        assert noise.std() == pytest.approx(1, abs=0.05)
