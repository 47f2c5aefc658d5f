import itertools
import math

import numpy as np
import pytest
from robot_learning.language.obstacle_map import ObstacleMap
from robot_learning.language.planner import Zone

BOUNDS = Zone('room', -2.0, -1.0, 2.0, 1.0)
ANGLES = np.linspace(0, 2 * np.pi, 720, endpoint=False)
RADIUS_M = 0.15


def make(forbidden=()):
    return ObstacleMap(BOUNDS, RADIUS_M, forbidden)


def wall_seen_from(x, y, half_length=0.6):
    """Ranges to a wall at x = 0 that leaves a gap above it."""
    ranges = np.full(len(ANGLES), np.inf)
    for n, angle in enumerate(ANGLES):
        if math.cos(angle) * (0.0 - x) > 1e-9:
            reach = (0.0 - x) / math.cos(angle)
            if -1.0 <= y + reach * math.sin(angle) <= -1.0 + 2 * half_length:
                ranges[n] = reach
    return ranges


def length(way):
    return sum(math.dist(a, b) for a, b in itertools.pairwise(way))


def test_where_nothing_was_seen_the_way_is_straight():
    way = make().way((-1.5, 0.0), (1.5, 0.3))
    assert way[0] == (-1.5, 0.0) and way[-1] == (1.5, 0.3)
    assert length(way) < 1.05 * math.dist(way[0], way[-1])


def test_the_way_keeps_the_robots_radius_from_what_was_seen():
    obstacles = make()
    obstacles.note((-1.0, 0.0, 0.0), ANGLES, wall_seen_from(-1.0, 0.0))
    way = obstacles.way((-1.5, -0.5), (1.5, -0.5))
    crossing = [y for x, y in way if abs(x) < 0.06]
    assert crossing and min(crossing) > 0.2 + RADIUS_M - 0.06
    assert length(way) > 3.4


def test_scans_are_turned_with_the_robot():
    one, other = make(), make()
    one.note((-1.0, 0.0, 0.0), ANGLES, wall_seen_from(-1.0, 0.0))
    quarter = len(ANGLES) // 4
    other.note((-1.0, 0.0, math.pi / 2), ANGLES, np.roll(wall_seen_from(-1.0, 0.0), -quarter))
    ways = [each.way((-1.5, -0.5), (1.5, -0.5)) for each in (one, other)]
    assert length(ways[0]) == pytest.approx(length(ways[1]), rel=0.03)


def test_what_moved_away_is_forgotten():
    obstacles = make()
    for _ in range(5):
        obstacles.note((-1.0, 0.0, 0.0), ANGLES, wall_seen_from(-1.0, 0.0))
    for _ in range(15):
        obstacles.note((-1.0, 0.0, 0.0), ANGLES, np.full(len(ANGLES), 3.0))
    assert length(obstacles.way((-1.5, -0.5), (1.5, -0.5))) < 3.1


def test_all_can_be_forgotten_at_once():
    obstacles = make()
    obstacles.note((-1.0, 0.0, 0.0), ANGLES, wall_seen_from(-1.0, 0.0))
    obstacles.clear()
    assert length(obstacles.way((-1.5, -0.5), (1.5, -0.5))) < 3.1


def test_a_disc_can_be_taken_for_free_at_once():
    obstacles = make()
    obstacles.note((-1.0, 0.0, 0.0), ANGLES, wall_seen_from(-1.0, 0.0))
    obstacles.forget(0.0, -0.5, 0.4)
    assert length(obstacles.way((-1.5, -0.5), (1.5, -0.5))) < 3.2


def test_forbidden_boxes_are_gone_round_and_closed_rooms_have_no_way():
    around = make((Zone('carpet', -0.2, -1.0, 0.2, 0.4),)).way((-1.5, -0.5), (1.5, -0.5))
    assert length(around) > 3.5
    assert make((Zone('fence', -0.2, -1.0, 0.2, 1.0),)).way((-1.5, 0.0), (1.5, 0.0)) == []


def test_a_goal_inside_an_obstacle_ends_as_near_as_possible():
    obstacles = make()
    obstacles.note((-1.0, -0.4, 0.0), ANGLES, wall_seen_from(-1.0, -0.4))
    way = obstacles.way((-1.5, -0.4), (0.0, -0.4))
    assert RADIUS_M - 0.06 < math.dist(way[-1], (0.0, -0.4)) < RADIUS_M + 0.1


def test_beams_without_a_value_and_hits_outside_change_nothing():
    obstacles = make()
    ranges = np.full(len(ANGLES), np.nan)
    ranges[::2], ranges[1::4] = 0.0, -1.0
    obstacles.note((-1.0, 0.0, 0.0), ANGLES, ranges)
    obstacles.note((-1.0, 0.0, 0.0), ANGLES, np.full(len(ANGLES), 50.0))
    assert length(obstacles.way((-1.5, 0.0), (1.5, 0.0))) < 3.1
