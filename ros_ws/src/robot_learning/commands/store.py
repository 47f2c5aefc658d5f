"""Checks trajectory stores and makes damaged ones sound."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich import box
from rich.table import Table

from robot_learning.commands.report_output import console, print_line
from robot_learning.errors import RobotLearningError
from robot_learning.trajectory.store_checks import StoreCheck, check_store, require_store
from robot_learning.trajectory.store_repair import StoreRepair, repair_store

_EXAMPLES = """examples:
  ./run store verify runs/store              every segment, and what is missing between them
  ./run store verify runs/store --deep       every value too
  ./run store repair runs/store              set damaged segments aside, save their sound pieces
  ./run store repair runs/store --out sound  leave the store as it is, write a sound copy
Exit code: 0 all is sound; 1 something is wrong (verify) or was lost or is left (repair);
2 it could not be done. A repair deletes nothing: what is damaged goes to SESSION/damaged."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse_args(argv)
    try:
        return _verify(options) if options.action == 'verify' else _repair(options)
    except RobotLearningError as error:
        print(error, file=sys.stderr)
        return 2


def _verify(options: argparse.Namespace) -> int:
    require_store(options.store)
    check = check_store(options.store, options.deep)
    if options.json:
        print(json.dumps(check.to_dict(), indent=2))
    else:
        _show_check(check)
    return 1 if check.problems else 0


def _show_check(check: StoreCheck) -> None:
    table = Table(box=box.SIMPLE, title=str(check.root))
    table.add_column('session', overflow='fold')
    for column in ('segments', 'episodes', 'steps', 'MB', 'problems'):
        table.add_column(column, justify='right')
    for session in check.sessions:
        row = session.to_dict()
        table.add_row(
            f'{session.name}{" (being written)" if session.is_being_written else ""}',
            *(str(row[key]) for key in ('segments', 'episodes', 'steps')),
            f'{row["bytes"] / 1e6:.1f}',
            str(len(session.problems)),
        )
    console().print(table)
    for problem in check.problems:
        print_line(problem.text)
    for session in check.sessions:
        for note in session.notes:
            print_line(f'note: {session.name}: {note}')
    for note in check.notes:
        print_line(f'note: {note}')
    print_line('all is sound' if not check.problems else f'{len(check.problems)} problems')


def _repair(options: argparse.Namespace) -> int:
    repair = repair_store(options.store, options.out)
    if options.json:
        print(json.dumps(repair.to_dict(), indent=2))
    else:
        _show_repair(repair)
    is_whole = not any(s.lost_segments or s.lost_steps for s in repair.sessions)
    return 0 if repair.is_sound and is_whole else 1


def _show_repair(repair: StoreRepair) -> None:
    for session in repair.sessions:
        for text in session.done:
            print_line(f'{session.name}: {text}')
        for number in session.lost_segments:
            print_line(f'{session.name}: nothing of segment {number} could be saved')
        for hole in session.lost_steps:
            print_line(f'{session.name}: {hole}')
        for text in session.left:
            print_line(f'still wrong: {text}')
    if not any(session.done for session in repair.sessions):
        print_line('there was nothing to repair')
    print_line(f'{repair.root}: {"is sound" if repair.is_sound else "is not sound"}')


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='./run store',
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest='action', required=True)
    verify = actions.add_parser('verify', help='read everything, name what is wrong')
    verify.add_argument('--deep', action='store_true', help='also read every observation')
    repair = actions.add_parser('repair', help='make a store sound; say what is lost')
    repair.add_argument('--out', type=Path, metavar='NEW', help='repair a copy, there')
    for action in (verify, repair):
        action.add_argument('store', type=Path, help='folder with sessions')
        action.add_argument('--json', action='store_true', help='print JSON')
    return parser


if __name__ == '__main__':
    sys.exit(main())
