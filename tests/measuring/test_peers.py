"""Which published figures stand beside a run's; no detector is run."""

import numpy as np
import pyarrow as pa
import pytest

from realgrain.measuring.benchmarks.aigibench import COPIES, SETS
from realgrain.measuring.benchmarks.published import published
from realgrain.measuring.lock import BundleRef, Environment, Lock, ManifestRef, Protocol, RuntimeRef
from realgrain.measuring.metrics import evaluate
from realgrain.measuring.peers import Peers, peers
from realgrain.measuring.results import Evaluation
from realgrain.picture.views import View, ViewSpec


def lock(benchmark: str, split: str, conditions: tuple[str, ...]) -> Lock:
    return Lock(
        benchmark=benchmark,
        protocol=Protocol(conditions=conditions, split=split),
        bundle=BundleRef(name="it", hash="1", base_sha256="2", views=ViewSpec((View("crop"),))),
        runtime=RuntimeRef(name="none", precision="f32", version="0"),
        environment=Environment(python="3", processor="", packages={}, decoders={}),
        manifest=ManifestRef(pictures=0, sha256=""),
    )


def figures(sets: tuple[str, ...], conditions: tuple[str, ...], each: int = 10) -> Evaluation:
    """Of pictures whose scores differ by set and condition."""
    rng = np.random.default_rng(0)
    rows = []
    for name in sets:
        for condition in conditions:
            for number, chance in enumerate(np.clip(np.repeat([0.3, 0.7], each) + rng.normal(0, 0.25, 2 * each), 0.01, 0.99)):
                kind = {"path": f"{name}/{number}", "label": "fake" if number >= each else "real", "generator": "", "source": ""}
                score = {"logit": float(np.log(chance / (1 - chance))), "probability": float(chance)}
                rows.append({**kind, "set": name, "condition": condition, "error": "", **score})
    return evaluate(pa.Table.from_pylist(rows), resamples=0)


def beside(benchmark: str, sets: tuple[str, ...], *, split: str = "test", conditions: tuple[str, ...] = ("clean",)) -> Peers | None:
    return peers(lock(benchmark, split, conditions), figures(sets, conditions))


class TestSplit:
    @pytest.mark.parametrize("copy", COPIES)
    def test_a_degraded_copy_has_the_figures_of_that_copy(self, copy):
        """Its files are what publications tested: ours is of them as they are, not degraded again."""
        conditions = ("clean", f"aigibench-{copy}")
        found = beside("aigibench", SETS, split=copy, conditions=conditions)
        assert {peer.condition for peer in found.peers} == {f"degraded copy {copy}"}
        ours = figures(SETS, conditions).conditions["clean"].over_sets["accuracy_at_half"].value
        assert {peer.main.ours for peer in found.peers} == {100 * ours}
        assert not any("strength" in words for peer in found.peers for words in peer.differs)
        assert f"This run is of the degraded copy {copy}, as the published figures beside it are." in found.convention
        assert "No figure of PiN-CLIP on pictures like these is known; there are others on this benchmark." in found.convention
        assert beside("aigibench", SETS, split=copy, conditions=("web",)) is None

    def test_our_degradation_of_the_test_pictures_has_them_too(self):
        found = beside("aigibench", SETS, conditions=("aigibench-jpeg",))
        assert {peer.condition for peer in found.peers} == {"degraded copy jpeg"}
        assert all("strength of theirs is not published" in peer.differs for peer in found.peers)

    @pytest.mark.parametrize("split", ["train", "val", ""])
    @pytest.mark.parametrize("benchmark", ["aigibench", "genimage"])
    def test_other_splits_have_none(self, benchmark, split):
        assert beside(benchmark, ("ProGAN",), split=split) is None

    def test_the_test_split_has_no_figure_of_a_copy(self):
        assert {peer.condition for peer in beside("aigibench", SETS).peers} == {"clean"}
        assert {figure.condition for figure in published("aigibench")} > {"clean"}
