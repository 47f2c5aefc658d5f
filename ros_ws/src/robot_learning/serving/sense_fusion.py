"""What is known about robot and surroundings at a control step, from the contract's fields."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robot_learning.contract import RobotContract
from robot_learning.errors import MessageError
from robot_learning.language.abilities import field_of, pose_field
from robot_learning.language.dead_reckoning import DeadReckoning
from robot_learning.language.motions import View
from robot_learning.language.obstacle_map import ObstacleMap
from robot_learning.language.senses import (
    Seen,
    Senses,
    distances,
    free_ahead_m,
    nearest_ahead,
)
from robot_learning.serving.camera_geometry import CameraGeometry
from robot_learning.serving.grounded_objects import GroundedObjects, Place, named_thing
from robot_learning.serving.object_detector import ObjectDetector
from robot_learning.serving.object_memory import MemoryConfig, ObjectMemory

Array = np.ndarray[Any, Any]

_FINGERS = 2  # The last joints of the contract's list, where there is a gripper.


class SenseFusion:
    """Puts odometry, gyro, localisation, lidar, camera and joints together, step by step.

    Args:
        contract: names the fields.
        camera: where it looks.
        obstacles: told what the lidar sees.
        half_width_m: of the robot, with some room.
    """

    def __init__(
        self,
        contract: RobotContract,
        camera: CameraGeometry,
        obstacles: ObstacleMap,
        half_width_m: float,
    ):
        self._obstacles = obstacles
        self._half_width_m = half_width_m
        self.odometry = field_of(contract, 'nav_msgs/msg/Odometry', 'pose2d')
        self._velocity = field_of(contract, 'nav_msgs/msg/Odometry', 'twist2d')
        self._pose = pose_field(contract)
        self._imu = field_of(contract, 'sensor_msgs/msg/Imu')
        self._scan = field_of(contract, 'sensor_msgs/msg/LaserScan')
        self._image = field_of(contract, 'sensor_msgs/msg/Image')
        self._battery = field_of(contract, 'sensor_msgs/msg/BatteryState')
        has_hand = 'gripper' in contract.actions
        self._joints = field_of(contract, 'sensor_msgs/msg/JointState') if has_hand else ''
        used = (
            *(self.odometry, self._velocity, self._pose, self._imu),
            *(self._scan, self._image, self._battery, self._joints),
        )
        self.fields = tuple(name for name in contract.observation if name in used)
        if self._scan:
            spec = contract.observation[self._scan]
            first, last = spec.angle_min or 0.0, spec.angle_max or 0.0
            self._angles = np.linspace(first, last, spec.shape[0])
        self._detector = ObjectDetector(camera)
        memory = None
        if self._image:
            rows, columns, _ = contract.observation[self._image].shape
            memory = MemoryConfig(aspect=columns / rows)
        self._memory = ObjectMemory(camera, memory)
        self._grounded = GroundedObjects(camera)
        self._reckoning = DeadReckoning()
        self._used: dict[str, Array] = {}  # Readings that were taken into account, by identity.
        self.held_color = ''  # Told by the owner: what is carried is in view all the time.
        self.problem = ''  # Of the last picture.

    def begin_anew(self) -> None:
        """Forget everything: the world began anew."""
        self._reckoning = DeadReckoning()
        self._memory.clear()
        self._grounded.clear()
        self._obstacles.clear()
        self._used.clear()

    def sense(self, values: Mapping[str, Array], now_s: float) -> Senses | None:
        """Return what is known now; None without odometry.

        Args:
            values: field -> newest reading; one that was given before is not used again.
            now_s: of the robot's clock.
        """
        odometry = values.get(self.odometry)
        if odometry is None:
            return None
        pose, smooth = self._locate(odometry, values)
        front = math.inf
        around: dict[str, float] = {}
        near = None
        if self._scan:
            unknown = np.full(len(self._angles), np.nan)
            ranges = values.get(self._scan, unknown)
            if self._is_new(self._scan, values):
                self._obstacles.note(pose, self._angles, ranges)
            front = free_ahead_m(self._angles, ranges, self._half_width_m)
            around = distances(self._angles, ranges)
            near = nearest_ahead(self._angles, ranges)
        if self._is_new(self._image, values):
            self._look(values[self._image], pose, now_s)
        velocity = values.get(self._velocity)
        forward, turn = (0.0, 0.0) if velocity is None else map(float, velocity[:2])
        view = View(now_s, *pose, forward, turn, front)
        battery, joints = values.get(self._battery), values.get(self._joints)
        return Senses(
            view,
            view._replace(x=smooth[0], y=smooth[1], yaw=smooth[2]),
            around,
            near,
            math.nan if joints is None else float(joints[-_FINGERS:].sum()),
            math.nan if battery is None else float(battery[1]),
            self._grounded.added_to(
                [
                    Seen(seen.kind, seen.color, seen.x, seen.y, seen.age_s, seen.confidence)
                    for seen in self._memory.seen()
                ],
                now_s,
            ),
        )

    def hear(self, places: Sequence[Place], time_s: float) -> None:
        """Take in what was found by words in a picture that was taken just now.

        Args:
            places: of phrases; what is carried is in view all the time and passed over.
            time_s: of the robot's clock, when the picture was taken.
        """
        pose = self._reckoning.pose
        if pose is None:
            return
        kept = [each for each in places if not self._is_held(each.phrase)]
        self._grounded.note(kept, pose, time_s)

    def _is_held(self, phrase: str) -> bool:
        named = named_thing(phrase)
        return bool(self.held_color) and named is not None and named[1] == self.held_color

    def _locate(
        self, odometry: Array, values: Mapping[str, Array]
    ) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Return the pose in the map, and that by wheels and gyro alone."""
        gyro = values.get(self._imu)
        yaw = None if gyro is None else 2 * math.atan2(float(gyro[2]), float(gyro[3]))
        x, y, wheel_yaw = map(float, odometry[:3])
        self._reckoning.move((x, y, wheel_yaw), yaw)
        is_told = self._is_new(self._pose, values)
        if is_told and self._reckoning.correct(*map(float, values[self._pose][:3])):
            self._memory.clear()  # What was seen before is not where it was put.
            self._grounded.clear()
            self._obstacles.clear()
        pose, smooth = self._reckoning.pose, self._reckoning.uncorrected
        assert pose is not None and smooth is not None, 'it moved'
        return pose, smooth

    def _is_new(self, name: str, values: Mapping[str, Array]) -> bool:
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
            self.problem = ''
        except MessageError as error:
            self.problem = str(error)
