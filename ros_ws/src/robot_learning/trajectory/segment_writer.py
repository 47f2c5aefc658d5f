"""Writes segments beside a running robot: on a thread of its own, again and again if it must."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from robot_learning.contract import RobotContract
from robot_learning.errors import StoreError
from robot_learning.trajectory.episode import Episode
from robot_learning.trajectory.store import TrajectoryStore


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
    lost and counted.

    Attributes:
        error: why nothing can be written at the moment; empty when all is well.
        lost_steps: steps given up because too many were waiting.
        total_steps: steps written.
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
    ):
        self.error = ''
        self.lost_steps = 0
        self.total_steps = 0
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
        self.lost_steps += sum(len(piece) for piece in self._waiting)
        self._waiting.clear()

    def _shorten(self) -> None:
        excess = sum(len(piece) for piece in self._waiting) - self._max_waiting_steps
        while excess > 0:
            lost = len(self._waiting.popleft())
            self.lost_steps += lost
            excess -= lost

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
        try:
            path = self._store.write_segment(pieces, self._session, self._contract)
        except StoreError as error:
            self.error = str(error)
            self._on_error(self.error)
            return False
        self.error = ''
        num_steps = sum(len(piece) for piece in pieces)
        self.total_steps += num_steps
        episodes = [piece.episode for piece in pieces]
        self._on_written(
            WrittenSegment(
                path,
                path.stat().st_size,
                num_steps,
                self.total_steps,
                min(episodes),
                max(episodes),
            )
        )
        return True
