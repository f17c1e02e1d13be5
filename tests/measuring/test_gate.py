from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from realgrain.learning.adapt import Cell, Held
from realgrain.measuring import gate as gates
from realgrain.measuring.gate import MEAN, Gate, judge
from realgrain.measuring.gate_tables import conclusion, render

SOURCES, EACH = 4, 40


def held(harm=0.0, *, gain=0.5, each=EACH, seed=0, deliveries=("clean",)) -> Held:
    """Left-out pairs of sources and a new one; generated pictures lie 2 above real ones before, and ``harm`` less after."""
    rng = np.random.default_rng(seed)
    source = np.repeat([f"{label}{number}" for label in ("real", "fake") for number in range(SOURCES)] + ["new"], each)
    fake = np.array([name.startswith(("fake", "new")) for name in source])
    before = {name: rng.normal(size=len(fake)) + 2.0 * fake for name in deliveries}
    hurt = np.where(source == "new", -gain, harm * np.char.startswith(source, "fake"))
    after = {name: of - hurt + rng.normal(size=len(fake)) * 0.05 for name, of in before.items()}
    pairs = [Cell("left out", str(number), np.flatnonzero(np.isin(source, [f"real{number}", f"fake{number}"]))) for number in range(SOURCES)]
    return Held(fake, source, before, after, (*pairs, Cell("new", "new", np.flatnonzero(~fake | (source == "new")))))


def row(gate: Gate, group: str, name: str = MEAN):
    (found,) = [row for row in gate.rows if (row.group, row.name) == (group, name)]
    return found


def test_figures_are_those_of_scikit_learn():
    table = held(0.3, deliveries=("clean", "hard"))
    gate = judge([table], resamples=20)
    for cell in table.cells:
        for logits, found, auc in ((table.before, "before", "auc_before"), (table.after, "after", "auc_after")):
            rates = []
            for of in logits.values():
                fpr, tpr, _ = roc_curve(table.fake[cell.rows], of[cell.rows], drop_intermediate=False)
                rates.append(tpr[fpr <= 0.05].max())
            assert getattr(row(gate, cell.group, cell.name), found) == pytest.approx(np.mean(rates))
            area = np.mean([roc_auc_score(table.fake[cell.rows], of[cell.rows]) for of in logits.values()])
            assert getattr(row(gate, cell.group, cell.name), auc) == pytest.approx(area)
    mean = row(gate, "left out")
    assert mean.before == pytest.approx(np.mean([row(gate, "left out", str(number)).before for number in range(SOURCES)]))
    assert (mean.n_real, mean.n_fake) == (SOURCES * EACH, SOURCES * EACH)
    assert mean.low <= mean.fall <= mean.high


class TestJudgement:
    def test_no_harm_passes(self):
        gate = judge([held()], resamples=200)
        assert gate.passed
        assert abs(row(gate, "left out").fall) < 0.05
        assert "cannot be ruled out" in conclusion(gate)

    def test_harm_to_all_is_refused(self):
        gate = judge([held(1.0)], resamples=200)
        assert not gate.passed
        assert row(gate, "left out").low > 0
        assert "mean (left out) falls" in conclusion(gate)

    def test_harm_to_one_generator_is_refused_though_the_others_gain(self):
        table = held(-0.5)
        table.after.update({name: of - 2.5 * (table.source == "fake1") for name, of in table.after.items()})
        gate = judge([table], margin=1)
        assert [found.name for found in gate.rows if found.refused] == ["1"]

    def test_a_large_fall_that_few_pictures_cannot_prove_is_refused_by_the_margin(self):
        table = held(0.3, each=6, seed=1)
        strict, loose = (judge([table], margin=margin, resamples=200) for margin in (0.05, 1.0))
        assert row(loose, "left out").low <= 0
        assert row(loose, "left out").fall > 0.05
        assert not row(loose, "left out").refused
        assert "more than 0.05" in row(strict, "left out").refused

    @pytest.mark.parametrize(("each", "refused"), [(6, True), (4, False)])
    def test_a_large_fall_on_one_generator_is_refused_by_twice_the_margin_unless_it_has_too_few_pictures(self, each, refused):
        table = held(-1.0, each=each)
        table.after.update({name: of - 2.5 * (table.source == "fake1") for name, of in table.after.items()})
        gate = judge([table], margin=0.1, resamples=200)
        found = row(gate, "left out", "1")
        assert found.low <= 0
        assert found.fall > 0.2
        assert found.refused == (f"falls by {found.fall:.3f}, more than 0.2" if refused else "")
        assert not row(judge([table], margin=found.fall / 2, resamples=200), "left out", "1").refused

    def test_a_head_that_gains_nothing_is_refused(self):
        gate = judge([held(gain=-0.5)], margin=1)
        assert not gate.passed
        assert row(gate, "new", "new").refused

    def test_no_change_is_rarely_refused(self):
        """Means and single generators together, by chance alone: noise of this size moves some pictures across the threshold."""
        refused = sum(any(found.refused for found in judge([held(seed=seed)], margin=1, resamples=100).rows) for seed in range(20))
        assert refused <= 3

    def test_same_twice_and_seeded(self):
        table = held(0.2)
        assert judge([table], resamples=50) == judge([table], resamples=50)
        assert row(judge([table], resamples=50, seed=1), "left out").high != row(judge([table], resamples=50), "left out").high


class TestShares:
    """A head that was adapted with a share of 0.3, 0.15 and so on, and what the gate is told of it."""

    @pytest.fixture
    def adapted(self, monkeypatch):
        def run(tables, **options):
            tables = iter(tables)
            monkeypatch.setattr(gates, "adapt", lambda given, share: SimpleNamespace(share=share, held=(next(tables),)))
            return gates.adapt_gated(None, **options)

        return run

    def test_the_first_that_passes_is_taken(self, adapted):
        found, gate = adapted([held(1.0), held()])
        assert gate.passed
        assert found.share == gate.share == 0.15
        assert [(of.passed, of.share) for of in gate.refused] == [(False, 0.3)]

    def test_three_are_tried_and_each_refusal_is_shown(self, adapted, capsys):
        from rich.console import Console

        _, gate = adapted([held(1.0)] * 3, share=0.2)
        assert not gate.passed
        assert [of.share for of in (*gate.refused, gate)] == [0.2, 0.1, 0.05]
        assert not any(of.refused for of in gate.refused)
        Console(width=200).print(render(gate))
        shown = capsys.readouterr().out
        assert all(text in shown for text in ("with 0.2 of the loss refused", "with 0.1 of the loss refused", "new ones with 0.05 of the loss"))

    def test_a_smaller_share_is_not_tried_where_the_new_generator_is_not_learned(self, adapted):
        _, gate = adapted([held(gain=-0.5)])
        assert (gate.share, gate.refused) == (0.3, ())

    def test_the_margin_is_that_of_the_gate(self, adapted):
        assert adapted([held(1.0)] * 3, margin=0.5)[1].margin == 0.5


def test_shows_every_row(capsys):
    from rich.console import Console

    Console(width=200).print(render(judge([held(1.0)], resamples=50)))
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("left out", "new", "mean", "refused", "40|40"))
