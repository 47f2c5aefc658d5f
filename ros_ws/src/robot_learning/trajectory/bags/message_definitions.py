"""The text that defines a message type, with that of all types inside it, as bags embed it."""

from __future__ import annotations

import os
import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from robot_learning.errors import MessageError
from robot_learning.trajectory.bags.bag_types import interface_files, known_types
from robot_learning.trajectory.signals import INTERFACES

_SEPARATOR = '=' * 80
_INTEGERS = ('int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32', 'int64', 'uint64')
_PRIMITIVES = frozenset(
    ('bool', 'byte', 'char', 'float32', 'float64', 'string', 'wstring', *_INTEGERS)
)
# Names of primitives in message classes -> in .msg files.
_FROM_IDL = {'boolean': 'bool', 'octet': 'byte', 'float': 'float32', 'double': 'float64'}
_SEQUENCE = re.compile(r'sequence<(.+?)(?:, (\d+))?>')
_CONSTANT_TYPES = {bool: 'bool', int: 'int64', float: 'float64', str: 'string', bytes: 'byte'}


@cache
def definition_of(type_name: str) -> str:
    """Return the complete definition of a type such as 'sensor_msgs/msg/Imu'.

    Each type's text is that of the installed package's .msg file, else what rosbags knows of
    ROS 2 Jazzy, else it is read off the installed package's message class.

    Raises:
        MessageError: names the type that cannot be resolved, which may be one inside.
    """
    texts: dict[str, str] = {}
    waiting = [type_name]
    while waiting:
        name = waiting.pop(0)
        if name not in texts:
            texts[name] = _text_of(name).rstrip('\n') + '\n'
            waiting += _types_inside(name, texts[name])
    others = [
        f'{_SEPARATOR}\nMSG: {name.replace("/msg/", "/")}\n{text}'
        for name, text in texts.items()
        if name != type_name
    ]
    return texts[type_name] + ''.join(others)


def _text_of(type_name: str) -> str:
    package, _, name = type_name.partition('/msg/')
    if not name:
        raise MessageError(
            f'type {type_name!r}: is no message type, expected PACKAGE/msg/NAME. Leave its topic '
            f'out.'
        )
    file = _file_of(package, name)
    if file is not None:
        return file.read_text(encoding='utf-8')
    if type_name in known_types().fielddefs:
        return known_types().generate_msgdef(type_name, ros_version=2)[0].split(_SEPARATOR)[0]
    return _text_from_class(type_name, _message_class(package, name, type_name))


def _file_of(package: str, name: str) -> Path | None:
    for prefix in filter(None, os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)):
        file = Path(prefix) / 'share' / package / 'msg' / f'{name}.msg'
        if file.is_file():
            return file
    if package == INTERFACES:
        return next((file for file in interface_files() if file.stem == name), None)
    return None


def _message_class(package: str, name: str, type_name: str) -> Any:
    try:
        return getattr(import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError) as error:
        raise MessageError(
            f'type {type_name!r}: its definition is not installed ({error}). Install or source '
            f'the package {package}.'
        ) from error


def _text_from_class(type_name: str, message_class: Any) -> str:
    """Write the definition that a generated message class stands for, without its comments."""
    lines = []
    constants = getattr(type(message_class), f'_Metaclass_{message_class.__name__}__constants', {})
    for name, value in constants.items():
        lines.append(f'{_CONSTANT_TYPES[type(value)]} {name}={value}')
    try:
        fields = message_class.get_fields_and_field_types()
    except AttributeError as error:
        raise MessageError(
            f'type {type_name!r}: {message_class} is no message class. Build its package with '
            f'rosidl.'
        ) from error
    lines += [f'{_from_idl(kind)} {name}' for name, kind in fields.items()]
    return '\n'.join(lines)


def _from_idl(kind: str) -> str:
    """Turn 'sequence<double, 3>' into 'float64[<=3]'."""
    sequence = _SEQUENCE.fullmatch(kind)
    if sequence:
        element, bound = sequence.groups()
        return f'{_from_idl(element)}[{f"<={bound}" if bound else ""}]'
    array = re.fullmatch(r'(.+)\[(\d+)\]', kind)
    if array:
        return f'{_from_idl(array[1])}[{array[2]}]'
    bounded = re.fullmatch(r'(w?string)<(\d+)>', kind)
    if bounded:
        return f'{bounded[1]}<={bounded[2]}'
    return _FROM_IDL.get(kind, kind)


def _types_inside(type_name: str, text: str) -> list[str]:
    """List the message types that the fields of a definition have."""
    package = type_name.partition('/')[0]
    found = []
    for line in text.splitlines():
        words = line.partition('#')[0].split()
        if len(words) < 2:
            continue
        name = re.split(r'\[|<=', words[0])[0]
        if name in _PRIMITIVES:
            continue
        parts = name.split('/')
        found.append(f'{parts[0] if len(parts) > 1 else package}/msg/{parts[-1]}')
    return found
