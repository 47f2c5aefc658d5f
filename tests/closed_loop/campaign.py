"""Kills the processes of a running system at random moments and watches what becomes of it."""

import dataclasses
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from crash_checks import Findings, Life, Outage, SegmentWatch, VersionWatch, bag_steps, compare
from crash_system import SUPERVISOR, System, wait_until
from robot_learning.commands import shared_memory
from robot_learning.commands.supervisor import Limits
from witness import Action, Witness

Mode = Literal['lock_step', 'real_time']
PROCESSES = ('simulator', 'policy', 'recorder', 'bag_recorder', 'trainer', SUPERVISOR)
PATIENCE_S = 120.0
_ORPHANS_S = 15.0  # So long may what a killed supervisor leaves take to end.
_MODEL = 'walker'
_FLUSH_S = 0.5
_WINDOW_S = 0.6  # Of the world, in which a robot without commands has to stand.
_AROUND_S = 1.5  # Before a kill, in which a step may be incomplete.
_SETTLED_S = 6.0  # Shared memory that is older is not being set up any more.
_AGAIN = 0.15  # Share of kills that hit the process again while it starts.
_LEARNING = """
phase: sac
config: {hidden: [16, 16], batch_size: 32}
trainer:
  {warmup_steps: 60, publish_every_s: 0.5, checkpoint_every_s: 0.5, report_every_updates: 5,
   report_every_s: 0.2}
"""


@dataclasses.dataclass
class Kill:
    """One kill -9 and what came of it."""

    process: str
    mode: Mode
    while_starting: bool = False
    has_recovered: bool = False
    to_work_s: float | None = None  # None for one that was hit again before it worked.
    # Of a policy in real time, with the robot moving; infinite: not within 0.6 s of the world.
    to_zero_ms: float | None = None  # Time of the world until the wheels' command was zero.
    to_zero_wall_ms: float | None = None  # As that, wall time.
    to_stand_ms: float | None = None  # Time of the world until the robot stood.
    num_orphans: int = 0
    orphans_gone_s: float | None = None  # Of a supervisor.


@dataclasses.dataclass
class Chapter:
    """One run of the system with its kills, ended in order and looked through."""

    mode: Mode
    kills: list[Kill]
    recorded: Findings
    bags: Findings
    num_segments: int
    num_versions: int
    damaged: list[str]  # Segments and bags, and steps missing in them.
    half_visible: list[str]
    refused: list[str]  # Versions that the policy node refused.
    lost_updates: list[str]  # Trainers that went on with less than their checkpoint had.
    stale_files: list[str]
    num_orphans: int
    exit_code: int


class Campaign:
    """One chapter: starts the system, kills what the schedule names, ends it and looks."""

    def __init__(self, folder: Path, mode: Mode, domain_id: int, seed: int):
        self._folder, self._mode = folder, mode
        self._rng = random.Random(seed)
        (folder / 'learning.yaml').write_text(_LEARNING)
        self._system = System(folder, domain_id, self._arguments(seed))
        self._witness = Witness(domain_id)
        self._segments = SegmentWatch(folder / 'store')
        self._versions = VersionWatch(folder / 'models', _MODEL)
        self._kills: list[Kill] = []
        self._outages: dict[str, list[Outage]] = {name: [] for name in PROCESSES}
        self._recorder_ends: list[tuple[int, float]] = []
        self._bag_ends: dict[Path, float] = {}
        self._lost_updates: list[str] = []
        self._own_files: set[str] = set()
        self._deaths: list[tuple[str, float]] = []  # That the living supervisor has seen.

    def run(self, schedule: Sequence[str], on_kill: Callable[[Kill], None]) -> Chapter:
        """Kill as scheduled.

        Raises:
            AssertionError: the system does not work any more, or not again.
        """
        try:
            self._system.start()
            self._await_work('all', PROCESSES, time.monotonic())
            for name in schedule:
                self._kill_and_recover(name, on_kill)
            self._note_files()
            self._witness.close()  # What it has mapped would count as used.
            exit_code = self._system.stop(PATIENCE_S)
            return self._chapter(exit_code)
        finally:
            self._witness.close()
            self._system.close()
            self._versions.close()

    def _arguments(self, seed: int) -> list[str]:
        window_s = {'lock_step': 2.0, 'real_time': 0.5}[self._mode]
        settings = {
            'simulator.world.camera': 'off',
            'recorder.flush_s': _FLUSH_S,
            'recorder.recorder.reorder_window_s': window_s,
            'bag_recorder.writer.max_file_s': 3.0,
        }
        arguments = ['--mode', self._mode, '--session', 'today', '--record-bag']
        arguments += ['--model-name', _MODEL, '--seed', str(seed)]
        arguments += ['--phase-config', str(self._folder / 'learning.yaml')]
        return arguments + [
            w for key, value in settings.items() for w in ('--set', f'{key}={value}')
        ]

    # --- one kill ----------------------------------------------------------------------------

    def _kill_and_recover(self, name: str, on_kill: Callable[[Kill], None]) -> None:
        time.sleep(self._rng.uniform(0, 3 * _FLUSH_S))
        self._await_patience(name)
        self._note_files()
        measures_stop = name == 'policy' and self._mode == 'real_time'
        if measures_stop:
            wait_until(lambda: self._witness.is_driving, 'driving', PATIENCE_S, self._system)
        newest_s = self._witness.speeds[-1].stamp_s if measures_stop else 0.0
        saved_update = self._saved_update()
        before = {process: len(self._system.pids(process)) for process in PROCESSES}
        kill, killed_s = self._kill(name, while_starting=False)
        outage_s = killed_s - _AROUND_S
        if measures_stop:
            self._measure_stop(kill, killed_s, newest_s)
        if self._rng.random() < _AGAIN:
            self._await_start(name, before)
            time.sleep(self._rng.uniform(0, 2.0))
            before = {process: len(self._system.pids(process)) for process in PROCESSES}
            kill, killed_s = self._kill(name, while_starting=True)
        self._await_start(name, before)
        hit = PROCESSES if name == SUPERVISOR else (name,)
        kill.to_work_s = self._await_work(name, hit, time.monotonic()) - killed_s
        self._await_work('all', PROCESSES, time.monotonic())
        for each in self._kills:
            each.has_recovered = True
        self._outages[name].append(Outage(outage_s, time.monotonic()))
        if name in ('trainer', SUPERVISOR):
            self._check_trainer(saved_update, killed_s)
        on_kill(kill)

    def _await_patience(self, name: str) -> None:
        """Wait until one more death, or two, is not what the supervisor calls a crash loop."""
        patience = Limits()
        recent = [
            killed_s
            for victim, killed_s in self._deaths
            if victim == name and killed_s > time.monotonic() - patience.window_s
        ]
        if len(recent) > patience.max_restarts - 2:
            free_s = recent[1 - patience.max_restarts] + patience.window_s
            time.sleep(max(free_s - time.monotonic(), 0.0))

    def _kill(self, name: str, while_starting: bool) -> tuple[Kill, float]:
        kill = Kill(name, self._mode, while_starting)
        self._kills.append(kill)
        bag = self._newest_bag()
        killed_s = time.monotonic()
        self._system.kill(name)
        self._deaths.append((name, killed_s))
        if name == SUPERVISOR:
            self._deaths.clear()  # Another one remembers nothing.
            self._await_orphans(kill, killed_s)
            self._system.start()
        elif name == 'recorder':
            self._recorder_ends.append((self._segments.look(), killed_s))
        elif name == 'bag_recorder' and bag is not None:
            self._bag_ends.setdefault(bag, killed_s)
        self._segments.look()
        return kill, killed_s

    def _await_orphans(self, kill: Kill, killed_s: float) -> None:
        """Wait for the children of a killed supervisor to end by themselves."""
        while self._system.processes() and time.monotonic() < killed_s + _ORPHANS_S:
            time.sleep(0.02)
        kill.num_orphans = len(self._system.processes())
        kill.orphans_gone_s = time.monotonic() - killed_s

    def _measure_stop(self, kill: Kill, killed_s: float, newest_s: float) -> None:
        """Find out when the wheels were commanded to zero and when the robot stood.

        Args:
            kill: gets the results.
            killed_s: monotonic seconds.
            newest_s: stamp of the newest speed just before; up to a period before the kill.
        """
        witness = self._witness
        end_s = newest_s + _WINDOW_S
        wait_until(lambda: witness.speeds[-1].stamp_s > end_s, 'speeds', PATIENCE_S, self._system)
        zero = witness.zero_command(newest_s, _WINDOW_S)
        stood_s = witness.standstill_s(newest_s, _WINDOW_S)
        kill.to_zero_ms = kill.to_zero_wall_ms = float('inf')
        if zero is not None:
            kill.to_zero_ms = (zero.stamp_s - newest_s) * 1e3
            kill.to_zero_wall_ms = (zero.arrival_s - killed_s) * 1e3
        kill.to_stand_ms = float('inf') if stood_s is None else stood_s * 1e3

    # --- work --------------------------------------------------------------------------------

    def _await_start(self, name: str, before: dict[str, int]) -> None:
        """Wait until the supervisor has started a process, or all, again."""
        names = [n for n in PROCESSES if n != SUPERVISOR] if name == SUPERVISOR else [name]
        wait_until(
            lambda: all(len(self._system.pids(n)) > before[n] for n in names),
            f'{name} started again',
            PATIENCE_S,
            self._system,
        )

    def _await_work(self, what: str, names: Sequence[str], since_s: float) -> float:
        """Wait until each process has worked after `since_s`; return when that was."""
        checks = [check for name in names if (check := self._work_of(name, since_s)) is not None]
        try:
            wait_until(
                lambda: all(check() for check in checks), f'{what} works', PATIENCE_S, self._system
            )
        except AssertionError as error:
            raise AssertionError(f'{error}\n{self._witness.silences()}') from None
        return time.monotonic()

    def _work_of(self, name: str, since_s: float) -> Callable[[], bool] | None:
        """Return what tells whether a process has done something of use since a moment."""
        witness = self._witness
        if name == 'policy':
            return lambda: len(witness.actions) > 2 and witness.actions[-3].arrival_s > since_s
        if name == 'simulator':
            return lambda: len(witness.outcomes) > 2 and witness.outcomes[-3].arrival_s > since_s
        if name == 'recorder':
            known = self._segments.look()
            return lambda: self._segments.look() > known
        if name == 'bag_recorder':
            size = self._bag_bytes()
            return lambda: self._bag_bytes() > size
        if name == 'trainer':
            return lambda: self._has_learned(since_s)
        return None

    def _has_learned(self, since_s: float) -> bool:
        updates = [t.update for t in self._witness.training[-200:] if t.arrival_s > since_s]
        return bool(updates) and updates[-1] > updates[0]

    def _newest_bag(self) -> Path | None:
        bags = self._bags()
        return max(bags, key=lambda path: path.stat().st_mtime_ns, default=None)

    def _bags(self) -> list[Path]:
        folder = self._folder / 'bags'
        return [p for p in folder.iterdir() if p.is_dir()] if folder.is_dir() else []

    def _bag_bytes(self) -> int:
        return sum(path.stat().st_size for path in (self._folder / 'bags').rglob('*.mcap'))

    # --- trainer -----------------------------------------------------------------------------

    def _saved_update(self) -> int:
        names = [path.name for path in self._folder.glob('checkpoints/*/[0-9]*')]
        return max(map(int, names), default=0)

    def _check_trainer(self, saved_update: int, killed_s: float) -> None:
        """Hold the first report after a kill against the checkpoint before it."""
        later = [
            t
            for t in self._witness.training
            if t.arrival_s > killed_s + 0.5 and t.state in ('training', 'waiting')
        ]
        if later[0].update < saved_update:
            self._lost_updates.append(
                f'went on from update {later[0].update}, its checkpoint had {saved_update}'
            )

    # --- the end -----------------------------------------------------------------------------

    def _note_files(self) -> None:
        """Remember the shared memory that the system's processes use."""
        self._own_files |= self._system.shared_memory()

    def _files_that_need_a_person(self) -> list[str]:
        """List the shared memory that the end of `up` left and its next start would leave too.

        What was set up within its last seconds, or what another sweep had in its hands at the
        same moment, remains for the next start.
        """
        if self._files_left():
            time.sleep(_SETTLED_S)
            shared_memory.remove_stale_files()
        return self._files_left()

    def _files_left(self) -> list[str]:
        return sorted(self._own_files & {path.name for path in Path('/dev/shm').iterdir()})

    def _chapter(self, exit_code: int) -> Chapter:
        num_segments = self._segments.look()
        disturbances = [
            outage
            for name in ('simulator', 'policy', SUPERVISOR)
            for outage in self._outages[name]
        ]
        heard = self._witness.actions
        self._write(heard)
        recorded = compare(heard, self._segments.lives(self._recorder_ends), disturbances)
        bags = compare(heard, self._bag_lives(), disturbances)
        num_versions = self._versions.close()
        return Chapter(
            self._mode,
            self._kills,
            recorded,
            bags,
            num_segments,
            num_versions,
            self._segments.problems() + recorded.problems + bags.problems,
            self._versions.half_visible,
            self._witness.refused,
            self._lost_updates,
            self._files_that_need_a_person(),
            len(self._system.processes()),
            exit_code,
        )

    def _write(self, heard: Sequence[Action]) -> None:
        """Keep what was heard beside what was recorded, for whoever looks into a problem."""
        with (self._folder / 'heard.jsonl').open('w') as file:
            for action in heard:
                executed = np.frombuffer(action.executed, np.float32).tolist()
                file.write(json.dumps(action._asdict() | {'executed': executed}) + '\n')

    def _bag_lives(self) -> list[Life]:
        lives = []
        for bag in sorted(self._bags(), key=lambda path: path.stat().st_ctime_ns):
            steps = bag_steps(bag, self._folder / 'recovered' / bag.name)
            lives.append(Life(steps, self._bag_ends.get(bag)))
        return lives


def shuffled_schedule(counts: dict[str, int], rng: random.Random) -> list[str]:
    """Return each process as often as `counts` says, spread over as many rounds as the least."""
    num_rounds = min(counts.values())
    left = Counter(counts)
    schedule: list[str] = []
    for number in range(num_rounds, 0, -1):
        names = [name for name in sorted(left) for _ in range(-(-left[name] // number))]
        rng.shuffle(names)
        schedule += names
        left.subtract(names)
    return schedule


def quantiles(values: Sequence[float], digits: int) -> tuple[float | None, float | None]:
    """Return median and maximum, None without values."""
    if not values:
        return None, None
    return round(float(np.median(values)), digits), round(max(values), digits)
