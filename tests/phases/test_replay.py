import numpy as np
import pytest
import torch
from robot_learning.phases.phase import Transitions
from robot_learning.phases.replay import EnvironmentReplay
from robot_learning.simulation.vector import VectorStep


def fill(replay, num_envs, num_steps, length=9, truncates=True):
    """Environment e, episode k, step t is seen as 100000 e + 200 k + t, and rewarded by that."""
    observation = 100_000.0 * np.arange(num_envs)
    for step in range(num_steps):
        final, number = observation + 1, (step + 1) // length
        ended = np.full(num_envs, (step + 1) % length == 0)
        following = np.where(ended, 100_000.0 * np.arange(num_envs) + 200 * number, final)
        none = np.zeros(num_envs, bool)
        arrival = VectorStep(
            following[:, None].astype(np.float32),
            final.astype(np.float32),
            none if truncates else ended,
            ended if truncates else none,
            final[:, None].astype(np.float32),
        )
        action = observation[:, None].astype(np.float32) / 1_000_000
        replay.append(observation[:, None].astype(np.float32), action, arrival)
        observation = following


@pytest.mark.parametrize('length', [9, 100])
def test_every_transition_leads_where_it_led(length):
    replay = EnvironmentReplay(10_000, 3, seed=0)
    fill(replay, 3, 200, length)
    batch = replay.sample(Transitions(4000, 1, 0.9))
    here, there = batch['observation'][:, 0], batch['next_observation'][:, 0]
    torch.testing.assert_close(there, here + 1)
    torch.testing.assert_close(batch['reward'], there)
    torch.testing.assert_close(batch['action'][:, 0], here / 1_000_000)
    assert (batch['discount'] == np.float32(0.9)).all()
    complete = 200 - 200 % (32 if length == 100 else 9)  # The rest is not appended yet.
    assert 0.98 * 3 * complete < len(set(here.tolist())) <= 3 * 200


def test_termination_takes_the_discount_and_truncation_does_not():
    for truncates in (True, False):
        replay = EnvironmentReplay(1000, 2, seed=0)
        fill(replay, 2, 90, truncates=truncates)
        batch = replay.sample(Transitions(500, 1, 0.9))
        is_end = batch['next_observation'][:, 0] % 200 == 9
        assert is_end.any()
        assert (batch['discount'][is_end] == (np.float32(0.9) if truncates else 0)).all()
        assert (batch['discount'][~is_end] == np.float32(0.9)).all()


@pytest.mark.parametrize('exponent', [0.0, 0.6])
@pytest.mark.parametrize('capacity', [10_000, 150])
def test_a_saved_replay_draws_the_same(capacity, exponent):
    one, other = (EnvironmentReplay(capacity, 3, seed=0) for _ in range(2))
    fill(one, 3, 100)
    batch = one.sample(Transitions(8, 1, 0.9, exponent))
    if exponent:
        one.prioritise(batch, batch['reward'])
    tensors, content = one.state()
    other.restore(tensors, content)
    for draw in (Transitions(64, 1, 0.9, exponent), Transitions(64, 3, 0.9, exponent)):
        first, second = one.sample(draw), other.sample(draw)
        assert [name for name in first if not torch.equal(first[name], second[name])] == []
    fill(one, 3, 50)
    fill(other, 3, 50)
    first, second = one.sample(draw), other.sample(draw)
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
