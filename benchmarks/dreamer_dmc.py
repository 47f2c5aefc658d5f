"""Dreamer's learning curves on the DeepMind Control Suite, from proprioception, in slices.

One environment, one thread, action repeat 2 as in the paper; a step is one decision. Each slice
goes on where the last one of that task, seed and setting ended, so a long curve may be made in
short pieces; an episode that a slice cuts stays in memory up to there. Returns are those of whole
episodes of 1000 frames: while learning with exploration, and without it at the end of a slice.

    python benchmarks/dreamer_dmc.py [--quick] [--minutes 10] [--task cartpole_swingup]
                                     [--seed 0] [--train-ratio 512] [--overrides "{horizon: 10}"]

`--train-ratio` is the paper's: trained steps per environment step.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')
os.environ.setdefault('MUJOCO_GL', 'disable')

import numpy as np
from reporting import RESULTS, table, write

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'ros_ws' / 'src'))

import torch  # noqa: E402
from robot_learning.phases import cpu, recipe  # noqa: E402
from robot_learning.phases.dreamer import Dreamer  # noqa: E402
from robot_learning.phases.phase import PolicySpace  # noqa: E402
from robot_learning.trajectory.buffer import ReplayBuffer  # noqa: E402
from robot_learning.trajectory.episode import Episode  # noqa: E402
from safetensors.numpy import load_file, save_file  # noqa: E402

NAME = 'dreamer_dmc'
TASKS = ('cartpole_swingup', 'walker_walk')
ACTION_REPEAT = 2
WARMUP = 500  # Random steps, one episode, before the first update.
CAPACITY = 500_000
EVALUATION_EPISODES = 3
KEPT = ('observation', 'action', 'reward', 'terminated', 'truncated', 'is_first')


class ControlSuite:
    """A dm_control task with the methods of gymnasium that a loop needs."""

    def __init__(self, task: str, seed: int):
        from dm_control import suite

        domain, name = task.split('_', 1)
        self._environment = suite.load(domain, name, task_kwargs={'random': seed})
        spec = self._environment.action_spec()
        self._low, self._high = spec.minimum, spec.maximum
        self.action_size = spec.shape[0]
        self.input_size = len(self.reset()[0])

    def reset(self) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode."""
        return _joined(self._environment.reset().observation), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Hold an action in [-1, 1] for two frames."""
        command = self._low + (np.clip(action, -1, 1) + 1) / 2 * (self._high - self._low)
        reward = 0.0
        for _ in range(ACTION_REPEAT):
            seen = self._environment.step(command)
            reward += float(seen.reward)
            if seen.last():
                break
        terminated = seen.last() and seen.discount == 0.0
        return _joined(seen.observation), reward, terminated, seen.last() and not terminated, {}


def _joined(observation: dict[str, Any]) -> np.ndarray:
    return np.concatenate([np.ravel(value) for value in observation.values()]).astype(np.float32)


class DreamerLearner:
    """How a loop uses a Dreamer."""

    def __init__(self, phase: Dreamer):
        self.phase = phase

    def act(
        self, observation: np.ndarray, carry: Any, is_first: bool, explore: bool
    ) -> tuple[np.ndarray, Any]:
        """Return the action [A] and what the next call needs."""
        seen = torch.as_tensor(observation, dtype=torch.float32)[None]
        action, carry = self.phase.act(seen, {}, carry, torch.tensor([is_first]), explore)
        return action[0].numpy(), carry

    def learn(self, buffer: ReplayBuffer) -> dict[str, torch.Tensor]:
        """Take one gradient step."""
        return self.phase.update(as_tensors(buffer.sample_windows(*self.phase.draws)))


def as_tensors(batch: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in batch.items()}


class Loop:
    """One environment and one learner: act, remember, update.

    Args:
        environment: with `reset()` and `step(action in [-1, 1])` as in gymnasium.
        learner: what acts and learns, like `DreamerLearner`.
        seed: of random actions and sampling.
        updates_per_step: gradient steps per environment step after the warm-up.
        warmup: random steps.
    """

    def __init__(
        self, environment: Any, learner: Any, seed: int, updates_per_step: float, warmup: int
    ):
        self.environment = environment
        self.learner = learner
        self.num_steps = self.num_updates = 0
        self.episodes: list[dict[str, float]] = []
        self.metrics: dict[str, float] = {}
        self._updates_per_step, self._warmup = updates_per_step, warmup
        self._rng = np.random.default_rng(seed)
        self._buffer = ReplayBuffer(CAPACITY, np.random.default_rng(seed + 1))
        self._kept: dict[str, list[np.ndarray]] = {name: [] for name in KEPT}
        self._begin()

    def advance(self) -> None:
        """Take one environment step and the updates that it earns."""
        action = self._choose()
        self._remember(action)
        self._observation, reward, terminated, truncated, info = self.environment.step(action)
        self._arrived = (float(reward), bool(terminated), bool(truncated), False)
        self._return += float(reward)
        self.num_steps += 1
        if terminated or truncated:
            self._remember(np.zeros_like(action))
            self.episodes.append(
                {
                    'step': self.num_steps,
                    'return': self._return,
                    'success': float(info.get('success', False)),
                }
            )
            self._begin()
        owed = (self.num_steps - self._warmup) * self._updates_per_step - self.num_updates
        while owed >= 1:
            self.update()
            owed -= 1

    def update(self) -> None:
        """Take one gradient step."""
        metrics = self.learner.learn(self._buffer)
        if self.num_updates % 50 == 0:
            self.metrics = {name: float(value) for name, value in metrics.items()}
        self.num_updates += 1

    def save(self, folder: Path) -> None:
        """Write everything from which `load` goes on; files appear complete or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        steps = {name: np.stack(rows) for name, rows in self._kept.items()}
        state = {name: tensor.numpy() for name, tensor in self.learner.phase.state_dict().items()}
        content = {
            'num_steps': self.num_steps,
            'num_updates': self.num_updates,
            'episodes': self.episodes,
            'rng': self._rng.bit_generator.state,
            'buffer': self._buffer.state(),
        }
        save_file(steps, folder / 'steps.partial')
        save_file(state, folder / 'phase.partial')
        (folder / 'loop.partial').write_text(json.dumps(content))
        for name in ('steps.safetensors', 'phase.safetensors', 'loop.json'):
            (folder / f'{name.split(".")[0]}.partial').replace(folder / name)

    def load(self, folder: Path) -> None:
        """Go on after `save`, with a new episode."""
        content = json.loads((folder / 'loop.json').read_text())
        steps = load_file(folder / 'steps.safetensors')
        self._kept = {name: list(steps[name]) for name in KEPT}
        self._append(steps)
        state = load_file(folder / 'phase.safetensors')
        self.learner.phase.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})
        self._buffer.restore(content['buffer'])
        self._rng.bit_generator.state = content['rng']
        self.episodes = content['episodes']
        self.num_steps, self.num_updates = content['num_steps'], content['num_updates']

    def evaluate(self, num_episodes: int) -> list[dict[str, float]]:
        """Return whole episodes without exploration; ends the present one."""
        return [self._evaluate_one() for _ in range(num_episodes)]

    def _evaluate_one(self) -> dict[str, float]:
        observation, _ = self.environment.reset()
        carry, total, ended, info = None, 0.0, False, {}
        while not ended:
            action, carry = self.learner.act(observation, carry, carry is None, False)
            observation, reward, terminated, truncated, info = self.environment.step(action)
            total += float(reward)
            ended = terminated or truncated
        self._begin()
        return {'return': total, 'success': float(info.get('success', False))}

    def _begin(self) -> None:
        self._observation = self.environment.reset()[0]
        self._arrived = (0.0, False, False, True)  # Reward, terminated, truncated, is_first.
        self._return = 0.0
        self._carry: Any = None

    def _choose(self) -> np.ndarray:
        if self.num_steps < self._warmup:
            size = self.learner.phase.space.action_size
            return self._rng.uniform(-1, 1, size).astype(np.float32)
        is_first = self._carry is None
        action, self._carry = self.learner.act(self._observation, self._carry, is_first, True)
        return action

    def _remember(self, action: np.ndarray) -> None:
        values = (np.asarray(self._observation, np.float32), action, *self._arrived)
        types = (np.float32, np.float32, np.float32, bool, bool, bool)
        row = {
            name: np.asarray(value, dtype)
            for name, value, dtype in zip(KEPT, values, types, strict=True)
        }
        for name, value in row.items():
            self._kept[name].append(value)
        self._append({name: value[None] for name, value in row.items()})

    def _append(self, steps: dict[str, np.ndarray]) -> None:
        count = len(steps['action'])
        offset = 0 if steps['is_first'][0] else len(self._buffer)
        nothing = np.full(count, np.nan, np.float32)
        piece = Episode(
            episode=0,
            offset=offset,
            stamp_ns=np.arange(count) + offset,
            observations={},
            field_stamp_ns={},
            present={},
            action=steps['action'],
            commanded=steps['action'],
            altered=np.zeros(count, bool),
            log_prob=nothing,
            model_version=np.full(count, -1, np.int64),
            reward=steps['reward'],
            terminated=steps['terminated'],
            truncated=steps['truncated'],
            is_first=steps['is_first'],
            is_complete=bool(steps['terminated'][-1] or steps['truncated'][-1]),
        )
        self._buffer.append(piece, {'observation': steps['observation']})


def run_slice(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    plan = recipe.load('dreamer', overrides=f'config: {options.overrides}')
    config = plan.phase_config
    environment = ControlSuite(options.task, options.seed)
    limit = np.ones(environment.action_size, np.float32)
    phase = Dreamer(config, PolicySpace(environment.input_size, -limit, limit), options.seed)
    per_update = config.batch_size * config.length
    learner = DreamerLearner(phase)
    loop = Loop(environment, learner, options.seed, options.train_ratio / per_update, WARMUP)
    past = {'cpu_minutes': 0.0, 'evaluations': []}
    if (folder / 'loop.json').is_file():
        loop.load(folder)
        past = json.loads((folder / 'past.json').read_text())
    began, began_cpu = time.monotonic(), time.process_time()
    reported = 0.0
    while (minutes := (time.monotonic() - began) / 60) < options.minutes:
        if options.steps and loop.num_steps >= options.steps:
            break
        loop.advance()
        if minutes > reported + 1:
            reported = minutes
            print(_line(options.task, loop), flush=True)
    loop.save(folder)
    past['cpu_minutes'] += (time.process_time() - began_cpu) / 60
    found = loop.evaluate(1 if options.quick else EVALUATION_EPISODES)
    returns = [episode['return'] for episode in found]
    past['evaluations'].append([loop.num_steps, float(np.mean(returns))])
    (folder / 'past.json').write_text(json.dumps(past))
    return {
        'task': options.task,
        'seed': options.seed,
        'train_ratio': options.train_ratio,
        'overrides': options.overrides,
        'config': dataclasses.asdict(config),
        'steps': loop.num_steps,
        'updates': loop.num_updates,
        'curve': [[episode['step'], episode['return']] for episode in loop.episodes],
        **past,
    }


def _line(task: str, loop: Loop) -> str:
    recent = [episode['return'] for episode in loop.episodes[-3:]]
    mean = f'{np.mean(recent):.1f}' if recent else 'none yet'
    watched = ('imagined_return', 'entropy', 'return_scale')
    extra = ', '.join(f'{name} {loop.metrics.get(f"dreamer/{name}", 0):.2f}' for name in watched)
    return f'{task}: {loop.num_steps} steps, {loop.num_updates} updates, return {mean}, {extra}'


def summary(runs: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per run."""
    return [
        {
            'task': run['task'],
            'seed': run['seed'],
            'train_ratio': run['train_ratio'],
            'steps': run['steps'],
            'frames': run['steps'] * ACTION_REPEAT,
            'updates': run['updates'],
            'first_return': run['curve'][0][1] if run['curve'] else None,
            'last_3_returns': float(np.mean([r for _, r in run['curve'][-3:]] or [np.nan])),
            'best_evaluation': max(value for _, value in run['evaluations']),
            'cpu_minutes': round(run['cpu_minutes'], 1),
        }
        for run in runs.values()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true', help='one minute, from nothing')
    parser.add_argument('--minutes', type=float, help='length of this slice (10)')
    parser.add_argument('--steps', type=int, help='stop when so many are done in all')
    parser.add_argument('--task', choices=TASKS, default=TASKS[0])
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--train-ratio', type=float, default=512)
    parser.add_argument('--overrides', default='{}', help='of config/phases/dreamer.yaml')
    parser.add_argument('--runs', type=Path, default=ROOT / 'runs' / NAME, help='where to go on')
    options = parser.parse_args()
    options.minutes = options.minutes or (1 if options.quick else 10)
    cpu.settle()
    name = f'{options.task}-{options.seed}-{options.train_ratio:g}'
    if options.overrides != '{}':
        name += '-' + ''.join(c if c.isalnum() else '_' for c in options.overrides)
    if options.quick:
        name = f'quick-{time.time_ns()}'
    path = RESULTS / (f'{NAME}.quick.json' if options.quick else f'{NAME}.json')
    kept = json.loads(path.read_text())['results']['runs'] if path.is_file() else {}
    kept[name.split('-')[0] if options.quick else name] = run_slice(options, options.runs / name)
    rows = summary(kept)
    table(rows)
    print(f'written to {write(NAME, {"runs": kept, "summary": rows}, options.quick)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
