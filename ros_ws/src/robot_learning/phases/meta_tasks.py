"""Few-shot tasks to learn learning from: curves, pictures in classes, robots that differ.

Task number n is always the same: it is drawn from a seed and n. So training may stop and go on
anywhere, and held-out tasks do not change while it learns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from robot_learning.errors import NotEnoughDataError
from robot_learning.models.meta_learner import MetaShape
from robot_learning.phases.phase import Array, Batch
from robot_learning.trajectory.character_files import PictureClasses
from robot_learning.trajectory.driving_examples import Drive

SUPPORT_INPUT, SUPPORT_TARGET = 'support_input', 'support_target'
QUERY_INPUT, QUERY_TARGET = 'query_input', 'query_target'
_WIDEST = np.array([[0.15, 0.15, 0.1], [0.15, 0.15, 0.1]], np.float32)  # Sides are 2 long.


class Tasks(Protocol):
    """As many tasks as one pass takes; rows are tasks."""

    shape: MetaShape

    def __len__(self) -> int:
        """Number of tasks."""

    def read(self, rows: Array) -> Batch:
        """Return tasks [B, ...]: examples to adapt to, and others to judge that by."""


class Shots(NamedTuple):
    """How many examples a task has; of classifiers, of each class."""

    support: int  # To adapt to.
    query: int  # To judge by.


class SinusoidTasks:
    """Sine curves of random amplitude 0.1 to 5 and phase 0 to pi over -5 to 5.

    Finn et al. 2017, section 5.1.
    """

    shape = MetaShape((1,), 1)

    def __init__(self, shots: Shots, num_tasks: int, seed: int):
        self._shots, self._num_tasks, self._seed = shots, num_tasks, seed

    def __len__(self) -> int:
        return self._num_tasks

    def read(self, rows: Array) -> Batch:
        """Return curves; inputs and targets [B, N, 1] float32."""
        count = self._shots.support + self._shots.query
        inputs = np.empty((len(rows), count, 1), np.float32)
        targets = np.empty_like(inputs)
        for index, row in enumerate(rows):
            rng = np.random.default_rng([self._seed, int(row)])
            amplitude, phase = rng.uniform(0.1, 5.0), rng.uniform(0, math.pi)
            inputs[index] = rng.uniform(-5, 5, (count, 1))
            targets[index] = amplitude * np.sin(inputs[index] - phase)
        return _parted(torch.from_numpy(inputs), torch.from_numpy(targets), self._shots.support)


class PictureTasks:
    """Some classes, and a few pictures of each, drawn at random.

    Args:
        data: pictures and their classes.
        num_classes: that a task tells apart (N-way).
        shots: pictures of each class (K-shot).
        num_tasks: of one pass.
        seed: of the tasks.
        turns: whether a class turned by 90, 180 or 270 degrees is a class of its own, as in
            Santoro et al. 2016, section 4.1.
        jitter: how far each picture is moved, at most: 1 is a tenth of half its side to each
            side, 0.15 larger or smaller, and as much slanted. 0: not.

    Raises:
        NotEnoughDataError: there are fewer classes, or fewer pictures of one, than a task has.
    """

    def __init__(
        self,
        data: PictureClasses,
        num_classes: int,
        shots: Shots,
        num_tasks: int,
        seed: int,
        turns: bool = False,
        jitter: float = 0.0,
    ):
        needed = shots.support + shots.query
        rows = data.rows_of_classes()
        self._rows = [found for found in rows if len(found) >= needed]
        num_turns = 4 if turns else 1
        if len(self._rows) * num_turns < num_classes:
            raise NotEnoughDataError(
                f'{data.source}: {len(self._rows)} of {len(rows)} classes have {needed} pictures '
                f'or more, a task needs {num_classes} such classes. Name more data, or lower '
                f'ways, shots or queries.'
            )
        size, channels = data.images.shape[1], data.images.shape[3]
        self.shape = MetaShape((channels, size, size), 0, num_classes)
        self._images, self._num_classes, self._shots = data.images, num_classes, shots
        self._num_tasks, self._seed, self._num_turns = num_tasks, seed, num_turns
        self._jitter = jitter

    def __len__(self) -> int:
        return self._num_tasks

    def read(self, rows: Array) -> Batch:
        """Return tasks: inputs [B, N, C, H, W] in [0, 1], targets [B, N] classes."""
        support, query = self._shots
        drawn = [self._draw(int(row)) for row in rows]  # [classes, support + query, H, W, C] each
        images = torch.from_numpy(np.stack(drawn)).permute(0, 1, 2, 5, 3, 4)
        images = images.contiguous().float().div_(255)
        if self._jitter:
            images = _moved(images, torch.from_numpy(self._moves(rows)))
        labels = torch.arange(self._num_classes).expand(len(rows), -1)
        return {
            SUPPORT_INPUT: images[:, :, :support].flatten(1, 2),
            SUPPORT_TARGET: labels.repeat_interleave(support, 1),
            QUERY_INPUT: images[:, :, support:].flatten(1, 2),
            QUERY_TARGET: labels.repeat_interleave(query, 1),
        }

    def _moves(self, rows: Array) -> Array:
        """Return the change of the map of places [N, 2, 3] of every picture of these tasks."""
        count = self._num_classes * sum(self._shots)
        moves = [
            np.random.default_rng([self._seed, int(row), 1]).uniform(-1, 1, (count, 2, 3))
            for row in rows
        ]
        return np.concatenate(moves).astype(np.float32) * (self._jitter * _WIDEST)

    def _draw(self, number: int) -> Array:
        rng = np.random.default_rng([self._seed, number])
        total = len(self._rows) * self._num_turns
        pictures = []
        for chosen in rng.choice(total, self._num_classes, replace=False):
            index, turn = divmod(int(chosen), self._num_turns)
            own = rng.choice(self._rows[index], sum(self._shots), replace=False)
            pictures.append(np.rot90(self._images[own], turn, axes=(1, 2)))
        return np.stack(pictures)


class DriveTasks:
    """Adapt to some seconds of a robot's driving, and foretell what it does afterwards.

    Args:
        drives: one per robot; each has friction, payload, motors and wheels of its own.
        shots: examples to adapt to, one after the other, and later ones to judge by.
        num_tasks: of one pass.
        seed: of the tasks.

    Raises:
        NotEnoughDataError: no drive is long enough.
    """

    def __init__(self, drives: Sequence[Drive], shots: Shots, num_tasks: int, seed: int):
        needed = sum(shots)
        self._drives = [drive for drive in drives if len(drive.inputs) >= needed]
        if not self._drives:
            raise NotEnoughDataError(
                f'drives: none of {len(drives)} has {needed} control steps or more, expected one '
                f'at least. Record longer or more robots, or lower shots or queries.'
            )
        first = self._drives[0]
        self.shape = MetaShape(first.inputs.shape[1:], first.targets.shape[1])
        self._shots, self._num_tasks, self._seed = shots, num_tasks, seed

    def __len__(self) -> int:
        return self._num_tasks

    def statistics(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return mean and deviation of inputs [D], then of targets [O]."""
        found = []
        for name in ('inputs', 'targets'):
            rows = np.concatenate([getattr(drive, name) for drive in self._drives])
            deviation = np.maximum(rows.std(0), 1e-4)
            found += [torch.from_numpy(rows.mean(0)), torch.from_numpy(deviation)]
        return found[0], found[1], found[2], found[3]

    def read(self, rows: Array) -> Batch:
        """Return tasks: inputs [B, N, D], targets [B, N, O] float32."""
        inputs, targets = [], []
        for row in rows:
            rng = np.random.default_rng([self._seed, int(row)])
            drive = self._drives[rng.integers(len(self._drives))]
            start = rng.integers(len(drive.inputs) - sum(self._shots) + 1)
            part = slice(start, start + sum(self._shots))
            inputs.append(drive.inputs[part])
            targets.append(drive.targets[part])
        joined = torch.from_numpy(np.stack(inputs)), torch.from_numpy(np.stack(targets))
        return _parted(*joined, self._shots.support)


def _moved(images: Tensor, change: Tensor) -> Tensor:
    """Shift, scale and slant pictures [..., C, H, W]; their edges go on outwards."""
    flat = images.flatten(0, -4)  # [N, C, H, W]
    grid = F.affine_grid(torch.eye(2, 3) + change, list(flat.shape), align_corners=False)
    moved = F.grid_sample(flat, grid, padding_mode='border', align_corners=False)
    return moved.reshape(images.shape)


def _parted(inputs: Tensor, targets: Tensor, support: int) -> dict[str, Tensor]:
    return {
        SUPPORT_INPUT: inputs[:, :support],
        SUPPORT_TARGET: targets[:, :support],
        QUERY_INPUT: inputs[:, support:],
        QUERY_TARGET: targets[:, support:],
    }
