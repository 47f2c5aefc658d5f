"""Checks this machine and says what to do about what it finds: `./run doctor`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from robot_learning.commands import machine_checks
from robot_learning.commands.machine_checks import Finding

_MARKS = {'ok': 'ok    ', 'note': 'note  ', 'failed': 'FAILED'}


def main(argv: list[str] | None = None) -> int:
    """Run the command; return 1 when something essential fails."""
    parser = argparse.ArgumentParser(
        prog='./run doctor',
        description='Check versions, compiler, rendering, DDS discovery, disk and shared memory.',
        epilog='examples:\n  ./run doctor\n  ./run doctor --json findings.json',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the findings there too')
    options = parser.parse_args(argv)

    findings: list[Finding] = []
    for check in machine_checks.ALL:
        finding = check()
        findings.append(finding)
        print(describe(finding), flush=True)
    failed = [finding.name for finding in findings if finding.status == 'failed']
    print(f'failed: {", ".join(failed)}' if failed else 'This machine is ready.')
    if options.json is not None:
        report = {'ok': not failed, 'findings': [finding._asdict() for finding in findings]}
        try:
            options.json.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
        except OSError as error:
            print(
                f'--json {options.json}: cannot be written ({error.strerror}). '
                f'Name a file in a folder that exists.',
                file=sys.stderr,
            )
            return 2
    return 1 if failed else 0


def describe(finding: Finding) -> str:
    """Write a finding for people: one line, and one more with what to do."""
    line = f'{_MARKS[finding.status]} {finding.name}: {finding.found}'
    return f'{line}\n       -> {finding.to_do}' if finding.to_do else line


if __name__ == '__main__':
    sys.exit(main())
