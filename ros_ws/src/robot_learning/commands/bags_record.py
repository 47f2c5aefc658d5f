"""Records topics as a bag until Ctrl-C, without a robot contract if need be."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from rich import box
from rich.live import Live
from rich.table import Table

from robot_learning import config, contract
from robot_learning.commands.argument_types import number_above
from robot_learning.commands.report_output import console, print_line
from robot_learning.commands.stop_requests import StopRequests
from robot_learning.errors import ConfigError, StoreError
from robot_learning.trajectory.bags.bag_writer import BagWriterConfig

if TYPE_CHECKING:
    from robot_learning.nodes.bag_recording import BagRecording
    from robot_learning.nodes.foreground_recording import ForegroundRecording

_TURN_S = 0.1
_QUIET_PERIOD_S = 10.0  # Between two lines when nobody looks.


def add_parser(actions: Any) -> None:
    """Add `bags record` to the sub-commands."""
    parser = actions.add_parser(
        'record',
        help='record topics until Ctrl-C',
        description='Records topics of any type as they are. Choose by name, --all, --regex or '
        '--robot. With --ring only the last seconds are kept, in memory, and written as a bag '
        'at each SIGUSR1 and each call of the service bag_recorder/snapshot.',
    )
    parser.add_argument('topics', nargs='*', metavar='TOPIC', help='topics to record')
    parser.add_argument('--all', action='store_true', help='all topics that are not hidden')
    parser.add_argument('--regex', default='', help='topics in whose name this is found')
    parser.add_argument('--exclude', default='', metavar='REGEX', help='never these')
    parser.add_argument('--robot', help='also those of a contract: a name or a YAML file')
    parser.add_argument(
        '--out', type=Path, help='folder of the bag, or of the snapshots; default: bags/TIME'
    )
    parser.add_argument(
        '--max-size', type=number_above(0.0), metavar='MB', help='of a file; default: 268'
    )
    parser.add_argument(
        '--max-duration', type=number_above(0.0), metavar='S', help='of a file; default: 60'
    )
    parser.add_argument('--zstd', action='store_true', help='compress')
    parser.add_argument(
        '--ring', type=number_above(0.0), metavar='S', default=0.0, help='keep the last seconds'
    )
    parser.add_argument(
        '--ring-size', type=number_above(0.0), metavar='MB', help='at most; default: 536'
    )
    parser.add_argument(
        '--stop-after', type=number_above(0.0), metavar='S', help='end without Ctrl-C'
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Record one bag; return 1 if something that was received is not in it."""
    if not (options.topics or options.all or options.regex or options.robot):
        raise ConfigError(
            'bags record: found no topics to record. Name some, or give --all, --regex or --robot.'
        )
    with (
        StopRequests() as stop,
        _SnapshotRequests() as snapshots,
        _make_recording(options) as foreground,
    ):
        bag = foreground.recording
        print_line(f'records into {bag.path}; Ctrl-C ends it')
        _follow(foreground, stop, snapshots, options.stop_after)
    console().print(_summary(bag))
    for topic, reason in bag.skipped.items():
        print_line(f'not recorded: {topic}: {reason}')
    size = f'{bag.num_bytes / 1e6:.1f} MB'
    print_line(f'{size} were in the ring buffer' if bag.is_ring else f'{size} in {bag.path}')
    dropped = sum(counts.dropped for counts in bag.counts().values())
    if not (dropped or bag.error):
        return 0
    reason = bag.last_error or f'{bag.path}: the disk was too slow. Record less, or use --zstd.'
    print(f'{dropped} messages are not in the bag. {reason}', file=sys.stderr)
    return 1


class _SnapshotRequests:
    """Counts SIGUSR1 while it is entered."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> _SnapshotRequests:
        self._previous = signal.signal(signal.SIGUSR1, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGUSR1, self._previous)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.count += 1


def _make_recording(options: argparse.Namespace) -> ForegroundRecording:
    # The other actions need no ROS, whose import takes half a second.
    from robot_learning.nodes.bag_recorder_node import default_folder, recorded_topics
    from robot_learning.nodes.foreground_recording import ForegroundRecording
    from robot_learning.nodes.topic_choice import TopicChoice
    from robot_learning.trajectory.bags.bag_ring import RingConfig

    writer: dict[str, Any] = {'compression': 'zstd' if options.zstd else ''}
    if options.max_size is not None:
        writer['max_file_bytes'] = round(options.max_size * 1e6)
    if options.max_duration is not None:
        writer['max_file_s'] = options.max_duration
    ring: dict[str, Any] = {'seconds': options.ring}
    if options.ring_size is not None:
        ring['max_bytes'] = round(options.ring_size * 1e6)
    choice = {
        'names': options.topics,
        'all_topics': options.all,
        'regex': options.regex,
        'exclude': options.exclude,
    }
    return ForegroundRecording(
        options.out or default_folder(Path()),
        config.from_mapping(BagWriterConfig, writer, 'bags record'),
        config.from_mapping(RingConfig, ring, 'bags record'),
        recorded_topics(contract.load(options.robot)) if options.robot else {},
        config.from_mapping(TopicChoice, choice, 'bags record'),
    )


def _follow(
    foreground: ForegroundRecording,
    stop: StopRequests,
    snapshots: _SnapshotRequests,
    stop_after_s: float | None,
) -> None:
    """Show how it goes until somebody asks to stop."""
    bag, began_s, num_taken = foreground.recording, time.monotonic(), 0
    is_watched = sys.stdout.isatty()
    shown_s = began_s
    with Live(console=console(), refresh_per_second=4) if is_watched else nullcontext() as live:
        while not stop.is_requested:
            foreground.turn(_TURN_S)
            now_s = time.monotonic()
            if stop_after_s is not None and now_s - began_s >= stop_after_s:
                return
            if snapshots.count > num_taken:
                num_taken += 1
                _take_snapshot(bag)
            if live is not None:
                live.update(_line(bag, now_s - began_s))
            elif now_s - shown_s >= _QUIET_PERIOD_S:
                shown_s = now_s
                print_line(_line(bag, now_s - began_s))


def _take_snapshot(bag: BagRecording) -> None:
    try:
        print_line(f'snapshot {bag.snapshot()}')
    except StoreError as error:
        print(error, file=sys.stderr)


def _line(bag: BagRecording, elapsed_s: float) -> str:
    counts = bag.counts().values()
    dropped = sum(c.dropped for c in counts)
    lost = sum(c.lost or 0 for c in counts)
    return (
        f'{elapsed_s:.0f} s  {bag.num_topics} topics  '
        f'{sum(c.received for c in counts)} messages  {bag.num_bytes / 1e6:.1f} MB  '
        f'{dropped} dropped  {lost} lost{"  paused" if bag.is_paused else ""}  {bag.error}'
    )


def _summary(bag: BagRecording) -> Table:
    counts = bag.counts()
    columns = ['received', 'written', 'dropped', 'lost']
    columns += [n for n in ('paused', 'expired') if any(getattr(c, n) for c in counts.values())]
    table = Table(box=box.SIMPLE)
    table.add_column('topic', overflow='fold')
    for column in columns:
        table.add_column(column, justify='right')
    for topic, own in sorted(counts.items()):
        cells = [getattr(own, column) for column in columns]
        table.add_row(topic, *['unknown' if cell is None else str(cell) for cell in cells])
    return table
