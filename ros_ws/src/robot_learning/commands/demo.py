"""The main job: a robot learns to reach goals while it drives, and a report says how well."""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from pathlib import Path

from robot_learning import contract as contracts
from robot_learning.commands.argument_types import number_above, whole_number
from robot_learning.commands.collect import collect
from robot_learning.commands.demo_evaluation import (
    ScoreBook,
    score_baselines,
    score_versions,
    spread,
    steps_of_versions,
)
from robot_learning.commands.demo_loop import MODEL_NAME, drive_and_learn, recorded_steps
from robot_learning.commands.demo_metrics import collect_metrics
from robot_learning.commands.demo_report import build_record, verdict
from robot_learning.commands.live_display import clock
from robot_learning.commands.recorded_run import recorded_episodes, recorded_latency_ms
from robot_learning.commands.run_directory import RunDirectory, RunState, write_json
from robot_learning.commands.stop_requests import StopRequests
from robot_learning.contract import RobotContract
from robot_learning.errors import RobotLearningError
from robot_learning.evaluation.report import write_report

_EXAMPLES = """examples:
  ./run demo                            12 minutes of driving and learning, then a report
  ./run demo --quick                    a look at everything in about two minutes
  ./run demo --out runs/latest          go on with the last run after a Ctrl-C
  ./run demo --out runs/latest --minutes 24   ... or teach it for longer
Ctrl-C ends everything in order; what was recorded and learned stays and a rerun continues."""

_MINUTES = 12.0
_QUICK_MINUTES = 1.0
_DEMONSTRATIONS, _QUICK_DEMONSTRATIONS = 15_000, 4_000
_BASELINES = ('random', 'straight', 'geodesic')
_NUM_LAYOUTS, _NUM_QUICK_LAYOUTS = 100, 20
_NUM_CURVE_VERSIONS, _NUM_QUICK_CURVE_VERSIONS = 8, 3
INTERRUPTED = 130  # Exit code, as shells have it for Ctrl-C.


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse_args(argv)
    try:
        with StopRequests() as stop:
            return run_demo(options, stop)
    except RobotLearningError as error:
        print(error, file=sys.stderr)
        return 2


def run_demo(options: argparse.Namespace, stop: StopRequests) -> int:
    """Measure, drive and learn, measure again, report; continue where an earlier call ended."""
    contract = contracts.load(options.robot)
    run = RunDirectory.choose(options.out, Path('runs'))
    state = run.open(options.seed, options.robot, contract.hash)
    count_recorded_steps(run, state)
    run.point_latest_here()
    num_layouts = _NUM_QUICK_LAYOUTS if options.quick else _NUM_LAYOUTS
    budget_s = 60 * (options.minutes or (_QUICK_MINUTES if options.quick else _MINUTES))
    book = ScoreBook(run, contract, num_layouts)
    book.load()
    _say(f'run folder {run.root}, seed {state.seed}, {clock(budget_s)} of driving and learning')
    if state.loop_seconds:
        _say(f'continues after {clock(state.loop_seconds)} and {state.environment_steps} steps')
    notes: list[str] = []
    code = 0
    try:
        if book.lacking(_BASELINES):
            _say(f'drivers that do not learn, on {num_layouts} layouts that learning never sees:')
            score_baselines(book, _BASELINES, stop)
        if state.loop_seconds < budget_s:
            record_demonstrations(run, contract, state.seed, _num_demonstrations(options), stop)
            notes += drive_and_learn(run, state, budget_s, stop).notes
        stop.check()
        _score_curve(run, book, options.quick, stop)
    except KeyboardInterrupt:
        code = INTERRUPTED
        notes.append('It was interrupted; run the same command with --out to continue.')
    except RobotLearningError as error:
        print(error, file=sys.stderr)
        code = 2
        notes.append(str(error))
    finish(run, state, contract, book, notes)
    return code


def record_demonstrations(
    run: RunDirectory, contract: RobotContract, seed: int, num_steps: int, stop: StopRequests
) -> None:
    """Let a scripted driver that knows the map drive first, on layouts of its own.

    Complete or not at all: an interrupted recording is begun anew by a rerun.
    """
    if num_steps == 0 or run.demonstrations.is_dir():
        return
    _say(f'a scripted driver shows {num_steps} steps, to be mixed into what the robot does itself')
    partial = run.root / '.demonstrations'
    shutil.rmtree(partial, ignore_errors=True)
    collect(contract, 'geodesic', num_steps, partial, seed, on_progress=lambda steps: stop.check())
    partial.rename(run.demonstrations)


def count_recorded_steps(run: RunDirectory, state: RunState) -> None:
    """Correct what a demo that was killed last knew of its sessions' steps."""
    for session in state.sessions:
        session.environment_steps = recorded_steps(run.episodes, session.name)


def finish(
    run: RunDirectory,
    state: RunState,
    contract: RobotContract,
    book: ScoreBook,
    notes: list[str],
) -> None:
    """Write metrics and report of what is known, and say where they are."""
    episodes = recorded_episodes(run.episodes)
    latency_ms = recorded_latency_ms(run.bag)
    command = f'./run demo --seed {state.seed} --minutes {max(state.loop_seconds, 1) / 60:.3g}'
    if state.robot != 'arena':
        command += f' --robot {shlex.quote(state.robot)}'
    metrics = collect_metrics(run, state, book, episodes, latency_ms, command)
    write_json(run.metrics, metrics)
    record = build_record(run, contract, book, metrics, episodes, latency_ms, notes)
    write_report(run.report, record)
    _say('')
    _say(verdict(metrics))
    rates = [
        f'{n} {100 * rate:.0f} %' for n, rate in metrics['baselines'].items() if rate is not None
    ]
    _say(f'on the same layouts: {", ".join(rates) or "nothing was measured"}')
    _say(
        f'{metrics["environment_steps"]} steps at {metrics["steps_per_second"]:.0f} per second, '
        f'{len(metrics["model_versions"])} model versions, '
        f'{sum(metrics["dropped_messages"].values())} messages dropped'
    )
    _say(f'report  {run.report}')
    _say(f'numbers {run.metrics}')


def _num_demonstrations(options: argparse.Namespace) -> int:
    if options.demonstrations is not None:
        return int(options.demonstrations)
    return _QUICK_DEMONSTRATIONS if options.quick else _DEMONSTRATIONS


def _score_curve(run: RunDirectory, book: ScoreBook, quick: bool, stop: StopRequests) -> None:
    steps = steps_of_versions(run.models, MODEL_NAME)
    if not steps:
        return
    _say('versions of the model on the same layouts:')
    count = _NUM_QUICK_CURVE_VERSIONS if quick else _NUM_CURVE_VERSIONS
    score_versions(book, run.models, MODEL_NAME, spread(steps, count), stop)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='./run demo',
        description='A robot in the embedded world learns to reach goals while it drives.',
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--minutes',
        type=number_above(0),
        help=f'loop time of the run in all (default: {_MINUTES:g}, {_QUICK_MINUTES:g} if --quick)',
    )
    parser.add_argument('--quick', action='store_true', help='60 seconds and fewer layouts')
    parser.add_argument(
        '--seed',
        type=whole_number(0, 9999),
        help='of layouts, noise, exploration and learning (default: 0)',
    )
    parser.add_argument(
        '--out', type=Path, help='folder of the run, new or to be continued (default: runs/TIME)'
    )
    parser.add_argument(
        '--demonstrations',
        type=whole_number(0),
        metavar='STEPS',
        help='control steps that a scripted driver shows before; 0: the robot learns from its own '
        f'driving alone (default: {_DEMONSTRATIONS}, {_QUICK_DEMONSTRATIONS} if --quick)',
    )
    parser.add_argument(
        '--robot', default='arena', help='contract, a name or a file (default: arena)'
    )
    return parser


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == '__main__':
    sys.exit(main())
