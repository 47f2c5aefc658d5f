"""Distances out of LaserScan and PointCloud2 messages, whatever the sensor's geometry."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from robot_learning.contract import ObservationField
from robot_learning.errors import MessageError

Array = np.ndarray[Any, Any]

# sensor_msgs/PointField datatype numbers.
_POINT_DTYPES = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 8: 'f8'}


class Pooling(NamedTuple):
    """Which source beams each beam of the contract takes the minimum of."""

    order: Array  # Source indices, those of contract beam 0 first.
    starts: Array  # [beams], where each beam's indices begin in `order`.


def scan_reader(field: ObservationField) -> Callable[[Any], Array]:
    """Read LaserScan messages as [beams] in the contract's geometry.

    A scan of another geometry is resampled by angle if the contract gives `angle_min` and
    `angle_max`: every beam of the contract takes the nearest reading within its own sector,
    so that thin obstacles survive. Readings below the sensor's `range_min` are invalid and
    do not count there. Infinities and NaN are kept.
    """
    return _ScanReader(field)


class _ScanReader:
    def __init__(self, field: ObservationField):
        self._part = field.part or 'ranges'
        self._dtype = np.dtype(field.dtype)
        self._beams = field.shape[0]
        self._angles: tuple[float, float] | None = None
        if field.angle_min is not None and field.angle_max is not None:
            self._angles = (field.angle_min, field.angle_max)
        self._geometry: tuple[int, float, float] | None = None
        self._pooling: Pooling | None = None

    def __call__(self, message: Any) -> Array:
        values = np.array(getattr(message, self._part), self._dtype)
        if self._angles is None:
            return values  # A wrong number of beams is a wrong shape.
        geometry = (len(values), message.angle_min, message.angle_increment)
        if geometry != self._geometry:  # Sensors keep their geometry: planned once.
            self._pooling = plan_pooling(*geometry, self._beams, *self._angles)
            self._geometry = geometry
        if self._pooling is None:
            return values
        if self._part != 'ranges':
            raise MessageError(
                f'found {len(values)} {self._part} in another geometry, expected {self._beams}. '
                f'Only ranges are resampled; correct the shape in the contract.'
            )
        values[values < message.range_min] = np.nan
        return np.fmin.reduceat(values[self._pooling.order], self._pooling.starts)


def plan_pooling(
    num_found: int,
    first_found: float,
    increment_found: float,
    beams: int,
    angle_min: float,
    angle_max: float,
) -> Pooling | None:
    """Plan how a found scan becomes the contract's; None where they agree already.

    Angles are radians. `first_found` is the angle of the found scan's first beam, `angle_min`
    and `angle_max` those of the contract's first and last one.

    Raises:
        MessageError: the found scan does not see all that the contract asks for.
    """
    increment = (angle_max - angle_min) / max(beams - 1, 1) or 2 * math.pi
    if not num_found or not increment_found or not math.isfinite(first_found + increment_found):
        raise MessageError(
            f'found {num_found} beams, {increment_found} rad apart from {first_found} rad on, '
            f'expected a usable geometry. Check the sensor driver.'
        )
    shift = math.remainder(first_found - angle_min, 2 * math.pi)
    stretch = (num_found - 1) * increment_found - (angle_max - angle_min)
    if num_found == beams and max(abs(shift), abs(stretch)) < 0.5 * abs(increment):
        return None
    found = first_found + increment_found * np.arange(num_found)
    # Half a sector to either side; the small extra sends float32 noise at an edge one way.
    sector = np.floor(np.mod(found - angle_min + increment * (0.5 + 1e-4), 2 * np.pi) / increment)
    members = [np.flatnonzero(sector == beam) for beam in range(beams)]
    for beam in range(beams):
        if len(members[beam]) == 0:
            away = found - (angle_min + increment * beam)
            away = np.abs(np.mod(away + np.pi, 2 * np.pi) - np.pi)
            if away.min() > 0.501 * max(abs(increment_found), increment):
                raise MessageError(
                    f'found {num_found} beams from {found[0]:.4g} to {found[-1]:.4g} rad, '
                    f'expected also {angle_min + increment * beam:.4g} rad. '
                    f'Correct angle_min and angle_max in the contract.'
                )
            members[beam] = away.argmin(keepdims=True)
    lengths = [len(indices) for indices in members]
    return Pooling(np.concatenate(members), np.cumsum([0, *lengths[:-1]]))


def point_cloud_reader(field: ObservationField) -> Callable[[Any], Array]:
    """Read PointCloud2 messages as [N, 3] x, y, z.

    Clouds vary in size: a smaller one is filled up with NaN points, a larger one is thinned
    evenly in stored order.
    """
    num_points, dtype = field.shape[0], np.dtype(field.dtype)

    def read(message: Any) -> Array:
        return fit_points(_points(message, dtype), num_points)

    return read


def fit_points(points: Array, num_points: int) -> Array:
    """Bring a cloud [M, 3] to [num_points, 3] by thinning or NaN points."""
    found = len(points)
    if found > num_points:
        return points[np.arange(num_points) * found // num_points]
    if found < num_points:
        missing = np.full((num_points - found, 3), np.nan, points.dtype)
        return np.concatenate([points, missing])
    return points


def _points(message: Any, dtype: np.dtype[Any]) -> Array:
    fields = {field.name: field for field in message.fields}
    missing = [axis for axis in 'xyz' if axis not in fields]
    if missing:
        raise MessageError(
            f'found point fields {", ".join(fields) or "none"}, expected also '
            f'{", ".join(missing)}. Check the sensor driver.'
        )
    order = '>' if message.is_bigendian else '<'
    formats = [order + _POINT_DTYPES.get(fields[axis].datatype, '?') for axis in 'xyz']
    height, width, point_step = message.height, message.width, message.point_step
    data = np.frombuffer(message.data, np.uint8)
    if not height * width:
        return np.empty((0, 3), dtype)
    needed = (height - 1) * message.row_step + width * point_step
    ends = [fields['xyz'[i]].offset + np.dtype(form).itemsize for i, form in enumerate(formats)]
    if any('?' in form for form in formats) or max(ends) > point_step or data.size < needed:
        raise MessageError(
            f'found {data.size} bytes of points with step {point_step}, expected '
            f'{height} x {width} points that hold x, y and z. Check the sensor driver.'
        )
    result = np.empty((height, width, 3), dtype)
    for axis, form in enumerate(formats):
        result[:, :, axis] = np.ndarray(
            (height, width),
            form,
            buffer=data,
            offset=fields['xyz'[axis]].offset,
            strides=(message.row_step, point_step),
        )
    return result.reshape(-1, 3)
