"""A small robot, and scripts of what its recorder receives, with the answer known beforehand."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from robot_learning import contract as contracts
from robot_learning.trajectory.episode import FLAT, PER_FIELD, Episode
from robot_learning.trajectory.recorder import Recorder, RecorderConfig
from robot_learning.trajectory.signals import Decision, Mark, Outcome
from robot_learning.trajectory.store import joined

PERIOD_NS = 100_000_000


def robot(**changes: Any):
    """Return a contract with two fields on one topic, an optional one and a latched one."""
    fields = {
        'pose': ('odom', 'nav_msgs/msg/Odometry', 'pose2d', 3, 0.15, True),
        'velocity': ('odom', 'nav_msgs/msg/Odometry', 'twist2d', 2, 0.15, True),
        'wheels': ('joint_states', 'sensor_msgs/msg/JointState', 'position', 2, 0.12, False),
        'goal': ('goal_pose', 'geometry_msgs/msg/PoseStamped', 'pose2d', 3, None, True),
    }
    units = {'pose2d': ['m', 'm', 'rad'], 'twist2d': ['m/s', 'rad/s'], 'position': 'rad'}
    data: dict[str, Any] = {
        'robot': 'tiny',
        'description': 'For tests',
        'control_rate_hz': 10,
        'observation': {
            name: {
                'topic': topic,
                'type': kind,
                'part': part,
                'shape': [size],
                'unit': units[part],
                'max_age_s': age,
                'required': required,
            }
            for name, (topic, kind, part, size, age, required) in fields.items()
        },
        'actions': {
            'base': {
                'topic': 'cmd_vel',
                'type': 'geometry_msgs/msg/Twist',
                'components': ['linear.x', 'angular.z'],
                'unit': ['m/s', 'rad/s'],
                'low': [-1.0, -1.0],
                'high': [1.0, 1.0],
                'stop': [0.0, 0.0],
                'derive_from': 'velocity',
            }
        },
    }
    data['observation']['goal']['qos'] = 'latched'
    data.update(changes)
    return contracts.from_dict(data)


def odom(stamp_ns: int, number: float):
    """Return one odometry message whose values tell which one it is."""
    pose = np.array([number, -number, 0.5], np.float32)
    velocity = np.array([number / 10, number / 100], np.float32)
    return 'odom', stamp_ns, {'pose': pose, 'velocity': velocity}


def goal(stamp_ns: int, number: float = 1.0):
    return 'goal_pose', stamp_ns, {'goal': np.full(3, number, np.float32)}


def wheels(stamp_ns: int, number: float = 2.0):
    return 'joint_states', stamp_ns, {'wheels': np.full(2, number, np.float32)}


def decision(stamp_ns: int, number: float, version: int = 3) -> Decision:
    commanded = np.array([number, 0.5], np.float32)
    is_person = number == 2  # Who takes over for one step.
    return Decision(
        stamp_ns, commanded, commanded / 2, version, -1.5, True, not is_person, is_person
    )


def outcome(stamp_ns: int, episode: int, step: int, reward: float = 0.0, **ends: bool) -> Outcome:
    ends = {'terminated': False, 'truncated': False, 'success': False, **ends}
    return Outcome(stamp_ns, episode, step, step == 0, reward, **ends)


def begin(stamp_ns: int, episode: int | None = None, **facts: Any) -> Mark:
    return Mark(stamp_ns, is_begin=True, episode=episode, **facts)


def end(stamp_ns: int, episode: int | None = None, **facts: Any) -> Mark:
    return Mark(stamp_ns, is_begin=False, episode=episode, **facts)


def lock_step(lengths: list[int], first: int = 0) -> list[Any]:
    """Return a task's messages: episodes with so many steps, the odd ones truncated."""
    script: list[Any] = []
    now = first
    for episode, length in enumerate(lengths):
        for step in range(length):
            is_last = step == length - 1
            if step == 0:
                facts = {'seed': 100 + episode, 'source': 'simulator'}
                script += [begin(now, episode, **facts), goal(now, episode)]
            script += [odom(now, step + 1000 * episode), wheels(now, step)]
            ends = {'terminated': is_last and episode % 2 == 0}
            ends |= {'truncated': is_last and episode % 2 == 1}
            script += [outcome(now, episode, step, reward=float(step), **ends)]
            script += [decision(now, step + 1)]
            if is_last:
                reason = 'goal' if episode % 2 == 0 else 'time_limit'
                script.append(end(now, episode, source='simulator', reason=reason, **ends))
            now += PERIOD_NS
    return script


def give(recorder: Recorder, message: Any) -> None:
    if isinstance(message, Mark):
        recorder.mark(message)
    elif isinstance(message, Outcome):
        recorder.arrive(message)
    elif isinstance(message, Decision):
        recorder.act(message)
    else:
        recorder.read(*message)


def stamp_of(message: Any) -> int:
    return (
        message[1]
        if isinstance(message, tuple) and isinstance(message[0], str)
        else (message.stamp_ns)
    )


def in_time(script: list[Any]) -> list[Any]:
    """Return the script in the order of its stamps."""
    return sorted(script, key=stamp_of)


def record(script: list[Any], collect_every: int = 7, contract=None, **config: Any):
    """Play a script; return whole episodes and the recorder."""
    recorder = Recorder(contract or robot(), RecorderConfig(**config))
    pieces: list[Episode] = []
    for count, message in enumerate(script):
        give(recorder, message)
        if count % collect_every == 0:
            pieces += recorder.collect()
    recorder.close()
    pieces += recorder.collect()
    assert not recorder.collect()
    assert_accounted(recorder)
    return list(joined(pieces)), recorder


def assert_accounted(recorder: Recorder) -> None:
    for topic, counts in recorder.counts().items():
        assert counts.unaccounted == 0, (topic, counts)


def shuffled(script: list[Any], window_ns: int, seed: int) -> list[Any]:
    """Return the script with every message delayed at random by up to `window_ns`."""
    rng = random.Random(seed)
    delayed = [(stamp_of(m) + rng.randrange(window_ns), i, m) for i, m in enumerate(script)]
    return [message for _, _, message in sorted(delayed, key=lambda item: item[:2])]


def assert_equal(a: Episode, b: Episode) -> None:
    """Every array of the two episodes is the same, bit by bit."""
    assert (a.episode, a.offset, a.is_complete) == (b.episode, b.offset, b.is_complete)
    for name in FLAT:
        left, right = getattr(a, name), getattr(b, name)
        assert left.dtype == right.dtype, name
        np.testing.assert_array_equal(left, right, err_msg=name)
    for group in PER_FIELD:
        left, right = getattr(a, group), getattr(b, group)
        assert set(left) == set(right)
        for name in left:
            assert left[name].dtype == right[name].dtype
            np.testing.assert_array_equal(left[name], right[name], err_msg=f'{group} {name}')
