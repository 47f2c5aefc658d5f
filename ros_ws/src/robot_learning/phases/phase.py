"""What a training phase is, and the table of those there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from robot_learning.phases.devices import CPU
from robot_learning.registry import Registry

Batch = Mapping[str, Tensor]
Metrics = dict[str, Tensor]  # Scalars without gradient; the loop reads them every k-th update.
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class PolicySpace:
    """The ends of a policy: features and images in, commands in contract units out."""

    input_size: int
    action_low: Array  # [A]; [0] and [1] per choice where `is_discrete`.
    action_high: Array  # [A]
    blocks: Mapping[str, slice] = field(default_factory=dict)  # Named columns of the features.
    images: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # Field -> [H, W, C].
    is_discrete: bool = False  # Actions are one of A choices, written as one-hot [A].

    @property
    def action_size(self) -> int:
        """Number of command components, A."""
        return len(self.action_low)

    def normalised(self, action: Array) -> Array:
        """Map commands [..., A] in contract units to [-1, 1]; beyond the limits is clipped."""
        span = self.action_high - self.action_low
        clipped: Array = np.clip((action - self.action_low) / span * 2 - 1, -1, 1)
        return clipped


class TrainingData(NamedTuple):
    """What there is to learn from at the first update."""

    observation: Array  # [N, D] features.
    action: Array  # [N, A] in [-1, 1].
    reward: Array  # [M] of the steps that begin no episode; NaN where no task gave one.


class Transitions(NamedTuple):
    """Single steps and where they led; see `ReplayBuffer.sample_transitions`."""

    batch_size: int
    n_step: int = 1
    discount: float = 0.99
    priority_exponent: float = 0.0  # 0: drawn uniformly; else see `trajectory.prioritised`.


class Windows(NamedTuple):
    """Consecutive steps, drawn uniformly; see `ReplayBuffer.sample_windows`.

    Images of the space come as `image/<field>` [B, T, H, W, C] uint8. Index t holds what was
    received on arriving at step t; a reward at `is_first` means nothing and may be NaN.
    """

    batch_size: int
    length: int


class Rollout(NamedTuple):
    """All that the newest versions drove, each step once; see `Experience.rollout`."""

    num_steps: int  # Transitions that make a batch.
    max_lag: int = 1  # Steps of a version that is more versions behind are refused.


Draw = Transitions | Windows | Rollout


class Phase(Protocol):
    """One objective and its parameters; takes one gradient step at a time.

    A phase that has a property `measures`, a draw as well, is measured on held-out data drawn
    like that instead of like `draws`: whole episodes, say. One whose `draws` have a
    `priority_exponent` has `error` after an update: [B], of each row of the batch. One whose
    versions cannot drive a robot says so by a class attribute `drives = False`; by `needs_reward
    = True` that steps without one teach it nothing. Batches may be on any device; what
    `state_dict` returns is on the processor and fits every device.
    """

    Config: type[Any]  # A frozen pydantic dataclass.
    config: Any
    selects_by_validation: bool  # The lowest held-out `loss` marks the best version.

    @property
    def draws(self) -> Draw:
        """What a batch of `update` and `evaluate` is."""

    def __init__(
        self, config: Any, space: PolicySpace, seed: int, *, device: torch.device = CPU
    ): ...

    def prepare(self, data: TrainingData) -> None:
        """Look at the data once before the first update: statistics, missing rewards."""

    def update(self, batch: Batch) -> Metrics:
        """Take one gradient step; of a rollout, all steps that it is good for."""

    def evaluate(self, batch: Batch) -> Metrics:
        """Measure on data that no step has seen, `loss` among others; changes nothing."""

    def policy(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors to serve and their description for the manifest."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return all that `load_state_dict` needs to go on bit by bit."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict`."""


PHASES: Registry[type[Phase]] = Registry('phase')
