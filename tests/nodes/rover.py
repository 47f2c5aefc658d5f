"""A robot without physics for tests of the policy node: sensors out, commands in, real DDS."""

from __future__ import annotations

import array
import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
import yaml
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped, Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.node import Node
from robot_learning.nodes import qos
from robot_learning.nodes.run import make_executor
from robot_learning_interfaces.msg import GateStatus, ModelVersion, PolicyAction, StepOutcome
from sensor_msgs.msg import LaserScan
from std_msgs.msg import Bool

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'serving'))
import policies

DEADLINE_S = 20.0
PERIOD = policies.CONTRACT.control_period_ns
FORWARD, LEFT = (50.0, 0.0), (-50.0, 50.0)  # Modes of constant policies, before tanh.
FULL_SPEED = pytest.approx((0.5, 0.0), abs=1e-6)
STOPPED = (0.0, 0.0)


def wait_until(predicate: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Poll until `predicate` gives something true, and return that."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        value = predicate()
        if value:
            return value
        time.sleep(0.002)
    raise AssertionError(f'{what}: not within {deadline_s} s')


class Rover:
    """Publishes what its lidar, odometry and localisation would, and keeps what it is told."""

    def __init__(self, namespace: str, command_type: type[Any] = TwistStamped):
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = Node('rover', namespace=namespace, context=self.context)
        self.commands: list[tuple[float, int, float, float]] = []  # Wall s, stamp ns, v, w.
        self.actions: list[PolicyAction] = []
        self.versions: list[ModelVersion] = []
        self.statuses: list[GateStatus] = []
        node, sensor = self.node, qos.qos_profile('sensor')
        self._scan = node.create_publisher(LaserScan, 'scan', sensor)
        self._odometry = node.create_publisher(Odometry, 'odom', sensor)
        self._pose = node.create_publisher(
            PoseWithCovarianceStamped, 'amcl_pose', qos.qos_profile('reliable')
        )
        self._goal = node.create_publisher(PoseStamped, 'goal_pose', qos.qos_profile('latched'))
        self._outcome = node.create_publisher(StepOutcome, 'outcome', qos.OUTCOME_QOS)
        self.stop_button = node.create_publisher(Bool, 'emergency_stop', qos.EMERGENCY_STOP_QOS)
        self.notices = node.create_publisher(ModelVersion, 'model_version', qos.NOTICE_QOS)
        node.create_subscription(command_type, 'cmd_vel', self._on_command, qos.COMMAND_QOS)
        node.create_subscription(
            PolicyAction, 'policy_action', self.actions.append, qos.POLICY_ACTION_QOS
        )
        node.create_subscription(
            ModelVersion, 'model_version', self.versions.append, qos.NOTICE_QOS
        )
        node.create_subscription(GateStatus, 'gate_status', self.statuses.append, qos.STATUS_QOS)
        self._executor = make_executor(self.context)
        self._executor.add_node(node)
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._is_ending.set()
        self._thread.join(5.0)
        self._executor.remove_node(self.node)
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)

    def wait_for_policy(self, has_outcome: bool) -> None:
        """Return when every topic between the two is connected both ways."""
        publishers = [self._scan, self._odometry, self._pose, self._goal]
        publishers += [self._outcome] if has_outcome else []
        wait_until(
            lambda: (
                all(publisher.get_subscription_count() for publisher in publishers)
                and self.node.count_publishers('cmd_vel')
                and self.node.count_publishers('policy_action')
            ),
            'connection with the policy node',
        )

    def now_ns(self) -> int:
        return self.node.get_clock().now().nanoseconds

    def sense(self, stamp_ns: int, but: tuple[str, ...] = (), **values: float) -> None:
        """Publish all sensors with one stamp, except those named in `but`."""
        if 'scan' not in but:
            message = LaserScan(
                angle_max=6.1, angle_increment=6.1 / 35, range_min=0.12, range_max=3.5
            )
            message.ranges = array.array('f', [values.get('range', 2.0)] * 36)
            self._send(self._scan, message, stamp_ns, 'base_scan')
        if 'odom' not in but:
            odometry = Odometry()
            odometry.twist.twist.linear.x = values.get('speed', 0.0)
            self._send(self._odometry, odometry, stamp_ns, 'odom')
        if 'pose' not in but:
            pose = PoseWithCovarianceStamped()
            pose.pose.pose.position.x = values.get('x', 0.0)
            pose.pose.pose.orientation.w = 1.0
            self._send(self._pose, pose, stamp_ns, 'map')

    def set_goal(self, stamp_ns: int, x: float = 2.0) -> None:
        goal = PoseStamped()
        goal.pose.position.x, goal.pose.orientation.w = x, 1.0
        self._send(self._goal, goal, stamp_ns, 'map')

    def arrive(self, stamp_ns: int, **fields: Any) -> None:
        """Publish the outcome of a lock-step step."""
        self._send(self._outcome, StepOutcome(**fields), stamp_ns, '')

    @contextlib.contextmanager
    def sensing(self, rate_hz: float, **values: float) -> Iterator[dict[str, Any]]:
        """Sense on the wall clock until the end of the block; change the values in the block."""
        values, ending = dict(values), threading.Event()

        def work() -> None:
            self.set_goal(self.now_ns())
            while not ending.wait(1 / rate_hz):
                readings = {name: value for name, value in values.items() if name != 'but'}
                self.sense(self.now_ns(), values.get('but', ()), **readings)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield values
        finally:
            ending.set()
            thread.join()

    def command_for(self, stamp_ns: int, deadline_s: float = DEADLINE_S) -> tuple[float, float]:
        """Wait for the command with this stamp."""
        found = wait_until(
            lambda: [c for c in list(self.commands) if c[1] == stamp_ns],
            f'command stamped {stamp_ns}',
            deadline_s,
        )
        return found[0][2:]

    def action_for(self, stamp_ns: int, deadline_s: float = DEADLINE_S) -> PolicyAction:
        """Wait for the PolicyAction with this stamp."""
        found = wait_until(
            lambda: [a for a in list(self.actions) if stamp_of(a) == stamp_ns],
            f'policy_action stamped {stamp_ns}',
            deadline_s,
        )
        return found[0]

    def _send(self, publisher: Any, message: Any, stamp_ns: int, frame: str) -> None:
        message.header.frame_id = frame
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        publisher.publish(message)

    def _on_command(self, message: Any) -> None:
        stamp_ns = 0 if isinstance(message, Twist) else stamp_of(message)
        twist = message if isinstance(message, Twist) else message.twist
        self.commands.append((time.monotonic(), stamp_ns, twist.linear.x, twist.angular.z))

    def _spin(self) -> None:
        while not self._is_ending.is_set():
            self._executor.spin_once(timeout_sec=0.05)


class LockStep:
    """A world that advances one control period per answer."""

    def __init__(self, rover: Rover):
        self.rover, self.stamp = rover, 100 * PERIOD

    def begin(self) -> None:
        """Send a first step until the policy has heard all of it: nothing is lost after that."""
        for _ in range(10):
            self.rover.set_goal(self.stamp)
            try:
                self.step(deadline_s=3.0, is_first=True)
                if self.rover.action_for(self.stamp, deadline_s=3.0).version >= 0:
                    return
            except AssertionError:
                continue  # The outcome or its answer came before both sides were connected.
        raise AssertionError('the policy did not hear a whole step')

    def step(
        self, but: tuple[str, ...] = (), deadline_s: float = DEADLINE_S, **outcome: Any
    ) -> tuple[float, float]:
        self.stamp += PERIOD
        self.rover.sense(self.stamp, but)
        if outcome.get('is_first'):
            self.rover.set_goal(self.stamp)
        self.rover.arrive(self.stamp, **outcome)
        return self.rover.command_for(self.stamp, deadline_s)


def stamp_of(message: Any) -> int:
    return int(message.header.stamp.sec * 10**9 + message.header.stamp.nanosec)


def publish_constant(models: Path, u: tuple[float, float] = FORWARD) -> int:
    """Publish a version that always wants the same, and return its number."""
    tensors = policies.constant_tensors(policies.spec_for(policies.CONTRACT), u)
    return policies.publish(models, policies.CONTRACT, tensors)


def call(rover: Rover, service_type: Any, name: str, request: Any) -> Any:
    """Call a service and return its answer."""
    client = rover.node.create_client(service_type, name)
    assert client.wait_for_service(10.0), f'no service {name}'
    future = client.call_async(request)
    wait_until(future.done, f'answer of {name}')
    rover.node.destroy_client(client)
    return future.result()


def write_robot(folder: Path, **changes: Any) -> Path:
    """Write the contract of the rover and return its path."""
    path = folder / 'rover.yaml'
    path.write_text(yaml.safe_dump({**policies.ROBOT, **changes}))
    return path


@contextlib.contextmanager
def policy_node(
    namespace: str, robot: Path, models: Path, *arguments: str, **parameters: Any
) -> Iterator[subprocess.Popen[str]]:
    """Run the policy node in a process of its own; end it with SIGTERM at the end of the block."""
    # Versions serve as soon as they load: those of tests differ more than a canary allows.
    settings = {'robot': robot, 'models': models, 'canary.ticks': 0, **parameters}
    command = [sys.executable, '-m', 'robot_learning.nodes.policy_node', '--ros-args']
    command += ['-r', f'__ns:={namespace}', *arguments]
    for name, value in settings.items():
        text = str(value).lower() if isinstance(value, bool) else value
        command += ['-p', f'{name}:={text}']
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None and not process.stdout.closed:
            print(process.stdout.read())
