"""What the robot's body touches, from true poses alone: for worlds that do not tell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from robot_learning.simulation.geometry import (
    CHASSIS,
    FINGER,
    GRIPPER_RANGE,
    KINDS,
    OBJECTS,
    WALLS,
    WHEEL_HALF_WIDTH,
    WHEEL_SEPARATION,
)
from robot_learning.simulation.layout import Pose2D

Point = tuple[float, float]

_MARGIN_M = 0.01  # Poses come every 20 ms, in which a driving robot moves so far.


class Box(NamedTuple):
    """A rectangle in base_footprint, metres."""

    rear: float
    front: float
    half_width: float


class Body(NamedTuple):
    """What of a robot touches things: low down, and above all objects where walls still are."""

    low: Box
    high: Box | None = None


ARENA_BODY = Body(
    Box(
        CHASSIS.position[0] - CHASSIS.half_size[0],
        CHASSIS.position[0] + CHASSIS.half_size[0],
        WHEEL_SEPARATION / 2 + WHEEL_HALF_WIDTH,
    ),
    Box(  # The stowed gripper.
        FINGER.position[0] - FINGER.half_size[0],
        FINGER.position[0] + FINGER.half_size[0],
        GRIPPER_RANGE[1] / 2 + 2 * FINGER.half_size[1],
    ),
)
# TurtleBot3 Waffle, from the collisions in turtlebot3_gazebo's model.
TURTLEBOT3_BODY = Body(Box(-0.197, 0.069, 0.153))


def body_of(robot: str) -> Body:
    """Return the body of a robot by its contract's name."""
    return TURTLEBOT3_BODY if robot == 'turtlebot3' else ARENA_BODY


def touched_by_robot(
    robot: Pose2D, objects: Mapping[str, Pose2D], body: Body = ARENA_BODY
) -> set[str]:
    """Return the walls and objects that the robot reaches, with a centimetre around it.

    Args:
        robot: pose of base_footprint.
        objects: pose of every object that is in the arena.
        body: what of the robot touches.
    """
    low = _around(robot, body.low)
    against_walls = [low] if body.high is None else [low, _around(robot, body.high)]
    walls = {
        wall.name: _rectangle(
            (wall.x, wall.y, 0.0), -wall.half_x, wall.half_x, -wall.half_y, wall.half_y
        )
        for wall in WALLS
    }
    found = {
        name
        for name, corners in walls.items()
        if any(_overlap(part, corners) for part in against_walls)
    }
    kinds = {item.name: item.kind for item in OBJECTS}
    for name, pose in objects.items():
        kind = KINDS[kinds[name]]
        if kinds[name] == 'cube':
            half = kind.half_width
            touches = _overlap(low, _rectangle(pose, -half, half, -half, half))
        else:
            touches = _reaches(robot, body.low, pose[:2], kind.radius)
        if touches:
            found.add(name)
    return found


def _around(robot: Pose2D, box: Box) -> list[Point]:
    side = box.half_width + _MARGIN_M
    return _rectangle(robot, box.rear - _MARGIN_M, box.front + _MARGIN_M, -side, side)


def _rectangle(pose: Pose2D, left: float, right: float, low: float, high: float) -> list[Point]:
    """Return the corners of a box in the frame of `pose`, in the map."""
    cos, sin = math.cos(pose[2]), math.sin(pose[2])
    return [
        (pose[0] + cos * x - sin * y, pose[1] + sin * x + cos * y)
        for x, y in ((left, low), (right, low), (right, high), (left, high))
    ]


def _overlap(one: Sequence[Point], other: Sequence[Point]) -> bool:
    """Tell whether two rectangles meet: no side of either separates them."""
    for corners in (one, other):
        for (ax, ay), (bx, by) in ((corners[0], corners[1]), (corners[1], corners[2])):
            axis = (bx - ax, by - ay)
            first, second = _span(one, axis), _span(other, axis)
            if first[1] < second[0] or second[1] < first[0]:
                return False
    return True


def _span(corners: Iterable[Point], axis: Point) -> tuple[float, float]:
    along = [x * axis[0] + y * axis[1] for x, y in corners]
    return min(along), max(along)


def _reaches(robot: Pose2D, box: Box, centre: Point, radius: float) -> bool:
    """Tell whether a box of the robot comes within a centimetre of a circle."""
    dx, dy = centre[0] - robot[0], centre[1] - robot[1]
    cos, sin = math.cos(robot[2]), math.sin(robot[2])
    x, y = cos * dx + sin * dy, cos * dy - sin * dx
    outside_x = max(box.rear - x, x - box.front, 0.0)
    outside_y = max(abs(y) - box.half_width, 0.0)
    return math.hypot(outside_x, outside_y) <= radius + _MARGIN_M
