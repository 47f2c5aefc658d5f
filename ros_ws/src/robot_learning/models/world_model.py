"""A world model: what is seen becomes a state, the state predicts what is seen and received."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from robot_learning.config import STRICT
from robot_learning.errors import ConfigError
from robot_learning.models.encoders import (
    ImageDecoder,
    ImageEncoder,
    Perceptron,
    VectorDecoder,
    VectorEncoder,
)
from robot_learning.models.initialisation import initialise_normal
from robot_learning.models.rssm import Carry, Observed, Rssm, RssmConfig, State
from robot_learning.models.two_hot import TwoHot, TwoHotOutput, symexp

Batch = Mapping[str, Tensor]


class Widths(NamedTuple):
    """What the name of a size stands for."""

    deter: int
    hidden: int  # Also of encoder, decoder and heads.
    depth: int  # Channels of the image networks, times 2, 3, 4, 4.
    groups: int
    classes: int
    blocks: int


# 'guide' has the state of 256 and hidden layers of 256 of the user's guide; the others are
# those of DreamerV3 (danijar/dreamerv3, configs.yaml).
SIZES = {
    'guide': Widths(256, 256, 16, 32, 8, 1),
    'size1m': Widths(512, 64, 4, 32, 4, 8),
    'size12m': Widths(2048, 256, 16, 32, 16, 8),
    'size25m': Widths(3072, 384, 24, 32, 24, 8),
}


@dataclass(frozen=True, config=STRICT)
class WorldModelConfig:
    """Sizes of the networks; a width that is given replaces that of `size`."""

    size: Literal['guide', 'size1m', 'size12m', 'size25m'] = 'guide'
    deter: PositiveInt | None = None
    hidden: PositiveInt | None = None
    depth: PositiveInt | None = None
    groups: PositiveInt | None = None
    classes: Annotated[int, Field(ge=2)] | None = None
    blocks: PositiveInt | None = None
    latent: Literal['categorical', 'gaussian'] = 'categorical'
    uniform_share: Annotated[float, Field(ge=0, lt=1)] = 0.01  # Of every categorical ("unimix").
    min_std: PositiveFloat = 0.1  # Of a Gaussian state.
    encoder_layers: PositiveInt = 3
    decoder_layers: PositiveInt = 3
    head_layers: PositiveInt = 1  # Of reward and continuation.
    prior_layers: PositiveInt = 2
    num_bins: Annotated[int, Field(ge=3)] = 255  # Of the reward; odd.
    numeric: Literal['float32', 'bfloat16'] = 'float32'  # Of products over all steps at once.

    def widths(self) -> Widths:
        """Return the sizes in force.

        Raises:
            ConfigError: they do not fit together.
        """
        given = {name: getattr(self, name) for name in Widths._fields}
        chosen = {name: value for name, value in given.items() if value is not None}
        widths = SIZES[self.size]._replace(**chosen)
        if widths.deter % widths.blocks:
            raise ConfigError(
                f'world model: blocks {widths.blocks} do not divide deter {widths.deter}, '
                f'expected a divisor. Change one of them.'
            )
        if self.num_bins % 2 == 0:
            raise ConfigError(
                f'world model: num_bins is {self.num_bins}, expected an odd number, so that '
                f'one bin is 0. Add one.'
            )
        return widths


class WorldModel(nn.Module):
    """Encoders, RSSM, decoders, reward and continuation heads.

    Args:
        input_size: of the feature vector `observation`, D; 0 without one.
        action_size: A.
        config: sizes.
        blocks: named columns of the feature vector; without any it is one block, 'observation'.
        images: field -> [H, W, C].
        generator: of the initial weights.

    Raises:
        ConfigError: sizes that do not fit together, or nothing to see.
    """

    def __init__(
        self,
        input_size: int,
        action_size: int,
        config: WorldModelConfig,
        blocks: Mapping[str, slice] | None = None,
        images: Mapping[str, Sequence[int]] | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        widths = config.widths()
        hidden = widths.hidden
        self.config = config
        self.action_size = action_size
        self.images = {name: tuple(shape) for name, shape in (images or {}).items()}
        self.blocks = dict(blocks or {'observation': slice(0, input_size)}) if input_size else {}
        if not input_size and not self.images:
            raise ConfigError(
                'world model: has neither features nor images to see, expected some. Add '
                'features to the contract or name images.'
            )
        self.vector_encoder = (
            VectorEncoder(input_size, hidden, config.encoder_layers) if input_size else None
        )
        self.image_encoders = nn.ModuleDict(
            {
                module_name(name): ImageEncoder(name, shape, widths.depth)
                for name, shape in self.images.items()
            }
        )
        encoders = [self.vector_encoder, *self.image_encoders.values()]
        self.embedding_size = sum(int(encoder.size) for encoder in encoders if encoder)
        sizes = RssmConfig(
            widths.deter,
            hidden,
            widths.groups,
            widths.classes,
            widths.blocks,
            config.latent,
            config.prior_layers,
            config.uniform_share,
            config.min_std,
        )
        self.rssm = Rssm(self.embedding_size, action_size, sizes)
        self.feature_size = self.rssm.feature_size
        self.vector_decoder = (
            VectorDecoder(self.feature_size, input_size, hidden, config.decoder_layers)
            if input_size
            else None
        )
        self.image_decoders = nn.ModuleDict(
            {
                module_name(name): ImageDecoder(name, shape, self.feature_size, widths.depth)
                for name, shape in self.images.items()
            }
        )
        self.reward_trunk = Perceptron(self.feature_size, hidden, config.head_layers)
        self.reward_output = TwoHotOutput(hidden, config.num_bins)
        self.continuation_trunk = Perceptron(self.feature_size, hidden, config.head_layers)
        self.continuation_output = nn.Linear(hidden, 1)
        initialise_normal(self, generator)

    def encode(self, batch: Batch) -> Tensor:
        """Return [B, T, E] of `observation` [B, T, D] and `image/<field>` [B, T, H, W, C].

        Works for [B, ...] too.
        """
        parts = []
        if self.vector_encoder is not None:
            parts.append(self.vector_encoder(batch['observation']))
        for name in self.images:
            with self._numeric():
                encoded = self.image_encoders[module_name(name)](batch[f'image/{name}'])
            parts.append(encoded.float())
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)

    def observe(
        self, batch: Batch, carry: Carry | None = None, generator: torch.Generator | None = None
    ) -> Observed:
        """Encode a window batch and follow it; see `Rssm.observe`."""
        embedding = self.encode(batch)
        return self.rssm.observe(embedding, batch['action'], batch['is_first'], carry, generator)

    def features(self, state: State) -> Tensor:
        """Return what heads read, [..., F]."""
        return self.rssm.features(state)

    def reward(self, features: Tensor) -> TwoHot:
        """Predict the reward received on arriving at states with `features` [..., F]."""
        return self.reward_output.distribution(self.reward_trunk(features))

    def continuation(self, features: Tensor) -> Tensor:
        """Return the logit [...] of the task going on (not terminated) at these states."""
        logit: Tensor = self.continuation_output(self.continuation_trunk(features))
        return logit.squeeze(-1)

    def reconstruct(self, features: Tensor) -> dict[str, Tensor]:
        """Return predictions as losses compare them.

        `observation` is the symlog of the feature vector [..., D]; `image/<field>`
        [..., H, W, C] lies in [0, 1] but for errors.
        """
        predictions: dict[str, Tensor] = {}
        if self.vector_decoder is not None:
            predictions['observation'] = self.vector_decoder(features)
        for name in self.images:
            with self._numeric():
                image = self.image_decoders[module_name(name)](features)
            predictions[f'image/{name}'] = image.float()
        return predictions

    def decode(self, features: Tensor) -> dict[str, Tensor]:
        """Predict observations: each block [..., size], `image/<field>` [..., H, W, C] in [0, 1].

        Blocks are in the units of the features.
        """
        predictions = self.reconstruct(features)
        vector = predictions.pop('observation', None)
        decoded = {name: image.clamp(0, 1) for name, image in predictions.items()}
        if vector is not None:
            vector = symexp(vector)
            decoded |= {name: vector[..., columns] for name, columns in self.blocks.items()}
        return decoded

    def published(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return copies of the tensors and what the manifest says of them."""
        tensors = {key: value.detach().clone() for key, value in self.state_dict().items()}
        return tensors, {
            'kind': 'world_model',
            **dataclasses.asdict(self.rssm.config),
            'encoder_layers': self.config.encoder_layers,
            'decoder_layers': self.config.decoder_layers,
            'head_layers': self.config.head_layers,
            'num_bins': self.config.num_bins,
            'depth': self.config.widths().depth,
            'input_size': sum(columns.stop - columns.start for columns in self.blocks.values()),
            'action_size': self.action_size,
            'blocks_of_features': {
                name: [columns.start, columns.stop] for name, columns in self.blocks.items()
            },
            'images': {name: list(shape) for name, shape in self.images.items()},
        }

    def _numeric(self) -> torch.autocast:
        device = self.rssm.prior_output.weight.device.type
        return torch.autocast(device, torch.bfloat16, self.config.numeric == 'bfloat16')


def module_name(field: str) -> str:
    """Return a field's name as part of tensor names, in which dots separate."""
    return field.replace('.', '_')
