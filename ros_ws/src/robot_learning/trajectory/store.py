"""A folder of segments that never change once visible: `<root>/<session>/segment_000012.hdf5`.

One recorder writes a session; any number of processes read it while it grows. A segment
appears complete or not at all: temporary name, fsync, rename, fsync of the folder.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from robot_learning.contract import RobotContract
from robot_learning.errors import DataError
from robot_learning.trajectory import segment, store_files
from robot_learning.trajectory.episode import Episode, join
from robot_learning.trajectory.segment import SegmentInfo
from robot_learning.trajectory.store_checks import check_store
from robot_learning.trajectory.store_files import Problem, listed, number, session_names

_LOG = logging.getLogger(__name__)
_SETTLED_NS = 50_000_000  # A folder changed this recently is listed again: clocks are coarse.


class TrajectoryStore:
    """Writes and reads the segments below one folder.

    Attributes:
        skipped: broken files met while reading; each is reported once and passed over.
    """

    def __init__(self, root: Path | str):
        self.root = Path(root)
        self.skipped: list[Problem] = []
        self._last_number: dict[str, int] = {}
        self._locks: dict[str, store_files.SessionLock] = {}

    def write_segment(
        self, pieces: Sequence[Episode], session: str, contract: RobotContract
    ) -> Path:
        """Store `pieces` as the session's next segment and return its path.

        Raises:
            StoreError: the folder cannot be written or the disk is full; nothing is left behind
                and the pieces may be offered again. `__cause__` is the `OSError`. Or the session
                has a name that leads elsewhere.
        """
        store_files.check_session_name(self.root, session)
        folder = self.root / session
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock(folder)
            while True:
                new = self._next_number(folder)
                path = store_files.segment_path(folder, new)
                try:
                    store_files.write_new(path, segment.encode(pieces, session, new, contract))
                except FileExistsError:  # Another writer of this session was faster.
                    self._last_number.pop(session, None)
                    continue
                break
        except OSError as error:
            raise store_files.explain(folder, error) from error
        self._last_number[session] = new
        return path

    def segments(self, session: str | None = None) -> list[Path]:
        """Return all segments, or those of one session, by session name and number."""
        sessions = self.sessions() if session is None else [session]
        return [path for name in sessions for path in listed(self.root / name)]

    def sessions(self) -> list[str]:
        """Return the names of all sessions, sorted."""
        return session_names(self.root)

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

    def infos(self, session: str) -> Iterator[SegmentInfo]:
        """Yield what a session's segments say about themselves; broken ones as in `episodes`."""
        for path in listed(self.root / session):
            try:
                yield segment.read_info(path)
            except DataError as error:
                self._skip(path, error)

    def episodes(
        self, fields: Iterable[str] | None = None, session: str | None = None
    ) -> Iterator[Episode]:
        """Yield whole episodes, pieces joined, session by session in the order they ended.

        Where pieces are missing (pruned, damaged, not yet written) what is left is given as
        trajectories with `offset > 0` or `is_complete` False. Broken files are logged, added
        to `skipped` and passed over. The session's name is in `attributes['session']`. What is
        missing is in `attributes['missing_before']` and `['missing_after']`, in steps; behind
        an episode's last known piece it is -1.
        """
        wanted = None if fields is None else tuple(fields)
        for name in self.sessions() if session is None else [session]:
            for episode in _marked(joined(self._pieces(name, wanted))):
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
        return check_store(self.root).problems

    def _lock(self, folder: Path) -> None:
        """Let nobody else write or repair the session while this lives."""
        lock = self._locks.get(folder.name)
        if lock is None or not lock.is_of(folder):
            self._locks[folder.name] = store_files.SessionLock(folder)

    def _pieces(self, session: str, fields: tuple[str, ...] | None) -> Iterator[Episode]:
        for path in self.segments(session):
            try:
                yield from segment.read_segment(path, fields)
            except DataError as error:
                self._skip(path, error)

    def _skip(self, path: Path, error: DataError) -> None:
        if all(problem.path != path for problem in self.skipped):
            _LOG.warning('%s', error)
            self.skipped.append(Problem(path, str(error)))

    def _next_number(self, folder: Path) -> int:
        last = self._last_number.get(folder.name)
        if last is None:
            last = store_files.newest_number(folder)
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
            for session in session_names(self._root)
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
        news = [path for path in listed(self._root / session) if number(path) > last]
        if news:
            self._position[session] = number(news[-1])
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


def _marked(parts: Iterable[Episode]) -> Iterator[Episode]:
    """Let parts of episodes say how many steps are missing before and after them."""
    previous: Episode | None = None
    for part in parts:
        if previous is not None:
            end = previous.offset + len(previous)
            is_same = previous.episode == part.episode and part.offset >= end
            if not previous.is_complete:
                previous.attributes['missing_after'] = part.offset - end if is_same else -1
            yield previous
        if part.offset:
            is_known = previous is not None and is_same
            part.attributes['missing_before'] = part.offset - (end if is_known else 0)
        previous = part
    if previous is not None:
        yield previous


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
