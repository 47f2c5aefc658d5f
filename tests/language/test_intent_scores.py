import math

import numpy as np
import pytest
from robot_learning.language.intent_scores import (
    bootstrap,
    expected_calibration_error,
    macro_f1,
    slot_f1,
)


def test_f1_of_intents_by_hand():
    assert macro_f1(['a', 'a', 'b'], ['a', 'b', 'b']) == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert macro_f1(['a', 'b'], ['a', 'a']) == pytest.approx((2 / 3 + 0) / 2)
    assert macro_f1(['a', 'a'], ['a', 'c']) == pytest.approx(2 / 3)  # Nobody meant c.
    assert math.isnan(macro_f1([], []))


def test_f1_of_slots_by_hand():
    right, wrong, other = (0, 2, 'x'), (3, 5, 'x'), (3, 5, 'y')
    assert slot_f1([[right, wrong]], [[right, other]]) == pytest.approx(0.5)
    assert math.isnan(slot_f1([[]], [[]]))


def test_calibration_error_by_hand():
    confidence = [0.95, 0.95, 0.55, 0.55]
    is_right = [True, True, True, False]
    # Bins of width 0.1: 0.05 too little twice, and 0.55 beside 0.5 right.
    error = expected_calibration_error(confidence, is_right, num_bins=10)
    assert error == pytest.approx((2 * 0.05 + 2 * 0.05) / 4)
    assert expected_calibration_error([1.0, 1.0], [True, True]) == 0.0


def test_the_interval_of_a_mean_is_about_two_standard_errors():
    values = np.random.default_rng(0).normal(3.0, 1.0, 400)
    found = bootstrap(lambda rows: float(values[rows].mean()), 400, seed=1)
    assert found.value == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - half, abs=0.02)
    assert found.high == pytest.approx(values.mean() + half, abs=0.02)
    assert bootstrap(lambda rows: float(values[rows].mean()), 400, seed=1) == found


def test_what_cannot_be_measured_has_no_interval():
    found = bootstrap(lambda rows: math.nan, 5, resamples=10)
    assert all(math.isnan(value) for value in found)
