"""Dreamer's learning curves on the DeepMind Control Suite, from proprioception, in slices.

One environment, one thread, every action held for two frames as in the paper; a step is one
decision. Each slice goes on where the last one of that task, seed and setting ended, so a long
curve may be made in short pieces; an episode that a slice cuts stays in memory up to there.
Returns are those of whole episodes of 1000 frames: while learning with exploration, and without
it at the end of a slice.

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
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

import numpy as np
from reporting import RESULTS, table, write

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'ros_ws' / 'src'))

from robot_learning.durable_files import replace  # noqa: E402
from robot_learning.model_store import ModelStore  # noqa: E402
from robot_learning.phases import cpu, recipe  # noqa: E402
from robot_learning.phases.acting import actor_for  # noqa: E402
from robot_learning.phases.checkpoint import CheckpointFolder  # noqa: E402
from robot_learning.phases.devices import device_named  # noqa: E402
from robot_learning.phases.interaction import EnvironmentSource, Interaction, evaluate  # noqa: E402
from robot_learning.phases.phase import PolicySpace  # noqa: E402
from robot_learning.phases.publishing import Publisher  # noqa: E402
from robot_learning.phases.recipe import Recipe  # noqa: E402
from robot_learning.phases.trainer import Progress  # noqa: E402
from robot_learning.simulation import gym_environments  # noqa: E402
from robot_learning.simulation.vector import StepResult, VectorEnvironment  # noqa: E402

NAME = 'dreamer_dmc'
TASKS = ('cartpole_swingup', 'walker_walk')
ACTION_REPEAT = 2
WARMUP = 500  # Random steps, one episode, before the first update.
EVALUATION_EPISODES = 3
EVALUATION_SEED = 1_000_000


class Watched:
    """An environment that holds each action for some frames and writes down its episodes.

    Args:
        environment: as `gym_environments.make` gives it.
        episodes: gets [step, return] of each that ended; steps count on from its last one.
        repeat: frames per step.
        outcome: what else to note of an episode, a number asked for at its end.
    """

    def __init__(
        self,
        environment: Any,
        episodes: list[list[float]],
        repeat: int = 1,
        outcome: Callable[[], float] | None = None,
    ):
        self._environment = environment
        self._episodes, self._repeat, self._outcome = episodes, repeat, outcome
        self.is_watched = True
        self.num_steps = 0
        self._return = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._environment, name)

    def reset(self, seed: int | None) -> np.ndarray:
        """Begin an episode."""
        self._return = 0.0
        return self._environment.reset(seed)

    def step(self, action: np.ndarray) -> StepResult:
        """Hold an action."""
        reward = 0.0
        for _ in range(self._repeat):
            arrived = self._environment.step(action)
            reward += arrived.reward
            if arrived.terminated or arrived.truncated:
                break
        self._return += reward
        self.num_steps += 1
        if self.is_watched and (arrived.terminated or arrived.truncated):
            extra = [self._outcome()] if self._outcome else []
            self._episodes.append([self.num_steps, self._return, *extra])
        return arrived._replace(reward=reward)


def run_slice(
    plan: Recipe,
    make: Callable[[list[list[float]]], Watched],
    folder: Path,
    options: argparse.Namespace,
    num_evaluations: int,
    is_enough: Callable[[dict[str, Any]], bool] = lambda past: False,
) -> dict[str, Any]:
    """Learn for `options.minutes` more, measure, and return all that is known of the run.

    Args:
        plan: what learns and how.
        make: an environment that writes its episodes down.
        folder: of this run; what is there is gone on from.
        options: of the command.
        num_evaluations: episodes without exploration, every `options.evaluate_every` steps and
            at the end.
        is_enough: whether a run of which so much is known may end, asked after each of them.
    """
    path = folder / 'past.json'
    folder.mkdir(parents=True, exist_ok=True)
    past: dict[str, Any] = {'episodes': [], 'evaluations': [], 'cpu_minutes': 0.0}
    if path.is_file():
        past = json.loads(path.read_text())
    watched = make(past['episodes'])
    environments = VectorEnvironment(lambda: watched, 1)
    space = PolicySpace(
        environments.observation_size, environments.action_low, environments.action_high
    )
    device = device_named(options.device)
    phase: Any = plan.phase_class(plan.phase_config, space, options.seed, device=device)
    interaction = Interaction(
        phase,
        space,
        environments,
        EnvironmentSource(folder.name),
        Publisher(ModelStore(folder / 'models'), 'learner', plan.phase_name, options.seed),
        plan.trainer,
        options.seed,
        CheckpointFolder(folder / 'checkpoints'),
    )
    interaction.resume()
    watched.num_steps = interaction.num_steps
    # A slice that was killed may have driven on after its last checkpoint.
    past['episodes'][:] = [e for e in past['episodes'] if e[0] <= interaction.num_steps]
    measuring_s = 0.0  # CPU time that is not learning.
    before_min = past['cpu_minutes']
    began, began_cpu = time.monotonic(), time.process_time()

    def is_over() -> bool:
        return time.monotonic() - began > 60 * options.minutes

    def note(progress: Progress) -> None:
        learning_s = time.process_time() - began_cpu - measuring_s
        past['cpu_minutes'] = before_min + learning_s / 60
        past['steps'], past['updates'] = progress.environment_step, progress.update
        replace(path, json.dumps(past).encode())
        print(_line(folder.name, progress, past['episodes']), flush=True)

    every, last = options.evaluate_every, options.steps or 10**9
    while True:
        due = (interaction.num_steps // every + 1) * every if every else last
        interaction.run(min(due, last), is_over, note)
        before_cpu = time.process_time()
        measured: list[list[float]] = []
        judged = VectorEnvironment(lambda rows=measured: make(rows), 1)
        evaluate(judged, actor_for(phase), num_evaluations, EVALUATION_SEED)
        means = np.mean([episode[1:] for episode in measured], axis=0).tolist()
        past['evaluations'].append([past['steps'], *means])
        replace(path, json.dumps(past).encode())
        measuring_s += time.process_time() - before_cpu
        if is_over() or interaction.num_steps >= last or is_enough(past):
            return {**past, 'device': str(device), 'config': dataclasses.asdict(plan.phase_config)}


def _line(name: str, progress: Progress, episodes: list[list[float]]) -> str:
    recent = np.mean([episode[1:] for episode in episodes[-20:]], axis=0) if episodes else []
    watched = ('imagined_return', 'entropy', 'return_scale')
    extra = {key: progress.metrics.get(f'dreamer/{key}') for key in watched}
    shown = [f'{key} {value:.2f}' for key, value in extra.items() if value is not None]
    return (
        f'{name}: {progress.environment_step} steps, {progress.update} updates, '
        f'{len(episodes)} episodes, last 20: {[round(float(v), 2) for v in recent]} '
        + ', '.join(shown)
    )


def load_plan(
    phase: str, config: str, updates_per_step: float, warmup: int, path: Path | None = None
) -> Recipe:
    """Return the recipe of a file, or of `config/phases/PHASE.yaml`, with other settings."""
    trainer = (
        f'{{train_ratio: {updates_per_step}, warmup_steps: {warmup}, report_every_s: 60.0, '
        f'checkpoint_every_s: 300.0, publish_every_s: 100000.0}}'
    )
    return recipe.load(phase, path, f'config: {config}\ntrainer: {trainer}')


def run_task(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    draw = recipe.load('dreamer', overrides=f'config: {options.overrides}').phase_config
    updates_per_step = options.train_ratio / (draw.batch_size * draw.length)
    plan = load_plan('dreamer', options.overrides, updates_per_step, WARMUP)
    run = run_slice(
        plan,
        lambda episodes: Watched(
            gym_environments.make(f'dmc:{options.task}'), episodes, ACTION_REPEAT
        ),
        folder,
        options,
        1 if options.quick else EVALUATION_EPISODES,
    )
    settings = ('task', 'seed', 'train_ratio', 'overrides')
    return {**{name: getattr(options, name) for name in settings}, **run}


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
            'first_return': run['episodes'][0][1] if run['episodes'] else None,
            'last_3_returns': float(np.mean([e[1] for e in run['episodes'][-3:]] or [np.nan])),
            'without_exploration': run['evaluations'][-1][1],
            'cpu_minutes': round(run['cpu_minutes'], 1),
        }
        for run in runs.values()
    ]


def parser_of(description: str, where: str) -> argparse.ArgumentParser:
    """Return the options that the benchmarks of slices have in common."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('--quick', action='store_true', help='one minute, from nothing')
    parser.add_argument('--minutes', type=float, help='length of this slice (10)')
    parser.add_argument('--steps', type=int, help='stop when so many are done in all')
    parser.add_argument('--evaluate-every', type=int, default=0, help='steps; 0: at the end')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--device', default='cpu', help='cpu, cuda, cuda:1 or auto')
    parser.add_argument('--runs', type=Path, default=ROOT / 'runs' / where, help='to go on from')
    return parser


def keep(
    name: str,
    key: str,
    options: argparse.Namespace,
    run: Callable[[argparse.Namespace, Path], dict[str, Any]],
    rows_of: Callable[[dict[str, dict[str, Any]]], list[dict[str, Any]]],
) -> None:
    """Make a slice, print the table of all runs so far and write it beside what was known."""
    options.minutes = options.minutes or (1 if options.quick else 10)
    cpu.settle()
    folder = options.runs / (f'quick-{time.time_ns()}' if options.quick else key)
    path = RESULTS / (f'{name}.quick.json' if options.quick else f'{name}.json')
    found = run(options, folder)
    # Read late: another slice may have ended in the meantime.
    runs = json.loads(path.read_text())['results']['runs'] if path.is_file() else {}
    runs[key] = found
    rows = rows_of(runs)
    table(rows)
    print(f'written to {write(name, {"runs": runs, "summary": rows}, options.quick)}')


def readable(overrides: str) -> str:
    """Return overrides as a part of a folder's name."""
    return ''.join(c if c.isalnum() else '_' for c in overrides).strip('_')


def main() -> int:
    parser = parser_of(__doc__.splitlines()[0], NAME)
    parser.add_argument('--task', choices=TASKS, default=TASKS[0])
    parser.add_argument('--train-ratio', type=float, default=512)
    parser.add_argument('--overrides', default='{}', help='of config/phases/dreamer.yaml')
    options = parser.parse_args()
    key = f'{options.task}-{options.seed}-{options.train_ratio:g}-{readable(options.overrides)}'
    keep(NAME, key.strip('-'), options, run_task, summary)
    return 0


if __name__ == '__main__':
    sys.exit(main())
