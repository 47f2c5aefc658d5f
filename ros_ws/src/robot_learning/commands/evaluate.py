"""Scores a model version: on layouts of the embedded world, and offline on recordings."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from robot_learning import contract as contracts
from robot_learning.commands.argument_types import whole_number
from robot_learning.commands.demo_evaluation import EvaluationProgress
from robot_learning.commands.evaluate_environment import environment_of, evaluate_environment
from robot_learning.commands.evaluate_offline import evaluate_offline
from robot_learning.commands.evaluate_world_model import evaluate_world_model
from robot_learning.commands.machine_description import machine
from robot_learning.commands.own_loops import OWN_LOOPS, Version, loop_of_phase, modes
from robot_learning.commands.run_directory import write_json
from robot_learning.commands.simulated_navigation import (
    BASELINES,
    baseline_factory,
    stored_policy_factory,
    world_factory,
)
from robot_learning.commands.stop_requests import StopRequests
from robot_learning.contract import RobotContract, Task
from robot_learning.errors import ConfigError, RobotLearningError
from robot_learning.evaluation.evaluation_pool import EvaluationPool
from robot_learning.evaluation.layouts import LayoutChoice, evaluation_layouts, read_layouts
from robot_learning.evaluation.navigation import (
    DriveResult,
    NavigationResult,
    PolicyFactory,
    WorldFactory,
)
from robot_learning.evaluation.nsca_names import SUITES as NSCA_SUITES
from robot_learning.model_files import ModelFileRules
from robot_learning.model_store import ModelStore, parse_reference
from robot_learning.serving.version_checks import Served, load_version
from robot_learning.simulation.tasks import TASKS, build_task

_EXAMPLES = """examples:
  ./run evaluate --model navigator                     the version that serves, 100 layouts
  ./run evaluate --model navigator@12 --baselines      beside scripted drivers
  ./run evaluate --model navigator@12 --layouts my_layouts.json --json score.json
  ./run evaluate --model navigator --task waypoint_course        four goals in a row
  ./run evaluate --model navigator --data runs/latest/episodes   against recorded actions
  ./run evaluate --model dreamt --data held_out --pictures runs/dreamt   imagined futures
  ./run evaluate --mode dreamer --model dreamt --data held_out --json score.json   all of it
  ./run evaluate --model cart                          a version of train --env, in its environment
  ./run evaluate --model neural_policy --data synthetic          labels that are right
  ./run evaluate --mode intent --model intent --data commands.jsonl --json score.json
  ./run evaluate --mode code --model code --data records.json    {input, output, category}
  ./run evaluate --mode meta --model dynamics --data robots      after adapting to 5 s of each
With --mode everything that applies is measured: recorded actions where --data is given, its own
task, and the waypoint course.
LAYOUTS is a JSON list of seeds or of {"seed": 1, "start": [x, y, yaw], "goal": [x, y]}."""

_COURSE = 'waypoint_course'
_MODES = {
    'world_model': ('world_model',),
    'sac': ('policy',),
    'ppo': ('policy',),
    'dreamer': ('dreamer',),
    'behavior_cloning': ('supervised',),
    'sequence_cloning': ('supervised',),
    **{phase: (loop.mode,) for loop in OWN_LOOPS for phase in loop.phases},
}


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse_args(argv)
    try:
        with StopRequests() as stop:
            result = evaluate(options, stop)
        if options.json:
            write_json(options.json, result)
            print(f'written to {options.json}')
    except RobotLearningError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('evaluate: interrupted, nothing was written.', file=sys.stderr)
        return 130
    return 0


def evaluate(options: argparse.Namespace, stop: StopRequests) -> dict[str, Any]:
    """Score what the options name, print a table, and return everything as plain data."""
    models = options.models or default_models()
    name, version = parse_reference(options.model)
    rules = ModelFileRules(options.require_signature, options.trusted_keys)
    store = ModelStore(models, rules)
    if version is None:
        version = store.serving(name)
    tensors, manifest = store.load(name, version)  # Names what is missing.
    version = int(manifest['version'])
    where = f'{name}@{version}'
    kind = (manifest.get('policy') or {}).get('kind')
    _check_mode(options.mode, manifest, where)
    result: dict[str, Any] = {
        'model': name,
        'version': version,
        'kind': kind,
        'phase': manifest.get('phase'),
        'provenance': manifest.get('provenance', {}),
        'machine': machine(),
    }
    environment = options.env or (environment_of(manifest) if options.robot is None else None)
    own_loop = loop_of_phase(manifest.get('phase'))
    if own_loop is not None:
        result[own_loop.key] = own_loop.evaluate(Version(tensors, manifest, where, options))
    elif environment is not None:
        result['environment'] = evaluate_environment(
            tensors, manifest, where, environment, options.episodes
        )
    else:
        contract = _contract(options.robot, manifest, where)
        if options.task is not None:
            contract = with_task(contract, options.task)
        result |= {
            'robot': contract.robot,
            'task': None if contract.task is None else contract.task.name,
            'contract_hash': contract.hash,
        }
        if kind == 'world_model':
            result['open_loop'] = evaluate_world_model(
                tensors,
                manifest,
                contract,
                where,
                Version(tensors, manifest, where, options).data('a world model'),
                options.horizon,
                options.pictures,
            )
        else:
            served = load_version(store, name, version, contract)  # Refuses what must not drive.
            if options.data:
                result['offline'] = evaluate_offline(
                    options.data, tensors, manifest, served.policy, contract
                )
            result |= _drives(options, stop, contract, served, models, rules)
    return result


def _drives(
    options: argparse.Namespace,
    stop: StopRequests,
    contract: RobotContract,
    served: Served,
    models: Path,
    rules: ModelFileRules,
) -> dict[str, Any]:
    """Let a version drive what the options ask for: with --mode all that its robot can do."""
    is_everything = options.mode is not None and contract.task is not None
    tasks = {}
    if options.layouts or not options.data or is_everything:
        tasks['navigation'] = contract
    if is_everything and options.task is None and not options.layouts:
        tasks[_COURSE] = with_task(contract, _COURSE)
    found: dict[str, Any] = {}
    where, images = f'{served.model}@{served.version}', tuple(served.policy.spec.image_shapes())
    for key, task in tasks.items():
        make_policy = stored_policy_factory(task, models, served.model, served.version, rules)
        factories = {where: make_policy}
        if options.baselines:
            factories |= {baseline: baseline_factory(baseline) for baseline in BASELINES}
        world = world_factory(task, images)
        scores = _navigate(factories, world, _layouts(options), options.workers, stop)
        print_scores(scores)
        found[key] = scores[0].to_dict()
        baselines = [score.to_dict() for score in scores[1:]]
        found |= {'baselines' if key == 'navigation' else f'{key}_baselines': baselines}
    return found


def _check_mode(mode: str | None, manifest: dict[str, Any], where: str) -> None:
    """Refuse a version that is not what --mode says.

    Raises:
        ConfigError: names what it is.
    """
    kind, phase = (manifest.get('policy') or {}).get('kind'), manifest.get('phase')
    if kind == 'world_model':
        fitting: tuple[str, ...] = ('world_model',)
    else:
        fitting = _MODES.get(str(phase), ('policy', 'dreamer', 'supervised'))
    if mode is not None and mode not in fitting:
        raise ConfigError(
            f'{where}: is a {kind} of phase {phase}, expected one of --mode {mode}. Write '
            f'--mode {fitting[0]}, leave it out or name another version.'
        )


def with_task(contract: RobotContract, name: str) -> RobotContract:
    """Return the contract with a task of the simulation at its defaults, unless it has it.

    The time limit is per goal: a course of four gets four times the contract's.
    """
    if contract.task is not None and contract.task.name == name:
        return contract
    limit_s = None if contract.task is None else contract.task.time_limit_s
    changed = dataclasses.replace(contract, task=Task(name))
    num_goals = max(1, len(build_task(changed).course))
    task = Task(name, time_limit_s=None if limit_s is None else limit_s * num_goals)
    return dataclasses.replace(contract, task=task)


def default_models() -> Path:
    """Return the models of the last demo run if there is one, else runs/models."""
    latest = Path('runs/latest/models')
    return latest if latest.is_dir() else Path('runs/models')


def print_scores(scores: Sequence[NavigationResult], console: Console | None = None) -> None:
    """Print one row per policy."""
    table = Table(box=box.SIMPLE)
    table.add_column('policy')
    columns = ('success', '95 %', 'collisions', 'time-outs', 'path efficiency', 'cross-track')
    for column in columns:
        table.add_column(column, justify='right')
    for score in scores:
        low, high = score.interval
        table.add_row(
            score.name,
            f'{100 * score.success_rate:.0f} %',
            f'{100 * low:.0f}–{100 * high:.0f} %',
            f'{100 * score.rate_of("collision"):.0f} %',
            f'{100 * score.rate_of("time_limit"):.0f} %',
            f'{score.path_efficiency:.3f}',
            f'{score.cross_track_error_m:.3f} m',
        )
    (console or Console()).print(table)


def _navigate(
    factories: dict[str, PolicyFactory],
    make_world: WorldFactory,
    layouts: Sequence[LayoutChoice],
    num_workers: int,
    stop: StopRequests,
) -> list[NavigationResult]:
    scores = []
    with (
        EvaluationPool(make_world, num_workers) as pool,
        EvaluationProgress(list(factories), len(layouts)) as progress,
    ):
        for name, make_policy in factories.items():

            def on_drive(result: DriveResult, name: str = name) -> None:
                stop.check()
                progress.advance(name, result.success)

            scores.append(pool.evaluate(name, make_policy, layouts, on_drive))
            progress.finish(name, scores[-1].success_rate)
    return scores


def _contract(robot: str | None, manifest: dict[str, Any], where: str) -> RobotContract:
    if robot is not None:
        return contracts.load(robot)
    data = manifest.get('contract')
    if not data:
        raise ConfigError(f'{where}: its manifest holds no contract. Name one with --robot.')
    return contracts.from_dict(data, f'{where}: contract')


def _layouts(options: argparse.Namespace) -> list[LayoutChoice]:
    if options.layouts is None:
        return evaluation_layouts(options.episodes)
    return read_layouts(options.layouts)[: options.episodes]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='./run evaluate',
        description='Score a model version on data it has not seen.',
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--model',
        required=True,
        metavar='NAME[@VERSION]',
        help='what to score; by default the version that serves',
    )
    parser.add_argument(
        '--models', type=Path, metavar='DIR', help='model store (default: that of the last demo)'
    )
    parser.add_argument(
        '--mode',
        choices=('world_model', 'policy', 'dreamer', 'supervised', *modes()),
        help='what the version must be; measure everything that applies to it',
    )
    parser.add_argument(
        '--env', metavar='NAME', help='let it act there (default: where train --env taught it)'
    )
    parser.add_argument('--robot', help="contract (default: the model's own)")
    parser.add_argument(
        '--task', choices=sorted(TASKS), help="what to drive (default: the contract's own task)"
    )
    parser.add_argument('--layouts', type=Path, metavar='FILE', help='JSON list of layouts')
    parser.add_argument(
        '--episodes',
        type=whole_number(1),
        default=100,
        help='layouts to drive at most, or episodes of --env (default: 100)',
    )
    parser.add_argument(
        '--baselines', action='store_true', help='score scripted drivers on the same layouts'
    )
    parser.add_argument(
        '--data',
        type=Path,
        action='append',
        default=[],
        metavar='PATH',
        help='store, HDF5 file or bag: compare with its actions (without --mode, instead of '
        'driving); may be repeated',
    )
    parser.add_argument(
        '--horizon',
        type=whole_number(1),
        metavar='STEPS',
        help='of a world model: steps to imagine (default: 50, fewer for short episodes)',
    )
    parser.add_argument(
        '--pictures',
        type=Path,
        metavar='DIR',
        help='draw there: a world model PNG and GIF, an intent model its confusions',
    )
    parser.add_argument(
        '--suite',
        choices=('all', *NSCA_SUITES),
        default='all',
        help='of --mode nsca: what to measure (default: everything that applies)',
    )
    parser.add_argument(
        '--workers',
        type=whole_number(1),
        default=min(2, len(os.sched_getaffinity(0))),
        help='processes that drive (default: 2, or 1 on one core)',
    )
    parser.add_argument(
        '--require-signature',
        action='store_true',
        help='refuse the version unless a trusted key signed it, see "./run models trust"',
    )
    parser.add_argument(
        '--trusted-keys', type=Path, metavar='FILE', help="list of trusted keys (the user's)"
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write everything there')
    return parser


if __name__ == '__main__':
    sys.exit(main())
