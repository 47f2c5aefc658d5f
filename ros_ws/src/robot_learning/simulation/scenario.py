"""How an episode begins and how its steps are judged, the same wherever its physics run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from robot_learning.contract import RobotContract
from robot_learning.errors import SimulationError
from robot_learning.simulation.geodesic import GeodesicMap
from robot_learning.simulation.layout import Layout, LayoutConfig, sample_layout
from robot_learning.simulation.tasks import Task, Verdict


class Outcome(NamedTuple):
    """The task's word on arriving at a control step, or the time limit's."""

    reward: float
    terminated: bool
    truncated: bool
    success: bool
    reason: str  # 'goal', 'collision', 'time_limit', '' while the episode goes on.


def layout_of(
    seed: int,
    task: Task,
    config: LayoutConfig,
    geodesic_map: GeodesicMap,
    robot_pose: Sequence[float] | None = None,
    goal_pose: Sequence[float] | None = None,
) -> Layout:
    """Return the layout of a seed; a task that has a course begins with its first goal.

    Raises:
        SimulationError: a given pose is not free, or the seed is negative.
    """
    if seed < 0:
        raise SimulationError(f'seed: found {seed}, expected 0 or more. Choose another.')
    course = task.course
    if goal_pose is None and course:
        goal_pose = (*course[0], 0.0)
    rng = np.random.default_rng([seed, 0])
    distance = task.min_goal_distance_m
    return sample_layout(rng, config, geodesic_map, distance, robot_pose, goal_pose, course)


def step_limit(contract: RobotContract) -> float:
    """Return how many control steps an episode may last; infinite without a time limit."""
    limit_s = contract.task.time_limit_s if contract.task else None
    return round(limit_s * contract.control_rate_hz) if limit_s else math.inf


def outcome_of(verdict: Verdict, is_late: bool) -> Outcome:
    """Return what a step comes to; time that is up cuts off what the task did not end."""
    truncated = is_late and not verdict.terminated
    reason = 'time_limit' if truncated else verdict.reason
    return Outcome(verdict.reward, verdict.terminated, truncated, verdict.success, reason)
