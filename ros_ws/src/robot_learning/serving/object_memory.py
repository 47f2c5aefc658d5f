"""What the robot has seen so far and where: detections of many pictures as one list of objects.

Positions are in the odometry frame, so an object stays where it is while the robot turns away. An
object is forgotten when the camera looks at its place several times and it is not there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Annotated, NamedTuple

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.errors import CommandError, MessageError
from robot_learning.serving.camera_geometry import CameraGeometry
from robot_learning.serving.object_detector import COLORS, Detection
from robot_learning.serving.object_shapes import KINDS

Pose2D = tuple[float, float, float]  # x, y in metres, yaw in radians, odometry frame.
Sight = Callable[[float], float]  # Bearing -> metres to the nearest thing there.

_HEIGHT_M = 0.065  # About the middle of every object.
_OBJECT_M = 0.15  # Width of an object with some room, for what it hides.
_MAX_VIEWS = 4.0  # An average over more would follow a moved object too slowly.


@dataclass(frozen=True, config=STRICT)
class MemoryConfig:
    """When two sightings are one object, and when an object is gone."""

    same_place_m: PositiveFloat = 0.3
    same_place_part: NonNegativeFloat = 0.05  # Of the distance, on top: far is uncertain.
    sure_m: PositiveFloat = 1.5  # So near an object in view is not overlooked.
    inner_part: Annotated[float, Field(gt=0, le=1)] = 0.8  # Of the picture; the rim is left out.
    aspect: PositiveFloat = 1.0  # Width of the picture over its height.
    max_misses: PositiveInt = 3  # Looks in a row at an empty place.
    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.5  # Of naming a kind.


class SeenObject(NamedTuple):
    """One object that is remembered."""

    kind: str  # '' while no picture told, or several told different ones.
    color: str
    x: float  # Odometry frame, metres.
    y: float
    confidence: float  # In the likeliest kind: mean of all views, near ones counting more.
    distance_m: float  # From where the robot was in the last picture.
    age_s: float  # From when it was last seen to the last picture.
    num_views: int


@dataclass(config=STRICT)
class _Entry:
    color: str
    x: float
    y: float
    seen_s: float
    weight: float = 0.0
    num_views: int = 0
    misses: int = 0
    evidence: dict[str, float] = field(default_factory=dict)  # Kind -> confidence times pixels.
    num_pixels: int = 0  # Of all views that told a kind.

    @property
    def kind(self) -> str:
        return max(self.evidence, key=self.evidence.__getitem__, default='')

    @property
    def confidence(self) -> float:
        return self.evidence[self.kind] / self.num_pixels if self.evidence else 0.0


class ObjectMemory:
    """Objects seen by one camera since the last `clear`."""

    def __init__(self, camera: CameraGeometry, config: MemoryConfig | None = None):
        self._camera = camera
        self._config = config or MemoryConfig()
        self.clear()

    def clear(self) -> None:
        """Forget everything, as when odometry starts anew."""
        self._entries: list[_Entry] = []
        self._pose: Pose2D = (0.0, 0.0, 0.0)
        self._time_s = -math.inf

    def note(
        self,
        detections: Sequence[Detection],
        pose: Pose2D,
        time_s: float,
        sight_m: Sight | None = None,
    ) -> None:
        """Take in all that one picture shows, also when that is nothing.

        Args:
            detections: of one picture.
            pose: of the robot when the picture was taken; an old one puts objects elsewhere.
            time_s: when the picture was taken.
            sight_m: tells how far the robot can see along a bearing, as from a lidar, so that
                what stands behind a wall is not taken for gone. None: as far as the camera.

        Raises:
            MessageError: the pose is not finite, or the picture is older than the last one.
        """
        self._check(pose, time_s)
        self._pose, self._time_s = pose, time_s
        for detection in sorted(detections, key=lambda detection: detection.distance_m):
            self._take(detection)
        for entry in self._entries:
            if entry.seen_s < time_s and self._is_missed(entry, detections, sight_m):
                entry.misses += 1
        self._entries = [e for e in self._entries if e.misses < self._config.max_misses]

    def find(self, kind: str = '', color: str = '') -> SeenObject | None:
        """Return the nearest such object, None where none is known; '' means whichever.

        Raises:
            CommandError: no object has such a kind or colour.
        """
        for word, known in ((kind, KINDS), (color, COLORS)):
            if word and word not in known:
                raise CommandError(
                    f'memory: found {word!r}, expected one of {", ".join(known)}. '
                    f'Ask for an object that can be told apart.'
                )
        matching = (o for o in self.seen() if kind in ('', o.kind) and color in ('', o.color))
        return next(matching, None)

    def seen(self) -> list[SeenObject]:
        """Return all that is remembered, nearest first."""
        x, y, _ = self._pose
        objects = [
            SeenObject(
                entry.kind if entry.confidence >= self._config.min_confidence else '',
                entry.color,
                entry.x,
                entry.y,
                entry.confidence,
                math.hypot(entry.x - x, entry.y - y),
                self._time_s - entry.seen_s,
                entry.num_views,
            )
            for entry in self._entries
        ]
        return sorted(objects, key=lambda seen: seen.distance_m)

    def _check(self, pose: Pose2D, time_s: float) -> None:
        if len(pose) != 3 or not all(map(math.isfinite, (*pose, time_s))):
            raise MessageError(
                f'memory: found pose {list(pose)} at {time_s} s, expected finite x, y (m), yaw '
                f'(rad) and time. Wait for odometry before noting what is seen.'
            )
        if time_s < self._time_s:
            raise MessageError(
                f'memory: found a picture of {time_s:g} s after one of {self._time_s:g} s, '
                f'expected them in order. Drop late pictures, or clear() when clocks start anew.'
            )

    def _take(self, detection: Detection) -> None:
        x, y, yaw = self._pose
        x += detection.distance_m * math.cos(yaw + detection.bearing_rad)
        y += detection.distance_m * math.sin(yaw + detection.bearing_rad)
        config = self._config
        gate = config.same_place_m + config.same_place_part * detection.distance_m
        offered = [
            (_contradicts(entry, detection), distance, index)
            for index, entry in enumerate(self._entries)
            if (distance := math.hypot(entry.x - x, entry.y - y)) < gate
            and entry.color == detection.color
            # Two kinds in one picture are two objects; at another time one was misread.
            and not (entry.seen_s == self._time_s and _contradicts(entry, detection))
        ]
        if offered:
            entry = self._entries[min(offered)[2]]
        else:
            entry = _Entry(detection.color, x, y, self._time_s)
            self._entries.append(entry)
        # The error along the floor grows with the square of the distance.
        weight = max(detection.distance_m, 0.1) ** -4
        entry.weight = min(entry.weight, (_MAX_VIEWS - 1) * weight) + weight
        entry.x += (x - entry.x) * weight / entry.weight
        entry.y += (y - entry.y) * weight / entry.weight
        entry.seen_s, entry.misses = self._time_s, 0
        entry.num_views += 1
        if detection.kind:
            told = detection.confidence * detection.num_pixels
            entry.evidence[detection.kind] = entry.evidence.get(detection.kind, 0.0) + told
            entry.num_pixels += detection.num_pixels

    def _is_missed(
        self, entry: _Entry, detections: Sequence[Detection], sight_m: Sight | None
    ) -> bool:
        """Tell whether the last picture should show an object that was not found in it."""
        x, y, yaw = self._pose
        east, north = entry.x - x, entry.y - y
        ahead = east * math.cos(yaw) + north * math.sin(yaw)
        left = north * math.cos(yaw) - east * math.sin(yaw)
        seen = self._camera.project(ahead, left, _HEIGHT_M)
        inner, distance = self._config.inner_part, math.hypot(ahead, left)
        is_in_view = (
            seen is not None
            and abs(seen[0]) < inner * self._config.aspect
            and abs(seen[1]) < inner
            and distance < self._config.sure_m
        )
        if not is_in_view:
            return False
        bearing = math.atan2(left, ahead)
        if sight_m is not None and sight_m(bearing) < distance - _OBJECT_M:
            return False
        return not any(_hides(detection, bearing, distance) for detection in detections)


def _contradicts(entry: _Entry, detection: Detection) -> bool:
    return '' not in (entry.kind, detection.kind) and entry.kind != detection.kind


def _hides(detection: Detection, bearing: float, distance: float) -> bool:
    if detection.distance_m > distance - _OBJECT_M:
        return False
    aside = math.remainder(detection.bearing_rad - bearing, math.tau)
    return abs(aside) < math.atan2(_OBJECT_M, detection.distance_m)
