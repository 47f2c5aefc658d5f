"""The folder of one demo run: where everything lies and what its sessions were."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from robot_learning.errors import ConfigError, StoreError


@dataclass
class Session:
    """One stretch of driving and learning; a rerun with the same folder adds one."""

    name: str  # Also the recorder's session in the store.
    domain_id: int
    first_step_unix_s: float | None = None
    loop_seconds: float = 0.0
    environment_steps: int = 0
    train_ratio: float = float('nan')
    gate: dict[str, int] = field(default_factory=dict)  # Counts of the action gate.
    messages: dict[str, dict[str, int]] = field(default_factory=dict)  # By topic, see recorder.
    health: dict[str, dict[str, str]] = field(default_factory=dict)  # Last /diagnostics.


@dataclass
class RunState:
    """What a rerun must know to go on."""

    seed: int
    robot: str
    contract_hash: str
    sessions: list[Session] = field(default_factory=list)

    @property
    def loop_seconds(self) -> float:
        """Loop time of all sessions together."""
        return sum(session.loop_seconds for session in self.sessions)

    @property
    def environment_steps(self) -> int:
        """Control steps of all sessions together."""
        return sum(session.environment_steps for session in self.sessions)

    def loop_time_of(self, unix_s: float) -> float:
        """Convert a moment to loop time; moments between sessions go to the nearest one."""
        before = 0.0
        for session in self.sessions:
            if session.first_step_unix_s is not None:
                since = unix_s - session.first_step_unix_s
                if since <= session.loop_seconds or session is self.sessions[-1]:
                    return before + min(max(since, 0.0), session.loop_seconds)
            before += session.loop_seconds
        return before


class RunDirectory:
    """Paths below one run's folder, and its state file."""

    def __init__(self, root: Path):
        self.root = root
        self.bag = root / 'bag'
        self.episodes = root / 'episodes'
        self.models = root / 'models'
        self.demonstrations = root / 'demonstrations'
        self.tensorboard = root / 'tensorboard'
        self.logs = root / 'logs'
        self.evaluations = root / 'evaluations'
        self.metrics = root / 'metrics.json'
        self.report = root / 'report.html'
        self._state = root / 'run.json'
        self._timeline = root / 'logs' / 'timeline.jsonl'

    @classmethod
    def choose(cls, out: Path | None, runs: Path) -> RunDirectory:
        """Return the given folder, or a new one below `runs` named by the local time."""
        return cls((out or runs / time.strftime('%Y%m%d_%H%M%S')).resolve())

    def open(self, seed: int | None, robot: str, contract_hash: str) -> RunState:
        """Make the folders and return the state: a new one, or the one to go on from.

        Args:
            seed: None keeps the seed of an earlier session, else 0.
            robot: name or path of the contract.
            contract_hash: of that contract.

        Raises:
            ConfigError: the folder holds a run with another contract or seed, or is no run.
            StoreError: the folder cannot be written.
        """
        state = self.read_state()
        if state is None:
            if self.root.exists() and any(self.root.iterdir()):
                raise ConfigError(
                    f'{self.root}: holds files but no run.json, expected a run or an empty '
                    f'folder. Choose another --out.'
                )
            state = RunState(seed or 0, robot, contract_hash)
        if state.contract_hash != contract_hash:
            raise ConfigError(
                f'{self.root}: was made with contract {state.robot} {state.contract_hash}, found '
                f'{robot} {contract_hash}. Choose another --out or the same robot.'
            )
        if seed is not None and seed != state.seed:
            raise ConfigError(
                f'{self.root}: was begun with seed {state.seed}, found --seed {seed}. '
                f'Leave --seed out to continue, or choose another --out.'
            )
        try:
            for folder in (
                self.episodes,
                self.models,
                self.tensorboard,
                self.logs,
                self.evaluations,
            ):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f'{self.root}: cannot be made ({error.strerror}). Choose another --out.'
            ) from error
        self.write_state(state)
        return state

    def read_state(self) -> RunState | None:
        """Return what `write_state` wrote; None where there is no run."""
        try:
            data = json.loads(self._state.read_text(encoding='utf-8'))
            sessions = [_session(session) for session in data.pop('sessions')]
            return RunState(**data, sessions=sessions)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(
                f'{self.root}: is no folder that can be read ({error.strerror}). '
                f'Choose another --out.'
            ) from error
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                f'{self._state}: is not the state of a run ({error}). Choose another --out.'
            ) from error

    def write_state(self, state: RunState) -> None:
        """Keep the state; a reader sees the old file or the whole new one."""
        write_json(self._state, asdict(state))

    def append_timeline(self, events: Iterable[dict[str, Any]]) -> None:
        """Add events to the run's timeline, one JSON object a line."""
        lines = ''.join(json.dumps(event) + '\n' for event in events)
        if lines:
            with self._timeline.open('a', encoding='utf-8') as file:
                file.write(lines)

    def timeline(self) -> list[dict[str, Any]]:
        """Return all events of all sessions; a line cut short by a crash is left out."""
        try:
            text = self._timeline.read_text(encoding='utf-8')
        except FileNotFoundError:
            return []
        events = []
        for line in text.splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:
                continue
        return events

    def point_latest_here(self) -> None:
        """Let `latest` beside this folder lead to it."""
        link = self.root.parent / 'latest'
        if link.is_symlink() or not link.exists():
            temporary = link.with_name('.latest.partial')
            temporary.unlink(missing_ok=True)
            temporary.symlink_to(self.root.name)
            temporary.replace(link)


def _session(data: dict[str, Any]) -> Session:
    if data['train_ratio'] is None:
        data['train_ratio'] = float('nan')
    return Session(**data)


def write_json(path: Path, content: Any) -> None:
    """Write JSON; a reader sees the old file or the whole new one. NaN becomes null.

    Raises:
        StoreError: the file cannot be written; `__cause__` is the `OSError`.
    """
    temporary = path.with_name(f'.{path.name}.partial')
    text = json.dumps(_without_nan(content), indent=2, allow_nan=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text + '\n', encoding='utf-8')
        temporary.replace(path)
    except OSError as error:
        raise StoreError(
            f'{path}: cannot be written ({error.strerror}). Choose another place or free the disk.'
        ) from error


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float('inf'), float('-inf'))):
        return None
    return value
