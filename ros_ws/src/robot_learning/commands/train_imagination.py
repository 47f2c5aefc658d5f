"""What a world model that was just trained expects to see on held-out episodes."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from robot_learning.commands.train_metrics import counted
from robot_learning.contract import RobotContract

if TYPE_CHECKING:
    from robot_learning.evaluation.run_record import Table
    from robot_learning.evaluation.training_report import Picture
    from robot_learning.trajectory.episode import Episode

_CONTEXT = 5  # Steps that the model sees before it imagines.
_HORIZONS = (50, 25, 10, 5)  # The longest one that the data allows.
_MOST_STRETCHES = 32
_NO_ERROR = 1e-6  # Of persistence: nothing moved.


class Imagination(NamedTuple):
    """For the report; `missing` says why there is nothing else."""

    table: Table | None = None
    note: str = ''
    pictures: Sequence[Picture] = ()
    missing: str = ''


def imagine(
    tensors: Mapping[str, Any],
    manifest: Mapping[str, Any],
    contract: RobotContract,
    episodes: Sequence[Episode],
) -> Imagination:
    """Measure and draw open-loop prediction.

    Args:
        tensors: of a version of kind world_model.
        manifest: of the version.
        contract: of the robot.
        episodes: that it has not learned from.
    """
    import numpy as np
    import torch

    from robot_learning.evaluation.open_loop import errors, open_loop, stretches
    from robot_learning.models.world_model import WorldModel

    weights = {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
    model = WorldModel.from_published(weights, manifest.get('policy') or {}, 'the world model')
    model.requires_grad_(False).eval()
    for horizon in _HORIZONS:
        found = stretches(episodes, contract, tuple(model.images), _CONTEXT + horizon)
        pieces = list(itertools.islice(found, _MOST_STRETCHES))
        if pieces:
            break
    else:
        return Imagination(
            missing=f'No held-out episode has {_CONTEXT + _HORIZONS[-1]} steps without a gap: '
            f'nothing was imagined. Record longer, or hold out more.'
        )
    runs = open_loop(model, pieces, _CONTEXT, torch.Generator().manual_seed(0))
    stretch = counted(len(runs), 'held-out stretch', 'held-out stretches')
    return Imagination(
        _table(errors(runs), len(runs) == 1),
        f'{stretch}: the model sees {_CONTEXT} steps and imagines {horizon} more from the actions '
        f'alone. Persistence repeats what was seen last; below a ratio of 1 the model knows more.',
        _pictures(runs[0], contract),
    )


def _table(rows: Sequence[Any], is_alone: bool) -> Table:
    from robot_learning.evaluation.run_record import Table

    return Table(
        ['predicted', 'steps ahead', 'error', 'persistence', 'ratio', '95 %'],
        [
            [
                row.name,
                str(row.horizon),
                f'{row.model:.4f}',
                f'{row.persistence:.4f}',
                *_compared(row, is_alone),
            ]
            for row in rows
        ],
    )


def _compared(row: Any, is_alone: bool) -> tuple[str, str]:
    """Write the ratio and its interval; what never moves is repeated without error."""
    if row.persistence < _NO_ERROR:
        return '–', '–'
    low, high = row.interval
    return f'{row.ratio:.2f}', '–' if is_alone else f'{low:.2f}–{high:.2f}'


def _pictures(run: Any, contract: RobotContract) -> list[Picture]:
    from robot_learning.evaluation import open_loop_pictures
    from robot_learning.evaluation.training_report import Picture

    title = 'A held-out stretch: seen and imagined'
    with tempfile.TemporaryDirectory() as folder:
        strip, film = Path(folder) / 'strip.png', Path(folder) / 'film.gif'
        open_loop_pictures.write_strip(strip, run, title, contract)
        open_loop_pictures.write_film(film, run, title, contract)
        return [
            Picture('Seen and imagined over time', strip.read_bytes()),
            Picture('The same, step by step', film.read_bytes()),
        ]
