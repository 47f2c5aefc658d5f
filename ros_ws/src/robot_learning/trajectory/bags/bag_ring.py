"""Keeps the last seconds of all topics in memory, to be written when something has happened."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from pydantic import NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.trajectory.bags.bag_metadata import BagNotes, BagTopic, MessageCounts
from robot_learning.trajectory.bags.bag_writer import BagWriter, BagWriterConfig, RawMessage

_KEPT_LATCHED = 100  # Old messages of a latched topic that belong into every snapshot.


@dataclass(frozen=True, config=STRICT)
class RingConfig:
    """How much a ring buffer keeps."""

    seconds: NonNegativeFloat = 0.0  # 0: no ring buffer, everything is written at once.
    max_bytes: PositiveInt = 512 << 20  # The oldest messages go when more would be kept.


class RingBuffer:
    """Takes messages as a `BagWriter` does and writes them when asked.

    Of latched topics the messages that are older than the window are kept too, a hundred of
    each, for without them a snapshot could not be understood.

    Attributes:
        notes: counts by topic. `written` counts what stands in snapshots; a message may be in
            several, and counts once.
    """

    def __init__(self, config: RingConfig, writer: BagWriterConfig):
        self.notes = BagNotes()
        self._config = config
        self._writer_config = writer
        self._topics: dict[str, BagTopic] = {}
        self._window: deque[RawMessage] = deque()
        self._latched: dict[str, deque[RawMessage]] = {}
        self._num_bytes = 0
        self._num_taken = 0  # Messages ever taken into the window.
        self._num_saved = 0  # As many of them were there at the last snapshot.
        self._num_offered = 0  # Likewise, at the one that is being written.
        self._lock = threading.Lock()
        self._is_short = False

    @property
    def num_bytes(self) -> int:
        """Memory that the window takes."""
        return self._num_bytes

    @property
    def is_short(self) -> bool:
        """Whether the window is shorter than asked because of `max_bytes`."""
        return self._is_short

    @property
    def window_s(self) -> float:
        """Time between the oldest and the newest message of the window."""
        with self._lock:
            if not self._window:
                return 0.0
            return (self._window[-1].log_ns - self._window[0].log_ns) * 1e-9

    def counts(self) -> dict[str, MessageCounts]:
        """Return what became of the messages, by topic."""
        with self._lock:
            return dict(self.notes.counts)

    def set_topic(self, topic: BagTopic) -> None:
        """Say what a topic is, before its first message; again when its publishers change."""
        with self._lock:
            self._topics[topic.name] = topic
            self.notes.counts.setdefault(topic.name, MessageCounts())
            if topic.is_latched:
                self._latched.setdefault(topic.name, deque(maxlen=_KEPT_LATCHED))

    def put(self, message: RawMessage) -> None:
        """Take one message; those that are too old by then, or too much, are let go."""
        with self._lock:
            self.notes.counts[message.topic].received += 1
            self._window.append(message)
            self._num_taken += 1
            self._num_bytes += message.size
            oldest_ns = message.log_ns - int(self._config.seconds * 1e9)
            window = self._window
            while window and window[0].log_ns < oldest_ns:
                self._let_go(window.popleft())
                self._is_short = False
            while window and self._num_bytes > self._config.max_bytes:
                self._let_go(window.popleft())
                self._is_short = True

    def snapshot(self, path: Path, notes: Callable[[BagNotes], None] | None = None) -> BagWriter:
        """Write what is kept now as a bag; the window stays and goes on.

        Args:
            path: folder of the bag, which must not exist.
            notes: may add to what the bag says about itself.

        Returns:
            The closed writer, whose `error` tells whether the bag is complete.
        """
        writer = BagWriter(path, self._writer_config)
        with self._lock:
            for topic in self._topics.values():
                writer.set_topic(topic)
            old = [message for kept in self._latched.values() for message in kept]
            window = list(self._window)
            messages = sorted(old, key=lambda message: message.log_ns) + window
            self._num_offered = self._num_taken
        if notes is not None:
            notes(writer.notes)
        writer.put_all(messages)
        writer.close()
        missing = sum(counts.received - counts.written for counts in writer.counts().values())
        if missing and not writer.error:
            writer.error = f'{writer.notes.problem} {missing} messages are not in the snapshot.'
        self._count_written(window, is_written=not writer.error)
        return writer

    def _count_written(self, window: list[RawMessage], is_written: bool) -> None:
        """Count what a snapshot was the first to hold; the window may have gone on since."""
        with self._lock:
            new = min(self._num_offered - self._num_saved, len(window))
            gone = max(0, self._num_taken - len(self._window) - self._num_offered + new)
            for place, message in enumerate(window[len(window) - new :]):
                counts = self.notes.counts[message.topic]
                if is_written:
                    counts.written += 1
                elif place < gone:  # Left the window while it seemed safe.
                    counts.expired += 1
            if is_written:
                self._num_saved = self._num_offered
            self._num_offered = self._num_saved

    def _let_go(self, message: RawMessage) -> None:
        self._num_bytes -= message.size
        kept = self._latched.get(message.topic)
        if kept is not None:
            kept.append(message)
        saved = max(self._num_saved, self._num_offered)
        if self._num_taken - len(self._window) > saved:
            self.notes.counts[message.topic].expired += 1
