"""Cuts a piece out of a bag, message by message as they are, into a new bag."""

from __future__ import annotations

import math
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection, ConnectionExtRosbag2
from rosbags.rosbag2.metadata import dump_qos_v9

from robot_learning.errors import ConfigError, DataError, MessageError, StoreError
from robot_learning.trajectory.bags import bag_metadata
from robot_learning.trajectory.bags.bag_metadata import BagTopic
from robot_learning.trajectory.bags.bag_reader import open_bag, read_messages
from robot_learning.trajectory.bags.bag_writer import BagWriter, BagWriterConfig, RawMessage
from robot_learning.trajectory.bags.mcap_stream import McapStream
from robot_learning.trajectory.bags.message_definitions import definition_of

_KEPT_LATCHED = 100  # Messages of a latched topic before the cut that go with it.


class Cut(NamedTuple):
    """Which part of a bag is wanted; times in ns of the recorder's clock, the end excluded."""

    start_ns: int
    end_ns: int
    is_wanted: Callable[[str], bool] = lambda topic: True


@dataclass
class Trimmed:
    """What went into the new bag.

    Attributes:
        messages: by topic, the latched ones included.
        latched: of them, those that were recorded before the cut, by topic.
    """

    target: Path
    duration_s: float
    messages: dict[str, int] = field(default_factory=dict)
    latched: dict[str, int] = field(default_factory=dict)


def trim_bag(
    source: Path | str,
    target: Path | str,
    start_s: float = 0.0,
    end_s: float | None = None,
    last_s: float | None = None,
    is_wanted: Callable[[str], bool] = lambda topic: True,
    config: BagWriterConfig | None = None,
) -> Trimmed:
    """Copy a part of a bag into a new MCAP bag.

    Of latched topics the last hundred messages before the cut come first, logged at the cut's
    start so that a player sends them at once; their time of publication stays. Definitions,
    offered qualities of service and, from MCAP, publication times and sequence numbers stay.

    Args:
        source: folder of a ROS 2 bag, or one .mcap or .db3 file.
        target: folder of the new bag; appears complete or not at all.
        start_s: seconds after the bag's beginning.
        end_s: likewise; None: the bag's end.
        last_s: the last seconds instead of `start_s` and `end_s`.
        is_wanted: which topics.
        config: of the new bag's files.

    Raises:
        ConfigError: a time is no number.
        DataError: the source is no sound ROS 2 bag, or nothing of it is wanted.
        StoreError: the target exists or cannot be written.
    """
    source, target = Path(source), Path(target)
    if target.exists():
        raise StoreError(f'{target}: exists already. Choose another folder for the bag.')
    hidden = target.with_name(f'.{target.name}.part') / target.name
    shutil.rmtree(hidden.parent, ignore_errors=True)  # Left by one that was killed.
    try:
        with open_bag(source) as reader:
            cut = _cut(source, reader, (start_s, end_s, last_s), is_wanted)
            trimmed = _Trimmer(source, reader, cut).write(hidden, config or BagWriterConfig())
        hidden.rename(target)
    except OSError as error:
        raise StoreError(
            f'{target}: cannot be written ({error.strerror}). Choose another folder.'
        ) from error
    finally:
        shutil.rmtree(hidden.parent, ignore_errors=True)
    trimmed.target = target
    return trimmed


def _cut(
    source: Path,
    reader: AnyReader,
    wanted: tuple[float, float | None, float | None],
    is_wanted: Callable[[str], bool],
) -> Cut:
    start_s, end_s, last_s = wanted
    for seconds in wanted:
        if seconds is not None and not math.isfinite(seconds):
            raise ConfigError(f'trim: found {seconds} s, expected a finite time. Correct it.')
    begin_ns, stop_ns = reader.start_time, reader.end_time
    start_ns, end_ns = begin_ns + round(start_s * 1e9), stop_ns
    if last_s is not None:
        start_ns = max(begin_ns, stop_ns - round(last_s * 1e9))
    elif end_s is not None:
        end_ns = min(stop_ns, begin_ns + round(end_s * 1e9))
    length_s = (stop_ns - begin_ns) * 1e-9
    if not any(is_wanted(c.topic) for c in reader.connections):
        there = ', '.join(sorted({c.topic for c in reader.connections}))
        raise DataError(f'{source}: has none of the topics asked for. It holds: {there}.')
    if start_ns >= end_ns:
        raise DataError(
            f'{source}: nothing lies between {start_s:g} s and '
            f'{"the end" if end_s is None else f"{end_s:g} s"}; the bag is {length_s:.3f} s long. '
            f'Choose times within it, the start before the end.'
        )
    return Cut(start_ns, end_ns, is_wanted)


class _Trimmer:
    def __init__(self, source: Path, reader: AnyReader, cut: Cut):
        self._source = source
        self._reader = reader
        self._cut = cut
        self._topics = {
            c.topic: _topic(source, c) for c in reader.connections if cut.is_wanted(c.topic)
        }
        self._latched: dict[str, deque[RawMessage]] = {
            name: deque(maxlen=_KEPT_LATCHED)
            for name, topic in self._topics.items()
            if topic.is_latched
        }

    def write(self, path: Path, config: BagWriterConfig) -> Trimmed:
        writer = BagWriter(path, config)
        trimmed = Trimmed(path, (self._cut.end_ns - self._cut.start_ns) * 1e-9)
        try:
            for topic in self._topics.values():
                writer.set_topic(topic)
            has_begun = False
            for message in self._messages():
                if message.log_ns < self._cut.start_ns:
                    self._latched[message.topic].append(message)
                    continue
                if not has_begun:
                    has_begun = True
                    self._begin(writer, trimmed)
                writer.put_patiently(message)
            if not has_begun:
                self._begin(writer, trimmed)
        finally:
            writer.close()
        counts = writer.counts()
        missing = sum(c.received - c.written for c in counts.values())
        if writer.error or missing:
            raise StoreError(writer.error or f'{path}: {missing} messages were not written.')
        trimmed.messages = {name: c.written for name, c in counts.items()}
        return trimmed

    def _begin(self, writer: BagWriter, trimmed: Trimmed) -> None:
        """Put what late subscribers would have got at the start of the cut."""
        old = sorted(
            (message for kept in self._latched.values() for message in kept),
            key=lambda message: message.log_ns,
        )
        for message in old:
            trimmed.latched[message.topic] = trimmed.latched.get(message.topic, 0) + 1
            writer.put_patiently(
                message._replace(
                    log_ns=self._cut.start_ns, publish_ns=message.publish_ns or message.log_ns
                )
            )

    def _messages(self) -> Iterator[RawMessage]:
        """Yield what is wanted within the cut, and of latched topics also what was before."""
        for message in self._all_messages():
            is_early = message.log_ns < self._cut.start_ns
            if is_early and message.topic not in self._latched:
                continue
            if message.topic in self._topics and message.log_ns < self._cut.end_ns:
                yield message

    def _all_messages(self) -> Iterator[RawMessage]:
        files = _mcap_files(self._source)
        if files:
            for file in files:
                yield from self._from_mcap(file)
            return
        connections = [c for c in self._reader.connections if c.topic in self._topics]
        for connection, log_ns, data in read_messages(self._source, self._reader, connections):
            yield RawMessage(connection.topic, log_ns, bytes(data))

    def _from_mcap(self, file: Path) -> Iterator[RawMessage]:
        """Read a file's chunks, passing over those of which nothing is wanted."""
        with McapStream(file) as stream:
            for chunk in stream.chunks():
                wanted = self._latched if chunk.end_ns < self._cut.start_ns else self._topics
                if chunk.start_ns >= self._cut.end_ns:
                    continue
                if chunk.counts is not None and not chunk.counts.keys() & wanted.keys():
                    continue
                for m in stream.messages(chunk):
                    yield RawMessage(m.channel.topic, m.log_ns, m.data, m.publish_ns, m.sequence)


def _mcap_files(source: Path) -> list[Path]:
    """List the plain MCAP files of a bag in their order; none if it is of another kind."""
    if source.is_file():
        return [source] if source.suffix == '.mcap' else []
    names = [Path(name).name for name in bag_metadata.read(source)['relative_file_paths']]
    return [source / name for name in names] if all(n.endswith('.mcap') for n in names) else []


def _topic(source: Path, connection: Connection) -> BagTopic:
    if not isinstance(connection.ext, ConnectionExtRosbag2):
        raise DataError(
            f'{source}: is a ROS 1 bag, whose messages are encoded differently. Import it with '
            f'"bags import", or convert it with rosbags-convert first.'
        )
    qos: list[Any] = list(dump_qos_v9(connection.ext.offered_qos_profiles))
    definition = connection.msgdef.data
    if not definition:  # As in old sqlite3 bags.
        with suppress(MessageError):
            definition = definition_of(connection.msgtype)
    return BagTopic(
        connection.topic, connection.msgtype, definition, connection.digest, tuple(qos)
    )
