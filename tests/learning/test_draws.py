from itertools import islice

import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader

from realgrain.learning.draws import Balanced, Draws


class TestBalanced:
    def test_is_balanced(self):
        weight = np.array([1.0] * 90 + [9.0] * 10)
        drawn = np.array([index for index, _ in Balanced(weight, 3, 5000)])
        assert abs(np.mean(drawn >= 90) - 0.5) < 0.03

    @settings(deadline=None)
    @given(st.integers(0, 2**40), st.integers(1, 50), st.integers(1, 200), st.integers(1, 200))
    def test_a_longer_run_begins_as_a_shorter_one(self, seed, pictures, short, more):
        weight = np.ones(pictures)
        longer = list(Balanced(weight, seed, short + more))
        assert len(longer) == short + more == len(Balanced(weight, seed, short + more))
        assert longer[:short] == list(Balanced(weight, seed, short))

    def test_does_not_repeat_itself(self):
        found = list(Balanced(np.ones(30), 1, 90))
        assert found[:30] != found[30:60] != found[60:]
        assert found != list(Balanced(np.ones(30), 2, 90))
        assert len({draw for _, draw in found}) == 90

    @pytest.mark.parametrize(("batch", "accumulate", "world"), [(12, 1, 2), (12, 2, 2), (12, 2, 3), (12, 3, 1)])
    def test_what_processes_take_together_is_the_batch_of_one(self, batch, accumulate, world):
        steps = 5
        sampler = Balanced(np.ones(17), 0, steps * batch)
        parts = BatchSampler(sampler, batch // accumulate // world, drop_last=False)
        taken = [iter(BatchSamplerShard(parts, world, rank)) for rank in range(world)]
        for whole in BatchSampler(sampler, batch, drop_last=False):
            assert sorted(whole) == sorted(look for each in taken for part in islice(each, accumulate) for look in part)
        assert all(next(each, None) is None for each in taken)


class TestDraws:
    @pytest.fixture
    def drawn(self, problem, recipe_of):
        return Draws(problem, recipe_of("lora", **{"views.views": [{"kind": "crop"}, {"kind": "resize"}]}))

    def test_a_look_is_always_the_same(self, drawn):
        for look in (0, (0, 5)):
            torch.manual_seed(len(str(look)))
            assert torch.equal(drawn[look]["views"], drawn[look]["views"])
        assert not torch.equal(drawn[0, 5]["views"], drawn[0, 7]["views"])
        assert not torch.equal(drawn[0, 5]["views"], drawn[0]["views"])

    def test_labels(self, drawn, problem):
        assert [float(drawn[index]["fake"]) for index in (0, -1)] == [float(problem.fake[0]), float(problem.fake[-1])] == [0, 1]

    def test_every_view_is_seen(self, drawn):
        assert len({tuple(drawn[0, draw]["views"].shape) for draw in range(4)}) == 1
        means = [drawn.recipe.views.count] + [float(drawn[0, draw]["views"].std()) for draw in range(4)]
        assert means[0] == 2
        assert len(set(means[1:])) == 4

    @pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on one processor
    def test_workers_see_what_one_process_sees(self, drawn):
        sampler = Balanced(np.ones(len(drawn)), 0, 12)
        alone, helped = ([batch["views"] for batch in DataLoader(drawn, 4, sampler=sampler, num_workers=count)] for count in (0, 2))
        assert all(torch.equal(first, second) for first, second in zip(alone, helped, strict=True))
