"""Which published figures stand beside a run's; no detector is run."""

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from realgrain.measuring import peer_tables
from realgrain.measuring.benchmarks import benchmark
from realgrain.measuring.benchmarks.aigibench import COPIES, SETS
from realgrain.measuring.benchmarks.published import every, published
from realgrain.measuring.lock import BundleRef, Environment, Lock, ManifestRef, Protocol, RuntimeRef
from realgrain.measuring.metrics import evaluate
from realgrain.measuring.peers import CONDITIONS, Peers, peers
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


class TestConvention:
    def test_where_publications_differ_is_said(self):
        assert any("1,000 pictures of each class at most" in words for words in beside("universalfakedetect", ("cyclegan",)).convention)
        assert any("Real pictures are JPEG" in words for words in beside("genimage", ("ADM",)).convention)
        assert not any(words.startswith("Where publications differ") for words in beside("wildrf", ("reddit",)).convention)

    @pytest.mark.parametrize(("each", "whole"), [(176, True), (184, True), (174, False), (186, False)])
    def test_a_rounded_number_of_pictures_is_met_within_its_rounding(self, each, whole):
        found = peers(lock("forensynths", "test", ("clean",)), figures(("seeingdark",), ("clean",), each))
        assert ("1 of 1 sets have not the published number of pictures: seeingdark." not in found.convention) == whole

    def test_a_figure_under_another_benchmarks_name_is_named(self):
        """What was published as GenImage's is not denied, nor taken for it."""
        found = beside("genimage", ("ADM",))
        assert "PiN-CLIP" not in {peer.method for peer in found.peers}
        place = found.convention.index("No figure of PiN-CLIP on this benchmark is known.")
        assert found.convention[place + 1] == (
            "PiN-CLIP's accuracy of 95.4 stands with AIGCDetectBenchmark, 16 or 17 sets (aigcdetect): published as GenImage; that these are its sets "
            "is inferred; so is the kind of mean; inferred: verify before quoting."
        )
        assert not any("stands with" in words for words in beside("universalfakedetect", ("cyclegan",)).convention)


class TestFigures:
    @pytest.mark.parametrize("name", sorted({figure.benchmark for figure in every()}))
    def test_every_published_figure_is_shown(self, name, monkeypatch):
        """In a run that has all sets and all conditions that they are published in."""
        monkeypatch.setattr("realgrain.measuring.peers.MOST", 1000)
        there = {figure.condition for figure in published(name)}
        conditions = tuple(ours for theirs, ours in CONDITIONS.items() if theirs in there)
        found = beside(name, benchmark(name).card.sets, conditions=conditions)
        means = [pair for peer in found.peers for pair in (peer.main, peer.real, peer.fake, peer.ap) if pair]
        single = [value for of in found.sets for peer in of.peers for value in peer.theirs.values()]
        assert sorted([*(pair.theirs for pair in means), *single]) == sorted(figure.value for figure in published(name))
        rows = [row for table in (peer_tables.means(found), *map(peer_tables.by_set, found.sets)) for row in table[1]]
        assert all(any(f"{value:.1f}" in cell for row in rows for cell in row) for value in single if round(value, 1) == value)

    def test_real_and_fake_accuracy(self):
        found = beside("aigibench", SETS)
        (dgs,) = [peer for peer in found.peers if peer.method == "DGS-Net" and peer.trained_on.startswith("setting II of AIGIBench, retrained")]
        means = figures(SETS, ("clean",)).conditions["clean"].over_sets
        real, fake = (100 * means[f"{kind}_accuracy_at_half"].value for kind in ("real", "fake"))
        assert (dgs.real.theirs, dgs.real.ours, dgs.fake.theirs, dgs.fake.ours) == (83.0, real, 81.5, fake)
        heads, rows = peer_tables.means(found)
        assert heads == list(peer_tables.COLUMNS)
        (row,) = [row for row in rows if row[0] == "DGS-Net" and row[2] == "82.3"]
        worst_of = [
            f"{100 * mean.value:.1f} (worst {100 * mean.worst_value:.1f}, {mean.worst})"
            for mean in (means["real_accuracy_at_half"], means["fake_accuracy_at_half"])
        ]
        assert row[4:6] == ["83.0 / 81.5", " / ".join(worst_of)]

    def test_worst_set_of_a_published_mean(self):
        """Of its own sets: a mean over few of them has another worst set than the run."""
        card = benchmark("forensynths").card
        sets = tuple(sorted(card.sets, reverse=True))
        parts = figures(sets, ("clean",)).conditions["clean"].sets
        lowest = {kind: min(names, key=lambda name: parts[name].metrics["ap"].value) for kind, names in {"all": sets, **card.means}.items()}
        assert lowest["eight"] != lowest["all"], "of no use: take other pictures"
        pairs = [peer.ap for peer in beside("forensynths", sets).peers if peer.ap and not any("not named" in words for words in peer.differs)]
        assert {pair.worst for pair in pairs} <= set(lowest.values()) and lowest["eight"] in {pair.worst for pair in pairs}
        assert all(pair.worst_value == 100 * parts[pair.worst].metrics["ap"].value for pair in pairs)

    def test_a_mean_over_one_set_has_no_worst(self):
        assert {peer.main.worst for peer in beside("drct2m", ("ldm-text2im-large-256",)).peers} == {None}

    def test_columns_that_nobody_fills_are_left_out(self):
        heads, rows = peer_tables.means(beside("drct2m", ("ldm-text2im-large-256",)))
        assert heads == ["method", "pictures", "accuracy", "ours", "trained on", "differs"]
        assert {len(row) for row in rows} == {len(heads)}

    def test_single_sets(self):
        sets = ("Midjourney", "glide", "wukong")
        (found,) = beside("genimage", sets).sets
        parts = figures(sets, ("clean",)).conditions["clean"].sets
        assert (found.metric, found.condition) == ("accuracy", "clean")
        assert found.ours == {name: 100 * parts[name].metrics["accuracy_at_half"].value for name in sets}
        assert len(found.peers) == 7 and all(set(peer.theirs) == set(sets) for peer in found.peers)
        heads, rows = peer_tables.by_set(found)
        assert heads[:3] == ["set", "ours", "ResNet-50"]
        assert [row[0] for row in rows] == list(sets)
        assert rows[0][1:3] == [f"{found.ours['Midjourney']:.1f}", "54.9"]

    def test_single_sets_that_the_run_lacks_are_not_shown(self):
        assert [list(of.ours) for of in beside("aigibench", ("SocialRF", "ProGAN")).sets] == [["SocialRF"], ["ProGAN", "SocialRF"]]
        assert beside("universalfakedetect", ("cyclegan",)).sets == []

    def test_single_sets_of_a_copy_have_none(self):
        assert beside("aigibench", SETS, split="jpeg").sets == []

    def test_methods_of_one_convention_share_a_note(self):
        notes = peer_tables.notes(beside("genimage", ("Midjourney",)))
        (note,) = [note for note in notes if note.startswith("On single sets")]
        assert note == "On single sets, ResNet-50, DeiT-S, Swin-T, CNNSpot, Spec, F3Net, GramNet: trained on GenImage stable_diffusion_v_1_4."

    def test_printed(self):
        with Console(width=240) as console, console.capture() as shown:
            console.print(peer_tables.as_tables(beside("forensynths", ("progan", "stylegan"))))
        text = " ".join(shown.get().split())
        assert "Published on single sets: accuracy in percent, and this run" in text
        assert "Published on single sets: AP in percent, and this run" in text
        assert "73.4" in text and "98.5" in text
