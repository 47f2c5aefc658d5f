"""Shows what a bag holds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from robot_learning.commands.report_output import console
from robot_learning.trajectory.bag import bag_info


def add_parser(actions: Any) -> None:
    """Add `bags info` to the sub-commands."""
    parser = actions.add_parser('info', help='show what a bag holds')
    parser.add_argument('bag', type=Path, help='folder of the bag, or one file')
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Show one bag."""
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
    console().print(table)
    return 0
