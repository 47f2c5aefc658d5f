"""Checks this machine, or the running system, and says what to do about what it finds."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from robot_learning.commands import live_doctor, machine_checks
from robot_learning.commands.argument_types import number_above
from robot_learning.commands.machine_checks import Finding
from robot_learning.errors import RobotLearningError, StoreError

_EXAMPLES = """examples:
  ./run doctor
  ./run doctor --json findings.json
  ./run doctor --live                 what is wrong with the running system, and what to do
  ./run doctor --live --seconds 10 --json
With --live the exit code is 0 when all is well, 1 when something is wrong, 2 when nothing of ours
is running."""
_TERMINAL = '-'
_MARKS = {'ok': 'ok    ', 'note': 'note  ', 'failed': 'FAILED'}


def main(argv: list[str] | None = None) -> int:
    """Run the command.

    Returns:
        0 when all is well, 1 when something essential fails or the running system has something
        wrong, 2 when it could not be looked at.
    """
    options = _parser().parse_args(argv)
    try:
        report = _live(options) if options.live else _machine(options)
        _write(options.json, report)
    except RobotLearningError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0 if report['ok'] else 1


def _machine(options: argparse.Namespace) -> dict[str, Any]:
    findings: list[Finding] = []
    for check in machine_checks.ALL:
        finding = check()
        findings.append(finding)
        if options.json != _TERMINAL:
            print(describe(finding), flush=True)
    failed = [finding.name for finding in findings if finding.status == 'failed']
    if options.json != _TERMINAL:
        print(f'failed: {", ".join(failed)}' if failed else 'This machine is ready.')
    return {'ok': not failed, 'findings': [finding._asdict() for finding in findings]}


def _live(options: argparse.Namespace) -> dict[str, Any]:
    system, findings = live_doctor.examine(options.seconds, options.robot)
    if options.json != _TERMINAL:
        live_doctor.show(system, findings)
    return live_doctor.report(system, findings)


def _write(where: str | None, report: dict[str, Any]) -> None:
    if where == _TERMINAL:
        print(json.dumps(report, indent=2))
    elif where is not None:
        try:
            Path(where).write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
        except OSError as error:
            raise StoreError(
                f'--json {where}: cannot be written ({error.strerror}). '
                f'Name a file in a folder that exists.'
            ) from error


def describe(finding: Finding) -> str:
    """Write a finding for people: one line, and one more with what to do."""
    line = f'{_MARKS[finding.status]} {finding.name}: {finding.found}'
    return f'{line}\n       -> {finding.to_do}' if finding.to_do else line


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='./run doctor',
        description='Check versions, compiler, rendering, DDS discovery, disk and shared memory; '
        'or, with --live, the system that is running.',
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--live', action='store_true', help='listen to the running system')
    parser.add_argument(
        '--seconds', type=number_above(0), default=5.0, help='how long --live listens (5)'
    )
    parser.add_argument('--robot', help='contract for --live (default: the one the nodes name)')
    parser.add_argument(
        '--json',
        nargs='?',
        const=_TERMINAL,
        metavar='FILE',
        help='write the findings there too; without FILE: print them as JSON instead',
    )
    return parser


if __name__ == '__main__':
    sys.exit(main())
