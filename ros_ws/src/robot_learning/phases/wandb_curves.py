"""Training curves for Weights & Biases; its package is not among what `./run` installs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from robot_learning.errors import ConfigError, StoreError
from robot_learning.phases.curves import points
from robot_learning.phases.trainer import Progress


class WandbCurves:
    """Sends every finite number of a progress report over the update count.

    The account, and whether runs are sent or kept (WANDB_MODE=offline), are wandb's own settings.
    """

    def __init__(self, folder: Path, name: str, config: dict[str, Any]):
        """Begin a run.

        Args:
            folder: of wandb's own files.
            name: of the run; a rerun goes on under it.
            config: settings to show with it.

        Raises:
            ConfigError: wandb is not installed.
            StoreError: wandb cannot begin the run.
        """
        try:
            import wandb
        except ImportError as error:
            raise ConfigError(
                '--track wandb: the package wandb is not installed. Install it with '
                '".venv/bin/python -m pip install wandb", or leave --track out.'
            ) from error
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._run = wandb.init(
                project='robot_learning',
                id=name,
                name=name,
                dir=str(folder),
                config=config,
                resume='allow',
            )
        except Exception as error:  # wandb raises classes of its own, by version.
            raise StoreError(
                f'--track wandb: no run could be begun ({error}). Log in with "wandb login", or '
                f'set WANDB_MODE=offline.'
            ) from error

    def write(self, progress: Progress) -> None:
        """Add one point to each curve; waiting adds none."""
        values = {name: v for name, v in points(progress).items() if math.isfinite(v)}
        if values:
            self._run.log(values, step=progress.update)

    def close(self) -> None:
        """Send what is left."""
        self._run.finish()
