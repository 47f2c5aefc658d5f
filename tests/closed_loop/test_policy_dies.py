"""The policy process is killed while it drives: the robot stops, and drives on with the next."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.node import Node
from robot_learning import contract as contracts
from robot_learning.nodes import qos
from robot_learning.nodes.run import make_executor
from robot_learning_interfaces.msg import PolicyAction, StepOutcome

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'serving'))
import policies

DEADLINE_S = 30.0
CIRCLE = (0.0, 0.805)  # tanh of these is 0.2 m/s and 1 rad/s: round and round in free space.
STANDING_M_S = 0.02
STOP_WITHIN_S = 0.2
SAMPLE_S = 1 / 30  # The kill comes up to this long after the newest speed.


class Observer:
    """Watches the robot's true speed, the steps of the world and what the policy decides."""

    def __init__(self):
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = Node('observer', context=self.context)
        self.speeds = []  # Simulated seconds, m/s.
        self.stamps_ns = []  # Of outcomes, without those sent again.
        self.num_actions = 0
        node = self.node
        node.create_subscription(
            Odometry, 'ground_truth/odom', self._on_truth, qos.qos_profile('sensor')
        )
        node.create_subscription(StepOutcome, 'outcome', self._on_outcome, qos.OUTCOME_QOS)
        node.create_subscription(
            PolicyAction, 'policy_action', self._on_action, qos.POLICY_ACTION_QOS
        )
        self._executor = make_executor(self.context)
        self._executor.add_node(node)
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def close(self):
        self._is_ending.set()
        self._thread.join(5.0)
        self._executor.remove_node(self.node)
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)

    def _on_truth(self, message):
        stamp = message.header.stamp
        self.speeds.append((stamp.sec + stamp.nanosec * 1e-9, message.twist.twist.linear.x))

    def _on_outcome(self, message):
        stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        if not self.stamps_ns or stamp_ns != self.stamps_ns[-1]:
            self.stamps_ns.append(stamp_ns)

    def _on_action(self, message):
        self.num_actions += message.version >= 0

    def _spin(self):
        while not self._is_ending.is_set():
            self._executor.spin_once(timeout_sec=0.05)

    def is_driving(self):
        return bool(self.speeds) and self.speeds[-1][1] > 0.15


def wait_until(predicate, what):
    end = time.monotonic() + DEADLINE_S
    while not predicate():
        assert time.monotonic() < end, f'{what}: not within {DEADLINE_S} s'
        time.sleep(0.002)


class Processes:
    """Starts nodes and ends those that are left."""

    def __init__(self):
        self._running = []

    def start(self, module, **parameters):
        command = [sys.executable, '-m', f'robot_learning.nodes.{module}', '--ros-args']
        for name, value in parameters.items():
            command += ['-p', f'{name}:={value}']
        process = subprocess.Popen(command)
        self._running.append(process)
        return process

    def close(self):
        for process in self._running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._running:
            process.wait(15.0)


@pytest.fixture
def processes():
    started = Processes()
    yield started
    started.close()


@pytest.fixture
def observer():
    watching = Observer()
    yield watching
    watching.close()


@pytest.fixture
def models(tmp_path):
    arena = contracts.load('arena')
    policies.publish(
        tmp_path,
        arena,
        policies.constant_tensors(policies.spec_for(arena), CIRCLE),
        policy=policies.spec_for(arena),
    )
    return tmp_path


def start_policy(processes, models, mode):
    return processes.start('policy_node', models=models, mode=mode, use_sim_time='true')


def test_in_real_time_the_robot_stops_within_200_ms_and_drives_on_with_the_next_policy(
    processes, observer, models
):
    settings = {'mode': 'real_time', 'world.camera': "'off'"}
    processes.start('simulator_node', **settings)
    policy = start_policy(processes, models, 'free_running')
    wait_until(observer.is_driving, 'driving')
    killed_s = observer.speeds[-1][0]  # In simulated time, which does not wait for the observer.
    policy.kill()
    wait_until(lambda: observer.speeds[-1][0] > killed_s + 0.6, 'speeds after the kill')
    moving = [t for t, speed in observer.speeds if abs(speed) > STANDING_M_S]
    assert moving[-1] - killed_s < STOP_WITHIN_S + SAMPLE_S
    start_policy(processes, models, 'free_running')
    wait_until(observer.is_driving, 'driving again')


def test_in_lock_step_time_stands_still_until_the_next_policy_comes(processes, observer, models):
    processes.start('simulator_node', **{'world.camera': "'off'"})
    policy = start_policy(processes, models, 'lock_step')
    wait_until(lambda: observer.num_actions > 50, 'decisions')
    policy.kill()
    policy.wait()
    num_actions = observer.num_actions
    start_policy(processes, models, 'lock_step')
    wait_until(lambda: observer.num_actions > num_actions + 50, 'decisions again')
    steps_ns = np.diff(observer.stamps_ns)
    assert set(steps_ns) == {contracts.load('arena').control_period_ns}
