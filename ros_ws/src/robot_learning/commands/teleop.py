"""Drives a robot from the keys of a terminal, through the action gate: `./run teleop`."""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator

from robot_learning import contract as contracts
from robot_learning.commands.stop_requests import StopRequests
from robot_learning.commands.teleop_keys import (
    HELP,
    KeyDriver,
    KeyReader,
    Request,
    Speeds,
    Wanted,
)
from robot_learning.contract import RobotContract
from robot_learning.errors import ContractError, RobotLearningError
from robot_learning.nodes.teleop_link import TeleopLink

_PERIOD_S = 0.05  # Between commands while the person drives.
_NARROW = '\x1b[?7l', '\x1b[?7h'  # The status line must not wrap.


def main(argv: list[str] | None = None) -> int:
    """Run the command; return 2 when it cannot."""
    parser = argparse.ArgumentParser(
        prog='./run teleop',
        description='Take a robot over from the policy with the keyboard. Commands pass the '
        "action gate, and the steps are marked as a person's in the recording.",
        epilog=f'keys:\n{HELP}\n\nexamples:\n  ./run teleop\n'
        '  ./run teleop --robot turtlebot3 --namespace robot1',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--robot', default='arena', help='robot contract (default: %(default)s)')
    parser.add_argument('--namespace', default='', help='ROS namespace of its policy node')
    options = parser.parse_args(argv)
    try:
        speeds = speeds_of(contracts.load(options.robot))
    except RobotLearningError as error:
        print(error, file=sys.stderr)
        return 2
    if not sys.stdin.isatty():
        print('teleop: stdin is no terminal, expected one to read keys from.', file=sys.stderr)
        return 2
    print(HELP)
    with (
        TeleopLink(options.namespace) as link,
        StopRequests() as stop,
        single_keys(sys.stdin.fileno()) as keys,
    ):
        _drive(link, KeyDriver(speeds), keys, stop)
    return 0


def speeds_of(contract: RobotContract) -> Speeds:
    """Return the speeds that the contract allows.

    Raises:
        ContractError: the robot is not driven by linear.x and angular.z.
    """
    names = [name for spec in contract.learned_actions.values() for name in spec.components]
    if not {'linear.x', 'angular.z'} <= set(names):
        raise ContractError(
            f'{contract.robot}: actions are {names}, expected linear.x and angular.z among them. '
            f'Drive this robot with another teleoperation.'
        )
    forward, turn = names.index('linear.x'), names.index('angular.z')
    return Speeds(
        float(contract.action_high[forward]),
        max(0.0, -float(contract.action_low[forward])),
        float(contract.action_high[turn]),
    )


@contextlib.contextmanager
def single_keys(terminal: int) -> Iterator[int]:
    """Let keys arrive one by one and unseen; put the terminal back whatever happens."""
    before = termios.tcgetattr(terminal)
    suspend = signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # It would leave the terminal so.
    try:
        tty.setcbreak(terminal)
        sys.stdout.write(_NARROW[0])
        yield terminal
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTSTP, suspend)
        sys.stdout.write(f'{_NARROW[1]}\n')
        sys.stdout.flush()


def _drive(link: TeleopLink, driver: KeyDriver, terminal: int, stop: StopRequests) -> None:
    reader, was_driving = KeyReader(), False
    while not stop.is_requested:
        keys = _pressed(reader, terminal)
        now_s = time.monotonic()
        requests = [driver.press(key, now_s) for key in keys or ()]
        if keys is None or Request.QUIT in requests:
            break
        if Request.EMERGENCY_STOP in requests:
            link.press_emergency_stop()
        if Request.RELEASE in requests:
            link.release_emergency_stop()
        wanted = driver.wanted(now_s)
        if driver.is_driving or was_driving:  # One more behind the last: it is a stop.
            link.drive(*wanted)
        was_driving = driver.is_driving
        link.turn()
        _show(f'\r\x1b[K{_status(link, driver, wanted)}')
    if driver.is_driving:
        link.drive(0.0, 0.0)


def _pressed(reader: KeyReader, terminal: int) -> list[str] | None:
    """Wait up to a period for keys; None: the terminal is gone."""
    try:
        if not select.select([terminal], [], [], _PERIOD_S)[0]:
            return []
        data = os.read(terminal, 256)
    except OSError:
        return None
    return reader.keys(data) if data else None


def _show(text: str) -> None:
    """Write if it can be done at once: a connection that hangs must not stop the commands.

    The policy would take them for the end of the takeover.
    """
    if select.select([], [sys.stdout], [], 0.0)[1]:
        sys.stdout.write(text)
        sys.stdout.flush()


def _status(link: TeleopLink, driver: KeyDriver, wanted: Wanted) -> str:
    status = link.status
    if status is None:
        state = 'heard, no gate_status yet' if link.is_heard else 'no policy node listens'
    elif status.emergency_stopped:
        state = 'EMERGENCY STOP, R releases'
    elif status.intervention:
        state = 'you drive' if driver.is_driving else 'a person drives'
    else:
        state = 'taking over' if driver.is_driving else 'the policy drives'
    executed = '' if status is None else ' '.join(f'{v:.2f}' for v in status.last_executed)
    parts = [
        state,
        f'you want {wanted.linear:+.2f} m/s {wanted.angular:+.2f} rad/s at {driver.level:.0%}',
        f'the robot gets {executed}' if executed else '',
        link.answer,
    ]
    return ' | '.join(filter(None, parts))


if __name__ == '__main__':
    sys.exit(main())
