"""ROS messages as rosbags knows them: blank ones, and their headers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from robot_learning.contract import ObservationField
from robot_learning.trajectory.bags.bag_types import known_types
from robot_learning.trajectory.episode import Array

Fields = Mapping[str, ObservationField]  # Of one topic, by name.
Values = Mapping[str, Array]  # One reading, by field.
Make = Callable[[int, Values], Any]  # Makes a message from its stamp and a reading.


def message(kind: str, **values: Any) -> Any:
    """Return a message of zeros with these values."""
    result = _zeros(kind)
    for name, value in values.items():
        setattr(result, name, value)
    return result


def header(stamp_ns: int, frame: str = '') -> Any:
    """Return a header."""
    types = known_types().types
    stamp = types['builtin_interfaces/msg/Time'](stamp_ns // 10**9, stamp_ns % 10**9)
    return types['std_msgs/msg/Header'](stamp=stamp, frame_id=frame)


def _zeros(kind: str) -> Any:
    _, definitions = known_types().fielddefs[kind]
    values = {name: _zero(definition) for name, definition in definitions}
    return known_types().types[kind](**values)


def _zero(definition: Any) -> Any:
    """Return the zero of a field as rosbags describes it: (node type, details)."""
    node, details = definition
    label = node.name
    if label == 'BASE':
        return {'string': '', 'wstring': '', 'bool': False}.get(details[0], _number(details[0]))
    if label == 'NAME':
        return _zeros(details)
    (element_node, element), count = details
    if element_node.name == 'BASE' and element[0] not in ('string', 'wstring'):
        return np.zeros(count if label == 'ARRAY' else 0, _dtype(element[0]))
    return [_zero((element_node, element)) for _ in range(count if label == 'ARRAY' else 0)]


def _number(base: str) -> float | int:
    return 0.0 if base.startswith('float') else 0


def _dtype(base: str) -> str:
    return {'octet': 'uint8', 'byte': 'uint8', 'char': 'uint8'}.get(base, base)
