"""Turns a phase's weights into a model version that says where it comes from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from robot_learning import __version__
from robot_learning.contract import RobotContract
from robot_learning.model_store import ModelStore
from robot_learning.trajectory import store_files


class Source(Protocol):
    """What a version says about where it comes from."""

    environment_step: int

    @property
    def contract(self) -> RobotContract | None:
        """Of the robot; None: it is none."""

    @property
    def segments(self) -> list[str]:
        """Recorded segments it learned from."""

    @property
    def sources(self) -> list[str]:
        """Other data, by name."""


class Policy(Protocol):
    """What is published of a phase."""

    config: Any

    def policy(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors to serve and their description for the manifest."""


class Publisher:
    """Publishes under one name, prunes, and remembers the newest version."""

    def __init__(
        self,
        store: ModelStore,
        model_name: str,
        phase_name: str,
        seed: int,
        keep_best: int = 5,
        keep_newest: int = 10,
    ):
        self.version: int | None = None  # The newest one this trainer published.
        self._store = store
        self._model_name = model_name
        self._phase_name = phase_name
        self._seed = seed
        self._keep = (keep_best, keep_newest)

    @property
    def newest_good(self) -> int | None:
        """The newest version in the store, whoever published it, that nobody refused."""
        return self._store.newest_good(self._model_name)

    @property
    def is_newest(self) -> bool:
        """Whether the store's newest version, refused or not, is the one published here."""
        return self.version is not None and self._store.newest(self._model_name) == self.version

    def publish(
        self,
        phase: Policy,
        source: Source,
        update: int,
        metrics: Mapping[str, float],
        score: float | None,
        wall_s: float,
    ) -> int:
        """Write a version and return its number.

        Args:
            phase: whose policy is published.
            source: what it learned from.
            update: gradient steps so far.
            metrics: newest measurements; those that are not finite are left out.
            score: larger is better; orders versions when old ones are deleted.
            wall_s: seconds of training so far.

        Raises:
            ModelRefusedError: a weight is not finite.
            StoreError: the store cannot be written.
        """
        tensors, policy = phase.policy()
        manifest = {
            'policy': policy,
            'phase': self._phase_name,
            'config': dataclasses.asdict(phase.config),
            'metrics': {key: value for key, value in metrics.items() if math.isfinite(value)},
            'score': score if score is not None and math.isfinite(score) else None,
            'created': datetime.now(timezone.utc).isoformat(timespec='milliseconds'),
            'provenance': {
                'segments': in_runs(source.segments),
                'sources': source.sources,
                'seed': self._seed,
                'code_version': code_version(),
                'parent': self.version,
                'update': update,
                'environment_step': source.environment_step,
                'wall_s': round(wall_s, 3),
            },
        }
        contract = source.contract
        if contract is not None:
            manifest |= {'contract': contract.to_dict(), 'contract_hash': contract.hash}
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        self.version = self._store.publish(self._model_name, arrays, manifest)
        self._store.prune(self._model_name, *self._keep)
        return self.version


def in_runs(segments: Iterable[str]) -> list[str]:
    """Shorten names '<session>/segment_000012.hdf5' that follow each other to one entry.

    '<session>/segment_000012..000014.hdf5' stands for three. A robot that learns for days
    consumes hundreds of thousands, and every version names them.
    """
    runs: list[tuple[str, int, int]] = []  # Session, first and last number.
    others = []
    for name in segments:
        session, _, file = name.rpartition('/')
        found = store_files.number(Path(file))
        if found < 0:
            others.append(name)
        elif runs and runs[-1][0] == session and runs[-1][2] + 1 == found:
            runs[-1] = (session, runs[-1][1], found)
        else:
            runs.append((session, found, found))
    return others + [
        f'{session}/segment_{first:06d}{f"..{last:06d}" if last > first else ""}.hdf5'
        for session, first, last in runs
    ]


def code_version() -> str:
    """Return the package's version and, in a git checkout, the commit."""
    for parent in Path(__file__).resolve().parents:
        git = parent / '.git'
        if git.is_dir():
            commit = _commit(git)
            return f'{__version__}+{commit[:12]}' if commit else __version__
    return __version__


def _commit(git: Path) -> str | None:
    try:
        head = (git / 'HEAD').read_text().strip()
        if not head.startswith('ref: '):
            return head
        reference = head.removeprefix('ref: ')
        if (git / reference).is_file():
            return (git / reference).read_text().strip()
        packed: list[list[str]] = [
            line.split() for line in (git / 'packed-refs').read_text().splitlines()
        ]
    except OSError:
        return None
    return next((line[0] for line in packed if line[1:] == [reference]), None)


def plain(value: Any) -> Any:
    """Return dataclasses and tuples as JSON would give them back."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value
