"""How sure a share of successes is, and whether one share is really above another."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


class Interval(NamedTuple):
    """Lower and upper end of a confidence interval."""

    low: float
    high: float


def wilson_interval(num_successes: float, num_trials: float, z: float = 1.96) -> Interval:
    """Confidence interval of a success rate (Wilson 1927); z = 1.96 gives 95 %.

    Unlike the normal approximation it stays inside [0, 1] and is not empty at 0 or 1. Counts may
    be fractions: those of correlated trials, divided by how many of them say the same.
    """
    if num_trials <= 0:
        return Interval(0.0, 1.0)
    rate = num_successes / num_trials
    spread = z * z / num_trials
    centre = (rate + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(rate * (1 - rate) / num_trials + spread / 4 / num_trials)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def share(hits: Array) -> dict[str, Any] | None:
    """Return value, count and interval of the share of hits [N], for a report; None of none."""
    if not len(hits):
        return None
    right, total = int(hits.sum()), len(hits)
    return {
        'value': right / total,
        'count': total,
        'interval_95': list(wilson_interval(right, total)),
    }


def difference_interval(
    first: tuple[float, float], second: tuple[float, float], z: float = 1.96
) -> Interval:
    """Confidence interval of the first rate less the second (Newcombe 1998, method 10).

    It combines the two Wilson intervals and so holds for few trials and rates near 0 or 1.

    Args:
        first: successes and trials.
        second: likewise; without trials on either side nothing is known: [-1, 1].
        z: half width in standard errors; 1.96 gives 95 %.
    """
    if first[1] <= 0 or second[1] <= 0:
        return Interval(-1.0, 1.0)
    rates = first[0] / first[1], second[0] / second[1]
    one, two = wilson_interval(*first, z), wilson_interval(*second, z)
    difference = rates[0] - rates[1]
    below = math.hypot(rates[0] - one.low, two.high - rates[1])
    above = math.hypot(one.high - rates[0], rates[1] - two.low)
    return Interval(max(-1.0, difference - below), min(1.0, difference + above))
