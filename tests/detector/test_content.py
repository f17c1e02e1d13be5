import numpy as np
import pytest
from sklearn.metrics import pairwise_distances_argmin

from realgrain.detector import content


def places(*centres, each=120, seed=0):
    """Points (N, 4) about some centres along the first axis."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal([centre, 0, 0, 0], 0.1, (each, 4)) for centre in centres])


def test_finds_groups_of_photographs_in_order_of_the_first_direction():
    found = content.fit(places(2, -2, 0))
    np.testing.assert_allclose(found[content.CENTRES][:, 0], [-2, 0, 2], atol=0.1)
    assert content.groups_of(places(2, -2, 0, each=1, seed=1), found).tolist() == [2, 0, 1]
    assert content.count(found) == content.GROUPS


def test_says_the_nearest():
    found, other = content.fit(places(2, -2, 0)), places(-3, -1, 1.2, 5, seed=2)
    assert content.groups_of(other, found).tolist() == pairwise_distances_argmin(other, found[content.CENTRES]).tolist()


@pytest.mark.parametrize(("count", "groups"), [(1, 1), (199, 1), (200, 2), (299, 2), (1000, 3)])
def test_few_photographs_make_fewer_groups(count, groups):
    found = content.fit(np.random.default_rng(0).normal(size=(count, 4)))
    assert content.count(found) == groups
    assert set(content.groups_of(np.random.default_rng(1).normal(size=(500, 4)), found)) == set(range(groups))


def test_is_the_same_each_time():
    assert content.fit(places(1, 0))[content.CENTRES].tobytes() == content.fit(places(1, 0))[content.CENTRES].tobytes()


def test_nothing_kept_is_one_group():
    assert content.groups_of(np.ones((3, 4)), {}).tolist() == [0, 0, 0]
    assert content.count({}) == 1
