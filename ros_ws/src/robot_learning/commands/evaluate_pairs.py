"""The part of `evaluate` that scores a classifier of labelled states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from robot_learning.commands.report_output import console
from robot_learning.errors import DataError
from robot_learning.proportions import wilson_interval
from robot_learning.serving.choice_policy import build_choice_policy

Array = np.ndarray[Any, Any]

_SYNTHETIC_SEED = 1_000_000  # Beyond those of learning.
_NUM_SYNTHETIC = 2000


def evaluate_pairs(
    tensors: Mapping[str, Array], manifest: Mapping[str, Any], where: str, data: Sequence[Path]
) -> dict[str, Any]:
    """Print how many labels are right and return everything as plain data.

    Args:
        tensors: of the version.
        manifest: of the version.
        where: what to call the version.
        data: files of pairs, or `synthetic`.

    Raises:
        DataError: a file is broken, or its states or labels are others.
    """
    from robot_learning.trajectory.labelled_pairs import LabelledPairs, read_pairs
    from robot_learning.trajectory.synthetic_pairs import synthetic_pairs

    policy = build_choice_policy(tensors, manifest, where)
    labels = [str(label) for label in policy.labels]
    confusion = np.zeros((len(labels), len(labels)), int)  # True label, answer.
    for path in data:
        pairs: LabelledPairs = (
            synthetic_pairs(_NUM_SYNTHETIC, _SYNTHETIC_SEED)
            if str(path) == 'synthetic'
            else read_pairs(path)
        )
        _check(pairs, policy.spec.input_size, labels, where)
        theirs = [labels.index(str(label)) for label in pairs.labels]
        for state, action in zip(pairs.states, pairs.actions, strict=True):
            answer = labels.index(str(policy.choose(state).label))
            confusion[theirs[int(action)], answer] += 1
    total, right = int(confusion.sum()), int(np.trace(confusion))
    low, high = wilson_interval(right, total)
    table = Table(box=box.SIMPLE, title='columns: what was answered')
    table.add_column('true label')
    for label in labels:
        table.add_column(label, justify='right')
    for label, counts in zip(labels, confusion.tolist(), strict=True):
        table.add_row(label, *map(str, counts))
    print(f'{right} of {total} rows right: {right / total:.1%} ({low:.1%} to {high:.1%})')
    console().print(table)
    return {
        'num_rows': total,
        'num_right': right,
        'accuracy': right / total,
        'accuracy_interval_95': [low, high],
        'labels': labels,
        'confusion': confusion.tolist(),
        'data': [str(path) for path in data],
    }


def _check(pairs: Any, input_size: int, labels: Sequence[str], where: str) -> None:
    if pairs.states.shape[1] != input_size:
        raise DataError(
            f'{pairs.source}: states have {pairs.states.shape[1]} numbers, {where} expects '
            f'{input_size}. Name data like those it learned from.'
        )
    unknown = [str(label) for label in pairs.labels if str(label) not in labels]
    if unknown:
        raise DataError(
            f'{pairs.source}: holds the labels {", ".join(unknown)}, {where} knows '
            f'{", ".join(labels)}. Name data like those it learned from.'
        )
