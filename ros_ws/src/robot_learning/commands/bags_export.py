"""Writes episodes of the trajectory store as a data set of another format, or as a bag."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

from robot_learning import config, contract
from robot_learning.commands.argument_types import number_above, whole_number
from robot_learning.commands.progress import steps_progress
from robot_learning.commands.report_output import print_line, write_json
from robot_learning.errors import ConfigError
from robot_learning.trajectory.formats.exporting import CONFIGS, FORMATS, Config, export
from robot_learning.trajectory.formats.report import ExportReport
from robot_learning.trajectory.formats.source import EpisodeSource


def add_parser(actions: Any) -> None:
    """Add `bags export` to the sub-commands."""
    parser = actions.add_parser('export', help='write episodes in a format of others')
    parser.add_argument('store', type=Path, help='trajectory store, a session or a segment')
    parser.add_argument('--format', required=True, choices=FORMATS)
    parser.add_argument(
        '--out', type=Path, required=True, help='new folder; for robomimic a file.hdf5'
    )
    parser.add_argument('--episodes', metavar='LIST', help='such as 0,3-5,10-; default: all')
    parser.add_argument('--robot', help="contract; default: the store's own")
    parser.add_argument(
        '--fps', type=number_above(0), help='lerobot: of the timestamps; default: control rate'
    )
    parser.add_argument('--task', help='lerobot: what the robot does, in words')
    parser.add_argument(
        '--images', choices=('video', 'png'), help='lerobot; default: video. png loses nothing'
    )
    parser.add_argument('--codec', choices=('auto', 'av1', 'h264'), help='lerobot; default: auto')
    parser.add_argument(
        '--crf',
        type=whole_number(0, 63),
        help='lerobot: 0 (fine) to 63 (coarse); default: 30 or 23',
    )
    parser.add_argument(
        '--normalize-actions',
        action='store_true',
        default=None,
        help='robomimic: to -1 .. 1 by the limits of the contract',
    )
    parser.add_argument(
        '--compress', action='store_true', default=None, help='npz: smaller and slower'
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the report there too')
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Export; return 0."""
    robot = contract.load(options.robot) if options.robot else None
    settings = _settings(options)
    source = EpisodeSource(options.store, robot, options.episodes)
    began_s = time.monotonic()
    with steps_progress(source.num_steps, 'steps exported') as advance:
        report = export(source, options.format, options.out, settings, advance)
    _show(report, time.monotonic() - began_s)
    if options.json is not None:
        write_json(options.json, report.to_dict())
    return 0


def _settings(options: argparse.Namespace) -> Config | None:
    """Fill the format's configuration; an option of another format is a mistake."""
    given: dict[str, Any] = {
        'fps': options.fps,
        'task': options.task,
        'use_videos': None if options.images is None else options.images == 'video',
        'codec': options.codec,
        'crf': options.crf,
        'normalize_actions': options.normalize_actions,
        'compress': options.compress,
    }
    given = {name: value for name, value in given.items() if value is not None}
    kind = CONFIGS[options.format]
    known = set() if kind is None else {field.name for field in dataclasses.fields(kind)}
    strange = ', '.join(_option(name) for name in given if name not in known)
    if strange:
        raise ConfigError(
            f'format {options.format}: has no {strange}. Leave it out, or choose the format '
            f'that has it.'
        )
    return None if kind is None else config.from_mapping(kind, given, 'export')


def _option(name: str) -> str:
    return '--images' if name == 'use_videos' else f'--{name.replace("_", "-")}'


def _show(report: ExportReport, elapsed_s: float) -> None:
    for text in report.skipped:
        print_line(f'not exported: {text}')
    if report.losses:
        print_line(f'What {report.format} does not hold:')
    for text in report.losses:
        print_line(f'  - {text}')
    megabytes = report.num_bytes / 1e6
    print_line(
        f'exported {report.num_steps} steps in {report.num_episodes} episodes, '
        f'{megabytes:.1f} MB in memory, in {elapsed_s:.1f} s to {report.path}'
    )
