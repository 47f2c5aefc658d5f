"""Messages, live ones and those of bags, go to a recorder by one and the same way."""

from __future__ import annotations

import json
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from robot_learning.contract import ActionField, ObservationField, RobotContract
from robot_learning.errors import MessageError
from robot_learning.trajectory import messages
from robot_learning.trajectory.actions import command_key
from robot_learning.trajectory.episode import Array
from robot_learning.trajectory.recorder import Recorder
from robot_learning.trajectory.signals import (
    DECISIONS,
    MARKS,
    OUTCOMES,
    SIGNAL_TYPES,
    Decision,
    Mark,
    Outcome,
)

DISCARDED = 'discarded'  # Reason of an end mark: what was recorded and not yet written is dropped.
_SYNONYMS = {  # Commands read the same from both; robots differ in which one they take.
    'geometry_msgs/msg/Twist': 'geometry_msgs/msg/TwistStamped',
    'geometry_msgs/msg/TwistStamped': 'geometry_msgs/msg/Twist',
}
_ONE_SECOND_NS = 1_000_000_000

Reader = Callable[[Any], Array]
MakeConverter = Callable[[ObservationField, str], Reader]


class Source(NamedTuple):
    """A topic that a recorder wants."""

    topic: str  # As the contract writes it.
    types: tuple[str, ...]  # Message types that can be read; the first one is expected.
    qos: str


class Intake:
    """Turns the messages that a contract names into what a `Recorder` takes.

    A message that cannot be read is counted as refused; the first reason of each topic is kept.

    Attributes:
        sources: the wanted topics, by name.
        problems: topic -> why its first refused message was refused.
    """

    def __init__(
        self,
        contract: RobotContract,
        recorder: Recorder,
        make_converter: MakeConverter = messages.make_converter,
    ):
        self._recorder = recorder
        self.problems: dict[str, str] = {}
        self.sources: dict[str, Source] = {}
        self._readers: dict[str, list[tuple[str, Reader]]] = {}
        for name, spec in contract.observation.items():
            self.sources[spec.topic] = Source(spec.topic, (spec.type,), spec.qos)
            reader = make_converter(spec, name)
            self._readers.setdefault(spec.topic, []).append((name, reader))
        if recorder.config.actions_from == 'commands':
            for name, action in contract.learned_actions.items():
                self._add_command(name, action)
        self._signals: dict[str, Callable[[Any, int], None]] = {
            OUTCOMES: self._outcome,
            MARKS: self._mark,
        }
        if recorder.config.actions_from == 'policy':
            self._signals[DECISIONS] = self._decision
        for topic in self._signals:
            qos = 'latched' if topic == MARKS else 'reliable'
            self.sources[topic] = Source(topic, (SIGNAL_TYPES[topic],), qos)

    def take(self, topic: str, message: Any, now_ns: Callable[[], int]) -> None:
        """Give one message to the recorder.

        Args:
            topic: as the contract writes it.
            message: of one of the source's types, from rclpy or rosbags.
            now_ns: reads the clock that stamps the robot's messages; its time stands in for
                the stamp of messages that have none.
        """
        try:
            stamp_ns = messages.stamp_ns(message)
            if stamp_ns is None or (stamp_ns == 0 and now_ns() > _ONE_SECOND_NS):
                stamp_ns = now_ns()  # No header, or one that was never filled.
            signal = self._signals.get(topic)
            if signal is not None:
                signal(message, stamp_ns)
                return
            values = {name: read(message) for name, read in self._readers[topic]}
            self._recorder.read(topic, stamp_ns, values)
        except MessageError as error:
            self.refuse(topic, str(error))

    def refuse(self, topic: str, problem: str) -> None:
        """Count a message that cannot be read, and keep the topic's first reason."""
        self.problems.setdefault(topic, f'{topic}: {problem}')
        self._recorder.refuse(topic)

    def _add_command(self, name: str, action: ActionField) -> None:
        known = self.sources.get(action.topic)
        types = (action.type, *filter(None, [_SYNONYMS.get(action.type)]))
        if known is None:
            self.sources[action.topic] = Source(action.topic, types, 'reliable')
        reader = _command_reader(name, action)
        self._readers.setdefault(action.topic, []).append((command_key(name), reader))

    def _decision(self, message: Any, stamp_ns: int) -> None:
        self._recorder.act(
            Decision(
                stamp_ns,
                np.array(message.commanded, np.float32),
                np.array(message.executed, np.float32),
                int(message.version),
                float(message.log_probability),
                bool(message.altered),
                bool(message.exploring),
                bool(getattr(message, 'intervention', False)),  # Bags of before have none.
            )
        )

    def _outcome(self, message: Any, stamp_ns: int) -> None:
        self._recorder.arrive(
            Outcome(
                stamp_ns,
                int(message.episode),
                int(message.step),
                bool(message.is_first),
                float(message.reward),
                bool(message.terminated),
                bool(message.truncated),
                bool(message.success),
            )
        )

    def _mark(self, message: Any, stamp_ns: int) -> None:
        is_operator = message.source == 'operator'
        self._recorder.mark(
            Mark(
                stamp_ns,
                is_begin=int(message.event) == 0,
                episode=None if is_operator else int(message.episode),
                source=str(message.source),
                seed=int(message.seed),
                terminated=bool(message.terminated),
                truncated=bool(message.truncated),
                success=bool(message.success),
                reason=str(message.reason),
                discard=is_operator and message.reason == DISCARDED,
                info=_facts(message.info_json),
            )
        )


def _command_reader(name: str, action: ActionField) -> Reader:
    """Return a function from a command message to its components [A] float32."""
    getters = [attrgetter(component) for component in action.components]
    is_array = action.type.endswith('MultiArray')

    def read(message: Any) -> Array:
        body = getattr(message, 'twist', getattr(message, 'pose', message))
        try:
            if is_array:
                values = np.array(message.data, np.float32)
            else:
                values = np.array([get(body) for get in getters], np.float32)
        except AttributeError as error:
            raise MessageError(
                f'action {name!r} ({action.topic}): found a {type(message).__name__} ({error}), '
                f'expected {action.type}. Check what is published on the topic.'
            ) from error
        if values.shape != (action.size,):
            raise MessageError(
                f'action {name!r} ({action.topic}): found {values.size} values, expected '
                f'{action.size}. Correct the publisher or the components in the contract.'
            )
        return values

    return read


def _facts(text: str) -> dict[str, Any]:
    """Return a mark's task facts; text that is no JSON object is kept as it is."""
    if not text:
        return {}
    try:
        facts = json.loads(text)
    except json.JSONDecodeError:
        return {'text': text}
    return facts if isinstance(facts, dict) else {'value': facts}
