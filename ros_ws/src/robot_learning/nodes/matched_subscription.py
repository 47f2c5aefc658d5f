"""Subscriptions that lose as little as the publishers allow."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

from robot_learning.nodes.matched_qos import Offer, queue_depth, weakest
from robot_learning.nodes.qos import qos_profile

_LOOK_AROUND_S = 0.5


class MatchedSubscription:
    """Takes the bytes of a topic with the strongest quality of service that fits all publishers.

    Reliable where every publisher is, best effort as soon as one is not; a mismatch would be
    silent. Latched topics stay latched if their publishers are.

    Args:
        node: owns the subscription.
        message_class: of the topic.
        topic: its name.
        qos: what the contract expects; applies until publishers are seen.
        on_message: gets the serialised message.
        on_lost: gets how many messages the middleware knows to have lost.
    """

    def __init__(
        self,
        node: Node,
        message_class: type[Any],
        topic: str,
        qos: str,
        on_message: Callable[[bytes], None],
        on_lost: Callable[[int], None],
    ):
        self._node = node
        self._message_class = message_class
        self._topic = topic
        self._on_message = on_message
        self._on_lost = on_lost
        self._depth = queue_depth(f'/{message_class.__name__}')
        self._profile = qos_profile(qos, depth=self._depth)
        self._subscription = self._subscribe()

    def match(self) -> None:
        """Look at the publishers and subscribe anew if another profile fits better."""
        publishers = self._node.get_publishers_info_by_topic(self._name())
        if not publishers:
            return
        offer = weakest(Offer.of(publisher.qos_profile) for publisher in publishers)
        fitting = offer.request(self._depth)
        if _same(fitting, self._profile):
            return
        previous = self._subscription
        self._profile = fitting
        self._subscription = self._subscribe()  # First the new one: nothing is missed.
        self._node.destroy_subscription(previous)

    def _name(self) -> str:
        return str(self._subscription.topic_name)

    def _subscribe(self) -> Subscription:
        return self._node.create_subscription(
            self._message_class,
            self._topic,
            self._on_message,
            self._profile,
            event_callbacks=SubscriptionEventCallbacks(
                message_lost=self._on_message_lost,
                use_default_callbacks=False,
            ),
            raw=True,
        )

    def _on_message_lost(self, event: Any) -> None:
        self._on_lost(event.total_count_change)


def keep_matching(node: Node, subscriptions: Iterable[MatchedSubscription]) -> None:
    """Match the subscriptions with their publishers now and then, for as long as `node` lives."""
    kept = list(subscriptions)

    def look_around() -> None:
        for subscription in kept:
            subscription.match()

    node.create_timer(_LOOK_AROUND_S, look_around, clock=Clock(clock_type=ClockType.STEADY_TIME))


def _same(a: QoSProfile, b: QoSProfile) -> bool:
    return bool(a.reliability == b.reliability and a.durability == b.durability)
