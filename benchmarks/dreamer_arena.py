"""How many environment steps Dreamer and SAC need in the embedded arena, without ROS.

Both begin with nothing: no demonstrations, the same features, the same layouts, the same random
warm-up. Success is that of the last 20 episodes with exploration, and of layouts that learning
never meets without it. Slices go on where the last one of that learner and seed ended.

    python benchmarks/dreamer_arena.py [--quick] [--minutes 10] [--learner dreamer|sac] [--seed 0]
                                       [--updates-per-step 0.25] [--overrides "{horizon: 10}"]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from dreamer_dmc import Watched, keep, load_plan, parser_of, readable, run_slice
from robot_learning import contract as contracts
from robot_learning.simulation.environment import GoalReachingEnv
from robot_learning.simulation.gym_environments import GymEnvironment

NAME = 'dreamer_arena'
WARMUP = 1000
EVALUATION_EPISODES = 20
RECENT = 20
SETTINGS = {
    # Small enough for one core.
    'dreamer': '{model: {size: size1m, deter: 256, blocks: 4}, batch_size: 8, length: 32, '
    'horizon: 10, discount: 0.98, learning_rate: 4.0e-4, warmup_updates: 100}',
    'sac': '{imitation_weight: 0.0}',  # Nothing to imitate; else as in the live loop.
}


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
    plan = load_plan(options.learner, overrides, options.updates_per_step, WARMUP)
    run = run_slice(plan, make, folder, options, 5 if options.quick else EVALUATION_EPISODES)
    settings = ('learner', 'seed', 'updates_per_step')
    return {**{name: getattr(options, name) for name in settings}, 'overrides': overrides, **run}


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
            'episodes': len(run['episodes']),
            'steps to 0.5': steps_to(run['episodes'], 0.5),
            'steps to 0.9': steps_to(run['episodes'], 0.9),
            'last 20': float(np.mean([e[2] for e in run['episodes'][-RECENT:]] or [np.nan])),
            'unseen layouts': run['evaluations'][-1][2],
            'cpu_minutes': round(run['cpu_minutes'], 1),
        }
        for run in runs.values()
    ]


def main() -> int:
    parser = parser_of(__doc__.splitlines()[0], NAME)
    parser.add_argument('--learner', choices=tuple(SETTINGS), default='dreamer')
    parser.add_argument('--updates-per-step', type=float, default=0.25)
    parser.add_argument('--overrides', default='', help="of the phase's config; none: SETTINGS")
    options = parser.parse_args()
    key = f'{options.learner}-{options.seed}-{options.updates_per_step:g}'
    keep(NAME, f'{key}-{readable(options.overrides)}'.strip('-'), options, run_learner, summary)
    return 0


if __name__ == '__main__':
    sys.exit(main())
