"""Bags of the tiny robot, written by rosbags in every form that has to be read."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from recordings import PERIOD_NS
from robot_learning.trajectory.bags.bag_types import known_types
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

TYPES = known_types().types
ODOMETRY, POSE = 'nav_msgs/msg/Odometry', 'geometry_msgs/msg/PoseStamped'
JOINTS, TWIST = 'sensor_msgs/msg/JointState', 'geometry_msgs/msg/Twist'
OURS = 'robot_learning_interfaces/msg'
Entry = tuple[str, str, int, Any]  # Topic, type, time of recording, message.


def header(stamp_ns: int, types: Any = TYPES, **more: Any) -> Any:
    stamp = types['builtin_interfaces/msg/Time'](stamp_ns // 10**9, stamp_ns % 10**9)
    return types['std_msgs/msg/Header'](stamp=stamp, frame_id='', **more)


def _pose(x: float, y: float, types: Any) -> Any:
    point = types['geometry_msgs/msg/Point'](x, y, 0.0)
    return types['geometry_msgs/msg/Pose'](
        point, types['geometry_msgs/msg/Quaternion'](0.0, 0.0, 0.0, 1.0)
    )


def twist(forward: float, turn: float, types: Any = TYPES) -> Any:
    vector = types['geometry_msgs/msg/Vector3']
    return types[TWIST](vector(forward, 0.0, 0.0), vector(0.0, 0.0, turn))


def odometry(stamp_ns: int, number: float, types: Any = TYPES, **more: Any) -> Any:
    covariance = np.zeros(36)
    pose = types['geometry_msgs/msg/PoseWithCovariance'](_pose(number, -number, types), covariance)
    motion = types['geometry_msgs/msg/TwistWithCovariance'](
        twist(number / 10, number / 100, types), covariance
    )
    return types[ODOMETRY](header(stamp_ns, types, **more), 'base', pose, motion)


def goal_pose(stamp_ns: int, number: float = 1.0, types: Any = TYPES, **more: Any) -> Any:
    return types[POSE](header(stamp_ns, types, **more), _pose(number, number, types))


def joint_states(stamp_ns: int, number: float) -> Any:
    return TYPES[JOINTS](
        header(stamp_ns), ['left', 'right'], np.full(2, float(number)), np.zeros(0), np.zeros(0)
    )


def policy_action(stamp_ns: int, number: float) -> Any:
    commanded = np.array([number, 0.5], np.float32)
    return TYPES[f'{OURS}/PolicyAction'](
        header=header(stamp_ns),
        model='navigator',
        version=3,
        commanded=commanded,
        executed=commanded / 2,
        log_probability=-1.5,
        altered=True,
        exploring=False,
        intervention=False,
        latency_ms=0.5,
    )


def step_outcome(stamp_ns: int, episode: int, step: int, terminated: bool) -> Any:
    return TYPES[f'{OURS}/StepOutcome'](
        header(stamp_ns), episode, step, step == 0, float(step), terminated, False, terminated
    )


def episode_event(stamp_ns: int, event: int, episode: int, **facts: Any) -> Any:
    values = {
        'source': 'simulator',
        'seed': 7,
        'terminated': event == 1,
        'truncated': False,
        'success': event == 1,
        'reason': 'goal' if event == 1 else '',
        'info_json': '{"friction": 0.8}' if event == 0 else '',
        **facts,
    }
    return TYPES[f'{OURS}/EpisodeEvent'](
        header=header(stamp_ns), event=event, episode=episode, **values
    )


def closed_loop(lengths: list[int], seed: int = 0) -> list[Entry]:
    """Return what a learning robot publishes, recorded with random delays."""
    rng = random.Random(seed)
    entries: list[Entry] = []
    now = 2 * 10**9
    for episode, length in enumerate(lengths):
        for step in range(length):
            sent = [
                ('/odom', ODOMETRY, odometry(now, step)),
                ('/joint_states', JOINTS, joint_states(now, step)),
                ('/outcome', f'{OURS}/StepOutcome', None),
                ('/policy_action', f'{OURS}/PolicyAction', policy_action(now, step + 1)),
            ]
            is_last = step == length - 1
            sent[2] = (*sent[2][:2], step_outcome(now, episode, step, is_last))
            if step == 0:
                sent.append(('/goal_pose', POSE, goal_pose(now, episode)))
                event = episode_event(now, 0, episode)
                sent.append(('/episode_event', f'{OURS}/EpisodeEvent', event))
            if is_last:
                event = episode_event(now, 1, episode)
                sent.append(('/episode_event', f'{OURS}/EpisodeEvent', event))
            wall = 10**18 + now
            entries += [(t, k, wall + rng.randrange(4 * PERIOD_NS), m) for t, k, m in sent]
            now += PERIOD_NS
    return sorted(entries, key=lambda entry: entry[2])


def drive(count: int = 30) -> list[Entry]:
    """Return what a driven robot without a policy publishes: odometry and a goal."""
    entries: list[Entry] = [('/goal_pose', POSE, 5, goal_pose(5))]
    for i in range(1, count + 1):
        stamp = i * PERIOD_NS // 2
        entries.append(('/odom', ODOMETRY, stamp, odometry(stamp, float(i))))
    return entries


def write_bag(
    path: Path,
    entries: Iterable[Entry],
    storage: StoragePlugin = StoragePlugin.MCAP,
    compression: CompressionMode = CompressionMode.NONE,
) -> Path:
    """Write a ROS 2 bag; a message given as bytes is written as it is."""
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        connections: dict[str, Any] = {}
        for topic, kind, log_ns, message in entries:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=known_types())
            data = message
            if not isinstance(message, bytes):
                data = known_types().serialize_cdr(message, kind)
            writer.write(connections[topic], log_ns, data)
    return path


def write_ros1_bag(path: Path, count: int = 30) -> Path:
    """Write the drive as a ROS 1 bag."""
    typestore = get_typestore(Stores.ROS1_NOETIC)
    types = typestore.types
    with Writer1(path) as writer:
        odom = writer.add_connection('/odom', ODOMETRY, typestore=typestore)
        goal = writer.add_connection('/goal_pose', POSE, typestore=typestore)
        message = goal_pose(5, types=types, seq=0)
        writer.write(goal, 5, typestore.serialize_ros1(message, POSE))
        for i in range(1, count + 1):
            stamp = i * PERIOD_NS // 2
            message = odometry(stamp, float(i), types=types, seq=i)
            writer.write(odom, stamp, typestore.serialize_ros1(message, ODOMETRY))
    return path
