"""Runs the processes of the closed loop for a budget of time and watches them."""

from __future__ import annotations

import dataclasses
import os
import random
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from robot_learning import config
from robot_learning import contract as contracts
from robot_learning.commands import process_table, shared_memory
from robot_learning.commands.argument_text import Scalar
from robot_learning.commands.live_display import LiveDisplay
from robot_learning.commands.run_directory import RunDirectory, RunState, Session
from robot_learning.commands.stop_requests import StopRequests
from robot_learning.commands.supervisor import Command, Event, Limits, Supervisor, ros_command
from robot_learning.errors import EnvironmentSetupError, ProcessError
from robot_learning.evaluation.live_numbers import LiveNumbers
from robot_learning.nodes.monitor_node import Monitor
from robot_learning.trajectory.store import TrajectoryStore

MODEL_NAME = 'navigator'
PHASE = 'sac'

_POLL_S = 0.2
_SAVE_EVERY_S = 5.0
_STARTUP_LIMIT_S = 90.0
_STALL_AFTER_S = 30.0
_LAST_LINES = 15
_KEEP_VERSIONS = 100_000  # All: the success curve is measured when the driving is over.
# A recorder has its open episode to write, a trainer its checkpoint.
_LIMITS = Limits(stagger_s=3.0, interrupt_s=30.0)


@dataclass
class LoopOutcome:
    """How a session ended."""

    is_interrupted: bool
    notes: list[str] = field(default_factory=list)  # What a person should know.


class ProcessLogs:
    """Keeps the output of each process in a file and its last lines in memory."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._lock = threading.Lock()
        self._last: dict[str, deque[str]] = {}

    def line(self, process: str, text: str) -> None:
        """Keep one line; called from the supervisor's reader threads."""
        with self._lock:
            self._last.setdefault(process, deque(maxlen=_LAST_LINES)).append(text)
            with self.path(process).open('a', encoding='utf-8') as file:
                file.write(text + '\n')

    def path(self, process: str) -> Path:
        """Return where the output of a process is kept."""
        return self._folder / f'{process}.log'

    def tail(self, process: str, num_lines: int = _LAST_LINES) -> str:
        """Return the last lines of a process, indented."""
        with self._lock:
            lines = list(self._last.get(process, ()))[-num_lines:] or ['(it said nothing)']
            return '\n'.join(f'    {line}' for line in lines)


def drive_and_learn(
    run: RunDirectory, state: RunState, budget_s: float, stop: StopRequests
) -> LoopOutcome:
    """Run one session until the run's loop time reaches `budget_s` or somebody stops it.

    Every process is ended and has written what it holds when this returns or raises.

    Args:
        run: where everything goes.
        state: gets the session, saved as it grows.
        budget_s: loop time of all sessions together.
        stop: asked all the time; a second request hurries the end.

    Raises:
        ProcessError: an essential process ended for good or the robot never began to move.
    """
    session = Session(f'session_{len(state.sessions) + 1:02d}', free_domain_id())
    numbers = LiveNumbers(state.environment_steps, state.loop_seconds)
    state.sessions.append(session)
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    logs = ProcessLogs(run.logs)
    watch = _Watch(run, state, session, numbers, budget_s, logs)
    supervisor = Supervisor(loop_commands(run, state, session), logs.line, watch.on_event, _LIMITS)
    shared_memory.remove_stale_files()
    with Monitor(numbers, session.domain_id) as watch.monitor:
        try:
            supervisor.start()
            watch.until_over(supervisor, stop)
        finally:
            asked = min(stop.count, 1)  # Even if the second came already.
            supervisor.stop(hurry=lambda: stop.count > asked)
            watch.save(is_final=True)
            watch.note_trouble()
            shared_memory.remove_stale_files()
    return LoopOutcome(stop.is_requested, watch.notes)


def loop_commands(run: RunDirectory, state: RunState, session: Session) -> list[Command]:
    """Fill the process table for one session of a run."""
    arguments: dict[str, Scalar] = {
        'robot': state.robot,
        'store': str(run.episodes),
        'models': str(run.models),
        'model_name': MODEL_NAME,
        'session': session.name,
        # Another seed for each session: layouts already driven would add little.
        'seed': state.seed * 100 + len(state.sessions) - 1,
        'explore': True,
        'mode': 'lock_step',
        'record_bag': True,
        'bag': str(run.bag / session.name),
        'phase': PHASE,
        'phase_config': str(write_phase_config(run)),
    }
    overrides: dict[str, dict[str, Scalar]] = {
        # The trainer's seed stays: a new one would not fit its checkpoint.
        'trainer': {'output': str(run.root), 'seed': state.seed},
    }
    if run.demonstrations.is_dir():
        overrides['trainer']['demonstrations'] = str(run.demonstrations)
    processes = process_table.resolve(
        process_table.load(), 'bringup', arguments, overrides=overrides
    )
    environment = {'ROS_DOMAIN_ID': str(session.domain_id)}
    return [
        dataclasses.replace(ros_command(process), environment=environment) for process in processes
    ]


def write_phase_config(run: RunDirectory) -> Path:
    """Write the phase's settings into the run, made to keep every version for the report.

    A run that has them already keeps them, so that it continues as it began.
    """
    path = run.root / f'{PHASE}.yaml'
    if not path.is_file():
        source = contracts.robots_directory().parent / 'phases' / f'{PHASE}.yaml'
        settings, _ = config.load_yaml(source)
        settings['trainer'] = settings.get('trainer', {}) | {'keep_newest': _KEEP_VERSIONS}
        path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding='utf-8')
    return path


def free_domain_id() -> int:
    """Return $ROS_DOMAIN_ID, else a domain whose first discovery port nobody holds."""
    given = os.environ.get('ROS_DOMAIN_ID')
    if given:
        return int(given)
    for domain_id in random.sample(range(1, 102), 101):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(('127.0.0.1', 7410 + 250 * domain_id))
            except OSError:
                continue
            return domain_id
    raise EnvironmentSetupError(
        'ROS_DOMAIN_ID: domains 1 to 101 are all in use on this machine. '
        'End other ROS programs or set ROS_DOMAIN_ID.'
    )


class _Watch:
    """Looks at the loop a few times a second, shows it, saves it, and says when it is over."""

    monitor: Monitor

    def __init__(
        self,
        run: RunDirectory,
        state: RunState,
        session: Session,
        numbers: LiveNumbers,
        budget_s: float,
        logs: ProcessLogs,
    ):
        self.notes: list[str] = []
        self._ended_s: float | None = None  # When it was decided to end; flushing follows.
        self._run, self._state, self._session = run, state, session
        self._numbers, self._budget_s, self._logs = numbers, budget_s, logs
        self._display = LiveDisplay(budget_s)
        self._began_s = self._moved_s = time.monotonic()
        self._is_stalled = False

    def until_over(self, supervisor: Supervisor, stop: StopRequests) -> None:
        """Return when the budget is used up or somebody asked to stop."""
        try:
            self._until_over(supervisor, stop)
        finally:
            self._ended_s = time.monotonic()

    def _until_over(self, supervisor: Supervisor, stop: StopRequests) -> None:
        next_save_s = 0.0
        with self._display as display:
            while not stop.is_requested:
                if any(event.kind == 'ended' for event in supervisor.poll()):
                    shared_memory.remove_stale_files()
                now_s = time.monotonic()
                with self.monitor.lock:
                    display.show(self._numbers, now_s)
                    done = self._numbers.loop_seconds(now_s) >= self._budget_s
                if supervisor.is_over:
                    raise ProcessError(self._why(supervisor.failure))
                if now_s >= next_save_s:
                    next_save_s = now_s + _SAVE_EVERY_S
                    self.save()
                if done:
                    return
                self._check_progress(now_s)
                time.sleep(_POLL_S)

    def save(self, is_final: bool = False) -> None:
        """Bring the run's state and timeline up to date on disk."""
        with self.monitor.lock:
            events = self._numbers.take_events()
            numbers, session = self._numbers, self._session
            if numbers.started_s is not None:
                now_s = time.monotonic()
                session.first_step_unix_s = time.time() - (now_s - numbers.started_s)
                session.loop_seconds = (self._ended_s or now_s) - numbers.started_s
            session.environment_steps = numbers.session_steps
            session.gate = numbers.gate
            session.messages = numbers.messages
            session.health = dict(numbers.health)
            session.train_ratio = numbers.train_ratio
        if is_final:
            self._session.environment_steps = recorded_steps(self._run.episodes, session.name)
        self._run.append_timeline([{'session': session.name, **event} for event in events])
        self._run.write_state(self._state)

    def note_trouble(self) -> None:
        """Note for the report what learning and serving complained about."""
        with self.monitor.lock:
            numbers = self._numbers
            if numbers.train_state == 'failed':
                self.notes.append(f'The trainer stopped: {numbers.train_detail}')
            self.notes += [f'The policy node refused {text}' for text in numbers.refused]

    def on_event(self, event: Event) -> None:
        """Tell the person what happened to a process, unless we are ending them."""
        if self._ended_s is not None or event.kind == 'started':
            return
        self.notes.append(event.text)
        self._display.say(event.text)
        if event.kind == 'ended':
            self._display.say(self._logs.tail(event.process, num_lines=3))

    def _why(self, failure: str) -> str:
        process = failure.split(' ')[0]
        if not failure:
            return f'{self._run.root}: all processes ended by themselves. Read {self._run.logs}.'
        return (
            f'{failure}. Its last lines:\n{self._logs.tail(process)}\n'
            f'All of it: {self._logs.path(process)}. Correct the cause and run the same command '
            f'with --out {self._run.root} to continue.'
        )

    def _check_progress(self, now_s: float) -> None:
        """Complain when the robot does not move, once per standstill."""
        with self.monitor.lock:
            has_started = self._numbers.started_s is not None
            moved_s = self._numbers.last_progress_s
        if not has_started and now_s - self._began_s > _STARTUP_LIMIT_S:
            tails = '\n'.join(
                f'  {path.stem}:\n{self._logs.tail(path.stem)}'
                for path in sorted(self._run.logs.glob('*.log'))
            )
            raise ProcessError(
                f'{self._run.root}: the robot was not commanded once within '
                f'{_STARTUP_LIMIT_S:g} s. Last lines of the processes:\n{tails}'
            )
        is_stalled = has_started and moved_s is not None and now_s - moved_s > _STALL_AFTER_S
        if is_stalled and not self._is_stalled:
            text = (
                f'no control step for {_STALL_AFTER_S:g} s; the logs in {self._run.logs} say why'
            )
            self.notes.append(text)
            self._display.say(text)
        self._is_stalled = is_stalled


def recorded_steps(episodes: Path, session: str) -> int:
    """Count the control steps in the store's segments of one session."""
    return sum(info.num_steps for info in TrajectoryStore(episodes).infos(session))
