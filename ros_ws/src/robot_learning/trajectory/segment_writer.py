"""Writes segments beside a running robot: on a thread of its own, again and again if it must."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from robot_learning.contract import RobotContract
from robot_learning.errors import StoreError
from robot_learning.trajectory.episode import Episode
from robot_learning.trajectory.store import TrajectoryStore

_LOG = logging.getLogger(__name__)


class WrittenSegment(NamedTuple):
    """A segment that became visible."""

    path: Path
    num_bytes: int
    num_steps: int
    total_steps: int  # Written by this writer so far, this segment included.
    first_episode: int
    last_episode: int


class SegmentWriter:
    """Takes pieces of episodes and stores what came since the last segment as the next one.

    While the disk refuses, pieces wait in memory; beyond `max_waiting_steps` the oldest are
    lost and counted. With `max_bytes` the store's oldest segments go, whoever wrote them, so that
    a robot that records for ever does not fill its disk.

    Attributes:
        error: why nothing can be written at the moment; empty when all is well.
        lost_steps: steps given up because too many were waiting.
        lost_episodes: numbers of the episodes that they belong to.
        total_steps: steps written.
        pruned_segments: segments removed to stay within `max_bytes`.
    """

    def __init__(
        self,
        store: TrajectoryStore,
        session: str,
        contract: RobotContract,
        max_waiting_steps: int,
        retry_s: float,
        on_written: Callable[[WrittenSegment], None],
        on_error: Callable[[str], None],
        max_bytes: int | None = None,
    ):
        self.error = ''
        self.lost_steps = 0
        self.lost_episodes: list[int] = []
        self.total_steps = 0
        self.pruned_segments = 0
        self._max_bytes = max_bytes
        self._room = 0  # Bytes that may be written before the store is measured again.
        self._store = store
        self._session = session
        self._contract = contract
        self._max_waiting_steps = max_waiting_steps
        self._retry_s = retry_s
        self._on_written = on_written
        self._on_error = on_error
        self._waiting: deque[Episode] = deque()
        self._changed = threading.Condition()
        self._is_ending = False
        self._thread = threading.Thread(target=self._run, name='segment_writer', daemon=True)
        self._thread.start()

    @property
    def waiting_steps(self) -> int:
        """Steps that are not on disk yet."""
        with self._changed:
            return sum(len(piece) for piece in self._waiting)

    def put(self, pieces: Sequence[Episode]) -> None:
        """Take pieces; they are written as one segment as soon as possible. Never blocks."""
        if not pieces:
            return
        with self._changed:
            self._waiting.extend(pieces)
            self._shorten()
            self._changed.notify()

    def close(self) -> None:
        """Write what is waiting, trying once more if the disk refused, and end the thread."""
        with self._changed:
            self._is_ending = True
            self._changed.notify()
        self._thread.join()
        self._lose(self._waiting)
        self._waiting.clear()

    def _shorten(self) -> None:
        excess = sum(len(piece) for piece in self._waiting) - self._max_waiting_steps
        while excess > 0:
            piece = self._waiting.popleft()
            self._lose([piece])
            excess -= len(piece)

    def _run(self) -> None:
        while True:
            with self._changed:
                if self.error and not self._is_ending:
                    self._changed.wait(self._retry_s)
                while not self._waiting and not self._is_ending:
                    self._changed.wait()
                pieces = list(self._waiting)
                self._waiting.clear()
                is_last = self._is_ending
            if pieces and not self._write(pieces):
                with self._changed:
                    self._waiting.extendleft(reversed(pieces))
                    self._shorten()
            if is_last:
                return

    def _write(self, pieces: list[Episode]) -> bool:
        """Write a segment; False: try these pieces again."""
        try:
            path = self._store.write_segment(pieces, self._session, self._contract)
        except StoreError as error:
            self._refuse(str(error))
            return False
        except (TypeError, ValueError, RuntimeError, MemoryError) as error:
            with self._changed:
                self._lose(pieces)
            self._refuse(
                f'{self._session}: {len(pieces)} pieces cannot be stored ({error}). They are '
                f'lost; look at what is put into attributes of episodes.'
            )
            return True
        self.error = ''
        num_steps = sum(len(piece) for piece in pieces)
        self.total_steps += num_steps
        episodes = [piece.episode for piece in pieces]
        num_bytes = path.stat().st_size if path.exists() else 0  # May be pruned already.
        self._stay_within(num_bytes)
        self._announce(
            WrittenSegment(
                path, num_bytes, num_steps, self.total_steps, min(episodes), max(episodes)
            )
        )
        return True

    def _stay_within(self, num_bytes: int) -> None:
        """Prune the store if what was written may have brought it beyond its budget."""
        self._room -= num_bytes
        if self._max_bytes is None or self._room > 0:
            return
        try:
            # Down to a little less, so that not every segment measures the store again.
            self.pruned_segments += len(self._store.prune(int(0.98 * self._max_bytes)))
        except OSError as error:
            self._on_error(f'{self._store.root}: cannot be pruned ({error}).')
        self._room = int(0.02 * self._max_bytes)

    def _announce(self, written: WrittenSegment) -> None:
        try:
            self._on_written(written)
        except Exception:  # Who listens must not end the recording.
            _LOG.exception('%s: its notice could not be sent; the segment is stored', written.path)

    def _refuse(self, text: str) -> None:
        self.error = text
        self._on_error(text)

    def _lose(self, pieces: Iterable[Episode]) -> None:
        self.lost_steps += sum(len(piece) for piece in pieces)
        self.lost_episodes = sorted({*self.lost_episodes, *(piece.episode for piece in pieces)})
