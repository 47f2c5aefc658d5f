"""Takes the bytes of topics as they came, with the middleware's stamps and numbers.

The executors of rclpy give neither to a callback, or are too slow. So subscriptions belong to a
hidden node that no executor turns; a thread waits for all of them at once and empties them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rclpy.exceptions import NoTypeSupportImportedException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo

from robot_learning.errors import ConfigError, MessageError
from robot_learning.nodes.matched_qos import ANY, Offer, queue_depth, rosbag2_profile
from robot_learning.nodes.reading_input import message_type
from robot_learning.trajectory.bags.bag_metadata import BagTopic
from robot_learning.trajectory.bags.bag_writer import RawMessage
from robot_learning.trajectory.bags.message_definitions import definition_of
from robot_learning.trajectory.sequence_gaps import SequenceGaps

_LOOK_AROUND_S = 0.2
_NAP_S = 0.002  # So much comes at once then: waiting costs more than taking.
_AT_ONCE = 256  # Messages of one topic before the others have their turn.


class RawTopic:
    """One topic, with a subscription for each kind of publisher it has.

    A subscription as strong as the publisher loses nothing that could be had; one of a weaker
    publisher hears the stronger ones too, so what comes twice is taken once.
    """

    def __init__(
        self, node: Node, name: str, type_name: str, publishers: Iterable[TopicEndpointInfo] = ()
    ):
        self.name = name
        self.type_name = type_name
        self.gaps = SequenceGaps()
        self.num_publishers = 0
        self._node = node
        self._message_class = message_type(type_name)
        self._definition = definition_of(type_name)
        self._type_hash = ''
        self._profiles: dict[bytes, dict[str, Any]] = {}  # By publisher, all that ever were.
        self._publishers: set[bytes] = set()
        self._leaving: set[Offer] = set()
        self.subscriptions: dict[Offer, Subscription] = {}
        if not self.match(publishers):
            self._subscribe(ANY)

    def describe(self) -> BagTopic:
        """Return what a bag says about the topic."""
        profiles = tuple(self._profiles.values())
        return BagTopic(self.name, self.type_name, self._definition, self._type_hash, profiles)

    def match(self, publishers: Iterable[TopicEndpointInfo]) -> bool:
        """Follow the publishers that there are; tell whether the description changed."""
        there = {bytes(p.endpoint_gid): p for p in publishers if p.topic_type == self.type_name}
        is_new = not there.keys() <= self._profiles.keys()
        if not self._publishers <= there.keys():
            self.gaps.restart()
        self._publishers = set(there)
        self.num_publishers = len(there)
        for gid, publisher in there.items():
            self._profiles[gid] = rosbag2_profile(publisher.qos_profile)
            text = str(publisher.topic_type_hash)
            self._type_hash = text if text.startswith('RIHS01_') else self._type_hash
        wanted = {Offer.of(p.qos_profile) for p in there.values()}
        if wanted:
            for offer in wanted - self.subscriptions.keys():
                self._subscribe(offer)
            self._leave(self.subscriptions.keys() - wanted)
        return is_new

    def take(self, on_message: Callable[[RawMessage], None]) -> bool:
        """Give away what has come; tell whether there may be more."""
        has_more = False
        for subscription in list(self.subscriptions.values()):
            has_more |= self._take_from(subscription, on_message)
        return has_more

    def _take_from(
        self, subscription: Subscription, on_message: Callable[[RawMessage], None]
    ) -> bool:
        take_message, message_class = subscription.handle.take_message, self._message_class
        is_new, name = self.gaps.is_new, self.name
        for _ in range(_AT_ONCE):
            taken = take_message(message_class, True)
            if taken is None:
                return False
            data, info = taken
            sequence, sent_ns = info['publication_sequence_number'], info['source_timestamp']
            if is_new(sequence, sent_ns, self.num_publishers):
                received_ns = info['received_timestamp'] or time.time_ns()
                on_message(RawMessage(name, received_ns, data, max(sent_ns, 0), sequence or 0))
        return True

    def _subscribe(self, offer: Offer) -> None:
        self.subscriptions[offer] = self._node.create_subscription(
            self._message_class,
            self.name,
            _never_called,
            offer.request(queue_depth(self.type_name)),
            raw=True,
        )

    def _leave(self, unneeded: set[Offer]) -> None:
        """Destroy subscriptions that were not needed last time either: others have matched."""
        for offer in self._leaving & unneeded:
            self._node.destroy_subscription(self.subscriptions.pop(offer))
        self._leaving = set(unneeded)


class RawInput:
    """Finds topics, subscribes to those that are chosen and gives their messages away.

    Everything happens on one thread, the callbacks too.

    Attributes:
        topics: those that are subscribed to, by name.
        failure: what ended the thread, if anything did.

    Args:
        owner: the node on whose behalf it is done.
        topics: name -> type of those to subscribe to before anybody publishes them.
        includes: whether a topic that somebody publishes is wanted.
        on_topic: gets what a topic is, before its messages and whenever its publishers change.
        on_message: gets the messages.
        on_skip: gets topic and reason when one cannot be recorded.
    """

    def __init__(
        self,
        owner: Node,
        topics: Mapping[str, str],
        includes: Callable[[str], bool],
        on_topic: Callable[[BagTopic], None],
        on_message: Callable[[RawMessage], None],
        on_skip: Callable[[str, str], None],
    ):
        self.topics: dict[str, RawTopic] = {}
        self.failure: BaseException | None = None
        self._includes = includes
        self._on_topic = on_topic
        self._on_message = on_message
        self._on_skip = on_skip
        self._skipped: set[tuple[str, str]] = set()
        self._node = Node(
            f'_{owner.get_name()}_input',
            context=owner.context,
            namespace=owner.get_namespace(),
            use_global_arguments=False,
            start_parameter_services=False,
            enable_rosout=False,
        )
        for name, type_name in topics.items():
            self._add(name, type_name)
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._guard, name='raw_input', daemon=True)

    def start(self) -> None:
        """Begin to take messages."""
        self._thread.start()

    def stop(self) -> None:
        """Take what has come until now and end."""
        self._is_ending.set()
        self._thread.join()
        self._node.destroy_node()

    def _guard(self) -> None:
        try:
            self._run()
        except BaseException as error:
            self.failure = error
            raise

    def _run(self) -> None:
        looked_s = float('-inf')
        while not self._is_ending.is_set():
            if time.monotonic() - looked_s >= _LOOK_AROUND_S:
                self._look_around()
                looked_s = time.monotonic()
            self._wait()
            if not self._take():
                time.sleep(_NAP_S)
        while self._take():
            pass

    def _take(self) -> bool:
        has_more = False
        for topic in list(self.topics.values()):
            has_more |= topic.take(self._on_message)
        return has_more

    def _wait(self) -> None:
        """Return when a message has come, at the latest when it is time to look around."""
        handles = [s.handle for t in self.topics.values() for s in t.subscriptions.values()]
        if not handles:
            time.sleep(_LOOK_AROUND_S)
            return
        context = self._node.context.handle
        waits = rclpy_implementation.WaitSet(len(handles), 0, 0, 0, 0, 0, context)
        with waits:
            waits.clear_entities()
            for handle in handles:
                waits.add_subscription(handle)
            waits.wait(int(_LOOK_AROUND_S * 1e9))

    def _look_around(self) -> None:
        for name, types in self._node.get_topic_names_and_types():
            if name not in self.topics and self._includes(name):
                publishers = self._node.get_publishers_info_by_topic(name)
                if publishers:
                    self._add(name, publishers[0].topic_type, publishers)
                elif len(types) == 1:  # Only listeners yet; the first message counts too.
                    self._add(name, types[0])
        for topic in list(self.topics.values()):
            publishers = self._node.get_publishers_info_by_topic(topic.name)
            for other in {p.topic_type for p in publishers} - {topic.type_name}:
                self._skip(
                    topic.name,
                    f'publishers of type {other} are not recorded, the topic is {topic.type_name}',
                )
            if topic.match(publishers):
                self._on_topic(topic.describe())

    def _add(
        self, name: str, type_name: str, publishers: Iterable[TopicEndpointInfo] = ()
    ) -> None:
        if (name, type_name) in self._skipped:
            return
        try:
            topic = RawTopic(self._node, name, type_name, publishers)
        except (ConfigError, MessageError) as error:
            self._skip_type(name, type_name, str(error))
            return
        except (NoTypeSupportImportedException, AttributeError, RuntimeError) as error:
            reason = f'{type_name} cannot be received ({error}). Build its package again.'
            self._skip_type(name, type_name, reason)
            return
        self._on_topic(topic.describe())
        self.topics[name] = topic

    def _skip_type(self, name: str, type_name: str, reason: str) -> None:
        self._skipped.add((name, type_name))
        self._on_skip(name, reason)

    def _skip(self, name: str, reason: str) -> None:
        if (name, reason) not in self._skipped:
            self._skipped.add((name, reason))
            self._on_skip(name, reason)


def _never_called(data: bytes) -> None:
    raise AssertionError('no executor turns the node of these subscriptions')
