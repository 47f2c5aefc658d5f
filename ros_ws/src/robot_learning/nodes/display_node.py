"""What RViz and Foxglove show besides sensors: ways driven and expected, version and gate.

Topics: `path` (nav_msgs/Path) of the episode, `expected_path` of the newest world model,
`display/state` (visualization_msgs/MarkerArray), a line of text over the robot.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import numpy as np
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Path
from pydantic import PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from robot_learning_interfaces.msg import EpisodeEvent, GateStatus, PolicyAction
from visualization_msgs.msg import Marker, MarkerArray

from robot_learning import contract as contracts
from robot_learning.config import STRICT
from robot_learning.errors import RobotLearningError
from robot_learning.features import FeatureBuilder
from robot_learning.model_files import ModelFileRules
from robot_learning.model_store import ModelStore
from robot_learning.nodes.diagnostics import OK, WARN, Diagnostics, Health
from robot_learning.nodes.parameters import declare_config
from robot_learning.nodes.qos import (
    EPISODE_EVENT_QOS,
    POLICY_ACTION_QOS,
    STATUS_QOS,
    qos_profile,
)
from robot_learning.nodes.reading_input import ReadingInput
from robot_learning.nodes.run import run_node
from robot_learning.nodes.transforms import pose2d
from robot_learning.serving.observation_assembler import ObservationAssembler

if TYPE_CHECKING:
    from robot_learning.serving.expected_path import ExpectedPath

_MAP = 'map'
_LOOK_FOR_VERSIONS_S = 5.0
_NEAR_M = 0.02  # Poses nearer to the last one are left out of the path.
_LONGEST = 2000  # Poses of a path.


@dataclass(frozen=True, config=STRICT)
class DisplayConfig(ModelFileRules):
    """What is shown, of which robot."""

    robot: str = 'arena'  # Robot contract: a name in config/robots or the path of a YAML file.
    models: FilePath = FilePath('runs/models')  # Directory of the model store.
    world_model: str = 'navigator-world_model'  # Whose expectation is shown; empty: nobody's.
    horizon: PositiveInt = 15  # Control steps that are expected.
    rate_hz: PositiveFloat = 1.0  # Of both paths.


class DisplayNode(Node):
    """Listens and draws; nothing depends on it."""

    def __init__(self, **node_options: Any):
        super().__init__('display', **node_options)
        self._config = config = declare_config(self, DisplayConfig)
        self._contract = contract = contracts.load(config.robot)
        self._features = FeatureBuilder(contract)
        self._store = ModelStore(config.models, config)
        self._expected: ExpectedPath | None = None
        self._version: int | None = None
        self._problem = 'no world model yet'
        self._looked_s = -_LOOK_FOR_VERSIONS_S
        readings = ReadingInput(self, contract, tuple(self._features.fields), self._on_reading)
        fields = tuple(self._features.fields)
        self._observations = ObservationAssembler(contract, fields, readings.converters)
        self._path = Path()
        self._path.header.frame_id = _MAP
        self._at = (0.0, 0.0)
        latched = qos_profile('latched')
        self._path_out = self.create_publisher(Path, 'path', latched)
        self._expected_out = self.create_publisher(Path, 'expected_path', 10)
        self._state_out = self.create_publisher(MarkerArray, 'display/state', latched)
        pose = next((f for f in contract.observation.values() if f.frame == _MAP), None)
        if pose is not None and pose.type == 'geometry_msgs/msg/PoseWithCovarianceStamped':
            self.create_subscription(
                PoseWithCovarianceStamped, pose.topic, self._on_pose, qos_profile('sensor')
            )
        self.create_subscription(EpisodeEvent, 'episode_event', self._on_event, EPISODE_EVENT_QOS)
        self.create_subscription(PolicyAction, 'policy_action', self._on_action, POLICY_ACTION_QOS)
        self.create_subscription(GateStatus, 'gate_status', self._on_status, STATUS_QOS)
        Diagnostics(self, hardware_id=contract.robot).add('display', self._health)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1 / config.rate_hz, self._show_paths, clock=steady)

    def _on_reading(self, name: str, stamp_ns: int, data: bytes, received_ns: int) -> None:
        self._observations.put(name, stamp_ns, data, received_ns)

    def _on_event(self, event: EpisodeEvent) -> None:
        if event.event == EpisodeEvent.BEGIN:
            self._path.poses = []
            if self._expected is not None:
                self._expected.begin()

    def _on_pose(self, message: PoseWithCovarianceStamped) -> None:
        x, y, _ = pose2d(message.pose.pose.position, message.pose.pose.orientation)
        if self._path.poses and np.hypot(x - self._at[0], y - self._at[1]) < _NEAR_M:
            return
        self._at = (x, y)
        place = PoseStamped(header=message.header, pose=message.pose.pose)
        self._path.poses = [*self._path.poses[-_LONGEST + 1 :], place]
        self._path.header.stamp = message.header.stamp

    def _on_action(self, message: PolicyAction) -> None:
        if self._expected is None:
            return
        stamp = message.header.stamp
        seen = self._observations.collect(stamp.sec * 1_000_000_000 + stamp.nanosec)
        if not seen.problems:
            action = np.asarray(message.executed, np.float32)
            self._expected.step(self._features.build(seen.values), action)

    def _on_status(self, status: GateStatus) -> None:
        gate = 'open'
        if status.emergency_stopped:
            gate = 'EMERGENCY STOP'
        elif status.stale:
            gate = 'stopped, no fresh observation'
        elif status.intervention:
            gate = 'a person drives'
        elif status.reason:
            gate = f'limits: {status.reason}'
        model = f'{status.model}@{status.version}' if status.version >= 0 else 'no version'
        marker = Marker(ns='state', type=Marker.TEXT_VIEW_FACING, text=f'{model}\n{gate}')
        marker.header.stamp, marker.header.frame_id = status.header.stamp, 'base_footprint'
        marker.frame_locked = True
        marker.pose.position.z, marker.pose.orientation.w, marker.scale.z = 0.6, 1.0, 0.12
        is_bad = status.emergency_stopped or status.stale
        marker.color.r, marker.color.g, marker.color.b = (1.0, 0.2, 0.2) if is_bad else (0.1,) * 3
        marker.color.a = 1.0
        self._state_out.publish(MarkerArray(markers=[marker]))

    def _show_paths(self) -> None:
        self._path_out.publish(self._path)  # Also when it is empty: the old one goes.
        self._look_for_versions()
        points = None if self._expected is None else self._expected.path()
        if points is None:
            return
        path = Path()
        path.header.stamp, path.header.frame_id = self.get_clock().now().to_msg(), _MAP
        for x, y in points.tolist():
            place = PoseStamped(header=path.header)
            place.pose.position.x, place.pose.position.y = x, y
            place.pose.orientation.w = 1.0
            path.poses.append(place)
        self._expected_out.publish(path)

    def _look_for_versions(self) -> None:
        name, now_s = self._config.world_model, time.monotonic()
        if not name or now_s - self._looked_s < _LOOK_FOR_VERSIONS_S:
            return
        self._looked_s = now_s
        try:
            version = self._store.serving(name)
            if version is not None and version != self._version:
                self._version = version
                self._expected = self._load(name, version)
                self._problem = ''
                self.get_logger().info(f'{name}@{version}: shows what it expects')
        except RobotLearningError as error:
            self._problem = str(error)
            self.get_logger().warning(f'no expected path: {error}')

    def _load(self, name: str, version: int) -> ExpectedPath:
        import torch  # Brings itself in only where a world model is there.

        from robot_learning.models.world_model import WorldModel
        from robot_learning.serving.expected_path import ExpectedPath

        torch.set_num_threads(1)
        tensors, manifest = self._store.load(name, version)
        weights = {key: torch.from_numpy(value) for key, value in tensors.items()}
        where = f'{name}@{version}'
        model = WorldModel.from_published(weights, manifest.get('policy') or {}, where)
        return ExpectedPath(model, self._contract, self._config.horizon)

    def _health(self) -> Health:
        values = {'world_model': self._config.world_model, 'version': self._version or -1}
        if self._problem and self._config.world_model:
            level = WARN if self._version is not None else OK
            return Health(level, f'no expected path: {self._problem}', values)
        return Health(OK, 'shows ways driven and expected', values)


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to end."""
    return run_node(DisplayNode, args)


if __name__ == '__main__':
    sys.exit(main())
