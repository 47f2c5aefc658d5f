"""The part of `evaluate` that scores an intent model on commands it has not learned from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from robot_learning.commands import intent_data
from robot_learning.commands.report_output import console
from robot_learning.language.command_files import Labelled
from robot_learning.language.intent_mapping import is_mapped, mapped
from robot_learning.language.intent_scores import (
    OUT_OF_SCOPE_NAMES,
    bootstrap,
    expected_calibration_error,
)
from robot_learning.language.intents import INTENTS
from robot_learning.proportions import share
from robot_learning.serving.intent import IntentModel, Prediction, build_intent_model

Array = np.ndarray[Any, Any]
_COLUMNS = ('commands', 'accuracy', 'macro_f1', 'slot_f1', 'out_of_scope_recall')
_Rows = Sequence[tuple[Labelled, Prediction]]


def evaluate_intent(
    tensors: Mapping[str, Array],
    manifest: Mapping[str, Any],
    where: str,
    data: Sequence[Path],
    pictures: Path | None,
) -> dict[str, Any]:
    """Print how well commands are understood and return everything as plain data.

    A model of the robot's intents is measured on public corpora under these, see
    `language/intent_mapping.py`.

    Args:
        tensors: of the version.
        manifest: of the version.
        where: what to call the version.
        data: files of commands, or sets by name.
        pictures: folder for a PNG of the confusions; None: none is drawn.

    Raises:
        DataError: a file is broken, or holds nothing that can be used.
        ModelRefusedError: the version is no intent model.
    """
    model = build_intent_model(tensors, manifest, where)
    commands = [command for path in data for command in intent_data.read(path)[0]]
    is_robot = set(model.spec.intents) <= set(INTENTS) and not is_mapped(commands)
    used = mapped(commands) if is_robot else commands
    rows, seconds = _answers(model, used)
    sources = sorted({command.source for command in used})
    result = {
        'data': [str(path) for path in data],
        'is_mapped': is_robot,
        'num_left_out': len(commands) - len(used),
        'all': scores(rows, model.spec.intents),
        'by_source': {
            source: scores([row for row in rows if row[0].source == source], model.spec.intents)
            for source in (sources if len(sources) > 1 else [])
        },
        'latency_ms': {
            'p50': 1e3 * float(np.percentile(seconds, 50)),
            'p99': 1e3 * float(np.percentile(seconds, 99)),
        },
        **_confusion(rows, where, pictures),
    }
    _print(result)
    return result


def scores(rows: _Rows, known: Sequence[str]) -> dict[str, Any]:
    """Return every score of answers beside what was meant, each with count and 95 % interval.

    Args:
        rows: commands with their answers.
        known: intents that the model can answer with.
    """
    meant = [_scope(command.intent) for command, _ in rows]
    best = [_scope(answer.guess) for _, answer in rows]
    is_right = np.array([m == b for m, b in zip(meant, best, strict=True)])
    is_known = np.array([command.intent in known for command, _ in rows])
    is_outside = np.array([m in OUT_OF_SCOPE_NAMES for m in meant])
    is_refused = np.array([answer.name in OUT_OF_SCOPE_NAMES for _, answer in rows])
    confidence = np.array([answer.confidence for _, answer in rows])
    marked = [(c.spans, a.spans) for c, a in rows if c.has_slots]
    return {
        'commands': len(rows),
        'accuracy': share(is_right),
        'accuracy_of_known_intents': share(is_right[is_known]),
        'in_scope_accuracy': share((is_right & ~is_refused)[~is_outside]),
        'out_of_scope_recall': share(is_refused[is_outside]),
        'macro_f1': _resampled(_macro_f1(meant, best), len(rows)),
        'slot_f1': _resampled(_slot_f1(marked), len(marked)),
        'calibration_error': _resampled(
            lambda rows: expected_calibration_error(confidence[rows], is_right[rows]), len(rows)
        ),
    }


def _answers(
    model: IntentModel, commands: Sequence[Labelled]
) -> tuple[list[tuple[Labelled, Prediction]], list[float]]:
    rows, seconds = [], []
    for command in commands:
        started = time.perf_counter()
        answer = model.predict(command.text)
        seconds.append(time.perf_counter() - started)
        rows.append((command, answer))
    return rows, seconds


def _scope(intent: str) -> str:
    return OUT_OF_SCOPE_NAMES[0] if intent in OUT_OF_SCOPE_NAMES else intent


def _resampled(statistic: Callable[[Array], float], count: int) -> dict[str, Any] | None:
    if not count or not math.isfinite(statistic(np.arange(count))):
        return None
    found = bootstrap(statistic, count)
    return {'value': found.value, 'count': count, 'interval_95': [found.low, found.high]}


def _macro_f1(meant: Sequence[str], answered: Sequence[str]) -> Callable[[Array], float]:
    """Return macro F1 of rows; the same as `macro_f1`, fast enough for resampling."""
    names, codes = np.unique([*meant, *answered], return_inverse=True)
    true, found = codes[: len(meant)], codes[len(meant) :]

    def score(rows: Array) -> float:
        t, f = true[rows], found[rows]
        hits, there, said = (np.bincount(part, minlength=len(names)) for part in (t[t == f], t, f))
        return float(np.mean((2 * hits / np.maximum(there + said, 1))[there > 0]))

    return score


def _slot_f1(marked: Sequence[tuple[Any, Any]]) -> Callable[[Array], float]:
    counts = np.array([(len(set(m) & set(f)), len(m) + len(f)) for m, f in marked], float).reshape(
        -1, 2
    )

    def score(rows: Array) -> float:
        both, every = counts[rows].sum(0)
        return float(2 * both / every) if every else math.nan

    return score


def _confusion(rows: _Rows, where: str, pictures: Path | None) -> dict[str, Any]:
    pairs = [(_scope(command.intent), _scope(answer.guess)) for command, answer in rows]
    labels = sorted({name for pair in pairs for name in pair})
    place = {label: number for number, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), int)
    for meant, found in pairs:
        counts[place[meant], place[found]] += 1
    drawn = []
    if pictures is not None:
        from robot_learning.evaluation.confusion_pictures import write_confusion

        pictures.mkdir(parents=True, exist_ok=True)
        path = pictures / f'{where.replace("@", "-")}-confusion.png'
        write_confusion(path, labels, counts, f'{where}: {len(rows)} commands')
        print(f'drawn: {path}')
        drawn.append(str(path))
    return {'labels': labels, 'confusion': counts.tolist(), 'pictures': drawn}


def _print(result: Mapping[str, Any]) -> None:
    table = Table(box=box.SIMPLE, title='on commands, with 95 % intervals')
    table.add_column('source')
    for column in _COLUMNS:
        table.add_column(column.replace('_', ' '), justify='right')
    for name, found in (('all', result['all']), *result['by_source'].items()):
        table.add_row(name, *(_cell(found[column]) for column in _COLUMNS))
    console().print(table)
    if result['num_left_out']:
        print(f'{result["num_left_out"]} commands have no intent of the robot and are left out.')


def _cell(score: Any) -> str:
    if not isinstance(score, Mapping):
        return '' if score is None else str(score)
    low, high = score['interval_95']
    return f'{score["value"]:.3f} ({low:.3f}–{high:.3f})'
