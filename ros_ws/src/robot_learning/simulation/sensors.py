"""What the robot's sensors say: truth with the errors that real ones have."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.contract import ObservationField
from robot_learning.simulation import scene
from robot_learning.simulation.geometry import WHEEL_RADIUS, WHEEL_SEPARATION
from robot_learning.simulation.physics import Physics, Pose2D

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, config=STRICT)
class SensorConfig:
    """Errors of the sensors; standard deviations unless said otherwise."""

    encoder_ticks: PositiveInt = 4096  # Per turn of a wheel.
    gyro_noise_rad_s: NonNegativeFloat = 0.005
    gyro_bias_rad_s: NonNegativeFloat = 0.002  # Drawn once per episode; turns the orientation.
    acceleration_noise_m_s2: NonNegativeFloat = 0.05
    localisation_noise_m: NonNegativeFloat = 0.02  # Of x and of y.
    localisation_noise_rad: NonNegativeFloat = 0.0175  # One degree.
    localisation_correlation_s: PositiveFloat = 3.0  # The error forgets itself in this time.


class Lidar:
    """Beams from the robot's centre; the robot's own geoms let them through."""

    def __init__(self, physics: Physics, field: ObservationField | None):
        num_beams = field.shape[0] if field else 360
        first = (field.angle_min if field else None) or 0.0
        last = (field.angle_max if field else None) or first + 2 * math.pi * (1 - 1 / num_beams)
        self.angle_min, self.angle_max = first, last
        self.range_min = (field.range_min if field else None) or 0.12
        self.range_max = (field.range_max if field else None) or 3.5
        self.angle_increment = (last - first) / max(num_beams - 1, 1)
        angle = np.linspace(first, last, num_beams)
        self._local = np.stack([np.cos(angle), np.sin(angle), np.zeros(num_beams)], axis=1)
        self._physics = physics
        self._site = physics.model.site('base_scan').id
        self._groups = np.ones(6, np.uint8)
        self._groups[scene.HIDDEN_GROUPS] = 0
        self._geom = np.zeros(num_beams, np.int32)
        self._distance = np.zeros(num_beams)

    def scan(self, rng: np.random.Generator, noise_m: float) -> Array:
        """Return ranges [beams] float32; +inf beyond the range, -inf below it (REP 117)."""
        data = self._physics.data
        rotation = data.site_xmat[self._site].reshape(3, 3)
        mujoco.mj_multiRay(
            self._physics.model,
            data,
            data.site_xpos[self._site],
            (self._local @ rotation.T).ravel(),
            self._groups,
            True,
            -1,
            self._geom,
            self._distance,
            None,
            len(self._distance),
            self.range_max + 0.1,
        )
        ranges = self._distance + noise_m * rng.standard_normal(len(self._distance))
        ranges[(self._distance < 0) | (ranges > self.range_max)] = np.inf
        ranges[ranges < self.range_min] = -np.inf
        return ranges.astype(np.float32)


class WheelOdometry:
    """Pose integrated from wheel encoders with misjudged wheels: it drifts."""

    def __init__(self, physics: Physics, ticks: int):
        self._physics = physics
        self._tick = 2 * math.pi / ticks
        self.reset({'wheel_radius_error': 0.0, 'wheel_separation_error': 0.0})

    def reset(self, randomisation: Mapping[str, float]) -> None:
        """Start at the origin of the odometry frame."""
        self._radius = WHEEL_RADIUS * (1 + randomisation['wheel_radius_error'])
        self._separation = WHEEL_SEPARATION * (1 + randomisation['wheel_separation_error'])
        self._pose = (0.0, 0.0, 0.0)
        self._counted = self._count()

    def update(self) -> None:
        """Integrate what the wheels turned since the last update, as an arc."""
        left, right = self._count()
        rolled_left = (left - self._counted[0]) * self._tick * self._radius
        rolled_right = (right - self._counted[1]) * self._tick * self._radius
        self._counted = (left, right)
        forward = (rolled_left + rolled_right) / 2
        turn = (rolled_right - rolled_left) / self._separation
        x, y, yaw = self._pose
        middle = yaw + turn / 2
        self._pose = (
            x + forward * math.cos(middle),
            y + forward * math.sin(middle),
            wrap(yaw + turn),
        )

    def pose(self) -> Pose2D:
        """Pose in the odometry frame."""
        return self._pose

    def velocity(self) -> tuple[float, float]:
        """Forward speed (m/s) and yaw rate (rad/s) from the wheels' speeds."""
        left, right = self._physics.wheel_speeds()
        forward = self._radius * (left + right) / 2
        return forward, self._radius * (right - left) / self._separation

    def _count(self) -> tuple[int, int]:
        left, right = self._physics.wheel_angles()
        return math.floor(left / self._tick), math.floor(right / self._tick)


class Localisation:
    """The robot's pose in the map as a localiser would give it: truth plus a slow error."""

    def __init__(self, config: SensorConfig):
        self._sigma = np.array([config.localisation_noise_m] * 2 + [config.localisation_noise_rad])
        self._correlation_s = config.localisation_correlation_s
        self._error = np.zeros(3)

    @property
    def sigma(self) -> Array:
        """Standard deviations of x, y (m) and yaw (rad)."""
        return self._sigma

    def reset(self, rng: np.random.Generator) -> None:
        """Draw the first error."""
        self._error = self._sigma * rng.standard_normal(3)

    def update(self, elapsed_s: float, rng: np.random.Generator) -> None:
        """Let the error wander (an Ornstein-Uhlenbeck process, exact for any step)."""
        keep = math.exp(-elapsed_s / self._correlation_s)
        fresh = self._sigma * math.sqrt(1 - keep * keep)
        self._error = keep * self._error + fresh * rng.standard_normal(3)

    def pose(self, truth: Pose2D) -> Array:
        """Return x, y (m) and yaw (rad) in the map frame [3]."""
        pose = np.asarray(truth) + self._error
        pose[2] = wrap(pose[2])
        return pose


class Imu:
    """Orientation, angular velocity and acceleration at the robot's centre."""

    def __init__(self, physics: Physics, config: SensorConfig):
        self._physics = physics
        self._config = config
        model = physics.model
        self._acceleration = int(model.sensor('imu_acceleration').adr[0])
        self._gyro = int(model.sensor('imu_gyro').adr[0])
        self._bias = np.zeros(3)

    def reset(self, rng: np.random.Generator) -> None:
        """Draw the gyro's bias of this episode."""
        self._bias = self._config.gyro_bias_rad_s * rng.standard_normal(3)

    def read(self, elapsed_s: float, rng: np.random.Generator) -> Array:
        """Return orientation x y z w, angular velocity, linear acceleration [10].

        The orientation's yaw drifts with the gyro's bias, as without a compass.
        """
        config, data = self._config, self._physics.data
        noise = rng.standard_normal(6)
        w, x, y, z = data.qpos[3:7].tolist()
        half = float(self._bias[2]) * elapsed_s / 2
        cos, sin = math.cos(half), math.sin(half)
        reading = np.empty(10)
        reading[:4] = (  # The drift turns about the vertical, so it multiplies from the left.
            cos * x - sin * y,
            cos * y + sin * x,
            cos * z + sin * w,
            cos * w - sin * z,
        )
        gyro = data.sensordata[self._gyro : self._gyro + 3]
        acceleration = data.sensordata[self._acceleration : self._acceleration + 3]
        reading[4:7] = gyro + self._bias + config.gyro_noise_rad_s * noise[:3]
        reading[7:] = acceleration + config.acceleration_noise_m_s2 * noise[3:]
        return reading


def wrap(angle: float) -> float:
    """Bring an angle into [-pi, pi)."""
    return (angle + math.pi) % (2 * math.pi) - math.pi
