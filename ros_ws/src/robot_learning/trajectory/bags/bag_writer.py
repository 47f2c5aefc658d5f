"""Writes serialised messages to an MCAP bag of several files, on a thread of its own.

metadata.yaml names the complete files, so the bag is sound at any moment; the open file stands
beside them under its final name. kill -9 costs what came in the last `flush_s` seconds at most,
once `bags recover` has read the open file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.errors import StoreError
from robot_learning.trajectory.bags import bag_metadata
from robot_learning.trajectory.bags.bag_metadata import BagFile, BagNotes, BagTopic, MessageCounts
from robot_learning.trajectory.bags.mcap_file import Compression, McapFile

_TURN_S = 0.05
_EAGER_BYTES = 1 << 20  # So much waiting wakes the thread before its turn.
_BATCH = 512
# Space kept back so that a bag can be completed on a disk that is full: index and metadata.
_RESERVE_BYTES = 1 << 20
_RESERVE = '.reserve'


@dataclass(frozen=True, config=STRICT)
class BagWriterConfig:
    """When a file is complete and how much may wait for the disk."""

    max_file_bytes: PositiveInt = 256 << 20
    max_file_s: PositiveFloat = 60.0  # Wall time.
    max_waiting_bytes: PositiveInt = 64 << 20  # More than this is dropped and counted.
    flush_s: PositiveFloat = 0.5  # Wall time until a message is in the file; kill -9 costs this.
    retry_s: PositiveFloat = 2.0  # Wall time between two tries while the disk refuses.
    compression: Compression = ''  # Of chunks inside the files: empty or zstd.


class RawMessage(NamedTuple):
    """One serialised message; its topic was given to the writer before."""

    topic: str
    log_ns: int  # When it was received.
    data: bytes
    publish_ns: int = 0  # When it was sent; 0: unknown.
    sequence: int = 0  # Its publisher's number.

    @property
    def size(self) -> int:
        """Memory that it takes, roughly."""
        return len(self.data) + 200


class BagWriter:
    """Takes messages without ever blocking and writes them in the order of arrival.

    Attributes:
        path: folder of the bag.
        error: why nothing can be written at the moment; empty when all is well.
        notes: counts by topic and skipped topics; they get into the bag's metadata. `written`
            is right after `close`, and `counts()` brings it up to date.
    """

    def __init__(self, path: Path | str, config: BagWriterConfig):
        """Make the folder, which must not exist, and start the thread."""
        self.path = Path(path)
        self.error = ''
        self.notes = BagNotes(bag_metadata.RECORDING)
        self._config = config
        self._topics: dict[str, BagTopic] = {}
        # As the files of this bag have them. Readers take a topic that another file describes
        # otherwise for a different one, so publishers that come later change nothing.
        self._described: dict[str, BagTopic] = {}
        self._queue: deque[RawMessage] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._is_ending = False
        self._splits: list[threading.Event] = []
        self._files: list[BagFile] = []
        self._open: _OpenFile | None = None
        self._refused_s = float('-inf')
        self._finished_bytes = 0
        try:
            self.path.mkdir(parents=True)
        except FileExistsError:
            raise StoreError(
                f'{self.path}: exists already. Choose another folder for the bag.'
            ) from None
        except OSError as error:
            raise StoreError(
                f'{self.path}: cannot be made ({error.strerror}). Choose another folder.'
            ) from error
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._guard, name='bag_writer', daemon=True)
        self._thread.start()

    @property
    def num_bytes(self) -> int:
        """Size of all files."""
        current = self._open
        return self._finished_bytes + (current.file.num_bytes if current else 0)

    def counts(self) -> dict[str, MessageCounts]:
        """Return what became of the messages, by topic."""
        if self._failure is not None:
            raise RuntimeError('the thread that writes has ended') from self._failure
        written: Counter[str] = Counter()
        for file in list(self._files):
            written.update(file.counts)
        current = self._open
        if current is not None:
            written.update(current.counts())
        with self._changed:
            for topic, counts in self.notes.counts.items():
                counts.written = written[topic]
            return dict(self.notes.counts)

    def set_topic(self, topic: BagTopic) -> None:
        """Say what a topic is; what holds at its first message stands in the whole bag."""
        with self._changed:
            self._topics[topic.name] = topic
            self.notes.counts.setdefault(topic.name, MessageCounts())

    def put(self, message: RawMessage) -> None:
        """Take one message; it is dropped and counted if too much is waiting."""
        self.put_all((message,), self._config.max_waiting_bytes)

    def put_all(self, messages: Iterable[RawMessage], max_waiting_bytes: int = 2**63) -> None:
        """Take messages that are in memory anyway, however many."""
        with self._changed:
            before = self._waiting_bytes
            for message in messages:
                counts = self.notes.counts[message.topic]
                counts.received += 1
                if self._waiting_bytes + message.size > max_waiting_bytes:
                    counts.dropped += 1
                    continue
                self._queue.append(message)
                self._waiting_bytes += message.size
            if before < _EAGER_BYTES <= self._waiting_bytes:
                self._changed.notify()

    def put_patiently(self, message: RawMessage) -> None:
        """Take one message, after waiting for the disk if it must; for tools, not for robots.

        Raises:
            StoreError: the disk refuses.
        """
        while self._waiting_bytes > self._config.max_waiting_bytes // 2:
            if self.error:
                raise StoreError(self.error)
            time.sleep(_TURN_S / 10)
        self.put(message)

    def split(self, timeout_s: float = 10.0) -> str:
        """Complete the open file; return its name, empty when there was none to complete."""
        before = len(self._files)
        done = threading.Event()
        with self._changed:
            self._splits.append(done)
            self._changed.notify()
        done.wait(timeout_s)
        files = list(self._files)
        return files[-1].name if len(files) > before else ''

    def close(self) -> None:
        """Write what is waiting and complete the bag."""
        with self._changed:
            self._is_ending = True
            self._changed.notify()
        self._thread.join()

    def _guard(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self._failure = error
            raise

    def _run(self) -> None:
        while True:
            with self._changed:
                is_eager = self._waiting_bytes >= _EAGER_BYTES and not self._is_refused()
                if not (is_eager or self._is_ending or self._splits):
                    self._changed.wait(_TURN_S)
                is_last = self._is_ending
                splits, self._splits = self._splits, []
            if is_last:
                self._end()
            elif not self._is_refused():
                self._guarded(self._write_waiting)
                if splits:
                    self._guarded(self._complete_file)
            for done in splits:
                done.set()
            if is_last:
                return

    def _write_waiting(self) -> None:
        """Write all that waits; complete the open file when it is large or old enough."""
        while self._queue:
            if self._open is None:
                self._reserve()
                self._open = self._begin_file()
            with self._changed:
                batch = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
            taken = 0
            try:
                for message in batch:
                    taken += 1
                    self._open.write(message, self._description(message.topic))
                    if self._open.file.num_bytes > self._config.max_file_bytes:
                        break
            finally:  # A refused chunk keeps the message that filled it.
                with self._changed:
                    self._queue.extendleft(reversed(batch[taken:]))
                    self._waiting_bytes -= sum(message.size for message in batch[:taken])
            self._rotate()
        if self._open is not None:
            self._open.flush_if_due(self._config.flush_s)
            self._rotate()

    def _begin_file(self) -> _OpenFile:
        return _OpenFile(self.path, len(self._files), self._config.compression)

    def _rotate(self) -> None:
        current = self._open
        if current is None or not current.has_messages:
            return
        is_old = time.monotonic() - current.begun_s > self._config.max_file_s
        if is_old or current.file.num_bytes > self._config.max_file_bytes:
            self._complete_file()

    def _is_refused(self) -> bool:
        return time.monotonic() - self._refused_s < self._config.retry_s

    def _guarded(self, effect: Callable[[], None]) -> bool:
        """Run a file operation; a disk that refuses is named and asked again later."""
        try:
            effect()
        except OSError as error:
            self.error = f'{self.path}: cannot be written ({error.strerror}). Free disk space.'
            self.notes.problem = self.error
            self._refused_s = time.monotonic()
            return False
        self.error = ''
        return True

    def _complete_file(self) -> None:
        current = self._open
        if current is None:
            return
        for name, topic in list(self._topics.items()):  # Those without messages too.
            if topic.qos or name in self._described:
                current.channel(self._description(name))
        current.file.flush()
        file = current.described()
        self.counts()  # Up to date for the metadata.
        current.complete(bag_metadata.describe([file], self._known_topics()))
        self._finished_bytes += current.file.num_bytes
        self._open = None
        self._files.append(file)
        self._describe()

    def _describe(self) -> None:
        with self._changed:
            description = bag_metadata.describe(self._files, self._known_topics(), self.notes)
        bag_metadata.write(self.path, description)

    def _description(self, topic: str) -> BagTopic:
        return self._described.setdefault(topic, self._topics[topic])

    def _known_topics(self) -> list[BagTopic]:
        return [self._described.get(name, topic) for name, topic in list(self._topics.items())]

    def _reserve(self) -> None:
        path = self.path / _RESERVE
        if path.exists():
            return
        try:
            with path.open('wb') as file:
                os.posix_fallocate(file.fileno(), 0, _RESERVE_BYTES)
        except OSError:
            path.unlink(missing_ok=True)
            raise

    def _end(self) -> None:
        """Complete the bag, on a full disk with the space that was kept back."""
        if not self._guarded(self._write_all):
            self._give_up_waiting()
        with contextlib.suppress(OSError):
            (self.path / _RESERVE).unlink()
        self.notes.state = bag_metadata.COMPLETE
        if not self._guarded(self._complete_bag):
            self.notes.state = bag_metadata.RECORDING
            self.error += f' Then run "bags recover {self.path} --out FOLDER".'
        self.counts()

    def _write_all(self) -> None:
        self._write_waiting()
        if self._open is not None:
            self._open.file.flush()

    def _complete_bag(self) -> None:
        if self._open is None and not self._files:  # A bag without messages.
            self._open = self._begin_file()
        self._complete_file()
        self._describe()

    def _give_up_waiting(self) -> None:
        """Count everything as dropped that is not in a file."""
        with self._changed:
            lost = Counter(message.topic for message in self._queue)
            self._queue.clear()
            self._waiting_bytes = 0
            if self._open is not None:
                lost += self._open.drop_waiting()
            for topic, count in lost.items():
                self.notes.counts[topic].dropped += count


class _OpenFile:
    """The file of a bag that is being written. It is locked, so that others can tell."""

    def __init__(self, bag: Path, number: int, compression: Compression):
        path = bag / f'{bag.name}_{number}.mcap'
        path.unlink(missing_ok=True)  # Empty: left by a disk that refused.
        self.file = McapFile(path, compression)
        self.begun_s = self._flushed_s = time.monotonic()
        self._channels: dict[str, int] = {}
        with contextlib.suppress(OSError):  # Not all file systems have locks.
            fcntl.flock(self.file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)

    @property
    def has_messages(self) -> bool:
        return bool(self.file.counts or self.file.num_waiting)

    def channel(self, topic: BagTopic) -> int:
        number = self._channels.get(topic.name)
        if number is None:
            number = self.file.add_channel(
                topic.name, topic.type, topic.definition, topic.channel_metadata()
            )
            self._channels[topic.name] = number
        return number

    def write(self, message: RawMessage, topic: BagTopic) -> None:
        self.file.write(
            self.channel(topic),
            message.log_ns,
            message.data,
            message.publish_ns,
            message.sequence,
        )

    def flush_if_due(self, period_s: float) -> None:
        if time.monotonic() - self._flushed_s >= period_s:
            self.file.flush()
            self._flushed_s = time.monotonic()

    def counts(self) -> Counter[str]:
        """Messages in the file, by topic."""
        return self._by_topic(self.file.counts)

    def drop_waiting(self) -> Counter[str]:
        return self._by_topic(self.file.drop_chunk())

    def described(self) -> BagFile:
        counts = dict(self.counts())
        return BagFile(self.file.path.name, self.file.start_ns, self.file.end_ns, counts)

    def complete(self, description: dict[str, object]) -> None:
        self.file.complete(bag_metadata.embedded(description))

    def _by_topic(self, counts: Counter[int]) -> Counter[str]:
        return Counter(
            {topic: n for topic, channel in list(self._channels.items()) if (n := counts[channel])}
        )
