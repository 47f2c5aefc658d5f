import json

import numpy as np
import pytest
import torch
from robot_learning.errors import ConfigError, TrainingError
from robot_learning.model_store import ModelStore
from robot_learning.phases.acting import actor_of
from robot_learning.phases.checkpoint import CheckpointFolder
from robot_learning.phases.interaction import EnvironmentSource, Interaction, evaluate
from robot_learning.phases.phase import PolicySpace
from robot_learning.phases.ppo import PpoConfig, ProximalPolicyOptimization
from robot_learning.phases.publishing import Publisher
from robot_learning.phases.sac import SacConfig, SoftActorCritic
from robot_learning.phases.trainer_config import TrainerConfig
from robot_learning.simulation.vector import StepResult, VectorEnvironment

SETTINGS = TrainerConfig(
    warmup_steps=50, train_ratio=0.5, publish_every_s=None, report_every_s=1e-9, capacity=400
)
PPO = PpoConfig(
    hidden=(16,), num_steps=64, batch_size=32, num_epochs=8, learning_rate=0.01, discount=0.5
)
SAC = SacConfig(
    hidden=(8,),
    batch_size=16,
    discount=0.5,
    actor_learning_rate=3e-3,
    critic_learning_rate=3e-3,
    initial_temperature=0.1,
)


class Guess:
    """Say the number that is shown; six steps an episode."""

    observation_size, is_discrete = 1, False
    action_low, action_high = -np.ones(1, np.float32), np.ones(1, np.float32)

    def reset(self, seed):
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self.count = 0
        return self._show()

    def step(self, action):
        self.count += 1
        reward = -abs(float(action[0]) - self.shown)
        return StepResult(self._show(), reward, False, self.count == 6)

    def _show(self):
        self.shown = float(self.rng.uniform(-0.8, 0.8))
        return np.array([self.shown], np.float32)

    def state(self):
        return {
            'rng': self.rng.bit_generator.state,
            'count': self.count,
            'shown': self.shown,
        }

    def restore(self, state):
        self.rng = np.random.default_rng()
        self.rng.bit_generator.state = state['rng']
        self.count, self.shown = state['count'], state['shown']

    def close(self):
        pass


class Forgetful(Guess):
    def state(self):
        return None


class Choose(Guess):
    """Say whether the number that is shown is above zero."""

    is_discrete = True
    action_low, action_high = np.zeros(2, np.float32), np.ones(2, np.float32)

    def step(self, action):
        assert sorted(action.tolist()) == [0, 1]
        right = int(action.argmax()) == int(self.shown > 0)
        self.count += 1
        return StepResult(self._show(), float(right), self.count == 6, False)


def make(root, kind=Guess, settings=SETTINGS, config=PPO, num_envs=4, name='one', seed=0):
    environments = VectorEnvironment(kind, num_envs)
    space = PolicySpace(1, kind.action_low, kind.action_high, is_discrete=kind.is_discrete)
    learner = ProximalPolicyOptimization if isinstance(config, PpoConfig) else SoftActorCritic
    phase = learner(config, space, seed)
    publisher = Publisher(ModelStore(root / 'models'), name, 'phase', seed)
    checkpoints = CheckpointFolder(root / 'checkpoints' / name)
    source = EnvironmentSource(kind.__name__)
    loop = Interaction(phase, space, environments, source, publisher, settings, seed, checkpoints)
    return loop, phase


@pytest.mark.parametrize(('kind', 'best'), [(Guess, 0.0), (Choose, 6.0)])
def test_ppo_learns_a_toy(tmp_path, kind, best):
    loop, phase = make(tmp_path, kind)
    environments = VectorEnvironment(kind, 4)
    actor = actor_of(phase.actor)
    before = np.mean(evaluate(environments, actor, 40, 1))
    progress = loop.run(4000)
    after = np.mean(evaluate(environments, actor, 40, 1))
    assert before < best - 1.5
    assert after > best - 0.8
    assert progress.environment_step == 4000
    assert progress.update == 4000 // 64


def test_sac_learns_a_toy(tmp_path):
    loop, phase = make(tmp_path, config=SAC)
    progress = loop.run(800)
    assert progress.update == (800 - 50) // 2
    assert progress.train_ratio == pytest.approx(0.5, abs=0.05)
    score = np.mean(evaluate(VectorEnvironment(Guess, 2), actor_of(phase.actor), 20, 1))
    assert score > -1.6  # At random: -3.1.


@pytest.mark.parametrize('config', [PPO, SAC], ids=['ppo', 'sac'])
@pytest.mark.parametrize('first', [100, 512])  # 512: memory is full and has gone round.
def test_interrupted_and_resumed_equals_uninterrupted_bit_by_bit(tmp_path, config, first):
    torch.set_num_threads(1)
    make(tmp_path, config=config, name='whole')[0].run(first + 300)
    make(tmp_path, config=config, name='parts')[0].run(first)
    again, _ = make(tmp_path, config=config, name='parts')
    assert again.resume()
    again.run(first + 300)
    whole, parts = (
        CheckpointFolder(tmp_path / 'checkpoints' / name).newest() for name in ('whole', 'parts')
    )
    assert whole.tensors.keys() == parts.tensors.keys()
    mine = [key for key in whole.tensors if not key.startswith('collector/')]
    assert [k for k in mine if not torch.equal(whole.tensors[k], parts.tensors[k])] == []
    for key in ('rng', 'environments', 'returns', 'update', 'num_steps', 'open_return'):
        assert whole.content[key] == parts.content[key], key


def test_environments_that_cannot_tell_their_state_begin_new_episodes(tmp_path):
    make(tmp_path, Forgetful)[0].run(100)
    again, _ = make(tmp_path, Forgetful)
    assert again.resume()
    progress = again.run(160)
    assert (progress.environment_step, progress.update) == (160, 2)  # No step was given up.


def test_versions_say_where_they_come_from(tmp_path):
    loop, _ = make(tmp_path)
    progress = loop.run(256)
    manifest = ModelStore(tmp_path / 'models').manifest('one', progress.version)
    assert manifest['provenance']['sources'] == ['Guess']
    assert manifest['provenance']['environment_step'] == 256
    assert manifest['policy']['kind'] == 'gaussian_tanh_mlp'
    assert manifest['score'] == pytest.approx(manifest['metrics']['episode/return'])
    assert 'contract' not in manifest


def test_a_stop_saves_and_publishes(tmp_path):
    loop, _ = make(tmp_path)
    progress = loop.run(10_000, should_stop=lambda: loop._num_steps >= 130)
    assert progress.environment_step == 132
    assert progress.version == 1
    content = CheckpointFolder(tmp_path / 'checkpoints' / 'one').newest().content
    assert content['num_steps'] == 132
    json.dumps(content)


def test_a_nan_stops_loudly_and_publishes_nothing(tmp_path):
    loop, phase = make(tmp_path)
    with torch.no_grad():
        phase.critic.output.bias.fill_(np.nan)
    with pytest.raises(TrainingError, match='value is nan'):
        loop.run(200)
    assert ModelStore(tmp_path / 'models').versions('one') == []


def test_another_configuration_or_environment_does_not_go_on(tmp_path):
    make(tmp_path)[0].run(64)
    with pytest.raises(ConfigError, match='num_envs is 4, now it is 2'):
        make(tmp_path, num_envs=2)[0].resume()
    with pytest.raises(ConfigError, match='source is Guess, now it is Forgetful'):
        make(tmp_path, Forgetful)[0].resume()


def test_what_does_not_go_together_is_named(tmp_path):
    with pytest.raises(ConfigError, match='multiple of the 3 environments'):
        make(tmp_path, num_envs=3)
    with pytest.raises(ConfigError, match='SoftActorCritic'):
        make(tmp_path, Choose, config=SAC)


def test_the_first_episodes_count_in_an_evaluation_and_not_the_fastest():
    class Uneven(Guess):
        lengths = iter((9, 1))

        def __init__(self):
            self.length = next(self.lengths)

        def step(self, action):
            self.count += 1
            ended = self.count == self.length
            return StepResult(self._show(), 1.0, ended, False)

    class Still:
        def best(self, observation):
            return np.zeros((len(observation), 1), np.float32)

        def forget(self, ended):
            pass

    returns = evaluate(VectorEnvironment(Uneven, 2), Still(), 4, 0)
    assert returns == [9.0, 1.0, 1.0, 1.0]
