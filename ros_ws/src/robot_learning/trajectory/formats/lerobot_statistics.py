"""Statistics of every feature, per episode and of all, in LeRobot's form."""

from __future__ import annotations

from typing import Any

import numpy as np

from robot_learning.trajectory.episode import Array

_QUANTILES = {'q01': 0.01, 'q10': 0.1, 'q50': 0.5, 'q90': 0.9, 'q99': 0.99}
_LARGEST_ROW = 4096  # Numbers; larger arrays get no statistics.
_NUM_FRAMES = 64  # Pictures of an episode that are looked at, at most.
_NUM_PIXELS = 150  # Of the longer side, at least, after thinning.

Statistics = dict[str, dict[str, Array]]  # Feature -> name -> values.


class FrameSample:
    """Some of many frames, evenly spread, without knowing beforehand how many come."""

    def __init__(self, limit: int):
        self.frames: list[tuple[int, Array]] = []  # Number and copy of each.
        self._limit = limit
        self._stride = 1
        self._count = 0

    def take(self, frames: Array) -> None:
        """Look at further frames."""
        for frame in frames:
            if self._count % self._stride == 0:
                self.frames.append((self._count, np.array(frame)))
                if len(self.frames) > self._limit:
                    self.frames = self.frames[::2]
                    self._stride *= 2
            self._count += 1


class EpisodeStatistics:
    """Gathers the columns of one episode."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Array]] = {}
        self._samples: dict[str, FrameSample] = {}
        self._num_frames = 0

    def take(self, columns: dict[str, Array]) -> None:
        """Look at further rows."""
        for key, values in columns.items():
            if len(values) and values[0].size <= _LARGEST_ROW:
                self._parts.setdefault(key, []).append(values)

    def take_frames(self, key: str, frames: Array) -> None:
        """Look at further frames [T, H, W, C] of a camera."""
        thinning = max(1, max(frames.shape[1:3]) // _NUM_PIXELS)
        sample = self._samples.setdefault(key, FrameSample(_NUM_FRAMES))
        sample.take(frames[:, ::thinning, ::thinning])

    def result(self) -> Statistics:
        """Return the statistics; a feature without a single finite value has none."""
        result: Statistics = {}
        for key, parts in self._parts.items():
            values = np.concatenate(parts).astype(np.float64)
            rows = values.reshape(len(values), -1)
            found = _of_rows(rows)
            if found is not None and 'image' not in key:  # By that LeRobot knows pictures.
                result[key] = {**found, 'count': np.array([len(rows)])}
        for key, sample in self._samples.items():
            frames = np.stack([frame for _, frame in sample.frames]) / 255.0
            found = _of_rows(frames.reshape(-1, frames.shape[-1]))
            assert found is not None  # Pixels are finite.
            shaped = {name: np.resize(values, (3, 1, 1)) for name, values in found.items()}
            result[key] = {**shaped, 'count': np.array([len(frames)])}
        return result


def combine(episodes: list[Statistics]) -> Statistics:
    """Return the statistics of all episodes together; quantiles are weighted means."""
    keys = list(dict.fromkeys(key for episode in episodes for key in episode))
    return {key: _combined([e[key] for e in episodes if key in e]) for key in keys}


def to_lists(statistics: Statistics) -> dict[str, Any]:
    """Return plain data for JSON."""
    return {
        key: {name: values.tolist() for name, values in entry.items()}
        for key, entry in statistics.items()
    }


def _of_rows(rows: Array) -> dict[str, Array] | None:
    """Return the statistics of [N, D] over finite values."""
    finite = np.isfinite(rows)
    if not finite.any(axis=0).all():
        return None
    if not finite.all():
        rows = np.where(finite, rows, np.nan)
    result = {
        'min': np.nanmin(rows, axis=0),
        'max': np.nanmax(rows, axis=0),
        'mean': np.nanmean(rows, axis=0),
        'std': np.nanstd(rows, axis=0),
    }
    quantiles = np.nanquantile(rows, list(_QUANTILES.values()), axis=0)
    return result | dict(zip(_QUANTILES, quantiles, strict=True))


def _combined(entries: list[dict[str, Array]]) -> dict[str, Array]:
    stacked = {name: np.stack([entry[name] for entry in entries]) for name in entries[0]}
    counts = stacked['count'].astype(np.float64)  # [E, 1]
    weights = (counts / counts.sum()).reshape(-1, *[1] * (stacked['mean'].ndim - 1))
    mean = (weights * stacked['mean']).sum(axis=0)
    spread = stacked['std'] ** 2 + (stacked['mean'] - mean) ** 2
    result = {
        'min': stacked['min'].min(axis=0),
        'max': stacked['max'].max(axis=0),
        'mean': mean,
        'std': np.sqrt((weights * spread).sum(axis=0)),
        'count': stacked['count'].sum(axis=0),
    }
    return result | {name: (weights * stacked[name]).sum(axis=0) for name in _QUANTILES}
