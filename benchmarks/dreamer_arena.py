"""How many environment steps Dreamer and SAC need in the embedded arena, without ROS.

Both begin with nothing: no demonstrations, the same features, the same layouts, the same random
warm-up. Success is that of 50 layouts that learning never meets, driven without exploration every
1000 steps, and of the last 20 episodes with it. A run ends when two of those measurements in a row
say 0.9, or with its slice; the next slice goes on where that one ended.

    python benchmarks/dreamer_arena.py [--quick] [--minutes 10] [--learner dreamer|sac] [--seed 0]
                                       [--updates-per-step 0.5] [--overrides "{horizon: 10}"]
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from dreamer_dmc import ROOT, Watched, keep, load_plan, parser_of, readable, run_slice
from robot_learning import contract as contracts
from robot_learning.simulation.environment import GoalReachingEnv
from robot_learning.simulation.gym_environments import GymEnvironment

NAME = 'dreamer_arena'
WARMUP = 1000
NUM_UNSEEN = 50  # Layouts.
EVERY = 1000  # Steps between two drives through all of them.
RECENT = 20
ENOUGH = 0.9  # Success of two measurements in a row.
PHASES = ROOT / 'config' / 'phases'
# Nothing to imitate; else as in the live loop.
SETTINGS = {'dreamer': '{}', 'sac': '{imitation_weight: 0.0}'}
FILES = {'dreamer': PHASES / 'dreamer_small.yaml', 'sac': PHASES / 'sac.yaml'}
UPDATES_PER_STEP = {'dreamer': 0.5, 'sac': 1.0}


class Success(gymnasium.Wrapper):
    """Remembers how the last episode ended."""

    value = 0.0

    def step(self, action: Any) -> Any:
        """Pass on."""
        arrived = self.env.step(action)
        self.value = float(arrived[-1].get('success', False))
        return arrived


def make(episodes: list[list[float]]) -> Watched:
    inner = Success(GoalReachingEnv(contracts.load('arena')))
    return Watched(GymEnvironment(inner, 'arena'), episodes, outcome=lambda: inner.value)


def run_learner(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    overrides = options.overrides or SETTINGS[options.learner]
    file = FILES[options.learner]
    plan = load_plan(options.learner, overrides, options.updates_per_step, WARMUP, file)
    count = 5 if options.quick else NUM_UNSEEN
    run = run_slice(
        plan, make, folder, options, count, lambda past: reached(past['evaluations']) is not None
    )
    settings = ('learner', 'seed', 'updates_per_step')
    return {**{name: getattr(options, name) for name in settings}, 'overrides': overrides, **run}


def first_at(evaluations: list[list[float]]) -> int | None:
    """Return the step of the first measurement that is enough, or None."""
    return next((int(e[0]) for e in evaluations if e[2] >= ENOUGH), None)


def reached(evaluations: list[list[float]]) -> int | None:
    """Return the step of the first of two measurements in a row that are enough, or None."""
    for one, other in itertools.pairwise(evaluations):
        if min(one[2], other[2]) >= ENOUGH:
            return int(one[0])
    return None


def steps_to(episodes: list[list[float]], success: float) -> int | None:
    """Return the step at which the last 20 episodes had that success first, or None."""
    for index in range(RECENT, len(episodes) + 1):
        if np.mean([e[2] for e in episodes[index - RECENT : index]]) >= success:
            return int(episodes[index - 1][0])
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
            'first at 0.9 unseen': first_at(run['evaluations']),
            'twice at 0.9 unseen': reached(run['evaluations']),
            'unseen layouts': run['evaluations'][-1][2],
            'exploring: steps to 0.5': steps_to(run['episodes'], 0.5),
            'exploring: steps to 0.9': steps_to(run['episodes'], 0.9),
            'exploring: last 20': float(np.mean([e[2] for e in run['episodes'][-RECENT:]] or [0])),
            'cpu_minutes': round(run['cpu_minutes'], 1),
        }
        for run in runs.values()
    ]


def main() -> int:
    parser = parser_of(__doc__.splitlines()[0], NAME)
    parser.add_argument('--learner', choices=tuple(SETTINGS), default='dreamer')
    parser.add_argument('--updates-per-step', type=float, help='dreamer 0.5, sac 1')
    parser.add_argument('--overrides', default='', help='of the config')
    parser.set_defaults(evaluate_every=EVERY)
    options = parser.parse_args()
    if options.updates_per_step is None:
        options.updates_per_step = UPDATES_PER_STEP[options.learner]
    key = f'{options.learner}-{options.seed}-{options.updates_per_step:g}'
    keep(NAME, f'{key}-{readable(options.overrides)}'.strip('-'), options, run_learner, summary)
    return 0


if __name__ == '__main__':
    sys.exit(main())
