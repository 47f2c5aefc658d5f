"""The part of `evaluate` that shows what a world model expects to see."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from robot_learning.commands.report_output import console
from robot_learning.contract import RobotContract
from robot_learning.features import FeatureBuilder

CONTEXT = 5  # Steps that the model sees before it imagines.
_HORIZONS = (50, 25, 10, 5)  # Steps to imagine: the first for which the data is long enough.
_MOST_STRETCHES = 64
_PICTURES = 3  # Stretches that are drawn.


def evaluate_world_model(
    tensors: Mapping[str, Any],
    manifest: Mapping[str, Any],
    contract: RobotContract,
    where: str,
    data: Sequence[Path],
    horizon: int | None,
    pictures: Path | None,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure open-loop prediction on recordings, draw it, and return plain data.

    Args:
        tensors: of the version.
        manifest: of the version.
        contract: of the robot.
        where: what to call the version.
        data: recordings it has not learned from.
        horizon: steps to imagine; None: 50, or fewer where all episodes are too short for that.
        pictures: folder for PNG and GIF; None: none are drawn.
        seed: of drawn futures and of resampling.

    Raises:
        ModelRefusedError: the version holds no world model.
        NotEnoughDataError: no stretch of the data is long enough.
    """
    import torch

    from robot_learning.evaluation.open_loop import errors, open_loop, stretches
    from robot_learning.models.world_model import WorldModel
    from robot_learning.trajectory.datasets import read_episodes

    weights = {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
    model = WorldModel.from_published(weights, manifest.get('policy') or {}, where)
    model.requires_grad_(False).eval()
    fields = (*FeatureBuilder(contract).fields, *model.images)
    pieces: list[dict[str, Any]] = []
    for steps in _HORIZONS if horizon is None else (horizon,):
        episodes = (e for path in data for e in read_episodes(path, contract, fields))
        found = stretches(episodes, contract, tuple(model.images), CONTEXT + steps)
        pieces = list(itertools.islice(found, _MOST_STRETCHES))
        if pieces:
            break
    runs = open_loop(model, pieces, CONTEXT, torch.Generator().manual_seed(seed))
    rows = errors(runs, seed=seed)
    table = Table(box=box.SIMPLE, title=f'{len(runs)} stretches, {CONTEXT} steps seen')
    for column in ('predicted', 'steps ahead', 'error', 'persistence', 'ratio', '95 %'):
        table.add_column(column, justify='left' if column == 'predicted' else 'right')
    for row in rows:
        low, high = row.interval
        table.add_row(
            row.name,
            str(row.horizon),
            f'{row.model:.4f}',
            f'{row.persistence:.4f}',
            f'{row.ratio:.2f}' if math.isfinite(row.ratio) else 'nothing moves',
            f'{low:.2f}–{high:.2f}' if math.isfinite(low + high) else '',
        )
    console().print(table)
    return {
        'stretches': len(runs),
        'context': CONTEXT,
        'horizon': runs[0].horizon,
        'errors': [_plain(row) for row in rows],
        'data': [str(path) for path in data],
        'pictures': [] if pictures is None else _draw(runs, pictures, where, contract),
    }


def _plain(row: Any) -> dict[str, Any]:
    """Return a row for JSON, which has no NaN."""
    interval = list(row.interval) if math.isfinite(sum(row.interval)) else None
    ratio = row.ratio if math.isfinite(row.ratio) else None
    return {**row._asdict(), 'ratio': ratio, 'interval': interval}


def _draw(runs: Sequence[Any], folder: Path, where: str, contract: RobotContract) -> list[str]:
    from robot_learning.evaluation import open_loop_pictures

    folder.mkdir(parents=True, exist_ok=True)
    step = max(1, len(runs) // _PICTURES)
    drawn = []
    for number, run in enumerate(runs[::step][:_PICTURES], 1):
        strip, film = folder / f'open_loop_{number}.png', folder / f'open_loop_{number}.gif'
        title = f'{where}: seen and imagined, stretch {number}'
        open_loop_pictures.write_strip(strip, run, title, contract)
        open_loop_pictures.write_film(film, run, title, contract)
        drawn += [str(strip), str(film)]
    print(f'drawn: {", ".join(drawn)}')
    return drawn
