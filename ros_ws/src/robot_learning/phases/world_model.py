"""The world model on its own: trained on recorded windows, whoever drove."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor

from robot_learning.config import STRICT
from robot_learning.models.world_model import WorldModel, WorldModelConfig
from robot_learning.phases.captured_update import CapturedUpdate
from robot_learning.phases.devices import CPU, placed
from robot_learning.phases.gradient_clipping import GradientClipping
from robot_learning.phases.phase import (
    PHASES,
    Batch,
    Metrics,
    PolicySpace,
    TrainingData,
    Windows,
)
from robot_learning.phases.state import collect, restore, step
from robot_learning.phases.world_model_losses import (
    WorldModelLoss,
    WorldModelLossConfig,
    feature_weight,
    world_model_loss,
)


@dataclass(frozen=True, config=STRICT)
class WorldModelPhaseConfig:
    """Networks and losses, and how they are trained."""

    model: WorldModelConfig = WorldModelConfig()
    loss: WorldModelLossConfig = WorldModelLossConfig()
    batch_size: PositiveInt = 32
    batch_length: Annotated[int, Field(ge=2)] = 50  # Steps of each window.
    learning_rate: PositiveFloat = 1e-4
    gradient_norm: PositiveFloat | None = 1000.0  # Largest, of all together (DreamerV3).
    gradient_ratio: PositiveFloat | None = None  # Largest, to each tensor's norm; None: any.
    # What predicting the mean of a block costs, whatever its size; None: its variance.
    block_scale: PositiveFloat | None = 10.0


@PHASES.register('world_model')
class WorldModelPhase:
    """Learns to predict what is seen and received under which actions.

    A batch is `Windows`: `observation` [B, T, D] where there are features, `image/<field>`
    [B, T, H, W, C], `action` [B, T, A], `reward`, `terminated` and `is_first` [B, T]. Steps
    without a reward teach everything but rewards. What is published is no policy.
    """

    Config = WorldModelPhaseConfig
    selects_by_validation = True
    drives = False  # It predicts.

    def __init__(
        self,
        config: WorldModelPhaseConfig,
        space: PolicySpace,
        seed: int,
        *,
        device: torch.device = CPU,
    ):
        self.config = config
        self.space = space
        self.device = device
        self.model = WorldModel(
            space.input_size,
            space.action_size,
            config.model,
            space.blocks,
            space.images,
            torch.Generator().manual_seed(seed),  # The same weights on every device.
        ).to(device)
        self._generator = torch.Generator(device).manual_seed(seed)
        self._parameters: list[Tensor] = [*self.model.parameters()]
        self._optimizer = torch.optim.Adam(
            self._parameters, config.learning_rate, fused=True, capturable=device.type == 'cuda'
        )
        self._clipping = GradientClipping(
            self._optimizer, config.gradient_ratio, config.gradient_norm
        )
        self._weight = torch.ones(space.input_size, device=device)  # Of the features' errors.
        self._learn = CapturedUpdate(self._update, [self._generator], device)

    @property
    def draws(self) -> Windows:
        """Windows of `batch_length` steps."""
        return Windows(self.config.batch_size, self.config.batch_length)

    def prepare(self, data: TrainingData) -> None:
        """Look how much features vary; rewards that are missing are not learned."""
        if self.config.block_scale is not None and self.space.input_size:
            features = torch.from_numpy(data.observation)
            weight = feature_weight(features, self.model.blocks, self.config.block_scale)
            self._weight.copy_(weight)

    def update(self, batch: Batch) -> Metrics:
        """Take one gradient step on the whole model."""
        return self._learn(batch)

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> Metrics:
        """Return the parts of the loss."""
        # A generator of its own: measuring must not change what is drawn while learning.
        noise = torch.Generator(self.device).manual_seed(0)
        batch = placed(batch, self.device)
        return self._loss(batch, noise).metrics

    def policy(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the model and its sizes; policy servers refuse its kind, 'world_model'."""
        return self.model.published()

    def state_dict(self) -> dict[str, Tensor]:
        """Return the model, optimiser moments and the noise generator."""
        return collect(self._state())

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state_dict`, bit by bit."""
        restore(self._state(), state)
        self._learn.forget()

    def _update(self, batch: Batch) -> Metrics:
        loss = self._loss(batch, self._generator)
        step(self._optimizer, self._parameters, loss.total)
        metrics = loss.metrics | {'gradient_norm': self._clipping.norms[0]}
        return {f'world_model/{name}': value for name, value in metrics.items()}

    def _loss(self, batch: Batch, noise: torch.Generator) -> WorldModelLoss:
        return world_model_loss(self.model, batch, self.config.loss, noise, weight=self._weight)

    def _state(self) -> dict[str, Any]:
        return {
            'model': self.model,
            'optimizer': self._optimizer,
            'generator': self._generator,
            'weight': self._weight,
        }
