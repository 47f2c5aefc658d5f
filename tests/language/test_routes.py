import math

import numpy as np
import pytest
from robot_learning import contract as contracts
from robot_learning.language.motions import Command, Ended, Limits, View, wrapped
from robot_learning.language.obstacle_map import ObstacleMap
from robot_learning.language.planner import Zone
from robot_learning.language.routes import Route
from robot_learning.simulation.world import World, WorldConfig

ARENA = Zone('arena', -2.5, -2.5, 2.5, 2.5)
LIMITS = Limits(0.1, 0.5, 1.5)
ANGLES = np.array([wrapped(a) for a in np.linspace(0, 2 * np.pi, 360, endpoint=False)])


@pytest.mark.parametrize('seed', range(6))
def test_in_the_embedded_world_it_reaches_goals_out_of_sight_and_touches_nothing(seed):
    world = World(contracts.load('arena'), WorldConfig(camera='off'))
    seen = world.reset(200 + seed)
    obstacles = ObstacleMap(ARENA, 0.2)
    route = Route(obstacles, *world.task.goal[:2], LIMITS, timeout_s=60.0, tolerance_m=0.2)
    while True:
        ranges = np.where(seen['scan'] >= 3.5, np.inf, seen['scan'])
        x, y, yaw = map(float, seen['pose'])
        obstacles.note((x, y, yaw), ANGLES, ranges)
        is_ahead = np.abs(ANGLES) < 0.4
        front = float(np.nanmin(ranges[is_ahead]))
        time_s = 0.2 * world.num_steps
        answer = route.tick(View(time_s, x, y, yaw, *map(float, seen['velocity']), front))
        assert isinstance(answer, Command), answer
        result = world.step({'base': np.array(answer)})
        seen = result.observation
        if result.terminated or result.truncated:
            break
    assert result.reason == 'goal'
    assert 0.5 < route.progress <= 1.0


def test_where_no_way_leads_it_stands_and_says_so():
    fence = Zone('fence', -0.2, -2.5, 0.2, 2.5)
    route = Route(ObstacleMap(ARENA, 0.2, (fence,)), 1.5, 0.0, LIMITS, timeout_s=60.0)
    answers = [route.tick(View(0.2 * n, -1.5, 0.0, 0.0)) for n in range(40)]
    ends = [answer for answer in answers if isinstance(answer, Ended)]
    assert set(answers) - set(ends) == {Command(0.0, 0.0)}
    assert ends and 'no way leads to (1.5, 0.0)' in ends[0].reason


def test_what_the_map_does_not_know_makes_it_back_off():
    route = Route(ObstacleMap(ARENA, 0.2), 1.5, 0.0, LIMITS, timeout_s=60.0)
    assert route.tick(View(0.0, -1.5, 0.0, 0.0)).forward_m_s > 0.4
    assert -0.1 <= route.tick(View(0.2, -1.5, 0.0, 0.0, front_m=0.2)).forward_m_s < 0
    assert route.tick(View(0.4, -1.5, 0.0, 0.0, front_m=math.nan)).forward_m_s <= 0


def test_it_gives_up_after_its_time():
    route = Route(ObstacleMap(ARENA, 0.2), 1.5, 0.0, LIMITS, timeout_s=3.0)
    route.tick(View(0.0, -1.5, 0.0, 0.0))
    assert route.tick(View(3.1, -1.5, 0.0, 0.0)) == Ended(False, 'it took longer than 3 s')


def test_where_something_stands_at_the_goal_it_ends_as_near_as_can_be():
    table = Zone('table', 1.3, -1.0, 1.9, 1.0)
    route = Route(ObstacleMap(ARENA, 0.2, (table,)), 1.5, 0.0, LIMITS, timeout_s=60.0)
    assert route.tick(View(0.0, -1.5, 0.0, 0.0)).forward_m_s > 0.4
    ended = route.tick(View(1.0, 1.08, 0.0, 0.0))
    assert ended == Ended(False, 'something stands at (1.5, 0.0)')
    mat = Zone('mat', 1.45, -0.05, 1.55, 0.05)
    route = Route(ObstacleMap(ARENA, 0.2, (mat,)), 1.5, 0.0, LIMITS, 60.0, tolerance_m=0.15)
    assert route.tick(View(0.0, 1.5, 0.24, 0.0)) == Ended(True)  # Good enough.


def test_what_stands_behind_the_goal_is_not_in_the_way():
    route = Route(ObstacleMap(ARENA, 0.2), 1.5, 0.0, LIMITS, timeout_s=60.0)
    assert route.tick(View(0.0, 1.3, 0.0, 0.0, front_m=0.45)).forward_m_s > 0
    assert route.tick(View(0.2, 1.3, 0.0, 0.0, front_m=0.25)).forward_m_s == 0
