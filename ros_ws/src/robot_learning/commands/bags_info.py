"""Shows what a bag holds, also one that is being written."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from robot_learning.commands.report_output import console, print_line
from robot_learning.trajectory.bags.bag_summary import BROKEN_OFF, COMPLETE, summarise

_COUNTS = ('received', 'written', 'dropped', 'paused', 'expired', 'lost')
_ALWAYS = ('received', 'written', 'dropped', 'lost')


def add_parser(actions: Any) -> None:
    """Add `bags info` to the sub-commands."""
    parser = actions.add_parser('info', help='show what a bag holds, and what was lost')
    parser.add_argument('bag', type=Path, help='folder of the bag, or one file')
    parser.add_argument('--json', action='store_true', help='print JSON')
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Show one bag."""
    info = summarise(options.bag)
    if options.json:
        print(json.dumps(info, indent=2))
        return 0
    console().print(_table(info))
    for topic, reason in info.get('skipped', {}).items():
        print_line(f'not recorded: {topic}: {reason}')
    if info.get('problem'):
        print_line(f'while recording: {info["problem"]}')
    if info['state'] != COMPLETE:
        files = ', '.join(Path(file).name for file in info['open_files'])
        print_line(f'{info["state"]}: {files} has no end yet; shown is what is in it.')
    if info['state'] == BROKEN_OFF:
        print_line(f'Make a sound bag with "bags recover {options.bag} --out FOLDER".')
    return 0


def _table(info: dict[str, Any]) -> Table:
    counts: dict[str, dict[str, Any]] = info.get('counts', {})
    shown = [
        name
        for name in _COUNTS
        if counts and (name in _ALWAYS or any(c[name] for c in counts.values()))
    ]
    title = f'{info["bag"]}: {info["duration_s"]:.1f} s, {info["messages"]} messages'
    table = Table(box=box.SIMPLE, title=f'{title}, {info["state"]}')
    for column in ('topic', 'type', ''):
        table.add_column(column, overflow='fold')
    for column in ('messages', 'rate (Hz)', *shown):
        table.add_column(column, justify='right')
    for topic in info['topics']:
        own = counts.get(topic['topic'], {})
        table.add_row(
            topic['topic'],
            topic['type'],
            '' if topic['known'] else 'unknown type',
            str(topic['messages']),
            f'{topic["rate_hz"]:.1f}',
            *[_text(own[name]) if own else '' for name in shown],
        )
    return table


def _text(count: int | None) -> str:
    return 'unknown' if count is None else str(count)
