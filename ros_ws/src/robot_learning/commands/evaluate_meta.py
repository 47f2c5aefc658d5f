"""The part of `evaluate` that scores a meta-learner on tasks it has not learned from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich import box
from rich.table import Table

from robot_learning import config
from robot_learning.commands import meta_data
from robot_learning.commands.meta_data import Robots
from robot_learning.commands.report_output import console
from robot_learning.errors import ConfigError, NotEnoughDataError
from robot_learning.evaluation.means import mean_interval
from robot_learning.phases.meta import MetaConfig, MetaObjective
from robot_learning.phases.meta_tasks import (
    QUERY_INPUT,
    QUERY_TARGET,
    SUPPORT_INPUT,
    SUPPORT_TARGET,
    DriveTasks,
    PictureTasks,
    Shots,
    SinusoidTasks,
    Tasks,
)
from robot_learning.phases.phase import Batch
from robot_learning.serving.adaptation import build_adaptable_model
from robot_learning.trajectory.character_files import PictureClasses

Array = np.ndarray[Any, Any]
_NUM_TASKS = 600  # As in most papers on few-shot learning.
_AT_ONCE = 25
_QUERIES = 15
_SETTINGS = ((5, 1), (5, 5), (20, 1))  # Ways and shots.
_CURVE_SHOTS = (5, 10, 20)
_ROBOTS = Robots(20, 20.0)
_SEED = 12_345


def evaluate_meta(
    tensors: Mapping[str, Array],
    manifest: Mapping[str, Any],
    where: str,
    data: Sequence[Path],
    robot: str | None = None,
    num_tasks: int = _NUM_TASKS,
) -> dict[str, Any]:
    """Print what adapting to unseen tasks gives and return everything as plain data.

    Args:
        tensors: of the version.
        manifest: of the version.
        where: what to call the version.
        data: an archive or folder of pictures, recordings, `robots` or `sinusoids`; of pictures,
            classes that it learned from are left out, by their names.
        robot: contract of recordings; None: arena.
        num_tasks: of pictures and curves, for each row.

    Raises:
        ConfigError: it learned from another kind of data.
        DataError: data cannot be read.
        ModelRefusedError: the version is no meta-learner.
        NotEnoughDataError: there are too few unseen classes, or drives.
    """
    shape = build_adaptable_model(tensors, manifest, where).shape
    kind = meta_data.kind_of(data)
    policy = manifest['policy']
    learned = 'pictures' if not shape.num_targets else 'sinusoids'
    if shape.num_targets > 1:
        learned = 'robots'
    if kind != learned:
        raise ConfigError(
            f'{where}: learned from {learned}, --data names {kind}. Name data of its kind.'
        )
    settings = config.from_mapping(MetaConfig, manifest['config'], f'{where}: config')
    if kind == 'pictures':
        result = _pictures(settings, policy, tensors, data[0], num_tasks)
    elif kind == 'sinusoids':
        result = _curves(settings, tensors, num_tasks)
    else:
        result = _robots(settings, tensors, data, robot or 'arena')
    result = {'data': [str(path) for path in data], **result}
    _print(result)
    return result


def _pictures(
    settings: MetaConfig,
    policy: Mapping[str, Any],
    tensors: Mapping[str, Array],
    path: Path,
    num_tasks: int,
) -> dict[str, Any]:
    data = meta_data.pictures(path, settings.picture_size, settings.colours)
    known = set(policy.get('learned_classes', ()))
    unseen = [index for index, name in enumerate(data.classes) if name not in known]
    if len(unseen) < 2:
        raise NotEnoughDataError(
            f'{path}: {len(unseen)} of {len(data.classes)} classes were not learned from, '
            f'expected two or more. Name other data.'
        )
    rest = data.of_classes(np.asarray(unseen))
    groups = sorted({data.groups[index] for index in rest.group}) if data.groups else []
    rows = []
    for ways, shots in _SETTINGS:
        found = _picture_row(settings, tensors, rest, (ways, shots), num_tasks)
        if found is not None:
            rows.append(found)
    return {
        'classes': len(rest.classes),
        'classes_learned_from_left_out': len(data.classes) - len(rest.classes),
        'groups': groups,
        'turns': 'none',
        'transductive': False,
        'rows': rows,
    }


def _picture_row(
    settings: MetaConfig,
    tensors: Mapping[str, Array],
    data: PictureClasses,
    size: tuple[int, int],
    num_tasks: int,
) -> dict[str, Any] | None:
    """Return accuracies, None where there are not as many classes or pictures."""
    ways, shots = size
    most = min(len(rows) for rows in data.rows_of_classes()) - shots
    if most < 1:
        return None
    try:
        tasks = PictureTasks(data, ways, Shots(shots, min(_QUERIES, most)), num_tasks, _SEED)
    except NotEnoughDataError:
        return None
    objective = _objective(settings, tasks, tensors)
    if objective is None:
        return None
    right: list[float] = []
    pixels: list[float] = []
    for batch in _batches(tasks):
        right += objective.judge(batch).right.tolist()
        pixels += _nearest_mean(batch, ways)
    return {
        'task': f'{ways}-way {shots}-shot',
        'accuracy': _mean(right),
        'nearest class mean of pixels': _mean(pixels),
        'chance': 1 / ways,
    }


def _curves(settings: MetaConfig, tensors: Mapping[str, Array], num_tasks: int) -> dict[str, Any]:
    rows = []
    for shots in _CURVE_SHOTS:
        tasks = SinusoidTasks(Shots(shots, 50), num_tasks, _SEED)
        rows.append({'task': f'{shots} points', **_errors(settings, tasks, tensors)})
    return {'rows': rows}


def _robots(
    settings: MetaConfig, tensors: Mapping[str, Array], data: Sequence[Path], robot: str
) -> dict[str, Any]:
    drives = meta_data.drives(data, robot, _ROBOTS, 0, is_measured=True)
    shots = Shots(settings.shots, settings.queries)
    each = [
        _errors(settings, DriveTasks([drive], shots, _AT_ONCE, _SEED), tensors)
        for drive in drives
        if len(drive.inputs) >= sum(shots)
    ]
    tasks = DriveTasks(drives, shots, _AT_ONCE, _SEED)  # Says what is missing.
    before, after = ([row[key]['value'] for row in each] for key in ('loss before', 'loss'))
    change = _mean([a / b for a, b in zip(after, before, strict=True)])
    return {
        'robots': len(each),
        'better': sum(a < b for a, b in zip(after, before, strict=True)),
        'rows': [
            {
                'task': f'{settings.shots} control steps of {len(tasks)} stretches a robot',
                'loss before': _mean(before),
                'loss': _mean(after),
                'ratio': change,
            }
        ],
    }


def _errors(settings: MetaConfig, tasks: Tasks, tensors: Mapping[str, Array]) -> dict[str, Any]:
    """Return squared errors before and after adapting; `loss` is in units of the deviation."""
    objective = _objective(settings, tasks, tensors)
    assert objective is not None, 'only classifiers may not fit'
    found: dict[str, list[float]] = {'loss': [], 'loss before': [], 'squared error': []}
    for batch in _batches(tasks):
        adapted = objective.judge(batch)
        found['loss'] += adapted.loss.tolist()
        found['squared error'] += adapted.right.tolist()
        found['loss before'] += objective.judge(batch, 0).loss.tolist()
    return {name: _mean(values) for name, values in found.items()}


def _objective(
    settings: MetaConfig, tasks: Tasks, tensors: Mapping[str, Array]
) -> MetaObjective | None:
    """Return the version for tasks of this shape; None: its last layer has other classes."""
    objective = MetaObjective(dataclasses.replace(settings, order='first'), tasks.shape, 0)
    own = {name: torch.from_numpy(np.array(tensor)) for name, tensor in tensors.items()}
    shapes = {name: tensor.shape for name, tensor in objective.module.state_dict().items()}
    if any(shapes.get(name) != tensor.shape for name, tensor in own.items()):
        return None
    objective.module.load_state_dict(own)
    objective.module.requires_grad_(False).eval()
    return objective


def _batches(tasks: Tasks) -> list[Batch]:
    rows = np.arange(len(tasks))
    return [tasks.read(rows[start : start + _AT_ONCE]) for start in range(0, len(rows), _AT_ONCE)]


def _nearest_mean(batch: Batch, ways: int) -> list[float]:
    """Answer with the class whose mean picture is nearest, pixel by pixel."""
    support, query = batch[SUPPORT_INPUT].flatten(2), batch[QUERY_INPUT].flatten(2)
    label = batch[SUPPORT_TARGET][0]
    mean = torch.stack([support[:, label == k].mean(1) for k in range(ways)], 1)  # [B, ways, D]
    answer = torch.cdist(query, mean).argmin(-1)
    return (answer == batch[QUERY_TARGET]).float().mean(1).tolist()


def _mean(values: Sequence[float]) -> dict[str, Any]:
    return {
        'value': float(np.mean(values)),
        'count': len(values),
        'interval_95': list(mean_interval(values)),
    }


def _print(result: Mapping[str, Any]) -> None:
    columns = list(dict.fromkeys(key for row in result['rows'] for key in row))
    table = Table(box=box.SIMPLE, title='on unseen tasks, with 95 % intervals')
    for index, column in enumerate(columns):
        table.add_column(column, justify='right' if index else 'left')
    for row in result['rows']:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    console().print(table)


def _cell(score: Any) -> str:
    if not isinstance(score, Mapping):
        return '' if score is None else str(score)
    low, high = score['interval_95']
    return f'{score["value"]:.4g} ({low:.4g}–{high:.4g})'
