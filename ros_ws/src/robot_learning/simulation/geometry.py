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


class Part(NamedTuple):
    """A box that the robot's body is made of; in base_footprint, sides parallel to its axes."""

    half_size: tuple[float, float, float]
    position: tuple[float, float, float]  # Of its centre.
    mass: float  # kg.
    rgba: tuple[float, float, float, float]


class FreeObject(NamedTuple):
    """One object that can be pushed, lifted and carried."""

    name: str
    kind: str
    rgba: tuple[float, float, float, float]


FLOOR_MARGIN = 0.2  # By which the floor reaches beyond the arena.
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
CAMERA_UP = (0.34, 0.0, 0.94)  # The picture's upward direction: it looks down a little.
LIFT_RANGE = (0.0, 0.25)
GRIPPER_RANGE = (0.0, 0.16)

CHASSIS = Part((0.1, 0.1, 0.035), (-0.02, 0.0, 0.065), 1.5, (0.2, 0.22, 0.25, 1.0))
MAST = Part((0.015, 0.05, 0.13), (0.05, 0.0, 0.23), 0.15, (0.3, 0.3, 0.33, 1.0))
BATTERY = Part((0.03, 0.06, 0.02), (-0.06, 0.0, 0.04), 0.4, (0.1, 0.1, 0.1, 1.0))
# On the lift, which is at its lowest here; each finger moves half of the opening outwards.
CARRIAGE = Part((0.006, 0.09, 0.015), (0.088, 0.0, 0.065), 0.06, (0.5, 0.5, 0.52, 1.0))
FINGER = Part((0.03, 0.006, 0.03), (0.124, 0.0, 0.05), 0.03, (0.7, 0.7, 0.72, 1.0))
WHEEL_MASS = 0.08
WHEEL_HALF_WIDTH = 0.012
# Casters hang 1 mm above the wheels' plane so that the wheels always carry weight.
CASTERS = {'front': (0.075, 0.0, 0.016), 'rear': (-0.13, 0.0, 0.016)}
CASTER_RADIUS = 0.015
CASTER_MASS = 0.02
FLOOR_FRICTION = 0.9
OBJECT_FRICTION = 0.9
WHEEL_FRICTION = 1.0
FINGER_FRICTION = 1.5
WHEEL_TORQUE = 0.16  # N m, of a small geared motor.
LIFT_FORCE = 15.0  # N, carries about 1 kg.
FINGER_FORCE = 6.0  # N.

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

OBJECT_MASS = 0.15  # kg.

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
