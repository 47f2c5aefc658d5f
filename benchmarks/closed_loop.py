"""The success curve of the demo over several seeds: before, after, time to 90 %, steps/s.

Every run is a whole `demo` with all its processes; its folder stays for a look at its report.

    python benchmarks/closed_loop.py [--seeds 0 1 2] [--minutes 12] [--quick]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import reporting

GOAL = 0.9


def main(argv: list[str] | None = None) -> int:
    """Run the demo once per seed, print the table, write the results."""
    options = _parser().parse_args(argv)
    out = (options.out or Path('runs') / f'closed_loop_{time.strftime("%Y%m%d_%H%M%S")}').resolve()
    runs = [run_demo(out / f'seed_{seed}', seed, options) for seed in options.seeds]
    reporting.table([row(run) for run in runs])
    passed = sum(run['success_rate_after'] >= GOAL for run in runs)
    print(f'{passed} of {len(runs)} seeds reach {GOAL:.0%} on the unseen layouts')
    results = {'goal': GOAL, 'minutes': options.minutes, 'seeds': options.seeds, 'runs': runs}
    print(f'written to {reporting.write("closed_loop", results, options.quick)}')
    return 0


def run_demo(out: Path, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run one demo, or continue it where an earlier call was stopped, and return its numbers."""
    command = [sys.executable, '-m', 'robot_learning.commands.demo', '--out', str(out)]
    command += ['--seed', str(seed)]
    if options.quick:
        command.append('--quick')
    if options.minutes is not None:
        command += ['--minutes', str(options.minutes)]
    if options.demonstrations is not None:
        command += ['--demonstrations', str(options.demonstrations)]
    began = time.monotonic()
    code = subprocess.run(command, check=False).returncode
    if code:
        raise SystemExit(
            f'closed_loop: the demo with seed {seed} ended with exit code {code}. '
            f'Read {out}/logs and run the same command again with --out {out.parent}.'
        )
    metrics = json.loads((out / 'metrics.json').read_text(encoding='utf-8'))
    return essential(metrics) | {'total_seconds': round(time.monotonic() - began, 1)}


def essential(metrics: dict[str, Any]) -> dict[str, Any]:
    """Keep what the committed results show; model versions and paths stay with the run."""
    names = (
        'seed',
        'success_rate_before',
        'success_rate_after',
        'success_curve',
        'baselines',
        'num_layouts',
        'steps_per_second',
        'environment_steps',
        'loop_seconds',
        'demonstration_steps',
        'train_ratio',
        'latency_ms',
        'dropped_messages',
        'unaccounted_messages',
        'gate_interventions',
        'contract_hash',
        'code_version',
    )
    kept = {name: metrics[name] for name in names}
    point = first_reaching(metrics['success_curve'], GOAL)
    return kept | {
        'num_model_versions': len(metrics['model_versions']),
        'seconds_to_goal': None if point is None else point['wall_s'],
        'steps_to_goal': None if point is None else point['environment_step'],
    }


def first_reaching(curve: list[dict[str, Any]], rate: float) -> dict[str, Any] | None:
    """Return the first measured point of a success curve that is at least `rate`."""
    return next((point for point in curve if point['rate'] >= rate), None)


def row(run: dict[str, Any]) -> dict[str, Any]:
    """Return one line of the table."""
    return {
        'seed': run['seed'],
        'before': run['success_rate_before'],
        'after': run['success_rate_after'],
        'straight': run['baselines']['straight'],
        f's to {GOAL}': run['seconds_to_goal'],
        f'steps to {GOAL}': run['steps_to_goal'],
        'steps/s': round(run['steps_per_second'], 1),
        'steps': run['environment_steps'],
        'train ratio': None if run['train_ratio'] is None else round(run['train_ratio'], 2),
        'p50 ms': run['latency_ms']['p50'],
        'p99 ms': run['latency_ms']['p99'],
        'dropped': sum(run['dropped_messages'].values()),
        'unaccounted': sum(run['unaccounted_messages'].values()),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument(
        '--minutes', type=float, help="loop time of each run (default: the demo's)"
    )
    parser.add_argument('--quick', action='store_true', help='60 seconds each, fewer layouts')
    parser.add_argument('--demonstrations', type=int, help="steps (default: the demo's)")
    parser.add_argument('--out', type=Path, help='folder of the runs; an old one is continued')
    return parser


if __name__ == '__main__':
    sys.exit(main())
