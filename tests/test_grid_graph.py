import math

import numpy as np
import pytest
from robot_learning.grid_graph import GridGraph

ROWS, COLUMNS, CELL = 12, 20, 0.1


def ways(is_free, cost=None, goal=0):
    graph = GridGraph(ROWS, COLUMNS, CELL)
    cost = np.ones(ROWS * COLUMNS) if cost is None else cost.ravel()
    distance, nearer = graph.ways_to(goal, is_free.ravel(), cost)
    return distance.reshape(ROWS, COLUMNS), nearer


def test_in_the_open_ways_are_hardly_longer_than_straight_lines():
    distance, _ = ways(np.ones((ROWS, COLUMNS), bool))
    i, j = np.meshgrid(np.arange(ROWS), np.arange(COLUMNS), indexing='ij')
    straight = CELL * np.hypot(i, j)
    assert (distance >= straight - 1e-9).all()
    assert (distance <= 1.028 * straight + 1e-9).all()


def test_a_wall_is_gone_round_and_what_it_closes_off_has_no_way():
    is_free = np.ones((ROWS, COLUMNS), bool)
    is_free[1:, 10:12] = False  # A gap of one cell at row 0.
    distance, nearer = ways(is_free, goal=(ROWS - 1) * COLUMNS)
    cell, rows = (ROWS - 1) * COLUMNS + COLUMNS - 1, []
    while nearer[cell] >= 0:
        cell = int(nearer[cell])
        rows.append(cell // COLUMNS)
    assert cell == (ROWS - 1) * COLUMNS and 0 in rows
    assert distance[-1, -1] > 2 * CELL * (ROWS - 1)
    is_free[0, 10:12] = False
    distance, nearer = ways(is_free, goal=(ROWS - 1) * COLUMNS)
    assert math.isinf(distance[-1, -1]) and nearer[-1] < 0


def test_dear_cells_are_avoided_where_the_detour_is_cheaper():
    cost = np.ones((ROWS, COLUMNS))
    cost[:10, 4:7] = 20.0  # Three cells: no move leaps over them.
    distance, _ = ways(np.ones((ROWS, COLUMNS), bool), cost)
    assert distance[0, 10] == pytest.approx(CELL * (2 * math.hypot(4, 10) + 2), rel=0.05)
