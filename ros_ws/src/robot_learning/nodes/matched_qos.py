"""Quality of service that loses as little as the publishers of a topic allow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

_LARGE = ('/Image', '/CompressedImage', '/PointCloud2', '/OccupancyGrid')
_NANOSECONDS = 1_000_000_000


class Offer(NamedTuple):
    """What decides whether a publisher and a subscription match, and how well.

    Deadline and liveliness need no word: a subscription that asks for none fits any publisher.
    """

    is_reliable: bool
    is_latched: bool

    @classmethod
    def of(cls, profile: QoSProfile) -> Offer:
        """Read what a publisher offers."""
        return cls(
            profile.reliability != ReliabilityPolicy.BEST_EFFORT,
            profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
        )

    def request(self, depth: int) -> QoSProfile:
        """Return the strongest profile of a subscription that such a publisher fits."""
        return QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=depth,
            reliability=(
                ReliabilityPolicy.RELIABLE if self.is_reliable else ReliabilityPolicy.BEST_EFFORT
            ),
            durability=(
                DurabilityPolicy.TRANSIENT_LOCAL if self.is_latched else DurabilityPolicy.VOLATILE
            ),
        )


ANY = Offer(is_reliable=False, is_latched=False)  # Its request fits every publisher.


def weakest(offers: Iterable[Offer]) -> Offer:
    """Return the strongest offer that all of them make."""
    offers = list(offers)
    return Offer(all(o.is_reliable for o in offers), all(o.is_latched for o in offers))


def queue_depth(type_name: str) -> int:
    """Return how many messages of a type may wait to be taken.

    What comes while the queue is full replaces the oldest without a word from the middleware. A
    pause of the process must not cost messages: 4000 are two seconds of the fastest topics. Of
    large messages, which come slower, 200 may take as much memory as is bearable.
    """
    return 200 if type_name.endswith(_LARGE) else 4000


def rosbag2_profile(profile: QoSProfile) -> dict[str, Any]:
    """Return a publisher's profile as rosbag2 writes it into metadata.yaml."""
    return {
        'history': _name(profile.history),
        'depth': profile.depth,
        'reliability': _name(profile.reliability),
        'durability': _name(profile.durability),
        'deadline': _time(profile.deadline),
        'lifespan': _time(profile.lifespan),
        'liveliness': _name(profile.liveliness),
        'liveliness_lease_duration': _time(profile.liveliness_lease_duration),
        'avoid_ros_namespace_conventions': profile.avoid_ros_namespace_conventions,
    }


def _name(policy: Any) -> str:
    return str(policy.name).lower()


def _time(duration: Duration) -> dict[str, int]:
    seconds, nanoseconds = divmod(duration.nanoseconds, _NANOSECONDS)
    return {'sec': seconds, 'nsec': nanoseconds}
