"""The embedded world with a commander in it, for commands that find none running."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT

from robot_learning.commands.child_process import ChildProcess

START_S = 90.0  # Until its commander answers, at most.
_END_S = 15.0


def add_arguments(parser: argparse.ArgumentParser, out: Path) -> None:
    """Add what shapes the world; its log goes into a folder below `out`."""
    world = parser.add_argument_group('the embedded world, where no commander runs')
    world.add_argument('--seed', type=int, default=0, help='of the layout (default: 0)')
    world.add_argument('--models', type=Path, default=Path('runs/models'), help='model store')
    world.add_argument('--out', type=Path, default=out, help='for its log')


@contextmanager
def embedded_world(options: argparse.Namespace, more: Sequence[str] = ()) -> Iterator[Path]:
    """Start world, policy node and commander; yield the file with what they write.

    Args:
        options: of `add_arguments`.
        more: further arguments of `up`.
    """
    folder = options.out / time.strftime('%Y%m%d-%H%M%S')
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / 'log.txt'
    print(f'No commander runs: starting the embedded world ({log}).', flush=True)
    arguments = ['--launch-file', 'commands', '--models', str(options.models)]
    arguments += ['--seed', str(options.seed), *more]
    with log.open('w') as file:

        def write(name: str, line: str) -> None:
            file.write(f'{line}\n')
            file.flush()

        command = [sys.executable, '-m', 'robot_learning.commands.up', *arguments]
        child = ChildProcess('up', command, {}, write)
        try:
            yield log
        finally:
            child.signal(SIGINT)
            child.wait(_END_S)
