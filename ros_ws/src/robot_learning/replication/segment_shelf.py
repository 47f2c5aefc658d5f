"""Trajectory segments on their way: SESSION of host ORIGIN becomes SESSION@ORIGIN.

So sessions of several robots never collide in one store, still sort by time, and what came from
another host is never offered on. Segments become visible in their order: those who follow a
session go by the number and never look back.
"""

from __future__ import annotations

import bisect
import re
import time
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from robot_learning import durable_files
from robot_learning.errors import DataError, ReplicationError
from robot_learning.foreign_files import printable
from robot_learning.replication.ownership import RECEIVING, Ownership, forget_old_files
from robot_learning.replication.protocol import Offer, StoreName, refusal
from robot_learning.replication.shelf import Bundle, Item
from robot_learning.trajectory import segment
from robot_learning.trajectory.store_files import SessionLock

_SESSION = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,127}')
_REPLICA = re.compile(r'([A-Za-z0-9][A-Za-z0-9_.-]{0,127})@([A-Za-z][A-Za-z0-9_]{0,31})')
_SEGMENT = re.compile(r'segment_([0-9]{6,12})\.hdf5')
_MAX_LOCKS = 64  # Of sessions that grew last; each costs a file descriptor.
_MAX_SESSIONS = 4  # Offered at once to one receiver.
_SETTLED_NS = 50_000_000  # A folder changed this recently is listed again: clocks are coarse.


class OutgoingSegments:
    """A trajectory store that is offered, each receiver from where it stands."""

    store: StoreName = 'segments'

    def __init__(self, root: Path, ahead: int):
        """Prepare.

        Args:
            root: of the trajectory store; need not be there yet.
            ahead: segments of one session offered at once.
        """
        self.problem = ''
        self._root = root
        self._ahead = ahead
        self._listed: dict[str, tuple[int, list[int]]] = {}  # Session -> time of change, numbers.

    def bundles(self, positions: Collection[Mapping[str, str]]) -> Iterator[Bundle]:
        """Yield the next segments of sessions, the newest session first."""
        sessions = self._sessions()
        given: set[tuple[str, str]] = set()
        for position in positions:
            num_behind = 0
            for session in sessions:
                last = position.get(session, '')
                numbers = self._numbers(session)
                begin = bisect.bisect_right(numbers, _after(last))
                news = numbers[begin : begin + self._ahead]
                if not news:
                    continue
                if (session, last) not in given:
                    given.add((session, last))
                    folder = self._root / session
                    paths = tuple(folder / f'segment_{number:06d}.hdf5' for number in news)
                    yield Bundle(session, last, paths)
                num_behind += 1
                if num_behind == _MAX_SESSIONS:
                    break

    def _sessions(self) -> list[str]:
        try:
            folders = [e for e in self._root.iterdir() if e.is_dir() and not e.is_symlink()]
        except OSError:
            return []
        names = {e.name for e in folders if not e.name.startswith('.') and '@' not in e.name}
        odd = sorted(name for name in names if not _SESSION.fullmatch(name))
        self.problem = ''
        if odd:
            self.problem = (
                f'{self._root}: session {odd[0]!r} is not offered, expected letters, digits, '
                f'"_", "-" and "." in its name. Rename the folder.'
            )
        return sorted(names.difference(odd), reverse=True)

    def _numbers(self, session: str) -> list[int]:
        folder = self._root / session
        try:
            changed_ns = folder.stat().st_mtime_ns
            known = self._listed.get(session)
            if known is not None and known[0] == changed_ns:
                return known[1]
            numbers = sorted(map(segment_number, _segments(folder)))
        except OSError:
            return []
        if time.time_ns() - changed_ns > _SETTLED_NS:
            self._listed[session] = changed_ns, numbers
        return numbers


class IncomingSegments:
    """A trajectory store that receives sessions of other hosts."""

    store: StoreName = 'segments'

    def __init__(self, root: Path, max_bytes: int):
        """Prepare; `max_bytes` is the largest segment that is accepted."""
        self.root = root
        self._max_bytes = max_bytes
        self._ownership = Ownership(root)
        self._last: dict[tuple[str, str], str] = {}
        self._locks: OrderedDict[tuple[str, str], SessionLock] = OrderedDict()

    def open(self) -> None:
        """See `IncomingShelf`."""
        self._ownership.take()
        for folder in (self.root / RECEIVING).glob('*/*'):  # Of parts, and of whole segments.
            forget_old_files(folder)
        for folder in self.root.iterdir():
            match = _REPLICA.fullmatch(folder.name)
            if match and folder.is_dir():
                names = _segments(folder)
                if names:
                    session, origin = match.groups()
                    self._last[origin, session] = max(names, key=segment_number)

    def release(self) -> None:
        """See `IncomingShelf`."""
        while self._locks:
            self._locks.popitem()[1].release()
        self._ownership.release()

    def held(self) -> dict[tuple[str, str], str]:
        """See `IncomingShelf`."""
        return dict(self._last)

    def items(self, offer: Offer, refused: Collection[str]) -> list[Item]:
        """Return the segments after those that are here.

        An offer that begins later than that is passed over: there are others in between.
        """
        self._check(offer)
        position = _after(self._last.get((offer.origin, offer.folder), ''))
        if _after(offer.after) > position:
            return []
        receiving = self.root / RECEIVING / offer.origin
        staging, parts = receiving / offer.folder, receiving / '.parts'
        session = self.root / f'{offer.folder}@{offer.origin}'
        return [
            Item(offer.origin, offer.folder, (entry,), session / entry.name, staging, parts)
            for entry in offer.files
            if segment_number(entry.name) > position and entry.sha256 not in refused
        ]

    def place(self, item: Item) -> None:
        """Check that a segment can be read and move it into its session."""
        (entry,) = item.files
        source = item.staging / entry.name
        try:
            segment.read_info(source)
        except DataError as error:
            source.unlink(missing_ok=True)
            raise ReplicationError(str(error)) from error
        item.target.parent.mkdir(exist_ok=True)
        self._hold(item)
        last = self._last.get((item.origin, item.folder), '')
        if segment_number(entry.name) <= _after(last):
            source.unlink(missing_ok=True)
            raise ReplicationError(
                f'{item.target}: another process has written this session up to {last}. Let '
                f'nobody else write sessions with "@" in their names.'
            )
        source.rename(item.target)
        durable_files.sync_folder(item.target.parent)
        self._last[item.origin, item.folder] = entry.name

    def _hold(self, item: Item) -> None:
        """Keep recorders and repairs out of a session from its first segment on.

        Raises:
            BlockingIOError: one of them is at work there.
        """
        key, folder = (item.origin, item.folder), item.target.parent
        lock = self._locks.get(key)
        if lock is None or not lock.is_of(folder):
            try:
                self._locks[key] = SessionLock(folder)
            except BlockingIOError as error:
                text = f'{folder.name} is written or repaired by another process'
                raise BlockingIOError(error.errno, text) from error
            names = [*_segments(folder), self._last.get(key, '')]  # What others did meanwhile.
            self._last[key] = max(names, key=_after)
        self._locks.move_to_end(key)
        while len(self._locks) > _MAX_LOCKS:
            self._locks.popitem(last=False)[1].release()

    def _check(self, offer: Offer) -> None:
        if not _SESSION.fullmatch(offer.folder):
            raise refusal(offer, 'the folder is no session name')
        last = _after(offer.after) if not offer.after or _SEGMENT.fullmatch(offer.after) else None
        if last is None:
            raise refusal(offer, f'{printable(offer.after, 80)!r} is no segment')
        for entry in offer.files:
            if not _SEGMENT.fullmatch(entry.name):
                raise refusal(offer, f'{printable(entry.name, 80)!r} is no segment')
            if not 0 < entry.num_bytes <= self._max_bytes:
                raise refusal(
                    offer,
                    f'{entry.name} has {entry.num_bytes} bytes, expected 1 to {self._max_bytes}',
                )
            if segment_number(entry.name) <= last:
                raise refusal(offer, f'{entry.name} is out of order')
            last = segment_number(entry.name)


def segment_number(name: str) -> int:
    """Return the number of a segment by its file name."""
    return int(name[len('segment_') : -len('.hdf5')])


def replica_of(session: str) -> tuple[str, str] | None:
    """Split the name of a replicated session into session and host; None for one of our own."""
    match = _REPLICA.fullmatch(session)
    return (match.group(1), match.group(2)) if match else None


def _after(name: str) -> int:
    return segment_number(name) if _SEGMENT.fullmatch(name) else -1


def _segments(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir() if _SEGMENT.fullmatch(entry.name)]
