"""Running measures in constant memory: durations, rates. Counts are `collections.Counter`."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

_SMALLEST_MS = 1e-4
_BINS_PER_E = 50  # Bins are 2 % wide: a quantile is at most 1 % off.
_NUM_BINS = 1 + math.ceil(math.log(1e6 / _SMALLEST_MS) * _BINS_PER_E)


class LatencySummary(NamedTuple):
    """Milliseconds; NaN where nothing was measured."""

    num: int
    mean: float
    p50: float
    p99: float
    max: float


class LatencyHistogram:
    """Durations from 0.1 us to 1000 s in bins of equal ratio; adding one takes half a us.

    `max` and `mean` are exact, quantiles are within 1 %.
    """

    def __init__(self) -> None:
        self._bins = [0] * _NUM_BINS
        self._count = 0
        self._sum = 0.0
        self._max = math.nan

    def __len__(self) -> int:
        return self._count

    def add(self, duration_ms: float) -> None:
        """Count one duration; negative ones (clocks that disagree) count as 0."""
        duration_ms = max(duration_ms, 0.0)
        index = 0
        if duration_ms > _SMALLEST_MS:
            index = int(math.log(duration_ms / _SMALLEST_MS) * _BINS_PER_E) + 1
        self._bins[min(index, _NUM_BINS - 1)] += 1
        self._count += 1
        self._sum += duration_ms
        if not duration_ms <= self._max:
            self._max = duration_ms

    def quantile(self, fraction: float) -> float:
        """Return the duration in ms that `fraction` (0 to 1) of all did not exceed."""
        if not self._count:
            return math.nan
        wanted = max(1, math.ceil(fraction * self._count))
        index = int(np.searchsorted(np.cumsum(self._bins), wanted))
        if index == 0:
            return min(_SMALLEST_MS, self._max)
        middle = _SMALLEST_MS * math.exp((index - 0.5) / _BINS_PER_E)
        return min(middle, self._max)

    def summary(self) -> LatencySummary:
        """Return count, mean, median, 99th percentile and maximum."""
        mean = self._sum / self._count if self._count else math.nan
        return LatencySummary(
            self._count, mean, self.quantile(0.5), self.quantile(0.99), self._max
        )

    def bins(self) -> tuple[np.ndarray, np.ndarray]:
        """Return upper edges [N] in ms and counts [N] of the bins that hold anything."""
        counts = np.asarray(self._bins)
        held = np.flatnonzero(counts)
        return _SMALLEST_MS * np.exp(held / _BINS_PER_E), counts[held]

    def clear(self) -> None:
        """Forget everything."""
        self.__init__()  # type: ignore[misc]


class Rate:
    """Events per second over about the last `window_s`, from two half-filled counts."""

    def __init__(self, window_s: float = 5.0):
        self._window_ns = round(window_s * 1e9)
        self._start_ns: int | None = None
        self._current = 0
        self._previous = math.nan  # Events of the window before; NaN: there was none.

    def add(self, now_ns: int, num_events: int = 1) -> None:
        """Count events at `now_ns`; a clock that jumps backwards starts anew."""
        self._turn(now_ns)
        self._current += num_events

    def per_second(self, now_ns: int) -> float:
        """Return the rate; 0 before the first event."""
        if self._start_ns is None:
            return 0.0
        self._turn(now_ns)
        elapsed_ns = now_ns - self._start_ns
        if math.isnan(self._previous):
            return self._current * 1e9 / elapsed_ns if elapsed_ns > 0 else 0.0
        remaining = 1.0 - elapsed_ns / self._window_ns
        return (self._current + self._previous * remaining) * 1e9 / self._window_ns

    def _turn(self, now_ns: int) -> None:
        if self._start_ns is None or now_ns < self._start_ns:
            self._start_ns, self._current, self._previous = now_ns, 0, math.nan
            return
        windows = (now_ns - self._start_ns) // self._window_ns
        if windows:
            self._previous = float(self._current) if windows == 1 else 0.0
            self._current = 0
            self._start_ns += windows * self._window_ns
