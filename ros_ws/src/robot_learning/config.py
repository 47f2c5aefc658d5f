"""YAML and ROS parameters fill typed configuration classes; every mistake is named at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from robot_learning.errors import ConfigError

STRICT = ConfigDict(extra='forbid', arbitrary_types_allowed=False)

T = TypeVar('T')
KeyPath = tuple[str | int, ...]
Lines = dict[KeyPath, int]  # Key path -> line number in its file, counted from 1.


def load_yaml(path: Path | str) -> tuple[dict[str, Any], Lines]:
    """Read a YAML mapping and remember on which line each key stands.

    Raises:
        ConfigError: the file is absent, is not YAML, repeats a key or is not a mapping.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding='utf-8')
    except OSError as error:
        raise ConfigError(
            f'{path}: cannot be read ({error.strerror}). Name an existing YAML file.'
        ) from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = _line_numbers(node, path)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, 'problem_mark', None)
        place = f':{mark.line + 1}' if mark else ''
        problem = getattr(error, 'problem', None) or error
        raise ConfigError(
            f'{path}{place}: is not YAML ({problem}). Correct that line.'
        ) from error
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(
            f'{path}: holds a {type(data).__name__}, expected a mapping of keys to values. '
            f'Write "key: value" lines.'
        )
    return data, lines


def from_mapping(
    cls: type[T], mapping: Mapping[str, Any], where: str, lines: Lines | None = None
) -> T:
    """Build `cls`, a pydantic dataclass, from plain data.

    Args:
        cls: what to build.
        mapping: keys and values as YAML or ROS parameters give them.
        where: what to call the source in errors, for example the file's path.
        lines: line numbers from `load_yaml`, added to errors where known.

    Raises:
        ConfigError: names every unknown key and wrong value with its path, all at once.
    """
    try:
        return TypeAdapter(cls).validate_python(dict(mapping))
    except ValidationError as error:
        problems = [_describe(problem, where, lines) for problem in error.errors()]
        raise ConfigError('\n'.join(problems)) from error


def load(cls: type[T], path: Path | str) -> T:
    """Read one YAML file into `cls`; see `from_mapping` for the errors."""
    mapping, lines = load_yaml(path)
    return from_mapping(cls, mapping, str(path), lines)


def place(where: str, path: KeyPath, lines: Lines | None) -> str:
    """Write `file:line: dotted.key` for the deepest part of `path` whose line is known."""
    line = None
    for depth in range(len(path), 0, -1):
        line = (lines or {}).get(path[:depth])
        if line is not None:
            break
    source = f'{where}:{line}' if line is not None else where
    key = '.'.join(str(part) for part in path)
    return f'{source}: {key}' if key else source


def _describe(problem: Any, where: str, lines: Lines | None) -> str:
    path = tuple(problem['loc'])
    spot = place(where, path, lines)
    if problem['type'] in ('unexpected_keyword_argument', 'extra_forbidden'):
        return f'{spot}: unknown key. Remove it or correct its spelling.'
    if problem['type'] in ('missing', 'missing_argument'):
        return f'{spot}: is missing. Add it.'
    found = problem.get('input')
    return f'{spot}: found {found!r}, expected: {problem["msg"]}. Correct the value.'


def _line_numbers(node: yaml.Node | None, path: Path) -> Lines:
    lines: Lines = {}

    def visit(current: yaml.Node, prefix: KeyPath) -> None:
        if isinstance(current, yaml.MappingNode):
            seen: dict[str, int] = {}
            for key, value in current.value:
                line = key.start_mark.line + 1
                if key.value in seen:
                    raise ConfigError(
                        f'{path}:{line}: key {key.value!r} stands already on line '
                        f'{seen[key.value]}. Keep one of them.'
                    )
                seen[key.value] = line
                lines[(*prefix, key.value)] = line
                visit(value, (*prefix, key.value))
        elif isinstance(current, yaml.SequenceNode):
            for index, value in enumerate(current.value):
                lines[(*prefix, index)] = value.start_mark.line + 1
                visit(value, (*prefix, index))

    if node is not None:
        visit(node, ())
    return lines
