"""What one control step costs on its way from messages to the replay buffer, in one thread.

Every message of the arena robot at its contract's rate (lidar, odometry, IMU, joints, camera) is
decoded and read, the policy's decision and the outcome are given to the Recorder, the
finished steps are collected, turned into features and appended to a ReplayBuffer of 100 000 steps.
`decoding` is the time for bytes to arrays, `assembly` the rest.

    python benchmarks/step_cost.py [--steps N]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'ros_ws' / 'src'))

import numpy as np  # noqa: E402
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped  # noqa: E402
from nav_msgs.msg import Odometry  # noqa: E402
from rclpy.serialization import serialize_message  # noqa: E402
from reporting import table, write  # noqa: E402
from robot_learning import contract as contracts  # noqa: E402
from robot_learning.contract import RobotContract  # noqa: E402
from robot_learning.features import FeatureBuilder  # noqa: E402
from robot_learning.trajectory.bags.bag_types import Decoder  # noqa: E402
from robot_learning.trajectory.buffer import ReplayBuffer  # noqa: E402
from robot_learning.trajectory.intake import Intake  # noqa: E402
from robot_learning.trajectory.recorder import Recorder, RecorderConfig  # noqa: E402
from robot_learning.trajectory.signals import Decision, Outcome  # noqa: E402
from sensor_msgs.msg import Image, Imu, JointState, LaserScan  # noqa: E402

EPISODE_STEPS = 200
CAPACITY = 100_000
WARM_UP = 20
_S = 1_000_000_000


def sensor_messages() -> dict[str, Any]:
    """Return a message of each sensor topic of the arena robot."""
    pose, goal, odometry = PoseWithCovarianceStamped(), PoseStamped(), Odometry()
    for oriented in (pose.pose.pose, goal.pose, odometry.pose.pose):
        oriented.orientation.w = 1.0
    goal.pose.position.x = 2.0
    scan = LaserScan(angle_max=6.28, angle_increment=6.28 / 359, range_min=0.12, range_max=3.5)
    scan.ranges = [1.5] * 360
    frames = {
        'scan': (scan, 'base_scan'),
        'odom': (odometry, 'odom'),
        'amcl_pose': (pose, 'map'),
        'goal_pose': (goal, 'map'),
        'imu': (Imu(), 'imu_link'),
        'joint_states': (
            JointState(name=['wheel_left_joint', 'wheel_right_joint'], position=[0.1, 0.2]),
            '',
        ),
        'camera/image_raw': (
            Image(height=64, width=64, encoding='rgb8', step=192, data=bytes(64 * 64 * 3)),
            'camera_rgb_frame',
        ),
    }
    for message, frame in frames.values():
        message.header.frame_id = frame
    return {topic: message for topic, (message, _) in frames.items()}


class Feed:
    """Gives stamped bytes of every sensor at its rate."""

    def __init__(self, contract: RobotContract):
        self._messages = sensor_messages()
        self._rates = {s.topic: s.rate_hz or 0.0 for s in contract.observation.values()}
        self.decoders = {
            s.topic: Decoder(s.type)
            for s in contract.observation.values()
            if s.topic in self._messages
        }

    def between(self, start_ns: int, end_ns: int) -> Iterator[tuple[str, bytes]]:
        """Yield what comes in [start, end); what has no rate comes once."""
        for topic, message in self._messages.items():
            period_ns = round(_S / self._rates[topic]) if self._rates[topic] else end_ns - start_ns
            for stamp_ns in range(-(-start_ns // period_ns) * period_ns, end_ns, period_ns):
                message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, _S)
                yield topic, bytes(serialize_message(message))


def measure(num_steps: int) -> list[dict[str, Any]]:
    """Return rows of times per control step."""
    contract = contracts.load('arena')
    recorder = Recorder(contract, RecorderConfig())
    intake = Intake(contract, recorder)
    builder = FeatureBuilder(contract)
    period_ns = contract.control_period_ns
    buffer = ReplayBuffer(CAPACITY, np.random.default_rng(0), period_ns)
    feed = Feed(contract)
    times: dict[str, list[float]] = {name: [] for name in ('decoding', 'assembly', 'buffer')}
    num_messages = 0
    for step in range(num_steps + WARM_UP):
        stamp_ns = (step + 1) * period_ns
        spent = dict.fromkeys(times, 0.0)
        for topic, data in list(feed.between(stamp_ns - period_ns + 1, stamp_ns + 1)):
            num_messages += 1
            began = time.perf_counter()
            message = feed.decoders[topic](data)
            decoded = time.perf_counter()
            intake.take(topic, message, lambda: 0)
            spent['decoding'] += decoded - began
            spent['assembly'] += time.perf_counter() - decoded
        began = time.perf_counter()
        pieces = _decide(recorder, stamp_ns, step, contract.action_size)
        assembled = time.perf_counter()
        for piece in pieces:
            buffer.append(
                piece, {'observation': builder.build_batch(piece.observations)}, 'session'
            )
        spent['assembly'] += assembled - began
        spent['buffer'] += time.perf_counter() - assembled
        for name, seconds in spent.items():
            times[name].append(seconds)
    if len(buffer) < num_steps or intake.problems:
        raise RuntimeError(
            f'{len(buffer)} of {num_steps} steps are in the buffer: {dict(recorder.missing)}, '
            f'{intake.problems}'
        )
    return _rows(times, num_messages / len(times['decoding']))


def _decide(recorder: Recorder, stamp_ns: int, step: int, action_size: int) -> list[Any]:
    action = np.zeros(action_size, np.float32)
    number, at = divmod(step, EPISODE_STEPS)
    is_last = at == EPISODE_STEPS - 1
    recorder.arrive(Outcome(stamp_ns, number, at, at == 0, 0.1, is_last, False, is_last))
    recorder.act(Decision(stamp_ns, action, action))
    return recorder.collect()


def _rows(times: dict[str, list[float]], messages_per_step: float) -> list[dict[str, Any]]:
    measured = {name: 1e3 * np.array(values[WARM_UP:]) for name, values in times.items()}
    measured['assembly + buffer'] = measured['assembly'] + measured['buffer']
    return [
        {
            'per control step': name,
            'messages': round(messages_per_step, 1),
            'mean ms': float(values.mean()),
            'p50 ms': float(np.percentile(values, 50)),
            'p99 ms': float(np.percentile(values, 99)),
            'max ms': float(values.max()),
        }
        for name, values in measured.items()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--quick', action='store_true', help='200 steps')
    parser.add_argument('--steps', type=int, default=5000)
    options = parser.parse_args()
    rows = measure(200 if options.quick else options.steps)
    table(rows)
    write('step_cost', rows, options.quick)
    return 0


if __name__ == '__main__':
    sys.exit(main())
