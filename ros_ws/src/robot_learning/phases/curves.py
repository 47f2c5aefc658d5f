"""Training curves for TensorBoard."""

from __future__ import annotations

import math
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from robot_learning.errors import StoreError
from robot_learning.phases.trainer import Progress


class Curves:
    """Writes every finite number of a progress report over the update count."""

    def __init__(self, folder: Path):
        """Make the folder.

        Raises:
            StoreError: it cannot be written.
        """
        try:
            self._writer = SummaryWriter(str(folder), flush_secs=10)
        except OSError as error:
            raise StoreError(
                f'{folder}: cannot be written ({error.strerror}). Choose another output folder.'
            ) from error

    def write(self, progress: Progress) -> None:
        """Add one point to each curve; waiting adds none."""
        for name, value in points(progress).items():
            if math.isfinite(value):
                self._writer.add_scalar(name, value, progress.update)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def points(progress: Progress) -> dict[str, float]:
    """Return what a progress report adds to curves, by name; nothing while waiting."""
    if progress.state == 'waiting':
        return {}
    return {
        **progress.metrics,
        'trainer/updates_per_second': progress.updates_per_second,
        'trainer/train_ratio': progress.train_ratio,
        'trainer/environment_step': float(progress.environment_step),
    }
