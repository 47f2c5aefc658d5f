"""A folder of segments that never change once visible: `<root>/<session>/segment_000012.hdf5`.

One recorder writes a session; any number of processes read it while it grows. A segment
appears complete or not at all: temporary name, fsync, rename, fsync of the folder.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from robot_learning.contract import RobotContract
from robot_learning.errors import DataError, StoreError
from robot_learning.trajectory import segment
from robot_learning.trajectory.episode import FLAT, PER_FIELD, Episode, join
from robot_learning.trajectory.segment import SegmentInfo

_LOG = logging.getLogger(__name__)
_SETTLED_NS = 50_000_000  # A folder changed this recently is listed again: clocks are coarse.


class Problem(NamedTuple):
    """A file that cannot be used, and why."""

    path: Path
    text: str


class TrajectoryStore:
    """Writes and reads the segments below one folder.

    Attributes:
        skipped: broken files met while reading; each is reported once and passed over.
    """

    def __init__(self, root: Path | str):
        self.root = Path(root)
        self.skipped: list[Problem] = []
        self._last_number: dict[str, int] = {}

    def write_segment(
        self, pieces: Sequence[Episode], session: str, contract: RobotContract
    ) -> Path:
        """Store `pieces` as the session's next segment and return its path.

        Raises:
            StoreError: the folder cannot be written or the disk is full; nothing is left behind
                and the pieces may be offered again. `__cause__` is the `OSError`.
        """
        folder = self.root / session
        try:
            folder.mkdir(parents=True, exist_ok=True)
            number = self._next_number(folder)
            path = folder / f'segment_{number:06d}.hdf5'
            _write_atomically(path, segment.encode(pieces, session, number, contract))
        except OSError as error:
            raise StoreError(_explain(folder, error)) from error
        self._last_number[session] = number
        return path

    def segments(self, session: str | None = None) -> list[Path]:
        """Return all segments, or those of one session, by session name and number."""
        sessions = self.sessions() if session is None else [session]
        return [path for name in sessions for path in _listed(self.root / name)]

    def sessions(self) -> list[str]:
        """Return the names of all sessions, sorted."""
        return _session_names(self.root)

    def next_episode(self, session: str) -> int:
        """Return the first episode number that the session does not use yet."""
        for path in reversed(self.segments(session)):
            try:
                return segment.read_info(path).last_episode + 1
            except DataError as error:
                _LOG.warning('%s', error)
        return 0

    def follow(self, position: Mapping[str, int] | None = None) -> SegmentFollower:
        """Return what finds new segments; `position` as an earlier follower returned it."""
        return SegmentFollower(self.root, position)

    def read_segment(self, path: Path | str, fields: Iterable[str] | None = None) -> list[Episode]:
        """Return the pieces of one segment; see `segment.read_segment` for the errors."""
        return segment.read_segment(path, fields)

    def read_info(self, path: Path | str) -> SegmentInfo:
        """Return what one segment says about itself; see `segment.read_info`."""
        return segment.read_info(path)

    def episodes(
        self, fields: Iterable[str] | None = None, session: str | None = None
    ) -> Iterator[Episode]:
        """Yield whole episodes, pieces joined, session by session in the order they ended.

        Where pieces are missing (pruned, damaged, not yet written) what is left is given as
        trajectories with `offset > 0` or `is_complete` False. Broken files are logged, added
        to `skipped` and passed over. The session's name is in `attributes['session']`.
        """
        wanted = None if fields is None else tuple(fields)
        for name in self.sessions() if session is None else [session]:
            for episode in joined(self._pieces(name, wanted)):
                episode.attributes.setdefault('session', name)
                yield episode

    def prune(self, max_bytes: int) -> list[Path]:
        """Remove the oldest segments until all together hold at most `max_bytes`.

        The newest segment of each session stays, so that its recorder and followers know
        where they are. Returns what was removed.
        """
        sizes = {path: _size(path) for path in self.segments()}
        kept = {paths[-1] for name in self.sessions() if (paths := self.segments(name))}
        total = sum(sizes.values())
        removed = []
        for path in sorted(sizes.keys() - kept, key=_age_key):
            if total <= max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= sizes[path]
            removed.append(path)
        return removed

    def verify(self) -> list[Problem]:
        """Read everything; return what is damaged, inconsistent or left over from a crash."""
        problems = []
        for path in self.segments():
            try:
                problems += [Problem(path, text) for text in _inconsistencies(path)]
            except DataError as error:
                problems.append(Problem(path, str(error)))
        for name in self.sessions():
            for path in sorted((self.root / name).glob('.segment_*')):
                text = 'was left half-written by a crash. Remove it.'
                problems.append(Problem(path, f'{path}: {text}'))
        return problems

    def _pieces(self, session: str, fields: tuple[str, ...] | None) -> Iterator[Episode]:
        for path in self.segments(session):
            try:
                yield from segment.read_segment(path, fields)
            except DataError as error:
                _LOG.warning('%s', error)
                self.skipped.append(Problem(path, str(error)))

    def _next_number(self, folder: Path) -> int:
        last = self._last_number.get(folder.name)
        if last is None:
            last = max((_number(path) for path in _listed(folder)), default=-1)
        return last + 1


class SegmentFollower:
    """Finds segments that appeared since the last look; a look without news costs microseconds."""

    def __init__(self, root: Path, position: Mapping[str, int] | None = None):
        self._root = root
        self._position = dict(position or {})
        self._changed_ns: dict[str, int] = {}  # Folder -> its time of change when last listed.

    def poll(self) -> list[Path]:
        """Return segments not returned before, in the order they were written.

        Of several sessions that grew since the last look, the one earlier by name comes first.
        """
        return [
            path
            for session in _session_names(self._root)
            if self._has_changed(session)
            for path in self._news(session)
        ]

    def position(self) -> dict[str, int]:
        """Return how far each session was followed, as plain data, to go on from later."""
        return dict(self._position)

    def _has_changed(self, session: str) -> bool:
        try:
            changed_ns = (self._root / session).stat().st_mtime_ns
        except FileNotFoundError:
            return False
        if changed_ns == self._changed_ns.get(session):
            return False
        if time.time_ns() - changed_ns > _SETTLED_NS:
            self._changed_ns[session] = changed_ns
        return True

    def _news(self, session: str) -> list[Path]:
        last = self._position.get(session, -1)
        news = [path for path in _listed(self._root / session) if _number(path) > last]
        if news:
            self._position[session] = _number(news[-1])
        return news


def joined(pieces: Iterable[Episode]) -> Iterator[Episode]:
    """Join the pieces of one recording, which follows one episode at a time.

    Where the next piece does not continue the episode, what there is of it is given.
    """
    known: list[Episode] = []
    for piece in pieces:
        if known and not known[-1].is_followed_by(piece):
            yield join(known)
            known = []
        known.append(piece)
    if known:
        yield join(known)


def _inconsistencies(path: Path) -> list[str]:
    """List what in a readable segment contradicts itself."""
    info = segment.read_info(path)
    pieces = segment.read_segment(path)
    texts = []
    num_steps = sum(len(piece) for piece in pieces)
    if num_steps != info.num_steps:
        texts.append(f'holds {num_steps} steps, expected {info.num_steps} by its header')
    for piece in pieces:
        where = f'episode {piece.episode} from step {piece.offset}'
        lengths = {len(getattr(piece, name)) for name in FLAT}
        lengths |= {len(v) for group in PER_FIELD for v in getattr(piece, group).values()}
        if len(lengths) != 1:
            texts.append(f'{where}: arrays have lengths {sorted(lengths)}, expected one length')
        elif not np.all(np.diff(piece.stamp_ns) > 0):
            texts.append(f'{where}: stamps do not increase')
        elif not np.isfinite(piece.action).all():
            texts.append(f'{where}: actions are not finite')
    return [f'{path}: {text}. Remove the file or record it again.' for text in texts]


def _write_atomically(path: Path, content: bytes) -> None:
    temporary = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        with temporary.open('wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _explain(folder: Path, error: OSError) -> str:
    advice = {
        errno.ENOSPC: 'Free space on that disk or lower the store budget',
        errno.EDQUOT: 'Free space within your quota',
        errno.EACCES: 'Give write permission or choose another store',
        errno.EPERM: 'Give write permission or choose another store',
        errno.EROFS: 'That file system is read-only; choose another store',
        errno.ENOTDIR: 'A part of that path is a file; choose another store',
        errno.EEXIST: 'That path is a file; choose another store',
    }.get(error.errno or 0, 'Check the disk')
    return f'{folder}: a segment cannot be written ({error.strerror or error}). {advice}.'


def _session_names(root: Path) -> list[str]:
    """Return the folders below `root`; hidden ones are imports in progress."""
    try:
        with os.scandir(root) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith('.'))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _listed(folder: Path) -> list[Path]:
    try:
        paths = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [p for p in paths if p.name.startswith('segment_') and p.suffix == '.hdf5']


def _number(path: Path) -> int:
    return int(path.stem.removeprefix('segment_'))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _age_key(path: Path) -> tuple[int, str]:
    """Order by time of writing, then by session and number."""
    try:
        return path.stat().st_mtime_ns, str(path)
    except FileNotFoundError:
        return 0, str(path)
