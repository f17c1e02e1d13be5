import pytest
from clouds import step

from realgrain.learning.collapse import NoiseCollapse, check_collapse
from realgrain.learning.incentive import Diagnostics


def test_healthy_training_is_no_collapse():
    history = [step(0.7 * 0.98**i, 0.68 * 0.975**i) for i in range(400)]  # both losses go to 0: learnt, not leaked
    for end in range(1, len(history)):
        check_collapse(history[:end], 20)


def test_vanished_deviation_is_collapse():
    history = [step(0.7, 0.7, deviation=0.05 * 0.9**i) for i in range(100)]
    check_collapse(history[:50], 20)
    with pytest.raises(NoiseCollapse, match="standard deviation") as error:
        check_collapse(history, 20)
    assert "Set a floor" in str(error.value)
    with pytest.raises(NoiseCollapse, match="Set a higher energy"):
        check_collapse(history, 20, "gaussian")


def test_one_step_of_noise_within_the_window_is_no_collapse():
    history = [step(0.7, 0.7, deviation=1e-5) for _ in range(30)]
    history[-5] = step(0.7, 0.7)
    check_collapse(history, 20)
    check_collapse(history[:10], 20)  # too few steps to say


def test_leaking_mean_is_collapse():
    history = [step(0.69, 0.6 * 0.9**i) for i in range(60)]
    check_collapse(history[:20], 20)
    with pytest.raises(NoiseCollapse, match="gives the answer away"):
        check_collapse(history, 20)


def test_low_noised_loss_while_the_clean_one_still_falls_is_no_collapse():
    check_collapse([step(0.69 * 0.98**i, 0.01) for i in range(20)], 20)


def test_parts_that_are_switched_off_cannot_collapse():
    check_collapse([step(0.69, 0.69, deviation=0.0)] * 30, 20)  # mean alone
    check_collapse([step(0.69, 0.01, mean=0.0)] * 30, 20)  # deviation alone
    check_collapse([Diagnostics(0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0)] * 30, 20)  # none


def test_collapse_needs_a_window():
    with pytest.raises(ValueError, match="at least 2"):
        check_collapse([], 1)
