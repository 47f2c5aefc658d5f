"""Plain controllers of the skills that need no learning: straight ahead, on the spot, to a point.

A motion is asked at every control step for the next velocity, from what the robot knows then,
until it says how it ended. What it answers passes the action gate like a policy's command. Metres,
radians, seconds; left is positive.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

_ARRIVED_M, _ARRIVED_RAD = 0.01, math.radians(1.5)
_STANDING_M_S, _STANDING_RAD_S = 0.01, 0.03
_LONG_M, _LONG_RAD = 1.5, 2.0  # Speed per distance left, 1/s: how hard it brakes.
_LEAST_M_S, _LEAST_RAD_S = 0.03, 0.06  # Slower it would not move at all.
_HEADING = 1.5  # Turning speed per error of the heading, 1/s.
_CLEARANCE_M = 0.3  # From the sensor to what stands in the way, beyond what braking takes.
_BLOCKED_S = 5.0  # So long something may stand in the way.
_FACING_RAD = math.radians(25.0)  # Farther off it turns before it drives.


class View(NamedTuple):
    """What a motion sees at a control step."""

    time_s: float
    x: float
    y: float
    yaw: float
    forward_m_s: float = 0.0
    turn_rad_s: float = 0.0
    front_m: float = math.inf  # To the nearest thing straight ahead, in the width of the robot.


class Command(NamedTuple):
    """A velocity."""

    forward_m_s: float
    turn_rad_s: float


class Ended(NamedTuple):
    """A motion is over; whoever asked it commands zero from now on."""

    success: bool
    reason: str = ''  # Why not, for people.


class Limits(NamedTuple):
    """Of the robot, from its contract."""

    backward_m_s: float  # Largest, 0 or more.
    forward_m_s: float
    turn_rad_s: float

    def forward(self, speed: float) -> float:
        """Return the speed within limits."""
        return min(max(speed, -self.backward_m_s), self.forward_m_s)

    def turn(self, speed: float) -> float:
        """Return the turning speed within limits."""
        return min(max(speed, -self.turn_rad_s), self.turn_rad_s)


class Motion(Protocol):
    """One skill while it runs."""

    progress: float  # 0 to 1

    def tick(self, view: View) -> Command | Ended:
        """Return what to do next."""


class Straight:
    """Drives straight by `distance_m`; below 0 backwards."""

    def __init__(self, distance_m: float, speed_m_s: float, limits: Limits):
        self.progress = 0.0
        self._distance_m = distance_m
        self._limits = limits
        most = limits.forward_m_s if distance_m >= 0 else limits.backward_m_s
        self._speed_m_s = min(speed_m_s, most)
        self._start: View | None = None
        self._patience = Patience(5.0 + 3 * abs(distance_m) / max(self._speed_m_s, 1e-6))

    def tick(self, view: View) -> Command | Ended:
        """Return what to do next."""
        if self._speed_m_s < _LEAST_M_S:
            return Ended(False, 'this robot does not drive that way')
        start = self._start = self._start or view
        ahead, aside = relative(start, view.x, view.y)
        left = self._distance_m - ahead
        self.progress = _share(ahead, self._distance_m)
        if abs(left) <= _ARRIVED_M and abs(view.forward_m_s) <= _STANDING_M_S:
            return Ended(True)
        ended = self._patience.ended(view, left > 0)
        if ended is not None:
            return ended
        if left > 0 and is_blocked(view):
            return Command(0.0, 0.0)
        speed = math.copysign(_braked(left, self._speed_m_s, _LONG_M, _LEAST_M_S), left)
        if abs(left) <= _ARRIVED_M:
            speed = 0.0
        # Back to the line where it slips: the heading that leads there, driven forwards.
        wanted = -math.atan2(aside, 0.5) * math.copysign(1.0, speed)
        off = wrapped(start.yaw + wanted - view.yaw)
        return Command(self._limits.forward(speed), self._limits.turn(_HEADING * off))


class Turn:
    """Turns on the spot by `angle_rad`, more than once round if need be."""

    def __init__(self, angle_rad: float, speed_rad_s: float, limits: Limits):
        self.progress = 0.0
        self._angle_rad = angle_rad
        self._limits = limits
        self._speed_rad_s = min(speed_rad_s, limits.turn_rad_s)
        self._turned = 0.0
        self._last: View | None = None
        self._patience = Patience(5.0 + 3 * abs(angle_rad) / max(self._speed_rad_s, 1e-6))

    def tick(self, view: View) -> Command | Ended:
        """Return what to do next."""
        if self._last is not None:
            self._turned += wrapped(view.yaw - self._last.yaw)
        self._last = view
        left = self._angle_rad - self._turned
        self.progress = _share(self._turned, self._angle_rad)
        if abs(left) <= _ARRIVED_RAD:
            if abs(view.turn_rad_s) <= _STANDING_RAD_S:
                return Ended(True)
            return Command(0.0, 0.0)
        ended = self._patience.ended(view, moves_ahead=False)
        if ended is not None:
            return ended
        speed = _braked(left, self._speed_rad_s, _LONG_RAD, _LEAST_RAD_S)
        return Command(0.0, self._limits.turn(math.copysign(speed, left)))


class ToPoint:
    """Turns to a point of the map and drives there in a straight line; it knows no way round."""

    def __init__(
        self, x: float, y: float, limits: Limits, timeout_s: float, tolerance_m: float = 0.1
    ):
        self.progress = 0.0
        self._x, self._y = x, y
        self._limits = limits
        self._tolerance_m = tolerance_m
        self._first_m: float | None = None
        self._patience = Patience(timeout_s)

    def tick(self, view: View) -> Command | Ended:
        """Return what to do next."""
        ahead, aside = relative(view, self._x, self._y)
        left = math.hypot(ahead, aside)
        self._first_m = self._first_m or max(left, 1e-6)
        self.progress = _share(self._first_m - left, self._first_m)
        if left <= self._tolerance_m:
            if abs(view.forward_m_s) <= _STANDING_M_S:
                return Ended(True)
            return Command(0.0, 0.0)
        bearing = math.atan2(aside, ahead)
        is_facing = abs(bearing) <= _FACING_RAD
        ended = self._patience.ended(view, moves_ahead=is_facing)
        if ended is not None:
            return ended
        turn = self._limits.turn(_HEADING * bearing)
        if not is_facing or is_blocked(view):
            return Command(0.0, turn)
        return Command(_braked(left, self._limits.forward_m_s, 1.0, _LEAST_M_S), turn)


class Wait:
    """Stands still for a while."""

    def __init__(self, duration_s: float):
        self.progress = 0.0
        self._duration_s = duration_s
        self._start_s: float | None = None

    def tick(self, view: View) -> Command | Ended:
        """Return what to do next."""
        self._start_s = view.time_s if self._start_s is None else self._start_s
        waited_s = view.time_s - self._start_s
        self.progress = _share(waited_s, self._duration_s)
        return Ended(True) if waited_s >= self._duration_s else Command(0.0, 0.0)


class Patience:
    """Ends what takes too long, or stands before an obstacle for too long."""

    def __init__(self, timeout_s: float):
        self._timeout_s = timeout_s
        self._start_s: float | None = None
        self._blocked_since_s: float | None = None

    def ended(self, view: View, moves_ahead: bool) -> Ended | None:
        """Return the end of it, None while it may go on; `moves_ahead`: it wants to."""
        self._start_s = view.time_s if self._start_s is None else self._start_s
        if view.time_s - self._start_s > self._timeout_s:
            return Ended(False, f'it took longer than {self._timeout_s:.0f} s')
        if not (moves_ahead and is_blocked(view)):
            self._blocked_since_s = None
            return None
        if self._blocked_since_s is None:
            self._blocked_since_s = view.time_s
        if view.time_s - self._blocked_since_s > _BLOCKED_S:
            return Ended(False, f'the path is blocked {view.front_m:.2f} m ahead')
        return None


def wrapped(angle: float) -> float:
    """Return the same direction in (-pi, pi]."""
    return math.pi - (math.pi - angle) % (2 * math.pi)


def relative(origin: View, x: float, y: float) -> tuple[float, float]:
    """Return how far a point lies ahead of a pose, and how far to its left."""
    dx, dy = x - origin.x, y - origin.y
    cosine, sine = math.cos(origin.yaw), math.sin(origin.yaw)
    return cosine * dx + sine * dy, cosine * dy - sine * dx


def _braked(left: float, most: float, per_distance: float, least: float) -> float:
    return max(min(most, per_distance * abs(left)), min(least, most))


def is_blocked(view: View) -> bool:
    """Tell whether something stands so near ahead that it could not brake any more."""
    is_free = view.front_m >= _CLEARANCE_M + 0.5 * max(view.forward_m_s, 0.0)
    return not is_free  # NaN is not free.


def _share(done: float, all_: float) -> float:
    return min(max(done / all_, 0.0), 1.0) if all_ else 1.0
