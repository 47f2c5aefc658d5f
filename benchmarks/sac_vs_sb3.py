"""Our soft actor-critic beside stable-baselines3's: speed of updates, of the whole loop, returns.

Same network (two hidden layers of 256), batch (256), learning rates and one thread. Updates are
timed alternately, so that both see the same machine; the CPU time of the best of many slices
counts. Curves are deterministic returns over environment steps, one update a step.

    python benchmarks/sac_vs_sb3.py [--quick] [--seeds N] [--first-seed N]
                                    [--environment Pendulum-v1] [--steps N] [--only speed|curves]

Curves are kept by environment, learner and seed, so that long runs may be made in slices.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
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
from robot_learning.phases.phase import PolicySpace  # noqa: E402
from robot_learning.phases.sac import SacConfig, SoftActorCritic  # noqa: E402
from robot_learning.trajectory.buffer import ReplayBuffer  # noqa: E402
from robot_learning.trajectory.episode import Episode  # noqa: E402
from stable_baselines3.common.logger import configure  # noqa: E402

NAME = 'sac_vs_sb3'
BATCH = 256
INPUT_SIZE, ACTION_SIZE = 46, 2  # As the arena robot has them.
LEARNERS = ('sb3', 'float32', 'bfloat16')
SETTINGS: dict[str, dict[str, Any]] = {
    'Pendulum-v1': {'rate': 1e-3, 'warmup': 500, 'steps': 5000, 'every': 500},
    'HalfCheetah-v5': {'rate': 3e-4, 'warmup': 5000, 'steps': 100_000, 'every': 5000},
}
EVALUATION_EPISODES = 10

Act = Callable[[np.ndarray], np.ndarray]


def config_of(numeric: str, rate: float = 3e-4) -> SacConfig:
    return SacConfig(
        batch_size=BATCH,
        actor_learning_rate=rate,
        critic_learning_rate=rate,
        temperature_learning_rate=rate,
        numeric=numeric,
    )


# --- speed of updates ---------------------------------------------------------------------------


class Still(gym.Env):
    """Has the arena robot's sizes and does nothing."""

    observation_space = gym.spaces.Box(-10, 10, (INPUT_SIZE,))
    action_space = gym.spaces.Box(-1, 1, (ACTION_SIZE,))


def peer(environment: gym.Env, seed: int, rate: float = 3e-4, warmup: int = 0) -> sb3.SAC:
    model = sb3.SAC(
        'MlpPolicy',
        environment,
        learning_rate=rate,
        batch_size=BATCH,
        learning_starts=warmup,
        train_freq=1,
        gradient_steps=1,
        seed=seed,
        device='cpu',
    )
    model.set_logger(configure(None, []))
    return model


def peer_update() -> Callable[[], Any]:
    """SB3's update with its own sampling, on a filled buffer."""
    rng = np.random.default_rng(0)
    model = peer(Still(), 0)
    for _ in range(2000):
        ends = np.zeros(1)
        observation = rng.normal(size=(2, 1, INPUT_SIZE))
        action = rng.uniform(-1, 1, (1, ACTION_SIZE))
        model.replay_buffer.add(*observation, action, ends, ends, [{}])
    return lambda: model.train(1, BATCH)


def own_update(numeric: str) -> Callable[[], Any]:
    """Our update with our sampling, on a filled buffer."""
    rng = np.random.default_rng(0)
    limit = np.ones(ACTION_SIZE, np.float32)
    phase = SoftActorCritic(config_of(numeric), PolicySpace(INPUT_SIZE, -limit, limit), 0)
    buffer = ReplayBuffer(4000, rng)
    observation = rng.normal(size=(2000, INPUT_SIZE)).astype(np.float32)
    action = rng.uniform(-1, 1, (2000, ACTION_SIZE)).astype(np.float32)
    zeros = np.zeros(2000)
    buffer.append(piece(0, 0, action, zeros, zeros, zeros), {'observation': observation})
    return lambda: phase.update(batch_of(buffer))


def batch_of(buffer: ReplayBuffer) -> dict[str, torch.Tensor]:
    batch = buffer.sample_transitions(BATCH, 1, 0.99)
    return {name: torch.from_numpy(array) for name, array in batch.items()}


def measure_updates(num_slices: int, per_slice: int) -> list[dict[str, Any]]:
    updates = {'sb3': peer_update()} | {name: own_update(name) for name in LEARNERS[1:]}
    best = dict.fromkeys(updates, 0.0)
    for _ in range(num_slices):
        for name, update in updates.items():
            start = time.process_time()
            for _ in range(per_slice):
                update()
            best[name] = max(best[name], per_slice / (time.process_time() - start))
    return [
        {'learner': name, 'updates_per_second': rate, 'ratio_to_sb3': rate / best['sb3']}
        for name, rate in best.items()
    ]


# --- learning curves ----------------------------------------------------------------------------


def piece(
    number: int,
    offset: int,
    action: np.ndarray,
    reward: np.ndarray,
    terminated: np.ndarray,
    truncated: np.ndarray,
) -> Episode:
    count = len(action)
    index = np.arange(count) + offset
    return Episode(
        episode=number,
        offset=offset,
        stamp_ns=index.astype(np.int64),
        observations={},
        field_stamp_ns={},
        present={},
        action=action,
        commanded=action,
        altered=np.zeros(count, bool),
        log_prob=np.full(count, np.nan, np.float32),
        model_version=np.full(count, -1, np.int64),
        reward=np.asarray(reward, np.float32),
        terminated=np.asarray(terminated, bool),
        truncated=np.asarray(truncated, bool),
        is_first=index == 0,
        is_complete=bool(terminated[-1] or truncated[-1]),
    )


def evaluate(name: str, act: Act, seed: int) -> float:
    environment = gym.make(name)
    returns = []
    for episode in range(EVALUATION_EPISODES):
        observation, _ = environment.reset(seed=10_000 + 100 * seed + episode)
        total, ended = 0.0, False
        while not ended:
            observation, reward, terminated, truncated, _ = environment.step(act(observation))
            total += float(reward)
            ended = terminated or truncated
        returns.append(total)
    return float(np.mean(returns))


def peer_curve(name: str, seed: int, steps: int) -> dict[str, Any]:
    settings = SETTINGS[name]
    model = peer(gym.make(name), seed, settings['rate'], settings['warmup'])
    curve, loop_s = [], 0.0
    for _ in range(steps // settings['every']):
        start = time.process_time()
        model.learn(settings['every'], reset_num_timesteps=False)
        loop_s += time.process_time() - start
        score = evaluate(name, lambda o: model.predict(o, deterministic=True)[0], seed)
        curve.append([model.num_timesteps, score])
    return {'curve': curve, 'steps_per_second': steps / loop_s}


class OwnLoop:
    """One environment, our buffer, our update: one update a step after the warm-up."""

    def __init__(self, name: str, seed: int, numeric: str):
        settings = SETTINGS[name]
        self.environment = gym.make(name)
        space = self.environment.action_space
        self._policy_space = PolicySpace(
            self.environment.observation_space.shape[0], space.low, space.high
        )
        config = config_of(numeric, settings['rate'])
        self._phase = SoftActorCritic(config, self._policy_space, seed)
        self._rng = np.random.default_rng(seed)
        self._noise = torch.Generator().manual_seed(seed)
        self._buffer = ReplayBuffer(1_000_000, self._rng)
        self._warmup = settings['warmup']
        self._episode = self._offset = self._num_steps = 0
        self._observation, _ = self.environment.reset(seed=seed)
        self._arrived = (0.0, False, False)

    def advance(self, num_steps: int) -> None:
        """Take `num_steps` steps, each followed by an update after the warm-up."""
        for _ in range(num_steps):
            action = self._explore()
            self._store(action)
            command = self._scaled(action)
            self._observation, *arrived, _ = self.environment.step(command)
            self._arrived = tuple(arrived)
            self._num_steps += 1
            if any(self._arrived[1:]):
                self._store(np.zeros_like(action))
                self._observation, _ = self.environment.reset()
                self._arrived = (0.0, False, False)
                self._episode, self._offset = self._episode + 1, 0
            if self._num_steps > self._warmup:
                self._phase.update(batch_of(self._buffer))

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Return the command without noise."""
        with torch.no_grad():
            mean, _ = self._phase.actor(torch.as_tensor(observation, dtype=torch.float32)[None])
        return self._scaled(torch.tanh(mean)[0].numpy())

    def _explore(self) -> np.ndarray:
        if self._num_steps < self._warmup:
            shape = self._policy_space.action_size
            return self._rng.uniform(-1, 1, shape).astype(np.float32)
        with torch.no_grad():
            observation = torch.as_tensor(self._observation, dtype=torch.float32)[None]
            return self._phase.actor.sample(observation, self._noise).action[0].numpy()

    def _store(self, action: np.ndarray) -> None:
        reward, terminated, truncated = ([value] for value in self._arrived)
        part = piece(self._episode, self._offset, action[None], reward, terminated, truncated)
        features = np.asarray(self._observation, np.float32)[None]
        self._buffer.append(part, {'observation': features})
        self._offset += 1

    def _scaled(self, action: np.ndarray) -> np.ndarray:
        low, high = self._policy_space.action_low, self._policy_space.action_high
        return low + (action + 1) / 2 * (high - low)


def own_curve(name: str, seed: int, steps: int, numeric: str) -> dict[str, Any]:
    loop = OwnLoop(name, seed, numeric)
    every = SETTINGS[name]['every']
    curve, loop_s = [], 0.0
    for index in range(steps // every):
        start = time.process_time()
        loop.advance(every)
        loop_s += time.process_time() - start
        curve.append([(index + 1) * every, evaluate(name, loop.act, seed)])
    return {'curve': curve, 'steps_per_second': steps / loop_s}


def summarise(name: str, curves: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per learner: returns over seeds where all of them got, and at its own end."""
    ends = {
        learner: min(run['curve'][-1][0] for run in by_seed.values())
        for learner, by_seed in curves.items()
    }
    common = min(ends.values())
    rows = []
    for learner, by_seed in curves.items():
        there = np.array([at(run['curve'], common) for run in by_seed.values()])
        last = np.array([at(run['curve'], ends[learner]) for run in by_seed.values()])
        speeds = [run['steps_per_second'] for run in by_seed.values()]
        rows.append(
            {
                'environment': name,
                'learner': learner,
                'seeds': len(by_seed),
                'common_steps': common,
                'return_at_common_steps': there.mean(),
                'spread_at_common_steps': there.std(),
                'steps': ends[learner],
                'return_at_end': last.mean(),
                'spread_at_end': last.std(),
                'loop_steps_per_second': float(np.median(speeds)),
            }
        )
    return rows


def at(curve: list[Any], steps: int) -> float:
    """Return the return measured last, up to and with `steps`."""
    return next(float(value) for place, value in reversed(curve) if place <= steps)


def run_curves(options: argparse.Namespace, kept: dict[str, Any]) -> dict[str, Any]:
    name = options.environment
    steps = options.steps or SETTINGS[name]['steps'] // (2 if options.quick else 1)
    curves: dict[str, Any] = kept.setdefault(name, {})
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for learner in LEARNERS:
            own = learner != 'sb3'
            run = own_curve(name, seed, steps, learner) if own else peer_curve(name, seed, steps)
            curves.setdefault(learner, {})[str(seed)] = run
            print(
                f'{name} {learner} seed {seed}: {run["curve"][-1][1]:.1f} after {steps} steps, '
                f'{run["steps_per_second"]:.0f} steps/s',
                flush=True,
            )
    return kept


def earlier(quick: bool) -> dict[str, Any]:
    """Return the results of earlier slices."""
    path = RESULTS / (f'{NAME}.quick.json' if quick else f'{NAME}.json')
    return json.loads(path.read_text())['results'] if path.is_file() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true', help='one seed, half the steps')
    parser.add_argument('--seeds', type=int)
    parser.add_argument('--first-seed', type=int, default=0)
    parser.add_argument('--environment', choices=SETTINGS, default='Pendulum-v1')
    parser.add_argument('--steps', type=int)
    parser.add_argument('--only', choices=('speed', 'curves'))
    options = parser.parse_args()
    options.seeds = options.seeds or (1 if options.quick else 5)
    cpu.settle()
    results = earlier(options.quick)
    if options.only != 'curves':
        num_slices, per_slice = (6, 20) if options.quick else (20, 50)
        results['updates'] = measure_updates(num_slices, per_slice)
        table(results['updates'])
    if options.only != 'speed':
        results['curves'] = run_curves(options, results.get('curves', {}))
        results['summary'] = [
            row for name, curves in results['curves'].items() for row in summarise(name, curves)
        ]
        table(results['summary'])
    print(f'written to {write(NAME, results, options.quick)}')


if __name__ == '__main__':
    main()
