"""The report that `train` leaves: `<output>/reports/<name>-<phase>.html`."""

from __future__ import annotations

import argparse
import datetime
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_learning.commands.machine_description import machine
from robot_learning.commands.train_metrics import counted, leading

if TYPE_CHECKING:
    from robot_learning.commands.train_imagination import Imagination
    from robot_learning.evaluation.run_record import Table
    from robot_learning.phases.training_session import Destination

_MOST_CURVES = 16


def write_report(
    options: argparse.Namespace,
    destination: Destination,
    settings: Any,
    result: Mapping[str, Any],
    imagination: Imagination | None = None,
) -> Path:
    """Write the report of one training and say where it is.

    Args:
        options: of `train`; `arguments` are those that it was called with.
        destination: where the training put its results.
        settings: of the phase, a dataclass.
        result: what the training returns.
        imagination: of a world model: what it expects on held-out episodes.
    """
    from robot_learning.evaluation.training_curves import in_order, read_curves
    from robot_learning.evaluation.training_report import (
        TrainingRecord,
        write_training_report,
    )

    assert destination.output is not None, 'there is an output folder'
    name, phase = str(result['model']), str(result['phase'])
    folder = destination.output / 'tensorboard' / f'{name}-{phase}'
    record = TrainingRecord(
        title=f'{phase}: {name}',
        verdict=_verdict(result),
        lead=_lead(result),
        key_numbers=_key_numbers(result),
        curves=in_order(read_curves(folder), leading(phase), _MOST_CURVES),
        measured=_measured(result),
        measured_on=_measured_on(result),
        imagined=imagination.table if imagination else None,
        imagined_note=imagination.note if imagination else '',
        pictures=imagination.pictures if imagination else (),
        settings=_settings(settings),
        commands=_commands(options, destination, result),
        provenance=_provenance(result),
        notes=[imagination.missing] if imagination and imagination.missing else [],
    )
    path = destination.output / 'reports' / f'{name}-{phase}.html'
    write_training_report(path, record)
    print(f'report: {path}')
    return path


def _verdict(result: Mapping[str, Any]) -> str:
    metrics = result['metrics']
    if 'evaluation' in result:
        returns = result['evaluation']['returns']
        return f'Return {_mean(returns)} in {len(returns)} episodes without exploration'
    if 'held_out/accuracy' in metrics:
        return f'{metrics["held_out/accuracy"]:.1%} of held-out rows right'
    if 'held_out/explained_variance' in metrics:
        share = metrics['held_out/explained_variance']
        return f'{share:.0%} of what varies in held-out actions explained'
    if 'held_out/loss' in metrics:
        return f'Loss {metrics["held_out/loss"]:.4g} on held-out episodes'
    return counted(result['update'], 'update')


def _lead(result: Mapping[str, Any]) -> str:
    if 'environment' in result:
        where = f'acting in {result["environment"]}'
        return f'{result["phase"]} learned {where}, {result["num_envs"]} side by side.'
    held, trained = result['held_out'], result['training']
    unit = 'row' if 'rows' in trained else 'episode'
    learned, kept = (counted(part[f'{unit}s'], unit) for part in (trained, held))
    return (
        f'{result["phase"]} learned from {learned} of {", ".join(result["data"])}; measured is '
        f'on {kept} more that no update saw.'
    )


def _key_numbers(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    numbers = [(str(result['update']), 'updates')]
    if 'epoch' in result:
        numbers.append((str(result['epoch']), 'epochs'))
    if result.get('environment_step'):
        numbers.append((str(result['environment_step']), 'environment steps'))
    numbers.append((f'{result["wall_s"]:.0f} s', 'of training'))
    if result['version'] is not None:
        numbers.append((f'{result["model"]}@{result["version"]}', 'newest version'))
    return numbers


def _measured(result: Mapping[str, Any]) -> Table | None:
    from robot_learning.evaluation.run_record import Table

    if 'evaluation' in result:
        returns = result['evaluation']['returns']
        rows = [
            [str(len(returns)), _mean(returns), f'{min(returns):.4g}', f'{max(returns):.4g}'],
        ]
        return Table(['episodes', 'return, mean with 95 %', 'lowest', 'highest'], rows)
    held = {
        name.removeprefix('held_out/'): value
        for name, value in result['metrics'].items()
        if name.startswith('held_out/')
    }
    if not held:
        return None
    return Table(
        ['measure', 'value'],
        [[name.replace('_', ' '), f'{value:.5g}'] for name, value in held.items()],
    )


def _measured_on(result: Mapping[str, Any]) -> str:
    if 'evaluation' in result:
        return 'Episodes with seeds that learning never used, without exploration.'
    held = result['held_out']
    if 'rows' in held:
        return f'On {held["rows"]} held-out rows, at the end.'
    episodes = counted(held['episodes'], 'held-out episode')
    return f'On {episodes}, {counted(held["steps"], "step")}, at the end.'


def _mean(values: Sequence[float]) -> str:
    """Write a mean with its 95 % interval, by Student's t."""
    from robot_learning.evaluation.means import mean_interval

    low, high = mean_interval(values)
    mean = sum(values) / len(values)
    if not math.isfinite(low):
        return f'{mean:.4g}'
    return f'{mean:.4g} ({low:.4g} to {high:.4g})'


def _settings(settings: Any) -> list[tuple[str, str]]:
    from robot_learning.phases.publishing import plain

    return [(name, _text(value)) for name, value in plain(settings).items()]


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        given = {name: entry for name, entry in value.items() if entry is not None}
        return ', '.join(f'{name} {_text(entry)}' for name, entry in given.items())
    if isinstance(value, list):
        return ', '.join(_text(entry) for entry in value) or 'none'
    return 'none' if value is None else str(value)


def _commands(
    options: argparse.Namespace, destination: Destination, result: Mapping[str, Any]
) -> list[tuple[str, str]]:
    name, phase = result['model'], result['phase']
    models = shlex.quote(str(destination.models))
    data = ' '.join(f'--data {shlex.quote(str(path))}' for path in options.data or [])
    pairs = [('Go on from here', shlex.join(['./run', 'train', *options.arguments]))]
    score = f'./run evaluate --model {name} --models {models}'
    if phase == 'world_model':
        pictures = shlex.quote(str(destination.models.parent / 'imagined'))
        pairs.append(('See what it imagines', f'{score} {data} --pictures {pictures}'))
    elif result.get('robot'):
        if data:
            pairs.append(('Compare with recorded actions', f'{score} {data}'))
        pairs += [
            ('Drive unseen layouts of the embedded world', score),
            (
                'Watch it drive in real time, without learning',
                f'./run up --only simulator,policy --models {models} --model-name {name} '
                f'--mode real_time --explore false',
            ),
        ]
    pairs += [
        ('Its versions', f'./run models show {name} --models {models}'),
        ('All curves', f'tensorboard --logdir {destination.output}/tensorboard'),
    ]
    return pairs


def _provenance(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    from robot_learning.phases.publishing import code_version

    described = machine()
    written = datetime.datetime.now().astimezone().isoformat(timespec='seconds')
    source = result.get('environment') or ', '.join(result['data'])
    pairs = [('source', source), ('seed', str(result['seed']))]
    if result.get('robot'):
        pairs.append(('robot', f'{result["robot"]}, contract {result["contract_hash"]}'))
    return [
        *pairs,
        ('code', code_version()),
        (
            'machine',
            f'{described["cpu"]}, {described["usable_cores"]} cores, {described["system"]}',
        ),
        ('python', described['python']),
        ('written', written),
    ]
