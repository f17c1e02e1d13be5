import copy
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.numpy import load_file
from torch.nn import Linear

from realgrain.detector.merging import merge
from realgrain.learning.adapters import Adapter, EffortLinear, adapt, learned, regulariser, svd_error
from realgrain.learning.backbone import load_tower, save_tiny_tower

LAYERS = "vision_model.encoder.layers."
KINDS = {
    "none": Adapter(),
    "lora": Adapter("lora", rank=3, alpha=5),
    "lora with dropout, one block": Adapter("lora", rank=2, dropout=0.5, blocks=1, targets=("q_proj", "out_proj")),
    "full": Adapter("full"),
    "full, every direction": Adapter("full", export_rank=64),
    "last": Adapter("last", blocks=1),
    "last, all blocks": Adapter("last"),
    "effort": Adapter("effort", rank=2, orthogonality=0.1, keep_norm=0.1),
    "effort of rank 1, one block": Adapter("effort", rank=1, blocks=1),
    "effort, every direction": Adapter("effort", rank=32, orthogonality=0.1, keep_norm=0.1),
}
MOVING = {name: adapter for name, adapter in KINDS.items() if adapter.kind != "none"}


@pytest.fixture(params=[None, 2])
def block(request):
    return request.param


def adapted(tiny_tower, adapter, block=None, seed=0):
    tower = load_tower(tiny_tower)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        adapt(tower, adapter, block)
    return tower


def pixels(count=4):
    return torch.from_numpy(np.random.default_rng(count).normal(size=(count, 3, 224, 224)).astype(np.float32))


def feature(tower, block):
    found = tower(pixels(), output_hidden_states=True)
    return found.image_embeds if block is None else found.hidden_states[block][:, 0]


def tune(tower, adapter, block, steps=4):
    """Move a tower as training would, and leave it in evaluation mode."""
    tower.train()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        wanted = torch.randn_like(feature(tower, block).detach())
        optimiser = torch.optim.Adam([weight for weight in tower.parameters() if weight.requires_grad], lr=0.05)
        for _ in range(steps):
            optimiser.zero_grad()
            ((feature(tower, block) - wanted).square().mean() + regulariser(tower, adapter)).backward()
            optimiser.step()
    return tower.eval()


def movable(tower):
    return {name for name, weight in tower.named_parameters() if weight.requires_grad}


class TestStart:
    @pytest.mark.parametrize("adapter", KINDS.values(), ids=KINDS)
    def test_gives_the_original_features(self, tiny_tower, adapter, block):
        tower = adapted(tiny_tower, adapter, block)
        with torch.inference_mode():
            torch.testing.assert_close(feature(tower, block), feature(load_tower(tiny_tower), block), atol=1e-5, rtol=0)

    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("adapter", KINDS.values(), ids=KINDS)
    def test_keeps_the_mode(self, tiny_tower, adapter, training):
        tower = load_tower(tiny_tower).train(training)
        adapt(tower, adapter, None)
        assert {module.training for module in tower.modules()} == {training}

    def test_is_still_the_original_with_every_direction_in_the_residual(self, tiny_tower):
        """Nothing is left in the principal part then, so that the features are the trained factors' own."""
        tower = adapted(tiny_tower, KINDS["effort, every direction"])
        assert max(module.weight.abs().max() for module in tower.modules() if isinstance(module, EffortLinear)) < 1e-6


class TestWhatMoves:
    @pytest.mark.parametrize("adapter", KINDS.values(), ids=KINDS)
    def test_every_movable_weight_gets_a_gradient_and_no_other_moves(self, tiny_tower, adapter, block):
        """Read off the tower after training, not off its flags: whatever moved is movable, and whatever is movable moved."""
        tower = adapted(tiny_tower, adapter, block)
        before = {name: weight.detach().clone() for name, weight in tower.named_parameters()}
        if adapter.kind == "none":
            assert not movable(tower)
            return
        tune(tower, adapter, block)
        without = {name for name, weight in tower.named_parameters() if weight.grad is None}
        moved = {name for name, weight in tower.named_parameters() if not torch.equal(weight, before[name])}
        assert without == before.keys() - movable(tower)
        assert moved == movable(tower)

    @pytest.mark.parametrize("adapter", MOVING.values(), ids=MOVING)
    def test_nothing_after_the_feature(self, tiny_tower, adapter):
        names = movable(adapted(tiny_tower, adapter, 2))
        assert names
        assert not any(name.startswith((f"{LAYERS}2.", "vision_model.post_layernorm", "visual_projection")) for name in names)

    def test_full_is_all_that_the_feature_depends_on(self, tiny_tower):
        everything = {name for name, _ in load_tower(tiny_tower).named_parameters()}
        assert movable(adapted(tiny_tower, Adapter("full"))) == everything
        after = (f"{LAYERS}2.", "vision_model.post_layernorm", "visual_projection")
        assert movable(adapted(tiny_tower, Adapter("full"), 2)) == {name for name in everything if not name.startswith(after)}

    @pytest.mark.parametrize("kind", ["last", "lora", "effort"])
    @pytest.mark.parametrize(("block", "blocks", "expected"), [(None, 1, "2"), (None, 2, "12"), (None, None, "012"), (2, 1, "1"), (2, None, "01")])
    def test_counts_blocks_back_from_the_feature(self, tiny_tower, kind, block, blocks, expected):
        names = movable(adapted(tiny_tower, Adapter(kind, rank=2, blocks=blocks), block))
        assert all(name.startswith(LAYERS) for name in names)
        assert {name[len(LAYERS)] for name in names} == set(expected)

    @pytest.mark.parametrize("kind", ["lora", "effort"])
    def test_targets(self, tiny_tower, kind):
        names = movable(adapted(tiny_tower, Adapter(kind, rank=2, targets=("v_proj", "out_proj"))))
        assert {name.split(".")[5] for name in names} == {"v_proj", "out_proj"}

    def test_unfreezes_nothing_that_was_left_movable(self, tiny_tower):
        tower = load_tower(tiny_tower).requires_grad_(True)
        adapt(tower, Adapter("last", blocks=1), None)
        assert all(name.startswith(f"{LAYERS}2.") for name in movable(tower))


@pytest.mark.parametrize(("dropout", "alike"), [(0.0, True), (0.5, False)])
def test_dropout_is_of_training(tiny_tower, dropout, alike):
    adapter = Adapter("lora", rank=2, dropout=dropout)
    tower = tune(adapted(tiny_tower, adapter), adapter, None)
    with torch.inference_mode(), torch.random.fork_rng():
        assert torch.equal(feature(tower.eval(), None), feature(tower, None))
        assert torch.equal(feature(tower.train(), None), feature(tower, None)) == alike


class TestCounts:
    @pytest.mark.parametrize("rank", [1, 4])
    def test_lora(self, tiny_tower, rank):
        tower = adapted(tiny_tower, Adapter("lora", rank=rank, blocks=2))
        assert sum(weight.numel() for weight in tower.parameters() if weight.requires_grad) == 2 * 3 * rank * (32 + 32)

    @pytest.mark.parametrize("rank", [1, 4])
    def test_effort_stores_the_original_and_the_residual(self, tiny_tower, rank):
        """The residual's start counts as buffers, once more; the principal factors would be another two matrices for each."""
        original = sum(weight.numel() for weight in load_tower(tiny_tower).parameters())
        tower = adapted(tiny_tower, Adapter("effort", rank=rank))
        residual = 3 * 3 * rank * (32 + 32 + 1)
        assert sum(weight.numel() for weight in tower.parameters() if weight.requires_grad) == residual
        assert sum(weight.numel() for weight in tower.parameters()) == original + residual
        assert sum(value.numel() for value in tower.state_dict().values()) == original + 2 * residual

    def test_effort_reuses_the_weights_memory(self):
        linear = Linear(32, 32)
        place = linear.weight.data_ptr()
        assert EffortLinear(linear, 2).weight.data_ptr() == place


def merged_tower(tiny_tower, arrays):
    tower = load_tower(tiny_tower)
    merged = merge(load_file(tiny_tower.tensors), arrays)
    tower.load_state_dict({name: torch.from_numpy(array) for name, array in merged.items()})
    return tower


class TestLearned:
    @pytest.mark.parametrize("adapter", MOVING.values(), ids=MOVING)
    def test_merged_is_the_tuned_tower(self, tiny_tower, adapter, block):
        tuned = tune(adapted(tiny_tower, adapter, block), adapter, block)
        arrays = learned(tuned, adapter)
        assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}
        with torch.inference_mode():
            found, expected = feature(merged_tower(tiny_tower, arrays), block), feature(tuned, block)
            assert (expected - feature(load_tower(tiny_tower), block)).abs().max() > 0.01  # it did move
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)

    @pytest.mark.parametrize("adapter", MOVING.values(), ids=MOVING)
    def test_an_untrained_tower_merges_to_the_original(self, tiny_tower, adapter):
        merged = merge(load_file(tiny_tower.tensors), learned(adapted(tiny_tower, adapter), adapter))
        for name, array in load_file(tiny_tower.tensors).items():
            np.testing.assert_allclose(merged[name], array, atol=1e-7)

    def test_a_frozen_tower_ships_nothing(self, tiny_tower):
        assert learned(adapted(tiny_tower, Adapter()), Adapter()) == {}

    @pytest.mark.parametrize(("adapter", "rank"), [(Adapter("lora", rank=3), 3), (Adapter("effort", rank=3), 6)], ids=["lora", "effort"])
    def test_low_rank_shapes(self, tiny_tower, adapter, rank):
        arrays = learned(adapted(tiny_tower, adapter, 2), adapter)
        names = [f"{LAYERS}{layer}.self_attn.{target}.weight" for layer in (0, 1) for target in adapter.targets]
        shapes = {f"{name}.up": (32, rank) for name in names} | {f"{name}.down": (rank, 32) for name in names}
        assert {name: array.shape for name, array in arrays.items()} == shapes

    def test_a_copy_of_a_tower_ships_the_same(self, tiny_tower):
        """Averaging of runs copies towers."""
        tower = tune(adapted(tiny_tower, Adapter("full")), Adapter("full"), None)
        expected, found = (learned(one, Adapter("full")) for one in (tower, copy.deepcopy(tower)))
        assert expected.keys() == found.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)

    @pytest.mark.parametrize("adapter", MOVING.values(), ids=MOVING)
    def test_a_checkpoint_is_the_state_dict(self, tiny_tower, adapter):
        """A resumed run adapts anew, with whatever seed, and loads."""
        tuned, resumed = tune(adapted(tiny_tower, adapter), adapter, None), adapted(tiny_tower, adapter, seed=5)
        resumed.load_state_dict(tuned.state_dict())
        expected = learned(tuned, adapter)
        assert expected.keys() == learned(resumed, adapter).keys()
        for name, array in learned(resumed, adapter).items():
            np.testing.assert_array_equal(array, expected[name])

    def test_of_a_tower_adapted_otherwise(self, tiny_tower):
        with pytest.raises(ValueError, match="not adapted by lora"):
            learned(load_tower(tiny_tower), Adapter("lora"))
        with pytest.raises(ValueError, match="not adapted by lora"):
            learned(adapted(tiny_tower, Adapter("full")), Adapter("lora"))


@pytest.fixture(scope="module")
def tuned(tiny_tower):
    return tune(adapted(tiny_tower, Adapter("full")), Adapter("full"), None)


class TestTruncation:
    def test_loses_what_svd_error_says(self, tuned):
        whole = learned(tuned, Adapter("full"))
        for rank in (1, 5, 20, 64):
            arrays = learned(tuned, Adapter("full", export_rank=rank))
            for name in (f"{LAYERS}0.mlp.fc1.weight", "vision_model.embeddings.patch_embedding.weight", "visual_projection.weight"):
                up, down, delta = arrays[f"{name}.up"], arrays[f"{name}.down"], whole[f"{name}.delta"]
                assert up.shape[1] == down.shape[0] == min(rank, len(delta), delta[0].size)
                lost = np.linalg.norm(delta.reshape(len(delta), -1) - up @ down) / np.linalg.norm(delta)
                assert lost == pytest.approx(svd_error(delta, rank), rel=1e-3, abs=1e-5)

    def test_error_falls_with_rank(self, tuned):
        delta = learned(tuned, Adapter("full"))[f"{LAYERS}1.mlp.fc2.weight.delta"]
        errors = [svd_error(delta, rank) for rank in range(33)]
        assert errors[0] == pytest.approx(1)
        assert errors[32] == 0
        assert all(after < before for before, after in pairwise(errors))

    def test_known_spectrum(self):
        assert svd_error(np.diag(np.float32([3, 4, 12])), 1) == pytest.approx(5 / 13)
        assert svd_error(np.zeros((3, 2), np.float32), 1) == 0

    def test_vectors_stay_whole(self, tuned):
        arrays = learned(tuned, Adapter("full", export_rank=1))
        assert all(array.ndim == 1 for name, array in arrays.items() if name.endswith(".delta"))
        assert f"{LAYERS}0.layer_norm1.bias.delta" in arrays

    def test_a_small_rank_is_smaller(self, tuned):
        sizes = [sum(array.nbytes for array in learned(tuned, Adapter("full", export_rank=rank)).values()) for rank in (1, 2, None)]
        assert sizes[0] < sizes[1] < sizes[2]


def whole_factors(module):
    """All singular vectors as the paper keeps them: the principal ones from an SVD of the principal part, then the residual's."""
    left, _, right = torch.linalg.svd(module.weight.double())
    kept = len(module.weight) - len(module.scale)
    return torch.cat([left[:, :kept], module.up.double()], 1), torch.cat([right[:kept], module.down.double()])


class TestRegulariser:
    @pytest.mark.parametrize(
        "adapter", [Adapter(), Adapter("lora", orthogonality=1, keep_norm=1), Adapter("full"), Adapter("last"), Adapter("effort")]
    )
    def test_is_nothing_without_terms(self, tiny_tower, adapter):
        found = regulariser(adapted(tiny_tower, adapter), adapter)
        assert found.shape == ()
        assert found == 0

    def test_starts_near_nothing(self, tiny_tower):
        adapter = Adapter("effort", rank=4, orthogonality=1, keep_norm=1)
        tower = adapted(tiny_tower, adapter)
        found = regulariser(tower, adapter)
        assert 0 < found < 1e-3
        with torch.autocast("cpu", torch.bfloat16):
            assert regulariser(tower, adapter) == found

    def test_does_not_push_where_it_starts(self, tiny_tower):
        """The plain norm's gradient has the same length however small the norm is: it would push along rounding errors as hard as along any."""
        adapter = Adapter("effort", rank=4, orthogonality=9)  # a mean over nine matrices
        tower = adapted(tiny_tower, adapter)
        lengths = []
        for _ in range(2):
            tower.zero_grad()
            regulariser(tower, adapter).backward()
            lengths.append(min(module.up.grad.norm() for module in tower.modules() if isinstance(module, EffortLinear)))
            with torch.no_grad():
                for module in tower.modules():
                    if isinstance(module, EffortLinear):
                        module.up += 0.01 * torch.ones_like(module.up)
        assert lengths[0] < 0.1
        assert lengths[1] > 0.5

    @pytest.mark.parametrize("weights", [{"orthogonality": 0.5}, {"keep_norm": 0.5}, {"orthogonality": 0.2, "keep_norm": 3.0}], ids=str)
    def test_is_the_papers_terms(self, tiny_tower, weights):
        """Computed here from the principal factors, which the module does not have."""
        tower = tune(adapted(tiny_tower, Adapter("effort", rank=4)), Adapter("effort", rank=4), None)
        original = load_file(tiny_tower.tensors)
        orthogonality, norm = [], []
        for name, module in tower.named_modules():
            if isinstance(module, EffortLinear):
                left, right = whole_factors(module)
                eye = torch.eye(32).double()
                orthogonality.append(torch.linalg.norm(left.T @ left - eye) + torch.linalg.norm(right @ right.T - eye))
                now = module.weight.double() + (module.up * module.scale).double() @ module.down.double()
                norm.append((now.square().sum() - torch.from_numpy(original[f"{name}.weight"]).double().square().sum()).abs())
        expected = weights.get("orthogonality", 0) * sum(orthogonality) / 9 + weights.get("keep_norm", 0) * sum(norm) / 9
        assert expected > 0
        found = regulariser(tower, Adapter("effort", rank=4, **weights))
        torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-4)

    @pytest.mark.parametrize("weights", [{"orthogonality": 1.0}, {"keep_norm": 1.0}], ids=str)
    def test_a_step_against_it_lowers_it(self, tiny_tower, weights):
        adapter = Adapter("effort", rank=4, **weights)
        tower = tune(adapted(tiny_tower, adapter), replace(adapter, orthogonality=0, keep_norm=0), None)
        before = regulariser(tower, adapter)
        tower.zero_grad()
        before.backward()
        torch.optim.SGD([weight for weight in tower.parameters() if weight.requires_grad], lr=1e-3).step()
        assert regulariser(tower, adapter) < before


class TestRefusals:
    @pytest.mark.parametrize("first", KINDS.values(), ids=KINDS)
    def test_a_second_adapter(self, tiny_tower, first):
        tower = adapted(tiny_tower, first)
        with pytest.raises(ValueError, match="already"):
            adapt(tower, Adapter("lora"), None)

    @pytest.mark.parametrize(
        ("adapter", "block", "message"),
        [
            (Adapter(), 4, "blocks 1 to 3"),
            (Adapter("full"), 0, "blocks 1 to 3"),
            (Adapter("lora", rank=2), 4, "blocks 1 to 3"),
            (Adapter("last", blocks=4), None, "last 4 blocks"),
            (Adapter("lora", blocks=3), 2, "last 3 blocks"),
            (Adapter("effort", rank=33), None, "rank 33"),
            (Adapter("lora", rank=33), None, "rank 33"),
        ],
    )
    def test_what_the_tower_does_not_have(self, tiny_tower, adapter, block, message):
        tower = load_tower(tiny_tower)
        with pytest.raises(ValueError, match=message):
            adapt(tower, adapter, block)
        assert not movable(tower)
        adapt(tower, Adapter("full"), None)  # a refusal leaves it as it was
        assert movable(tower)

    @pytest.mark.parametrize(
        "settings",
        [
            {"rank": 0},
            {"alpha": 0.0},
            {"alpha": math.inf},
            {"orthogonality": math.inf},
            {"dropout": 1.0},
            {"dropout": -0.1},
            {"blocks": 0},
            {"targets": ()},
            {"targets": ("fc1",)},
            {"targets": ("q_proj", "q_proj")},
            {"orthogonality": -1.0},
            {"keep_norm": float("nan")},
            {"export_rank": 0},
            {"kind": "full", "blocks": 2},
        ],
        ids=str,
    )
    def test_settings(self, settings):
        with pytest.raises(ValueError, match=list(settings)[-1]):
            Adapter(**settings)
        with pytest.raises(ValidationError):  # as a recipe reads it
            TypeAdapter(Adapter).validate_python(settings)

    def test_recipes_read_and_write_it(self):
        adapter = Adapter("effort", rank=1, targets=("q_proj", "out_proj"), keep_norm=0.1)
        schema = TypeAdapter(Adapter)
        assert schema.validate_json(schema.dump_json(adapter)) == adapter


def test_other_widths(tmp_path):
    """Of the tiny tower, patches and width are equal, which could hide a transposition."""
    base = save_tiny_tower(tmp_path / "tower", hidden_size=48, intermediate_size=40, patch_size=56, projection_dim=7)
    for adapter in (Adapter("effort", rank=5, targets=("q_proj", "k_proj", "v_proj", "out_proj")), Adapter("full", export_rank=64)):
        tower = tune(adapted(base, adapter), adapter, None)
        with torch.inference_mode():
            torch.testing.assert_close(feature(merged_tower(base, learned(tower, adapter)), None), feature(tower, None), atol=1e-4, rtol=0)
