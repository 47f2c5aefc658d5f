"""Start and goal pairs to measure navigation on, kept apart from those learned on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from robot_learning import foreign_files
from robot_learning.errors import ConfigError
from robot_learning.foreign_files import Refusal, printable

# Layouts with these seeds and above are for evaluation; learning never resets to them.
FIRST_EVALUATION_SEED = 10_000_000
_MAX_BYTES = 16 << 20
_LARGEST = 1e6  # Metres or radians.


class LayoutChoice(NamedTuple):
    """One arrangement of objects with a start and a goal; map frame, metres and radians."""

    seed: int  # Decides everything that is not given.
    start: tuple[float, float, float] | None = None  # x, y, yaw.
    goal: tuple[float, float] | None = None  # x, y.

    @property
    def label(self) -> str:
        """Short name for people."""
        return f'layout {self.seed}' + (' (given poses)' if self.start or self.goal else '')


def evaluation_layouts(num_layouts: int) -> list[LayoutChoice]:
    """Return the fixed, unseen layouts; a smaller number gives the first of them."""
    return [LayoutChoice(FIRST_EVALUATION_SEED + index) for index in range(num_layouts)]


def read_layouts(path: Path) -> list[LayoutChoice]:
    """Read a JSON list of seeds or of `{"seed", "start": [x, y, yaw], "goal": [x, y]}`.

    Raises:
        ConfigError: names the file and the entry that is wrong.
    """
    refuse = Refusal(ConfigError, 'Name a JSON file with a list of layouts, or correct it.')
    entries = foreign_files.parse_json(foreign_files.read(path, _MAX_BYTES, refuse), path, refuse)
    if not isinstance(entries, list) or not entries:
        raise ConfigError(
            f'{path}: holds a {type(entries).__name__} without layouts, expected a list of seeds '
            f'or objects. Write for example [1, 2, {{"start": [0, 0, 0], "goal": [1, 1]}}].'
        )
    return [_choice(entry, f'{path}: entry {index}') for index, entry in enumerate(entries)]


def _choice(entry: Any, where: str) -> LayoutChoice:
    if isinstance(entry, int) and not isinstance(entry, bool):
        return LayoutChoice(_seed(entry, where))
    if not isinstance(entry, dict):
        raise ConfigError(
            f'{where}: found {printable(repr(entry), 80)}, expected a seed or an object with '
            f'seed, start, goal. Correct it.'
        )
    unknown = set(entry) - {'seed', 'start', 'goal'}
    if unknown:
        raise ConfigError(
            f'{where}: unknown key {printable(sorted(unknown)[0], 80)!r}. Use seed, start and '
            f'goal only.'
        )
    start = _numbers(entry.get('start'), (3,), f'{where}: start')
    goal = _numbers(entry.get('goal'), (2, 3), f'{where}: goal')
    return LayoutChoice(
        _seed(entry.get('seed', FIRST_EVALUATION_SEED), f'{where}: seed'),
        (start[0], start[1], start[2]) if start else None,
        (goal[0], goal[1]) if goal else None,
    )


def _seed(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigError(
            f'{where}: found {printable(repr(value), 80)}, expected a whole number from 0. '
            f'Correct it.'
        )
    return value


def _numbers(value: Any, sizes: Sequence[int], where: str) -> list[float] | None:
    if value is None:
        return None
    is_list = isinstance(value, list) and len(value) in sizes
    if not is_list or not all(_is_number(x) for x in value):
        wanted = ' or '.join(str(size) for size in sizes)
        raise ConfigError(
            f'{where}: found {printable(repr(value), 80)}, expected {wanted} numbers (metres, '
            f'radians) of at most {_LARGEST:g}. Correct it.'
        )
    return [float(x) for x in value]


def _is_number(value: Any) -> bool:
    is_plain = isinstance(value, int | float) and not isinstance(value, bool)
    return is_plain and abs(value) <= _LARGEST
