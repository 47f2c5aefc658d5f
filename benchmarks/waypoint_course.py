"""Every kind of learned policy on a course of waypoints in the embedded arena, scored.

Each is trained with the commands that users type: on the same demonstrations of the scripted
driver that knows the map, with noise, or (ppo) from what it drives itself. All learn to reach one
goal; the course of four, in layouts that no learning met, is driven by moving the goal on.
Success, path efficiency and distance from the shortest way (cross-track error) are those of
`./run evaluate --task waypoint_course`, beside a random, a straight and the scripted driver.
The neural policy of the decision kernel chooses among labels and cannot drive; it is not here.

    python benchmarks/waypoint_course.py [--quick] [--policy sac ...] [--layouts 50] [--seed 0]
                                         [--version NAME=STORE:MODEL@N ...]

Policies are measured one by one and kept, so that a run may be made in slices; with --version
one that was trained elsewhere drives too.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')

import numpy as np
from reporting import RESULTS, table, write

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'ros_ws' / 'src'))
os.environ['PYTHONPATH'] = os.pathsep.join(
    [str(ROOT / 'ros_ws' / 'src'), os.environ.get('PYTHONPATH', '')]
)

from robot_learning.evaluation.means import mean_interval  # noqa: E402
from robot_learning.simulation.tasks import WaypointCourseConfig  # noqa: E402

NAME = 'waypoint_course'
NOISE = 0.3  # Of the demonstrations, part of half the command range.
LAYOUTS = 50


class Recipe(NamedTuple):
    """How one policy is made; quick runs take a tenth."""

    train: tuple[str, ...]
    amount: tuple[str, int]  # The option that says how long, and its value.
    demonstrations: bool = True
    config: str = ''  # Replaces the phase's own file.


# Small enough for one core.
DREAMER = """phase: dreamer
config:
  model: {size: size1m, deter: 256, blocks: 4}
  block_scale: 10.0
  batch_size: 16
  length: 16
  horizon: 10
  discount: 0.98
  learning_rate: 4.0e-4
  warmup_updates: 100
"""
RECIPES = {
    'behavior_cloning': Recipe(('--mode', 'supervised'), ('--num-updates', 4000)),
    'sequence_cloning': Recipe(('--phase', 'sequence_cloning'), ('--num-updates', 400)),
    'sac': Recipe(('--mode', 'policy', '--algorithm', 'sac'), ('--num-updates', 3000)),
    'dreamer': Recipe(('--mode', 'dreamer'), ('--num-updates', 600), config=DREAMER),
    'ppo': Recipe(
        ('--mode', 'policy', '--algorithm', 'ppo', '--env', 'arena'),
        ('--num-steps', 60_000),
        demonstrations=False,
    ),
}
DEMONSTRATED_STEPS = 10_000


def command(name: str, *arguments: str) -> None:
    """Run one of the package's commands.

    Raises:
        subprocess.CalledProcessError: it did not succeed.
    """
    module = f'robot_learning.commands.{name}'
    subprocess.run([sys.executable, '-m', module, *arguments], check=True, cwd=ROOT)


def child_seconds() -> float:
    """CPU time of all commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def demonstrations(folder: Path, quick: bool, seed: int) -> tuple[Path, int]:
    """Record what the scripted driver does, once; return where, and how many steps."""
    steps = DEMONSTRATED_STEPS // (10 if quick else 1)
    path = folder / f'demonstrations-{seed}-{steps}'
    if not path.is_dir():
        how = ('--driver', 'geodesic', '--noise', str(NOISE), '--steps', str(steps))
        command('collect', *how, '--out', str(path), '--seed', str(seed))
    return path, steps


def trained(name: str, folder: Path, quick: bool, seed: int) -> dict[str, Any]:
    """Train one policy and return where it is, on how much, and for how long."""
    recipe = RECIPES[name]
    store = folder / f'{name}-{seed}{"-quick" if quick else ""}' / 'models'
    option, amount = recipe.amount[0], recipe.amount[1] // (10 if quick else 1)
    arguments = [*recipe.train, option, str(amount), '--seed', str(seed), '--name', name]
    steps = amount
    if recipe.demonstrations:
        data, steps = demonstrations(folder, quick, seed)
        arguments += ['--data', str(data)]
    if recipe.config:
        file = folder / f'{name}.yaml'
        file.write_text(recipe.config, encoding='utf-8')
        arguments += ['--config', str(file)]
    before = child_seconds()
    command('train', *arguments, '--models', str(store))
    return {
        'models': str(store),
        'model': name,
        'seed': seed,
        'learned from': 'demonstrations' if recipe.demonstrations else 'its own driving',
        'steps': steps,
        'updates': amount if recipe.demonstrations else None,
        'training CPU s': round(child_seconds() - before, 1),
    }


def scored(made: dict[str, Any], folder: Path, layouts: int, baselines: bool) -> dict[str, Any]:
    """Let a version drive; return what `evaluate` found."""
    file = folder / 'score.json'
    arguments = ['--model', made['model'], '--models', made['models'], '--task', NAME]
    arguments += ['--robot', 'arena', '--episodes', str(layouts), '--workers', '1']
    command('evaluate', *arguments, *(['--baselines'] if baselines else []), '--json', str(file))
    found: dict[str, Any] = json.loads(file.read_text(encoding='utf-8'))
    return found


def waypoints_reached(path: np.ndarray, course: WaypointCourseConfig) -> float:
    """Share of the waypoints that a path [N, 2] came to, in order.

    Args:
        path: metres, a point per control step.
        course: gives the waypoints and how near counts.
    """
    count = 0
    for point in path:
        goal = course.waypoints[min(count, len(course.waypoints) - 1)]
        near = float(np.hypot(*(point - np.asarray(goal)))) <= course.goal_radius_m
        count = min(count + near, len(course.waypoints))
    return count / len(course.waypoints)


def row_of(name: str, score: dict[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers of one policy, without its drives."""
    course = WaypointCourseConfig()
    reached = [waypoints_reached(np.asarray(d['path']), course) for d in score['drives']]
    numbers = {key: value for key, value in score.items() if key not in ('drives', 'policy')}
    shared = {key: value for key, value in made.items() if key not in ('models', 'model')}
    return {
        'policy': name,
        **shared,
        **numbers,
        'waypoints_reached': float(np.mean(reached)),
        'waypoints_reached_interval_95': list(mean_interval(reached)),
        'cross_track_error_all_m': float(
            np.mean([drive['cross_track_error_m'] for drive in score['drives']])
        ),
    }


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return what the table shows."""
    low, high = row['success_interval_95']
    return {
        'policy': row['policy'],
        'seed': row.get('seed'),
        'learned from': row.get('learned from', ''),
        'steps': row.get('steps'),
        'success': row['success_rate'],
        '95 %': f'{low:.2f} to {high:.2f}',
        'waypoints': row['waypoints_reached'],
        'path efficiency': row['path_efficiency'],
        'cross-track m': row['cross_track_error_m'],
    }


def given(text: str) -> tuple[str, dict[str, Any]]:
    """Read NAME=STORE:MODEL[@N]."""
    name, _, rest = text.partition('=')
    store, _, model = rest.rpartition(':')
    if not (name and store and model):
        raise argparse.ArgumentTypeError(f'found {text!r}, expected NAME=STORE:MODEL[@N]')
    return name, {'models': store, 'model': model, 'learned from': 'elsewhere'}


def earlier(quick: bool) -> dict[str, Any]:
    """Return the rows of earlier slices."""
    path = RESULTS / (f'{NAME}.quick.json' if quick else f'{NAME}.json')
    return json.loads(path.read_text())['results']['policies'] if path.is_file() else {}


def main() -> int:
    """Train, let drive, print the table and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--quick', action='store_true', help='a tenth of the learning, 5 layouts')
    parser.add_argument('--policy', choices=RECIPES, action='append', help='(all)')
    parser.add_argument('--version', type=given, action='append', metavar='NAME=STORE:MODEL@N')
    parser.add_argument('--layouts', type=int, help=f'courses to drive ({LAYOUTS})')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--runs', type=Path, default=ROOT / 'runs' / NAME)
    options = parser.parse_args()
    layouts = options.layouts or (5 if options.quick else LAYOUTS)
    options.runs.mkdir(parents=True, exist_ok=True)
    rows = earlier(options.quick)
    chosen = options.policy or ([] if options.version else list(RECIPES))
    versions = dict(options.version or [])
    for name in [*chosen, *versions]:
        made = versions.get(name) or trained(name, options.runs, options.quick, options.seed)
        found = scored(made, options.runs, layouts, baselines='random' not in rows)
        rows[f'{name}-{options.seed}'] = row_of(name, found['navigation'], made)
        for score in found.get('baselines', []):
            rows[score['policy']] = row_of(score['policy'], score, {})
        write(NAME, {'layouts': layouts, 'policies': rows}, options.quick)
    table([shown(row) for row in rows.values()])
    return 0


if __name__ == '__main__':
    sys.exit(main())
