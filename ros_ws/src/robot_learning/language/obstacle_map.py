"""Where a lidar has seen obstacles, as a grid in the map frame, and the ways between them."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt

from robot_learning.grid_graph import GridGraph
from robot_learning.language.planner import Point, Zone

Array = np.ndarray[Any, Any]

_CELL_M = 0.05
_HIT, _FREE = 0.9, -0.4  # Logarithm of odds that one beam adds where it ends, and on its way.
_LEAST, _MOST = -2.0, 3.5  # What was seen is forgotten after so many beams to the contrary.
_TAKEN = 0.5  # Above it a cell is an obstacle; what was never seen is free.
_COMFORT_M, _COMFORT_WEIGHT = 0.2, 1.5  # Within it of the rim a metre counts for up to 1 + weight.
_STEP_M = 0.04  # Between two points of a beam that are looked at.


class ObstacleMap:
    """Grows with every scan; what moved away is forgotten when beams pass there.

    Args:
        bounds: the part of the map that it covers, metres; beyond it nothing is free.
        radius_m: of the robot, about the point whose pose is given.
        forbidden: boxes that ways do not lead through.
    """

    def __init__(self, bounds: Zone, radius_m: float, forbidden: tuple[Zone, ...] = ()):
        self._bounds = bounds
        self._radius_m = radius_m
        rows = max(round((bounds.x_max - bounds.x_min) / _CELL_M), 1)
        columns = max(round((bounds.y_max - bounds.y_min) / _CELL_M), 1)
        self._shape = rows, columns
        self._odds = np.zeros((rows, columns), np.float32)
        self._graph = GridGraph(rows, columns, _CELL_M)
        x = bounds.x_min + (np.arange(rows) + 0.5) * _CELL_M
        y = bounds.y_min + (np.arange(columns) + 0.5) * _CELL_M
        self._is_forbidden = np.zeros((rows, columns), bool)
        for zone in forbidden:
            in_x = (x >= zone.x_min) & (x <= zone.x_max)
            in_y = (y >= zone.y_min) & (y <= zone.y_max)
            self._is_forbidden |= in_x[:, None] & in_y[None, :]

    def note(self, pose: tuple[float, float, float], angles: Array, ranges: Array) -> None:
        """Take one scan into account.

        Args:
            pose: x, y, yaw of the lidar.
            angles: [N] of the beams, from straight ahead, left positive.
            ranges: [N] metres; inf where nothing was hit; NaN and what is not above 0 is no beam.
        """
        x, y, yaw = pose
        known = ranges > 0
        bearing, reach = angles[known] + yaw, ranges[known]
        is_hit = np.isfinite(reach)
        farthest = float(reach[is_hit].max()) if is_hit.any() else 1.0
        along = np.arange(0.0, farthest, _STEP_M)  # [S]
        passed = along[None, :] < np.minimum(reach, farthest)[:, None] - _CELL_M  # [B, S]
        beam, place = np.nonzero(passed)
        free = self._cells(
            x + along[place] * np.cos(bearing[beam]), y + along[place] * np.sin(bearing[beam])
        )
        hits = self._cells(
            x + reach[is_hit] * np.cos(bearing[is_hit]),
            y + reach[is_hit] * np.sin(bearing[is_hit]),
        )
        change = np.zeros(self._odds.size, np.float32)
        change[free] = _FREE  # Once a scan, however many beams pass.
        change[hits] = _HIT
        np.clip(self._odds + change.reshape(self._shape), _LEAST, _MOST, out=self._odds)

    def clear(self) -> None:
        """Take all for free: the robot is in another place, or the world began anew."""
        self._odds[:] = 0.0

    def forget(self, x: float, y: float, radius_m: float) -> None:
        """Take a disc for free: what stood there is carried away."""
        rows, columns = np.indices(self._shape)
        offset_x = self._bounds.x_min + (rows + 0.5) * _CELL_M - x
        offset_y = self._bounds.y_min + (columns + 0.5) * _CELL_M - y
        self._odds[np.hypot(offset_x, offset_y) <= radius_m] = 0.0

    def way(self, start: Point, goal: Point) -> list[Point]:
        """Return points from one place to another, both included; empty where no way leads.

        A start or goal that is too near to an obstacle counts as the nearest free place.
        """
        blocked = (self._odds > _TAKEN) | self._is_forbidden
        # Outside the bounds nothing is free either.
        room = distance_transform_edt(np.pad(~blocked, 1))[1:-1, 1:-1] * _CELL_M
        rim = (room - self._radius_m).ravel()
        is_free = rim >= 0
        if not is_free.any():
            return []
        first, last = (self._nearest_free(point, is_free) for point in (start, goal))
        cost = 1 + _COMFORT_WEIGHT * np.clip(1 - rim / _COMFORT_M, 0, 1)
        distance, nearer = self._graph.ways_to(last, is_free, cost)
        if not np.isfinite(distance[first]):
            return []
        points, cell = [start], first
        while cell != last:
            cell = int(nearer[cell])
            points.append(self._centre(cell))
        if self._cell(*goal) == last:
            points.append(goal)
        return points

    def _cells(self, x: Array, y: Array) -> Array:
        """Return the numbers of the cells that hold these points, without those outside."""
        i = np.floor((x - self._bounds.x_min) / _CELL_M).astype(np.int64)
        j = np.floor((y - self._bounds.y_min) / _CELL_M).astype(np.int64)
        inside = (i >= 0) & (i < self._shape[0]) & (j >= 0) & (j < self._shape[1])
        return i[inside] * self._shape[1] + j[inside]

    def _cell(self, x: float, y: float) -> int:
        i = int(np.clip((x - self._bounds.x_min) / _CELL_M, 0, self._shape[0] - 1))
        j = int(np.clip((y - self._bounds.y_min) / _CELL_M, 0, self._shape[1] - 1))
        return i * self._shape[1] + j

    def _centre(self, cell: int) -> Point:
        i, j = divmod(cell, self._shape[1])
        return (
            self._bounds.x_min + (i + 0.5) * _CELL_M,
            self._bounds.y_min + (j + 0.5) * _CELL_M,
        )

    def _nearest_free(self, point: Point, is_free: Array) -> int:
        cell = self._cell(*point)
        if is_free[cell]:
            return cell
        rows, columns = np.divmod(np.flatnonzero(is_free), self._shape[1])
        i, j = divmod(cell, self._shape[1])
        nearest = int(np.hypot(rows - i, columns - j).argmin())
        return int(rows[nearest] * self._shape[1] + columns[nearest])
