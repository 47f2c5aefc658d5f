"""What may be set of Dreamer; the defaults are the paper's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.models.world_model import WorldModelConfig
from robot_learning.phases.world_model_losses import WorldModelLossConfig

Fraction = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, config=STRICT)
class DreamerConfig:
    """Hafner et al. 2023 (arXiv 2301.04104), tables of hyperparameters; sizes from `model`."""

    model: WorldModelConfig = WorldModelConfig(size='size1m')
    model_loss: WorldModelLossConfig = WorldModelLossConfig()
    # What predicting the mean of a block of features costs, see `feature_weight`; None, the
    # paper's: as much as the block varies by itself, which for a lidar is next to nothing.
    block_scale: PositiveFloat | None = None
    units: PositiveInt | None = None  # Of actor and critic; None: the model's hidden width.
    actor_layers: PositiveInt = 3
    critic_layers: PositiveInt = 3
    # Of continuous actions; where the robot chooses one of several it is always categorical.
    action_distribution: Literal['bounded_normal', 'tanh_normal'] = 'bounded_normal'
    unimix: Annotated[float, Field(ge=0, lt=1)] = 0.01
    batch_size: PositiveInt = 16
    length: Annotated[int, Field(ge=2)] = 64
    horizon: PositiveInt = 15  # Imagined actions from every real step.
    discount: Fraction = 0.997
    lambda_: Annotated[float, Field(ge=0, le=1)] = 0.95
    # How the actor learns: from the likelihood of what did well, or through the model.
    actor_gradient: Literal['reinforce', 'pathwise'] = 'reinforce'
    entropy_scale: NonNegativeFloat = 3e-4  # Returns are normalised, so one value fits tasks.
    return_decay: Annotated[float, Field(ge=0, lt=1)] = 0.99  # Of the returns' range.
    return_limit: PositiveFloat = 1.0  # Returns are not blown up beyond this range.
    slow_rate: Fraction = 0.02  # Share of the critic that enters its slow copy per update.
    slow_scale: NonNegativeFloat = 1.0  # Of the critic's pull towards its slow copy.
    replay_value_scale: NonNegativeFloat = 0.3  # Of the critic's loss on recorded steps.
    # Let that loss shape the model's state too, as the paper's code does.
    replay_value_gradient: bool = True
    optimizer: Literal['laprop', 'adam'] = 'laprop'
    learning_rate: PositiveFloat = 4e-5
    actor_learning_rate: PositiveFloat | None = None  # None: as the model's.
    critic_learning_rate: PositiveFloat | None = None
    warmup_updates: NonNegativeInt = 1000  # Over which the rates rise from 0.
    gradient_ratio: PositiveFloat | None = 0.3  # Largest, to each tensor's norm; None: any.
    gradient_norm: PositiveFloat | None = None  # Largest, of each network together.
