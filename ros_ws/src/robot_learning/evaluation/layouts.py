"""Start and goal pairs to measure navigation on, kept apart from those learned on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from robot_learning.errors import ConfigError

# Layouts with these seeds and above are for evaluation; learning never resets to them.
FIRST_EVALUATION_SEED = 10_000_000


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
    try:
        entries = json.loads(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise ConfigError(
            f'{path}: cannot be read ({error.strerror}). Name an existing JSON file.'
        ) from error
    except json.JSONDecodeError as error:
        raise ConfigError(
            f'{path}:{error.lineno}: is not JSON ({error.msg}). Correct that line.'
        ) from error
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
            f'{where}: found {entry!r}, expected a seed or an object with seed, start, goal. '
            f'Correct it.'
        )
    unknown = set(entry) - {'seed', 'start', 'goal'}
    if unknown:
        raise ConfigError(
            f'{where}: unknown key {sorted(unknown)[0]!r}. Use seed, start and goal only.'
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
        raise ConfigError(f'{where}: found {value!r}, expected a whole number from 0. Correct it.')
    return value


def _numbers(value: Any, sizes: Sequence[int], where: str) -> list[float] | None:
    if value is None:
        return None
    is_list = isinstance(value, list) and len(value) in sizes
    if not is_list or not all(isinstance(x, int | float) for x in value):
        wanted = ' or '.join(str(size) for size in sizes)
        raise ConfigError(
            f'{where}: found {value!r}, expected {wanted} numbers (metres, radians). Correct it.'
        )
    return [float(x) for x in value]
