"""Video for training: from whatever holds it to batches of windows."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError  # What torch raises; nothing is read with that module.
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robot_learning import foreign_files
from robot_learning.contract import RobotContract
from robot_learning.errors import DataError
from robot_learning.foreign_files import Refusal
from robot_learning.phases.phase import Array, Batch
from robot_learning.trajectory.datasets import read_episodes
from robot_learning.trajectory.dmc_video import DMCVideoDataset, episodes_of_arrays
from robot_learning.trajectory.episode import Episode

_TENSOR_FILES = ('.pt', '.pth')
_PERIOD_NS = 50_000_000  # Of tensor files, which do not say how fast steps follow.
_REFUSE = Refusal(DataError, 'Name a file that torch.save wrote of plain tensors.')


class VideoWindows:
    """A data set as the batches that training in passes reads."""

    def __init__(self, dataset: DMCVideoDataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, rows: Array) -> Batch:
        """Return windows, [B, T, ...] each."""
        windows = [self.dataset[int(row)] for row in rows]
        return {
            name: torch.from_numpy(np.stack([window[name] for window in windows]))
            for name in windows[0]
        }


def read_videos(
    paths: Sequence[Path], camera: str, contract: RobotContract | None = None
) -> list[Episode]:
    """Read stores, segments, HDF5 files, data sets of others, bags and tensor files.

    Args:
        paths: of the data.
        camera: name of the field of pictures; no other is read.
        contract: of the robot; only bags need it.

    Raises:
        DataError: there is nothing readable, or it has no such field.
    """
    episodes: list[Episode] = []
    for path in paths:
        if path.suffix in _TENSOR_FILES:
            episodes += read_tensors(path)
        else:
            episodes += _with_field(path, camera, contract)
    return episodes


def read_tensors(path: Path) -> list[Episode]:
    """Read a file of `torch.save`: one mapping of tensors, or a list of one per episode.

    Nothing but tensors and plain containers is unpickled (`weights_only`). See
    `episodes_of_arrays` for the names and shapes.

    Raises:
        DataError: it holds anything else.
    """
    foreign_files.check_zip(path, _REFUSE)
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise _REFUSE(
            path, f'cannot be read safely ({foreign_files.printable(reason)})'
        ) from error
    pieces = [content] if isinstance(content, Mapping) else content
    if not isinstance(pieces, list | tuple) or not all(map(_is_table, pieces)):
        raise _REFUSE(path, 'holds no mapping of names to tensors')
    found = [
        episodes_of_arrays(
            f'{path}[{number}]', {k: _array(v) for k, v in piece.items()}, _PERIOD_NS
        )
        for number, piece in enumerate(pieces)
    ]
    return list(itertools.chain.from_iterable(found))


def _with_field(path: Path, camera: str, contract: RobotContract | None) -> list[Episode]:
    try:
        return list(read_episodes(path, contract, (camera,)))
    except KeyError as error:
        raise DataError(
            f'{path}: has no field {camera!r}. Record pictures (collect --dmc, or --camera), or '
            f'name the field that holds them.'
        ) from error


def _is_table(piece: Any) -> bool:
    return isinstance(piece, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in piece.items()
    )


def _array(tensor: Tensor) -> Array:
    return np.asarray((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy())
