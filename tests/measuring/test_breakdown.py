"""Parts of a condition: sets, generators, real sources; their means, and intervals of clusters."""

import io
import math
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from realgrain.measuring.breakdown import ERRORS, Figures, mean_over
from realgrain.measuring.metrics import evaluate
from realgrain.measuring.points import METRICS, point_metrics
from realgrain.measuring.resampling import clusters_by
from realgrain.measuring.results import ConditionResult, Evaluation
from realgrain.measuring.suspect import suspect
from realgrain.measuring.tables import MOST, render
from realgrain.measuring.unsure import SAME, unsure


def row(label: str, logit: float | None, of: str = "", *, by: str = "", condition: str = "clean", **more: Any) -> dict[str, Any]:
    """A row of a scores table; `of` is its set, `by` the generator of a fake and the source of a real picture."""
    names = {"generator": by or "g", "source": "folder"} if label == "fake" else {"generator": "", "source": by or "s"}
    chance = None if logit is None else 1 / (1 + math.exp(-logit))
    failed = "unreadable" if logit is None else ""
    return {"label": label, **names, "set": of, "condition": condition, "error": failed, "logit": logit, "probability": chance, **more}


def table(rows: list[dict[str, Any]], threshold: float | None = 0.0) -> pa.Table:
    return pa.Table.from_pylist([{**of, "threshold": threshold} for of in rows])


def only(found: Evaluation) -> ConditionResult:
    (result,) = found.conditions.values()
    return result


def random_rows(seed: int, n: int = 240, sets: int = 3, **more: Any) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        label, of = rng.choice(["real", "fake"]), f"set{rng.integers(sets)}" if sets else ""
        rows.append(row(label, float(np.round(rng.normal() + (label == "fake"), 1)), of, by=f"{label[0]}{rng.integers(3)}", **more))
    return rows


def points(rows: list[dict[str, Any]], threshold: float = 0.0) -> dict[str, float | None]:
    fake = np.array([of["label"] == "fake" for of in rows])
    return dict(point_metrics(fake, *(np.array([of[name] for of in rows], float) for name in ("logit", "probability")), threshold))


def shown(metrics) -> dict[str, float | None]:
    return {name: estimate.value for name, estimate in metrics.items()}


drawn = st.lists(
    st.tuples(st.sampled_from(["real", "fake"]), st.integers(-4, 4), st.sampled_from("ab"), st.sampled_from("xyz")), min_size=1, max_size=30
)


class TestParts:
    @settings(max_examples=25, deadline=None)
    @given(drawn, st.booleans())
    def test_each_is_measured_on_its_own_rows_and_what_stands_against_them(self, drawn, in_sets):
        rows = [row(label, x / 2, of if in_sets else "", by=by) for label, x, of, by in drawn]
        found = only(evaluate(table(rows), resamples=0))
        for name, part in found.sets.items():
            assert shown(part.metrics) == pytest.approx(points([of for of in rows if of["set"] == name]), abs=1e-12)
        for kind, label, column in (("generators", "fake", "generator"), ("real_sources", "real", "source")):
            parts = getattr(found, kind)
            assert set(parts) == {of[column] for of in rows if of["label"] == label}
            for name, part in parts.items():
                own = [of for of in rows if of["label"] == label and of[column] == name]
                against = [of for of in rows if of["label"] != label and of["set"] in {mine["set"] for mine in own}]
                assert shown(part.metrics) == pytest.approx(points(own + against), abs=1e-12)
                assert {part.n_fake, part.n_real} == {len(own), len(against)}
        assert set(found.sets) == ({of["set"] for of in rows} if in_sets else set())

    def test_a_source_has_its_false_positive_rate(self):
        rows = [row("real", x, by=by) for by, x in (("t", 1.0), ("t", -1.0), ("u", -1.0))] + [row("fake", 2.0)]
        found = only(evaluate(table(rows), resamples=0))
        assert {name: part.metrics["fpr_at_threshold"].value for name, part in found.real_sources.items()} == {"t": 0.5, "u": 0.0}

    @pytest.mark.parametrize("sets", ["absent", "empty", "null"])
    def test_no_sets(self, sets):
        made = table(random_rows(1, sets=0))
        place = made.column_names.index("set")
        if sets == "absent":
            made = made.drop_columns(["set"])
        if sets == "null":
            made = made.set_column(place, "set", pa.nulls(made.num_rows))
        found = only(evaluate(made, resamples=20))
        assert (found.sets, found.over_sets) == ({}, {})
        assert found == only(evaluate(table(random_rows(1, sets=0)), resamples=20))
        assert shown(found.generators["f0"].metrics) == points(
            [of for of in random_rows(1, sets=0) if of["label"] == "real" or of["generator"] == "f0"]
        )

    @pytest.mark.parametrize("clusters", [None, "source"])
    def test_shared_pictures_count_once_where_sets_are_together(self, clusters):
        own = [{**of, "path": f"{of['set']}/{number}"} for number, of in enumerate(random_rows(4, n=90))]
        shared = [row("real", x / 4 - 1, by="shared", path=f"shared/{x}") for x in range(9)] + [row("real", None, by="shared", path="shared/bad")]
        rows = [*own, *({**of, "set": name} for name in ("set0", "set1", "set2") for of in shared)]
        distinct = [*own, *shared]
        found = only(evaluate(table(rows), resamples=20, clusters=clusters))
        assert (found.n_real, found.n_fake, found.n_failed) == (
            sum(of["label"] == "real" for of in distinct) - 1,
            sum(of["label"] == "fake" for of in distinct),
            1,
        )
        assert shown(found.metrics) == pytest.approx(points([of for of in distinct if not of["error"]]), abs=1e-12)
        assert found.fpr_per_source["shared"].n == 9
        part = found.real_sources["shared"]
        assert (part.n_real, part.n_failed) == (9, 1)
        against = [of for of in own if of["label"] == "fake"]
        assert shown(part.metrics) == pytest.approx(points([*shared[:-1], *against]), abs=1e-12)
        assert sum(of.n_real for of in found.sets.values()) == found.n_real + 2 * 9
        for name, of in found.sets.items():
            assert shown(of.metrics) == pytest.approx(points([of for of in rows if of["set"] == name and not of["error"]]), abs=1e-12)

    def test_one_path_with_two_labels_is_two_cases(self):
        rows = [row(label, x, of, path="a") for label, x, of in (("real", 0.5, "s"), ("fake", 0.5, "t"))]
        found = only(evaluate(table(rows), resamples=0))
        assert (found.n_real, found.n_fake) == (1, 1)

    def test_nothing_depends_on_other_sets(self):
        rows = random_rows(2)
        whole = only(evaluate(table(rows), resamples=50))
        alone = only(evaluate(table([of for of in rows if of["set"] == "set1"]), resamples=50))
        assert alone.sets["set1"] == whole.sets["set1"]
        assert alone.metrics == alone.sets["set1"].metrics

    def test_intervals_hold_the_values(self):
        found = only(evaluate(table(random_rows(3, n=900)), resamples=300))
        for parts in (found.sets, found.generators, found.real_sources):
            for part in parts.values():
                for name in ("auc", "accuracy_at_half", "balanced_accuracy_at_threshold"):
                    estimate = part.metrics[name]
                    assert estimate.value is not None and estimate.low is not None and estimate.high is not None
                    assert estimate.low < estimate.value < estimate.high

    def test_a_set_of_which_nothing_was_scored_is_there_and_no_mean_hides_it(self):
        rows = [*random_rows(4), row("fake", None, "lost", by="lost"), row("real", None, "lost", by="lost")]
        found = only(evaluate(table(rows), resamples=20))
        for part in (found.sets["lost"], found.generators["lost"], found.real_sources["lost"]):
            assert (part.n_real, part.n_fake, part.n_failed) == (0, 0, 2)
            assert all(estimate.value is None for estimate in part.metrics.values())
        assert all(mean.value is None and mean.n == 4 for mean in found.over_sets.values())
        assert found.over_sets["auc"].worst in {"set0", "set1", "set2"}
        assert found.macc["mean_accuracy_over_sets_at_half"].value is None

    def test_a_generator_that_was_not_scored_is_not_judged_by_its_reals(self):
        rows = [row("real", -1.0, "a"), row("fake", None, "a", by="lost"), row("fake", 1.0, "a", by="there")]
        part = only(evaluate(table(rows), resamples=5)).generators["lost"]
        assert all(estimate.value is None and estimate.low is None for estimate in part.metrics.values())

    def test_a_set_of_one_class_leaves_undefined_what_needs_both(self):
        found = only(evaluate(table([*random_rows(5), row("fake", 1.0, "fakes"), row("fake", -1.0, "fakes")]), resamples=20))
        assert found.sets["fakes"].metrics["auc"].value is None
        assert found.sets["fakes"].metrics["accuracy_at_half"].value == 0.5
        assert found.over_sets["auc"].value is None
        assert found.over_sets["accuracy_at_half"].value is not None

    def test_dumps_to_json_and_back(self):
        found = evaluate(table(random_rows(6)), resamples=10)
        dumped = found.model_dump_json()
        assert "NaN" not in dumped
        assert Evaluation.model_validate_json(dumped) == found


class TestPlantedFlip:
    def test_swapped_labels_of_a_set_mirror_it_and_leave_the_others(self):
        rows = random_rows(7, n=300)
        swap = {"real": "fake", "fake": "real"}
        flipped = [{**of, "label": swap[of["label"]]} if of["set"] == "set1" else of for of in rows]
        before, after = (only(evaluate(table(made), resamples=40)) for made in (rows, flipped))
        assert before.sets["set1"].metrics["auc"].value == pytest.approx(1 - after.sets["set1"].metrics["auc"].value, abs=1e-12)
        assert before.sets["set1"].metrics["tpr_at_threshold"].value == after.sets["set1"].metrics["fpr_at_threshold"].value
        for name in ("set0", "set2"):
            assert before.sets[name] == after.sets[name]
        assert after.over_sets["auc"].worst == "set1"
        assert after.over_sets["auc"].worst_value < 0.5 < before.over_sets["auc"].worst_value
        assert after.over_sets["auc"].value < before.over_sets["auc"].value


class TestMeans:
    def test_each_counts_alike_and_the_worst_stands_beside(self):
        rows = [row("real", -1.0, "easy")] * 8 + [row("fake", 1.0, "easy", by="e")] * 8
        rows += [
            row("real", 1.0, "hard", by="t"),
            row("real", -1.0, "hard", by="t"),
            row("fake", -1.0, "hard", by="h"),
            row("fake", 0.5, "hard", by="h"),
        ] * 3
        found = only(evaluate(table(rows), resamples=50))
        assert found.over_sets["accuracy_at_threshold"].value == 0.75
        assert found.over_sets["fpr_at_threshold"].value == 0.25
        for mean, worst in ((found.over_sets, "hard"), (found.over_generators, "h"), (found.over_real_sources, "t")):
            assert {of.worst for of in mean.values()} == {worst}
            assert all(of.n == 2 for of in mean.values())
        assert found.over_sets["fpr_at_threshold"].worst_value == 0.5
        assert found.over_sets["auc"].low <= found.over_sets["auc"].value <= found.over_sets["auc"].high

    @pytest.mark.parametrize("metric", METRICS)
    def test_worst_is_the_lowest_but_of_errors(self, metric):
        parts = {name: Figures(10, dict.fromkeys(METRICS, value), {}) for name, value in (("low", 0.1), ("middle", 0.5), ("high", 0.9))}
        mean = mean_over(parts, lambda _: (None, None))[metric]
        assert (mean.worst, mean.value) == ("high" if metric in ERRORS else "low", pytest.approx(0.5))

    def test_of_equals_the_one_with_most_pictures_is_worst(self):
        parts = {name: Figures(n, {"auc": 0.5}, {}) for name, n in (("few", 3), ("many", 9), ("some", 5))}
        assert mean_over(parts, lambda _: (None, None))["auc"].worst == "many"

    def test_both_conventions_of_macc_and_the_third(self):
        rows = [row("real", -1.0, "a")] * 9 + [row("fake", -1.0, "a", by="p")]  # 9 of 10 right; balanced 0.5
        rows += [row("real", 1.0, "b"), row("fake", 1.0, "b", by="q"), row("fake", 1.0, "b", by="r"), row("fake", -1.0, "b", by="r")]
        found = shown(only(evaluate(table(rows), resamples=30)).macc)
        assert found == pytest.approx(
            {
                **dict.fromkeys(("mean_accuracy_over_sets_at_half", "mean_accuracy_over_sets_at_threshold"), (0.9 + 0.5) / 2),
                **dict.fromkeys(("mean_balanced_accuracy_over_sets_at_half", "mean_balanced_accuracy_over_sets_at_threshold"), (0.5 + 1 / 3) / 2),
                **dict.fromkeys(("mean_of_real_and_generators_at_half", "mean_of_real_and_generators_at_threshold"), (0.9 + 0 + 1 + 0.5) / 4),
            }
        )

    def test_without_sets_or_a_threshold_macc_is_undefined(self):
        found = shown(only(evaluate(table(random_rows(8, sets=0), None), resamples=0)).macc)
        assert {name for name, value in found.items() if value is not None} == {"mean_of_real_and_generators_at_half"}

    def test_the_mean_is_surer_than_its_parts(self):
        found = only(evaluate(table(random_rows(9, n=900)), resamples=300))
        width = {name: of.metrics["auc"].high - of.metrics["auc"].low for name, of in found.sets.items()}
        assert found.over_sets["auc"].high - found.over_sets["auc"].low < 0.8 * min(width.values())


class TestFewPictures:
    """No false certainty: of what cannot be seen, nothing is said, and why."""

    def test_sets_of_one_picture_each(self):
        """Each set has one real and one fake: nothing of a set is known, and the whole is drawn as one, not picture by picture."""
        rng = np.random.default_rng(1)
        rows = [row(label, float(rng.normal() + (label == "fake")), f"s{place}", by=f"g{place}") for place in range(8) for label in ("real", "fake")]
        found = only(evaluate(table(rows), resamples=200))
        for part in (*found.sets.values(), *(found.generators[f"g{place}"] for place in range(8))):
            assert part.no_interval == "1 real picture and 1 fake picture: fewer than 5"
            assert all(estimate.low is None for estimate in part.metrics.values())
        assert all(mean.low is None for mean in found.over_sets.values())
        assert found.no_interval == ""
        assert found.metrics["auc"].low < found.metrics["auc"].value < found.metrics["auc"].high
        plain = only(evaluate(table(rows).drop_columns(["set"]), resamples=200))
        assert plain.metrics == found.metrics  # the same draws: of sets so small nothing is known that could be kept fixed

    def test_a_small_set_among_large_ones_keeps_their_draws(self):
        rows = random_rows(2)
        small = [row("real", 0.1, "small"), row("fake", 0.2, "small", by="tiny")]
        before, after = (only(evaluate(table(made), resamples=50)) for made in (rows, rows + small))
        assert all(after.sets[name] == of for name, of in before.sets.items())
        assert after.sets["small"].no_interval and after.generators["tiny"].no_interval and not after.no_interval
        assert after.over_sets["auc"].low is None and before.over_sets["auc"].low is not None

    @pytest.mark.parametrize(("n", "given"), [(4, False), (5, True)])
    def test_how_many_are_enough(self, n, given):
        rows = [row("real", float(place)) for place in range(20)] + [row("fake", place + 0.5) for place in range(n)]
        found = only(evaluate(table(rows), resamples=100))
        assert (found.metrics["auc"].low is not None) == given
        assert found.no_interval == ("" if given else "4 fake pictures: fewer than 5")

    def test_what_no_resample_changes_is_not_called_certain(self):
        rows = [row("real", -1.0 - place) for place in range(50)] + [row("fake", 1.0 + place) for place in range(50)]
        evaluation = evaluate(table(rows), resamples=100)
        found = only(evaluation)
        assert (found.metrics["auc"].value, found.metrics["auc"].low, found.metrics["auc"].high) == (1.0, None, None)
        assert {"auc", "ap", "accuracy_at_half", "tpr_at_threshold"} <= set(found.no_spread)
        assert found.metrics["brier"].low is not None and "brier" not in found.no_spread
        assert unsure(evaluation) == [SAME]

    def test_words(self):
        rows = [row("real", float(place), "a") for place in range(9)] + [row("fake", place + 0.5, "a") for place in range(9)]
        rows += [row("real", 1.0, "b"), row("fake", 2.0, "b", by="h")]
        found = evaluate(table(rows), resamples=50)
        assert unsure(found)[0] == (
            "No bootstrap interval of 1 of 2 sets, 1 of 2 generators, nor of means over them: a class has fewer than 5 pictures or clusters there."
        )
        alone = evaluate(table(rows[:3] + rows[9:]), resamples=50)
        assert unsure(alone)[0] == "All conditions: no bootstrap interval, 4 real pictures: fewer than 5."
        assert unsure(evaluate(table(rows), resamples=0)) == []
        assert unsure(evaluate(table(rows), resamples=50, clusters="label"))[0] == (
            "All conditions: no bootstrap interval, 1 real cluster and 1 fake cluster: fewer than 5 (clusters are pictures of one label)."
        )


class TestSuspect:
    @staticmethod
    def rows(seed: int, shift: dict[str, float], **more: Any) -> list[dict[str, Any]]:
        rng = np.random.default_rng(seed)
        return [
            row(label, float(rng.normal() + by * (label == "fake")), of, **more)
            for of, by in shift.items()
            for label in ("real", "fake")
            for _ in range(60)
        ]

    def test_a_set_with_swapped_folders_is_found(self):
        right = self.rows(0, {"a": 1.5, "b": 1.5})
        swapped = [{**of, "label": {"real": "fake", "fake": "real"}[of["label"]]} if of["set"] == "b" else of for of in right]
        assert suspect(evaluate(table(right), resamples=100)) == []
        found = evaluate(table(swapped), resamples=100)
        note = "Labels of the set b may be swapped, or the detector is worse than chance there: AUC is surely below 0.5 in clean."
        assert suspect(found) == [note]
        with Console(width=200) as console, console.capture() as out:
            console.print(render(found))
        assert f"* {note}" in out.get()

    def test_so_is_one_that_is_ranked_all_wrong(self):
        """It has no interval: every resample says the same."""
        rows = [row("real", 1.0 + place, "a") for place in range(9)] + [row("fake", -1.0 - place, "a") for place in range(9)]
        assert suspect(evaluate(table(rows), resamples=50))[0].startswith("Labels of the set a may be swapped")
        assert suspect(evaluate(table(rows), resamples=0)) == []

    def test_not_surely_is_not_said(self):
        found = evaluate(table(self.rows(1, {"a": -0.1})), resamples=100)
        assert only(found).sets["a"].metrics["auc"].value < 0.5 < only(found).sets["a"].metrics["auc"].high
        assert suspect(found) == []

    def test_conditions_and_no_sets(self):
        rows = [of for name, by in (("clean", 1.0), ("web", -2.0), ("hard", -2.0)) for of in self.rows(2, {"": by}, condition=name)]
        words = "Labels of all pictures may be swapped, or the detector is worse than chance there: AUC is surely below 0.5 in "
        assert suspect(evaluate(table(rows), resamples=50)) == [f"{words}web, hard."]
        assert suspect(evaluate(table(rows[120:]), resamples=50)) == [f"{words}all conditions."]


class TestClusters:
    @pytest.mark.parametrize(
        ("asked", "columns", "by"), [(None, ["group"], "group"), (None, ["source"], None), ("", ["group"], None), ("source", ["group"], "source")]
    )
    def test_are_groups_where_nothing_else_is_asked_for(self, asked, columns, by):
        assert clusters_by(asked, columns) == by

    def test_copies_of_a_picture_add_nothing(self):
        """Each picture four times, in a cluster: the very intervals of each picture once, and wider than if the copies were independent."""
        rows = random_rows(10, n=120, sets=0)
        once = only(evaluate(table(rows), resamples=100))
        copies = [{**of, "origin": f"{place:05}"} for place, of in enumerate(rows) for _ in range(4)]
        clustered = only(evaluate(table(copies), resamples=100, clusters="origin"))
        for name, estimate in once.metrics.items():
            found = clustered.metrics[name]
            assert (found.value, found.low, found.high) == pytest.approx((estimate.value, estimate.low, estimate.high), abs=1e-9), name
        alone = only(evaluate(table(copies), resamples=100)).metrics["auc"]
        assert alone.high - alone.low < 0.7 * (once.metrics["auc"].high - once.metrics["auc"].low)
        assert clustered.n_clusters == {"real": once.n_real, "fake": once.n_fake}

    def test_a_row_without_a_cluster_is_alone(self):
        rows = [{**of, "origin": ""} for of in random_rows(11, n=400, sets=0)]
        by_picture, clustered = (only(evaluate(table(rows), resamples=400, clusters=of)) for of in (None, "origin"))
        assert clustered.n_clusters == {"real": by_picture.n_real, "fake": by_picture.n_fake}
        widths = [of.metrics["auc"].high - of.metrics["auc"].low for of in (by_picture, clustered)]
        assert widths[0] == pytest.approx(widths[1], rel=0.2)

    def test_one_cluster_in_a_class_gives_no_interval(self):
        found = only(evaluate(table(random_rows(12, sets=0)), resamples=50, clusters="source"))  # all fakes are of one source
        assert found.n_clusters == {"real": 3, "fake": 1}
        assert all(estimate.low is None and estimate.value is not None for estimate in found.metrics.values())
        assert found.no_interval == "3 real clusters and 1 fake cluster: fewer than 5"

    def test_a_set_of_few_clusters_has_no_interval_and_the_whole_has(self):
        rows = random_rows(13)
        rows = [{**of, "origin": f"{of['set']}-{place % 2}"} for place, of in enumerate(rows)]
        found = only(evaluate(table(rows), resamples=200, clusters="origin"))
        assert {part.no_interval for part in found.sets.values()} == {"2 real clusters and 2 fake clusters: fewer than 5"}
        assert all(part.metrics["auc"].low is None for part in found.sets.values())
        assert found.over_sets["auc"].low is None
        assert found.no_interval == ""
        assert found.metrics["auc"].low < found.metrics["auc"].value < found.metrics["auc"].high
        assert evaluate(table(rows), resamples=200, clusters="origin") == evaluate(table(rows), resamples=200, clusters="origin")

    def test_a_resample_that_misses_a_part_averages_the_others(self):
        drawn = {"a": np.array([0.5, np.nan, 0.7, np.nan]), "b": np.array([0.1, 0.2, np.nan, np.nan])}
        parts = {name: Figures(9, {"auc": 0.5}, {"auc": of}) for name, of in drawn.items()}
        seen = []
        mean_over(parts, lambda of: seen.append(of) or (None, None))
        assert seen[0] == pytest.approx([0.3, 0.2, 0.7, np.nan], nan_ok=True)

    def test_an_unknown_column_is_refused(self):
        with pytest.raises(ValueError, match="no column 'photographer'"):
            evaluate(table(random_rows(14)), clusters="photographer")


class TestTables:
    def text(self, found: Evaluation) -> str:
        console = Console(width=200, record=True, file=io.StringIO())
        console.print(render(found))
        return console.export_text()

    def test_sets_with_their_mean_and_the_worst(self):
        rows = [row("real", -1.0, "easy")] * 4 + [row("fake", 1.0, "easy", by="e")] * 4
        rows += [row("real", x, "hard[1]", by="t") for x in (1.0, -1.0) * 3] + [row("fake", x, "hard[1]", by="h") for x in (-1.0, 0.5) * 3]
        text = self.text(evaluate(table(rows), resamples=10))
        lines = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines()]
        for expected in (["worst set", "hard[1] 0.375"], ["worst generator", "h 0.375"], ["worst real source", "t 0.375"]):
            assert expected in lines
        assert any(line[0] == "hard[1]" and line[1].startswith("0.375 (") for line in lines)
        assert any(line[0] == "mean over sets of accuracy, at 0.5" and line[1].startswith("0.750") for line in lines)
        assert any(line[0] == "mean over sets of balanced accuracy, at the thresholds" for line in lines)

    def test_worst_beside_each_macc(self):
        rows = [row("real", -1.0, "a")] * 9 + [row("fake", -1.0, "a", by="p")]  # 9 of 10 right; balanced 0.5
        rows += [row("real", 1.0, "b"), row("fake", 1.0, "b", by="q"), row("fake", 1.0, "b", by="r"), row("fake", -1.0, "b", by="r")]
        rows += [row("real", -1.0, "c"), row("fake", 1.0, "c", by="q")]
        lines = [[cell.strip() for cell in line.strip("│").split("│")] for line in self.text(evaluate(table(rows), resamples=0)).splitlines()]
        labels = [line[0] for line in lines]
        for words, worst in (("accuracy", "b 0.500"), ("balanced accuracy", "b 0.333")):
            for where in ("at 0.5", "at the thresholds"):
                assert lines[labels.index(f"mean over sets of {words}, {where}") + 1] == ["worst of these", worst]
        third = "mean of one real accuracy and each generator's, at 0.5"
        assert lines[labels.index(third) + 1] == ["worst of these", "p 0.000"]

    def test_the_real_pictures_may_be_the_worst_of_the_third_macc(self):
        rows = [row("real", 1.0, "a"), row("real", -1.0, "a"), row("fake", 1.0, "a", by="p"), row("real", -1.0, "b"), row("fake", 1.0, "b", by="q")]
        text = self.text(evaluate(table([*rows, row("real", 1.0, "b"), row("real", 1.0, "b")]), resamples=0))
        assert "real pictures 0.400" in text

    def test_without_sets_there_is_nothing_of_them(self):
        assert "by set" not in self.text(evaluate(table(random_rows(15, sets=0)), resamples=0))

    def test_many_conditions_are_an_overview(self):
        names = [f"jpeg-{quality}" for quality in range(90, 90 - MOST - 1, -1)]
        found = evaluate(table([of for name in names for of in random_rows(16, n=40, condition=name)]), resamples=0)
        text = self.text(found)
        assert f"{len(names)} conditions" in text
        assert all(name in text for name in names)
        assert "Recall by generator" not in text
        (line,) = [line for line in text.splitlines() if names[0] in line]
        for metric in ("accuracy_at_half", "balanced_accuracy_at_half"):
            over = found.conditions[names[0]].over_sets[metric]
            assert re.search(rf"│ +{over.value:.3f} +│ +{over.worst} {over.worst_value:.3f} +│", line)

    def test_clusters_are_said(self):
        rows = [{**of, "origin": str(place // 2)} for place, of in enumerate(random_rows(17))]
        assert "whole clusters by origin" in self.text(evaluate(table(rows), resamples=10, clusters="origin"))
