"""Episodes in a world that runs elsewhere: same layouts, same judgement, odometry from zero."""

import math

import pytest
from robot_learning import contract as contracts
from robot_learning.errors import SimulationError
from robot_learning.simulation.contact import body_of, touched_by_robot
from robot_learning.simulation.episodes import Episodes
from robot_learning.simulation.geometry import OBJECTS
from robot_learning.simulation.observed_world import ObservedWorld, OdometryOrigin
from robot_learning.simulation.physics import Physics
from robots import arena, make_world


@pytest.fixture
def world():
    return ObservedWorld(arena())


@pytest.mark.parametrize('seed', [0, 1, 12345])
def test_a_seed_gives_the_layout_of_the_embedded_world(world, seed):
    embedded = make_world('pose')
    embedded.reset(seed)
    world.begin(seed)
    assert world.layout.robot == embedded.layout.robot
    assert world.layout.goal == embedded.layout.goal
    assert world.layout.objects == embedded.layout.objects


def test_everything_has_a_place_and_stands_on_the_floor(world):
    world.begin(3)
    places = world.placements()
    assert set(places) == {'robot', *(item.name for item in OBJECTS)}
    assert places['robot'][:2] == world.layout.robot[:2] and places['robot'].z == 0.0
    for name, pose in world.layout.objects.items():
        assert places[name][:2] == pose[:2] and places[name].yaw == pose[2]


def test_episodes_run_through_it_as_through_the_embedded_world(world):
    episodes = Episodes(world, seed=4)
    world.time_ns = 7
    edge = episodes.begin()
    assert (edge.episode, edge.seed, edge.stamp_ns) == (0, world.seed, 7)
    x, y, _ = world.layout.goal
    world.see(200_000_007, (x, y, 0.0), {})
    arrival = episodes.arrive()
    assert arrival.terminated and arrival.success and arrival.stamp_ns == 200_000_007
    assert episodes.end().reason == 'goal'


def test_a_touch_between_two_steps_counts_at_the_next(world):
    world.begin(0)
    world.see(1, (2.45, 0.0, 0.0), {})
    world.see(2, (0.0, 0.0, 0.0), {})
    assert world.judge().reason == 'collision'


def test_time_is_up_after_the_contract_s_limit(world):
    world.begin(0)
    limit = world.contract.task.time_limit_s * world.contract.control_rate_hz
    for _ in range(int(limit)):
        world.see(1, world.layout.robot, {})
        outcome = world.judge()
    assert outcome.truncated and outcome.reason == 'time_limit'


def test_poses_that_are_not_free_are_refused(world):
    with pytest.raises(SimulationError, match='goal_pose'):
        world.begin(0, goal_pose=(9.0, 9.0, 0.0))
    with pytest.raises(SimulationError, match='seed: found -3'):
        world.begin(-3)


def test_touches_are_those_that_physics_finds():
    """Against MuJoCo's contacts, for objects and walls a little inside and outside of reach."""
    physics = Physics(0.01)
    for name, half in (('ball_red', 0.065), ('can_blue', 0.06), ('cube_green', 0.06)):
        for inside in (True, False):
            distance = 0.08 + half + (-0.005 if inside else 0.03)
            objects = {name: (1.0 + distance, -1.6, 0.0)}
            physics.place((1.0, -1.6, 0.0), objects)
            physics.touched.clear()
            physics.advance(1)
            physics.settle()
            assert (name in physics.touched) == inside
            assert touched_by_robot((1.0, -1.6, 0.0), objects) == ({name} if inside else set())


@pytest.mark.parametrize(('distance', 'touches'), [(0.15, True), (0.17, False)])
def test_the_gripper_reaches_walls_as_in_physics(distance, touches):
    physics = Physics(0.01)
    pose = (2.5 - distance, 0.0, 0.0)
    physics.place(pose, {})
    physics.touched.clear()
    physics.advance(1)
    physics.settle()
    assert bool(physics.touched) == bool(touched_by_robot(pose, {})) == touches


@pytest.mark.parametrize(
    ('pose', 'touched'),
    [
        ((0.0, 0.0, 0.0), set()),
        ((2.33, 0.0, 0.0), set()),
        ((2.34, 0.0, 0.0), {'wall_east'}),  # With the stowed gripper.
        ((2.36, 0.0, math.pi), set()),
        ((2.38, 0.0, math.pi), {'wall_east'}),  # With its rear.
        ((0.0, 2.35, 0.0), set()),
        ((0.0, 2.36, 0.0), {'wall_north'}),
        ((-1.0, 0.6, math.pi / 2), {'wall_left'}),
    ],
)
def test_walls_are_touched_by_the_side_that_is_turned_to_them(pose, touched):
    assert touched_by_robot(pose, {}) == touched


def test_a_turned_cube_reaches_further_at_its_corner():
    assert touched_by_robot((0.0, 0.0, 0.0), {'cube_red': (0.16, 0.0, 0.0)}) == set()
    assert touched_by_robot((0.0, 0.0, 0.0), {'cube_red': (0.16, 0.0, math.pi / 4)})


def test_a_turtlebot_has_a_body_of_its_own():
    body = body_of('turtlebot3')
    assert touched_by_robot((2.4, 0.0, 0.0), {}, body) == set()
    assert touched_by_robot((2.4, 0.0, math.pi), {}, body) == {'wall_east'}


def test_odometry_begins_at_zero_wherever_and_however_the_robot_was_put():
    origin = OdometryOrigin()
    assert origin.relative((1.0, 2.0, 0.5)) == (1.0, 2.0, 0.5)
    origin.begin((3.0, -1.0, math.pi / 2))
    assert origin.relative((3.0, -1.0, math.pi / 2)) == pytest.approx((0, 0, 0))
    assert origin.relative((3.0, 0.0, math.pi / 2)) == pytest.approx((1, 0, 0))
    assert origin.relative((2.0, -1.0, -math.pi + 0.1)) == pytest.approx((0, 1, math.pi / 2 + 0.1))


def test_a_robot_without_a_task_cannot_have_episodes():
    with pytest.raises(SimulationError, match='no task'):
        ObservedWorld(contracts.load('husky'))
