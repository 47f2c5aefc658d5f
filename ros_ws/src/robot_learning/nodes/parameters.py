"""ROS parameters that fill configuration classes: declared, described, bounded, checked."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import math
import sys
import textwrap
import tokenize
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import annotated_types
import yaml
from pydantic.fields import FieldInfo
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from robot_learning import config, plain_yaml

T = TypeVar('T')

_ARRAY_TYPES = {
    bool: Parameter.Type.BOOL_ARRAY,
    int: Parameter.Type.INTEGER_ARRAY,
    float: Parameter.Type.DOUBLE_ARRAY,
    str: Parameter.Type.STRING_ARRAY,
}
_LARGEST_INTEGER = 2**63 - 1
_OF_EVERY_NODE = ('use_sim_time', 'qos_overrides', 'start_type_description_service')


@dataclasses.dataclass(frozen=True)
class _Leaf:
    """One parameter: where it belongs, what it may hold, what is said about it."""

    path: tuple[str, ...]
    annotation: Any
    metadata: tuple[Any, ...]
    description: str

    @property
    def name(self) -> str:
        return '.'.join(self.path)


def declare_config(node: Node, config_class: type[T], **overrides: Any) -> T:
    """Declare one read-only parameter per field of `config_class`; return it filled.

    A nested configuration class becomes dotted names. Descriptions are the comments behind (or
    above) the fields, ranges come from the field types. A field that may be None is unset then
    (for text: also when it is empty); a mapping is one parameter that holds YAML text.

    Args:
        node: declares the parameters; values from `--ros-args` and parameter files win.
        config_class: a pydantic dataclass.
        **overrides: defaults that differ from the class's own.

    Raises:
        ConfigError: names every wrong parameter at once, unknown ones on the command line too.
    """
    leaves = list(_leaves(config_class, ()))
    values = _nested_defaults(config_class)
    values.update(overrides)
    for leaf in leaves:
        value = _given(node, leaf)
        if value is not None:
            _set(values, leaf.path, value)
    for name in _typed_names(sys.argv) - {leaf.name for leaf in leaves}:
        _set(values, tuple(name.split('.')), None)  # So that it is named among the mistakes.
    result = config.from_mapping(config_class, values, _where(node))
    for leaf in leaves:
        _declare(node, leaf, _plain(_get(result, leaf.path)))
    return result


def _typed_names(arguments: list[str]) -> set[str]:
    """Return the parameters that somebody typed as `-p NAME:=VALUE`; ROS ignores wrong ones.

    Those of parameter files and of one named node (`NODE:NAME:=`) may be meant for others.
    """
    if '--ros-args' not in arguments:
        return set()
    names = set()
    for option, text in itertools.pairwise(arguments[arguments.index('--ros-args') :]):
        name = text.partition(':=')[0]
        is_ours = ':' not in name and name.partition('.')[0] not in _OF_EVERY_NODE
        if option in ('-p', '--param') and is_ours:
            names.add(name)
    return names


def _where(node: Node) -> str:
    return f'parameters of {node.get_fully_qualified_name()}'


def _nested_defaults(config_class: Any) -> dict[str, Any]:
    """Return the defaults of nested configurations, which may differ from their classes'."""
    defaults: dict[str, Any] = {}
    for name, info in config_class.__pydantic_fields__.items():
        if hasattr(info.annotation, '__pydantic_fields__') and not info.is_required():
            defaults[name] = dataclasses.asdict(info.get_default(call_default_factory=True))
    return defaults


def _declare(node: Node, leaf: _Leaf, value: Any) -> None:
    descriptor = _descriptor(leaf)
    if value is None:
        descriptor.dynamic_typing = True
    elif value == []:  # An empty list has no type of its own.
        value = _ARRAY_TYPES[
            next((a for a in get_args(leaf.annotation) if a in _ARRAY_TYPES), str)
        ]
    node.declare_parameter(leaf.name, value, descriptor, ignore_override=True)


def _leaves(config_class: Any, prefix: tuple[str, ...]) -> Iterator[_Leaf]:
    comments = {
        name: text
        for base in reversed(config_class.__mro__[:-1])
        for name, text in _comments(base).items()
    }
    fields: dict[str, FieldInfo] = config_class.__pydantic_fields__
    for name, info in fields.items():
        path = (*prefix, name)
        if hasattr(info.annotation, '__pydantic_fields__'):
            yield from _leaves(info.annotation, path)
            continue
        description = info.description or comments.get(name, '')
        yield _Leaf(path, info.annotation, tuple(info.metadata), description)


def _given(node: Node, leaf: _Leaf) -> Any:
    """Return what the user set for one parameter, None when nothing."""
    untyped = ParameterDescriptor(dynamic_typing=True)
    value = node.declare_parameter(leaf.name, None, untyped).value
    node.undeclare_parameter(leaf.name)
    if value == '' and _is_optional(leaf.annotation):
        return None
    if isinstance(value, str) and _is_mapping(leaf.annotation):
        return plain_yaml.parse(value, f'{_where(node)}: {leaf.name}')[0]
    if value is not None and not isinstance(value, bool | int | float | str):
        return list(value)
    return value


def _set(mapping: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        mapping = mapping.setdefault(key, {})
    mapping[path[-1]] = value


def _get(instance: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        instance = getattr(instance, name)
    return instance


def _plain(value: Any) -> Any:
    """Turn a checked value into one that a ROS parameter can hold."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        value = {key: _plain_tree(item) for key, item in value.items()}
        return yaml.safe_dump(value, default_flow_style=True, width=10**6).strip()
    if isinstance(value, tuple | list):
        return [_plain(element) for element in value]
    return value


def _plain_tree(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, dict):
        return {key: _plain_tree(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain_tree(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _descriptor(leaf: _Leaf) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=leaf.description, read_only=True)
    if get_origin(leaf.annotation) is Literal:
        choices = ', '.join(str(choice) for choice in get_args(leaf.annotation))
        descriptor.additional_constraints = f'one of: {choices}'
    low, high = _limits(leaf.metadata)
    if low is None and high is None:
        return descriptor
    if leaf.annotation is int:
        descriptor.integer_range = [
            IntegerRange(
                from_value=-_LARGEST_INTEGER if low is None else math.ceil(low),
                to_value=_LARGEST_INTEGER if high is None else math.floor(high),
                step=1,
            )
        ]
    elif leaf.annotation is float:
        descriptor.floating_point_range = [
            FloatingPointRange(
                from_value=-sys.float_info.max if low is None else float(low),
                to_value=sys.float_info.max if high is None else float(high),
            )
        ]
    return descriptor


def _limits(metadata: tuple[Any, ...]) -> tuple[float | None, float | None]:
    """Return the limits as inclusive ones; ROS ranges know no others. Pydantic is exact."""
    low: Any = None
    high: Any = None
    for item in metadata:
        if isinstance(item, annotated_types.Ge):
            low = item.ge
        elif isinstance(item, annotated_types.Gt):
            low = item.gt
        elif isinstance(item, annotated_types.Le):
            high = item.le
        elif isinstance(item, annotated_types.Lt):
            high = item.lt
    return low, high


def _is_optional(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType) and type(None) in get_args(
        annotation
    )


def _is_mapping(annotation: Any) -> bool:
    candidates = (annotation, *get_args(annotation))
    return any(candidate is dict or get_origin(candidate) is dict for candidate in candidates)


def _comments(config_class: Any) -> dict[str, str]:
    """Return field name -> comment, from the source: behind the field, else right above it."""
    try:
        source = textwrap.dedent(inspect.getsource(config_class))
    except (OSError, TypeError):  # Defined in an interactive session: no source, no comments.
        return {}
    lines = source.splitlines()
    comments: dict[str, str] = {}
    at_line: dict[int, str] = {}
    tokens = tokenize.generate_tokens(iter(line + '\n' for line in lines).__next__)
    for token in tokens:
        if token.type == tokenize.COMMENT:
            at_line[token.start[0]] = token.string.lstrip('# ').rstrip()
    for number, line in enumerate(lines, start=1):
        name, colon, _ = line.strip().partition(':')
        if not colon or not name.isidentifier():
            continue
        first = number
        while first > 1 and lines[first - 2].lstrip().startswith('#'):
            first -= 1
        above = ' '.join(at_line[line_number] for line_number in range(first, number))
        comments[name] = at_line.get(number) or above
    return comments
