"""Camera, microphone and body to one world state: the encoders and their fusion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from robot_learning.models.nsca.config import NscaModelConfig
from robot_learning.models.nsca.course import ear
from robot_learning.models.nsca.fusion import FusionTransformer, LatentScale
from robot_learning.models.nsca.proprioception import ProprioceptionEncoder
from robot_learning.models.nsca.vision import VisionEncoder


class Moment(NamedTuple):
    """What was sensed at one moment; None: nobody has this sense."""

    images: Tensor | None  # [B, 3, H, W], 0 to 1.
    sounds: Tensor | None  # [B, N], the last of which is now.
    readings: Tensor | None  # [B, T, P], likewise.


class Sensed(NamedTuple):
    """Of one moment."""

    latents: Tensor  # [B, M, latent_size], of absent senses 0.
    is_there: Tensor  # [B, M] bool.


class Perception(nn.Module):
    """Everything between senses and world state."""

    def __init__(self, config: NscaModelConfig):
        super().__init__()
        self.config = config
        self.vision = VisionEncoder(config)
        self.audio = ear(config)
        self.proprioception = ProprioceptionEncoder(config)
        self.fusion = FusionTransformer(config)
        self.scale = LatentScale(config)

    def sense(self, moment: Moment) -> Sensed:
        """Encode what is there."""
        parts = (
            (self.vision, moment.images),
            (self.audio, moment.sounds),
            (self.proprioception, moment.readings),
        )
        count = next(len(given) for _, given in parts if given is not None)
        parameter = self.fusion.query
        nothing = parameter.new_zeros(count, self.config.latent_size)
        latents = [nothing if given is None else encode(given) for encode, given in parts]
        is_there = torch.tensor([given is not None for _, given in parts], device=nothing.device)
        return Sensed(torch.stack(latents, dim=1).to(nothing), is_there.expand(count, -1))

    def forward(self, moment: Moment) -> Tensor:
        """Return the world state [B, state_size]."""
        state: Tensor = self.fusion(*self.sense(moment))
        return state


def load_part(module: nn.Module, tensors: Mapping[str, Tensor], prefix: str) -> None:
    """Fill a module from the tensors of a version whose names begin with `prefix.`.

    Raises:
        RuntimeError: torch's own, where shapes or names differ.
    """
    own = {
        name.removeprefix(f'{prefix}.'): tensor
        for name, tensor in tensors.items()
        if name.startswith(f'{prefix}.')
    }
    module.load_state_dict(own)
