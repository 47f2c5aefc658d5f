"""Where a camera looks: from pixels to rays over the floor, and from points back to the picture.

Base frame: origin on the floor under the robot's axle, x forward, y left, z up. The camera stands
in its xz plane, level from left to right, with square pixels.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, config=STRICT)
class CameraGeometry:
    """One camera on the robot; the defaults are the embedded world's."""

    # Not lower than objects are high, or where they are seen says little about how far they are.
    height_m: Annotated[float, Field(ge=0.15, le=10)] = 0.34
    forward_m: Annotated[float, Field(ge=-10, le=10)] = 0.08  # Ahead of the axle.
    # Down; of the robot at rest, which leans back on its rear caster by 0.3 degrees.
    pitch_rad: Annotated[float, Field(gt=-math.pi / 2, lt=math.pi / 2)] = 0.3423
    field_of_view_rad: Annotated[float, Field(gt=0, lt=math.pi)] = math.radians(62.0)  # Vertical.

    @property
    def position(self) -> Array:
        """The optical centre in the base frame, [3]."""
        return np.array([self.forward_m, 0.0, self.height_m])

    def pixel(self, height: int) -> float:
        """Return the side of a pixel one metre along the optical axis, metres."""
        return 2 * math.tan(self.field_of_view_rad / 2) / height

    def rays(self, height: int, width: int) -> Array:
        """Return the directions through the pixels' centres in the base frame, [H, W, 3].

        Not of length one: each is one metre long along the optical axis.
        """
        pixel = self.pixel(height)
        up = (height / 2 - np.arange(height) - 0.5)[:, None] * pixel  # [H, 1]
        left = np.broadcast_to((width / 2 - np.arange(width) - 0.5) * pixel, (height, width))
        cos, sin = math.cos(self.pitch_rad), math.sin(self.pitch_rad)
        forward = np.broadcast_to(cos + up * sin, (height, width))
        return np.stack([forward, left, np.broadcast_to(up * cos - sin, (height, width))], axis=-1)

    def project(self, x: float, y: float, z: float) -> tuple[float, float] | None:
        """Return where a point of the base frame is seen, or None when it is behind the camera.

        (left, up) from the picture's centre, in units of half the picture's height: 1 is its
        upper edge, and the left edge of a square picture.
        """
        x, z = x - self.forward_m, z - self.height_m
        cos, sin = math.cos(self.pitch_rad), math.sin(self.pitch_rad)
        depth = x * cos - z * sin
        if depth <= 0:
            return None
        scale = depth * math.tan(self.field_of_view_rad / 2)
        return y / scale, (x * sin + z * cos) / scale
