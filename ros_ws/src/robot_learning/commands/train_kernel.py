"""The four models of the decision kernel with one command, beside the guide's figures."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from robot_learning.commands.train_intent import PHASE as INTENT
from robot_learning.commands.train_intent import train_intent
from robot_learning.commands.train_meta import PHASE as META
from robot_learning.commands.train_meta import train_meta
from robot_learning.commands.train_pairs import PHASE as PAIRS
from robot_learning.commands.train_pairs import SYNTHETIC, train_pairs
from robot_learning.commands.train_vision_language import PHASE as VISION
from robot_learning.commands.train_vision_language import train_vision_language
from robot_learning.errors import ConfigError
from robot_learning.model_store import ModelStore

MODE = 'kernel'
_RIGHT = ('held_out/accuracy',)
_SEEN = ('held_out/grounding_accuracy', 'held_out/recall_at_1')

Train = Callable[[argparse.Namespace], dict[str, Any]]


class Part(NamedTuple):
    """One model of the kernel, and what the guide says of it."""

    name: str  # Of the model, behind --name where one is given.
    phase: str
    mode: str
    train: Train
    data: tuple[str, ...] | None  # None: the mode's own.
    measures: tuple[str, ...]  # What is measured on held-out data, the first that there is.
    guide_accuracy: float | None  # The guide's, of its own data.
    guide_minutes: float
    guide_mb: float


PARTS = (
    Part('intent', INTENT, 'intent', train_intent, None, _RIGHT, 0.85, 5, 2),
    Part('neural_policy', PAIRS, 'supervised', train_pairs, (SYNTHETIC,), _RIGHT, 0.95, 3, 0.5),
    Part('grounding', VISION, VISION, train_vision_language, None, _SEEN, None, 8, 3),
    Part('meta', META, META, train_meta, None, (*_RIGHT, 'held_out/loss'), 0.7, 15, 1),
)


def train_kernel(options: argparse.Namespace, parts: tuple[Part, ...] = PARTS) -> dict[str, Any]:
    """Train all parts, publish each, print the guide's table with our figures; return both.

    Args:
        options: of `train`. `data` may hold pictures in classes for the meta-learner, which else
            learns sine curves; the others have data of their own.
        parts: what to train, in order.

    Raises:
        ConfigError: --config or --env is given.
    """
    for option in ('config', 'env'):
        if getattr(options, option) is not None:
            raise ConfigError(
                f'--mode {MODE}: found --{option}, and its models have settings of their own. '
                f'Leave it out, or train them one by one: --mode intent, --phase neural_policy, '
                f'--mode vision_language, --mode meta.'
            )
    store = ModelStore(options.models)
    rows: list[dict[str, Any]] = []
    results = []
    for part in parts:
        name = f'{options.name}-{part.name}' if options.name else part.name
        data = options.data if part.phase == META else _paths(part.data)
        own = {**vars(options), 'mode': part.mode, 'phase': part.phase, 'name': name, 'data': data}
        begun_s = time.monotonic(), time.process_time()
        result = part.train(argparse.Namespace(**own))
        wall_s, cpu_s = time.monotonic() - begun_s[0], time.process_time() - begun_s[1]
        results.append(result)
        measure = next((m for m in part.measures if m in result['metrics']), None)
        rows.append(
            {
                'model': f'{name}@{result["version"]}',
                'measure': '' if measure is None else measure.removeprefix('held_out/'),
                'held_out': None if measure is None else result['metrics'][measure],
                'guide_accuracy': part.guide_accuracy if measure in _RIGHT else None,
                'minutes': wall_s / 60,
                'cpu_minutes': cpu_s / 60,
                'guide_minutes': part.guide_minutes,
                'mb': _size_mb(store, name, result['version']),
                'guide_mb': part.guide_mb,
            }
        )
    _print(rows)
    return {'model': options.name or MODE, 'phase': MODE, 'table': rows, 'parts': results}


def _paths(names: tuple[str, ...] | None) -> list[Path] | None:
    return None if names is None else [Path(name) for name in names]


def _size_mb(store: ModelStore, name: str, version: int) -> float:
    return sum(array.nbytes for array in store.load(name, version)[0].values()) / 1e6


def _print(rows: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE, title='the kernel; in brackets the guide')
    for column in ('model', 'on held-out data', 'CPU minutes', 'MB'):
        table.add_column(column, justify='left' if column == 'model' else 'right')
    for row in rows:
        table.add_row(
            row['model'],
            f'{_number(row["held_out"])} {row["measure"]} ({_number(row["guide_accuracy"])})',
            f'{row["cpu_minutes"]:.1f} ({row["guide_minutes"]:g})',
            f'{row["mb"]:.1f} ({row["guide_mb"]:g})',
        )
    Console().print(table)


def _number(value: float | None) -> str:
    return '–' if value is None else f'{value:.3f}'
