import math

import pytest
from robot_learning.evaluation.means import mean_interval


@pytest.mark.parametrize(
    ('count', 'quantile'), [(2, 12.706), (5, 2.776), (11, 2.228), (21, 2.086), (101, 1.984)]
)
def test_the_interval_of_a_mean_has_the_width_of_students_t(count, quantile):
    values = [float(index % 2) for index in range(count)]
    mean = sum(values) / count
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (count - 1))
    low, high = mean_interval(values)
    assert (low + high) / 2 == pytest.approx(mean)
    assert (high - low) / 2 == pytest.approx(quantile * deviation / math.sqrt(count), rel=1e-3)


def test_one_value_says_nothing_about_its_mean():
    assert mean_interval([3.0]) == (-math.inf, math.inf)
