"""What a report says and draws turns with the figures; no detector is run."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import toy
from PIL import Image

from realgrain.learning.data import Sample
from realgrain.measuring.finished import Finished
from realgrain.measuring.lock import BundleRef, Environment, Lock, ManifestRef, Protocol, RuntimeRef
from realgrain.measuring.metrics import evaluate
from realgrain.measuring.pairing import _rows
from realgrain.measuring.report_plots import plots
from realgrain.measuring.report_words import summary
from realgrain.measuring.results import OWN
from realgrain.measuring.robustness_plots import robustness
from realgrain.measuring.run_audit import audit_run, read_audit
from realgrain.measuring.worst import SHOWN, worst
from realgrain.picture.views import View, ViewSpec


def lock(**protocol) -> Lock:
    return Lock(
        benchmark="csv",
        protocol=Protocol(**protocol),
        bundle=BundleRef(name="it", hash="1", base_sha256="2", views=ViewSpec((View("crop"),))),
        runtime=RuntimeRef(name="none", precision="f32", version="0"),
        environment=Environment(python="3", processor="", packages={}, decoders={}),
        manifest=ManifestRef(pictures=0, sha256=""),
    )


def made(
    shifts: dict[str, float],
    *,
    generators: dict[str, float] | None = None,
    n: int = 120,
    threshold: float | None = 1.0,
    sets: tuple[str, ...] = ("",),
    clusters: str | None = None,
    limit: int | None = None,
) -> Finished:
    """A run whose generated pictures score higher by the shift of each condition and of their generator."""
    rng = np.random.default_rng(0)
    kinds = [("real", "", "camera"), ("real", "", "phone"), *(("fake", name, "") for name in generators or {"gan": 0.0, "diffusion": 0.0})]
    rows = []
    for label, generator, source in kinds:
        base = rng.normal(size=n) + (0 if label == "real" else (generators or {}).get(generator, 0.0))
        for condition, shift in shifts.items():
            for number, value in enumerate(base + (shift if label == "fake" else 0)):
                path = f"{label}/{generator}{source}/{number}"
                row = {"path": path, "label": label, "generator": generator, "source": source, "split": "", "sha256": path, "error": ""}
                chance = 1 / (1 + np.exp(-value))
                rows += [{**row, "set": name, "condition": condition, "logit": float(value), "probability": float(chance)} for name in sets]
    table = pa.Table.from_pylist([{**row, "threshold": threshold} for row in rows])
    evaluation = evaluate(table, resamples=50, clusters=clusters)
    return Finished(Path("run"), lock(conditions=tuple(shifts), limit=limit), table, evaluation, None)


def words(*arguments, **settings) -> str:
    return "\n".join(summary(made(*arguments, **settings)))


class TestWords:
    def test_compression_that_hurts(self):
        text = words({"clean": 3.0, "jpeg-30": 0.5, "web": 3.0, "hard": 4.5})
        assert "Saved as JPEG of quality 30: AUC falls from" in text
        assert "(longest side 768, JPEG 60): AUC stays at" in text
        assert "with less care (512, JPEG 40): AUC rises from" in text
        assert "was not tried" not in text

    def test_a_fall_within_the_ranges_says_so(self):
        assert "ranges overlap" in words({"clean": 1.0, "web": 0.97})
        assert "ranges overlap" not in words({"clean": 3.0, "web": 0.5})

    def test_clean_alone(self):
        assert "What compression does to it was not tried" in words({"clean": 1.0})

    def test_best_and_worst(self):
        text = words({"clean": 1.0}, generators={"easy": 3.0, "hard-one": -1.0, "between": 1.0})
        assert "easy is found best" in text and "hard-one worst" in text

    def test_all_alike(self):
        assert "All generators are found equally often" in words({"clean": 50.0})

    def test_how_sure(self):
        few = words({"clean": 1.0}, n=7, limit=7)
        assert "4 of 4 groups have fewer than 30 pictures, the smallest 7" in few
        assert "With 14 real pictures a false-positive rate below 7.1 % cannot be seen: recall at 0.1 % or 1 % or 5 % is recall without" in few
        assert "recall at 0.1 % is recall without a single" in words({"clean": 1.0}, n=100)
        assert "this is a first look" in few
        many = words({"clean": 1.0}, n=600)
        assert "fewer than" not in many and "cannot be seen" not in many and "first look" not in many

    def test_clusters(self):
        assert "bootstrap resamples, source by source" in words({"clean": 1.0}, clusters="source")

    def test_shares_of_none_have_a_range(self):
        assert "flags 0 % (0 to 1) of the real ones" in words({"clean": 1.0}, threshold=50.0, n=200)

    def test_says_of_which_thresholds_figures_are(self):
        run = made({"clean": 1.0})
        assert all(OWN in text for text in (words({"clean": 1.0}), plots(run)[0].caption))

    def test_no_threshold(self):
        run = made({"clean": 1.0}, threshold=None)
        assert "threshold" not in "\n".join(summary(run)) and plots(run)

    def test_labels_that_may_be_swapped(self):
        text = words({"clean": -2.0}, sets=("a[b]",))
        assert "Labels of the set a[b] may be swapped, or the detector is worse than chance there" in text
        assert "swapped" not in words({"clean": 1.0}, sets=("a",))

    def test_not_audited(self):
        assert "The pictures were not audited" in words({"clean": 1.0})


class TestPlots:
    def test_families_are_curves_and_deliveries_stand_alone(self):
        run = made({"clean": 2.0, "jpeg-90": 1.5, "jpeg-30": 1.0, "resize-0.25": 1, "resize-2": 1, "web": 1.0}, n=20)
        found = robustness({"it": run})
        assert [plot.title for plot in found] == ["Robustness: JPEG quality", "Robustness: resized by", "Robustness: delivery"]
        assert [part.split(":")[0] for part in found[0].alt.split("; ")] == ["clean", "90", "30"]
        assert [part.split(":")[0] for part in found[1].alt.split("; ")] == ["0.25", "1 (clean)", "2"]
        for plot in plots(run) + found:
            light, dark = (Image.open(BytesIO(content)).convert("L") for content in (plot.light, plot.dark))
            assert light.size == dark.size
            assert np.mean(light) > 200 and np.mean(dark) < 80

    def test_names_are_no_formulas(self):
        found = plots(made({"clean": 1.0}, generators={"$\\frac{$": 0.0, "\u4e00\U0001f600": 1.0, "": 0.5}, n=10))
        assert "$\\frac{$" in found[0].alt and "(unnamed)" in found[0].alt

    def test_one_condition_has_no_robustness(self):
        assert robustness({"it": made({"clean": 1.0}, n=10)}) == []

    def test_several_runs_are_lines_of_one_plot(self):
        """Five of them take no more room than one, and what one of them has not measured is left open."""
        shifts = {"clean": 2.0, "jpeg-90": 1.5, "web": 1.0}
        runs = {f"{letter}: it": made(shifts if letter != "E" else {"clean": 1.0, "hard": 1.0}, n=20) for letter in "ABCDE"}
        found = robustness(runs)
        assert [plot.title for plot in found] == ["Robustness: JPEG quality", "Robustness: delivery"]
        clean, ninety = found[0].alt.split("; ")
        for letter, run in zip("ABCD", runs.values(), strict=False):
            assert f"AUC of {letter}: it {run.evaluation.conditions['jpeg-90'].metrics['auc'].value:.3f}" in ninety
        assert "AUC of E: it –" in ninety and "AUC of E: it –" not in clean
        assert [part.split(":")[0] for part in found[1].alt.split("; ")] == ["clean", "web", "hard"]
        (one,) = (plot for plot in robustness({"A": runs["A: it"]}) if plot.title == "Robustness: JPEG quality")
        heights = [Image.open(BytesIO(plot.light)).height for plot in (one, found[0])]
        assert heights[1] < 1.5 * heights[0]

    def test_one_class(self):
        run = made({"clean": 1.0}, n=10)
        fakes = run.table.filter(pa.array(np.array(run.table["label"].to_pylist()) == "fake"))
        alone = Finished(run.folder, run.lock, fakes, evaluate(fakes, resamples=0), None)
        assert "AUC is not defined" in "\n".join(summary(alone))
        assert "ROC" not in " ".join(plot.title for plot in plots(alone))
        assert list(worst(alone, None)) == ["Generated, most like a photograph"]


class TestShared:
    """Pictures that several sets share are shown, drawn, paired and audited once."""

    def test_scored_and_worst(self):
        alone, shared = (made({"clean": 1.0}, n=20, sets=sets) for sets in (("",), ("a", "b", "c")))
        assert len(shared.scored("clean").rows) == len(alone.scored("clean").rows) == 80
        np.testing.assert_array_equal(shared.scored("clean").logit, alone.scored("clean").logit)
        for one, other in zip(worst(alone, None).values(), worst(shared, None).values(), strict=True):
            assert [of.path for of in one] == [of.path for of in other]
            assert len({of.path for of in one}) == SHOWN

    def test_worst_is_worst_first(self):
        real, fake = worst(made({"clean": 1.0}, n=50), None).values()
        run = made({"clean": 1.0}, n=50).scored("clean")
        assert [one.logit for one in real] == sorted(run.logit[~run.fake])[::-1][:SHOWN]
        assert [one.logit for one in fake] == sorted(run.logit[run.fake])[:SHOWN]
        assert all(one.wrong == (one.logit >= 1.0) for one in real) and all(one.wrong == (one.logit < 1.0) for one in fake)

    def test_paired(self):
        run = made({"clean": 1.0}, n=20, sets=("a", "b"))
        assert len(_rows(run.table, "clean")) == 80

    def test_audited(self, tmp_path):
        (tmp_path / "p").mkdir()
        samples = []
        for index in range(6):
            file = tmp_path / "p" / f"{index}.png"
            file.write_bytes(toy.saved(toy.picture(index, fake=index % 2 == 1)))
            label = ("real", "fake")[index % 2]
            of = {"path": file.name, "file": file, "label": label, "generator": "g" * (index % 2), "source": "s"}
            samples += [Sample(**of, set=name) for name in (("a", "b") if label == "real" else ("a",))]
        found = audit_run(tmp_path, lock(), samples)
        assert (found.real, found.fake, found.duplicates) == (3, 3, [])
        assert read_audit(tmp_path, lock()) == found
        assert read_audit(tmp_path, lock(seed=1)) is None
