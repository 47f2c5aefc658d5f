import heapq
import itertools
import math

import numpy as np
import pytest
from robot_learning.simulation.geodesic import GeodesicMap, wall_distance
from robot_learning.simulation.geometry import ARENA_HALF, ROBOT_RADIUS, WALLS

TRUE = {'margin_m': 0.02, 'comfort_weight': 0.0}
CELL = 0.05


def brute_force(goal_cell, free):
    """Dijkstra with a heap over 16 directions, written from scratch; distances in metres."""
    moves = [(i, j) for i in range(-2, 3) for j in range(-2, 3) if math.gcd(i, j) == 1]
    distance = np.full(free.shape, np.inf)
    distance[goal_cell] = 0.0
    queue = [(0.0, goal_cell)]
    while queue:
        length, (i, j) = heapq.heappop(queue)
        if length > distance[i, j]:
            continue
        for di, dj in moves:
            k, m = i + di, j + dj
            if 0 <= k < free.shape[0] and 0 <= m < free.shape[1] and free[k, m]:
                further = length + math.hypot(di, dj) * CELL
                if further < distance[k, m]:
                    distance[k, m] = further
                    heapq.heappush(queue, (further, (k, m)))
    return distance


def test_field_equals_a_brute_force_search():
    circles = [(0.5, 0.1, 0.06), (-0.7, -0.3, 0.085), (1.3, 1.4, 0.065)]
    field = GeodesicMap(**TRUE).field((-1.525, -1.675), circles)
    line = (np.arange(100) + 0.5) * CELL - ARENA_HALF
    x, y = np.meshgrid(line, line, indexing='ij')
    clearance = wall_distance(x, y, WALLS)
    for cx, cy, radius in circles:
        clearance = np.minimum(clearance, np.hypot(x - cx, y - cy) - radius)
    free = clearance >= ROBOT_RADIUS + 0.02
    expected = brute_force((19, 16), free)
    found = np.array([[field.distance(a, b) for b in line] for a in line])
    assert np.allclose(found[free], expected[free], atol=1e-6)


def test_open_floor_distance_is_the_straight_line():
    field = GeodesicMap(**TRUE).field((0.0, 0.0), [])
    for x, y in ((1.0, 0.1), (-1.5, 0.3), (0.4, -0.3)):
        straight = math.hypot(x, y)
        assert straight - 0.06 <= field.distance(x, y) <= 1.03 * straight + 0.06


def test_way_behind_a_wall_leads_round_its_end():
    # Both points 0.5 m from the left wall's axis, which ends at x = 0; the way turns there.
    field = GeodesicMap(**TRUE).field((-1.0, 1.3), [])
    corner = ROBOT_RADIUS + 0.02
    lower_bound = 2 * math.hypot(1.0, 0.45)
    upper_bound = 2 * math.hypot(1.0 + corner, 0.5) + 2 * corner
    assert lower_bound < field.distance(-1.0, 0.3) < 1.03 * upper_bound


def test_a_closed_off_place_is_not_reachable():
    ring = [
        (1.5 + 0.5 * math.cos(a), 1.6 + 0.5 * math.sin(a), 0.1) for a in np.arange(0, 6.3, 0.4)
    ]
    field = GeodesicMap(**TRUE).field((1.5, 1.6), ring)
    assert field.is_reachable(1.5, 1.6)
    assert not field.is_reachable(-1.0, -2.0)


def test_distance_falls_along_the_way_and_the_way_keeps_clear():
    circles = [(0.2, 0.0, 0.085), (-0.6, 0.3, 0.06)]
    geodesic_map = GeodesicMap(**TRUE)
    field = geodesic_map.field((-1.5, 1.7), circles)
    path = np.asarray(field.path(1.7, -1.7))
    along = [field.distance(x, y) for x, y in path]
    assert all(later < earlier for earlier, later in itertools.pairwise(along))
    room = wall_distance(path[:, 0], path[:, 1], WALLS)
    assert room[1:].min() >= ROBOT_RADIUS
    for x, y, radius in circles:
        assert (np.hypot(path[1:, 0] - x, path[1:, 1] - y) - radius).min() >= ROBOT_RADIUS
    length = np.hypot(*np.diff(path, axis=0).T).sum()
    assert length == pytest.approx(field.distance(1.7, -1.7), abs=0.1)


def test_point_ahead_lies_as_far_along_the_way_as_asked():
    field = GeodesicMap(**TRUE).field((2.0, 0.0), [])
    x, y = field.ahead(-2.0, 0.0, 0.5)
    assert field.distance(-2.0, 0.0) - field.distance(x, y) == pytest.approx(0.5, abs=0.12)
    assert field.ahead(1.99, 0.01, 0.5) == pytest.approx((2.0, 0.0), abs=0.05)


def test_comfort_makes_the_neighbourhood_of_obstacles_longer():
    circles = [(0.0, 0.0, 0.06)]
    plain = GeodesicMap(comfort_weight=0.0).field((1.0, 0.0), circles)
    careful = GeodesicMap(comfort_weight=2.0).field((1.0, 0.0), circles)
    assert careful.distance(-1.0, 0.0) > plain.distance(-1.0, 0.0) + 0.01
    assert careful.distance(2.0, 0.0) >= plain.distance(2.0, 0.0)


def test_cells_near_obstacles_get_finite_values():
    field = GeodesicMap(**TRUE).field((1.0, 0.0), [])
    for x in np.linspace(-2.39, 2.39, 40):
        assert field.distance(x, -2.39) < 20
