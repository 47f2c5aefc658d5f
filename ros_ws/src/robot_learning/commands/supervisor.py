"""Starts a set of processes, restarts what may be restarted, and ends everything it started."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple

from robot_learning.commands import guardian, quiet_start
from robot_learning.commands.child_process import ChildProcess, OnOutput
from robot_learning.commands.resolved_process import ResolvedProcess, Restart
from robot_learning.commands.restarts import RestartLimits, Restarts
from robot_learning.errors import EnvironmentSetupError

_NUM_LINES_IN_REPORT = 5
# Fast DDS could not lock its port in shared memory, which somebody tried at that very moment; what
# others on this machine send there is lost from then on.
DEAF_LINE = re.compile(r'RTPS_TRANSPORT_SHM.*Failed init_port')


@dataclass(frozen=True)
class Command:
    """One process to run and what its end means.

    `restart`: 'never', 'on_failure' (any exit code but 0 and 2) or 'always'. `essential`: when it
    ends for good, `Supervisor.failure` or `Supervisor.finished` says so.
    """

    name: str
    arguments: tuple[str, ...]
    restart: Restart = 'never'
    essential: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    nice: int = 0  # How readily it yields the processor, 0 to 19.
    deaf_by: re.Pattern[str] | None = None  # A line that says that it hears nobody any more.


@dataclass(frozen=True)
class Limits(RestartLimits):
    """How patient a supervisor is. All in seconds but `max_restarts`."""

    stagger_s: float = 1.0  # How long stopping waits for one process before the next.
    interrupt_s: float = 10.0  # From the last SIGINT to SIGTERM; the guardian's patience too.
    terminate_s: float = 5.0  # From SIGTERM to SIGKILL.


class Event(NamedTuple):
    """Something that happened to a process, with a sentence for people."""

    process: str
    kind: Literal['started', 'ended', 'restarting', 'gave_up', 'signalled']
    text: str


class Supervisor:
    """Runs commands as child processes, each in a process group of its own.

    Typical use, from one thread that lives as long as the children::

        with Supervisor(commands) as supervisor:      # start() on entry, stop() on exit
            while not supervisor.is_over:
                for event in supervisor.poll():
                    print(event.text)
                time.sleep(0.1)

    However the caller ends, nothing stays behind: `stop` escalates from SIGINT over SIGTERM to
    SIGKILL, and when the caller itself is killed, children get SIGTERM from the kernel and a
    small guardian process ends those that do not listen.
    """

    def __init__(
        self,
        commands: Sequence[Command],
        on_output: OnOutput | None = None,
        on_event: Callable[[Event], None] | None = None,
        limits: Limits | None = None,
    ):
        """Prepare; nothing is started yet.

        Args:
            commands: in the order in which they are started and stopped; names are unique.
            on_output: called with (process name, line) from reader threads; None prints
                `[name] line`.
            on_event: called with every event as it happens, also while stopping.
            limits: patience; None takes the defaults.
        """
        self.failure = ''  # Why an essential process ended for good; '' as long as all is well.
        self.finished = False  # An essential process ended by itself with exit code 0.
        self._limits = limits or Limits()
        self._slots = {command.name: _Slot(command, self._limits) for command in commands}
        self._print = on_output or print_prefixed
        self._on_event = on_event
        self._guardian: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start every command in order.

        Raises:
            EnvironmentSetupError: a program cannot be started; those before it are stopped.
        """
        self._start_guardian()
        try:
            for slot in self._slots.values():
                self._launch(slot)
        except BaseException:
            self.stop()
            raise

    def poll(self) -> list[Event]:
        """Notice ends and make the restarts that are due. Call it about every 0.1 s."""
        events = []
        now = time.monotonic()
        if self._guardian is not None and self._guardian.poll() is not None:
            self._start_guardian()  # Somebody killed it.
        for slot in self._slots.values():
            if slot.child is not None and slot.is_deaf:
                slot.is_deaf = False
                text = 'could not set up its shared memory and would hear nobody, gets SIGKILL'
                events.append(self._emit(slot.command.name, 'signalled', text))
                slot.child.signal(signal.SIGKILL)
            if slot.child is not None and (code := slot.child.poll()) is not None:
                events += self._on_end(slot, slot.child, code, now)
            elif slot.restart_at is not None and now >= slot.restart_at:
                events.append(self._launch(slot))
        return events

    @property
    def is_over(self) -> bool:
        """Whether an essential process ended for good, or nothing runs or will run any more."""
        idle = all(s.child is None and s.restart_at is None for s in self._slots.values())
        return bool(self.failure) or self.finished or idle

    def pid(self, name: str) -> int | None:
        """Return the process id of a running process, None when it does not run."""
        child = self._slots[name].child
        return None if child is None else child.pid

    def num_restarts(self, name: str) -> int:
        """Return how often a process was started again."""
        return max(0, self._slots[name].num_starts - 1)

    def end(self, name: str) -> int | None:
        """Stop one process for good, politely; return its exit code, None if it did not run."""
        slot = self._slots[name]
        slot.restart_at = None
        child = slot.child
        if child is None:
            return slot.exit_code
        self._interrupt([slot], lambda: False)
        return slot.exit_code

    def stop(self, hurry: Callable[[], bool] | None = None) -> dict[str, int | None]:
        """End everything: SIGINT in order, then SIGTERM, then SIGKILL. May be called twice.

        Args:
            hurry: asked while waiting; True skips the waiting (a second Ctrl-C).

        Returns:
            The last exit code of each process, None for one that never ran.
        """
        for slot in self._slots.values():
            slot.restart_at = None
        running = [slot for slot in self._slots.values() if slot.child is not None]
        self._interrupt(running, hurry or (lambda: False))
        if self._guardian is not None:
            self._guardian.communicate()  # Closes its input; nothing is watched any more.
            self._guardian = None
        return {name: slot.exit_code for name, slot in self._slots.items()}

    def __enter__(self) -> Supervisor:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _launch(self, slot: _Slot) -> Event:
        command = slot.command
        slot.restart_at, slot.is_deaf = None, False
        try:
            slot.child = ChildProcess(
                command.name,
                command.arguments,
                command.environment,
                self._on_output,
                command.nice,
            )
        except OSError as error:
            raise EnvironmentSetupError(
                f'{command.name}: {command.arguments[0]} cannot be started '
                f'({error.strerror}). Prepare again with ./run doctor.'
            ) from error
        slot.num_starts += 1
        self._tell_guardian('watch', slot.child.pid)
        return self._emit(command.name, 'started', f'started, process {slot.child.pid}')

    def _on_output(self, name: str, line: str) -> None:
        """Pass a line of output on; on the thread of its reader."""
        slot = self._slots[name]
        if slot.command.deaf_by is not None and slot.command.deaf_by.search(line):
            slot.is_deaf = True
        self._print(name, line)

    def _on_end(self, slot: _Slot, child: ChildProcess, code: int, now: float) -> list[Event]:
        command = slot.command
        self._release(slot, child, code)
        events = [self._emit(command.name, 'ended', f'ended {describe_exit(code)}')]
        may_restart = slot.restarts.is_due(code)
        if may_restart:
            delay_s = slot.restarts.delay_s(now)
            if delay_s is not None:
                slot.restart_at = now + delay_s
                text = f'starts again in {delay_s:g} s'
                return [*events, self._emit(command.name, 'restarting', text)]
            events.append(self._emit(command.name, 'gave_up', self._give_up_text(slot, child)))
        if command.essential and code == 0 and not may_restart:
            self.finished = True
        elif command.essential:
            self.failure = self.failure or f'{command.name} ended {describe_exit(code)}'
        return events

    def _give_up_text(self, slot: _Slot, child: ChildProcess) -> str:
        last = '\n    '.join(list(child.last_lines)[-_NUM_LINES_IN_REPORT:])
        number = slot.restarts.num_failures
        return (
            f'ended {number} times within {self._limits.window_s:g} s and is not '
            f'started again. Its last lines, which should say what to correct:\n    {last}'
        )

    def _interrupt(self, slots: list[_Slot], hurry: Callable[[], bool]) -> None:
        """Send SIGINT in order, then escalate for those that stay."""
        limits = self._limits
        for slot in slots:
            if slot.child is not None:
                slot.child.signal(signal.SIGINT)
                self._await([slot], limits.stagger_s, hurry)
        self._await(slots, limits.interrupt_s, hurry)
        steps = ((signal.SIGTERM, limits.terminate_s), (signal.SIGKILL, limits.terminate_s))
        for number, patience_s in steps:
            for slot in slots:
                if slot.child is not None:
                    name = slot.command.name
                    self._emit(name, 'signalled', f'did not end, gets {number.name}')
                    slot.child.signal(number)
            self._await(slots, patience_s, lambda: False)

    def _await(self, slots: list[_Slot], timeout_s: float, hurry: Callable[[], bool]) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            for slot in slots:
                if slot.child is not None and (code := slot.child.poll()) is not None:
                    self._release(slot, slot.child, code)
                    self._emit(slot.command.name, 'ended', f'ended {describe_exit(code)}')
            is_done = all(slot.child is None for slot in slots)
            if is_done or hurry() or time.monotonic() >= deadline:
                return
            time.sleep(0.02)

    def _release(self, slot: _Slot, child: ChildProcess, code: int) -> None:
        slot.child = None
        slot.exit_code = code
        self._tell_guardian('forget', child.pid)

    def _start_guardian(self) -> None:
        program, patience = str(Path(guardian.__file__)), str(self._limits.interrupt_s)
        self._guardian = subprocess.Popen(
            [sys.executable, '-I', '-S', program, patience],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for slot in self._slots.values():
            if slot.child is not None:
                self._tell_guardian('watch', slot.child.pid)

    def _tell_guardian(self, verb: str, group: int) -> None:
        if self._guardian is None or self._guardian.stdin is None:
            return
        try:
            self._guardian.stdin.write(f'{verb} {group}\n')
            self._guardian.stdin.flush()
        except BrokenPipeError:  # Somebody killed it.
            self._guardian.wait()
            self._start_guardian()

    def _emit(
        self,
        process: str,
        kind: Literal['started', 'ended', 'restarting', 'gave_up', 'signalled'],
        text: str,
    ) -> Event:
        event = Event(process, kind, f'{process}: {text}')
        if self._on_event is not None:
            self._on_event(event)
        return event


class _Slot:
    """A command, its running child if any, and its history."""

    def __init__(self, command: Command, limits: RestartLimits):
        self.command = command
        self.restarts = Restarts(command.restart, limits)
        self.child: ChildProcess | None = None
        self.exit_code: int | None = None
        self.restart_at: float | None = None  # Monotonic seconds.
        self.num_starts = 0
        self.is_deaf = False  # It said so, see `Command.deaf_by`.


def ros_command(process: ResolvedProcess) -> Command:
    """Turn an entry of the process table into a command, as `ros2 run` would.

    Raises:
        EnvironmentSetupError: the executable is in no workspace that is sourced.
    """
    program = find_executable(process.executable)
    return Command(
        name=process.name,
        # Through the interpreter: a script's first line cannot hold a path with spaces.
        arguments=(
            sys.executable,
            str(Path(quiet_start.__file__)),
            str(program),
            *process.ros_arguments(),
        ),
        restart=process.restart,
        essential=process.essential,
        environment=process.environment,
        nice=process.nice,
        deaf_by=DEAF_LINE,
    )


def find_executable(name: str) -> Path:
    """Find an executable of this package in the sourced workspaces."""
    prefixes = [p for p in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if p]
    for prefix in prefixes:
        path = Path(prefix) / 'lib' / 'robot_learning' / name
        if path.is_file():
            return path
    raise EnvironmentSetupError(
        f'{name}: not found under lib/robot_learning of AMENT_PREFIX_PATH '
        f'({", ".join(prefixes) or "empty"}). Start through ./run, or build with colcon and '
        f'source install/setup.bash.'
    )


def print_prefixed(name: str, line: str) -> None:
    """Write one line of a process to standard output, marked with its name."""
    sys.stdout.write(f'[{name}] {line}\n')
    sys.stdout.flush()


def describe_exit(code: int) -> str:
    """Say how a process ended: 'with exit code 1', 'by SIGKILL'."""
    if code >= 0:
        return f'with exit code {code}'
    try:
        return f'by {signal.Signals(-code).name}'
    except ValueError:
        return f'by signal {-code}'
