"""Values of arguments and parameters as text, and back."""

from __future__ import annotations

import json
import re

import yaml

from robot_learning import plain_yaml
from robot_learning.errors import ConfigError

Scalar = bool | int | float | str

_PLAIN_TEXT = re.compile(r'[A-Za-z_/.][\w/.-]*')
_NAMESPACE = re.compile(r'/?([A-Za-z_]\w*)(/[A-Za-z_]\w*)*')


def as_yaml(value: Scalar) -> str:
    """Write a value so that ROS reads back the same type."""
    if isinstance(value, str):
        is_plain = _PLAIN_TEXT.fullmatch(value) and isinstance(yaml.safe_load(value), str)
        return value if is_plain else json.dumps(value, ensure_ascii=False)
    return str(yaml.safe_dump(value)).split('\n', 1)[0]


def as_text(value: Scalar) -> str:
    """Write a value as a launch argument: text stays as it is."""
    return value if isinstance(value, str) else as_yaml(value)


def from_text(text: str) -> Scalar:
    """Read `true`, `3`, `0.5` as what they look like; anything else is the text itself."""
    try:
        value, _ = plain_yaml.parse(text, 'argument')
    except ConfigError:
        return text
    return value if isinstance(value, bool | int | float | str) else text


def absolute_name(text: str, argument: str = 'namespace') -> str:
    """Return a namespace or topic with its leading slash; '' stays empty.

    Raises:
        ConfigError: it is no ROS name.
    """
    if text in ('', '/'):
        return ''
    if not _NAMESPACE.fullmatch(text):
        raise ConfigError(
            f'argument {argument}: found {text!r}, expected names of letters, digits and _ '
            f'separated by /. Write for example robot1.'
        )
    return text if text.startswith('/') else f'/{text}'


def parse_override(text: str) -> tuple[str, str, Scalar]:
    """Split `process.parameter=value` into its three parts; the value is read as YAML."""
    left, equals, right = text.partition('=')
    process, dot, parameter = left.partition('.')
    if not (equals and dot and process and parameter):
        raise ConfigError(
            f'--set {text!r}: expected PROCESS.PARAMETER=VALUE. '
            f'Write for example simulator.seed=3.'
        )
    return process, parameter, from_text(right)
