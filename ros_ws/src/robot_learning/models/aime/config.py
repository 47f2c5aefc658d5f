"""Sizes of the AIME model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from robot_learning.config import STRICT


@dataclass(frozen=True, config=STRICT)
class AimeModelConfig:
    """The guide's sizes where it names them: components, latent, hidden, slots."""

    image_size: Literal[32, 64, 128] = 64  # Pixels, height and width.
    depth: PositiveInt = 32  # Channels of the first convolution; they double twice.
    hidden: PositiveInt = 512  # Recurrent state.
    latent: PositiveInt = 36
    components: PositiveInt = 15  # At most; 1 is a single Gaussian.
    stick_concentration: PositiveFloat = 2.0  # Alpha of the sticks' Beta(1, alpha).
    min_std: PositiveFloat = 0.05  # Of posterior and components.
    slots: Annotated[int, Field(ge=2)] = 4
    slot_size: PositiveInt = 64
    slot_iterations: PositiveInt = 3
    codes: Annotated[int, Field(ge=2)] = 512  # Of the codebook.
    code_size: PositiveInt = 64
    code_decay: Annotated[float, Field(gt=0, lt=1)] = 0.99  # Of the codebook's running means.
    revival_usage: Annotated[float, Field(ge=0, lt=1)] = (
        0.02  # Share of an even use; see codebook.
    )
    context_frames: PositiveInt = 4  # That the Perceiver looks back on.
    context_latents: PositiveInt = 8
    context_size: PositiveInt = 128
    context_heads: PositiveInt = 4
    context_layers: PositiveInt = 2
    context_every: PositiveInt = 8  # Steps for which a context is kept; see `AimeModel`.

    def __post_init__(self) -> None:
        if self.context_size % self.context_heads:
            raise ValueError(
                f'context_size {self.context_size} is no multiple of context_heads '
                f'{self.context_heads}'
            )

    @property
    def side(self) -> int:
        """Height and width of the map that the convolutions end with."""
        return self.image_size // 8

    @property
    def places(self) -> int:
        """Places of that map, P."""
        return self.side**2

    @property
    def channels(self) -> int:
        """Channels of that map."""
        return 4 * self.depth
