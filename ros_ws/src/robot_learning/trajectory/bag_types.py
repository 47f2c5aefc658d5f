"""Message definitions for bags: ROS 2's own, our interfaces', and those that a bag brings."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from robot_learning.trajectory.intake import INTERFACES


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
