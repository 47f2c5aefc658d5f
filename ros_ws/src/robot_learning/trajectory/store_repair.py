"""Makes a damaged trajectory store sound; nothing is deleted, what is damaged is set aside.

Each step leaves the session readable: a repair that is killed is simply run again.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from robot_learning import durable_files
from robot_learning.errors import DataError, StoreError
from robot_learning.trajectory import segment, store_files
from robot_learning.trajectory.segment_checks import SegmentCheck, check_segment
from robot_learning.trajectory.segment_salvage import salvage
from robot_learning.trajectory.store_checks import (
    LOSSES,
    Hole,
    Losses,
    SessionCheck,
    check_session,
    read_losses,
    require_store,
)
from robot_learning.trajectory.store_files import DAMAGED, SessionLock


@dataclass
class SessionRepair:
    """What was done to one session.

    Attributes:
        done: what was changed, in words.
        lost_segments: numbers of segments of which nothing could be saved, found this time.
        lost_steps: steps that are missing, found this time.
        left: what is still wrong.
    """

    name: str
    done: list[str] = field(default_factory=list)
    lost_segments: list[int] = field(default_factory=list)
    lost_steps: list[Hole] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


@dataclass
class StoreRepair:
    """What was done to a store."""

    root: Path
    sessions: list[SessionRepair]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong any more."""
        return not any(session.left for session in self.sessions)

    def to_dict(self) -> dict[str, Any]:
        """Return what was done as plain data."""
        return {
            'store': str(self.root),
            'is_sound': self.is_sound,
            'sessions': [
                {**asdict(session), 'lost_steps': [hole._asdict() for hole in session.lost_steps]}
                for session in self.sessions
            ],
        }


def repair_store(root: Path | str, target: Path | str | None = None) -> StoreRepair:
    """Make a store sound, or a copy of it.

    Args:
        root: of the store.
        target: folder of a sound copy; then the store itself is not changed.

    Raises:
        StoreError: there is no store, a recorder writes it, or the disk refuses.
    """
    root = Path(root)
    require_store(root)
    try:
        if target is None:
            return StoreRepair(root, _repair_all(root))
        return _repair_copy(root, Path(target))
    except OSError as error:
        raise StoreError(
            f'{target or root}: cannot be written ({error.strerror or error}). Free space on '
            f'that disk and run it again; nothing was lost.'
        ) from error


def _repair_copy(root: Path, target: Path) -> StoreRepair:
    if target.exists():
        raise StoreError(f'{target}: exists already. Choose another folder for the store.')
    hidden = target.parent / f'.repairing_{target.name}'
    shutil.rmtree(hidden, ignore_errors=True)  # Left over from one that was killed.
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(root, hidden, symlinks=True)
        sessions = _repair_all(hidden)
        hidden.rename(target)
        durable_files.sync_folder(target.parent)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return StoreRepair(target, sessions)


def _repair_all(root: Path) -> list[SessionRepair]:
    """Repair every session; a recorder's is refused before anything is changed."""
    folders = [root / name for name in store_files.session_names(root)]
    locks: list[SessionLock] = []
    try:
        for folder in folders:
            try:
                locks.append(SessionLock(folder))
            except BlockingIOError as error:
                raise StoreError(
                    f'{folder}: a recorder or replicator writes this session. Stop it first, or '
                    f'repair a copy with --out; nothing was changed.'
                ) from error
        return [_Session(folder).repair() for folder in folders]
    finally:
        for lock in locks:
            lock.release()


class _Session:
    """Repairs one session, which nobody writes."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._damaged = folder / DAMAGED
        self._report = SessionRepair(folder.name)

    def repair(self) -> SessionRepair:
        for path in store_files.temporaries(self._folder):
            self._name_or_set_aside(path)
        check = check_session(self._folder)
        unwanted: dict[Path, set[tuple[int, int]]] = {}
        for path, span in check.duplicates:
            unwanted.setdefault(path, set()).add((span.episode, span.offset))
        fallback = self._contract(check)
        for found in check.segments:
            if found.problems or found.path in unwanted or found.path.is_symlink():
                self._mend(found, unwanted.get(found.path, set()), fallback)
        self._note_losses(check_session(self._folder))
        self._report.left = [problem.text for problem in check_session(self._folder).problems]
        return self._report

    def _name_or_set_aside(self, temporary: Path) -> None:
        """Give a whole segment that was never named its name; set anything else aside."""
        path = store_files.segment_path(self._folder, store_files.number(temporary))
        try:
            segment.read_segment(temporary)
            store_files.name_new(temporary, path)
        except DataError:
            self._set_aside(temporary)
        except FileExistsError:
            self._set_aside(temporary)
        else:
            durable_files.sync_folder(self._folder)
            self._report.done.append(f'{path.name}: was whole and got its name')

    def _mend(
        self, found: SegmentCheck, unwanted: set[tuple[int, int]], fallback: dict[str, Any] | None
    ) -> None:
        """Replace a damaged segment by its sound pieces."""
        path = found.path
        temporary = path.with_name(f'.{path.name}.{os.getpid()}')
        is_saved = salvage(path, temporary, unwanted, fallback)
        self._set_aside(path)
        if not is_saved:
            self._report.lost_segments.append(store_files.number(path))
            return
        store_files.name_new(temporary, path)
        durable_files.sync_folder(self._folder)
        saved = check_segment(path, is_deep=False)
        self._report.done.append(
            f'{path.name}: written anew with {saved.num_steps} steps in {len(saved.spans)} pieces'
        )

    def _set_aside(self, path: Path) -> None:
        self._damaged.mkdir(exist_ok=True)
        name = path.name.lstrip('.')
        target, count = self._damaged / name, 1
        while target.exists() or target.is_symlink():
            count += 1
            target = self._damaged / f'{name}.{count}'
        path.rename(target)
        durable_files.sync_folder(self._damaged)
        durable_files.sync_folder(self._folder)
        self._report.done.append(f'{path.name}: set aside as {DAMAGED}/{target.name}')

    def _contract(self, check: SessionCheck) -> dict[str, Any] | None:
        """Return the contract of the first sound segment."""
        for found in check.segments:
            if not found.problems:
                return segment.read_info(found.path).contract
        return None

    def _note_losses(self, check: SessionCheck) -> None:
        """Write down what is missing for good, so that it is known and no problem any more."""
        lost = sorted({*self._report.lost_segments, *check.absent})
        if not lost and not check.holes:
            return
        before = read_losses(self._folder)
        losses = Losses(sorted({*before.segments, *lost}), [*before.steps, *check.holes])
        self._damaged.mkdir(exist_ok=True)
        durable_files.replace(
            self._damaged / LOSSES, (json.dumps(asdict(losses), indent=2) + '\n').encode()
        )
        self._report.lost_segments = lost
        self._report.lost_steps = check.holes
        self._report.done.append(f'{DAMAGED}/{LOSSES}: says what is missing')
