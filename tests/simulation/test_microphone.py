import numpy as np
import pytest
from robot_learning.simulation.randomisation import RandomisationConfig
from robot_learning.simulation.world import World, WorldConfig
from robots import arena

WALL = ((-1.9, 1.9, np.pi / 2), (2.0, 0.0, 0.0))  # 0.6 m before a wall, looking at it.


@pytest.fixture(scope='module')
def world():
    config = WorldConfig(
        camera='off', microphone=True, randomisation=RandomisationConfig(enabled=False)
    )
    return World(arena(), config, ('goal',) if 'goal' in arena().observation else None)


def heard(world, command, num_steps, seed=3, **given):
    """Return what each control step sounds like."""
    world.begin(seed, **given)
    sounds = []
    for _ in range(num_steps):
        world.apply({'base': np.asarray(command)})
        world.advance(world.contract.control_period_ns)
        sounds.append(world.microphone.read())
    return sounds


def test_a_robot_that_stands_hears_nothing(world):
    sounds = heard(world, (0.0, 0.0), 5)
    assert {len(sound) for sound in sounds} == {round(16_000 / arena().control_rate_hz)}
    assert max(np.abs(sound).max() for sound in sounds) < 1e-6


def test_a_robot_that_drives_freely_hears_nothing(world):
    sounds = heard(world, (0.0, 0.5), 5)
    assert max(np.abs(sound).max() for sound in sounds) < 1e-6


def test_a_robot_that_hits_a_wall_hears_it_at_that_moment(world):
    sounds = heard(world, (0.5, 0.0), 15, robot_pose=WALL[0], goal_pose=WALL[1])
    loud = [index for index, sound in enumerate(sounds) if np.abs(sound).max() > 1e-3]
    assert loud
    assert np.abs(np.concatenate(sounds[: loud[0]])).max() < 1e-6
    assert 0.1 < world.contract.control_period_ns * 1e-9 * loud[0] < 2.5


def test_what_is_heard_is_the_same_again(world):
    one, two = (
        heard(world, (0.5, 0.0), 15, robot_pose=WALL[0], goal_pose=WALL[1]) for _ in range(2)
    )
    np.testing.assert_array_equal(np.concatenate(one), np.concatenate(two))


def test_samples_are_counted_over_episodes(world):
    before = world.microphone.num_read
    sounds = heard(world, (0.0, 0.0), 2)
    assert world.microphone.num_read - before == sum(map(len, sounds))


def test_a_can_of_steel_rings_longer_than_a_wooden_cube(world):
    """Both fall from 20 cm beside the robot."""
    lasting = {}
    for name in ('can', 'cube'):
        world.begin(3)
        item = next(entry for entry in world.layout.objects if name in entry)
        address = world.physics._object_address[item]
        world.physics.data.qpos[address + 2] += 0.2
        world.microphone.reset()
        sounds = []
        for _ in range(8):
            world.advance(world.contract.control_period_ns)
            sounds.append(world.microphone.read())
        energy = np.cumsum(np.concatenate(sounds).astype(np.float64)[::-1] ** 2)[::-1]
        assert energy[0] > 1e-6
        lasting[name] = int((energy > 1e-3 * energy[0]).sum())
    assert lasting['can'] > lasting['cube']


def test_without_a_microphone_nothing_listens():
    silent = World(arena(), WorldConfig(camera='off'))
    assert silent.microphone is None
    assert silent.physics.on_step is None
