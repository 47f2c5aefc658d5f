"""Where the robot is, smooth from step to step: wheels and gyro, drawn slowly to the map."""

from __future__ import annotations

import math

from robot_learning.language.motions import wrapped

Pose = tuple[float, float, float]  # x, y in metres, yaw in radians.

_GAIN = 0.1  # Share of the difference to a localisation that is made up for at once.
_JUMP_M, _JUMP_RAD = 0.5, 0.5  # Beyond it the robot was carried, or localised anew.


class DeadReckoning:
    """Adds up how far the wheels went along the heading; localisations correct it slowly.

    Motions of a metre or a turn want a pose without noise and jumps, motions to a place one that
    does not drift: this is both. Turned by wheels alone the heading is a percent off, by a gyro
    hardly. `uncorrected` is for motions by a distance or an angle: localisation wanders by more
    than wheels do meanwhile.
    """

    def __init__(self) -> None:
        self._odometry: Pose | None = None  # Newest.
        self._gyro_yaw: float | None = None  # Newest; None: not told at the last step.
        self._heading = 0.0  # Adds up turns by the gyro, by wheels at steps without it.
        self._x = self._y = 0.0
        self._free_x = self._free_y = 0.0  # By wheels and gyro alone.
        self._turned = 0.0  # Of the map frame against the heading's.
        self._is_localised = False

    @property
    def pose(self) -> Pose | None:
        """In the map frame once a localisation came, else in the odometry's; None: unknown."""
        if self._odometry is None:
            return None
        return self._x, self._y, wrapped(self._heading + self._turned)

    @property
    def uncorrected(self) -> Pose | None:
        """By wheels and gyro alone, in a frame of their own; None: unknown."""
        return None if self._odometry is None else (self._free_x, self._free_y, self._heading)

    def move(self, odometry: Pose, gyro_yaw: float | None = None) -> None:
        """Take a new odometry into account, and the heading by the gyro if there is one."""
        before, self._odometry = self._odometry, odometry
        gyro_before, self._gyro_yaw = self._gyro_yaw, gyro_yaw
        if before is None:
            self._heading = odometry[2]
            self._x, self._y = odometry[:2]
            return
        # Both have zeros of their own: a gyro that comes or goes is no turn.
        turn = wrapped(odometry[2] - before[2])
        if gyro_yaw is not None and gyro_before is not None:
            turn = wrapped(gyro_yaw - gyro_before)
        dx, dy = odometry[0] - before[0], odometry[1] - before[1]
        middle = before[2] + 0.5 * wrapped(odometry[2] - before[2])
        gone_m = dx * math.cos(middle) + dy * math.sin(middle)
        along = self._heading + 0.5 * turn
        self._free_x += gone_m * math.cos(along)
        self._free_y += gone_m * math.sin(along)
        self._x += gone_m * math.cos(along + self._turned)
        self._y += gone_m * math.sin(along + self._turned)
        self._heading = wrapped(self._heading + turn)

    def correct(self, x: float, y: float, yaw: float) -> bool:
        """Take a localisation in the map frame into account; ignored before any odometry.

        Returns:
            whether it is somewhere else than it believed, the first time included.
        """
        pose = self.pose
        if pose is None:
            return False
        off_yaw = wrapped(yaw - pose[2])
        is_far = math.dist((x, y), pose[:2]) > _JUMP_M or abs(off_yaw) > _JUMP_RAD
        is_far = is_far or not self._is_localised
        gain = 1.0 if is_far else _GAIN
        self._is_localised = True
        self._x += gain * (x - self._x)
        self._y += gain * (y - self._y)
        self._turned = wrapped(self._turned + gain * off_yaw)
        return is_far
