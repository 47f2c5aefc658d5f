"""Two robots in two namespaces on one machine: each hears its own policy and clock alone."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import rclpy
from geometry_msgs.msg import TwistStamped
from rclpy.context import Context
from rclpy.node import Node
from robot_learning import contract as contracts
from robot_learning.commands import process_table
from robot_learning.nodes import qos
from robot_learning.nodes.run import make_executor
from robot_learning_interfaces.msg import GateStatus, StepOutcome
from std_srvs.srv import SetBool

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'nodes'))
from rover import FORWARD, LEFT, policies, wait_until

ARENA = contracts.load('arena')
WANTS = {'robot1': FORWARD, 'robot2': LEFT}  # Modes of constant policies, before tanh.


def start(namespace: str, folder: Path) -> list[subprocess.Popen[bytes]]:
    """Start simulator and policy as `./run up --namespace NAME --clock NAME/clock` does."""
    models = folder / namespace
    tensors = policies.constant_tensors(policies.spec_for(ARENA), WANTS[namespace])
    policies.publish(models, ARENA, tensors)
    processes = process_table.resolve(
        process_table.load(),
        'bringup',
        {
            'namespace': namespace,
            'clock': f'{namespace}/clock',
            'models': str(models),
            'explore': False,
            'seed': 5,
        },
        only=('simulator', 'policy'),
        overrides={'simulator': {'world.camera': 'off'}, 'policy': {'canary.ticks': 0}},
    )
    return [
        subprocess.Popen(
            [
                sys.executable,
                '-m',
                f'robot_learning.nodes.{process.executable}',
                *process.ros_arguments(),
            ]
        )
        for process in processes
    ]


class Watcher:
    """Hears both robots."""

    def __init__(self) -> None:
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = node = Node('watcher', context=self.context)
        self.commands: dict[str, list[tuple[float, float]]] = {name: [] for name in WANTS}
        self.outcomes: dict[str, list[StepOutcome]] = {name: [] for name in WANTS}
        self.statuses: dict[str, list[GateStatus]] = {name: [] for name in WANTS}
        for name in WANTS:
            node.create_subscription(
                TwistStamped, f'{name}/cmd_vel', self._keeper(name), qos.COMMAND_QOS
            )
            node.create_subscription(
                StepOutcome, f'{name}/outcome', self.outcomes[name].append, qos.OUTCOME_QOS
            )
            node.create_subscription(
                GateStatus, f'{name}/gate_status', self.statuses[name].append, qos.STATUS_QOS
            )
        self._executor, self._ending = make_executor(self.context), threading.Event()
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._turn)
        self._thread.start()

    def _keeper(self, name: str):
        def keep(message: TwistStamped) -> None:
            self.commands[name].append((message.twist.linear.x, message.twist.angular.z))

        return keep

    def _turn(self) -> None:
        while not self._ending.is_set():
            self._executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        self._executor.remove_node(self.node)
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def watcher(tmp_path):
    watcher = Watcher()
    processes = [process for name in WANTS for process in start(name, tmp_path)]
    yield watcher
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(15.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    watcher.close()


def is_moving(command: tuple[float, float]) -> bool:
    return command != (0.0, 0.0)


def test_each_robot_follows_its_own_policy_on_its_own_clock(watcher):
    wait_until(
        lambda: (
            all(len(o) > 10 for o in watcher.outcomes.values())
            and all(any(map(is_moving, c)) for c in watcher.commands.values())
        ),
        'both robots drive',
        60.0,
    )
    forward = list(filter(is_moving, watcher.commands['robot1']))
    turning = list(filter(is_moving, watcher.commands['robot2']))
    assert all(v > 0 and w == pytest.approx(0, abs=1e-6) for v, w in forward)
    assert all(w > 0 for _, w in turning)
    for topic in ('/clock', '/cmd_vel', '/outcome', '/scan', '/odom', '/tf', '/tf_static'):
        assert watcher.node.count_publishers(topic) == 0, f'{topic} is shared'
    for name in WANTS:
        assert watcher.node.count_publishers(f'/{name}/clock') == 1
        wait_until(lambda n=name: watcher.statuses[n], 'gate status')
        assert not any(status.other_publishers for status in watcher.statuses[name])

    client = watcher.node.create_client(SetBool, '/robot1/simulator/pause')
    assert client.wait_for_service(10.0)
    future = client.call_async(SetBool.Request(data=True))
    wait_until(future.done, 'pause')
    paused, running = len(watcher.outcomes['robot1']), len(watcher.outcomes['robot2'])
    wait_until(lambda: len(watcher.outcomes['robot2']) > running + 10, 'robot2 goes on')
    stamps = {outcome.header.stamp.nanosec for outcome in watcher.outcomes['robot1'][paused + 1 :]}
    assert len(stamps) <= 1, 'robot1 stands in its own time'
