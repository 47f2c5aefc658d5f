"""The run of `run_policy` that is on, and the goal that it drives to."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node

from robot_learning.contract import RobotContract
from robot_learning.errors import ConfigError
from robot_learning.nodes.messages import make_converter
from robot_learning.nodes.qos import qos_profile
from robot_learning.nodes.reading_input import message_type
from robot_learning.serving.driver import Command
from robot_learning.serving.observation_assembler import ObservationAssembler
from robot_learning.serving.policy_run import PolicyRun, goal_fields


class RunGoals:
    """Holds the run, puts its goal in place of the topic's, and watches its progress."""

    def __init__(self, node: Node, contract: RobotContract, observations: ObservationAssembler):
        self.run: PolicyRun | None = None
        self._node = node
        self._contract = contract
        self._observations = observations
        self._fields = goal_fields(contract)
        self._publisher: Any = None

    def value(self, goal_pose: Any) -> Any:
        """Return the observation field's array of a PoseStamped; any thread may call.

        Raises:
            MessageError: the pose is in another frame than the contract's goal.
            ConfigError: the contract has no goal to set.
        """
        if self._fields is None:
            raise ConfigError(
                f'run_policy: {self._contract.robot} has no goal_polar feature, so no goal can '
                f'be set. Leave goal_pose.header.frame_id empty.'
            )
        spec = self._contract.observation[self._fields.goal]
        value = make_converter(spec, self._fields.goal)(goal_pose)
        if self._publisher is None:
            self._publisher = self._node.create_publisher(
                message_type(spec.type), spec.topic, qos_profile(spec.qos)
            )
        return value

    def begin(self, run: PolicyRun, goal: Any, goal_pose: Any) -> None:
        """Drive for `run`, towards `goal` (see `value`) or, where it is None, the topic's."""
        if run.ended.is_set():  # Canceled on the way here: its goal must not stay behind.
            return
        if goal is not None and self._fields is not None:
            self._observations.override(self._fields.goal, goal)
            self._publisher.publish(goal_pose)
        self.run = run

    def take(self) -> PolicyRun | None:
        """Return the run and forget it and its goal; None: there is none."""
        run, self.run = self.run, None
        if run is not None and self._fields is not None:
            self._observations.override(self._fields.goal, None)
        return run

    def update(self, command: Command, now_ns: int) -> str:
        """Take one command into account; return why the run should end now, '' if not."""
        if self.run is None:
            return ''
        pose = goal = None
        if self._fields is not None:
            pose = self._observations.value(self._fields.pose)
            goal = self._observations.value(self._fields.goal)
        return self.run.update(command, now_ns, pose, goal)
