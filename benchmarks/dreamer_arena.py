"""How many environment steps Dreamer and SAC need in the embedded arena, without ROS.

Both begin with nothing: no demonstrations, the same features, the same layouts, the same random
warm-up. Success is that of the last 20 episodes with exploration, and of layouts that learning
never meets without it. Slices go on where the last one of that learner and seed ended.

    python benchmarks/dreamer_arena.py [--quick] [--minutes 10] [--learner dreamer|sac] [--seed 0]
                                       [--updates-per-step 0.25] [--overrides "{horizon: 10}"]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dreamer_dmc import ROOT, DreamerLearner, Loop, as_tensors
from reporting import RESULTS, table, write
from robot_learning import contract as contracts
from robot_learning.phases import cpu, recipe
from robot_learning.phases.dreamer import Dreamer
from robot_learning.phases.phase import PolicySpace
from robot_learning.phases.sac import SoftActorCritic
from robot_learning.simulation.environment import GoalReachingEnv
from robot_learning.simulation.episodes import SEED_LIMIT
from robot_learning.trajectory.buffer import ReplayBuffer

NAME = 'dreamer_arena'
WARMUP = 1000
EVALUATION_EPISODES = 20
RECENT = 20
# Small enough for one core; the window covers an episode's 40 s at 5 Hz in a few pieces.
SMALL = (
    '{model: {size: size1m, deter: 256, blocks: 4}, batch_size: 8, length: 32, horizon: 10, '
    'discount: 0.98, learning_rate: 4.0e-4, warmup_updates: 100}'
)


class SacLearner:
    """How a loop uses SAC."""

    def __init__(self, phase: SoftActorCritic, seed: int):
        self.phase = phase
        self._noise = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def act(
        self, observation: np.ndarray, carry: Any, is_first: bool, explore: bool
    ) -> tuple[np.ndarray, Any]:
        """Return the action [A]; there is nothing to carry."""
        seen = torch.as_tensor(observation, dtype=torch.float32)[None]
        if explore:
            return self.phase.actor.sample(seen, self._noise).action[0].numpy(), True
        return torch.tanh(self.phase.actor(seen)[0])[0].numpy(), True

    def learn(self, buffer: ReplayBuffer) -> dict[str, torch.Tensor]:
        """Take one gradient step."""
        batch = buffer.sample_transitions(*self.phase.draws)
        batch['is_offline'] = np.zeros(len(batch['reward']), bool)  # No demonstrations.
        return self.phase.update(as_tensors(batch))


def make_learner(options: argparse.Namespace, space: PolicySpace) -> Any:
    if options.learner == 'sac':
        config = recipe.load('sac', overrides=f'config: {options.overrides or "{}"}').phase_config
        return SacLearner(SoftActorCritic(config, space, options.seed), options.seed)
    config = recipe.load('dreamer', overrides=f'config: {options.overrides or SMALL}').phase_config
    return DreamerLearner(Dreamer(config, space, options.seed))


def run_slice(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    contract = contracts.load('arena')
    environment = GoalReachingEnv(contract, seed=100_000 * options.seed)
    size = environment.observation_space.shape[0]
    space = PolicySpace(size, contract.action_low, contract.action_high)
    learner = make_learner(options, space)
    loop = Loop(environment, learner, options.seed, options.updates_per_step, WARMUP)
    past: dict[str, Any] = {'cpu_minutes': 0.0, 'evaluations': []}
    if (folder / 'loop.json').is_file():
        loop.load(folder)
        past = json.loads((folder / 'past.json').read_text())
        environment.reset(seed=100_000 * options.seed + len(loop.episodes) + 1)
    began, began_cpu, reported = time.monotonic(), time.process_time(), 0.0
    while (minutes := (time.monotonic() - began) / 60) < options.minutes:
        if options.steps and loop.num_steps >= options.steps:
            break
        loop.advance()
        if minutes > reported + 1:
            reported = minutes
            print(_line(options.learner, loop), flush=True)
    loop.save(folder)
    past['cpu_minutes'] += (time.process_time() - began_cpu) / 60
    environment.reset(seed=SEED_LIMIT)  # Layouts beyond are met by no training.
    found = loop.evaluate(5 if options.quick else EVALUATION_EPISODES)
    means = [
        float(np.mean([episode[name] for episode in found])) for name in ('return', 'success')
    ]
    past['evaluations'].append([loop.num_steps, *means])
    (folder / 'past.json').write_text(json.dumps(past))
    return {
        'learner': options.learner,
        'seed': options.seed,
        'updates_per_step': options.updates_per_step,
        'overrides': options.overrides,
        'steps': loop.num_steps,
        'updates': loop.num_updates,
        'episodes': loop.episodes,
        **past,
    }


def _line(learner: str, loop: Loop) -> str:
    recent = loop.episodes[-RECENT:]
    success = np.mean([episode['success'] for episode in recent]) if recent else 0.0
    total = np.mean([episode['return'] for episode in recent]) if recent else 0.0
    return (
        f'{learner}: {loop.num_steps} steps, {loop.num_updates} updates, '
        f'{len(loop.episodes)} episodes, return {total:.2f}, success {success:.2f}'
    )


def steps_to(episodes: list[dict[str, float]], success: float) -> int | None:
    """Return the step from which on the last 20 episodes had that success, or None."""
    for index in range(RECENT, len(episodes) + 1):
        if np.mean([e['success'] for e in episodes[index - RECENT : index]]) >= success:
            return int(episodes[index - 1]['step'])
    return None


def summary(runs: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per run."""
    return [
        {
            'learner': run['learner'],
            'seed': run['seed'],
            'updates_per_step': run['updates_per_step'],
            'steps': run['steps'],
            'updates': run['updates'],
            'episodes': len(run['episodes']),
            'steps to 0.5': steps_to(run['episodes'], 0.5),
            'steps to 0.9': steps_to(run['episodes'], 0.9),
            'success of last 20': float(
                np.mean([e['success'] for e in run['episodes'][-RECENT:]] or [np.nan])
            ),
            'unseen layouts': run['evaluations'][-1][2],
            'cpu_minutes': round(run['cpu_minutes'], 1),
        }
        for run in runs.values()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true', help='one minute, from nothing')
    parser.add_argument('--minutes', type=float, help='length of this slice (10)')
    parser.add_argument('--steps', type=int, help='stop when so many are done in all')
    parser.add_argument('--learner', choices=('dreamer', 'sac'), default='dreamer')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--updates-per-step', type=float, default=0.25)
    parser.add_argument('--overrides', default='', help="of the phase's config; none: small")
    parser.add_argument('--runs', type=Path, default=ROOT / 'runs' / NAME, help='where to go on')
    options = parser.parse_args()
    options.minutes = options.minutes or (1 if options.quick else 10)
    cpu.settle()
    name = f'{options.learner}-{options.seed}-{options.updates_per_step:g}'
    if options.overrides:
        name += '-' + ''.join(c if c.isalnum() else '_' for c in options.overrides)
    folder = options.runs / (f'quick-{time.time_ns()}' if options.quick else name)
    path = RESULTS / (f'{NAME}.quick.json' if options.quick else f'{NAME}.json')
    kept = json.loads(path.read_text())['results']['runs'] if path.is_file() else {}
    kept[name] = run_slice(options, folder)
    rows = summary(kept)
    table(rows)
    print(f'written to {write(NAME, {"runs": kept, "summary": rows}, options.quick)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
