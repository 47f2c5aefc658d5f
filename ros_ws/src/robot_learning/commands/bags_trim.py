"""Cuts a piece out of a bag."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from robot_learning.commands.argument_types import number_above
from robot_learning.commands.report_output import print_line
from robot_learning.errors import ConfigError
from robot_learning.trajectory.bags.bag_trim import trim_bag
from robot_learning.trajectory.bags.bag_writer import BagWriterConfig


def add_parser(actions: Any) -> None:
    """Add `bags trim` to the sub-commands."""
    parser = actions.add_parser('trim', help='cut a piece out of a bag, message by message')
    parser.add_argument('bag', type=Path, help='folder of the bag, or one .mcap or .db3 file')
    parser.add_argument('--out', type=Path, required=True, help='folder of the new bag')
    parser.add_argument(
        '--start', type=float, metavar='S', help="seconds after the bag's beginning"
    )
    parser.add_argument('--end', type=float, metavar='S', help='likewise, default: the end')
    parser.add_argument(
        '--last', type=number_above(0.0), metavar='S', help='only the last seconds'
    )
    parser.add_argument('--topics', nargs='+', metavar='TOPIC', help='only these')
    parser.add_argument('--zstd', action='store_true', help='compress the new bag')
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Trim one bag."""
    if options.last is not None and (options.start is not None or options.end is not None):
        raise ConfigError('--last: found together with --start or --end. Give one or the other.')
    wanted = set(options.topics or ())
    trimmed = trim_bag(
        options.bag,
        options.out,
        options.start or 0.0,
        options.end,
        options.last,
        (lambda topic: topic in wanted) if wanted else (lambda topic: True),
        BagWriterConfig(compression='zstd' if options.zstd else ''),
    )
    for topic, count in trimmed.messages.items():
        old = trimmed.latched.get(topic)
        print_line(f'{topic}: {count} messages' + (f', {old} latched before the cut' * bool(old)))
    print_line(
        f'{sum(trimmed.messages.values())} messages of {trimmed.duration_s:.3f} s in '
        f'{trimmed.target}'
    )
    return 0
