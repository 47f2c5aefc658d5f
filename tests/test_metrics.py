import math

import numpy as np
import pytest
from robot_learning.metrics import LatencyHistogram, Rate

SECOND = 1_000_000_000


@pytest.mark.parametrize('seed', range(3))
def test_quantiles_are_within_one_percent_of_the_sorted_ones(seed):
    durations = np.random.default_rng(seed).lognormal(0, 2, 5000)
    histogram = LatencyHistogram()
    for duration in durations:
        histogram.add(duration)
    for fraction in (0.01, 0.5, 0.99, 0.999):
        exact = np.quantile(durations, fraction, method='inverted_cdf')
        assert histogram.quantile(fraction) == pytest.approx(exact, rel=0.011)
    summary = histogram.summary()
    assert summary.max == durations.max()
    assert summary.mean == pytest.approx(durations.mean())
    assert summary.num == len(histogram) == 5000


def test_an_empty_histogram_knows_nothing():
    summary = LatencyHistogram().summary()
    assert summary.num == 0
    assert all(math.isnan(value) for value in summary[1:])


def test_one_duration_is_every_quantile():
    histogram = LatencyHistogram()
    histogram.add(3.0)
    assert histogram.quantile(0.5) == pytest.approx(3.0, rel=0.011)
    assert histogram.quantile(1.0) <= histogram.summary().max == 3.0


def test_extremes_stay_in_the_histogram():
    histogram = LatencyHistogram()
    for duration in (-1.0, 0.0, 1e-9, 1e12):
        histogram.add(duration)
    assert len(histogram) == 4
    assert histogram.quantile(0.5) <= 1e-4
    assert histogram.summary().max == 1e12
    edges, counts = histogram.bins()
    assert counts.sum() == 4
    assert np.all(np.diff(edges) > 0)


def test_memory_does_not_grow():
    histogram = LatencyHistogram()
    size = len(histogram._bins)
    for i in range(10_000):
        histogram.add(i * 0.1)
    assert len(histogram._bins) == size
    histogram.clear()
    assert len(histogram) == 0


def test_a_steady_rate_is_found_whatever_the_moment():
    rate = Rate(window_s=2.0)
    for i in range(1, 1000):
        now = i * SECOND // 20
        rate.add(now)
        if i > 100:
            assert rate.per_second(now) == pytest.approx(20, abs=1.1)


def test_a_rate_fades_when_nothing_comes_any_more():
    rate = Rate(window_s=2.0)
    for i in range(100):
        rate.add(i * SECOND // 10)
    assert rate.per_second(10 * SECOND + 4 * SECOND) == 0.0


def test_a_rate_begins_with_zero_and_survives_a_clock_set_back():
    rate = Rate()
    assert rate.per_second(5 * SECOND) == 0.0
    rate.add(100 * SECOND, 50)
    rate.add(3 * SECOND, 4)
    assert rate.per_second(4 * SECOND) == pytest.approx(4.0)
