"""A motion that finds its way round whatever the lidar has seen."""

from __future__ import annotations

import itertools
import math

from robot_learning.language.motions import (
    Command,
    Ended,
    Limits,
    Patience,
    ToPoint,
    View,
    is_blocked,
    relative,
)
from robot_learning.language.obstacle_map import ObstacleMap
from robot_learning.language.planner import Point

_REPLAN_S = 1.0
_LOOKAHEAD_M = 0.3
_DIRECT_M = 0.35  # Within it of the goal it turns and drives straight there.
_TURN_GAIN = 2.0  # Turning speed per error of the heading, 1/s.
_FACING_RAD = math.radians(35.0)  # Farther off it turns before it drives.
_NO_WAY_S = 5.0  # So long it looks for a way before it gives up.
_THERE_M = 0.12  # From the end of a way that leads no farther.
_SHORT_M = 0.2  # So much farther off is good enough where something stands at the goal.
_BEHIND_M = 0.2  # From the goal to what stands behind it.
_CREEP_M_S = 0.06  # Backwards, out of what it stands too close to.


class Route:
    """Follows the shortest way to a point, and plans it anew as more is seen.

    Args:
        obstacles: what was seen; whoever owns it goes on noting scans.
        x: of the point, metres in the map frame.
        y: likewise.
        limits: of the robot.
        timeout_s: after which it gives up.
        tolerance_m: how near is there.
    """

    def __init__(
        self,
        obstacles: ObstacleMap,
        x: float,
        y: float,
        limits: Limits,
        timeout_s: float,
        tolerance_m: float = 0.1,
    ):
        self.progress = 0.0
        self._obstacles = obstacles
        self._goal = x, y
        self._limits = limits
        self._last_bit = ToPoint(x, y, limits, timeout_s, tolerance_m)
        self._tolerance_m = tolerance_m
        self._patience = Patience(timeout_s)
        self._way: list[Point] = []
        self._length_m: float | None = None  # Of the first way.
        self._planned_s = -math.inf
        self._lost_since_s: float | None = None  # Since when there is no way.

    def tick(self, view: View) -> Command | Ended:
        """Return what to do next."""
        if view.time_s - self._planned_s >= _REPLAN_S:
            self._planned_s = view.time_s
            self._way = self._obstacles.way((view.x, view.y), self._goal)
        if self._is_taken(view):
            return self._as_near_as_can_be(view)
        left_m = self._left_m(view)
        if left_m <= _DIRECT_M:
            is_behind = view.front_m > left_m + _BEHIND_M  # What stands there is not in the way.
            answer = self._last_bit.tick(view._replace(front_m=math.inf) if is_behind else view)
            is_stuck = isinstance(answer, Ended) and not answer.success
            return self._as_near_as_can_be(view) if is_stuck else answer
        ended = self._patience.ended(view, moves_ahead=False) or self._is_lost(view)
        if ended is not None:
            return ended
        if not self._way:
            return Command(0.0, 0.0)
        self._length_m = self._length_m or left_m
        self.progress = min(max(1 - left_m / self._length_m, self.progress), 1.0)
        ahead, aside = relative(view, *self._target(view))
        bearing = math.atan2(aside, ahead)
        turn = self._limits.turn(_TURN_GAIN * bearing)
        if abs(bearing) > _FACING_RAD:
            return Command(0.0, turn)
        if is_blocked(view):  # Nearer than the map knows: back off while it is looked at.
            return Command(self._limits.forward(-_CREEP_M_S), 0.0)
        return Command(self._limits.forward(self._limits.forward_m_s * math.cos(bearing)), turn)

    def _is_taken(self, view: View) -> bool:
        """Tell whether the way ends short of the goal, and it stands there already."""
        if not self._way:
            return False
        end = self._way[-1]
        is_short = math.dist(end, self._goal) > self._tolerance_m
        return is_short and math.dist(end, (view.x, view.y)) < _THERE_M

    def _as_near_as_can_be(self, view: View) -> Ended:
        """Return how it ends where something stands in the way of the last bit."""
        x, y = self._goal
        if math.dist(self._goal, (view.x, view.y)) <= self._tolerance_m + _SHORT_M:
            return Ended(True)
        return Ended(False, f'something stands at ({x:.1f}, {y:.1f})')

    def _left_m(self, view: View) -> float:
        """Return how long the rest of the way is; straight to the goal where there is none."""
        points = [(view.x, view.y), *self._rest(view)] if self._way else [(view.x, view.y)]
        if math.dist(points[-1], self._goal) > 1e-6:
            points.append(self._goal)
        return sum(math.dist(a, b) for a, b in itertools.pairwise(points))

    def _rest(self, view: View) -> list[Point]:
        """Return what of the way lies behind the point nearest to the robot."""
        nearest = min(
            range(len(self._way)), key=lambda n: math.dist(self._way[n], (view.x, view.y))
        )
        return self._way[nearest + 1 :]

    def _target(self, view: View) -> Point:
        """Return the first point of the way that is far enough to steer for."""
        for point in self._rest(view):
            if math.dist(point, (view.x, view.y)) >= _LOOKAHEAD_M:
                return point
        return self._goal

    def _is_lost(self, view: View) -> Ended | None:
        if self._way:
            self._lost_since_s = None
        elif self._lost_since_s is None:
            self._lost_since_s = view.time_s
        elif view.time_s - self._lost_since_s > _NO_WAY_S:
            x, y = self._goal
            return Ended(False, f'no way leads to ({x:.1f}, {y:.1f}) round what I see')
        return None
