"""The processes of one training: started here with --processes, or before by torchrun."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from robot_learning.commands.child_process import ChildProcess
from robot_learning.errors import ConfigError, ProcessError, TrainingError

if TYPE_CHECKING:
    import torch

    from robot_learning.phases.process_group import Place

_PATIENCE_S = 10.0  # For the others to end by themselves.


class Team(NamedTuple):
    """Which of the processes this is, and where it computes."""

    place: Place
    device: torch.device


def is_first() -> bool:
    """Whether this process speaks for all that were started with it."""
    return os.environ.get('RANK', '0') == '0'


def leave(code: int) -> None:
    """End this process at once with an exit code; for all but the first one.

    Not through the end of the interpreter: a thread of torch.distributed that wants its lock at
    that moment is ended inside C++, which aborts the process.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextlib.contextmanager
def team_of(options: argparse.Namespace) -> Iterator[Team]:
    """Start the others, unless they are there, and be one of them within the block.

    Args:
        options: of `train`; `arguments` are those that it was called with.

    Raises:
        ConfigError: there is no such device, or there are fewer processes than asked for.
        ProcessError: another process failed.
    """
    from robot_learning.phases.devices import device_named
    from robot_learning.phases.process_group import Place, joined, meeting_point, place_in

    place = place_in(os.environ)
    if place is not None and options.processes not in (1, place.size):
        raise ConfigError(
            f'--processes: found {options.processes}, and {place.size} were started already. '
            f'Leave it out with torchrun.'
        )
    is_ours = place is None and options.processes > 1
    if place is None:
        place = Place(0, options.processes, 0, options.processes)
    device = device_named(options.device, place.local_rank, place.local_size)
    if place.size == 1:
        yield Team(place, device)
    elif is_ours:
        with _started(options.arguments, place, device) as team:
            yield team
    else:
        with joined(meeting_point(os.environ), place, device):
            yield Team(place, device)


def refuse_team(options: argparse.Namespace, what: str) -> None:
    """Raise ConfigError where several processes, or a GPU, are asked for without a use."""
    from robot_learning.phases.process_group import place_in

    place = place_in(os.environ)
    if options.processes > 1 or (place is not None and place.size > 1):
        raise ConfigError(
            f'--processes: {what} learns in one process, expected 1. Leave it and torchrun out.'
        )
    if what != '--env' and options.device not in ('cpu', 'auto'):
        raise ConfigError(
            f'--device: found {options.device}, and {what} learns on the processor. Leave it out.'
        )


@contextlib.contextmanager
def _started(arguments: list[str], place: Place, device: torch.device) -> Iterator[Team]:
    from robot_learning.phases.process_group import joined, new_meeting_point

    store, environment = new_meeting_point(place.size)
    if Path('/sys/class/net/lo').exists():  # Nobody else needs to reach them.
        environment['GLOO_SOCKET_IFNAME'] = 'lo'
        os.environ.setdefault('GLOO_SOCKET_IFNAME', 'lo')
    command = [sys.executable, '-m', 'robot_learning.commands.train', *arguments]
    children = [
        ChildProcess(
            f'process {rank}',
            command,
            {**environment, 'RANK': str(rank), 'LOCAL_RANK': str(rank)},
            lambda name, line: None,
        )
        for rank in range(1, place.size)
    ]
    try:
        with joined(store, place, device, lambda: _check(children)):
            yield Team(place, device)
        _end(children)
        _check(children)
    except TrainingError:
        for child in children:
            child.wait(_PATIENCE_S)
        _check(children)  # If one failed, that is why.
        raise
    except BaseException:
        for child in children:
            child.signal(signal.SIGTERM)
        raise
    finally:
        _end(children)


def _check(children: list[ChildProcess]) -> None:
    """Raise ProcessError if one has failed."""
    from robot_learning.phases.process_group import LOST

    failed = [child for child in children if child.poll()]
    if failed:  # Those who only miss another say so, and are not the reason.
        child = min(failed, key=lambda child: any(LOST in line for line in child.last_lines))
        said = '\n'.join(child.last_lines) or 'Nothing.'
        raise ProcessError(
            f'{child.name}: ended with code {child.poll()}, expected to learn to the end. The '
            f'last version and checkpoint stay. It said:\n{said}'
        )


def _end(children: list[ChildProcess]) -> None:
    for child in children:
        if child.wait(_PATIENCE_S) is None:
            child.signal(signal.SIGKILL)
            child.wait(_PATIENCE_S)
