"""Our PPO beside stable-baselines3's: time of the whole training, and returns.

Same environments side by side, networks, hyperparameters and budget, one thread. Of each seed
both are trained in turns, a slice of environment steps each, so that both see the same machine;
CPU time of acting and learning counts. Returns are those without exploration at the end, as the
interquartile mean over seeds with a bootstrap interval of 95 % (Agarwal et al. 2021).

    python benchmarks/ppo_vs_sb3.py [--quick] [--seeds N] [--first-seed N]
                                    [--environment CartPole-v1] [--steps N] [--learner own]

Runs are kept by environment and seed, so that long ones may be made in slices. With --learner
only one side is trained anew; times stay those of when both were last trained in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

import gymnasium as gym
import numpy as np
import torch
from reporting import RESULTS, table, write

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'ros_ws' / 'src'))

import stable_baselines3 as sb3  # noqa: E402
from robot_learning.phases import cpu  # noqa: E402
from robot_learning.phases.acting import actor_of  # noqa: E402
from robot_learning.phases.interaction import (  # noqa: E402
    EnvironmentSource,
    Interaction,
    evaluate,
)
from robot_learning.phases.phase import PolicySpace  # noqa: E402
from robot_learning.phases.ppo import PpoConfig, ProximalPolicyOptimization  # noqa: E402
from robot_learning.phases.trainer import TrainerConfig  # noqa: E402
from robot_learning.simulation import gym_environments  # noqa: E402
from robot_learning.simulation.vector import VectorEnvironment  # noqa: E402
from stable_baselines3.common.env_util import make_vec_env  # noqa: E402
from stable_baselines3.common.logger import configure  # noqa: E402
from stable_baselines3.common.vec_env import VecNormalize  # noqa: E402

NAME = 'ppo_vs_sb3'
NUM_SLICES = 10
EVALUATION_EPISODES = 20
# As tuned for stable-baselines3 by RL Baselines3 Zoo, without schedules and gSDE; as there, the
# peer's observations are normalised in HalfCheetah only. Ours are always, as by default.
SETTINGS: dict[str, dict[str, Any]] = {
    'CartPole-v1': {
        'steps': 100_000,
        'num_envs': 8,
        'num_steps': 256,
        'num_epochs': 20,
        'batch_size': 256,
        'learning_rate': 1e-3,
        'discount': 0.98,
        'gae_lambda': 0.8,
        'normalises_peer': False,
    },
    'Pendulum-v1': {
        'steps': 100_000,
        'num_envs': 4,
        'num_steps': 4096,
        'num_epochs': 10,
        'batch_size': 64,
        'learning_rate': 1e-3,
        'discount': 0.9,
        'gae_lambda': 0.95,
        'normalises_peer': False,
    },
    'HalfCheetah-v5': {
        'steps': 200_000,
        'num_envs': 8,
        'num_steps': 4096,
        'num_epochs': 10,
        'batch_size': 128,
        'learning_rate': 3e-4,
        'discount': 0.99,
        'gae_lambda': 0.95,
        'normalises_peer': True,
    },
}
OWN = ('num_steps', 'num_epochs', 'batch_size', 'learning_rate', 'discount', 'gae_lambda')


class Unpublished:
    """Takes versions and forgets them: the peer writes none either."""

    version = None

    def publish(self, *arguments: Any) -> None:
        """Write nothing."""


class Own:
    """Our loop."""

    def __init__(self, name: str, seed: int):
        settings = SETTINGS[name]
        self._name = name
        self.environments = VectorEnvironment(
            lambda: gym_environments.make(name), settings['num_envs']
        )
        space = PolicySpace(
            self.environments.observation_size,
            self.environments.action_low,
            self.environments.action_high,
            is_discrete=self.environments.is_discrete,
        )
        config = PpoConfig(**{key: settings[key] for key in OWN})
        self._phase = ProximalPolicyOptimization(config, space, seed)
        self._loop = Interaction(
            self._phase,
            space,
            self.environments,
            EnvironmentSource(name),
            Unpublished(),  # type: ignore[arg-type]
            TrainerConfig(publish_every_s=None),
            seed,
        )

    def advance(self, num_steps: int) -> None:
        """Act and learn until `num_steps` in all."""
        self._loop.run(num_steps)

    def score(self, seed: int) -> float:
        """Return the mean return without exploration."""
        environments = VectorEnvironment(lambda: gym_environments.make(self._name), 4)
        actor = actor_of(self._phase.actor)
        return float(np.mean(evaluate(environments, actor, EVALUATION_EPISODES, seed)))


class Peer:
    """Stable-baselines3's."""

    def __init__(self, name: str, seed: int):
        settings = SETTINGS[name]
        self._name = name
        environments: Any = make_vec_env(name, settings['num_envs'], seed=seed)
        self._normaliser: VecNormalize | None = None
        if settings['normalises_peer']:
            self._normaliser = VecNormalize(environments, norm_reward=False)
            environments = self._normaliser
        self._model = sb3.PPO(
            'MlpPolicy',
            environments,
            n_steps=settings['num_steps'] // settings['num_envs'],
            n_epochs=settings['num_epochs'],
            batch_size=settings['batch_size'],
            learning_rate=settings['learning_rate'],
            gamma=settings['discount'],
            gae_lambda=settings['gae_lambda'],
            policy_kwargs={'net_arch': [64, 64], 'activation_fn': torch.nn.ReLU},
            seed=seed,
            device='cpu',
        )
        self._model.set_logger(configure(None, []))

    def advance(self, num_steps: int) -> None:
        """Act and learn until `num_steps` in all."""
        self._model.learn(num_steps - self._model.num_timesteps, reset_num_timesteps=False)

    def score(self, seed: int) -> float:
        """Return the mean return without exploration."""
        environment = gym.make(self._name)
        returns = []
        for episode in range(EVALUATION_EPISODES):
            observation, _ = environment.reset(seed=seed + episode)
            total, ended = 0.0, False
            while not ended:
                if self._normaliser is not None:
                    observation = self._normaliser.normalize_obs(observation)
                action, _ = self._model.predict(observation, deterministic=True)
                observation, reward, terminated, truncated, _ = environment.step(action)
                total += float(reward)
                ended = terminated or truncated
            returns.append(total)
        return float(np.mean(returns))


LEARNERS: dict[str, Callable[[str, int], Own | Peer]] = {'own': Own, 'sb3': Peer}


def train(name: str, seed: int, steps: int, chosen: Sequence[str]) -> dict[str, Any]:
    """Train the learners in turns and return CPU seconds and returns."""
    rollout = SETTINGS[name]['num_steps']
    rollouts = max(steps // rollout, 1)
    marks = sorted({max(round(rollouts * k / NUM_SLICES), 1) for k in range(1, NUM_SLICES + 1)})
    learners = {learner: LEARNERS[learner](name, seed) for learner in chosen}
    seconds = dict.fromkeys(learners, 0.0)
    for number, mark in enumerate(marks):
        order = list(learners) if number % 2 else list(learners)[::-1]
        for learner in order:
            start = time.process_time()
            learners[learner].advance(mark * rollout)
            seconds[learner] += time.process_time() - start
    returns = {learner: each.score(900_000 + 1000 * seed) for learner, each in learners.items()}
    timed = {'cpu_s': seconds} if len(learners) == len(LEARNERS) else {}
    return {'steps': rollouts * rollout, 'return': returns, **timed}


def merged(run: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Return an earlier run with what was found since, of one side or both."""
    return {**run, **found, 'return': {**run.get('return', {}), **found['return']}}


def interquartile_mean(values: np.ndarray) -> float:
    """Mean of the middle half, counting the border values by their share."""
    values, count = np.sort(values), len(values)
    left = np.clip(np.arange(1, count + 1) - count / 4, 0, 1)
    weight = np.minimum(left, np.clip(count * 3 / 4 - np.arange(count), 0, 1))
    return float((values * weight).sum() / weight.sum())


def interval(values: np.ndarray) -> list[float]:
    """Bootstrap interval of 95 % of the interquartile mean."""
    rng = np.random.default_rng(0)
    draws = rng.choice(values, (2000, len(values)))
    return [float(x) for x in np.quantile([interquartile_mean(d) for d in draws], [0.025, 0.975])]


def summarise(runs: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per environment and learner."""
    rows = []
    for name, by_seed in runs.items():
        timed = [run['cpu_s'] for run in by_seed.values() if 'cpu_s' in run]
        ratios = [seconds['sb3'] / seconds['own'] for seconds in timed]
        times_faster = float(np.median(ratios)) if timed else None
        for learner in ('sb3', 'own'):
            trained = [run for run in by_seed.values() if learner in run['return']]
            if not trained:
                continue
            returns = np.array([run['return'][learner] for run in trained])
            seconds = [each[learner] for each in timed]
            low, high = interval(returns)
            rows.append(
                {
                    'environment': name,
                    'learner': learner,
                    'seeds': len(trained),
                    'steps': min(run['steps'] for run in trained),
                    'return_iqm': interquartile_mean(returns),
                    'return_low': low,
                    'return_high': high,
                    'lowest': float(returns.min()),
                    'timed_seeds': len(timed),
                    'cpu_s': float(np.median(seconds)) if timed else None,
                    'times_faster': 1.0 if learner == 'sb3' else times_faster,
                }
            )
    return rows


def earlier(quick: bool) -> dict[str, Any]:
    """Return the runs of earlier slices."""
    path = RESULTS / (f'{NAME}.quick.json' if quick else f'{NAME}.json')
    return json.loads(path.read_text())['results']['runs'] if path.is_file() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true', help='one seed, a fifth of the steps')
    parser.add_argument('--seeds', type=int)
    parser.add_argument('--first-seed', type=int, default=0)
    parser.add_argument('--environment', choices=SETTINGS, action='append')
    parser.add_argument('--steps', type=int)
    parser.add_argument('--learner', choices=LEARNERS, help='(both)')
    options = parser.parse_args()
    seeds = options.seeds or (1 if options.quick else 5)
    cpu.settle()
    runs: dict[str, Any] = {}
    for name in options.environment or ['CartPole-v1', 'Pendulum-v1']:
        steps = options.steps or SETTINGS[name]['steps'] // (5 if options.quick else 1)
        for seed in range(options.first_seed, options.first_seed + seeds):
            chosen = [options.learner] if options.learner else list(LEARNERS)
            found = train(name, seed, steps, chosen)
            runs = earlier(options.quick)  # Late: others may have written in the meantime.
            by_seed = runs.setdefault(name, {})
            run = by_seed[str(seed)] = merged(by_seed.get(str(seed), {}), found)
            write(NAME, {'runs': runs, 'summary': summarise(runs)}, options.quick)
            print(f'{name} seed {seed}: {run}', flush=True)
    table(summarise(runs))


if __name__ == '__main__':
    main()
