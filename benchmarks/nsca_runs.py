"""What the NSCA benchmarks share: a phase trained in memory, and its latents."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'ros_ws' / 'src'))

from robot_learning.evaluation.nsca_features import latents_of  # noqa: E402
from robot_learning.models.nsca.published import Published, load_published  # noqa: E402
from robot_learning.phases import cpu  # noqa: E402
from robot_learning.phases.devices import CPU  # noqa: E402
from robot_learning.phases.nsca_data import PairedBatches  # noqa: E402
from robot_learning.phases.passes import Origin, Passes  # noqa: E402
from robot_learning.phases.passes_config import PassesConfig  # noqa: E402
from robot_learning.phases.publishing import plain  # noqa: E402
from robot_learning.trajectory.paired_data import PairedSet  # noqa: E402

DATA = Path(os.environ.get('ROBOT_LEARNING_DATA', ROOT.parent / 'shared' / 'data'))
Array = np.ndarray[Any, Any]


class Run(NamedTuple):
    """One training."""

    published: Published
    cpu_s: float
    wall_s: float
    device: str
    updates: int
    waited_share: float  # Of the time, for data.


def pretrained(
    make: Callable[[], Any],
    training: PairedSet,
    held_out: PairedSet,
    modality: Any,
    passes: PassesConfig,
    seed: int,
    device: torch.device = CPU,
) -> Run:
    """Train a phase from scratch, on one thread or a GPU; its last weights count.

    Args:
        make: the objective; weights are drawn from `seed`.
        training: to learn from.
        held_out: whose collapse is watched.
        modality: 'image' or 'sound'.
        passes: of the training.
        seed: of weights, order and noise.
        device: where it computes.
    """
    cpu.settle()
    torch.manual_seed(seed)
    objective = make()
    objective.module.to(device)
    learner = Passes(
        objective,
        PairedBatches(training, [modality]),
        PairedBatches(held_out, [modality]),
        passes,
        None,
        None,
        Origin([training.report.where]),
        seed,
        device,
    )
    begun = time.process_time()
    progress = learner.run()
    cpu_s = time.process_time() - begun
    waited = float(progress.metrics['trainer/waited_share'])
    name = str(device) if device == CPU else torch.cuda.get_device_name(device)
    return Run(published(objective), cpu_s, progress.wall_s, name, progress.update, waited)


def untrained(make: Callable[[], Any], seed: int) -> Published:
    """Return the phase as it begins."""
    torch.manual_seed(seed)
    return published(make())


def published(objective: Any) -> Published:
    """Return what the phase would publish, ready to encode."""
    tensors, policy = objective.policy()
    arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
    manifest = {'policy': policy, 'config': plain(objective.config)}
    return load_published(arrays, manifest, policy['kind'])


def latents(version: Published, paired: PairedSet, sense: str) -> Array:
    """Return [N, latent_size] of one sense."""
    return latents_of(version, paired, sense)


def without_classes(paired: PairedSet, classes: Sequence[int]) -> PairedSet:
    """Return the samples of all other classes."""
    return paired.subset(np.flatnonzero(~np.isin(paired.labels, classes)).tolist())


def of_classes(paired: PairedSet, classes: Sequence[int]) -> PairedSet:
    """Return the samples of these classes."""
    return paired.subset(np.flatnonzero(np.isin(paired.labels, classes)).tolist())
