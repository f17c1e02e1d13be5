import numpy as np
import pytest
import torch
from torch import nn
from toy import picture

from realgrain.learning import autoencoder
from realgrain.learning.autoencoder import DESIGNS, REACH, Autoencoder, Design, doubling

LAYERS = {"transposed": nn.ConvTranspose2d, "nearest": nn.Upsample, "shuffle": nn.PixelShuffle}


def random_model(design: Design, seed: int = 0) -> Autoencoder:
    """Untrained, but with every layer doing something."""
    torch.manual_seed(seed)
    model = Autoencoder(design)
    for layer in model.modules():
        if isinstance(layer, autoencoder.Residual):
            nn.init.orthogonal_(layer.second.weight)
    if design.bottleneck == "vq":
        with torch.no_grad():
            model.train()(torch.rand(2, 3, 32, 32) * 2 - 1)
    return model.eval()


@pytest.fixture(params=[*DESIGNS.values(), Design("transposed", "plain", 8, 32)], ids=[*DESIGNS, "eighth"])
def model(request):
    return random_model(request.param)


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


class TestDesigns:
    def test_every_upsampling_and_bottleneck_has_one(self):
        assert {design.upsampling for design in DESIGNS.values()} == set(LAYERS)
        assert {design.bottleneck for design in DESIGNS.values()} == {"plain", "kl", "vq"}

    def test_names_say_what_they_are(self):
        assert all(name == f"{design.upsampling}-{design.bottleneck}" for name, design in DESIGNS.items())

    def test_decoder_has_its_own_upsampling_and_no_other(self, model):
        for upsampling, layer in LAYERS.items():
            found = sum(isinstance(part, layer) for part in model.decoder.modules())
            assert found == (np.log2(model.design.factor) if upsampling == model.design.upsampling else 0)

    @pytest.mark.parametrize("upsampling", LAYERS)
    def test_traces(self, upsampling):
        """Of an even area, nearest neighbour makes an even one; the others a pattern of period 2."""
        torch.manual_seed(0)
        with torch.no_grad():
            found = doubling(upsampling, 8, 4)(torch.ones(1, 8, 12, 12))[:, :, 4:-4, 4:-4]
        assert found.shape[2:] == (16, 16)
        torch.testing.assert_close(found[:, :, 2:], found[:, :, :-2])
        assert ((found[:, :, 1:] - found[:, :, :-1]).abs().max() < 1e-5) == (upsampling == "nearest")

    @pytest.mark.parametrize("name", DESIGNS)
    def test_gradient_reaches_every_weight(self, name):
        torch.manual_seed(0)
        model = random_model(DESIGNS[name]).train()
        remade, extra = model(torch.rand(2, 3, 32, 32))
        (remade.abs().mean() + extra).backward()
        assert [key for key, weight in model.named_parameters() if weight.grad is None or not weight.grad.abs().sum() > 0] == []


class TestReconstruct:
    @pytest.mark.parametrize("size", [(64, 64), (33, 50), (1, 1), (5, 130)])
    def test_any_size(self, model, size):
        found = model.reconstruct(noise(*size))
        assert found.shape == (*size, 3) and found.dtype == np.uint8

    def test_is_what_the_network_says(self, model):
        pixels = noise(32, 40)
        with torch.inference_mode():
            found = model(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1)[0][0].permute(1, 2, 0)
        expected = ((found + 1) * 127.5).clamp(0, 255).numpy()
        assert np.abs(model.reconstruct(pixels) - expected).max() <= 0.51

    def test_does_not_depend_on_batch_mates(self, model):
        pixels = np.stack([picture(seed, fake=False, size=(50, 45)) for seed in range(3)])
        together = model.reconstruct(pixels)
        assert together.shape == pixels.shape
        for one, found in zip(pixels, together, strict=True):
            assert np.mean(model.reconstruct(one) != found) < 1e-3  # a level, where the order of a sum tips the rounding

    def test_pieces_leave_no_seam(self, model, monkeypatch):
        pixels = picture(0, fake=False, size=(430, 390))
        monkeypatch.setattr(autoencoder, "TILE", 1024)
        whole = model.reconstruct(pixels)
        monkeypatch.setattr(autoencoder, "TILE", 160)
        assert np.mean(model.reconstruct(pixels) != whole) < 1e-3

    def test_no_pixel_depends_on_any_farther_than_reach(self, model):
        pixels = (torch.rand(1, 3, 2 * REACH + 96, 8) * 2 - 1).requires_grad_()
        row = REACH + 44
        model(pixels)[0][:, :, row].sum().backward()
        moved = pixels.grad.abs().sum((0, 1, 3)).nonzero().flatten()
        assert row - REACH <= moved.min() < row - 4 and row + 4 < moved.max() <= row + REACH

    def test_bf16_is_near(self, model):
        pixels = picture(0, fake=False, size=(64, 64))
        found, near = (model.reconstruct(pixels, bf16=bf16).astype(float) for bf16 in (False, True))
        assert 0 < np.abs(found - near).mean() < 3

    def test_network_is_as_loud_at_the_end_as_at_the_start(self):
        """Else deep decoders learn nothing for hundreds of steps."""
        for design in DESIGNS.values():
            torch.manual_seed(0)
            model = Autoencoder(design).train()
            pixels = torch.randn(2, 3, 64, 64)
            assert 0.1 < model(pixels)[0].std() / pixels.std() < 2
