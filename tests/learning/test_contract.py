"""What every method must do, found by its name. That each one's bundle scores as what was trained, in every runtime, is in ``test_tune``."""

import re

import pytest
import torch

from realgrain.learning import methods
from realgrain.learning.backbone import load_tower
from realgrain.learning.draws import Draws
from realgrain.learning.network import Network
from realgrain.learning.recipe import Recipe, read_recipe
from realgrain.learning.trainer import make_optimiser

pytestmark = [pytest.mark.parametrize("method", methods.names()), pytest.mark.usefixtures("one_thread")]
BLOCK = 2
MAY_MOVE = {  # of a tower whose head reads the class token after block 2, by what the method says of its adapter
    "none": r"$^",
    "lora": r"encoder\.layers\.[01]\.self_attn\.\w+\.lora_[AB]\.",
    "effort": r"encoder\.layers\.[01]\.self_attn\.\w+_proj\.(up|scale|down)$",
    "full": r"vision_model\.(embeddings|pre_layrnorm|encoder\.layers\.[01])\.",
}


@pytest.fixture(scope="module")
def toy_batch(problem):
    """Views (32, 3, 224, 224) of half of the toy pictures, and their labels."""
    drawn = Draws(problem, Recipe())
    items = [drawn[index] for index in range(0, len(drawn), 2)]
    return torch.stack([item["views"] for item in items]), torch.stack([item["fake"] for item in items])


@pytest.fixture
def recipe_of(tiny_tower, tmp_path):
    def read(method):
        path = tmp_path / f"{method}.yaml"
        path.write_text(f"method: {method}\nbase: {tiny_tower.folder}\nblock: {BLOCK}\ntuning: {{rate: 1.0e-3, head_rate: 1.0e-2}}\n")
        return read_recipe(path)

    return read


@pytest.fixture
def network(method, recipe_of, tiny_tower, toy_batch) -> Network:
    """The method, before its first step."""
    torch.manual_seed(0)
    network = Network(load_tower(tiny_tower), recipe_of(method)).eval()
    with torch.no_grad():
        network.look(network.features(network.stem(toy_batch[0], None)), toy_batch[1] > 0)
    return network


def taught(network, toy_batch, steps):
    """Loss of each step, on pictures hidden and noised as the method does it; the network is left in evaluation mode."""
    optimiser, losses = make_optimiser(network, network.recipe.tuning), []
    network.train()
    for _ in range(steps):
        optimiser.zero_grad()
        loss = network(toy_batch[0], fake=toy_batch[1])["loss"]
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    network.eval()
    return losses


def test_nothing_moves_but_what_may(method, network, toy_batch):
    """And all of it that may gets a gradient, which a distributed run waits for."""
    may = re.compile(rf"(linear|noise)\.|tower\..*({MAY_MOVE[network.recipe.adapter.kind]})")
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    taught(network, toy_batch, steps=3)
    for name, weight in network.named_parameters():
        assert weight.requires_grad == (weight.grad is not None) == bool(may.match(name)), name
    moved = {name for name, weight in network.named_parameters() if not torch.equal(weight, before[name])}
    assert all(may.match(name) for name in moved)
    assert moved > {"linear.weight"} | ({"noise.query.weight"} if network.recipe.noise.kind == "pin" else set())
    assert any(name.startswith("tower.") for name in moved) == (network.recipe.adapter.kind != "none")


def test_a_few_steps_lower_the_loss(method, network, toy_batch):
    losses = taught(network, toy_batch, steps=10)
    assert sum(losses[-2:]) / 2 < 0.8 * losses[0]


def test_evaluation_is_the_same_each_time_whatever_the_neighbours(method, network, toy_batch):
    views = toy_batch[0]
    taught(network, toy_batch, steps=3)
    state, steps = {name: value.clone() for name, value in network.state_dict().items()}, len(network.history)
    with torch.no_grad():
        found = network(views)["logits"]
        torch.manual_seed(99)
        assert torch.equal(network(views)["logits"], found)
        torch.testing.assert_close(network(views[5:8])["logits"], found[5:8], atol=1e-4, rtol=1e-4)
    assert found.std() > 1e-2
    assert len(network.history) == steps
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
