"""Bags of a world that runs faster than the wall clock, whose messages arrive in bursts."""

import numpy as np
from bag_files import TYPES, closed_loop, write_bag
from recordings import PERIOD_NS, robot
from robot_learning.trajectory.bags.bag import import_bag
from robot_learning.trajectory.store import TrajectoryStore

CLOCK = 'rosgraph_msgs/msg/Clock'
BURST_NS = 2 * 10**9  # Simulated time that passes while a busy recorder does not look.


def test_bursts_of_one_topic_after_the_other_lose_nothing(tmp_path):
    entries = sorted(closed_loop([40, 30, 50]), key=lambda entry: entry[3].header.stamp.sec)
    begin_ns, bursts = 10**18, []
    for _, kind, _, message in entries:
        stamp = message.header.stamp
        stamp_ns = stamp.sec * 10**9 + stamp.nanosec
        bursts.append((stamp_ns // BURST_NS, kind, stamp_ns))
    order = sorted(range(len(entries)), key=lambda i: bursts[i])
    sent = [
        (entries[i][0], entries[i][1], begin_ns + n, entries[i][3]) for n, i in enumerate(order)
    ]
    clock = TYPES[CLOCK](TYPES['builtin_interfaces/msg/Time'](0, 0))
    bag = write_bag(tmp_path / 'bag', [('/clock', CLOCK, begin_ns, clock), *sent])
    report = import_bag(bag, robot(), TrajectoryStore(tmp_path / 'store'))
    episodes = list(TrajectoryStore(tmp_path / 'store').episodes())
    assert [len(episode) for episode in episodes] == [40, 30, 50]
    assert all((np.diff(episode.stamp_ns) == PERIOD_NS).all() for episode in episodes)
    assert all(topic.counts.get('late', 0) == 0 for topic in report.topics)
