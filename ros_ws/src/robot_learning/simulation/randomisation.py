"""What differs from episode to episode besides the layout, drawn from the episode's seed."""

from __future__ import annotations

import numpy as np
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.errors import ConfigError

Range = tuple[float, float]


@dataclass(frozen=True, config=STRICT)
class RandomisationConfig:
    """Ranges (low, high) of uniform draws; `enabled: false` takes the middle of each."""

    enabled: bool = True
    robot_mass_scale: Range = (0.85, 1.15)
    object_mass_scale: Range = (0.7, 1.3)
    friction_scale: Range = (0.7, 1.3)
    motor_strength_scale: Range = (0.8, 1.2)
    wheel_radius_error: Range = (-0.02, 0.02)  # Part by which odometry misjudges the wheels.
    wheel_separation_error: Range = (-0.02, 0.02)
    command_latency_s: Range = (0.0, 0.04)  # From the command to the motors.
    lidar_noise_m: Range = (0.005, 0.015)  # Standard deviation of one beam.

    def __post_init__(self) -> None:
        for name, (low, high) in ranges(self).items():
            if low > high:
                raise ConfigError(
                    f'randomisation.{name}: low {low} is above high {high}. Swap them.'
                )


def ranges(config: RandomisationConfig) -> dict[str, Range]:
    """Return the configured ranges by name."""
    return {name: value for name, value in vars(config).items() if isinstance(value, tuple)}


def sample(config: RandomisationConfig, rng: np.random.Generator) -> dict[str, float]:
    """Draw one value per quantity; plain numbers, stored with the episode."""
    return {
        name: float(rng.uniform(low, high)) if config.enabled else (low + high) / 2
        for name, (low, high) in ranges(config).items()
    }
