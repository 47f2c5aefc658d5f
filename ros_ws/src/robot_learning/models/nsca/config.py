"""Sizes of every NSCA model; a layer that reads another must agree with it on all of them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT
from robot_learning.sense_formats import ACTION_SIZE, FRAME_SIZE, PROPERTIES, SAMPLE_RATE_HZ

__all__ = ['MODALITIES', 'PROPERTIES', 'MomentWindow', 'NscaModelConfig']

MODALITIES = ('vision', 'audio', 'proprioception')


@dataclass(frozen=True, config=STRICT)
class NscaModelConfig:
    """Defaults are the guide's."""

    latent_size: Annotated[int, Field(ge=8)] = 256  # Of one sense.
    state_size: Annotated[int, Field(ge=4)] = 128  # Of the fused world state.
    action_size: PositiveInt = ACTION_SIZE
    image_size: Annotated[int, Field(ge=16, multiple_of=16)] = FRAME_SIZE
    base_channels: Annotated[int, Field(ge=4, multiple_of=4)] = 32
    blocks_per_stage: NonNegativeInt = 1  # Residual blocks behind each halving.
    front_end: bool = True  # Opponent colours and Gabor filters, fixed, before what is learned.
    sample_rate: PositiveInt = SAMPLE_RATE_HZ
    mel_bands: Annotated[int, Field(ge=8)] = 80
    audio_channels: Annotated[int, Field(ge=4, multiple_of=4)] = 32
    # Frames of the course of a sound, in order; 0: its texture, whenever it sounds.
    audio_course: Annotated[int, Field(ge=0, multiple_of=8)] = 0
    # Octaves of how fast bands change that are read out, from 50 Hz down; 7 for surroundings.
    audio_rates: Annotated[int, Field(ge=0, le=10)] = 0
    proprioception_size: PositiveInt = 16
    fusion_heads: PositiveInt = 8
    fusion_layers: PositiveInt = 4
    temporal_heads: PositiveInt = 8
    temporal_layers: PositiveInt = 4
    temporal_length: Annotated[int, Field(ge=2)] = 32  # Steps.
    dynamics_layers: PositiveInt = 2
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1

    @model_validator(mode='after')
    def _check_heads(self) -> NscaModelConfig:
        """Refuse widths that heads cannot share."""
        for width, heads in (
            ('latent_size', self.fusion_heads),
            ('state_size', self.temporal_heads),
        ):
            if getattr(self, width) % heads:
                raise ValueError(
                    f'{width} is {getattr(self, width)}, expected a multiple of {heads} heads'
                )
        return self


@dataclass(frozen=True, config=STRICT)
class MomentWindow:
    """How much of the past is in one moment of samples with a frame for every step."""

    heard_s: PositiveFloat = 0.5
    felt_steps: PositiveInt = 8
