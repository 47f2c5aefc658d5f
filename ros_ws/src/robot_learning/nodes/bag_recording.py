"""Records raw topics on behalf of a node: to a bag, or to a ring buffer until somebody asks."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rclpy.node import Node
from std_srvs.srv import Trigger

from robot_learning.errors import StoreError
from robot_learning.nodes.diagnostics import ERROR, OK, WARN, Health
from robot_learning.nodes.raw_input import RawInput
from robot_learning.nodes.run import ServiceThread
from robot_learning.nodes.topic_choice import TopicChoice
from robot_learning.trajectory.bags.bag_metadata import BagNotes, BagTopic, MessageCounts
from robot_learning.trajectory.bags.bag_ring import RingBuffer, RingConfig
from robot_learning.trajectory.bags.bag_writer import BagWriter, BagWriterConfig, RawMessage


class BagRecording:
    """One recording, with its services ~/pause, ~/resume, ~/split and ~/snapshot.

    Attributes:
        path: folder of the bag; with a ring buffer, of the snapshots.
        skipped: topic -> why it cannot be recorded.
        is_paused: whether messages are counted only.
    """

    def __init__(
        self,
        owner: Node,
        path: Path,
        writer: BagWriterConfig,
        ring: RingConfig,
        topics: Mapping[str, str],
        choice: TopicChoice,
    ):
        """Begin to record.

        Args:
            owner: the node on whose behalf it is done; its remappings apply.
            path: folder of the bag; must not exist.
            writer: limits of the bag's files.
            ring: keeps messages in memory instead, where it says so.
            topics: name -> type of those that are known before anybody publishes them.
            choice: which further ones are recorded.
        """
        self.path = path
        self.skipped: dict[str, str] = {}
        self.is_paused = False
        self._logger = owner.get_logger()
        self._ring = RingBuffer(ring, writer) if ring.seconds else None
        self._sink: BagWriter | RingBuffer = self._ring or BagWriter(path, writer)
        self._snapshots = threading.Lock()
        self._num_snapshots = 0
        self._error = ''
        names = {owner.resolve_topic_name(name) for name in choice.names}
        known = {owner.resolve_topic_name(name): kind for name, kind in topics.items()}
        self._input = RawInput(
            owner,
            {name: kind for name, kind in known.items() if not choice.excludes(name)},
            lambda topic: topic in names or choice.includes(topic),
            self._on_topic,
            self._on_message,
            self._on_skip,
        )
        self._services = ServiceThread(owner)
        for name, answer in (
            ('pause', self._pause),
            ('resume', self._resume),
            ('split', self._split),
            ('snapshot', self._answer_snapshot),
        ):
            self._services.node.create_service(
                Trigger, self._services.private_name(name), _service(answer)
            )
        self._services.start()
        self._input.start()

    @property
    def num_topics(self) -> int:
        """Topics that are subscribed to."""
        return len(self._input.topics)

    @property
    def num_bytes(self) -> int:
        """Size of the bag's files, or of the ring buffer."""
        return self._sink.num_bytes

    @property
    def is_ring(self) -> bool:
        """Whether messages stay in memory until a snapshot is asked for."""
        return self._ring is not None

    @property
    def error(self) -> str:
        """Why nothing can be written at the moment; empty when all is well."""
        return self._error if isinstance(self._sink, RingBuffer) else self._sink.error

    @property
    def last_error(self) -> str:
        """Why something could not be written, the last time it could not."""
        return self.error or self._sink.notes.problem

    def counts(self) -> dict[str, MessageCounts]:
        """Return what became of the messages, by topic."""
        if self._input.failure is not None:
            raise RuntimeError('the thread that takes messages has ended') from self._input.failure
        self._count_lost()
        return self._sink.counts()

    def snapshot(self) -> Path:
        """Write the ring buffer as a bag and return its folder.

        Raises:
            StoreError: there is no ring buffer, or the bag cannot be written.
        """
        if self._ring is None:
            raise StoreError(
                'snapshot: there is no ring buffer, everything is written at once. Set '
                'ring.seconds (bags record --ring SECONDS).'
            )
        with self._snapshots:
            self._num_snapshots += 1
            stamp = datetime.datetime.now().strftime('%Y%m%d-%H%M%S')
            path = self.path / f'{stamp}_{self._num_snapshots}'
            self._count_lost()
            self._error = self._ring.snapshot(path, self._complete_notes).error
        if self._error:
            raise StoreError(self._error)
        return path

    def close(self) -> None:
        """Take what has come until now and complete the bag."""
        self._services.stop()
        self._input.stop()
        self._count_lost()
        if isinstance(self._sink, BagWriter):
            self._sink.close()

    def health(self) -> Health:
        """Return the state of the recording for /diagnostics."""
        counts = self.counts()
        values = dict.fromkeys(('received', 'written', 'dropped', 'lost'), 0)
        for name in values:
            values[name] = sum(getattr(c, name) or 0 for c in counts.values())
        shown: dict[str, Any] = {
            **values,
            'bytes': self.num_bytes,
            'skipped': len(self.skipped),
            'bag': self.path,
        }
        for topic, c in counts.items():
            shown[topic] = (
                f'received {c.received}, written {c.written}, dropped {c.dropped}, '
                f'lost {"unknown" if c.lost is None else c.lost}'
            )
        shown |= {f'skipped {topic}': reason for topic, reason in dict(self.skipped).items()}
        if self._ring is not None:
            shown['window_s'] = self._ring.window_s
        missing = values['dropped'] + values['lost']
        if self.error:
            return Health(ERROR, self.error, shown)
        if missing:
            return Health(WARN, f'{missing} messages are not in the bag', shown)
        if self._ring is not None and self._ring.is_short:
            return Health(WARN, 'ring.max_bytes makes the window shorter than asked', shown)
        if self.skipped:
            return Health(WARN, f'{len(self.skipped)} topics cannot be recorded', shown)
        state = 'paused' if self.is_paused else 'keeping' if self.is_ring else 'writing'
        return Health(OK, state, shown)

    def _on_topic(self, topic: BagTopic) -> None:
        self._sink.set_topic(topic)

    def _on_message(self, message: RawMessage) -> None:
        if self.is_paused:
            counts = self._sink.notes.counts[message.topic]
            counts.received += 1
            counts.paused += 1
        else:
            self._sink.put(message)

    def _on_skip(self, topic: str, reason: str) -> None:
        self.skipped[topic] = reason
        self._sink.notes.skipped[topic] = reason
        self._logger.warning(f'{topic}: {reason} Not recorded.')

    def _count_lost(self) -> None:
        for name, topic in list(self._input.topics.items()):
            self._sink.notes.counts[name].lost = topic.gaps.lost

    def _complete_notes(self, notes: BagNotes) -> None:
        notes.skipped.update(self.skipped)
        for name, counts in notes.counts.items():
            counts.lost = self._sink.notes.counts[name].lost

    def _pause(self) -> str:
        self.is_paused = True
        return 'paused: messages are counted and not recorded until resume'

    def _resume(self) -> str:
        self.is_paused = False
        return 'recording'

    def _split(self) -> str:
        if not isinstance(self._sink, BagWriter):
            raise StoreError('split: a ring buffer has no files. Ask for a snapshot.')
        name = self._sink.split()
        if not name:
            raise StoreError(
                f'split: no file was completed. {self._sink.error or "Nothing was recorded yet."}'
            )
        return str(self.path / name)

    def _answer_snapshot(self) -> str:
        return str(self.snapshot())


def _service(answer: Any) -> Any:
    """Return a service callback whose message is what `answer` returns, or its error."""

    def on_request(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            response.message = answer()
            response.success = True
        except StoreError as error:
            response.message = str(error)
        return response

    return on_request
