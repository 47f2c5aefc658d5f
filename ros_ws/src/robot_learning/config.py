"""YAML and ROS parameters fill typed configuration classes; every mistake is named at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import yaml
from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from robot_learning import foreign_files, plain_yaml
from robot_learning.errors import ConfigError
from robot_learning.foreign_files import Refusal, printable

STRICT = ConfigDict(extra='forbid', arbitrary_types_allowed=False, allow_inf_nan=False)
_MAX_PROBLEMS = 100  # Named at once.
_NAME_ANOTHER = Refusal(ConfigError, 'Name an existing YAML file.')


def _split(value: Any) -> Any:
    if isinstance(value, str):
        return [name.strip() for name in value.split(',') if name.strip()]
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]  # Or one text, commas between.
T = TypeVar('T')
KeyPath = tuple[str | int, ...]


class Line(NamedTuple):
    """Where a key stands; `number` counts from 1."""

    file: str
    number: int


Lines = dict[KeyPath, Line]


def load_yaml(path: Path | str) -> tuple[dict[str, Any], Lines]:
    """Read a YAML mapping and remember on which line each key stands.

    Raises:
        ConfigError: the file is absent, is not YAML, repeats a key or is not a mapping.
    """
    path = Path(path)
    content = foreign_files.read(path, plain_yaml.MAX_BYTES, _NAME_ANOTHER)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f'{path}: byte {error.start} is not UTF-8 text, expected YAML. Name a text file.'
        ) from error
    data, node = plain_yaml.parse(text, str(path))
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(
            f'{path}: holds a {type(data).__name__}, expected a mapping of keys to values. '
            f'Write "key: value" lines.'
        )
    return data, _line_numbers(node, path)


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
        problems = _described(error.errors(), mapping, where, lines)
        if len(problems) > _MAX_PROBLEMS:
            rest = len(problems) - _MAX_PROBLEMS
            problems[_MAX_PROBLEMS:] = [f'{where}: {rest} more mistakes. Correct these first.']
        raise ConfigError('\n'.join(problems)) from error


def load(cls: type[T], path: Path | str) -> T:
    """Read one YAML file into `cls`; see `from_mapping` for the errors."""
    mapping, lines = load_yaml(path)
    return from_mapping(cls, mapping, str(path), lines)


def place(where: str, path: KeyPath, lines: Lines | None) -> str:
    """Write `file:line: dotted.key` for the deepest part of `path` whose line is known."""
    source = where
    for depth in range(len(path), 0, -1):
        line = (lines or {}).get(path[:depth])
        if line is not None:
            source = f'{line.file}:{line.number}'
            break
    key = '.'.join(str(part) for part in path)
    return f'{source}: {key}' if key else source


def _described(
    errors: Sequence[ErrorDetails], mapping: Mapping[str, Any], where: str, lines: Lines | None
) -> list[str]:
    """Write one line per wrong key; alternatives of a union are joined into one."""
    found: dict[KeyPath, tuple[str, list[str]]] = {}
    for error in errors:
        path = _existing(error['loc'], mapping, error['type'])
        if error['type'] in ('unexpected_keyword_argument', 'extra_forbidden'):
            text, expected = 'unknown key. Remove it or correct its spelling.', ''
        elif error['type'] in ('missing', 'missing_argument'):
            text, expected = 'is missing. Add it.', ''
        else:
            value = printable(repr(error.get('input')))
            text, expected = f'found {value}, expected: ', error['msg']
        alternatives = found.setdefault(path, (text, []))[1]
        expected = expected.replace('tuple', 'list')  # YAML knows lists only.
        if expected and expected not in alternatives:
            alternatives.append(expected)
    return [
        f'{place(where, path, lines)}: {text}'
        + (f'{" or ".join(expected)}. Correct the value.' if expected else '')
        for path, (text, expected) in found.items()
    ]


def _existing(location: KeyPath, mapping: Mapping[str, Any], kind: str) -> KeyPath:
    """Cut what pydantic adds to a path, the names of a union's alternatives."""
    value: Any = mapping
    for depth, key in enumerate(location):
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return location if 'missing' in kind else location[:depth]
    return location


def _line_numbers(node: yaml.Node | None, path: Path) -> Lines:
    """Walk a sound document; every key's and list element's line, by its path.

    Raises:
        ConfigError: a mapping holds a key twice, which YAML readers pass over in silence.
    """
    lines: Lines = {}

    def visit(current: yaml.Node, prefix: KeyPath, above: tuple[yaml.Node, ...]) -> None:
        if current in above:  # An alias to its own parent.
            return
        above = (*above, current)
        if isinstance(current, yaml.MappingNode):
            seen: dict[str, int] = {}
            for key, value in current.value:
                line = key.start_mark.line + 1
                if key.value in seen and key.value != '<<':
                    raise ConfigError(
                        f'{path}:{line}: key {key.value!r} stands already on line '
                        f'{seen[key.value]}. Keep one of them.'
                    )
                seen[key.value] = line
                lines[(*prefix, key.value)] = Line(str(path), line)
                visit(value, (*prefix, key.value), above)
        elif isinstance(current, yaml.SequenceNode):
            for index, value in enumerate(current.value):
                lines[(*prefix, index)] = Line(str(path), value.start_mark.line + 1)
                visit(value, (*prefix, index), above)

    if node is not None:
        visit(node, (), ())
    return lines
