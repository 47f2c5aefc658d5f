"""Numbers that say how well a path was driven."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def path_length(path: Array) -> float:
    """Length in metres of a polyline [N, 2]."""
    if len(path) < 2:
        return 0.0
    return float(np.hypot(*np.diff(path[:, :2], axis=0).T).sum())


def path_efficiency(shortest_m: float, remaining_m: float, driven_m: float) -> float:
    """Shortest possible over driven distance, in [0, 1].

    Success is granted before the goal's centre is reached, so the distance that remained
    at the end counts for neither side.

    Args:
        shortest_m: length of the shortest free path from start to goal.
        remaining_m: distance to the goal at the end of the drive.
        driven_m: distance driven.
    """
    needed = max(0.0, shortest_m - remaining_m)
    if driven_m <= 0:
        return 0.0
    return min(1.0, needed / driven_m)


def distances_to_path(points: Array, reference: Array) -> Array:
    """Distance [N] of each point [N, 2] to the nearest place of a polyline [M, 2]."""
    points, reference = np.asarray(points, float), np.asarray(reference, float)
    if len(reference) == 1:
        return np.asarray(np.hypot(*(points - reference[0]).T))
    start, along = reference[:-1], np.diff(reference, axis=0)  # [M-1, 2]
    squared = np.maximum((along**2).sum(1), 1e-12)
    offset = points[:, None] - start  # [N, M-1, 2]
    share = np.clip((offset * along).sum(2) / squared, 0.0, 1.0)
    nearest = start + share[..., None] * along
    return np.asarray(np.hypot(*np.moveaxis(points[:, None] - nearest, 2, 0)).min(1))


def cross_track_error(path: Array, reference: Array) -> float:
    """Mean distance in metres of a driven path [N, 2] from a reference polyline [M, 2].

    The path is resampled at equal distances, so that standing still weighs nothing.
    """
    return float(distances_to_path(resample(path, 0.05), reference).mean())


def resample(path: Array, spacing_m: float) -> Array:
    """Points [N, 2] at equal distances along a polyline [M, 2], both ends included."""
    path = np.asarray(path, float)[:, :2]
    travelled = np.concatenate([[0.0], np.hypot(*np.diff(path, axis=0).T).cumsum()])
    if travelled[-1] == 0:
        return path[:1]
    places = np.linspace(0.0, travelled[-1], max(2, math.ceil(travelled[-1] / spacing_m) + 1))
    return np.stack([np.interp(places, travelled, path[:, axis]) for axis in (0, 1)], axis=1)
