"""How well commands were understood: scores of answers beside what was meant."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from robot_learning.language.intents import OUT_OF_SCOPE
from robot_learning.language.tags import Span

Array = np.ndarray[Any, Any]
OUT_OF_SCOPE_NAMES = (OUT_OF_SCOPE, 'oos')  # Ours, and that of CLINC150.
_RESAMPLES = 1000


class Interval(NamedTuple):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


def macro_f1(expected: Sequence[str], found: Sequence[str]) -> float:
    """Return the mean F1 over the intents that are expected somewhere; NaN without commands."""
    hits = Counter(e for e, f in zip(expected, found, strict=True) if e == f)
    meant, answered = Counter(expected), Counter(found)
    scores = [2 * hits[name] / (meant[name] + answered[name]) for name in meant]
    return float(np.mean(scores)) if scores else math.nan


def slot_f1(expected: Sequence[Sequence[Span]], found: Sequence[Sequence[Span]]) -> float:
    """Return the F1 of whole slots, place and name; NaN where there are none."""
    num_expected, num_found = sum(map(len, expected)), sum(map(len, found))
    if not num_expected + num_found:
        return math.nan
    both = sum(len(set(e) & set(f)) for e, f in zip(expected, found, strict=True))
    return 2 * both / (num_expected + num_found)


def expected_calibration_error(
    confidence: Sequence[float] | Array, is_right: Sequence[bool] | Array, num_bins: int = 15
) -> float:
    """Return how far confidence lies from accuracy, mean over bins of equal width by their rows.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.

    Args:
        confidence: [N], of the answer that was given, 0 to 1.
        is_right: [N].
        num_bins: of the confidence.
    """
    confidence, is_right = np.asarray(confidence, float), np.asarray(is_right, float)
    bins = np.clip((confidence * num_bins).astype(int), 0, num_bins - 1)
    gaps = np.bincount(bins, is_right - confidence, minlength=num_bins)
    return float(np.abs(gaps).sum() / max(len(confidence), 1))


def bootstrap(
    statistic: Callable[[Array], float], count: int, seed: int = 0, resamples: int = _RESAMPLES
) -> Interval:
    """Return a statistic of `count` rows with its percentile interval (Efron 1979).

    Args:
        statistic: of the rows with these indices [count]; those that give NaN are left out.
        count: rows.
        seed: of the resampling.
        resamples: how many.
    """
    rng = np.random.default_rng(seed)
    drawn = [statistic(rng.integers(0, count, count)) for _ in range(resamples)]
    finite = [value for value in drawn if math.isfinite(value)]
    low, high = np.percentile(finite, (2.5, 97.5)) if finite else (math.nan, math.nan)
    return Interval(statistic(np.arange(count)), float(low), float(high))
