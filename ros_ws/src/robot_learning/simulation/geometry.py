"""Sizes that scene, layout, map and sensors share. Metres; map frame at the arena's centre."""

from __future__ import annotations

from typing import NamedTuple


class Wall(NamedTuple):
    """An upright box on the floor, aligned with the axes of the map frame."""

    name: str
    x: float  # Centre.
    y: float
    half_x: float
    half_y: float


class ObjectKind(NamedTuple):
    """One shape of the free objects."""

    radius: float  # Of the circle around its footprint.
    height: float
    half_width: float  # Half the extent between the gripper's fingers.


class FreeObject(NamedTuple):
    """One object that can be pushed, lifted and carried."""

    name: str
    kind: str
    rgba: tuple[float, float, float, float]


ARENA_HALF = 2.5  # The floor inside the outer walls is 5 x 5 m.
WALL_HEIGHT = 0.4
WALL_HALF = 0.05  # Half the thickness of every wall.

ROBOT_RADIUS = 0.18  # Circle about the axle's centre that holds the driving robot.
WHEEL_RADIUS = 0.035
WHEEL_SEPARATION = 0.25
LIDAR_HEIGHT = 0.08
IMU_HEIGHT = 0.06
CAMERA_POSITION = (0.08, 0.0, 0.34)
FIELD_OF_VIEW_DEG = 62.0  # Of the camera, vertical.
# Sensor frames in base_footprint, which lies under the axle's centre.
MOUNTS = {
    'base_link': (0.0, 0.0, 0.01),
    'base_scan': (0.0, 0.0, LIDAR_HEIGHT),
    'imu_link': (0.0, 0.0, IMU_HEIGHT),
    'camera_rgb_frame': CAMERA_POSITION,
}
LIFT_RANGE = (0.0, 0.25)
GRIPPER_RANGE = (0.0, 0.16)

OUTER_WALLS = tuple(
    Wall(
        f'wall_{side}',
        x * (ARENA_HALF + WALL_HALF),
        y * (ARENA_HALF + WALL_HALF),
        WALL_HALF if x else ARENA_HALF + 2 * WALL_HALF,
        WALL_HALF if y else ARENA_HALF + 2 * WALL_HALF,
    )
    for side, x, y in (('east', 1, 0), ('west', -1, 0), ('north', 0, 1), ('south', 0, -1))
)
# One wall from the left, one from the right: an S-shaped way with gaps wider than 1.5 m.
INNER_WALLS = (
    Wall('wall_left', -1.25, 0.8, 1.25, WALL_HALF),
    Wall('wall_right', 1.25, -0.8, 1.25, WALL_HALF),
)
WALLS = OUTER_WALLS + INNER_WALLS

KINDS = {
    'ball': ObjectKind(radius=0.065, height=0.13, half_width=0.065),
    'cube': ObjectKind(radius=0.085, height=0.12, half_width=0.06),
    'can': ObjectKind(radius=0.06, height=0.14, half_width=0.06),
}

_RED, _GREEN = (0.85, 0.1, 0.1, 1.0), (0.1, 0.65, 0.15, 1.0)
_BLUE, _YELLOW = (0.1, 0.2, 0.85, 1.0), (0.95, 0.8, 0.1, 1.0)
OBJECTS = (
    FreeObject('ball_red', 'ball', _RED),
    FreeObject('ball_green', 'ball', _GREEN),
    FreeObject('ball_blue', 'ball', _BLUE),
    FreeObject('cube_red', 'cube', _RED),
    FreeObject('cube_green', 'cube', _GREEN),
    FreeObject('cube_blue', 'cube', _BLUE),
    FreeObject('cube_yellow', 'cube', _YELLOW),
    FreeObject('can_red', 'can', _RED),
    FreeObject('can_blue', 'can', _BLUE),
    FreeObject('can_yellow', 'can', _YELLOW),
)
