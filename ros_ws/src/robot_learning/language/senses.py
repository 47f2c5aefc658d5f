"""What whoever carries out a command knows at a moment, and what it may order."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np

from robot_learning.language.motions import Command, Ended, View
from robot_learning.language.skills import Value

Array = np.ndarray[Any, Any]

_FRONT_RAD, _REACH_M = 0.45, 0.7  # Where what is to be grasped stands.
_DEPTH_M = 0.07  # Of what is seen of it.
_WIDTH_RAD = 0.3
_FEWEST_BEAMS = 4
_SECTOR_RAD = 0.06  # Half of it: an object of 0.1 m fills it at 0.8 m.
DIRECTIONS: Mapping[str, float] = MappingProxyType(  # Bearing of each, left positive.
    {'front': 0.0, 'left': math.pi / 2, 'right': -math.pi / 2, 'back': math.pi}
)


class Seen(NamedTuple):
    """An object that the camera has seen, in the frame of the pose."""

    kind: str  # '' where it was not sure.
    color: str
    x: float
    y: float
    age_s: float = 0.0  # Since it was last seen.
    confidence: float = 1.0  # That its kind is right.

    def fits(self, kind: str, color: str | None) -> bool:
        """Tell whether it may be what is looked for."""
        return self.kind in (kind, '') and color in (self.color, None)

    @property
    def name(self) -> str:
        """For people."""
        return f'{self.color} {self.kind or "thing"}'.strip()


class Near(NamedTuple):
    """The nearest thing in front, as the lidar sees it."""

    bearing_rad: float  # To the middle of what is seen of it, left positive.
    distance_m: float  # To its surface there.


class Senses(NamedTuple):
    """What is known at a control step."""

    view: View  # In the map frame.
    smooth: View  # The same by wheels and gyro alone, in a frame of its own.
    distances: Mapping[str, float] = MappingProxyType({})  # Metres to what stands there, by name.
    near: Near | None = None  # None: nothing stands near in front.
    opening_m: float = math.nan  # Between the gripper's fingers.
    battery: float = math.nan  # 0 to 1
    objects: tuple[Seen, ...] = ()


class Order(NamedTuple):
    """What the robot shall do until the next control step."""

    drive: Command | None = Command(0.0, 0.0)  # None: the policy drives.
    lift_m: float | None = None  # None: as before; likewise the next.
    opening_m: float | None = None


class Outcome(NamedTuple):
    """How a call ended."""

    success: bool
    reason: str = ''  # Why not, for people.
    value: Value | None = None  # What the call gives.
    said: str = ''  # What the robot tells.


Skill = Generator[Order, None, Outcome]


def distances(angles: Array, ranges: Array) -> dict[str, float]:
    """Return what a lidar measures in each direction: the median of a narrow sector, metres.

    Args:
        angles: [N] of the beams, from straight ahead, left positive, any multiple of a turn.
        ranges: [N] as REP 117 has them: inf where nothing was hit, -inf for too near, which counts
            as 0 here; NaN is no beam.
    """
    ranges = np.where(np.isneginf(ranges), 0.0, ranges)
    found = {}
    for name, bearing in DIRECTIONS.items():
        off = np.abs(np.angle(np.exp(1j * (angles - bearing))))
        beams = ranges[(off <= _SECTOR_RAD) & (ranges >= 0)]
        found[name] = float(np.median(beams)) if len(beams) else math.nan
    return found


def nearest_ahead(angles: Array, ranges: Array) -> Near | None:
    """Return the nearest thing within arm's reach in front; None where there is none.

    Args:
        angles: see `distances`.
        ranges: likewise.
    """
    off = np.angle(np.exp(1j * angles))
    is_near = (np.abs(off) <= _FRONT_RAD) & (ranges > 0) & (ranges <= _REACH_M)
    if is_near.sum() < _FEWEST_BEAMS:
        return None
    bearings, reach = off[is_near], ranges[is_near]
    order = np.argsort(reach)
    nearest = order[_FEWEST_BEAMS - 1]  # A single beam may err.
    is_it = (reach <= reach[nearest] + _DEPTH_M) & (
        np.abs(bearings - bearings[nearest]) <= _WIDTH_RAD
    )
    bearing = float(np.median(bearings[is_it]))
    middle = is_it & (np.abs(bearings - bearing) <= _SECTOR_RAD)
    return Near(bearing, float(np.median(reach[middle if middle.any() else is_it])))


def free_ahead_m(angles: Array, ranges: Array, half_width_m: float) -> float:
    """Return how far the robot's width is free straight ahead; NaN where no beam looks there.

    Args:
        angles: see `distances`.
        ranges: likewise.
        half_width_m: of the robot, with some room.
    """
    ranges = np.where(np.isneginf(ranges), 0.0, ranges)
    off = np.abs(np.angle(np.exp(1j * angles)))
    known = (off < math.pi / 2) & (ranges >= 0)
    if not known.any():
        return math.nan
    with np.errstate(invalid='ignore'):  # An infinite beam at angle 0.
        is_in_way = known & ~(ranges * np.sin(off) > half_width_m)
    reach = ranges[is_in_way] * np.cos(off[is_in_way])
    return float(reach.min(initial=math.inf))


class Navigator(Protocol):
    """A learned policy that drives to points."""

    def begin(self, x: float, y: float, timeout_s: float) -> bool:
        """Set out; return whether there is a policy that can."""

    def poll(self) -> Ended | None:
        """Return how it ended, None while it drives."""

    def cancel(self) -> None:
        """Stop and forget it."""
