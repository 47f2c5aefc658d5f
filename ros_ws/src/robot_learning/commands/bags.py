"""Turns recorded bags into episodes, shows what bags hold and recovers cut ones."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table

from robot_learning import contract
from robot_learning.errors import RobotLearningError, StoreError
from robot_learning.trajectory.bag import ImportReport, bag_info, import_bag
from robot_learning.trajectory.bag_recovery import recover_bag
from robot_learning.trajectory.recorder import RecorderConfig
from robot_learning.trajectory.store import TrajectoryStore

_EXAMPLES = """examples:
  ./run bags info PATH/TO/BAG                        topics, types, rates
  ./run bags import PATH/TO/BAG --robot husky        episodes into runs/store
  ./run bags import a.mcap --robot pioneer --out runs/logs/store --json report.json
  ./run bags recover PATH/TO/CUT --out PATH/TO/SOUND
  ./run train --mode supervised --data runs/store --robot husky
A bag is a folder with metadata.yaml, or one .mcap, .db3 or .bag (ROS 1) file."""

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


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code: 1 if a bag gave no step."""
    options = _parser().parse_args(argv)
    try:
        return _ACTIONS[options.action](options)
    except RobotLearningError as error:
        print(error, file=sys.stderr)
        return 2


def _import(options: argparse.Namespace) -> int:
    robot = contract.load(options.robot)
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
        _write_json(options.json, report.to_dict())
    return 0 if report.num_steps else 1


def _info(options: argparse.Namespace) -> int:
    info = bag_info(options.bag)
    if options.json:
        print(json.dumps(info, indent=2))
        return 0
    table = Table(box=box.SIMPLE, title=f'{info["bag"]}: {info["duration_s"]:.1f} s')
    for column in ('topic', 'type', 'messages', 'rate (Hz)', ''):
        table.add_column(
            column, justify='right' if column[:1] in ('m', 'r') else 'left', overflow='fold'
        )
    for topic in info['topics']:
        table.add_row(
            topic['topic'],
            topic['type'],
            str(topic['messages']),
            f'{topic["rate_hz"]:.1f}',
            '' if topic['known'] else 'unknown type',
        )
    _console().print(table)
    return 0


def _recover(options: argparse.Namespace) -> int:
    console = _console()
    for file in recover_bag(options.bag, options.out):
        state = 'whole' if file.is_whole else 'cut off or damaged'
        console.print(
            f'{file.path}: {file.messages} messages, {state}', markup=False, highlight=False
        )
    console.print(f'sound bag in {options.out}', markup=False, highlight=False)
    return 0


def _show_report(report: ImportReport, elapsed_s: float) -> None:
    console = _console()
    console.print(_topic_table(report))
    reasons: dict[str, list[str]] = {}
    for topic in report.topics:
        if topic.status == 'skipped':
            reasons.setdefault(topic.reason, []).append(topic.topic)
    for reason, topics in reasons.items():
        console.print(f'skipped ({reason}): {", ".join(topics)}', markup=False, highlight=False)
    for warning in report.warnings:
        console.print(f'warning: {warning}', markup=False, highlight=False)
    for text, counts in (
        ('steps with a gap', report.gaps),
        ('steps not recorded for want of', report.missing),
        ('episodes ended by', report.endings),
    ):
        if counts:
            listed = ', '.join(f'{name} {count}' for name, count in counts.items())
            console.print(f'{text}: {listed}', markup=False, highlight=False)
    console.print(
        f'kept {report.num_steps} steps in {len(report.episodes)} episodes of '
        f'{report.duration_s:.1f} s (actions: {report.actions_from}) in {elapsed_s:.1f} s',
        highlight=False,
    )
    if report.segments:
        console.print(f'session {Path(report.segments[0]).parent}', markup=False, highlight=False)


def _console() -> Console:
    """Return a console that does not squeeze tables into 80 columns when nobody looks."""
    return Console(width=None if sys.stdout.isatty() else 140)


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


def _write_json(path: Path, content: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')
    except OSError as error:
        raise StoreError(
            f'{path}: cannot be written ({error.strerror}). Choose another file for --json.'
        ) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='bags',
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest='action', required=True)
    into = actions.add_parser('import', help='turn a bag into episodes')
    into.add_argument('bag', type=Path, help='folder of the bag, or one file')
    into.add_argument('--robot', required=True, help='contract: a name or a YAML file')
    into.add_argument('--out', type=Path, default=Path('runs/store'), help='store of episodes')
    into.add_argument('--session', help="name in the store; default: the bag's")
    into.add_argument('--namespace', default='', help="of the robot's topics in the bag")
    into.add_argument(
        '--actions-from',
        choices=('policy', 'commands', 'derived'),
        help='default: what the bag holds, in this order',
    )
    into.add_argument('--json', type=Path, metavar='FILE', help='write the report there')
    info = actions.add_parser('info', help='show what a bag holds')
    info.add_argument('bag', type=Path, help='folder of the bag, or one file')
    info.add_argument('--json', action='store_true', help='print JSON')
    recover = actions.add_parser('recover', help='save what a killed recorder left in MCAP files')
    recover.add_argument('bag', type=Path, help='an .mcap file, or a folder with some')
    recover.add_argument('--out', type=Path, required=True, help='folder of the new bag')
    return parser


_ACTIONS: dict[str, Callable[[argparse.Namespace], int]] = {
    'import': _import,
    'info': _info,
    'recover': _recover,
}


if __name__ == '__main__':
    sys.exit(main())
