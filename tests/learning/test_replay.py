import numpy as np
import pytest

from realgrain.learning import pool, replay
from realgrain.learning.data import Sample


def samples(**counts):
    """``fake_a=3``: three generated pictures of source a."""
    found = []
    for name, count in counts.items():
        label, source = name.split("_")
        found += [Sample(path=f"{name}{index}", file=f"{name}{index}", label=label, source=source) for index in range(count)]
    return found


def features(count, views=2, size=4):
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(count, views, size)).astype(np.float32) for name in ("clean", "hard")}


def test_round_trip_in_half_precision():
    seen = features(5)
    kept = replay.read({**replay.fit(samples(real_a=2, fake_b=3), seen), "domain/mean": np.zeros(3)})
    assert kept.keys() == {"clean", "hard"}
    for name, of in kept.items():
        assert of.keys() == {("real", "a"), ("fake", "b")}
        np.testing.assert_allclose(of["fake", "b"], seen[name][2:].mean(1), atol=1e-3)


def test_names_with_slashes():
    named = [sample.model_copy(update={"source": "a/b"}) for sample in samples(real_a=2)]
    assert list(replay.read(replay.fit(named, features(2)))["clean"]) == [("real", "a/b")]


@pytest.mark.parametrize("counts", [{"real_a": 900, "real_b": 10, "fake_a": 300, "fake_b": 100}, {"real_a": 5, "fake_a": 3}])
def test_as_many_of_each_source_as_there_is_room_for(counts):
    kept = {group: len(of) for group, of in replay.read(replay.fit(samples(**counts), features(sum(counts.values()))))["clean"].items()}
    full = {tuple(name.split("_")): count for name, count in counts.items()}
    assert sum(kept.values()) <= replay.MOST
    most = max(kept.values())
    assert all(kept[group] == min(count, most) for group, count in full.items())
    assert kept == full or sum(kept.values()) + len(kept) > replay.MOST


def test_nothing_kept():
    assert replay.read({"domain/mean": np.zeros(3)}) == {}


def test_replayed_pictures_are_fitted_on_as_they_were_delivered():
    found = pool.replayed(replay.read(replay.fit(samples(real_a=2, fake_b=3), features(5))))
    assert found.problem.fake.sum() == 3
    assert len(set(found.problem.sha256)) == 5
    assert len(set(found.problem.twins)) == 5
    for picture in range(5):
        np.testing.assert_array_equal(found.rows[found.owner == picture], [of[picture] for of in found.delivered.values()])


def test_keep_and_join():
    whole = pool.replayed(replay.read(replay.fit(samples(real_a=2, fake_b=3), features(5))))
    mask = np.array([True, False, True, False, True])
    part, rest = whole.keep(mask), whole.keep(~mask)
    again = pool.joined(part, rest, apart=False)
    assert again.problem.sha256 == [*part.problem.sha256, *rest.problem.sha256]
    assert set(again.problem.twins) == set(whole.problem.twins)
    assert len(set(pool.joined(part, part, apart=True).problem.twins)) == 6
    for row, sha256 in enumerate(again.problem.sha256):
        old = whole.problem.sha256.index(sha256)
        np.testing.assert_array_equal(again.rows[again.owner == row], whole.rows[whole.owner == old])
        np.testing.assert_array_equal(again.delivered["hard"][row], whole.delivered["hard"][old])
