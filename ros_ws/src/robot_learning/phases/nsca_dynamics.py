"""Learns where the world state goes: several steps ahead, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from robot_learning.config import STRICT
from robot_learning.models.nsca.calibration import best_scale, reliability
from robot_learning.models.nsca.config import NscaModelConfig
from robot_learning.models.nsca.dynamics import Future
from robot_learning.models.nsca.world import WorldDynamics
from robot_learning.phases.nsca_losses import dynamics_loss
from robot_learning.phases.passes import Losses, summed_gradients
from robot_learning.phases.passes_config import PassesConfig
from robot_learning.phases.phase import Array, Batch
from robot_learning.phases.state import Part

PHASE = 'nsca_dynamics'


@dataclass(frozen=True, config=STRICT)
class DynamicsLossConfig:
    """What is predicted, and what the parts of the loss weigh."""

    horizon: PositiveInt = 10  # Steps ahead.
    starts: PositiveInt = 4  # Moments of each episode from which an update imagines.
    calibration_weight: NonNegativeFloat = 0.1
    gradient_checkpointing: bool = False  # Of the temporal model: less memory, more time.


@dataclass(frozen=True, config=STRICT)
class DynamicsPhaseConfig:
    """Of phase dynamics."""

    passes: PassesConfig = PassesConfig(epochs=30)
    loss: DynamicsLossConfig = DynamicsLossConfig()


@dataclass(frozen=True, config=STRICT)
class DynamicsManifest:
    """What a version says of its making."""

    model: NscaModelConfig
    phase: DynamicsPhaseConfig
    senses: Annotated[tuple[str, ...], Field(min_length=1)]


class StateEpisodes:
    """Rows of world states 'states' [B, T, S] and 'action' [B, T, A]."""

    def __init__(self, states: Tensor, actions: Tensor):
        self.states, self.actions = states, actions

    def __len__(self) -> int:
        return len(self.states)

    def read(self, rows: Array) -> Batch:
        """Return these rows."""
        index = torch.from_numpy(np.asarray(rows, np.int64))
        return {'states': self.states[index], 'action': self.actions[index]}


def imagined_losses(
    world: WorldDynamics, states: Tensor, actions: Tensor, config: DynamicsLossConfig
) -> tuple[Tensor, Tensor]:
    """Imagine from random moments; return squared error and calibration.

    Args:
        world: with the scale of the states.
        states: [B, T, S].
        actions: [B, T, A].
        config: horizon and number of moments.
    """
    length = states.shape[1]
    horizon = min(config.horizon, length - 1)
    scaled = world.scaled(states)
    contexts = world.temporal(scaled, actions)
    errors, scores = [], []
    for _ in range(config.starts):
        start = int(torch.randint(length - 1, ()))
        steps = min(horizon, length - 1 - start)
        mean, log_std = world.dynamics(
            scaled[:, start], contexts[:, start], actions[:, start : start + steps]
        )
        target = scaled[:, start + 1 : start + 1 + steps].detach()
        is_known = torch.ones(target.shape[:2], dtype=torch.bool, device=target.device)
        loss = dynamics_loss(mean, log_std, target, is_known)
        errors.append(loss.error)
        scores.append(loss.calibration)
    return torch.stack(errors).mean(), torch.stack(scores).mean()


class HorizonErrors:
    """Collects what was imagined beside what happened."""

    def __init__(self, horizon: int):
        self._horizon = horizon
        self._parts: list[tuple[Array, Array, Array]] = []

    def add(self, world: WorldDynamics, states: Tensor, actions: Tensor) -> None:
        """Imagine from a third and two thirds of the way of each episode, [B, T, ...]."""
        length = states.shape[1]
        horizon = min(self._horizon, length - 1)
        scaled = world.scaled(states)
        contexts = world.temporal(scaled, actions)
        latest = length - 1 - horizon
        for start in sorted({latest // 3, 2 * latest // 3, latest}):
            future: Future = world.dynamics(
                scaled[:, start], contexts[:, start], actions[:, start : start + horizon]
            )
            target = scaled[:, start + 1 : start + 1 + horizon]
            error = (target - future.mean).float().cpu().numpy()
            moved = (target - scaled[:, start : start + 1]).float().cpu().numpy()
            self._parts.append((error, future.log_std.float().exp().cpu().numpy(), moved))

    def calibrated(self, world: WorldDynamics) -> dict[str, float]:
        """Choose the scale of uncertainty on every other episode; measure on the rest."""
        error, std, moved = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        chosen, rest = slice(0, None, 2), slice(1, None, 2)
        if len(error) < 2:
            rest = chosen
        steps = error.shape[1]
        scales = [best_scale(error[chosen, h] / std[chosen, h]) for h in range(steps)]
        world.set_std_scale(torch.tensor(scales, dtype=torch.float32))
        scores = error[rest] / (std[rest] * np.array(scales)[:, None])
        result = {
            'held_out/error': float(np.square(error[rest]).mean()),
            'held_out/persistence': float(np.square(moved[rest]).mean()),
            'held_out/calibration_error': reliability(scores).error,
        }
        for step in sorted({1, steps // 2, steps} - {0}):
            own = float(np.square(error[rest, step - 1]).mean())
            still = float(np.square(moved[rest, step - 1]).mean())
            result[f'held_out/relative_error_{step}'] = own / max(still, 1e-12)
        return result


class DynamicsObjective:
    """Futures of world states; see `passes.Objective`."""

    def __init__(self, model: NscaModelConfig, config: DynamicsPhaseConfig, senses: Sequence[str]):
        self.config = DynamicsManifest(model, config, tuple(senses))
        self.world = WorldDynamics(model)
        self.world.temporal.is_checkpointed = config.loss.gradient_checkpointing
        self.module: nn.Module = self.world

    @property
    def parts(self) -> Mapping[str, Part]:
        """Nothing beside the module."""
        return {}

    def losses(self, batch: Batch, done: float) -> Losses:
        """Imagine from some moments of each episode."""
        config = self.config.phase.loss
        error, score = imagined_losses(self.world, batch['states'], batch['action'], config)
        return Losses(
            {'nsca': error + config.calibration_weight * score},
            {'nsca/error': error.detach(), 'nsca/score': score.detach()},
        )

    def combined(self, gradients: Mapping[str, Sequence[Tensor]]) -> Sequence[Tensor]:
        """Sum."""
        return summed_gradients(gradients)

    def measure(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Imagine held-out episodes, and scale the uncertainty on every other one of them."""
        errors = HorizonErrors(self.config.phase.loss.horizon)
        for batch in batches:
            errors.add(self.world, batch['states'], batch['action'])
        return errors.calibrated(self.world)

    def score(self, metrics: Mapping[str, float]) -> float:
        """Less error is better."""
        return -metrics['held_out/error']

    def policy(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Publish the temporal model and the dynamics."""
        tensors = {f'world.{key}': value for key, value in self.world.state_dict().items()}
        return tensors, {'kind': PHASE, 'senses': list(self.config.senses)}
