"""Writes serialised messages to an MCAP bag of several files, on a thread of its own.

A file is written in a folder of its own and moved beside metadata.yaml when it is complete,
so that the bag is sound at any moment: kill -9 costs the open file at most.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer

from robot_learning.config import STRICT
from robot_learning.errors import ConfigError, MessageError, StoreError
from robot_learning.trajectory.bag_types import Decoder, known_types

_VERSION: Literal[9] = 9  # Of the metadata; Jazzy's.


@dataclass(frozen=True, config=STRICT)
class BagWriterConfig:
    """When a file is complete and how much may wait for the disk."""

    max_file_bytes: PositiveInt = 256 << 20
    max_file_s: PositiveFloat = 60.0  # Wall time; also what kill -9 costs at most.
    max_waiting_bytes: PositiveInt = 64 << 20  # More than this is dropped and counted.
    retry_s: PositiveFloat = 2.0  # Wall time between two tries while the disk refuses.


class _Topic(NamedTuple):
    name: str
    type: str
    length: Callable[[bytes], int]


class BagWriter:
    """Takes messages without ever blocking and writes them in the order of arrival.

    Attributes:
        path: folder of the bag.
        error: why nothing can be written at the moment; empty when all is well.
        written: messages on disk, by topic.
        dropped: messages given up because the disk was too slow or refused, by topic.
        num_bytes: size of all messages written.
    """

    def __init__(self, path: Path | str, config: BagWriterConfig, topics: dict[str, str]):
        """Make the folder and start the thread.

        Args:
            path: folder of the bag; must not exist.
            config: limits.
            topics: name -> message type. Types must be ROS 2's or our own.
        """
        self.path = Path(path)
        self.error = ''
        self.written: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.num_bytes = 0
        self._config = config
        self._topics = {name: _topic(name, kind) for name, kind in topics.items()}
        self._queue: deque[tuple[str, int, bytes]] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._is_ending = False
        self._files: list[dict[str, Any]] = []
        self._part: _Part | None = None
        self._refused_s = float('-inf')
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
        self._thread = threading.Thread(target=self._run, name='bag_writer', daemon=True)
        self._thread.start()

    def put(self, topic: str, log_ns: int, data: bytes) -> None:
        """Take one serialised message; it is dropped and counted if too much is waiting."""
        with self._changed:
            if self._waiting_bytes + len(data) > self._config.max_waiting_bytes:
                self.dropped[topic] += 1
                return
            self._queue.append((topic, log_ns, data))
            self._waiting_bytes += len(data)
            self._changed.notify()

    def close(self) -> None:
        """Write what is waiting and complete the bag."""
        with self._changed:
            self._is_ending = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._is_ending:
                    if not self._changed.wait(self._config.max_file_s):
                        break
                batch, self._queue = self._queue, deque()
                self._waiting_bytes = 0
                is_last = self._is_ending
            for index, (topic, log_ns, data) in enumerate(batch):
                if not self._write(topic, log_ns, data):
                    self.dropped.update(item[0] for item in list(batch)[index:])
                    break
            self._guarded(self._complete if is_last else self._rotate)
            if is_last:
                return

    def _write(self, topic: str, log_ns: int, data: bytes) -> bool:
        if time.monotonic() - self._refused_s < self._config.retry_s:
            return False

        def write() -> None:
            self._rotate()
            if self._part is None:
                self._part = _Part(self.path, len(self._files), self._topics)
            self.num_bytes += self._part.write(topic, log_ns, data)
            self.written[topic] += 1
            self.error = ''

        return self._guarded(write)

    def _guarded(self, effect: Callable[[], None]) -> bool:
        """Run a file operation; a disk that refuses ends the open file and is named."""
        try:
            effect()
        except OSError as error:
            self.error = f'{self.path}: cannot be written ({error.strerror}). Free disk space.'
            self._refused_s = time.monotonic()
            if self._part is not None:
                self._part.abort()
                self._part = None
            return False
        return True

    def _rotate(self) -> None:
        """Complete the open file if it is large or old enough."""
        part = self._part
        if part is None:
            return
        is_old = time.monotonic() - part.begun_s > self._config.max_file_s
        if is_old or part.num_bytes > self._config.max_file_bytes:
            self._complete()

    def _complete(self) -> None:
        """Complete the open file and describe the bag anew."""
        if self._part is None:
            return
        self._files.append(self._part.complete())
        self._part = None
        _write_metadata(self.path, self._files)


class _Part:
    """The open file of a bag."""

    def __init__(self, bag: Path, number: int, topics: dict[str, _Topic]):
        self.begun_s = time.monotonic()
        self.num_bytes = 0
        self._bag = bag
        self._topics = topics
        self._folder = bag / f'{bag.name}_{number}'
        shutil.rmtree(self._folder, ignore_errors=True)  # Left by a disk that refused.
        self._writer = Writer(self._folder, version=_VERSION, storage_plugin=StoragePlugin.MCAP)
        self._writer.open()
        self._connections: dict[str, Connection] = {
            topic.name: self._writer.add_connection(
                topic.name, topic.type, typestore=known_types()
            )
            for topic in topics.values()
        }

    def write(self, topic: str, log_ns: int, data: bytes) -> int:
        """Write one message without stray bytes behind it; return its size."""
        with contextlib.suppress(MessageError):  # Kept as it came: a raw bag holds what was sent.
            data = data[: self._topics[topic].length(data)]
        self._writer.write(self._connections[topic], log_ns, data)
        self.num_bytes += len(data)
        return len(data)

    def complete(self) -> dict[str, Any]:
        """Close the file, move it into the bag and return its part of the metadata."""
        self._writer.close()
        text = (self._folder / 'metadata.yaml').read_text(encoding='utf-8')
        metadata: dict[str, Any] = yaml.safe_load(text)['rosbag2_bagfile_information']
        name = metadata['relative_file_paths'][0]
        (self._folder / name).rename(self._bag / name)
        shutil.rmtree(self._folder)
        return metadata

    def abort(self) -> None:
        """Leave the file as it is."""
        with contextlib.suppress(OSError):  # The disk that refused refuses the rest too.
            self._writer.abort()


def _write_metadata(bag: Path, files: list[dict[str, Any]]) -> None:
    """Write metadata.yaml for all complete files, in rosbag2's standard form."""
    filled = [f for f in files if f['message_count']] or files[:1]
    start = min(f['starting_time']['nanoseconds_since_epoch'] for f in filled)
    end = max(
        f['starting_time']['nanoseconds_since_epoch'] + f['duration']['nanoseconds']
        for f in filled
    )
    counts: Counter[str] = Counter()
    for file in files:
        for entry in file['topics_with_message_count']:
            counts[entry['topic_metadata']['name']] += entry['message_count']
    merged = {
        **files[0],
        'relative_file_paths': [f['relative_file_paths'][0] for f in files],
        'duration': {'nanoseconds': end - start},
        'starting_time': {'nanoseconds_since_epoch': start},
        'message_count': sum(counts.values()),
        'topics_with_message_count': [
            {**entry, 'message_count': counts[entry['topic_metadata']['name']]}
            for entry in files[0]['topics_with_message_count']
        ],
        'files': [f['files'][0] for f in files],
    }
    temporary = bag / 'metadata.yaml.tmp'
    text = yaml.safe_dump({'rosbag2_bagfile_information': merged}, sort_keys=False)
    temporary.write_text(text, encoding='utf-8')
    temporary.replace(bag / 'metadata.yaml')


def _topic(name: str, kind: str) -> _Topic:
    if kind not in known_types().fielddefs:
        raise ConfigError(
            f'topic {name!r}: type {kind!r} has no known definition, so it cannot stand in a '
            f'bag. Correct the contract.'
        )
    return _Topic(name, kind, Decoder(kind).length)
