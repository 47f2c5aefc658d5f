"""How sure a mean of few values is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from robot_learning.proportions import Interval


def mean_interval(values: Sequence[float]) -> Interval:
    """95 % confidence interval of a mean by Student's t; of a single value nothing is known.

    Holds where the values are independent and their mean is nearly normal.
    """
    count = len(values)
    if count < 2:
        return Interval(-math.inf, math.inf)
    mean = sum(values) / count
    variance = sum((value - mean) ** 2 for value in values) / (count - 1)
    half = _t_quantile(count - 1) * math.sqrt(variance / count)
    return Interval(mean - half, mean + half)


def _t_quantile(degrees: int) -> float:
    """97.5 % quantile of Student's t (Hill 1970's expansion; tabulated where it is inexact)."""
    table = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
    if degrees <= len(table):
        return table[degrees - 1]
    z = 1.959964
    first = (z**3 + z) / (4 * degrees)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
    return z + first + second
