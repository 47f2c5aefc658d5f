"""What the robot is asked to do, what it is paid for, and how a driven path is scored."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Annotated, Any, NamedTuple, Protocol

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass

from robot_learning import config
from robot_learning.config import STRICT
from robot_learning.contract import RobotContract
from robot_learning.errors import SimulationError
from robot_learning.registry import Registry
from robot_learning.simulation.geodesic import GeodesicField, GeodesicMap
from robot_learning.simulation.layout import Layout, Pose2D

Array = np.ndarray[Any, Any]


class Verdict(NamedTuple):
    """What arriving at a control step brought. The time limit is the world's business."""

    reward: float
    terminated: bool
    success: bool
    reason: str  # 'goal', 'collision' or '' while the episode goes on.


class Task(Protocol):
    """One kind of task; an instance serves one episode after the other."""

    @property
    def goal(self) -> Pose2D:
        """The pose that is published as the goal now."""

    @property
    def course(self) -> Sequence[tuple[float, float]]:
        """Fixed goals in order, which objects leave free; empty: the layout draws the goal."""

    @property
    def min_goal_distance_m(self) -> float:
        """How far from the start a random goal lies at least."""

    @property
    def field(self) -> GeodesicField:
        """True distances to the goal, for rewards and scripted drivers."""

    def begin(self, layout: Layout, geodesic_map: GeodesicMap) -> None:
        """Start an episode in this layout."""

    def judge(self, pose: Pose2D, touched: Collection[str]) -> Verdict:
        """Say what arriving at `pose` is worth; `touched`: what the robot's body hit."""

    def summary(self) -> dict[str, float]:
        """Return the scores of the path driven so far."""


TASKS: Registry[type[Any]] = Registry('task')


def build_task(contract: RobotContract) -> Task:
    """Make the task that the contract names, with its parameters.

    Raises:
        SimulationError: the contract has no task.
        ConfigError: the task is unknown, or names every wrong parameter.
    """
    if contract.task is None:
        raise SimulationError(
            f'{contract.robot}: the contract has no task, the simulation needs one. '
            f'Add a "task" block; known tasks: {", ".join(TASKS)}.'
        )
    cls = TASKS.get(contract.task.name)
    where = f'{contract.robot}: task.parameters'
    task: Task = cls(config.from_mapping(cls.Config, contract.task.parameters, where))
    return task


@dataclass(frozen=True, config=STRICT)
class GoalReachingConfig:
    """Rewards of driving to one goal."""

    goal_radius_m: PositiveFloat = 0.3
    min_goal_distance_m: NonNegativeFloat = 1.5
    progress_weight: NonNegativeFloat = 2.0  # Per metre of geodesic distance.
    time_cost: NonNegativeFloat = 0.02  # Per control step.
    success_bonus: NonNegativeFloat = 5.0
    collision_penalty: NonNegativeFloat = 5.0


@TASKS.register('goal_reaching')
class GoalReaching:
    """Drive to the goal; touching a wall or an object ends the episode as a failure.

    The reward uses the true distance round all obstacles. The robot never observes it.
    """

    Config = GoalReachingConfig
    field: GeodesicField

    def __init__(self, config: GoalReachingConfig):
        self._config = config
        self._path: list[tuple[float, float]] = []

    @property
    def goal(self) -> Pose2D:
        """The goal of the layout."""
        return self._goal

    @property
    def course(self) -> Sequence[tuple[float, float]]:
        """Nothing: the layout draws the goal."""
        return ()

    @property
    def min_goal_distance_m(self) -> float:
        """How far from the start a random goal lies at least."""
        return self._config.min_goal_distance_m

    def begin(self, layout: Layout, geodesic_map: GeodesicMap) -> None:
        """Start an episode in this layout."""
        self._goal = layout.goal
        self.field = layout.field
        self._shortest = _true_length(layout, layout.robot, layout.goal)
        self._distance = self.field.distance(*layout.robot[:2])
        self._path = [layout.robot[:2]]

    def judge(self, pose: Pose2D, touched: Collection[str]) -> Verdict:
        """Pay progress along the shortest way, less time; end at the goal or a collision."""
        settings = self._config
        distance = self.field.distance(pose[0], pose[1])
        reward = settings.progress_weight * (self._distance - distance) - settings.time_cost
        self._distance = distance
        self._path.append(pose[:2])
        if touched:
            return Verdict(reward - settings.collision_penalty, True, False, 'collision')
        if _is_near(pose, self._goal, settings.goal_radius_m):
            return Verdict(reward + settings.success_bonus, True, True, 'goal')
        return Verdict(reward, False, False, '')

    def summary(self) -> dict[str, float]:
        """Return path length and efficiency; the shortest way ends at the goal's rim."""
        path = np.asarray(self._path)
        shortest = max(self._shortest - self._config.goal_radius_m, 0.0)
        return {
            'path_length_m': path_length(path),
            'shortest_path_m': shortest,
            'path_efficiency': path_efficiency(path, shortest),
        }


@dataclass(frozen=True, config=STRICT)
class WaypointCourseConfig:
    """A course of waypoints, visited in order."""

    waypoints: Annotated[tuple[tuple[float, float], ...], Field(min_length=1)] = (
        (1.5, 1.65),
        (1.5, 0.0),
        (-1.5, 0.0),
        (-1.5, -1.65),
    )
    goal_radius_m: PositiveFloat = 0.3
    min_goal_distance_m: NonNegativeFloat = 0.0  # Waypoints are fixed; the start may be near.
    progress_weight: NonNegativeFloat = 2.0
    time_cost: NonNegativeFloat = 0.02
    waypoint_bonus: NonNegativeFloat = 2.0
    success_bonus: NonNegativeFloat = 5.0
    collision_penalty: NonNegativeFloat = 5.0


@TASKS.register('waypoint_course')
class WaypointCourse:
    """Visit waypoints in order; the published goal moves on when one is reached."""

    Config = WaypointCourseConfig
    field: GeodesicField

    def __init__(self, config: WaypointCourseConfig):
        self._config = config
        self._next = 0
        self._distance = 0.0
        self._path: list[tuple[float, float]] = []

    @property
    def goal(self) -> Pose2D:
        """The waypoint to drive to now."""
        x, y = self._config.waypoints[min(self._next, len(self._config.waypoints) - 1)]
        return x, y, 0.0

    @property
    def course(self) -> Sequence[tuple[float, float]]:
        """All waypoints."""
        return self._config.waypoints

    @property
    def min_goal_distance_m(self) -> float:
        """How far from the start a random goal lies at least; courses have their own goals."""
        return self._config.min_goal_distance_m

    def begin(self, layout: Layout, geodesic_map: GeodesicMap) -> None:
        """Start an episode at the first waypoint."""
        self._next = 0
        self._layout, self._map = layout, geodesic_map
        self._path = [layout.robot[:2]]
        self._aim(layout.robot)

    def judge(self, pose: Pose2D, touched: Collection[str]) -> Verdict:
        """Pay progress to the next waypoint; end after the last one or at a collision."""
        settings = self._config
        distance = self.field.distance(pose[0], pose[1])
        reward = settings.progress_weight * (self._distance - distance) - settings.time_cost
        self._distance = distance
        self._path.append(pose[:2])
        if touched:
            return Verdict(reward - settings.collision_penalty, True, False, 'collision')
        if not _is_near(pose, self.goal, settings.goal_radius_m):
            return Verdict(reward, False, False, '')
        self._next += 1
        if self._next == len(settings.waypoints):
            return Verdict(reward + settings.success_bonus, True, True, 'goal')
        self._aim(pose)
        return Verdict(reward + settings.waypoint_bonus, False, False, '')

    def summary(self) -> dict[str, float]:
        """Return the share of waypoints reached, path efficiency and cross-track error."""
        course = np.asarray([self._layout.robot[:2], *self._config.waypoints])
        path = np.asarray(self._path)
        return {
            'waypoints_reached': self._next / len(self._config.waypoints),
            'path_length_m': path_length(path),
            'path_efficiency': path_efficiency(path, path_length(course[: self._next + 1])),
            'cross_track_error_m': cross_track_error(path, course),
        }

    def _aim(self, pose: Pose2D) -> None:
        self.field = self._map.field(self.goal, self._layout.circles)
        self._distance = self.field.distance(pose[0], pose[1])


@dataclass(frozen=True, config=STRICT)
class ErrandsConfig:
    """Places of the map that objects leave free."""

    places: Annotated[tuple[tuple[float, float], ...], Field(min_length=1)] = ((0.0, 0.0),)


@TASKS.register('errands')
class Errands:
    """Nothing is rewarded and nothing ends the episode; touches are counted."""

    Config = ErrandsConfig
    field: GeodesicField
    min_goal_distance_m = 0.0

    def __init__(self, config: ErrandsConfig):
        self._config = config
        self._goal: Pose2D = (*config.places[0], 0.0)
        self._path: list[tuple[float, float]] = []
        self._num_touches = 0

    @property
    def goal(self) -> Pose2D:
        """The first place; it means nothing here."""
        return self._goal

    @property
    def course(self) -> Sequence[tuple[float, float]]:
        """All places."""
        return self._config.places

    def begin(self, layout: Layout, geodesic_map: GeodesicMap) -> None:
        """Start an episode in this layout."""
        self.field = layout.field
        self._path = [layout.robot[:2]]
        self._num_touches = 0

    def judge(self, pose: Pose2D, touched: Collection[str]) -> Verdict:
        """Note where the robot is and whether it touches anything; always go on."""
        self._num_touches += bool(touched)
        if math.dist(pose[:2], self._path[-1]) > 0.01:
            self._path.append(pose[:2])
        return Verdict(0.0, False, False, '')

    def summary(self) -> dict[str, float]:
        """Return how far it drove, and in how many control steps it touched something."""
        return {
            'path_length_m': path_length(np.asarray(self._path)),
            'steps_touching': float(self._num_touches),
        }


def path_length(path: Array) -> float:
    """Length of a polyline [N, 2] in metres."""
    return float(np.hypot(*np.diff(path, axis=0).T).sum())


def path_efficiency(path: Array, shortest_m: float) -> float:
    """Shortest length over driven length, at most 1; 0 when nothing was driven."""
    driven = path_length(path)
    return min(shortest_m / driven, 1.0) if driven > 0 else 0.0


def cross_track_error(path: Array, course: Array) -> float:
    """Mean distance from the points of a path [N, 2] to the polyline of a course [M, 2]."""
    start, along = course[:-1], np.diff(course, axis=0)  # [M-1, 2]
    offset = path[:, None] - start  # [N, M-1, 2]
    length2 = np.maximum((along**2).sum(axis=1), 1e-12)
    share = np.clip((offset * along).sum(axis=2) / length2, 0, 1)
    nearest = np.linalg.norm(offset - share[..., None] * along, axis=2).min(axis=1)
    return float(nearest.mean())


def _true_length(layout: Layout, start: Pose2D, goal: Pose2D) -> float:
    """Length in metres of the way that the layout's field prescribes."""
    points = layout.field.path(start[0], start[1])
    return path_length(np.asarray([*points, goal[:2]]))


def _is_near(pose: Pose2D, goal: Pose2D, radius: float) -> bool:
    return math.hypot(pose[0] - goal[0], pose[1] - goal[1]) <= radius
