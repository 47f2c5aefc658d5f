"""What the commander knows about robot and surroundings, from the topics of the contract."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.node import Node

from robot_learning.contract import RobotContract
from robot_learning.errors import MessageError
from robot_learning.language.abilities import field_of, pose_field
from robot_learning.language.dead_reckoning import DeadReckoning
from robot_learning.language.motions import View
from robot_learning.language.obstacle_map import ObstacleMap
from robot_learning.language.senses import Seen, Senses, distances, free_ahead_m
from robot_learning.nodes.reading_input import ReadingInput
from robot_learning.serving.camera_geometry import CameraGeometry
from robot_learning.serving.object_detector import ObjectDetector
from robot_learning.serving.object_memory import MemoryConfig, ObjectMemory
from robot_learning.serving.observation_assembler import ObservationAssembler

Array = np.ndarray[Any, Any]

_TICK_NS = 90_000_000  # Of the robot's clock: motions are asked ten times a second at most.
_FINGERS = 2  # The last joints of the contract's list, where there is a gripper.


class CommandSenses:
    """Follows the sensors; every new odometry is a control step.

    Args:
        node: owns the subscriptions.
        contract: names the fields.
        camera: where it looks.
        obstacles: told what the lidar sees.
        half_width_m: of the robot, with some room.
        on_step: called with what is known at every control step.
    """

    def __init__(
        self,
        node: Node,
        contract: RobotContract,
        camera: CameraGeometry,
        obstacles: ObstacleMap,
        half_width_m: float,
        on_step: Callable[[Senses], None],
    ):
        self._node = node
        self._on_step = on_step
        self._obstacles = obstacles
        self._half_width_m = half_width_m
        type_of = {name: spec.type for name, spec in contract.observation.items()}
        self._odometry = field_of(contract, 'nav_msgs/msg/Odometry', 'pose2d')
        self._velocity = field_of(contract, 'nav_msgs/msg/Odometry', 'twist2d')
        self._pose = pose_field(contract)
        self._imu = field_of(contract, 'sensor_msgs/msg/Imu')
        self._scan = field_of(contract, 'sensor_msgs/msg/LaserScan')
        self._image = field_of(contract, 'sensor_msgs/msg/Image')
        self._battery = field_of(contract, 'sensor_msgs/msg/BatteryState')
        self._joints = (
            field_of(contract, 'sensor_msgs/msg/JointState')
            if 'gripper' in contract.actions
            else ''
        )
        used = (
            *(self._odometry, self._velocity, self._pose, self._imu),
            *(self._scan, self._image, self._battery, self._joints),
        )
        fields = tuple(name for name in type_of if name in used)
        readings = ReadingInput(node, contract, fields, self._on_reading)
        self._observations = ObservationAssembler(contract, fields, readings.converters)
        if self._scan:
            spec = contract.observation[self._scan]
            first, last = spec.angle_min or 0.0, spec.angle_max or 0.0
            self._angles = np.linspace(first, last, spec.shape[0])
        self._detector = ObjectDetector(camera)
        self._memory = ObjectMemory(camera)
        if self._image:
            rows, columns, _ = contract.observation[self._image].shape
            self._memory = ObjectMemory(camera, MemoryConfig(aspect=columns / rows))
        self._reckoning = DeadReckoning()
        self._used: dict[str, Array] = {}  # Readings that were taken into account, by identity.
        self._step_ns = -1
        self.held_color = ''  # Told by the owner: what is carried is in view all the time.
        self.time_ns = -1  # Stamp of the last control step.

    def _on_reading(self, name: str, stamp_ns: int, data: bytes, received_ns: int) -> None:
        if stamp_ns < self._step_ns - 1_000_000_000:  # The world began anew.
            self._begin_anew()
        self._observations.put(name, stamp_ns, data, received_ns)
        if name == self._odometry and stamp_ns - self._step_ns >= _TICK_NS:
            self._step_ns = stamp_ns
            senses = self._sense(stamp_ns)
            if senses is not None:
                self.time_ns = stamp_ns
                self._on_step(senses)

    def _begin_anew(self) -> None:
        self._step_ns = -1
        self._reckoning = DeadReckoning()
        self._memory.clear()
        self._used.clear()

    def _sense(self, now_ns: int) -> Senses | None:
        values = self._observations.collect(now_ns).values
        odometry = values.get(self._odometry)
        if odometry is None:
            return None
        gyro = values.get(self._imu)
        yaw = None if gyro is None else 2 * math.atan2(float(gyro[2]), float(gyro[3]))
        x, y, wheel_yaw = map(float, odometry[:3])
        self._reckoning.move((x, y, wheel_yaw), yaw)
        if self._is_new(self._pose, values):
            self._reckoning.correct(*map(float, values[self._pose][:3]))
        pose, smooth = self._reckoning.pose, self._reckoning.uncorrected
        assert pose is not None and smooth is not None, 'it moved'
        scan = values.get(self._scan)
        front = math.inf
        around: dict[str, float] = {}
        if self._scan:
            ranges = np.full(len(self._angles), np.nan) if scan is None else scan
            if self._is_new(self._scan, values):
                self._obstacles.note(pose, self._angles, ranges)
            front = free_ahead_m(self._angles, ranges, self._half_width_m)
            around = distances(self._angles, ranges)
        if self._is_new(self._image, values):
            self._look(values[self._image], pose, now_ns * 1e-9)
        velocity = values.get(self._velocity)
        forward, turn = (0.0, 0.0) if velocity is None else map(float, velocity[:2])
        view = View(now_ns * 1e-9, *pose, forward, turn, front)
        battery, joints = values.get(self._battery), values.get(self._joints)
        return Senses(
            view,
            view._replace(x=smooth[0], y=smooth[1], yaw=smooth[2]),
            around,
            math.nan if joints is None else float(joints[-_FINGERS:].sum()),
            math.nan if battery is None else float(battery[1]),
            tuple(
                Seen(seen.kind, seen.color, seen.x, seen.y, seen.age_s)
                for seen in self._memory.seen()
            ),
        )

    def _is_new(self, name: str, values: Any) -> bool:
        value = values.get(name)
        if value is None or value is self._used.get(name):
            return False
        self._used[name] = value
        return True

    def _look(self, image: Array, pose: tuple[float, float, float], time_s: float) -> None:
        try:
            found = self._detector.detect(image)
            found = [each for each in found if each.color != self.held_color]
            self._memory.note(found, pose, time_s)
        except MessageError as error:
            self._node.get_logger().warning(str(error), throttle_duration_sec=5.0)
