import dataclasses
import json

import numpy as np
import pytest
import torch
from dreamer_toys import TINY
from robot_learning.errors import ConfigError
from robot_learning.model_store import ModelStore
from robot_learning.phases.checkpoint import CheckpointFolder
from robot_learning.phases.collectors import collector_of
from robot_learning.phases.dreamer import Dreamer
from robot_learning.phases.interaction import EnvironmentSource, Interaction, evaluate
from robot_learning.phases.phase import PolicySpace, Windows
from robot_learning.phases.publishing import Publisher
from robot_learning.phases.trainer_config import TrainerConfig
from robot_learning.phases.window_replay import WindowReplay
from robot_learning.simulation.vector import VectorStep

LIMIT = np.ones(1, np.float32)


class Counters:
    """N environments whose observation is how many steps they took; ends after 5, 6, … steps.

    The reward is the observation that it comes with. Even ones terminate, odd ones are cut off.
    """

    def __init__(self, num_envs):
        self.num_envs = num_envs
        self.count = np.zeros(num_envs)

    def reset(self, seed):
        self.count = 100.0 * np.arange(self.num_envs)
        return self.count[:, None].astype(np.float32)

    def step(self, action):
        self.count = self.count + 1
        final = self.count.copy()
        ended = self.count % 100 >= 5 + np.arange(self.num_envs)
        self.count[ended] -= self.count[ended] % 100
        even = np.arange(self.num_envs) % 2 == 0
        column = self.count[:, None].astype(np.float32)
        return VectorStep(
            column, final.astype(np.float32), ended & even, ended & ~even, final[:, None]
        )

    def state(self):
        return {'count': self.count.tolist()}

    def restore(self, state):
        self.count = np.array(state['count'])
        return self.count[:, None].astype(np.float32)


def filled(num_steps=40, num_envs=3, capacity=3000):
    replay, environments = WindowReplay(capacity, num_envs, seed=0), Counters(num_envs)
    observation = environments.reset(0)
    for step in range(num_steps):
        arrival = environments.step(None)
        replay.append(observation, np.full((num_envs, 1), step, np.float32), arrival)
        observation = arrival.observation
    return replay


def test_steps_of_a_window_follow_each_other_in_one_environment():
    batch = {name: t.numpy() for name, t in filled().sample(Windows(200, 12)).items()}
    seen = batch['observation'][..., 0]
    joined = ~batch['is_first'][:, 1:]
    assert (np.diff(seen)[joined] == 1).all()
    assert (seen // 100 == seen[:, :1] // 100).all()
    assert (batch['reward'][:, 1:][joined] == seen[:, 1:][joined]).all()
    ended = batch['terminated'] | batch['truncated']
    assert (seen[ended] % 100 == 5 + seen[ended] // 100).all()
    assert (batch['is_first'][:, 1:] == ended[:, :-1]).all()
    assert set(np.unique(seen[batch['terminated']] // 100)) == {0, 2}
    assert set(np.unique(seen[batch['truncated']] // 100)) == {1}
    assert set(np.unique(seen // 100)) == {0, 1, 2}


def test_what_is_given_up_begins_anew():
    replay = filled(3, 1)
    replay.cut()
    assert replay._arrived == [(0.0, False, False, True)]


@pytest.mark.parametrize('capacity', [3000, 60])
def test_a_restored_replay_draws_the_same(capacity):
    replay = filled(capacity=capacity)
    tensors, content = replay.state()
    again = WindowReplay(capacity, 3, seed=99)
    again.restore(tensors, json.loads(json.dumps(content)))
    environments = Counters(3)
    environments.count = np.array([0.0, 101.0, 202.0])
    for each in (replay, again):
        observation = environments.count[:, None].astype(np.float32)
        each.append(observation, np.ones((3, 1)), Counters.step(environments, None))
        environments.count = np.array([0.0, 101.0, 202.0])
    first, second = replay.sample(Windows(50, 8)), again.sample(Windows(50, 8))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_memory_smaller_than_a_window_each_is_refused():
    space = PolicySpace(1, -LIMIT, LIMIT)
    phase = Dreamer(dataclasses.replace(TINY, batch_size=16, length=64), space, 0)
    with pytest.raises(ConfigError, match=r'100 steps, expected at least 4 windows of 64'):
        collector_of(phase, 4, space, TrainerConfig(capacity=100), 0)


def interaction(folder, seed=0):
    space = PolicySpace(1, -LIMIT, LIMIT)
    phase = Dreamer(dataclasses.replace(TINY, horizon=2), space, seed)
    config = TrainerConfig(warmup_steps=20, train_ratio=0.2, publish_every_s=None)
    publisher = Publisher(ModelStore(folder / 'models'), 'counter', 'dreamer', 0)
    made = Interaction(
        phase,
        space,
        Counters(2),
        EnvironmentSource('counters'),
        publisher,
        config,
        seed,
        CheckpointFolder(folder / 'checkpoints'),
    )
    return phase, made


def test_acting_and_learning_go_on_bit_by_bit(tmp_path):
    whole, running = interaction(tmp_path / 'whole')
    running.run(80)
    _, first = interaction(tmp_path / 'parts')
    first.run(46)
    second, rest = interaction(tmp_path / 'parts')
    assert rest.resume()
    progress = rest.run(80)
    assert progress.update == 12
    expected, found = whole.state_dict(), second.state_dict()
    assert [key for key in expected if not torch.equal(found[key], expected[key])] == []


def test_evaluation_begins_every_episode_with_an_empty_memory():
    space = PolicySpace(1, -LIMIT, LIMIT)
    phase = Dreamer(TINY, space, 0)
    seen = []

    class Watched(Counters):
        def step(self, action):
            seen.append((self.count.copy(), action.copy()))
            return super().step(action)

    returns = evaluate(Watched(2), phase.environment_actor(), 4, seed=0)
    assert returns == [15.0, 621.0, 15.0, 621.0]
    chosen = {}
    for count, action in seen:
        for place, value in zip(count.tolist(), action[:, 0].tolist(), strict=True):
            assert chosen.setdefault(place, value) == pytest.approx(value, abs=1e-6)
