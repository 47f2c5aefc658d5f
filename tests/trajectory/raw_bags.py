"""Raw messages and what a bag holds of them, by readers that are not ours."""

from __future__ import annotations

import time

from bag_files import closed_loop
from mcap.reader import make_reader
from robot_learning.trajectory.bags.bag_metadata import BagTopic
from robot_learning.trajectory.bags.bag_types import known_types
from robot_learning.trajectory.bags.bag_writer import BagWriter, BagWriterConfig, RawMessage
from robot_learning.trajectory.bags.message_definitions import definition_of
from rosbags.highlevel import AnyReader

LATCHED = {
    'history': 'keep_last',
    'depth': 1,
    'reliability': 'reliable',
    'durability': 'transient_local',
    'deadline': {'sec': 9223372036, 'nsec': 854775807},
    'lifespan': {'sec': 9223372036, 'nsec': 854775807},
    'liveliness': 'automatic',
    'liveliness_lease_duration': {'sec': 9223372036, 'nsec': 854775807},
    'avoid_ros_namespace_conventions': False,
}


def topic(name, kind, **more):
    return BagTopic(name, kind, definition_of(kind), known_types().hash_rihs01(kind), **more)


def loop_messages(lengths=(20, 30)):
    """Return the topics and messages of a driving robot."""
    entries = closed_loop(list(lengths))
    topics = {name: topic(name, kind) for name, kind, _, _ in entries}
    messages = [
        RawMessage(name, log_ns, bytes(known_types().serialize_cdr(message, kind)), log_ns - 5, i)
        for i, (name, kind, log_ns, message) in enumerate(entries)
    ]
    return list(topics.values()), messages


def write(path, topics, messages, **config):
    writer = BagWriter(path, BagWriterConfig(**config))
    for each in topics:
        writer.set_topic(each)
    for message in messages:
        writer.put(message)
    writer.close()
    return writer


def read(path):
    """Return topic, time and bytes of all messages as rosbags finds them."""
    with AnyReader([path], default_typestore=known_types()) as reader:
        return [(c.topic, stamp, bytes(data)) for c, stamp, data in reader.messages()]


def read_mcap(path):
    """Return all messages of one file as the reference implementation of MCAP finds them."""
    with path.open('rb') as file:
        return [
            RawMessage(channel.topic, m.log_time, m.data, m.publish_time, m.sequence)
            for _, channel, m in make_reader(file, validate_crcs=True).iter_messages()
        ]


def plain(messages):
    return [message[:3] for message in messages]


def wait_for(condition, seconds=30.0):
    """Return whether the condition became true in time."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()
