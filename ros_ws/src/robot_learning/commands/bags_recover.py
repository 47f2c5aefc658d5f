"""Makes a sound bag of what a killed recorder left."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from robot_learning.commands.report_output import print_line
from robot_learning.trajectory.bag_recovery import recover_bag


def add_parser(actions: Any) -> None:
    """Add `bags recover` to the sub-commands."""
    parser = actions.add_parser('recover', help='save what a killed recorder left in MCAP files')
    parser.add_argument('bag', type=Path, help='an .mcap file, or a folder with some')
    parser.add_argument('--out', type=Path, required=True, help='folder of the new bag')
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Recover one bag."""
    for file in recover_bag(options.bag, options.out):
        state = 'whole' if file.is_whole else 'cut off or damaged'
        print_line(f'{file.path}: {file.messages} messages, {state}')
    print_line(f'sound bag in {options.out}')
    return 0
