"""Where robot, goal and objects stand when an episode begins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field, NonNegativeFloat
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.errors import SimulationError
from robot_learning.simulation.geodesic import Circle, GeodesicField, GeodesicMap, wall_distance
from robot_learning.simulation.geometry import ARENA_HALF, KINDS, OBJECTS, ROBOT_RADIUS, WALLS

Pose2D = tuple[float, float, float]  # x, y in metres, yaw in radians, map frame.

_ATTEMPTS = 200  # Random places tried for one thing, and layouts tried for one seed.


@dataclass(frozen=True, config=STRICT)
class LayoutConfig:
    """Distances that random layouts keep, rim to rim, so that a way always exists."""

    num_objects: Annotated[int, Field(ge=0, le=len(OBJECTS))] = len(OBJECTS)
    object_gap_m: NonNegativeFloat = 0.48  # Object to object and wall: the robot needs 0.36.
    start_gap_m: NonNegativeFloat = 0.12  # The robot's rim to anything.
    goal_gap_m: NonNegativeFloat = 0.12  # A robot's rim standing on the goal to anything.


class Layout(NamedTuple):
    """One arrangement of the arena."""

    robot: Pose2D
    goal: Pose2D
    objects: dict[str, Pose2D]
    field: GeodesicField  # Distance to the goal; ground truth, for rewards only.

    @property
    def circles(self) -> list[Circle]:
        """Footprints of the objects."""
        return footprints(self.objects)


def footprints(objects: dict[str, Pose2D]) -> list[Circle]:
    """Circles that hold the objects' footprints."""
    kind = {item.name: KINDS[item.kind] for item in OBJECTS}
    return [(x, y, kind[name].radius) for name, (x, y, _) in objects.items()]


def sample_layout(
    rng: np.random.Generator,
    config: LayoutConfig,
    geodesic_map: GeodesicMap,
    min_goal_distance_m: float,
    robot: Sequence[float] | None = None,
    goal: Sequence[float] | None = None,
    keep_free: Sequence[tuple[float, float]] = (),
) -> Layout:
    """Draw a layout in which a way leads from the start to the goal.

    Args:
        rng: the only source of chance.
        config: distances to keep.
        geodesic_map: checks that a way exists.
        min_goal_distance_m: how far a drawn goal lies from the start, straight line.
        robot: a given start pose, or None to draw one.
        goal: a given goal pose, or None to draw one.
        keep_free: further places that objects leave as free as the goal.

    Raises:
        SimulationError: no such layout was found, or a given pose is inside something.
    """
    for name, pose in (('robot_pose', robot), ('goal_pose', goal)):
        if pose is not None:
            _check_given(name, pose)
    for _ in range(_ATTEMPTS):
        layout = _attempt(rng, config, geodesic_map, min_goal_distance_m, robot, goal, keep_free)
        if layout is not None:
            return layout
    raise SimulationError(
        f'layout: none found in {_ATTEMPTS} attempts with {config.num_objects} objects, '
        f'robot_pose {robot} and goal_pose {goal}. Move the poses or lower the gaps.'
    )


def _attempt(
    rng: np.random.Generator,
    config: LayoutConfig,
    geodesic_map: GeodesicMap,
    min_goal_distance_m: float,
    robot: Sequence[float] | None,
    goal: Sequence[float] | None,
    keep_free: Sequence[tuple[float, float]],
) -> Layout | None:
    start = _pose(robot) if robot is not None else _free_pose(rng, [], config.start_gap_m)
    end = _pose(goal) if goal is not None else None
    for _ in range(_ATTEMPTS if end is None else 0):
        x, y, _yaw = _free_pose(rng, [], config.goal_gap_m)
        if math.hypot(x - start[0], y - start[1]) >= min_goal_distance_m:
            end = (x, y, 0.0)
            break
    if end is None:
        return None
    objects = _place_objects(rng, config, start, [end[:2], *keep_free])
    if objects is None:
        return None
    field = geodesic_map.field(end, footprints(objects))
    if not field.is_reachable(start[0], start[1]):
        return None
    return Layout(start, end, objects, field)


def _place_objects(
    rng: np.random.Generator,
    config: LayoutConfig,
    start: Pose2D,
    goals: Sequence[tuple[float, float]],
) -> dict[str, Pose2D] | None:
    """Put objects down one by one; None when one finds no place."""
    # Circles whose radius makes up for the difference between their gap and the objects'.
    around_start = ROBOT_RADIUS + config.start_gap_m - config.object_gap_m
    around_goal = ROBOT_RADIUS + config.goal_gap_m - config.object_gap_m
    kept = [(start[0], start[1], around_start), *((x, y, around_goal) for x, y in goals)]
    chosen = rng.permutation(len(OBJECTS))[: config.num_objects]
    objects: dict[str, Pose2D] = {}
    for index in sorted(chosen.tolist()):
        item = OBJECTS[index]
        radius = KINDS[item.kind].radius
        pose = _free_pose(rng, kept, config.object_gap_m, radius)
        if not math.isfinite(pose[0]):
            return None
        objects[item.name] = pose
        kept.append((pose[0], pose[1], radius))
    return objects


def _free_pose(
    rng: np.random.Generator, circles: list[Circle], gap: float, radius: float = ROBOT_RADIUS
) -> Pose2D:
    """Draw a pose whose circle keeps `gap` to walls and circles; NaN when none was found."""
    points = rng.uniform(-ARENA_HALF, ARENA_HALF, (_ATTEMPTS, 2))
    yaw = float(rng.uniform(-math.pi, math.pi))
    need = radius + gap
    free = wall_distance(points[:, 0], points[:, 1], WALLS) >= need
    for x, y, other in circles:
        free &= np.hypot(points[:, 0] - x, points[:, 1] - y) >= need + other
    if not free.any():
        return math.nan, math.nan, yaw
    x, y = points[int(free.argmax())].tolist()
    return x, y, yaw


def _check_given(name: str, pose: Sequence[float]) -> None:
    if len(pose) != 3 or not all(math.isfinite(value) for value in pose):
        raise SimulationError(
            f'{name}: found {list(pose)}, expected finite x, y (m) and yaw (rad). '
            f'Give three numbers.'
        )
    room = float(wall_distance(np.array(pose[0]), np.array(pose[1]), WALLS))
    if room < ROBOT_RADIUS or max(abs(pose[0]), abs(pose[1])) > ARENA_HALF:
        raise SimulationError(
            f'{name}: ({pose[0]:.2f}, {pose[1]:.2f}) is {room:.2f} m from a wall, the robot '
            f'needs {ROBOT_RADIUS} m. Choose a free place inside +-{ARENA_HALF} m.'
        )


def _pose(values: Sequence[float]) -> Pose2D:
    x, y, yaw = (float(value) for value in values)
    return x, y, yaw
