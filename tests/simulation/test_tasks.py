import math

import numpy as np
import pytest
from robot_learning import contract
from robot_learning.errors import ConfigError, SimulationError
from robot_learning.simulation.geodesic import GeodesicMap
from robot_learning.simulation.layout import Layout
from robot_learning.simulation.tasks import (
    GoalReaching,
    GoalReachingConfig,
    WaypointCourse,
    WaypointCourseConfig,
    build_task,
    cross_track_error,
    path_efficiency,
    path_length,
)
from robots import changed, make_world

MAP = GeodesicMap(comfort_weight=0.0)


def open_layout(start, goal):
    return Layout((*start, 0.0), (*goal, 0.0), {}, MAP.field(goal, []))


def goal_reaching(start, goal, **settings):
    task = GoalReaching(GoalReachingConfig(**settings))
    task.begin(open_layout(start, goal), MAP)
    return task


def test_reward_is_progress_along_the_way_less_time():
    task = goal_reaching((-1.0, 0.0), (1.0, 0.0), progress_weight=3.0, time_cost=0.25)
    verdict = task.judge((-0.5, 0.0, 0.0), set())
    assert verdict.reward == pytest.approx(3.0 * 0.5 - 0.25, abs=0.01)
    back = task.judge((-1.0, 0.0, 0.0), set())
    assert back.reward == pytest.approx(-3.0 * 0.5 - 0.25, abs=0.01)


def test_rewards_of_progress_add_up_whatever_the_path():
    task = goal_reaching((-1.0, 0.0), (1.5, 0.0), progress_weight=1.0, time_cost=0.0)
    detour = [(-1.0, 0.4), (0.0, -0.4), (0.7, 0.3), (1.0, 0.0)]
    total = sum(task.judge((x, y, 0.0), set()).reward for x, y in detour)
    assert total == pytest.approx(2.0, abs=0.02)


def test_behind_a_wall_progress_counts_along_the_detour():
    task = goal_reaching((-1.0, 0.3), (-1.0, 1.3), progress_weight=1.0, time_cost=0.0)
    away_from_goal_but_along_the_way = task.judge((-0.5, 0.3, 0.0), set())
    assert away_from_goal_but_along_the_way.reward > 0.4


def test_goal_is_reached_within_its_radius_and_not_before():
    task = goal_reaching((-1.0, 0.0), (1.0, 0.0), goal_radius_m=0.3, success_bonus=7.0)
    assert task.judge((0.69, 0.0, 0.0), set()).terminated is False
    verdict = task.judge((0.71, 0.0, 0.0), set())
    assert (verdict.terminated, verdict.success, verdict.reason) == (True, True, 'goal')
    assert verdict.reward == pytest.approx(7.0 + 2 * 0.02 - 0.02, abs=0.01)


def test_collision_ends_as_a_failure_even_at_the_goal():
    task = goal_reaching((-1.0, 0.0), (1.0, 0.0), collision_penalty=4.0, progress_weight=0.0)
    verdict = task.judge((1.0, 0.0, 0.0), {'wall_east'})
    assert (verdict.terminated, verdict.success, verdict.reason) == (True, False, 'collision')
    assert verdict.reward == pytest.approx(-4.0 - 0.02)


def test_summary_of_a_detour_is_its_length_over_the_shortest():
    task = goal_reaching((-1.0, 0.0), (1.0, 0.0))
    for point in ((-1.0, 0.3), (0.7, 0.3), (0.7, 0.0)):
        task.judge((*point, 0.0), set())
    summary = task.summary()
    assert summary['path_length_m'] == pytest.approx(0.3 + 1.7 + 0.3)
    assert summary['path_efficiency'] == pytest.approx(1.7 / 2.3, abs=0.04)


def test_path_scores_by_hand():
    square = np.array([(0, 0), (3, 0), (3, 4)], float)
    assert path_length(square) == 7.0
    assert path_efficiency(square, 5.0) == pytest.approx(5 / 7)
    assert path_efficiency(square, 9.0) == 1.0
    assert path_efficiency(square[:1], 1.0) == 0.0


def test_cross_track_error_is_the_mean_distance_to_the_nearest_leg():
    course = np.array([(0, 0), (2, 0), (2, 2)], float)
    on_course = np.array([(0.5, 0), (1.5, 0), (2, 1.7)])
    assert cross_track_error(on_course, course) == pytest.approx(0.0)
    beside = np.array([(1.0, 0.3), (2.5, 1.0), (-0.3, -0.4)])
    assert cross_track_error(beside, course) == pytest.approx((0.3 + 0.5 + 0.5) / 3)


def test_waypoints_are_visited_in_order_and_scored():
    config = WaypointCourseConfig(waypoints=((1.0, 0.0), (1.0, -0.3), (-1.0, 0.0)))
    task = WaypointCourse(config)
    task.begin(open_layout((-1.0, 0.0), (1.0, 0.0)), MAP)
    assert task.goal[:2] == (1.0, 0.0)
    assert not task.judge((0.0, 0.0, 0.0), set()).success
    first = task.judge((0.8, 0.0, 0.0), set())
    assert first.reward > 2.0
    assert not first.terminated
    assert task.goal[:2] == (1.0, -0.3)
    task.judge((1.0, -0.2, 0.0), set())
    assert task.goal[:2] == (-1.0, 0.0)
    task.judge((0.0, 0.0, 0.0), set())
    last = task.judge((-0.9, 0.0, 0.0), set())
    assert (last.terminated, last.success) == (True, True)
    summary = task.summary()
    assert summary['waypoints_reached'] == 1.0
    driven = 1.8 + math.hypot(0.2, 0.2) + math.hypot(1.0, 0.2) + 0.9
    assert summary['path_length_m'] == pytest.approx(driven)
    assert summary['cross_track_error_m'] < 0.05


def test_an_unfinished_course_scores_its_share():
    task = WaypointCourse(WaypointCourseConfig(waypoints=((1.0, 0.0), (1.0, -0.3))))
    task.begin(open_layout((-1.0, 0.0), (1.0, 0.0)), MAP)
    task.judge((1.0, 0.4, 0.0), set())
    task.judge((1.0, 0.2, 0.0), set())
    verdict = task.judge((1.4, 0.2, 0.0), {'can_red'})
    assert verdict.reason == 'collision'
    assert task.summary()['waypoints_reached'] == 0.5


def test_the_published_goal_moves_along_the_course_in_the_world():
    robot = changed(name='waypoint_course', parameters={'waypoints': [[0.5, 0.0], [1.5, 0.0]]})
    world = make_world('goal', 'pose', robot=robot, random=False)
    observation = world.reset(0, (-0.2, 0.0, 0.0))
    assert observation['goal'][:2] == pytest.approx((0.5, 0.0))
    for _ in range(10):
        observation = world.step({'base': np.array([0.4, 0.0])}).observation
    assert observation['goal'][:2] == pytest.approx((1.5, 0.0))


def test_tasks_are_built_from_the_contract_and_mistakes_are_named():
    robot = changed(name='goal_reaching', parameters={'goal_radius_m': 0.5})
    assert isinstance(build_task(robot), GoalReaching)
    with pytest.raises(ConfigError, match=r'arena: task.parameters: goal_radius: unknown key'):
        build_task(changed(name='goal_reaching', parameters={'goal_radius': 0.5}))
    with pytest.raises(ConfigError, match=r"task 'dance': unknown.*goal_reaching, way"):
        build_task(changed(name='dance'))
    data = robot.to_dict()
    data['task'] = None
    with pytest.raises(SimulationError, match=r'the contract has no task'):
        build_task(contract.from_dict(data))


def test_errands_go_on_whatever_the_robot_touches():
    world = make_world(robot=contract.load('errands'))
    world.begin(0, (0.0, 0.0, 0.0))
    world.set_state(objects={'cube_red': (0.4, 0.0, 0.0)})
    for _ in range(300):  # A minute: longer than the arena's time limit.
        result = world.step({'base': np.array([0.3, 0.0])})
        assert (result.reward, result.terminated, result.truncated) == (0.0, False, False)
    summary = world.task.summary()
    assert summary['steps_touching'] > 10 and summary['path_length_m'] > 1.0
    for x, y in world.task.course:
        free = [math.dist((x, y), place[:2]) for place in world.layout.objects.values()]
        assert min(free) > 0.25
