"""Shortest way round walls and objects: for rewards and scripted drivers, never observed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from robot_learning.grid_graph import GridGraph
from robot_learning.simulation.geometry import ARENA_HALF, ROBOT_RADIUS, WALLS, Wall

Array = np.ndarray[Any, Any]
Circle = tuple[float, float, float]  # x, y, radius in metres.

_CELL = 0.05  # Metres.
_SIZE = round(2 * ARENA_HALF / _CELL)  # Cells along one side.
_UNREACHABLE = 1e3  # Metres; what cells without a way to the goal hold.
_FILL_ROUNDS = 7  # Cells that values spread into blocked space: 0.35 m.


class GeodesicMap:
    """The arena as a grid; computes distance fields for different obstacles and goals.

    Args:
        margin_m: room kept beyond the robot's radius; nearer cells are blocked.
        comfort_m: clearance of the robot's rim below which a metre counts for more.
        comfort_weight: how much more a metre costs at the margin; 0 gives true lengths.
    """

    def __init__(
        self, margin_m: float = 0.02, comfort_m: float = 0.15, comfort_weight: float = 1.0
    ):
        self._blocked_below = ROBOT_RADIUS + margin_m
        self._comfort = comfort_m
        self._weight = comfort_weight
        line = (np.arange(_SIZE) + 0.5) * _CELL - ARENA_HALF
        self._x, self._y = np.meshgrid(line, line, indexing='ij')
        self._walls = wall_distance(self._x, self._y, WALLS)
        self._graph = GridGraph(_SIZE, _SIZE, _CELL)

    def clearance(self, circles: Iterable[Circle]) -> Array:
        """Distance from each cell's centre to the nearest wall or object [cells, cells]."""
        nearest = self._walls.copy()
        for x, y, radius in circles:
            np.minimum(nearest, np.hypot(self._x - x, self._y - y) - radius, out=nearest)
        return nearest

    def field(self, goal: Sequence[float], circles: Iterable[Circle]) -> GeodesicField:
        """Compute the distance to `goal` from everywhere; about 5 ms."""
        clearance = self.clearance(circles).ravel()
        free = clearance >= self._blocked_below
        cell = _cell(goal[0], goal[1])
        if not free[cell]:
            offset = np.hypot(self._x.ravel() - goal[0], self._y.ravel() - goal[1])
            cell = int(np.where(free, offset, np.inf).argmin())
        distance, nearer = self._search(cell, free, clearance)
        return _filled(distance, nearer, cell)

    def _search(self, goal: int, free: Array, clearance: Array) -> tuple[Array, Array]:
        rim = clearance - self._blocked_below
        cost = 1 + self._weight * np.clip(1 - rim / self._comfort, 0, 1)  # [cells]
        return self._graph.ways_to(goal, free, cost)


class GeodesicField:
    """Distances to one goal. Cells too near to obstacles continue their neighbours' values."""

    def __init__(self, distance: Array, nearer: Array, goal_cell: int):
        self._distance = distance  # [cells, cells] metres.
        self._rows: list[list[float]] = distance.tolist()  # Faster than arrays for one value.
        self._nearer: list[int] = nearer.tolist()
        self._goal_cell = goal_cell

    def distance(self, x: float, y: float) -> float:
        """Metres (weighted, see `GeodesicMap`) from a place to the goal, interpolated."""
        u = min(max((x + ARENA_HALF) / _CELL - 0.5, 0.0), _SIZE - 1.001)
        v = min(max((y + ARENA_HALF) / _CELL - 0.5, 0.0), _SIZE - 1.001)
        i, j = int(u), int(v)
        u, v = u - i, v - j
        low, high = self._rows[i], self._rows[i + 1]
        near = low[j] * (1 - v) + low[j + 1] * v
        far = high[j] * (1 - v) + high[j + 1] * v
        return near * (1 - u) + far * u

    def is_reachable(self, x: float, y: float) -> bool:
        """Whether a way leads from there to the goal."""
        return bool(self._distance.flat[_cell(x, y)] < _UNREACHABLE)

    def path(self, x: float, y: float) -> list[tuple[float, float]]:
        """Return the way from a place to the goal's cell, the place itself first."""
        cell = _cell(x, y)
        points = [(x, y)]
        while cell != self._goal_cell and self._nearer[cell] >= 0:
            cell = self._nearer[cell]
            points.append(_centre(cell))
        return points

    def ahead(self, x: float, y: float, distance_m: float) -> tuple[float, float]:
        """Return the point `distance_m` further along the way to the goal."""
        cell, px, py, gone = _cell(x, y), x, y, 0.0
        while gone < distance_m and cell != self._goal_cell and self._nearer[cell] >= 0:
            cell = self._nearer[cell]
            nx, ny = _centre(cell)
            gone += math.hypot(nx - px, ny - py)
            px, py = nx, ny
        return px, py


def wall_distance(x: Array, y: Array, walls: Iterable[Wall]) -> Array:
    """Distance from points to the nearest wall's surface, 0 inside a wall."""
    nearest = np.full(np.shape(x), np.inf)
    for wall in walls:
        outside_x = np.maximum(np.abs(x - wall.x) - wall.half_x, 0)
        outside_y = np.maximum(np.abs(y - wall.y) - wall.half_y, 0)
        np.minimum(nearest, np.hypot(outside_x, outside_y), out=nearest)
    return nearest


def _filled(distance: Array, nearer: Array, goal_cell: int) -> GeodesicField:
    """Let values spread from free cells [cells * cells] into blocked ones, nearest first."""
    value = np.append(distance, np.inf)  # The last one stands for all outside the grid.
    nearer = nearer.copy()
    for _ in range(_FILL_ROUNDS):
        empty = np.flatnonzero(np.isinf(value[:-1]))
        around = _NEIGHBOURS[empty]  # [empty, 8]
        candidate = value[around] + _NEIGHBOUR_LENGTH
        best = candidate.argmin(axis=1)
        row = np.arange(len(empty))
        reached = np.isfinite(candidate[row, best])
        cells, row, best = empty[reached], row[reached], best[reached]
        value[cells] = candidate[row, best]
        nearer[cells] = around[row, best]
    filled = np.where(np.isinf(value[:-1]), _UNREACHABLE, value[:-1])
    return GeodesicField(filled.reshape(_SIZE, _SIZE), nearer, goal_cell)


def _all_neighbours() -> Array:
    """Return the cells around each cell [cells * cells, 8]; one past the last is outside."""
    index = np.full((_SIZE + 2, _SIZE + 2), _SIZE * _SIZE)
    index[1:-1, 1:-1] = np.arange(_SIZE * _SIZE).reshape(_SIZE, _SIZE)
    shifted = [index[1 + i : 1 + i + _SIZE, 1 + j : 1 + j + _SIZE] for i, j in _AROUND]
    return np.stack([part.ravel() for part in shifted], axis=1)


_AROUND = tuple((i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0))
_NEIGHBOURS = _all_neighbours()
_NEIGHBOUR_LENGTH = np.array([math.hypot(i, j) * _CELL for i, j in _AROUND])


def _cell(x: float, y: float) -> int:
    i = min(max(int((x + ARENA_HALF) / _CELL), 0), _SIZE - 1)
    j = min(max(int((y + ARENA_HALF) / _CELL), 0), _SIZE - 1)
    return i * _SIZE + j


def _centre(cell: int) -> tuple[float, float]:
    i, j = divmod(cell, _SIZE)
    return (i + 0.5) * _CELL - ARENA_HALF, (j + 0.5) * _CELL - ARENA_HALF
