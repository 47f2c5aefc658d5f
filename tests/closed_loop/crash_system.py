"""The whole system as `./run up` starts it, made to be killed: who runs, and what is left."""

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

_MARK = 'ROBOT_LEARNING_CRASH_RUN'  # In the environment of every process that belongs to it.
_STARTED = re.compile(r'up: (\w+): started, process (\d+)')
SUPERVISOR = 'supervisor'
_FIRST_PORT, _PORTS_PER_DOMAIN = 7400, 250  # RTPS 2.5, section 9.6.2.3.


class System:
    """`up` in a process of its own, started again and again in the same directories.

    Args:
        folder: gets `output`, `store`, `models`, `bags` and the checkpoints.
        domain_id: of all its processes.
        arguments: further options of `up`.
    """

    def __init__(self, folder: Path, domain_id: int, arguments: list[str]):
        self.folder = folder
        self.mark = uuid.uuid4().hex
        self._domain_id = domain_id
        self._arguments = arguments
        self._up: subprocess.Popen[bytes] | None = None

    @property
    def output(self) -> str:
        """Return everything that was written so far."""
        path = self.folder / 'output'
        return path.read_text(errors='replace') if path.exists() else ''

    @property
    def is_up(self) -> bool:
        """Whether the supervisor runs."""
        return self._up is not None and self._up.poll() is None

    def start(self) -> None:
        """Start the supervisor, which starts all others."""
        command = [sys.executable, '-m', 'robot_learning.commands.up', *self._arguments]
        command += ['--store', str(self.folder / 'store')]
        command += ['--models', str(self.folder / 'models')]
        command += ['--bag', str(self.folder / 'bags' / 'bag')]
        environment = {**os.environ, 'ROS_DOMAIN_ID': str(self._domain_id), _MARK: self.mark}
        with (self.folder / 'output').open('a') as output:
            self._up = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=environment
            )

    def pids(self, name: str) -> list[int]:
        """Return the process ids that a process of the table had, the newest last."""
        return [int(pid) for found, pid in _STARTED.findall(self.output) if found == name]

    def kill(self, name: str) -> int:
        """Kill -9 a process by its name in the table, or the supervisor; return its id."""
        if name == SUPERVISOR:
            assert self._up is not None, 'it was started'
            self._up.kill()
            self._up.wait()
            return self._up.pid
        pid = self.pids(name)[-1]
        os.kill(pid, signal.SIGKILL)
        return pid

    def processes(self) -> list[int]:
        """Return the ids of all processes that belong to the run, wherever they hang."""
        return [pid for pid, environment in _environments() if self._is_mine(environment)]

    def shared_memory(self) -> set[str]:
        """Return the names of the shared memory that is its processes' own.

        Ports below 7400 belong to all domains of the machine.
        """
        names = {name for pid in self.processes() for name in _mapped_names(pid)}
        first = _FIRST_PORT + _PORTS_PER_DOMAIN * self._domain_id
        own_ports = {f'fastrtps_port{first + i}' for i in range(_PORTS_PER_DOMAIN)}
        names = {name for name in names if 'port' not in name or name in own_ports}
        return names - _mapped_names(os.getpid())

    def stop(self, timeout_s: float) -> int:
        """End everything as Ctrl-C does; return the exit code."""
        assert self._up is not None, 'it was started'
        self._up.send_signal(signal.SIGINT)
        try:
            return self._up.wait(timeout_s)
        finally:
            self.close()

    def close(self) -> None:
        """Make sure that nothing runs on, whatever happened before."""
        if self.is_up:
            self._up.kill()
            self._up.wait()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)

    def _is_mine(self, environment: bytes) -> bool:
        return f'{_MARK}={self.mark}'.encode() in environment.split(b'\0')


def wait_until(predicate: Callable[[], bool], what: str, timeout_s: float, system: System) -> None:
    """Wait until `predicate` holds.

    Raises:
        AssertionError: it does not in time, or the system has ended; the text says what it
            said last.
    """
    end_s = time.monotonic() + timeout_s
    while not predicate():
        if time.monotonic() > end_s or not system.is_up:
            state = f'not within {timeout_s:g} s' if system.is_up else 'everything has ended'
            tail = '\n'.join(system.output.splitlines()[-40:])
            raise AssertionError(f'{what}: {state}\n{tail}')
        time.sleep(0.02)


def _environments() -> Iterator[tuple[int, bytes]]:
    for entry in Path('/proc').iterdir():
        if entry.name.isdigit():
            try:
                yield int(entry.name), (entry / 'environ').read_bytes()
            except OSError:  # It has ended, or belongs to somebody else.
                continue


def _mapped_names(pid: int) -> set[str]:
    try:
        lines = Path(f'/proc/{pid}/maps').read_text(errors='replace').splitlines()
    except OSError:
        return set()
    return {Path(line.split()[5]).name for line in lines if '/dev/shm/fastrtps' in line}
