"""The keyboard in a real terminal, against a real policy node."""

import contextlib
import io
import os
import pty
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest
from robot_learning import contract as contracts
from robot_learning.commands import teleop
from robot_learning.errors import ContractError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'nodes'))
from rover import (
    FULL_SPEED,
    STOPPED,
    Rover,
    policies,
    policy_node,
    publish_constant,
    wait_until,
    write_robot,
)


class Terminal:
    """A terminal with `./run teleop` in it."""

    def __init__(self, *arguments):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        command = [sys.executable, '-m', 'robot_learning.commands.teleop', *arguments]
        self.process = subprocess.Popen(
            command, stdin=self.slave, stdout=self.slave, stderr=self.slave
        )
        self.text = ''
        threading.Thread(target=self._read, daemon=True).start()

    def type(self, keys):
        os.write(self.master, keys.encode())

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(10.0)
        for end in (self.slave, self.master):
            os.close(end)

    def _read(self):
        with contextlib.suppress(OSError):
            while data := os.read(self.master, 4096):
                self.text += data.decode(errors='replace')


def test_a_person_drives_stops_presses_releases_and_hands_back(tmp_path):
    publish_constant(tmp_path / 'models')
    robot = write_robot(tmp_path)
    with (
        contextlib.closing(Rover('/keys')) as rover,
        policy_node('/keys', robot, tmp_path / 'models', status_rate_hz=20.0),
        rover.sensing(20),
        contextlib.closing(Terminal('--robot', str(robot), '--namespace', '/keys')) as terminal,
    ):

        def gets(command, what):
            wait_until(lambda: rover.commands and rover.commands[-1][2:] == command, what)

        gets(FULL_SPEED, 'the policy drives')
        wait_until(lambda: 'the policy drives' in terminal.text, 'the terminal hears the gate')
        terminal.type('\x1b[B')
        gets(pytest.approx((-0.05, 0.0), abs=1e-6), 'half of the speed backward')
        wait_until(lambda: rover.actions[-1].intervention, 'marked as a person')
        gets(STOPPED, 'the key was let go')
        wait_until(lambda: 'you drive' in terminal.text, 'the state')
        terminal.type('e')
        wait_until(lambda: rover.statuses[-1].emergency_stopped, 'emergency stop')
        wait_until(lambda: 'EMERGENCY STOP, R releases' in terminal.text, 'the state')
        terminal.type('R')
        wait_until(lambda: not rover.statuses[-1].emergency_stopped, 'release')
        wait_until(lambda: 'emergency stop released' in terminal.text, 'the answer')
        gets(STOPPED, 'still the person, who wants nothing')
        terminal.type('h')
        gets(FULL_SPEED, 'the policy drives again')
        terminal.type('q')
        assert terminal.process.wait(10.0) == 0
        assert termios.tcgetattr(terminal.slave) == terminal.before


@pytest.mark.parametrize('end', ['terminate', 'interrupt'])
def test_the_terminal_is_put_back_after_a_signal(end):
    with contextlib.closing(Terminal('--namespace', '/nobody')) as terminal:
        wait_until(lambda: 'no policy node listens' in terminal.text, 'the state')
        assert termios.tcgetattr(terminal.slave) != terminal.before
        if end == 'terminate':
            terminal.process.terminate()
        else:
            terminal.process.send_signal(2)
        assert terminal.process.wait(10.0) == 0
        assert termios.tcgetattr(terminal.slave) == terminal.before


def test_a_terminal_that_hangs_does_not_hold_up_the_commands(monkeypatch):
    master, slave = pty.openpty()  # Nobody reads what comes out of it.
    with os.fdopen(slave, 'w', encoding='utf-8') as output:
        monkeypatch.setattr(sys, 'stdout', output)
        has_written = threading.Event()

        def write():
            for _ in range(2000):
                teleop._show('x' * 170)
            has_written.set()

        threading.Thread(target=write, daemon=True).start()
        is_done = has_written.wait(10.0)
        os.close(master)  # Ends a write that hangs.
    assert is_done


def test_without_a_terminal_or_a_robot_it_says_so(capsys, monkeypatch):
    assert teleop.main(['--robot', 'nobody']) == 2
    assert "robot 'nobody'" in capsys.readouterr().err
    monkeypatch.setattr(sys, 'stdin', io.StringIO())
    assert teleop.main([]) == 2
    assert 'stdin is no terminal' in capsys.readouterr().err


def test_speeds_are_those_of_the_contract():
    assert teleop.speeds_of(policies.CONTRACT) == pytest.approx((0.5, 0.1, 1.5))
    arm = {**policies.ROBOT['actions']['base'], 'components': ['linear.y', 'angular.z']}
    other = contracts.from_dict({**policies.ROBOT, 'actions': {'base': arm}})
    with pytest.raises(ContractError, match=r'expected linear\.x and angular\.z'):
        teleop.speeds_of(other)
