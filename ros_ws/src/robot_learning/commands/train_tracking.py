"""Where the curves of one training go: TensorBoard's files, and where asked for wandb too."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from robot_learning.phases.trainer import Progress
    from robot_learning.phases.training_session import Destination

TRACKERS = ('tensorboard', 'wandb')


class _Writer(Protocol):
    def write(self, progress: Progress) -> None: ...

    def close(self) -> None: ...


class Tracking:
    """Writes to all of them; the report is drawn from TensorBoard's files."""

    def __init__(self, writers: list[_Writer]):
        self._writers = writers

    def write(self, progress: Progress) -> None:
        """Add one point to each curve; waiting adds none."""
        for writer in self._writers:
            writer.write(progress)

    def close(self) -> None:
        """Write and send what is left."""
        for writer in self._writers:
            writer.close()


def begin(
    options: argparse.Namespace, destination: Destination, phase: str, settings: Any
) -> Tracking:
    """Open the curves of a phase.

    Args:
        options: of `train`.
        destination: has an output folder.
        phase: its name.
        settings: of the phase, a dataclass, to show beside its curves.

    Raises:
        ConfigError: wandb is not installed.
        StoreError: a folder cannot be written, or wandb cannot begin a run.
    """
    from robot_learning.phases.publishing import plain

    writers: list[_Writer] = []
    if options.track == 'wandb':  # Its mistakes come before anything is written.
        from robot_learning.phases.wandb_curves import WandbCurves

        assert destination.output is not None, 'there is an output folder'
        source = options.env or [str(path) for path in options.data or []]
        content = {'phase': phase, 'source': source, 'seed': options.seed, **plain(settings)}
        name = f'{destination.model_name}-{phase}'
        writers.append(WandbCurves(destination.output, name, content))
    curves = destination.curves(phase)
    assert curves is not None, 'there is an output folder'
    return Tracking([curves, *writers])
