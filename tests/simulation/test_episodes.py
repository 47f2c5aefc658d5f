import json

import numpy as np
import pytest
from robot_learning.errors import SimulationError
from robot_learning.evaluation.layouts import FIRST_EVALUATION_SEED
from robot_learning.simulation.episodes import SEED_LIMIT, Episodes, episode_seed
from robot_learning.simulation.schedule import RateSchedule, StepSchedule
from robots import arena, make_world


def live(world, episodes, command=(0.5, 0.0)):
    world.apply({'base': np.array(command)})
    world.advance(world.contract.control_period_ns)
    return episodes.arrive()


def test_episodes_are_numbered_seeded_and_described():
    world = make_world('pose')
    episodes = Episodes(world, seed=3)
    first = episodes.begin()
    assert (first.episode, first.seed) == (0, episode_seed(3, 0))
    assert episodes.arrival.step == 0
    total = 0.0
    while not episodes.is_over:
        total += live(world, episodes).reward
    end = episodes.end()
    assert end.stamp_ns == world.time_ns
    assert end.reason == 'collision'
    assert (end.terminated, end.truncated, end.success) == (True, False, False)
    assert end.info['return'] == pytest.approx(total)
    assert end.info['num_steps'] == episodes.arrival.step > 0
    assert end.info['randomisation'] == world.randomisation
    second = episodes.begin()
    assert (second.episode, second.seed) == (1, episode_seed(3, 1))
    assert second.stamp_ns == end.stamp_ns + world.contract.control_period_ns
    json.dumps([first.info, end.info])


def test_interrupted_episode_is_truncated_for_the_operator():
    world = make_world('pose')
    episodes = Episodes(world, seed=0)
    episodes.begin()
    live(world, episodes, (0.0, 0.0))
    end = episodes.end()
    assert (end.terminated, end.truncated, end.reason) == (False, True, 'operator')


def test_refused_poses_keep_the_episode():
    world = make_world('pose')
    episodes = Episodes(world, seed=0)
    episodes.begin()
    with pytest.raises(SimulationError, match=r'goal_pose'):
        episodes.begin(goal_pose=(9.0, 9.0, 0.0))
    assert episodes.number == 0
    assert live(world, episodes, (0.0, 0.0)).step == 1


def test_training_layouts_never_are_evaluation_layouts():
    seeds = {episode_seed(run, k) for run in (0, 1, 2, 99, 12345) for k in range(2000)}
    assert len(seeds) == 5 * 2000
    assert max(seeds) < SEED_LIMIT <= FIRST_EVALUATION_SEED


def test_sensors_come_at_their_own_rates():
    schedule = RateSchedule(arena(), 0.005)
    schedule.reset(0)
    counts, now, controls = {}, 0, 0
    while now < 2_000_000_000:
        for topic in schedule.take_due(now):
            counts[topic] = counts.get(topic, 0) + 1
        controls += schedule.take_control(now)
        now = max(schedule.next_ns(), now + 1)
        now = -(-now // 5_000_000) * 5_000_000  # The grid of physics steps.
    assert counts['imu'] == 400
    assert counts['scan'] == 20
    assert counts['odom'] == 60
    assert counts['amcl_pose'] == 10
    assert controls == 9  # At 0.2 ... 1.8 s.


def test_every_nth_step_begins_with_the_first():
    schedule = StepSchedule({'scan': 1, 'camera/image_raw': 5})
    due = [schedule.due(step) for step in range(6)]
    assert due[0] == due[5] == ['scan', 'camera/image_raw']
    assert due[1] == due[4] == ['scan']
