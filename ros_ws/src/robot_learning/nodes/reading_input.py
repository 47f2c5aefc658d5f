"""Sensor messages of a contract's fields, kept as bytes until somebody needs them."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.serialization import deserialize_message

from robot_learning.contract import RobotContract
from robot_learning.errors import ConfigError
from robot_learning.nodes.messages import make_converter
from robot_learning.nodes.qos import qos_profile

Array = np.ndarray[Any, Any]
# Field name, stamp in ns, CDR bytes, arrival on the steady clock in ns.
OnReading = Callable[[str, int, bytes, int], None]


def message_type(name: str) -> type[Any]:
    """Return the message class of a ROS type name such as 'sensor_msgs/msg/LaserScan'.

    Raises:
        ConfigError: its package or class cannot be imported.
    """
    package, _, class_name = name.partition('/msg/')
    try:
        found: type[Any] = getattr(import_module(f'{package}.msg'), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f'message type {name!r}: cannot be imported ({error}). Install the package that '
            f'defines it or correct the contract.'
        ) from error
    return found


class ReadingInput:
    """Subscribes to the topics of some fields and reports stamp and bytes of every message.

    Only the newest message of a field is ever used, so turning each into Python objects (20 to
    65 us for a scan or an odometry message) would be mostly wasted: the stamp is read from the
    bytes, and `converters` do the rest on demand.
    """

    def __init__(
        self, node: Node, contract: RobotContract, fields: tuple[str, ...], on_reading: OnReading
    ):
        self._node = node
        self._on_reading = on_reading
        self.converters: dict[str, Callable[[bytes], Array]] = {}
        topics: dict[tuple[str, str], list[str]] = {}
        for name in fields:
            spec = contract.observation[name]
            topics.setdefault((spec.topic, spec.type), []).append(name)
            self.converters[name] = _converter(contract, name)
        for (topic, type_name), names in topics.items():
            message_class = message_type(type_name)
            spec = contract.observation[names[0]]
            node.create_subscription(
                message_class,
                topic,
                self._callback(tuple(names), hasattr(message_class, 'header')),
                qos_profile(spec.qos),
                raw=True,
            )

    def _callback(self, names: tuple[str, ...], has_header: bool) -> Callable[[bytes], None]:
        def on_message(data: bytes) -> None:
            received_ns = time.perf_counter_ns()
            if has_header:
                stamp_ns = header_stamp_ns(data)
            else:
                stamp_ns = self._node.get_clock().now().nanoseconds
            for name in names:
                self._on_reading(name, stamp_ns, data, received_ns)

        return on_message


def header_stamp_ns(data: bytes) -> int:
    """Read the stamp of a serialised message that begins with a std_msgs/Header.

    CDR: four bytes of which the second is 1 for little endian, then sec and nanosec.
    """
    seconds, nanoseconds = struct.unpack_from('<iI' if data[1] & 1 else '>iI', data, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def _converter(contract: RobotContract, name: str) -> Callable[[bytes], Array]:
    spec = contract.observation[name]
    message_class, convert = message_type(spec.type), make_converter(spec, name)
    return lambda data: convert(deserialize_message(data, message_class))
