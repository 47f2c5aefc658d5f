"""Coloured objects on the floor in a camera's picture: kind, colour, bearing and distance.

No learning: vivid pixels are told from floor and walls by their saturation, named by their hue,
joined to connected patches, and each patch is compared with what the known shapes would look like
from this camera (`object_shapes`). Neither hue nor saturation changes with the light's strength.
"""

from __future__ import annotations

import heapq
import math
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass
from scipy import ndimage

from robot_learning.config import STRICT
from robot_learning.errors import MessageError
from robot_learning.serving import object_shapes
from robot_learning.serving.camera_geometry import CameraGeometry
from robot_learning.serving.object_shapes import Fit, Look

Array = np.ndarray[Any, Any]

# Name -> hues from, to in degrees; red lies across zero.
HUES = {
    'red': (-20.0, 18.0),
    'orange': (18.0, 40.0),
    'yellow': (40.0, 72.0),
    'green': (72.0, 170.0),
    'blue': (190.0, 262.0),
    'purple': (262.0, 340.0),
}
COLORS = tuple(HUES)

_NEIGHBOURS = np.ones((3, 3), bool)  # Pixels that touch at a corner are connected.
_UNKNOWN_SCORE = 0.5  # Of the answer that it is none of the known shapes.
_SHARPNESS = 4.0  # Score to log odds, times the root of the pixels; fitted to other renders.


class PixelBox(NamedTuple):
    """Rows and columns that hold a patch; the last ones are not in it, as in slices."""

    top: int
    left: int
    bottom: int
    right: int


class Detection(NamedTuple):
    """One object in one picture, seen from the robot: its axle's centre on the floor."""

    kind: str  # 'ball', 'cube', 'can'; '' where unsure.
    color: str  # One of COLORS.
    bearing_rad: float  # To the object's centre; left is positive.
    distance_m: float  # To the object's centre along the floor.
    box: PixelBox
    num_pixels: int  # Of its visible part.
    confidence: float  # Probability that the kind is right, or that it is none of them.


@dataclass(frozen=True, config=STRICT)
class DetectorConfig:
    """What counts as the picture of an object."""

    min_saturation: Annotated[float, Field(gt=0, lt=1)] = 0.45  # Walls have 0.19, objects 0.85.
    min_brightness: Annotated[int, Field(ge=1, le=255)] = 25  # Darker, a hue means nothing.
    min_pixels: PositiveInt = 8
    max_objects: PositiveInt = 20  # Largest first: bounds the time that any picture takes.
    max_samples: Annotated[int, Field(ge=50)] = 1000  # Per patch; near objects are thinned out.
    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.5  # Of naming a kind.


class _Patch(NamedTuple):
    """Connected pixels of one colour."""

    size: int
    part: tuple[slice, slice]
    numbers: Array  # [H, W], `number` on the patch.
    number: int


class ObjectDetector:
    """Finds objects in the pictures of one camera, each picture for itself."""

    def __init__(self, camera: CameraGeometry, config: DetectorConfig | None = None):
        self.camera = camera
        self.config = config or DetectorConfig()
        self._rays = camera.rays(1, 1)  # Of the size of the last picture.

    def detect(self, image: Array) -> list[Detection]:
        """Return the objects in a picture, nearest first.

        Args:
            image: [H, W, 3] uint8, rgb, of any size.

        Raises:
            MessageError: the picture has another shape or type.
        """
        _check(image)
        if self._rays.shape != image.shape:
            self._rays = self.camera.rays(*image.shape[:2])
        brightness = image.max(axis=-1)
        color = self._colors(image, brightness)
        found = []
        for patch in self._patches(color):
            part = _widened(patch.part, image.shape)
            is_object = patch.numbers[part] == patch.number
            detection = self._measure(is_object, color[part], brightness[part], part)
            if detection is not None:
                found.append(detection)
        return sorted(found, key=lambda detection: detection.distance_m)

    def _patches(self, color: Array) -> list[_Patch]:
        """Return the connected patches of one colour each, the largest ones."""
        patches = []
        for index in np.unique(color[color > 0]):
            numbers, _ = ndimage.label(color == index, _NEIGHBOURS)
            parts = ndimage.find_objects(numbers)
            for number, size in enumerate(np.bincount(numbers.ravel())[1:].tolist(), start=1):
                if size >= self.config.min_pixels:
                    patches.append(_Patch(size, parts[number - 1], numbers, number))
        return heapq.nlargest(self.config.max_objects, patches, key=lambda patch: patch.size)

    def _colors(self, image: Array, brightness: Array) -> Array:
        """Number of each pixel's colour from 1, 0 where it is none, [H, W]."""
        spread = brightness - image.min(axis=-1)
        vivid = (brightness >= self.config.min_brightness) & (
            spread > self.config.min_saturation * brightness
        )
        colors = np.zeros(brightness.shape, np.intp)
        colors[vivid] = _named_hues(image[vivid].astype(np.float32))
        return colors

    def _measure(
        self, is_object: Array, color: Array, brightness: Array, part: tuple[slice, slice]
    ) -> Detection | None:
        """Return what a patch is, all arrays those of `part`; None where it is off the floor."""
        step = math.ceil(math.sqrt(is_object.size / self.config.max_samples))
        thin = (slice(None, None, step),) * 2
        sampled = is_object[thin].ravel()
        if not sampled.any():
            return None
        value = brightness[thin].ravel().astype(np.float64)
        look = Look(
            self._rays[part][thin].reshape(-1, 3),
            sampled,
            (color[thin].ravel() > 0) & ~sampled,
            value / value[sampled].mean(),
            step * self.camera.pixel(self._rays.shape[0]),
        )
        fits = object_shapes.fit_shapes(look, self.camera.position)
        if not fits:
            return None
        num_pixels = int(np.count_nonzero(is_object))
        kind, confidence = self._decide(fits, num_pixels)
        rows, columns = np.nonzero(is_object)
        box = PixelBox(
            part[0].start + int(rows.min()),
            part[1].start + int(columns.min()),
            part[0].start + int(rows.max()) + 1,
            part[1].start + int(columns.max()) + 1,
        )
        x, y = fits[0].x, fits[0].y
        name = COLORS[int(color[is_object][0]) - 1]
        return Detection(
            kind, name, math.atan2(y, x), math.hypot(x, y), box, num_pixels, confidence
        )

    def _decide(self, fits: list[Fit], num_pixels: int) -> tuple[str, float]:
        scores = np.array([*(fit.score for fit in fits), _UNKNOWN_SCORE])
        odds = np.exp(_SHARPNESS * math.sqrt(num_pixels) * (scores - scores.max()))
        best = int(odds.argmax())
        confidence = float(odds[best] / odds.sum())
        is_named = best < len(fits) and confidence >= self.config.min_confidence
        return (fits[best].kind if is_named else ''), confidence


def _check(image: Array) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape or image.dtype != np.uint8:
        raise MessageError(
            f'image: found {image.dtype} {list(image.shape)}, expected uint8 [H, W, 3], rgb. '
            f'Convert it to rgb8 before it is looked at.'
        )


def _named_hues(pixels: Array) -> Array:
    """Number of the colour of vivid pixels [N, 3], 0 between two colours, [N]."""
    red, green, blue = pixels.T
    high = pixels.max(axis=1)
    spread = high - pixels.min(axis=1)
    hue = np.select(
        [high == red, high == green],
        [60 * (green - blue) / spread, 120 + 60 * (blue - red) / spread],
        240 + 60 * (red - green) / spread,
    )
    hue = np.where(hue >= 340.0, hue - 360.0, hue)
    names = np.zeros(len(hue), np.intp)
    for number, (low, end) in enumerate(HUES.values(), start=1):
        names[(hue >= low) & (hue < end)] = number
    return names


def _widened(part: tuple[slice, slice], shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Grow a box on all sides, within the picture: a shape that is too large must show."""
    margin = 2 + max(part[0].stop - part[0].start, part[1].stop - part[1].start) // 4
    rows, columns = (
        slice(max(side.start - margin, 0), min(side.stop + margin, length))
        for side, length in zip(part, shape[:2], strict=True)
    )
    return rows, columns
