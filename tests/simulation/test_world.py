import math

import numpy as np
import pytest
from robot_learning import contract
from robot_learning.errors import SimulationError
from robot_learning.simulation.layout import LayoutConfig
from robot_learning.simulation.randomisation import RandomisationConfig, ranges, sample
from robot_learning.simulation.world import World, WorldConfig
from robots import arena, changed, make_world

OPEN = ((-1.5, 0.0, 0.0), (2.0, 0.0, 0.0))  # A start and a goal on the middle lane.


def drive(world, seed, commands, **given):
    """Return everything that a sequence of commands brings, as bytes."""
    parts = [_bytes(world.reset(seed, **given))]
    for command in commands:
        result = world.step({'base': command})
        parts += [_bytes(result.observation), repr(result[1:]).encode()]
        if world.ended:
            break
    return b''.join(parts)


def _bytes(observation):
    return b''.join(observation[name].tobytes() for name in sorted(observation))


def random_commands(seed=0, num=40):
    rng = np.random.default_rng(seed)
    return rng.uniform(arena().action_low, arena().action_high, (num, 2))


def test_same_seed_gives_bit_equal_episodes_even_in_another_world():
    world, other = make_world(), make_world()
    first = drive(world, 7, random_commands())
    drive(world, 8, random_commands(1))  # What happened in between leaves no trace.
    assert drive(world, 7, random_commands()) == first
    assert drive(other, 7, random_commands()) == first


def test_seeds_differ():
    world = make_world()
    assert drive(world, 7, random_commands()) != drive(world, 9, random_commands())


def test_observation_has_the_fields_shapes_and_types_of_the_contract():
    observation = make_world().reset(0)
    expected = {n: f for n, f in arena().observation.items() if n != 'camera'}
    assert set(observation) == set(expected)
    for name, field in expected.items():
        assert observation[name].shape == field.shape
        assert observation[name].dtype == field.dtype


def test_time_counts_control_periods_and_never_goes_back():
    world = make_world('pose')
    world.reset(0)
    times = [world.time_ns]
    for _ in range(3):
        world.step({'base': np.zeros(2)})
        times.append(world.time_ns)
    world.reset(1)
    times.append(world.time_ns)
    assert np.diff(times).tolist() == [200_000_000] * 4


def test_time_limit_truncates_and_then_a_reset_is_needed():
    robot = changed(name='goal_reaching', time_limit_s=1.0)
    world = make_world('pose', robot=robot)
    world.reset(0)
    results = [world.step({'base': np.zeros(2)}) for _ in range(5)]
    assert [r.truncated for r in results] == [False] * 4 + [True]
    assert not any(r.terminated for r in results)
    assert results[-1].reason == 'time_limit'
    with pytest.raises(SimulationError, match=r'the episode has ended. Call reset'):
        world.step({'base': np.zeros(2)})


def test_driving_straight_to_an_open_goal_succeeds_and_into_a_wall_fails():
    config = WorldConfig(camera='off', layout=LayoutConfig(num_objects=0))
    world = World(arena(), config, ('pose',))
    for goal, reason in (((2.0, 0.0, 0.0), 'goal'), ((-2.0, 0.0, 0.0), 'collision')):
        world.reset(0, (-1.0, 0.0, 0.0), goal)
        while not world.ended:
            result = world.step({'base': np.array([0.5, 0.0])})
        assert result.reason == reason
        assert result.success is (reason == 'goal')
        assert result.terminated


def test_localised_pose_and_odometry_stay_near_the_truth():
    world = make_world('pose', 'odometry')
    world.reset(3, *OPEN)
    start = world.physics.robot_pose()
    for _ in range(10):
        result = world.step({'base': np.array([0.2, 0.3])})
        if world.ended:
            break
    x, y, yaw = world.physics.robot_pose()
    assert result.observation['pose'] == pytest.approx((x, y, yaw), abs=0.09)
    # Odometry starts at its own origin, where the robot stood.
    travelled = math.hypot(x - start[0], y - start[1])
    assert np.hypot(*result.observation['odometry'][:2]) == pytest.approx(travelled, rel=0.1)
    assert result.observation['odometry'][:2].tolist() != [x - start[0], y - start[1]]


def test_command_latency_delays_the_motion():
    late = RandomisationConfig(command_latency_s=(0.1, 0.1))
    now = RandomisationConfig(command_latency_s=(0.0, 0.0))
    driven = []
    for randomisation in (now, late):
        config = WorldConfig(camera='off', randomisation=randomisation)
        world = World(arena(), config, ('pose',))
        world.reset(0, *OPEN)
        world.step({'base': np.array([0.5, 0.0])})
        driven.append(world.physics.robot_pose()[0] + 1.5)
    assert driven[0] - driven[1] == pytest.approx(0.5 * 0.1, abs=0.015)


def test_randomisation_changes_outcomes_and_its_values_are_kept():
    poses, values = [], []
    for seed in (1, 2):
        world = make_world('pose')
        world.reset(seed, *OPEN)
        for _ in range(3):
            world.step({'base': np.array([0.2, 0.5])})
        poses.append(world.physics.robot_pose())
        values.append(world.randomisation)
    assert poses[0] != poses[1]
    assert values[0] != values[1]
    for name, (low, high) in ranges(RandomisationConfig()).items():
        assert all(low <= value[name] <= high for value in values)


def test_switched_off_randomisation_takes_the_middle():
    values = sample(RandomisationConfig(enabled=False), np.random.default_rng(0))
    assert values['robot_mass_scale'] == 1.0
    assert values['wheel_radius_error'] == 0.0


def test_reversed_range_is_named():
    with pytest.raises(Exception, match=r'friction_scale: low 2.0 is above high 1.0'):
        RandomisationConfig(friction_scale=(2.0, 1.0))


def test_commands_beyond_the_limits_are_clipped():
    world = make_world('velocity', random=False)
    world.reset(0, *OPEN)
    for _ in range(4):
        result = world.step({'base': np.array([50.0, 0.0])})
    assert result.observation['velocity'][0] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ('commands', 'named'),
    [
        ({'wings': np.zeros(2)}, "action 'wings': is not in the contract.*base, lift, gripper"),
        ({'base': np.zeros(3)}, r"action 'base': found \[0.0, 0.0, 0.0\], expected 2 finite"),
        ({'base': np.array([np.nan, 0])}, r"action 'base': found \[nan, 0.0\], expected 2 finite"),
    ],
)
def test_unusable_commands_are_named(commands, named):
    world = make_world('pose')
    world.reset(0)
    with pytest.raises(SimulationError, match=named):
        world.step(commands)


def test_a_refused_reset_leaves_the_episode_as_it_was():
    world = make_world('pose')
    world.reset(4)
    before = world.layout
    with pytest.raises(SimulationError, match=r'robot_pose'):
        world.reset(5, (9.0, 0.0, 0.0))
    assert world.layout is before
    assert world.seed == 4
    with pytest.raises(SimulationError, match=r'seed: found -1, expected 0 or more'):
        world.reset(-1)


def test_set_state_moves_robot_and_objects_within_the_episode():
    config = WorldConfig(camera='off', layout=LayoutConfig(num_objects=0))
    world = World(arena(), config, ('scan',))
    world.reset(0, *OPEN)
    world.step({'base': np.array([0.3, 0.0])})
    world.set_state((0.0, 0.0, 0.0), {'can_blue': (0.5, 0.0, 0.0)})
    assert world.physics.robot_pose() == pytest.approx((0.0, 0.0, 0.0))
    assert world.observe()['scan'][0] == pytest.approx(0.5 - 0.06, abs=0.05)
    assert world.num_steps == 1


def test_lift_and_gripper_obey_their_action_fields():
    world = make_world('pose', random=False)
    world.reset(0, *OPEN)
    for _ in range(10):
        world.step({'lift': np.array([0.1]), 'gripper': np.array([0.04])})
    assert world.physics.lift_height() == pytest.approx(0.1, abs=0.005)
    assert world.physics.gripper_opening() == pytest.approx(0.04, abs=0.005)


def test_a_contract_that_the_world_cannot_serve_is_refused_by_name():
    data = arena().to_dict()
    data['observation']['scan']['topic'] = 'front_laser'
    with pytest.raises(SimulationError, match=r'arena: the world cannot give scan'):
        World(contract.from_dict(data), WorldConfig(camera='off'))
    data = arena().to_dict()
    data['observation']['goal']['type'] = 'geometry_msgs/msg/PoseWithCovarianceStamped'
    world = World(contract.from_dict(data), WorldConfig(camera='off'))
    with pytest.raises(SimulationError, match=r"'goal_pose': .*WithCovar.*gives .*PoseStamped"):
        world.reset(0)
    data = arena().to_dict()
    data['actions']['base']['topic'] = 'drive'
    with pytest.raises(SimulationError, match=r"action 'base': the world has no actuator"):
        World(contract.from_dict(data), WorldConfig(camera='off'))


def test_derived_parts_follow_from_the_same_reading():
    data = arena().to_dict()
    data['observation']['truth'] = {
        'topic': 'ground_truth/odom',
        'type': 'nav_msgs/msg/Odometry',
        'part': 'pose',
        'shape': [7],
    }
    world = World(contract.from_dict(data), WorldConfig(camera='off'), ('truth',))
    truth = world.reset(0, (0.5, 0.2, 1.0), (2.0, 2.0, 0.0))['truth']
    assert truth == pytest.approx((0.5, 0.2, 0, 0, 0, math.sin(0.5), math.cos(0.5)), abs=1e-6)
