"""A robot that only talks: publishes the tiny robot's topics, and keeps what a recorder says."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.node import Node
from robot_learning.nodes import qos
from robot_learning.nodes.run import make_executor
from robot_learning_interfaces.msg import EpisodeEvent, PolicyAction, SegmentWritten, StepOutcome
from sensor_msgs.msg import JointState

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'trajectory'))
from recordings import PERIOD_NS, assert_equal, robot

__all__ = ['PERIOD_NS', 'Talker', 'assert_equal', 'interrupt', 'robot', 'start', 'write_robot']
DEADLINE_S = 20.0


class Talker:
    """Publishers, notices and diagnostics of one test."""

    def __init__(self, namespace: str):
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = node = Node('talker', namespace=namespace, context=self.context)
        self.notices: list[SegmentWritten] = []
        self.health: dict[str, Any] = {}
        self.events: list[EpisodeEvent] = []
        self._heard: dict[str, set[bytes]] = {}
        reliable = qos.qos_profile('reliable', depth=500)
        self._publishers = {
            'odom': node.create_publisher(Odometry, 'odom', reliable),
            'joint_states': node.create_publisher(JointState, 'joint_states', reliable),
            'goal_pose': node.create_publisher(PoseStamped, 'goal_pose', reliable),
            'outcome': node.create_publisher(StepOutcome, 'outcome', qos.OUTCOME_QOS),
            'policy_action': node.create_publisher(
                PolicyAction, 'policy_action', qos.POLICY_ACTION_QOS
            ),
            'episode_event': node.create_publisher(
                EpisodeEvent, 'episode_event', qos.EPISODE_EVENT_QOS
            ),
        }
        node.create_subscription(
            SegmentWritten, 'segment_written', self.notices.append, qos.NOTICE_QOS
        )
        node.create_subscription(
            EpisodeEvent, 'episode_event', self.events.append, qos.EPISODE_EVENT_QOS
        )
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        self._executor = make_executor(self.context)
        self._executor.add_node(node)

    def close(self) -> None:
        self._executor.remove_node(self.node)
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self.context)

    def spin(self, seconds: float = 0.0) -> None:
        self._executor.spin_once(timeout_sec=seconds)

    def wait_until(self, predicate: Callable[[], Any], what: str) -> Any:
        """Spin until `predicate` gives something true, and return that."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            value = predicate()
            if value:
                return value
            self.spin(0.01)
        raise AssertionError(f'{what}: not within {DEADLINE_S} s')

    def wait_for_listeners(self, count: int) -> None:
        """Return when so many recorders more than at the last call listen to every topic.

        Counting alone would not do: one that was killed stays known for a while, and one that
        asks for more than the publisher offers will subscribe anew and hears nothing till then.
        """
        heard = {topic: self._heard.get(topic, set()) for topic in self._publishers}

        def new(topic: str) -> dict[bytes, str]:
            found = self.node.get_subscriptions_info_by_topic(self._publishers[topic].topic_name)
            offered = self._publishers[topic].qos_profile.durability
            return {
                bytes(info.endpoint_gid): info.node_name  # One node may subscribe twice.
                for info in found
                if info.node_name != 'talker'
                and info.qos_profile.durability >= offered
                and bytes(info.endpoint_gid) not in heard[topic]
            }

        self.wait_until(
            lambda: all(
                len(set(new(topic).values())) >= count
                and publisher.get_subscription_count() >= count
                for topic, publisher in self._publishers.items()
            ),
            'connection with the recorders',
        )
        end = time.monotonic() + 0.7  # They may subscribe anew to match these publishers.
        while time.monotonic() < end:
            self.spin(0.01)
        self._heard = {topic: heard[topic] | set(new(topic)) for topic in self._publishers}

    def send(self, topic: str, message: Any, stamp_ns: int) -> None:
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        self._publishers[topic].publish(message)

    def step(self, stamp_ns: int, episode: int, step: int, terminated: bool = False) -> None:
        """Publish one control step: readings, outcome, decision."""
        odometry = Odometry()
        odometry.pose.pose.position.x = float(step)
        odometry.pose.pose.orientation.w = 1.0
        odometry.twist.twist.linear.x = step / 10
        self.send('odom', odometry, stamp_ns)
        self.send(
            'joint_states', JointState(name=['l', 'r'], position=[float(step)] * 2), stamp_ns
        )
        self.send(
            'outcome',
            StepOutcome(
                episode=episode,
                step=step,
                is_first=step == 0,
                reward=float(step),
                terminated=terminated,
                success=terminated,
            ),
            stamp_ns,
        )
        action = [step + 1.0, 0.5]
        self.send(
            'policy_action',
            PolicyAction(
                version=2, commanded=action, executed=[a / 2 for a in action], altered=True
            ),
            stamp_ns,
        )
        self.spin()

    def episode(self, number: int, length: int, first_ns: int) -> int:
        """Publish a whole episode; return the stamp at which the next one may begin."""
        event = EpisodeEvent(event=EpisodeEvent.BEGIN, episode=number, source='task', seed=9)
        self.send('episode_event', event, first_ns)
        goal = PoseStamped()
        goal.pose.position.x, goal.pose.orientation.w = float(number), 1.0
        self.send('goal_pose', goal, first_ns)
        for step in range(length):
            self.step(first_ns + step * PERIOD_NS, number, step, step == length - 1)
        last_ns = first_ns + (length - 1) * PERIOD_NS
        event = EpisodeEvent(
            event=EpisodeEvent.END, episode=number, source='task', terminated=True, reason='goal'
        )
        self.send('episode_event', event, last_ns)
        return last_ns + PERIOD_NS

    def values(self, part: str) -> dict[str, str]:
        """Return the newest diagnostic values of a recorder's part."""
        status = next((s for n, s in self.health.items() if n.endswith(f': {part}')), None)
        return {} if status is None else {pair.key: pair.value for pair in status.values}

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.health.update({status.name: status for status in message.status})


def write_robot(folder: Path) -> Path:
    """Write the tiny robot's contract as a file."""
    path = folder / 'tiny.yaml'
    path.write_text(yaml.safe_dump(robot().to_dict()), encoding='utf-8')
    return path


def start(module: str, namespace: str, **parameters: Any) -> subprocess.Popen[str]:
    """Start a node as a process of its own."""
    arguments = [a for k, v in parameters.items() for a in ('-p', f'{k.replace("__", ".")}:={v}')]
    return subprocess.Popen(
        [
            sys.executable,
            '-m',
            f'robot_learning.nodes.{module}',
            '--ros-args',
            '-r',
            f'__ns:=/{namespace}',
            *arguments,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def interrupt(process: subprocess.Popen[str], number: int = signal.SIGINT) -> str:
    """End a node and return what it printed."""
    process.send_signal(number)
    output, _ = process.communicate(timeout=DEADLINE_S)
    return output
