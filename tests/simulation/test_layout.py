import itertools
import math

import numpy as np
import pytest
from robot_learning.errors import SimulationError
from robot_learning.simulation.geodesic import GeodesicMap, wall_distance
from robot_learning.simulation.geometry import INNER_WALLS, OBJECTS, ROBOT_RADIUS, WALLS
from robot_learning.simulation.layout import LayoutConfig, footprints, sample_layout

MAP = GeodesicMap()


def sample(seed, **given):
    return sample_layout(np.random.default_rng(seed), LayoutConfig(), MAP, 1.5, **given)


def test_layouts_keep_their_distances_and_a_way_exists():
    config = LayoutConfig()
    for seed in range(30):
        layout = sample(seed)
        start, goal = layout.robot, layout.goal
        assert math.hypot(start[0] - goal[0], start[1] - goal[1]) >= 1.5
        assert layout.field.is_reachable(start[0], start[1])
        assert len(layout.objects) == len(OBJECTS)
        for x, y, radius in layout.circles:
            assert wall_distance(np.array(x), np.array(y), WALLS) >= radius + config.object_gap_m
            for px, py, _ in (start, goal):
                assert math.hypot(px - x, py - y) - radius >= ROBOT_RADIUS + 0.12 - 1e-9
        for a, b in itertools.combinations(layout.circles, 2):
            gap = math.hypot(a[0] - b[0], a[1] - b[1]) - a[2] - b[2]
            assert gap > 2 * ROBOT_RADIUS


def test_goals_are_often_hidden_behind_inner_walls():
    hidden = 0
    for seed in range(60):
        layout = sample(seed)
        line = np.linspace(layout.robot[:2], layout.goal[:2], 200)
        hidden += wall_distance(line[:, 0], line[:, 1], INNER_WALLS).min() == 0
    assert hidden / 60 > 0.4


def test_same_seed_gives_the_same_layout_and_another_seed_another():
    first, again, other = sample(5), sample(5), sample(6)
    assert (first.robot, first.goal, first.objects) == (again.robot, again.goal, again.objects)
    assert first.robot != other.robot
    assert first.objects != other.objects


def test_given_poses_are_kept_and_objects_avoid_them():
    for seed in range(10):
        layout = sample(seed, robot=(1.0, 1.5, 0.5), goal=(1.0, -1.5, 0.0), keep_free=[(0, 0)])
        assert layout.robot == (1.0, 1.5, 0.5)
        assert layout.goal == (1.0, -1.5, 0.0)
        for x, y, radius in layout.circles:
            for px, py in ((1.0, 1.5), (1.0, -1.5), (0.0, 0.0)):
                assert math.hypot(px - x, py - y) - radius > ROBOT_RADIUS + 0.1


@pytest.mark.parametrize(
    ('given', 'named'),
    [
        ({'robot': (2.45, 0.0, 0.0)}, r'robot_pose: \(2\.45, 0\.00\) is 0\.05 m from a wall'),
        ({'goal': (-1.0, 0.8, 0.0)}, 'goal_pose: .* is 0.00 m from a wall'),
        ({'goal': (9.0, 9.0, 0.0)}, 'goal_pose: .*inside'),
        ({'robot': (0.0, 0.0)}, r'robot_pose: found \[0.0, 0.0\], expected finite x, y'),
        ({'robot': (math.nan, 0.0, 0.0)}, 'robot_pose: found .*nan'),
    ],
)
def test_given_poses_that_are_not_free_are_named(given, named):
    with pytest.raises(SimulationError, match=named):
        sample(0, **given)


def test_impossible_gaps_end_in_an_error_that_says_so():
    crowded = LayoutConfig(object_gap_m=2.0)
    with pytest.raises(SimulationError, match=r'none found in 200 attempts with 10 objects'):
        sample_layout(np.random.default_rng(0), crowded, MAP, 1.5)


def test_fewer_objects_can_be_asked_for():
    config = LayoutConfig(num_objects=3)
    layout = sample_layout(np.random.default_rng(0), config, MAP, 1.5)
    assert len(layout.objects) == len(footprints(layout.objects)) == 3
