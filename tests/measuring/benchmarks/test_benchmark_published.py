import pytest

from realgrain.measuring.benchmarks import NAMES, benchmark
from realgrain.measuring.benchmarks.published import METRICS, every, published


def test_every_figure_is_of_a_benchmark_and_a_set_that_there_are():
    assert every()
    for figure in every():
        card = benchmark(figure.benchmark).card
        assert not figure.set or figure.set in card.sets, figure
        assert bool(figure.set) != bool(figure.mean), figure
        assert figure.metric in METRICS, figure
        assert 0 <= figure.value <= 100, figure


def test_no_figure_stands_twice():
    keys = [figure.model_dump_json(exclude={"value", "deviation"}) for figure in every() if figure.trained_on != "not seen"]
    assert len(set(keys)) == len(keys)


def test_a_benchmark_gives_its_own():
    assert {figure.benchmark for figure in published("genimage")} == {"genimage"}
    assert published("folder") == ()
    assert sum(len(published(name)) for name in NAMES) == len(every())


@pytest.mark.parametrize(
    ("name", "method", "metric", "value"),
    [
        ("genimage", "MPFT", "accuracy", 98.2),
        ("genimage", "PGC", "accuracy", 98.8),
        ("universalfakedetect", "MPFT", "accuracy", 94.6),
        ("aigibench", "PiN-CLIP", "accuracy", 85.8),
        ("aigcdetect", "PiN-CLIP", "accuracy", 95.4),
        ("aigibench", "DGS-Net", "ap", 87.8),
        ("universalfakedetect", "Effort", "ap", 99.34),
    ],
)
def test_anchors(name, method, metric, value):
    means = [figure for figure in published(name) if figure.method == method and figure.metric == metric and figure.mean]
    assert [figure.value for figure in means] == [value]


def test_means_of_tables_that_are_whole_are_those_of_their_rows():
    """A slip in copying shows: the published mean of a method is that of its published sets, to what rounding allows."""
    checked = 0
    for mean in every():
        sets = benchmark(mean.benchmark).card.means.get(mean.mean, benchmark(mean.benchmark).card.sets)
        alike = [
            f
            for f in every()
            if (f.method, f.benchmark, f.metric, f.source, f.trained_on) == (mean.method, mean.benchmark, mean.metric, mean.source, mean.trained_on)
        ]
        rows = [figure.value for figure in alike if figure.set in sets]
        if mean.mean and len(rows) == len(sets):
            assert sum(rows) / len(rows) == pytest.approx(mean.value, abs=0.11), mean
            checked += 1
    assert checked >= 8


def test_what_is_not_known_of_a_figure_is_said():
    (pgc,) = [figure for figure in published("genimage") if figure.method == "PGC"]
    assert pgc.known == "inferred" and "2.1 above the best before" in pgc.convention
    assert all(figure.trained_on or figure.convention for figure in every())
    others = [figure for figure in every() if "Dual-Data-Alignment" in figure.source and figure.method != "DDA"]
    assert len(others) == 64  # eight methods that DDA's authors tested, on eight benchmarks
    assert all("weights, loader and threshold not stated" in figure.convention and not figure.trained_on for figure in others)
    balanced = [figure for figure in every() if figure.metric == "balanced_accuracy" and figure.known == "code"]
    assert all("balanced is from notes on its paper" in figure.convention for figure in balanced)
