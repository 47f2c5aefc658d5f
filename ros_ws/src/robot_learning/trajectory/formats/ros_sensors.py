"""Messages of sensors made from arrays: scans, clouds, images, joints and small sensors."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from robot_learning.contract import ObservationField
from robot_learning.errors import DataError
from robot_learning.message_types import PARTS, default_part
from robot_learning.trajectory.bags.bag_types import known_types
from robot_learning.trajectory.episode import Array
from robot_learning.trajectory.formats.ros_values import Fields, Make, Values, header, message

_FLOAT32, _FLOAT64 = 7, 8  # sensor_msgs/PointField datatype numbers.
_ENCODINGS = {  # dtype and channels of the contract -> encoding.
    ('uint8', 1): 'mono8',
    ('uint8', 3): 'rgb8',
    ('uint8', 4): 'rgba8',
    ('int32', 1): 'mono16',
    ('float32', 1): '32FC1',
    ('float64', 1): '64FC1',
}
_STORED = {'mono16': 'uint16'}  # Where the encoding's type is not the contract's.


def has_encoding(spec: ObservationField) -> bool:
    """Tell whether an image of the contract's dtype and channels can be encoded exactly."""
    key = (spec.dtype, spec.shape[-1])
    if spec.type == 'sensor_msgs/msg/CompressedImage':
        return key in _ENCODINGS and not spec.dtype.startswith('float')
    return key in _ENCODINGS


def _scan(fields: Fields) -> Make:
    spec = next(iter(fields.values()))
    beams = spec.shape[0]
    first = 0.0 if spec.angle_min is None else spec.angle_min
    last = first + 2 * math.pi * (beams - 1) / beams if spec.angle_max is None else spec.angle_max
    increment = (last - first) / max(beams - 1, 1)
    parts = {name: field.part or 'ranges' for name, field in fields.items()}

    def make(stamp_ns: int, values: Values) -> Any:
        arrays = {parts[name]: np.asarray(value, np.float32) for name, value in values.items()}
        return message(
            'sensor_msgs/msg/LaserScan',
            header=header(stamp_ns, spec.frame),
            angle_min=first,
            angle_max=last,
            angle_increment=increment,
            range_min=spec.range_min or 0.0,
            range_max=spec.range_max or math.inf,
            **arrays,
        )

    return make


def _point_cloud(fields: Fields) -> Make:
    name, spec = next(iter(fields.items()))
    width = np.dtype(spec.dtype).itemsize
    kind = known_types().types['sensor_msgs/msg/PointField']
    number = _FLOAT64 if width == 8 else _FLOAT32
    layout = [kind(axis, place * width, number, 1) for place, axis in enumerate('xyz')]

    def make(stamp_ns: int, values: Values) -> Any:
        points = np.ascontiguousarray(values[name], f'<f{width}')
        return message(
            'sensor_msgs/msg/PointCloud2',
            header=header(stamp_ns, spec.frame),
            height=1,
            width=len(points),
            fields=layout,
            point_step=3 * width,
            row_step=points.nbytes,
            data=points.reshape(-1).view(np.uint8),
        )

    return make


def _image(fields: Fields) -> Make:
    name, spec = next(iter(fields.items()))
    encoding = _ENCODINGS[spec.dtype, spec.shape[-1]]

    def make(stamp_ns: int, values: Values) -> Any:
        pixels = _pixels(name, values[name], encoding)
        return message(
            'sensor_msgs/msg/Image',
            header=header(stamp_ns, spec.frame),
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            step=pixels[0].nbytes,
            data=pixels.reshape(-1).view(np.uint8),
        )

    return make


def _compressed_image(fields: Fields) -> Make:
    """Make PNG, which loses nothing; what was JPEG stays as it was decoded."""
    from PIL import Image

    name, spec = next(iter(fields.items()))
    encoding = _ENCODINGS[spec.dtype, spec.shape[-1]]

    def make(stamp_ns: int, values: Values) -> Any:
        pixels = _pixels(name, values[name], encoding)
        file = io.BytesIO()
        Image.fromarray(pixels[:, :, 0] if pixels.shape[-1] == 1 else pixels).save(file, 'PNG')
        return message(
            'sensor_msgs/msg/CompressedImage',
            header=header(stamp_ns, spec.frame),
            format='png',
            data=np.frombuffer(file.getvalue(), np.uint8),
        )

    return make


def _pixels(name: str, values: Array, encoding: str) -> Array:
    stored = _STORED.get(encoding)
    if stored is None:
        return np.ascontiguousarray(values)
    if values.min() < 0 or values.max() > np.iinfo(stored).max:
        raise DataError(
            f'field {name!r}: holds values from {values.min()} to {values.max()}, expected what '
            f'{encoding} can hold. Export another format.'
        )
    return np.ascontiguousarray(values.astype(stored))


def _imu(fields: Fields) -> Make:
    specs = {name: spec.part or default_part(spec.type) for name, spec in fields.items()}
    frame = next(iter(fields.values())).frame

    def make(stamp_ns: int, values: Values) -> Any:
        result = message('sensor_msgs/msg/Imu', header=header(stamp_ns, frame))
        known: set[str] = set()
        for name, value in values.items():
            for part, numbers in _imu_parts(specs[name], value):
                known.add(part)
                vector = getattr(result, part)
                for axis, number in zip('xyzw', numbers, strict=False):
                    setattr(vector, axis, float(number))
        for part in set(PARTS['sensor_msgs/msg/Imu']) - known - {'imu'}:
            getattr(result, f'{part}_covariance')[0] = -1.0  # Not measured.
        return result

    return make


def _imu_parts(part: str, value: Array) -> list[tuple[str, Array]]:
    if part != 'imu':
        return [(part, value)]
    return [
        ('orientation', value[:4]),
        ('angular_velocity', value[4:7]),
        ('linear_acceleration', value[7:10]),
    ]


def _joint_state(fields: Fields) -> Make:
    """Make messages with the joints of all fields; NaN where a part does not know a joint."""
    frame = next(iter(fields.values())).frame
    joints = list(dict.fromkeys(joint for spec in fields.values() for joint in spec.names or ()))

    def make(stamp_ns: int, values: Values) -> Any:
        result = message('sensor_msgs/msg/JointState', header=header(stamp_ns, frame), name=joints)
        for name, value in values.items():
            spec = fields[name]
            numbers = np.asarray(value, np.float64)
            if spec.names is not None:
                numbers = np.full(len(joints), np.nan)
                numbers[[joints.index(joint) for joint in spec.names]] = value
            setattr(result, spec.part or default_part(spec.type), numbers)
        return result

    return make


def _nav_sat_fix(fields: Fields) -> Make:
    name, spec = next(iter(fields.items()))

    def make(stamp_ns: int, values: Values) -> Any:
        result = message('sensor_msgs/msg/NavSatFix', header=header(stamp_ns, spec.frame))
        if np.isnan(values[name]).all():
            result.status.status = -1  # No fix.
        else:
            result.latitude, result.longitude, result.altitude = map(float, values[name])
        return result

    return make


def _range(fields: Fields) -> Make:
    name, spec = next(iter(fields.items()))
    return lambda stamp_ns, values: message(
        'sensor_msgs/msg/Range',
        header=header(stamp_ns, spec.frame),
        range=float(values[name][0]),
    )


def _battery(fields: Fields) -> Make:
    name, spec = next(iter(fields.items()))
    return lambda stamp_ns, values: message(
        'sensor_msgs/msg/BatteryState',
        header=header(stamp_ns, spec.frame),
        voltage=float(values[name][0]),
        percentage=float(values[name][1]),
    )


MAKERS: dict[str, Callable[[Fields], Make]] = {
    'sensor_msgs/msg/LaserScan': _scan,
    'sensor_msgs/msg/PointCloud2': _point_cloud,
    'sensor_msgs/msg/Image': _image,
    'sensor_msgs/msg/CompressedImage': _compressed_image,
    'sensor_msgs/msg/Imu': _imu,
    'sensor_msgs/msg/JointState': _joint_state,
    'sensor_msgs/msg/NavSatFix': _nav_sat_fix,
    'sensor_msgs/msg/Range': _range,
    'sensor_msgs/msg/BatteryState': _battery,
}
