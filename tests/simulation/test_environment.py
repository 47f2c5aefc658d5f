import warnings

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from robot_learning.errors import SimulationError
from robot_learning.features import FeatureBuilder
from robot_learning.simulation.environment import GoalReachingEnv
from robots import arena


@pytest.mark.parametrize('observation', ['features', 'fields'])
def test_environment_passes_gymnasiums_checker(observation):
    env = GoalReachingEnv(arena(), observation=observation)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # Unbounded observations are meant so.
        check_env(env, skip_render_check=True)


def test_normalised_actions_span_the_contracts_limits():
    env = GoalReachingEnv(arena())
    env.reset(seed=0)
    sent = []
    env.world.apply = sent.append
    for action in ([-1, -1], [1, 1], [0, 0], [3, -3]):
        env.step(np.array(action, np.float32))
    found = [list(np.round(commands['base'], 6)) for commands in sent]
    assert found == [[-0.1, -1.5], [0.5, 1.5], [0.2, 0.0], [0.5, -1.5]]


def test_features_are_those_of_the_fields():
    features, _ = GoalReachingEnv(arena()).reset(seed=3)
    fields, _ = GoalReachingEnv(arena(), observation='fields').reset(seed=3)
    assert np.array_equal(features, FeatureBuilder(arena()).build(fields))


def test_seeds_count_up_from_the_one_given():
    env = GoalReachingEnv(arena(), seed=40)
    seeds = [env.reset()[1]['seed'] for _ in range(3)] + [env.reset(seed=7)[1]['seed']]
    assert seeds == [40, 41, 42, 7]


def test_info_says_how_the_episode_ended():
    env = GoalReachingEnv(arena())
    env.reset(seed=0, options={'robot_pose': (2.0, 0.0, 0.0), 'goal_pose': (-2.0, 0.0, 0.0)})
    terminated = False
    while not terminated:
        _, reward, terminated, truncated, info = env.step(np.array([1, 0], np.float32))
    assert (info['collision'], info['success'], truncated) == (True, False, False)
    assert info['reason'] == 'collision'
    assert reward < -4
    assert info['summary']['path_length_m'] == pytest.approx(0.33, abs=0.15)


def test_unknown_reset_options_are_named():
    with pytest.raises(SimulationError, match=r"unknown options \['robot'\]"):
        GoalReachingEnv(arena()).reset(options={'robot': (0, 0, 0)})
