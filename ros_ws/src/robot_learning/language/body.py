"""What all skills are made of: follow a motion, go somewhere, look for something, hold still."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from robot_learning.language.motions import (
    Ended,
    Limits,
    Motion,
    Straight,
    Turn,
    View,
    relative,
)
from robot_learning.language.obstacle_map import ObstacleMap
from robot_learning.language.planner import Point, Zone, off_limits
from robot_learning.language.routes import Route
from robot_learning.language.senses import Navigator, Order, Seen, Senses

_NOW_S = 1.0  # What was seen longer ago is not seen now.
_REMEMBERED_S = 600.0  # What was seen longer ago is looked for again.
_LOOK_RAD_S = math.radians(40.0)
_ROUND_RAD = math.radians(365.0)
_STANDOFF_M = 0.48  # From an object's middle, where the robot stops in front of it.
_NEAR_M = 0.08
PLACE_M = 0.25  # A place is no point.
_SURE = 0.7  # Confidence in a kind from which on it is believed.
_LOOK_M = 0.05  # Between two points of a line that are looked at.
_NUM_SIDES = 12  # From which an object may be approached.
_APPROACH_S = 90.0
_APPROACHES = 3  # Until it stands before the object.
_LOOK_S = 0.6  # Time to see what is in view.

Motions = Generator[Order, None, Ended]


class Hand(NamedTuple):
    """A lift with a gripper; metres."""

    open_m: float  # Between the fingers.
    low_m: float  # Of the lift, where the fingers are about an object on the floor.
    high_m: float  # Where it is out of the way, and where things are carried.
    reach_m: float  # From the pose's point to the middle of what is held.


@dataclass(frozen=True)
class Surroundings:
    """Robot and place; metres in the map frame."""

    limits: Limits
    obstacles: ObstacleMap
    places: Mapping[str, Point] = field(default_factory=dict)
    paths: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    forbidden: tuple[Zone, ...] = ()
    bounds: Zone | None = None
    hand: Hand | None = None
    navigator: Navigator | None = None


class Body:
    """The robot as skills see it. Every method that takes time yields an order per step."""

    def __init__(self, around: Surroundings):
        self.around = around
        nowhere = View(0.0, 0.0, 0.0, 0.0)
        self.senses = Senses(nowhere, nowhere)  # Of this step; the owner sets it.
        self.progress = -1.0  # Of the call, 0 to 1; -1: unknown.
        self.held_color = ''  # Of what the gripper holds, as far as it is known.
        self.is_holding = False

    def follow(
        self,
        motion: Motion,
        seen_by: Callable[[View], View] = lambda view: view,
        shares: tuple[float, float] = (0.0, 1.0),
    ) -> Motions:
        """Follow a motion to its end; wheels and gyro alone measure distances and angles.

        Args:
            motion: that chooses the velocities.
            seen_by: what it is shown instead of the view.
            shares: of the call's progress, from its beginning to its end.
        """
        is_relative = isinstance(motion, Straight | Turn)
        while True:
            view = self.senses.smooth if is_relative else self.senses.view
            answer = motion.tick(seen_by(view))
            self.progress = shares[0] + (shares[1] - shares[0]) * motion.progress
            if isinstance(answer, Ended):
                return answer
            yield Order(answer)

    def straight(self, distance_m: float, speed_m_s: float) -> Motions:
        """Drive straight, if all of the way is allowed."""
        view = self.senses.view
        for share in np.linspace(0.0, 1.0, 2 + round(abs(distance_m) / _LOOK_M)):
            x = view.x + share * distance_m * math.cos(view.yaw)
            y = view.y + share * distance_m * math.sin(view.yaw)
            if problem := off_limits(x, y, self.around.forbidden, self.around.bounds):
                return Ended(False, f'it leads {problem}')
        motion = Straight(distance_m, speed_m_s, self.around.limits)
        return (yield from self.follow(motion))

    def hold(self, seconds: float, lift_m: float | None, opening_m: float | None) -> Motions:
        """Stand for a while, with hand and lift as told."""
        start_s = self.senses.view.time_s
        while self.senses.view.time_s - start_s < seconds:
            yield Order(lift_m=lift_m, opening_m=opening_m)
        return Ended(True)

    def go_to(
        self,
        x: float,
        y: float,
        timeout_s: float,
        tolerance_m: float = 0.12,
        shares: tuple[float, float] = (0.0, 1.0),
    ) -> Motions:
        """Go to a point: by the policy where there is one, else, or if it fails, by plan.

        A policy knows nothing of what is forbidden, so that it does not drive where anything is.
        """
        navigator = None if self.around.forbidden else self.around.navigator
        start_s = self.senses.view.time_s
        if navigator is not None and navigator.begin(x, y, timeout_s):
            try:
                while (ended := navigator.poll()) is None:
                    self.progress = -1.0
                    yield Order(drive=None)
            finally:
                navigator.cancel()
        left_s = timeout_s - (self.senses.view.time_s - start_s)
        route = Route(self.around.obstacles, x, y, self.around.limits, left_s, tolerance_m)
        ended = yield from self.follow(route, shares=shares)
        return ended

    def turn_to(self, x: float, y: float) -> Motions:
        """Turn until a point lies straight ahead."""
        ahead, aside = relative(self.senses.view, x, y)
        motion = Turn(math.atan2(aside, ahead), math.radians(60.0), self.around.limits)
        return (yield from self.follow(motion, shares=(self.progress, self.progress)))

    def find(self, kind: str, color: str | None, within_s: float = _REMEMBERED_S) -> Seen | None:
        """Return the nearest object that fits and was seen lately; a sure one before others."""
        view = self.senses.view
        fitting = [
            seen
            for seen in self.senses.objects
            if seen.fits(kind, color) and seen.age_s <= within_s
        ]
        sure = [seen for seen in fitting if seen.kind == kind and seen.confidence >= _SURE]
        return min(
            sure or fitting,
            key=lambda seen: math.dist((seen.x, seen.y), (view.x, view.y)),
            default=None,
        )

    def sees(self, kind: str, color: str | None) -> bool:
        """Tell whether such an object is in view now, beyond doubt."""
        seen = self.find(kind, color, _NOW_S)
        return seen is not None and seen.kind == kind and seen.confidence >= _SURE

    def look_for(self, kind: str, color: str | None) -> Generator[Order, None, Seen | None]:
        """Turn until an object that fits comes into view; then look round from other places."""
        turned = yield from self._turn_until_seen(kind, color)
        start = self.senses.view
        for x, y in self._viewpoints(start):
            if turned:
                break
            yield from self.go_to(x, y, _APPROACH_S, PLACE_M)
            turned = yield from self._turn_until_seen(kind, color)
        return self.find(kind, color, _NOW_S)

    def _turn_until_seen(self, kind: str, color: str | None) -> Generator[Order, None, bool]:
        """Turn once round at most; return whether such an object is in view at the end."""
        motion = Turn(_ROUND_RAD, _LOOK_RAD_S, self.around.limits)
        while not self.sees(kind, color):
            answer = motion.tick(self.senses.smooth)
            self.progress = motion.progress
            if isinstance(answer, Ended):
                return self.find(kind, color, _NOW_S) is not None
            yield Order(answer)
        return True

    def _viewpoints(self, start: View) -> list[Point]:
        """Return the places that are known, each the nearest to the one before."""
        left, here, order = list(self.around.places.values()), (start.x, start.y), []
        while left:
            here = min(left, key=lambda place: math.dist(place, here))
            left.remove(here)
            order.append(here)
        return order

    def look_round(self) -> Motions:
        """Turn once round."""
        return (yield from self.follow(Turn(_ROUND_RAD, _LOOK_RAD_S, self.around.limits)))

    def approach(
        self, kind: str, color: str | None, timeout_s: float = _APPROACH_S
    ) -> Generator[Order, None, Seen | Ended]:
        """Go up to an object and face it; returns it as last seen, or why not."""
        seen = self.find(kind, color)
        if seen is None:
            seen = yield from self.look_for(kind, color)
        if seen is None:
            wanted = f'{color} {kind}' if color else kind
            return Ended(False, f'I see no {wanted} here')
        for attempt in range(_APPROACHES):  # From near, it is seen where it is.
            x, y = self._stand_for(seen)
            view = self.senses.view
            is_there = math.dist((view.x, view.y), (x, y)) <= 2 * _NEAR_M
            if not is_there:
                shares = attempt / _APPROACHES, (attempt + 1) / _APPROACHES
                ended = yield from self.go_to_exactly(x, y, timeout_s, shares)
                if not ended.success:
                    return ended
            yield from self.turn_to(seen.x, seen.y)
            yield from self.hold(_LOOK_S, None, None)
            seen = self._same(seen)
            if seen.age_s > _LOOK_S:  # It is not where it was.
                again = yield from self.look_for(kind, color)
                if again is None:
                    return Ended(False, f'the {seen.name} is not where I saw it')
                seen = again
            elif is_there:
                break
        yield from self.turn_to(seen.x, seen.y)
        return seen

    def go_to_exactly(
        self, x: float, y: float, timeout_s: float, shares: tuple[float, float]
    ) -> Motions:
        """Go to a point by plan alone: a policy's goals are not as small."""
        route = Route(self.around.obstacles, x, y, self.around.limits, timeout_s, _NEAR_M)
        return (yield from self.follow(route, shares=shares))

    def _stand_for(self, seen: Seen) -> Point:
        """Return where to stand before an object: on the robot's side, if a way leads there."""
        view = self.senses.view
        here = view.x, view.y
        toward = math.atan2(view.y - seen.y, view.x - seen.x)
        order = sorted(range(_NUM_SIDES), key=lambda n: min(n, _NUM_SIDES - n))
        points = [
            (seen.x + _STANDOFF_M * math.cos(angle), seen.y + _STANDOFF_M * math.sin(angle))
            for angle in (toward + 2 * math.pi * n / _NUM_SIDES for n in order)
        ]
        for point in points:
            way = self.around.obstacles.way(here, point)
            if way and math.dist(way[-1], point) <= _NEAR_M:
                return point
        return points[0]

    def _same(self, seen: Seen) -> Seen:
        """Return the object as it is seen now, the one given if it is out of view."""
        near = [
            other
            for other in self.senses.objects
            if other.fits(seen.kind, seen.color or None)
            and math.dist((other.x, other.y), (seen.x, seen.y)) < 0.4
        ]
        return min(
            near,
            key=lambda other: math.dist((other.x, other.y), (seen.x, seen.y)),
            default=seen._replace(age_s=math.inf),
        )
