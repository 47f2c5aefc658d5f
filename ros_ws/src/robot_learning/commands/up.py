"""Starts the processes of the system without ROS launch: `./run up`."""

from __future__ import annotations

import argparse
import sys
import threading
import time

from robot_learning.commands import argument_text, network, process_table, shared_memory
from robot_learning.commands.argument_text import Scalar
from robot_learning.commands.process_table import ProcessTable
from robot_learning.commands.restarts import USER_ERROR
from robot_learning.commands.stop_requests import StopRequests
from robot_learning.commands.supervisor import (
    Command,
    Event,
    Limits,
    Supervisor,
    ros_command,
)
from robot_learning.errors import RobotLearningError

_EXAMPLES = """examples:
  ./run up                                  simulator, policy, recorder and trainer
  ./run up --only simulator,policy          just these
  ./run up --mode real_time --speed 2       the world at twice the wall clock's pace
  ./run up --set simulator.seed=3           one parameter of one process
  ./run up --list                           what would be started, and how
  ./run up --only simulator,policy,recorder,replicator --replicate robot --network subnet
                                            learn on another machine; there:
  ./run up --only trainer,replicator --replicate learner --network subnet
With a full ROS 2 installation, `ros2 launch robot_learning bringup.launch.py` does the same."""

_METAVARS = {bool: 'true|false', int: 'INTEGER', float: 'NUMBER', str: 'TEXT'}
_COLORS = (36, 33, 32, 35, 34, 31)
_POLL_S = 0.1


def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    with StopRequests() as stop:  # From here on: reading settings may take a while.
        return _main(argv, stop)


def _main(argv: list[str] | None, stop: StopRequests) -> int:
    try:
        table = process_table.load()
        options = _parser(table).parse_args(argv)
        processes = process_table.resolve(
            table,
            options.launch_file,
            {name: getattr(options, name) for name in _given(table, options)},
            tuple(name for name in options.only.split(',') if name),
            _overrides(options.set),
        )
        commands = [ros_command(process) for process in processes]
        process_table.check(processes)
        if options.list:
            for command in commands:
                print(f'{command.name}: {" ".join(command.arguments)}')
            return 0
        print(
            'This is not ROS launch: it starts the same processes from config/system.yaml. '
            'Ctrl-C ends them all.',
            flush=True,
        )
        for text in {network.described(process.environment) for process in processes} - {''}:
            print(f'up: {text}', flush=True)
        return run(commands, stop)
    except RobotLearningError as error:
        print(error, file=sys.stderr)
        return 2


def run(commands: list[Command], stop: StopRequests, limits: Limits | None = None) -> int:
    """Supervise `commands` until a signal or an essential end; return an exit code.

    The code is 0 after a signal or a regular end, 2 when an essential process named a mistake of
    the user, 1 when processes failed otherwise.
    """
    shared_memory.remove_stale_files()
    output = _Output([command.name for command in commands])
    supervisor = Supervisor(commands, output.line, output.event, limits)
    try:
        if not stop.is_requested:
            supervisor.start()
        while not stop.is_requested and not supervisor.is_over:
            if any(event.kind == 'ended' for event in supervisor.poll()):
                shared_memory.remove_stale_files()
            time.sleep(_POLL_S)
        if stop.is_requested:
            output.note('ending all processes; once more to hurry')
        elif supervisor.failure:
            output.note(f'{supervisor.failure}; it is essential, so all processes end')
    finally:
        num_asked = min(stop.count, 1)  # Even if the second came already.
        exit_codes = supervisor.stop(hurry=lambda: stop.count > num_asked)
        shared_memory.remove_stale_files()
    output.note('all processes have ended')
    if supervisor.failure and USER_ERROR in exit_codes.values():
        return USER_ERROR
    has_failed = not num_asked and not supervisor.finished and any(exit_codes.values())
    return 1 if supervisor.failure or has_failed else 0


class _Output:
    """Writes whole lines, each marked with the process it comes from."""

    def __init__(self, names: list[str]):
        self._width = max((len(name) for name in names), default=0)
        self._colors = {name: _COLORS[i % len(_COLORS)] for i, name in enumerate(names)}
        self._lock = threading.Lock()

    def line(self, name: str, text: str) -> None:
        """Write one line of a process."""
        mark = f'[{name}]'.ljust(self._width + 2)
        if sys.stdout.isatty():
            mark = f'\033[{self._colors[name]}m{mark}\033[0m'
        self._write(f'{mark} {text}')

    def event(self, event: Event) -> None:
        """Write what happened to a process."""
        self.note(event.text)

    def note(self, text: str) -> None:
        """Write a line of our own."""
        self._write(f'up: {text}')

    def _write(self, line: str) -> None:
        with self._lock:
            try:
                sys.stdout.write(line + '\n')
                sys.stdout.flush()
            except (BrokenPipeError, OSError):  # Nobody reads any more; stopping still matters.
                return


def _parser(table: ProcessTable) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='./run up',
        description='Start the processes of config/system.yaml without ROS launch.',
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--launch-file',
        default='bringup',
        choices=process_table.LAUNCH_FILES,
        help='whose processes to start (default: bringup, all)',
    )
    parser.add_argument(
        '--only', default='', metavar='A,B', help='start just these processes of the table'
    )
    parser.add_argument(
        '--set',
        action='append',
        default=[],
        metavar='PROCESS.PARAMETER=VALUE',
        help='give one process a parameter; may be repeated',
    )
    parser.add_argument('--list', action='store_true', help='show the command lines and end')
    group = parser.add_argument_group('arguments of the process table')
    for name, spec in table.arguments.items():
        is_flag = isinstance(spec.default, bool)
        default = process_table.default_text(spec)
        group.add_argument(
            f'--{name.replace("_", "-")}',
            dest=name,
            nargs='?' if is_flag else None,
            const='true' if is_flag else None,
            choices=spec.choices,
            metavar=None if spec.choices else _METAVARS[type(spec.default)],
            help=f'{spec.description} (default: {default})',
        )
    return parser


def _given(table: ProcessTable, options: argparse.Namespace) -> list[str]:
    return [name for name in table.arguments if getattr(options, name) is not None]


def _overrides(texts: list[str]) -> dict[str, dict[str, Scalar]]:
    overrides: dict[str, dict[str, Scalar]] = {}
    for text in texts:
        process, parameter, value = argument_text.parse_override(text)
        overrides.setdefault(process, {})[parameter] = value
    return overrides


if __name__ == '__main__':
    sys.exit(main())
