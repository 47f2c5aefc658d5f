import json

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from robot_learning.errors import RobotLearningError, SimulationError
from robot_learning.simulation import gym_environments
from robot_learning.simulation.gym_environments import GymEnvironment


class Odd(gymnasium.Env):
    def __init__(self, observed, acted):
        self.observation_space, self.action_space = observed, acted


def make(name):
    try:
        return gym_environments.make(name)
    except RobotLearningError as error:
        if 'nstall' in str(error):
            pytest.skip(str(error))
        raise


@pytest.mark.parametrize('name', ['CartPole-v1', 'Pendulum-v1'])
def test_it_does_what_gymnasium_does(name):
    ours, theirs = gym_environments.make(name), gymnasium.make(name)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(ours.reset(4), theirs.reset(seed=4)[0])
    for _ in range(450):
        if ours.is_discrete:
            choice = int(rng.integers(2))
            action, command = np.eye(2, dtype=np.float32)[choice], choice
        else:
            action = rng.uniform(-1, 1, 1).astype(np.float32)
            command = 2 * action
        observation, reward, terminated, truncated, _ = theirs.step(command)
        result = ours.step(action)
        np.testing.assert_allclose(result.observation, observation, atol=1e-6)
        assert result.reward == pytest.approx(float(reward), abs=1e-5)
        assert (result.terminated, result.truncated) == (terminated, truncated)
        if terminated or truncated:
            np.testing.assert_array_equal(ours.reset(None), theirs.reset()[0])


def test_the_time_limit_truncates():
    environment = gym_environments.make('Pendulum-v1')
    for _ in range(2):
        environment.reset(0)
        ends = [environment.step(np.zeros(1, np.float32)).truncated for _ in range(200)]
        assert ends == [False] * 199 + [True]


@pytest.mark.parametrize('name', ['CartPole-v1', 'Pendulum-v1', 'HalfCheetah-v5'])
def test_a_restored_environment_goes_on_bit_by_bit(name):
    one, other = make(name), make(name)
    one.reset(1)
    other.reset(2)
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (300, len(one.action_low))).astype(np.float32)
    for action in actions[:7]:
        one.step(action)
    other.restore(json.loads(json.dumps(one.state())))
    for action in actions:
        first, second = one.step(action), other.step(action)
        np.testing.assert_array_equal(first.observation, second.observation)
        assert first[1:] == second[1:]
        if first.terminated or first.truncated:
            np.testing.assert_array_equal(one.reset(None), other.reset(None))


def test_a_robot_contract_is_its_embedded_world():
    environment = gym_environments.make('arena')
    contract = gym_environments.contract_of('arena')
    assert contract.robot == 'arena'
    observation = environment.reset(0)
    result = environment.step(np.zeros(2, np.float32))
    assert observation.shape == result.observation.shape == (environment.observation_size,)
    assert environment.state() is None
    environment.close()
    assert gym_environments.contract_of('CartPole-v1') is None


def test_a_task_of_the_control_suite():
    environment = make('dmc:cartpole_swingup')
    assert environment.observation_size == 5
    first = environment.reset(3)
    np.testing.assert_array_equal(environment.reset(3), first)
    results = [environment.step(np.zeros(1, np.float32)) for _ in range(1000)]
    assert [result.truncated for result in results] == [False] * 999 + [True]
    assert not any(result.terminated for result in results)
    with pytest.raises(SimulationError, match='cartpole_swingup'):
        gym_environments.make('dmc:cartpole_swingdown')


def test_what_is_not_there_is_named_with_what_there_is():
    with pytest.raises(SimulationError, match='NoSuchThing-v0: no such environment'):
        gym_environments.make('NoSuchThing-v0')


@pytest.mark.parametrize(
    ('observed', 'acted', 'named'),
    [
        (spaces.Discrete(3), spaces.Discrete(2), 'observations are Discrete'),
        (spaces.Box(0, 255, (8, 8, 3), np.uint8), spaces.Discrete(2), 'observations are Box'),
        (spaces.Box(-1, 1, (2,)), spaces.MultiDiscrete([2, 2]), 'actions are MultiDiscrete'),
        (spaces.Box(-1, 1, (2,)), spaces.Box(-np.inf, 1, (2,)), 'actions are Box'),
    ],
)
def test_spaces_of_no_use_are_refused(observed, acted, named):
    with pytest.raises(SimulationError, match=f'odd: {named}'):
        GymEnvironment(Odd(observed, acted), 'odd')


def test_actions_span_the_box_and_choices_count_from_its_start():
    low, high = np.array([-1, 0], np.float32), np.array([3, 1], np.float32)
    given = []

    class Box(Odd):
        def step(self, action):
            given.append(action)
            return np.zeros(2, np.float32), 0.0, False, False, {}

    environment = GymEnvironment(Box(spaces.Box(-1, 1, (2,)), spaces.Box(low, high)), 'box')
    for action in ([-1, -1], [1, 1], [0, 0.5]):
        environment.step(np.array(action, np.float32))
    np.testing.assert_allclose(given, [low, high, [1, 0.75]])
    given.clear()
    environment = GymEnvironment(Box(spaces.Box(-1, 1, (2,)), spaces.Discrete(2, start=5)), 'box')
    environment.step(np.array([0, 1], np.float32))
    assert given == [6]
