"""Makes a damaged bag (kill -9, full disk, torn copy) sound and says what is missing."""

from __future__ import annotations

import argparse
import datetime
import json
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from robot_learning.commands.report_output import console, print_line
from robot_learning.trajectory.bags.bag_recovery import Recovery, recover_bag
from robot_learning.trajectory.bags.salvage import FileReport, TimeHole

_SHOWN = 10  # Damaged ranges and holes per file that are listed; JSON has all of them.


def add_parser(actions: Any) -> None:
    """Add `bags recover` to the sub-commands."""
    parser = actions.add_parser(
        'recover',
        help='make a damaged bag sound; say what is missing',
        description=__doc__,
        epilog='Exit code: 0 nothing was lost, 1 something was, 2 nothing could be saved. The '
        'damaged bag is not changed.',
    )
    parser.add_argument('bag', type=Path, help='an .mcap or .db3 file, or a folder with some')
    parser.add_argument('--out', type=Path, required=True, help='folder of the new bag')
    parser.add_argument('--zstd', action='store_true', help='compress the new bag')
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Recover one bag; return 1 if something of it is missing."""
    recovery = recover_bag(options.bag, options.out, 'zstd' if options.zstd else '')
    if options.json:
        print(json.dumps(recovery.to_dict(), indent=2))
    else:
        _show(recovery)
    return 0 if recovery.is_sound else 1


def _show(recovery: Recovery) -> None:
    console().print(_topic_table(recovery))
    for file in recovery.files:
        _show_file(file)
    for name in recovery.missing_files:
        print_line(f'{name}: is missing')
    for note in recovery.notes:
        print_line(f'note: {note}')
    text = 'nothing is missing' if recovery.is_sound else 'what is missing stands above'
    print_line(f'sound bag in {recovery.target}: {recovery.saved.total()} messages, {text}')


def _topic_table(recovery: Recovery) -> Table:
    table = Table(box=box.SIMPLE, title=str(recovery.source))
    table.add_column('topic', overflow='fold')
    table.add_column('saved', justify='right')
    table.add_column('known to be lost', justify='right')
    for topic in sorted(recovery.saved | recovery.lost):
        lost = recovery.lost[topic]
        table.add_row(topic, str(recovery.saved[topic]), str(lost) if lost else '')
    return table


def _show_file(file: FileReport) -> None:
    state = 'whole' if file.is_sound else 'cut off or damaged'
    read = file.size - min(file.size, file.unreadable_bytes)
    print_line(
        f'{file.path}: {file.num_saved} messages, {state}; {read} of {file.size} bytes are sound'
    )
    for part in file.unreadable[:_SHOWN]:
        print_line(f'  bytes {part.start} to {part.stop}: {part.reason}')
    for hole in file.holes[:_SHOWN]:
        print_line(f'  messages may be missing {_span(hole)}')
    for text in (*file.left_out, *file.notes):
        print_line(f'  {text}')
    if file.unchecked:
        print_line(f'  {file.unchecked} messages have no checksum: read as they stand there')


def _span(hole: TimeHole) -> str:
    begin = 'from the start' if hole.from_ns is None else f'from {_moment(hole.from_ns)}'
    return f'{begin} on' if hole.to_ns is None else f'{begin} to {_moment(hole.to_ns)}'


def _moment(stamp_ns: int) -> str:
    """Write a stamp as seconds, and as a date where it is one."""
    seconds = f'{stamp_ns / 1e9:.3f} s'
    if not 1e18 <= stamp_ns < 1e19:
        return seconds
    moment = datetime.datetime.fromtimestamp(stamp_ns / 1e9, datetime.timezone.utc)
    return f'{seconds} ({moment:%Y-%m-%d %H:%M:%S} UTC)'
