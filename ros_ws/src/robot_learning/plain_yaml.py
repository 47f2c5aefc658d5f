"""YAML text of unknown origin turned into plain data, without bombs, tags or surprises.

Plain data are mappings, lists, text, finite numbers, true, false and null. What else YAML knows
is refused with its line: tags that build objects, dates, sets, numbers no program can hold,
aliases that multiply, nesting without end, keys that stand twice.
"""

from __future__ import annotations

import math
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from robot_learning.errors import ConfigError
from robot_learning.foreign_files import MAX_DEPTH, printable

MAX_BYTES = 1 << 20
_MAX_ENTRIES = 200_000  # Keys, values and elements, counted wherever an alias repeats them.
_MAX_DIGITS = 40
_LARGEST_INTEGER = 2**64
_PREFIX = 'tag:yaml.org,2002:'
_PLAIN = {
    _PREFIX + name for name in ('null', 'bool', 'int', 'float', 'str', 'seq', 'map', 'merge')
}
_NUMBERS = {
    _PREFIX + 'int': SafeConstructor.construct_yaml_int,
    _PREFIX + 'float': SafeConstructor.construct_yaml_float,
}


def parse(text: str, where: str) -> tuple[Any, yaml.Node | None]:
    """Return plain data and the YAML node it was made from, None for an empty text.

    Raises:
        ConfigError: names `where`, the line where it is known, and what is wrong.
    """
    if len(text) > MAX_BYTES:
        raise ConfigError(
            f'{where}: has {len(text)} characters, expected at most {MAX_BYTES}. Shorten it.'
        )
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None, None
        _check_nodes(node, where)
        return loader.construct_document(node), node
    except yaml.YAMLError as error:
        mark = getattr(error, 'problem_mark', None)
        place = f':{mark.line + 1}' if mark else ''
        problem = printable(getattr(error, 'problem', None) or error)
        raise ConfigError(
            f'{where}{place}: is not YAML ({problem}). Correct that line.'
        ) from error
    except RecursionError as error:
        raise ConfigError(
            f'{where}: nests deeper than {MAX_DEPTH} levels. Write it flatter.'
        ) from error
    except (ValueError, KeyError, TypeError) as error:  # A tag that its value does not fit.
        raise ConfigError(
            f'{where}: is not YAML ({printable(error)}). Correct that value.'
        ) from error


def _check_nodes(root: yaml.Node, where: str) -> None:
    """Refuse what must not be built, before anything is built."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node, depth: int) -> int:
        """Return how many entries a node stands for, aliases written out."""
        if depth > MAX_DEPTH:
            raise RecursionError
        if id(node) in sizes:
            return sizes[id(node)]
        _check_scalar(node, where)
        sizes[id(node)] = 1  # For an alias to its own parent.
        total = 1
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                total += size(key, depth + 1) + size(value, depth + 1)
        elif isinstance(node, yaml.SequenceNode):
            total += sum(size(value, depth + 1) for value in node.value)
        if total > _MAX_ENTRIES:
            raise ConfigError(
                f'{where}:{node.start_mark.line + 1}: stands for more than {_MAX_ENTRIES} entries '
                f'once its aliases are written out. Remove aliases or split the file.'
            )
        sizes[id(node)] = total
        return total

    size(root, 1)
    _check_depth(root)


def _check_depth(root: yaml.Node) -> None:
    """Follow aliases too: each adds its depth to that of the place where it stands."""
    depths: dict[int, int] = {}

    def depth(node: yaml.Node) -> int:
        if isinstance(node, yaml.ScalarNode):
            return 1
        if id(node) not in depths:
            depths[id(node)] = 1  # For an alias to its own parent.
            inner = [part for entry in node.value for part in _parts(entry)]
            depths[id(node)] = 1 + max(map(depth, inner), default=0)
        return depths[id(node)]

    if depth(root) > MAX_DEPTH:
        raise RecursionError


def _parts(entry: yaml.Node | tuple[yaml.Node, yaml.Node]) -> tuple[yaml.Node, ...]:
    return entry if isinstance(entry, tuple) else (entry,)


def _check_scalar(node: yaml.Node, where: str) -> None:
    place = f'{where}:{node.start_mark.line + 1}'
    if node.tag == _PREFIX + 'timestamp':
        raise ConfigError(
            f'{place}: found the date {printable(node.value, 40)}, expected text. '
            f'Put it in quotes.'
        )
    if node.tag not in _PLAIN:
        name = printable(node.tag.removeprefix(_PREFIX), 60)
        raise ConfigError(
            f'{place}: is not YAML that is read here (tag {name}). Write plain text, numbers, '
            f'lists and mappings only.'
        )
    if not isinstance(node, yaml.ScalarNode):
        return
    if node.tag in _NUMBERS:
        if len(node.value) > _MAX_DIGITS or not _is_reasonable(node):
            raise ConfigError(
                f'{place}: found the number {printable(node.value, 40)}, expected a finite one of '
                f'at most 64 bits. Correct it.'
            )
    elif any('\ud800' <= c <= '\udfff' for c in node.value):
        raise ConfigError(f'{place}: holds half a character (surrogate). Correct the text.')


def _is_reasonable(node: yaml.ScalarNode) -> bool:
    value = _NUMBERS[node.tag](SafeConstructor(), node)
    return math.isfinite(value) and (isinstance(value, float) or abs(value) < _LARGEST_INTEGER)
