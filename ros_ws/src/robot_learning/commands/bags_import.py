"""Turns a bag or a data set of others into episodes of the trajectory store."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from rich import box
from rich.console import JustifyMethod
from rich.table import Table

from robot_learning import contract
from robot_learning.commands.progress import steps_progress
from robot_learning.commands.report_output import console, print_line, write_json
from robot_learning.contract import RobotContract
from robot_learning.errors import ConfigError
from robot_learning.trajectory.bags.bag import ImportReport, import_bag
from robot_learning.trajectory.formats import importing
from robot_learning.trajectory.recorder import RecorderConfig
from robot_learning.trajectory.store import TrajectoryStore

_SHOWN = (  # Of a topic's counts, in this order, where any topic has one.
    'used',
    'unneeded',
    'stale',
    'duplicates',
    'non_finite',
    'refused',
    'overflow',
    'out_of_order',
    'late',
    'dropped',
    'unaccounted',
)


def add_parser(actions: Any) -> None:
    """Add `bags import` to the sub-commands."""
    parser = actions.add_parser('import', help='turn a bag or a data set into episodes')
    parser.add_argument('bag', type=Path, help='folder of the bag or data set, or one file')
    parser.add_argument('--robot', required=True, help='contract: a name or a YAML file')
    parser.add_argument('--out', type=Path, default=Path('runs/store'), help='store of episodes')
    parser.add_argument('--session', help="name in the store; default: the bag's")
    parser.add_argument(
        '--format', choices=('auto', 'bag', *importing.FORMATS), default='auto', help='of the data'
    )
    parser.add_argument(
        '--map',
        action='append',
        default=[],
        metavar='THEIRS=OURS',
        help='field of a data set that the contract calls otherwise; THEIRS[0:3] for components',
    )
    parser.add_argument('--namespace', default='', help="of the robot's topics in the bag")
    parser.add_argument(
        '--actions-from',
        choices=('policy', 'commands', 'derived'),
        help='default: what the bag holds, in this order',
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the report there')
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Import one bag or data set; return 1 if it gave no step."""
    robot = contract.load(options.robot)
    found = importing.detect(options.bag) or 'bag'
    kind = found if options.format == 'auto' else options.format
    return _import_bag(options, robot) if kind == 'bag' else _import(options, robot, kind)


def _import(options: argparse.Namespace, robot: RobotContract, kind: str) -> int:
    """Import a data set."""
    if options.namespace or options.actions_from:
        raise ConfigError(
            f'{options.bag}: is a data set ({kind}), which has no --namespace and no '
            f'--actions-from. Leave them out.'
        )
    began_s = time.monotonic()
    with steps_progress(None, 'steps imported') as advance:
        report = importing.import_dataset(
            options.bag,
            kind,
            robot,
            TrajectoryStore(options.out),
            options.session,
            options.map,
            advance,
        )
    for text in report.assumptions:
        print_line(f'assumed: {text}')
    print_line(
        f'kept {report.num_steps} steps in {report.num_episodes} episodes of {kind} in '
        f'{time.monotonic() - began_s:.1f} s'
    )
    for session in report.sessions:
        print_line(f'session {options.out / session}')
    if options.json is not None:
        write_json(options.json, report.to_dict())
    return 0


def _import_bag(options: argparse.Namespace, robot: RobotContract) -> int:
    """Import a bag; return 1 if it gave no step."""
    if options.map:
        raise ConfigError(
            f'{options.bag}: is a bag, whose topics the contract names; --map is for data sets. '
            f'Leave it out.'
        )
    began_s = time.monotonic()
    config = None
    if options.actions_from is not None:
        config = RecorderConfig(actions_from=options.actions_from)
    report = import_bag(
        options.bag,
        robot,
        TrajectoryStore(options.out),
        options.session,
        config,
        options.namespace,
    )
    _show_report(report, time.monotonic() - began_s)
    if options.json is not None:
        write_json(options.json, report.to_dict())
    return 0 if report.num_steps else 1


def _show_report(report: ImportReport, elapsed_s: float) -> None:
    console().print(_topic_table(report))
    reasons: dict[str, list[str]] = {}
    for topic in report.topics:
        if topic.status == 'skipped':
            reasons.setdefault(topic.reason, []).append(topic.topic)
    for reason, topics in reasons.items():
        print_line(f'skipped ({reason}): {", ".join(topics)}')
    for warning in report.warnings:
        print_line(f'warning: {warning}')
    for text, counts in (
        ('steps with a gap', report.gaps),
        ('steps not recorded for want of', report.missing),
        ('episodes ended by', report.endings),
    ):
        if counts:
            listed = ', '.join(f'{name} {count}' for name, count in counts.items())
            print_line(f'{text}: {listed}')
    print_line(
        f'kept {report.num_steps} steps in {len(report.episodes)} episodes of '
        f'{report.duration_s:.1f} s (actions: {report.actions_from}) in {elapsed_s:.1f} s'
    )
    if report.segments:
        print_line(f'session {Path(report.segments[0]).parent}')


def _topic_table(report: ImportReport) -> Table:
    shown = [name for name in _SHOWN if any(topic.counts.get(name) for topic in report.topics)]
    if 'unaccounted' not in shown:
        shown.append('unaccounted')  # A promise worth showing.
    table = Table(box=box.SIMPLE, title=f'{report.bag} as {report.robot}')
    for column in ('topic', 'status', 'messages', *shown):
        justify: JustifyMethod = 'left' if column in ('topic', 'status') else 'right'
        table.add_column(column, justify=justify, overflow='fold')
    for topic in report.topics:
        counts = [str(topic.counts.get(name, '')) for name in shown]
        table.add_row(topic.topic, topic.status, str(topic.messages), *counts)
    return table
