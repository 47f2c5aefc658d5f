"""Phrases found in pictures as objects on the floor, for whoever looks for them or goes there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from robot_learning.language.senses import Seen
from robot_learning.language.skills import COLORS, OBJECTS
from robot_learning.serving.camera_geometry import CameraGeometry

_RADIUS_M = 0.06  # From where the camera sees it touch the floor to its middle.
_SAME_M = 0.5  # Two sightings of a kind and colour that are nearer are one thing.
_FORGET_S = 60.0
_HORIZON = 0.02  # Rays that fall less are not followed to the floor.
_ARTICLES = ('the', 'a', 'an')


class Place(NamedTuple):
    """A phrase in a picture; edges in units of its height, from its centre."""

    phrase: str
    confidence: float
    x: float  # The box's middle, right is positive.
    lower: float  # The box's lower edge, down is positive.


class GroundedObjects:
    """Remembers where things were found lately.

    Args:
        camera: that took the pictures.
        min_confidence: less sure places are not believed.
    """

    def __init__(self, camera: CameraGeometry, min_confidence: float = 0.6):
        self._camera, self._min_confidence = camera, min_confidence
        self._found: dict[tuple[str, str], tuple[float, float, float, float]] = {}

    def clear(self) -> None:
        """Forget everything."""
        self._found.clear()

    def note(
        self, places: Sequence[Place], pose: tuple[float, float, float], time_s: float
    ) -> None:
        """Take in what was found; phrases that name no kind and colour of thing are passed over.

        Args:
            places: in one picture.
            pose: of the robot when it was taken: x, y, yaw.
            time_s: when it was taken.
        """
        for place in places:
            named = named_thing(place.phrase)
            if named is None or not place.confidence >= self._min_confidence:
                continue
            ahead = self._on_floor(place)
            if ahead is None:
                continue
            cos, sin = math.cos(pose[2]), math.sin(pose[2])
            x = pose[0] + ahead[0] * cos - ahead[1] * sin
            y = pose[1] + ahead[0] * sin + ahead[1] * cos
            self._found[named] = (x, y, time_s, place.confidence)

    def added_to(self, objects: Sequence[Seen], now_s: float) -> tuple[Seen, ...]:
        """Return objects that are known otherwise, and those that were only found by words.

        One whose kind nobody was sure of gets the kind of what was found there.
        """
        merged = list(objects)
        for (kind, color), (x, y, time_s, confidence) in self._found.items():
            age_s = now_s - time_s
            if not 0 <= age_s <= _FORGET_S:
                continue
            near = [
                number
                for number, seen in enumerate(merged)
                if seen.fits(kind, color) and math.dist((seen.x, seen.y), (x, y)) <= _SAME_M
            ]
            if not near:
                merged.append(Seen(kind, color, x, y, age_s, confidence))
            for number in near:
                if merged[number].kind == '':
                    merged[number] = merged[number]._replace(kind=kind, confidence=confidence)
        return tuple(merged)

    def _on_floor(self, place: Place) -> tuple[float, float] | None:
        """Return where its middle stands, ahead and left of the axle; None above the horizon."""
        camera = self._camera
        size = 2 * math.tan(camera.field_of_view_rad / 2)  # Of the picture, one metre away.
        up, left = -place.lower * size, -place.x * size
        cos, sin = math.cos(camera.pitch_rad), math.sin(camera.pitch_rad)
        forward, fall = cos + up * sin, sin - up * cos
        if fall < _HORIZON:
            return None
        reach = camera.height_m / fall
        ahead, aside = forward * reach, left * reach
        longer = 1 + _RADIUS_M / max(math.hypot(ahead, aside), 1e-6)
        return camera.forward_m + ahead * longer, aside * longer


def named_thing(phrase: str) -> tuple[str, str] | None:
    """Return kind and colour where a phrase is no more than these, "the red cube"; else None."""
    words = [word for word in phrase.lower().split() if word not in _ARTICLES]
    if len(words) == 2 and words[0] in COLORS and words[1] in OBJECTS:
        return words[1], words[0]
    return None
