"""Shortest ways over a grid whose cells are free or blocked, and dearer here than there."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

Array = np.ndarray[Any, Any]

# To all neighbours and the knight's moves: 16 directions, at most 2.7 % longer than true paths.
_MOVES = tuple((i, j) for i in range(-2, 3) for j in range(-2, 3) if math.gcd(i, j) == 1)


class GridGraph:
    """Every move between two cells of a grid, made once.

    Args:
        rows: cells along the first axis.
        columns: along the second.
        cell_m: length of a cell's side.
    """

    def __init__(self, rows: int, columns: int, cell_m: float):
        self._num_cells = rows * columns
        i, j = np.meshgrid(np.arange(rows), np.arange(columns), indexing='ij')
        sources, targets, lengths = [], [], []
        for di, dj in _MOVES:
            inside = (i + di >= 0) & (i + di < rows) & (j + dj >= 0) & (j + dj < columns)
            sources.append((i * columns + j)[inside])
            targets.append(((i + di) * columns + j + dj)[inside])
            lengths.append(np.full(inside.sum(), math.hypot(di, dj) * cell_m))
        source = np.concatenate(sources)
        order = np.argsort(source, kind='stable')
        self._source = source[order].astype(np.int32)  # [E], sorted; likewise the next two.
        self._target = np.concatenate(targets)[order].astype(np.int32)
        self._length_m = np.concatenate(lengths)[order]

    def ways_to(self, goal: int, is_free: Array, cost: Array) -> tuple[Array, Array]:
        """Find the shortest way from every cell to one; about 5 ms for 10 000 cells.

        Args:
            goal: number of the cell, row * columns + column; it is free.
            is_free: [cells] bool.
            cost: [cells], of a metre there; at least 1.

        Returns:
            the cost of the way from each cell [cells], inf where there is none, and the next cell
            on it [cells], below 0 at the goal and where there is none.
        """
        used = is_free[self._source] & is_free[self._target]
        source, target = self._source[used], self._target[used]
        weight = self._length_m[used] * 0.5 * (cost[source] + cost[target])
        starts = np.zeros(self._num_cells + 1, np.int32)
        np.cumsum(np.bincount(source, minlength=self._num_cells), out=starts[1:])
        graph = csr_matrix((weight, target, starts), shape=(self._num_cells,) * 2)
        return dijkstra(graph, indices=goal, return_predecessors=True)  # type: ignore[no-any-return]
