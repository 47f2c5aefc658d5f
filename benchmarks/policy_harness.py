"""What benchmarks of the running policy node share: a robot, nodes as processes, versions.

Import it first: it sets the environment of ROS for this process and those it starts.
"""

from __future__ import annotations

import array
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'ros_ws' / 'src'))
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ.setdefault('FASTRTPS_DEFAULT_PROFILES_FILE', str(ROOT / 'config' / 'fastdds.xml'))
os.environ.setdefault('ROS_DOMAIN_ID', '97')
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ['PYTHONPATH'] = os.pathsep.join(
    [str(ROOT / 'ros_ws' / 'src'), os.environ.get('PYTHONPATH', '')]
)

import numpy as np  # noqa: E402
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, TwistStamped  # noqa: E402
from nav_msgs.msg import Odometry  # noqa: E402
from rclpy.node import Node  # noqa: E402
from robot_learning import contract as contracts  # noqa: E402
from robot_learning.features import FeatureBuilder  # noqa: E402
from robot_learning.model_store import ModelStore  # noqa: E402
from robot_learning.nodes import qos  # noqa: E402
from robot_learning.nodes.run import make_executor  # noqa: E402
from robot_learning.trajectory.store import TrajectoryStore  # noqa: E402
from robot_learning_interfaces.msg import PolicyAction  # noqa: E402
from sensor_msgs.msg import LaserScan  # noqa: E402

HIDDEN = (256, 256)
MIN_STEPS = 2000  # In the store before the trainer begins.


class Robot(Node):
    """Senses at a steady rate and notes when commands come."""

    def __init__(self, rate_hz: float, seconds: float):
        """Make a robot that senses for `seconds`, or until `ending` is set."""
        super().__init__('robot')
        self._period_s, self._seconds = 1 / rate_hz, seconds
        self.ending = threading.Event()
        self.arrivals_ns: dict[int, int] = {}  # Stamp of the observation -> first command.
        self.actions: list[PolicyAction] = []
        sensor = qos.qos_profile('sensor')
        self._scan = self.create_publisher(LaserScan, 'scan', sensor)
        self._odometry = self.create_publisher(Odometry, 'odom', sensor)
        self._pose = self.create_publisher(
            PoseWithCovarianceStamped, 'amcl_pose', qos.qos_profile('reliable')
        )
        self._goal = self.create_publisher(PoseStamped, 'goal_pose', qos.qos_profile('latched'))
        self.create_subscription(TwistStamped, 'cmd_vel', self.on_command, qos.COMMAND_QOS)
        self.create_subscription(
            PolicyAction, 'policy_action', self.actions.append, qos.POLICY_ACTION_QOS
        )
        scan = LaserScan(angle_max=6.28, angle_increment=6.28 / 359, range_min=0.12, range_max=3.5)
        scan.ranges = array.array('f', np.linspace(0.5, 3.0, 360, dtype=np.float32).tobytes())
        scan.header.frame_id = 'base_scan'
        odometry, pose, goal = Odometry(), PoseWithCovarianceStamped(), PoseStamped()
        odometry.header.frame_id = 'odom'
        pose.header.frame_id = goal.header.frame_id = 'map'
        pose.pose.pose.orientation.w = goal.pose.orientation.w = 1.0
        goal.pose.position.x = 2.0
        self._goal.publish(goal)
        self.odometry = odometry
        self._readings = [(self._scan, scan), (self._odometry, odometry), (self._pose, pose)]

    def vary(self) -> None:
        """Change what is sensed next; called before every reading."""

    def run(self) -> dict[str, Any]:
        """Wait for the policy, sense for the time given, and sum up."""
        executor = make_executor()
        executor.add_node(self)
        stop = threading.Event()

        def spin() -> None:
            while not stop.is_set():
                executor.spin_once(timeout_sec=0.1)

        gc.disable()  # A robot does not stop to look through what this one keeps.
        thread = threading.Thread(target=spin)
        thread.start()
        try:
            stamps = self._sense()
            time.sleep(2 * self._period_s)  # The last answers are still on their way.
        finally:
            stop.set()
            thread.join()
        return self.summary(stamps)

    def _sense(self) -> list[int]:
        """Publish until enough is measured; return the stamps from one second after the start."""
        stamps: list[int] = []
        due = start = time.monotonic()
        driving_since = None
        while not self.ending.is_set() and (
            driving_since is None or due < driving_since + 1 + self._seconds
        ):
            due += self._period_s
            time.sleep(max(0.0, due - time.monotonic()))
            self.vary()
            stamp_ns = time.time_ns()
            for publisher, message in self._readings:
                message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
                publisher.publish(message)
            if driving_since is None:
                if self.actions and self.actions[-1].version >= 0:
                    driving_since = due
                elif due > start + 120:
                    raise TimeoutError('the policy node does not answer')
            elif due > driving_since + 1:
                stamps.append(stamp_ns)
        return stamps

    def on_command(self, message: TwistStamped) -> None:
        """Note when the first command with a stamp comes."""
        now_ns = time.time_ns()
        stamp = message.header.stamp
        self.arrivals_ns.setdefault(stamp.sec * 10**9 + stamp.nanosec, now_ns)

    def summary(self, stamps: list[int]) -> dict[str, Any]:
        """Sum up latency and misses of the observations with these stamps."""
        delays = [self.arrivals_ns.get(stamp, np.inf) - stamp for stamp in stamps]
        latency_ms = np.array(delays) * 1e-6
        missed = int((latency_ms > self._period_s * 1e3).sum())
        measured = latency_ms[np.isfinite(latency_ms)]
        window = set(stamps)
        actions = [a for a in self.actions if stamp_ns_of(a) in window]
        decision_ms = np.array([a.latency_ms for a in actions])
        return {
            'ticks': len(stamps),
            'missed': missed,
            **quantiles('', measured),
            **quantiles('decision_', decision_ms),
            'versions': len({a.version for a in actions}),
        }


def stamp_ns_of(action: PolicyAction) -> int:
    """Return the stamp of the observation that an action answers."""
    return int(action.header.stamp.sec) * 10**9 + int(action.header.stamp.nanosec)


def quantiles(prefix: str, values: Any) -> dict[str, float]:
    """Return p50, p99 and maximum of milliseconds, named for a table."""
    p50, p99 = np.percentile(values, [50, 99])
    return {
        f'{prefix}p50_ms': round(float(p50), 3),
        f'{prefix}p99_ms': round(float(p99), 3),
        f'{prefix}max_ms': round(float(values.max()), 3),
    }


@contextmanager
def node(module: str, prefix: Sequence[str] = (), **parameters: Any) -> Iterator[None]:
    """Run one node in a process of its own while the block lasts.

    Args:
        module: of the node.
        prefix: of the command line, for example ['nice', '-n', '5'].
        **parameters: of the node.
    """
    command = [*prefix, sys.executable, '-m', f'robot_learning.nodes.{module}', '--ros-args']
    command += ['--log-level', 'error']
    for name, value in parameters.items():
        command += ['-p', f'{name}:={value}']
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20.0)


def publish(models: Path, contract: contracts.RobotContract) -> int:
    """Publish a policy of the usual size with random weights and return its version.

    The heads' are small, so that such policies resemble each other as those of a trainer do.
    """
    sizes = (FeatureBuilder(contract).size, *HIDDEN)
    rng = np.random.default_rng()
    tensors = {
        'input_mean': np.zeros(sizes[0], np.float32),
        'input_std': np.ones(sizes[0], np.float32),
    }
    layers = {f'trunk.{i}': (sizes[i + 1], sizes[i]) for i in range(len(HIDDEN))}
    layers.update(dict.fromkeys(('mean', 'log_std'), (contract.action_size, sizes[-1])))
    for name, shape in layers.items():
        scale = 0.1 if name in ('mean', 'log_std') else 1.0
        weight = rng.normal(0, scale / np.sqrt(shape[1]), shape)
        tensors[f'{name}.weight'] = weight.astype(np.float32)
        tensors[f'{name}.bias'] = np.zeros(shape[0], np.float32)
    policy = {
        'kind': 'gaussian_tanh_mlp',
        'input_size': sizes[0],
        'action_size': contract.action_size,
        'hidden': list(HIDDEN),
        'action_low': contract.action_low.tolist(),
        'action_high': contract.action_high.tolist(),
    }
    manifest = {
        'policy': policy,
        'contract': contract.to_dict(),
        'contract_hash': contract.hash,
    }
    return ModelStore(models).publish('navigator', tensors, manifest)


def write_contract(folder: Path, rate_hz: int) -> Path:
    """Write the arena robot with another control rate, and sensors to match."""
    data = contracts.load('arena').to_dict()
    data['control_rate_hz'] = rate_hz
    for name in ('scan', 'velocity', 'pose'):
        data['observation'][name]['rate_hz'] = rate_hz
    path = folder / f'arena_{rate_hz}_hz.yaml'
    path.write_text(json.dumps(data))  # JSON is YAML.
    return path


def record(folder: Path) -> Path:
    """Let the simulated robot drive at random until the store holds enough to learn from."""
    store = folder / 'store'
    print(f'recording {MIN_STEPS} steps for the trainer ...', flush=True)
    with (
        node('simulator_node', **{'world.camera': "'off'"}),
        node('recorder_node', store=store, use_sim_time='true'),
        node(
            'policy_node',
            mode='lock_step',
            explore='true',
            models=folder / 'none',
            use_sim_time='true',
        ),
    ):
        deadline = time.monotonic() + 120
        while num_steps(store) < MIN_STEPS:
            if time.monotonic() > deadline:
                raise TimeoutError(f'{store}: not enough steps within 120 s')
            time.sleep(0.5)
    return store


def num_steps(store: Path) -> int:
    """Count the control steps in a store."""
    segments = TrajectoryStore(store)
    return sum(segments.read_info(path).num_steps for path in segments.segments())
