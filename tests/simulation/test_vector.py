import numpy as np
import pytest
from robot_learning.errors import SimulationError
from robot_learning.simulation.vector import StepResult, VectorEnvironment


class Counting:
    """Observes (episode, step) and the last action; ends after `length` steps."""

    observation_size, is_discrete = 3, False
    action_low, action_high = -np.ones(1, np.float32), np.ones(1, np.float32)

    def __init__(self, length, ends='terminated'):
        self.length, self.ends = length, ends
        self.seeds, self.episode, self.count, self.action = [], 0, 0, 0.0

    def reset(self, seed):
        self.seeds.append(seed)
        self.episode += 1
        self.count, self.action = 0, 0.0
        return self.seen()

    def step(self, action):
        self.count += 1
        self.action = float(action[0])
        has_ended = self.count == self.length
        return StepResult(
            self.seen(),
            float(self.count),
            has_ended and self.ends == 'terminated',
            has_ended and self.ends == 'truncated',
        )

    def seen(self):
        return np.array([self.episode, self.count, self.action], np.float32)

    def state(self):
        return None if self.length == 7 else {'episode': self.episode, 'count': self.count}

    def restore(self, state):
        self.episode, self.count = state['episode'], state['count']

    def close(self):
        self.length = 0


def vector(*lengths, ends='terminated', **options):
    remaining = list(lengths)
    return VectorEnvironment(lambda: Counting(remaining.pop(0), ends), len(lengths), **options)


def act(*values):
    return np.array(values, np.float32)[:, None]


def test_an_ended_environment_is_reset_at_once_and_its_end_is_kept():
    environments = vector(2, 3)
    assert environments.reset(5).tolist() == [[1, 0, 0], [1, 0, 0]]
    environments.step(act(0.1, 0.2))
    arrived = environments.step(act(0.3, 0.4))
    assert arrived.terminated.tolist() == [True, False]
    np.testing.assert_allclose(arrived.observation, [[2, 0, 0], [1, 2, 0.4]])
    np.testing.assert_allclose(arrived.final_observation, [[1, 2, 0.3], [1, 2, 0.4]])
    assert arrived.reward.tolist() == [2, 2]
    arrived = environments.step(act(0.5, 0.6))
    assert arrived.terminated.tolist() == [False, True]
    np.testing.assert_allclose(arrived.final_observation, [[2, 1, 0.5], [1, 3, 0.6]])


def test_truncation_is_not_termination():
    environments = vector(1, 2, ends='truncated')
    environments.reset(0)
    arrived = environments.step(act(0, 0))
    assert arrived.truncated.tolist() == [True, False]
    assert not arrived.terminated.any()


def test_with_explicit_resets_an_ended_environment_waits():
    environments = vector(1, 2, autoreset='explicit')
    environments.reset(0)
    arrived = environments.step(act(0.5, 0.5))
    np.testing.assert_allclose(arrived.observation, [[1, 1, 0.5], [1, 1, 0.5]])
    with pytest.raises(SimulationError, match=r'\[0\] have ended'):
        environments.step(act(0, 0))
    np.testing.assert_allclose(environments.reset_ended(), [[2, 0, 0], [1, 1, 0.5]])
    assert environments.step(act(0, 0)).terminated.tolist() == [True, True]


def test_what_was_acted_on_is_still_there_after_a_step():
    environments = vector(5)
    observation = environments.reset(0)
    before = observation.copy()
    environments.step(act(0.3))
    np.testing.assert_array_equal(observation, before)


def test_seeds_are_given_once_and_lie_apart():
    environments = vector(1, 1)
    environments.reset(3)
    environments.step(act(0, 0))
    (one, more), (other, _) = (each.seeds for each in environments.environments)
    assert (one, more) == (3, None)
    assert other - one >= 10_000


def test_a_restored_vector_goes_on_and_one_that_cannot_tell_says_so():
    environments, again = vector(3, 4), vector(3, 4)
    environments.reset(0)
    environments.step(act(0.1, 0.2))
    again.reset(0)
    observation = again.restore(environments.state())
    np.testing.assert_allclose(observation, [[1, 1, 0.1], [1, 1, 0.2]], atol=1e-6)
    for _ in range(6):
        first, second = environments.step(act(0, 0)), again.step(act(0, 0))
        np.testing.assert_array_equal(first.final_observation, second.final_observation)
    assert vector(3, 7).state() is None
