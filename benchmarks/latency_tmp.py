"""From a sensor's stamp to the command that answers it, through real DDS, in real processes.

One process is the robot: it publishes scan, odometry and localisation with one stamp, and notes
when the command with that stamp arrives on cmd_vel. The other is the policy node. Beside them,
per row: nothing; new model versions that are swapped in; a trainer at full load (SAC on a store
recorded from the simulator) and swaps together. A tick is missed when its command has not come
within one control period.

    python benchmarks/latency.py [--quick] [--seconds N]
"""

from __future__ import annotations

import argparse
import array
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
import rclpy  # noqa: E402
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, TwistStamped  # noqa: E402
from nav_msgs.msg import Odometry  # noqa: E402
from rclpy.node import Node  # noqa: E402
from reporting import table, write  # noqa: E402
from robot_learning import contract as contracts  # noqa: E402
from robot_learning.features import FeatureBuilder  # noqa: E402
from robot_learning.model_store import ModelStore  # noqa: E402
from robot_learning.nodes import qos  # noqa: E402
from robot_learning.nodes.run import make_executor  # noqa: E402
from robot_learning.trajectory.store import TrajectoryStore  # noqa: E402
from robot_learning_interfaces.msg import PolicyAction  # noqa: E402
from sensor_msgs.msg import LaserScan  # noqa: E402

RATES_HZ = (20, 50)
CASES = ('alone', 'swaps', 'trainer and swaps')
SWAP_EVERY_S = 0.5
HIDDEN = (256, 256)
MIN_STEPS = 2000  # In the store before the trainer begins.


class Robot(Node):
    """Senses at a steady rate and notes when commands come."""

    def __init__(self, rate_hz: float, seconds: float):
        super().__init__('robot')
        self._period_s, self._seconds = 1 / rate_hz, seconds
        self.arrivals_ns: dict[int, int] = {}  # Stamp of the observation -> first command.
        self.actions: list[PolicyAction] = []
        sensor = qos.qos_profile('sensor')
        self._scan = self.create_publisher(LaserScan, 'scan', sensor)
        self._odometry = self.create_publisher(Odometry, 'odom', sensor)
        self._pose = self.create_publisher(
            PoseWithCovarianceStamped, 'amcl_pose', qos.qos_profile('reliable')
        )
        self._goal = self.create_publisher(PoseStamped, 'goal_pose', qos.qos_profile('latched'))
        self.create_subscription(TwistStamped, 'cmd_vel', self._on_command, qos.COMMAND_QOS)
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
        self._readings = [(self._scan, scan), (self._odometry, odometry), (self._pose, pose)]

    def run(self) -> dict[str, Any]:
        """Wait for the policy, sense for the time given, and sum up."""
        executor = make_executor()
        executor.add_node(self)
        ending = threading.Event()

        def spin() -> None:
            while not ending.is_set():
                executor.spin_once(timeout_sec=0.1)

        thread = threading.Thread(target=spin)
        thread.start()
        try:
            stamps = self._sense()
            time.sleep(2 * self._period_s)  # The last answers are still on their way.
        finally:
            ending.set()
            thread.join()
        return self._summary(stamps)

    def _sense(self) -> list[int]:
        """Publish until enough is measured; return the stamps from one second after the start."""
        stamps: list[int] = []
        due = start = time.monotonic()
        driving_since = None
        while driving_since is None or due < driving_since + 1 + self._seconds:
            due += self._period_s
            time.sleep(max(0.0, due - time.monotonic()))
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

    def _on_command(self, message: TwistStamped) -> None:
        now_ns = time.time_ns()
        stamp = message.header.stamp
        self.arrivals_ns.setdefault(stamp.sec * 10**9 + stamp.nanosec, now_ns)

    def _summary(self, stamps: list[int]) -> dict[str, Any]:
        delays = [self.arrivals_ns.get(stamp, np.inf) - stamp for stamp in stamps]
        latency_ms = np.array(delays) * 1e-6
        missed = int((latency_ms > self._period_s * 1e3).sum())
        measured = latency_ms[np.isfinite(latency_ms)]
        bad=[i for i,l in enumerate(latency_ms) if l>self._period_s*1e3]
        acts=[(_stamp_ns(a),a.version,round(a.latency_ms,1),list(a.executed),a.altered) for a in self.actions]
        if bad: print('BAD',bad,[round(float(latency_ms[i]),1) for i in bad],'sense gaps',[round((stamps[i]-stamps[i-1])/1e6) for i in bad if i], 'acts near',[(round((s-stamps[bad[0]])/1e6),v,l,al) for s,v,l,e,al in acts if -150e6< s-stamps[bad[0]] < 400e6][:20], file=sys.stderr)
        window = set(stamps)
        actions = [a for a in self.actions if _stamp_ns(a) in window]
        decision_ms = np.array([a.latency_ms for a in actions])
        return {
            'ticks': len(stamps),
            'missed': missed,
            **_quantiles('', measured),
            **_quantiles('decision_', decision_ms),
            'versions': len({a.version for a in actions}),
        }


def _stamp_ns(action: PolicyAction) -> int:
    return int(action.header.stamp.sec) * 10**9 + int(action.header.stamp.nanosec)


def _quantiles(prefix: str, values: Any) -> dict[str, float]:
    p50, p99 = np.percentile(values, [50, 99])
    return {
        f'{prefix}p50_ms': round(float(p50), 3),
        f'{prefix}p99_ms': round(float(p99), 3),
        f'{prefix}max_ms': round(float(values.max()), 3),
    }


@contextmanager
def node(module: str, **parameters: Any) -> Iterator[None]:
    """Run one node in a process of its own while the block lasts."""
    command = [sys.executable, '-m', f'robot_learning.nodes.{module}', '--ros-args']
    command += ['--log-level', 'error']
    for name, value in parameters.items():
        command += ['-p', f'{name}:={value}']
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20.0)


@contextmanager
def swaps(models: Path, contract: contracts.RobotContract) -> Iterator[None]:
    """Publish a version every half second while the block lasts."""
    ending = threading.Event()

    def work() -> None:
        while not ending.wait(SWAP_EVERY_S):
            publish(models, contract)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def publish(models: Path, contract: contracts.RobotContract) -> None:
    """Publish a policy of the usual size with small random weights."""
    sizes = (FeatureBuilder(contract).size, *HIDDEN)
    rng = np.random.default_rng()
    tensors = {
        'input_mean': np.zeros(sizes[0], np.float32),
        'input_std': np.ones(sizes[0], np.float32),
    }
    layers = {f'trunk.{i}': (sizes[i + 1], sizes[i]) for i in range(len(HIDDEN))}
    layers.update(dict.fromkeys(('mean', 'log_std'), (contract.action_size, sizes[-1])))
    for name, shape in layers.items():
        weight = rng.normal(0, 1 / np.sqrt(shape[1]), shape)
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
    ModelStore(models).publish('navigator', tensors, manifest)


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


def measure(folder: Path, rate_hz: int, case: str, seconds: float, store: Path) -> dict[str, Any]:
    """Measure one row."""
    models = folder / f'models_{rate_hz}_{case.replace(" ", "_")}'
    path = write_contract(folder, rate_hz)
    contract = contracts.load(path)
    publish(models, contract)
    with ExitStack() as stack:
        if 'trainer' in case:
            learning = folder / 'learning.yaml'
            learning.write_text('phase: sac\ntrainer: {train_ratio: 1000, warmup_steps: 500}\n')
            stack.enter_context(
                node(
                    'trainer_node',
                    store=store,
                    models=folder / f'learned_{rate_hz}',
                    config=learning,
                )
            )
        stack.enter_context(node('policy_node', robot=path, models=models))
        if 'swaps' in case:
            stack.enter_context(swaps(models, contract))
        command = [sys.executable, __file__, '--robot', str(rate_hz), '--seconds', str(seconds)]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return {'rate_hz': rate_hz, 'case': case, **json.loads(output.splitlines()[-1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true', help='5 seconds a row')
    parser.add_argument('--seconds', type=float, default=30.0, help='a row')
    parser.add_argument('--robot', type=int, metavar='HZ', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    seconds = 5.0 if arguments.quick else arguments.seconds
    if arguments.robot:
        rclpy.init()
        print(json.dumps(Robot(arguments.robot, arguments.seconds).run()))
        rclpy.try_shutdown()
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = record(folder)
        rows = [
            measure(folder, rate_hz, case, seconds, store)
            for rate_hz in RATES_HZ
            for case in CASES
        ]
    table(rows)
    print(f'written to {write("latency", rows, quick=arguments.quick)}')


if __name__ == '__main__':
    main()
