"""How honest predicted uncertainties are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from robot_learning.model_store import Array

LEVELS = np.linspace(0.05, 0.95, 19)  # Of central intervals.
# Half-widths of these intervals, in standard deviations of a normal distribution.
_HALF_WIDTHS = np.array(
    [
        0.06271, 0.12566, 0.18912, 0.25335, 0.31864, 0.38532, 0.45376, 0.52440, 0.59776, 0.67449,
        0.75542, 0.84162, 0.93459, 1.03643, 1.15035, 1.28155, 1.43953, 1.64485, 1.95996,
    ]
)  # fmt: skip


class Reliability(NamedTuple):
    """Of intervals that should hold the truth with given probabilities (Kuleshov et al. 2018)."""

    expected: Array  # [K], `LEVELS`.
    observed: Array  # [K], shares of truths inside.

    @property
    def error(self) -> float:
        """Expected calibration error: the mean distance of both."""
        return float(np.abs(self.observed - self.expected).mean())


def reliability(scores: Array) -> Reliability:
    """Measure standardised errors (truth - mean) / standard deviation, of any shape."""
    sizes = np.abs(np.asarray(scores, np.float64)).reshape(-1)
    observed = np.array([(sizes <= half).mean() for half in _HALF_WIDTHS])
    return Reliability(LEVELS, observed)


def best_scale(scores: Array) -> float:
    """Return what standard deviations must be multiplied with for the best reliability."""
    sizes = np.abs(np.asarray(scores, np.float64)).reshape(-1)
    candidates = np.exp(np.linspace(np.log(0.1), np.log(10.0), 93))
    errors = [reliability(sizes / scale).error for scale in candidates]
    return float(candidates[int(np.argmin(errors))])
