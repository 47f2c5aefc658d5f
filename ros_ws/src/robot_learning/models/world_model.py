"""A world model: what is seen becomes a state, the state predicts what is seen and received."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from robot_learning.config import STRICT, from_mapping
from robot_learning.errors import ConfigError, ModelRefusedError
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
    numeric: Literal['float32', 'bfloat16'] = 'float32'  # Of the image networks.

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
        dtype = torch.bfloat16 if config.numeric == 'bfloat16' else torch.float32
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
                module_name(name): ImageEncoder(name, shape, widths.depth, dtype)
                for name, shape in self.images.items()
            }
        )
        self.embedding_size = _embedding_size([self.vector_encoder, *self.image_encoders.values()])
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
                module_name(name): ImageDecoder(
                    name, shape, self.feature_size, widths.depth, dtype
                )
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
            parts.append(self.image_encoders[module_name(name)](batch[f'image/{name}']))
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
        [..., H, W, C], in the image networks' dtype, lies in [0, 1] but for errors.
        """
        predictions: dict[str, Tensor] = {}
        if self.vector_decoder is not None:
            predictions['observation'] = self.vector_decoder(features)
        for name in self.images:
            predictions[f'image/{name}'] = self.image_decoders[module_name(name)](features)
        return predictions

    def decode(self, features: Tensor) -> dict[str, Tensor]:
        """Predict observations: each block [..., size], `image/<field>` [..., H, W, C] in [0, 1].

        Blocks are in the units of the features.
        """
        predictions = self.reconstruct(features)
        vector = predictions.pop('observation', None)
        decoded = {name: image.float().clamp(0, 1) for name, image in predictions.items()}
        if vector is not None:
            vector = symexp(vector)
            decoded |= {name: vector[..., columns] for name, columns in self.blocks.items()}
        return decoded

    def published(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return copies of the tensors, and what `from_published` needs besides."""
        tensors = {key: value.detach().clone() for key, value in self.state_dict().items()}
        return tensors, {
            'kind': 'world_model',
            'input_size': max((columns.stop for columns in self.blocks.values()), default=0),
            'action_size': self.action_size,
            'model': dataclasses.asdict(self.config),
            'blocks': {name: [part.start, part.stop] for name, part in self.blocks.items()},
            'images': {name: list(shape) for name, shape in self.images.items()},
        }

    @classmethod
    def from_published(
        cls, tensors: Mapping[str, Tensor], description: Mapping[str, Any], where: str
    ) -> WorldModel:
        """Rebuild the model of a published version.

        Args:
            tensors: its weights.
            description: the `policy` block of its manifest.
            where: what to call the version in errors, 'navigator@12'.

        Raises:
            ModelRefusedError: it is no world model, or its parts do not fit together.
        """
        if description.get('kind') != 'world_model':
            raise ModelRefusedError(
                f'{where}: is of kind {description.get("kind")!r}, expected world_model. Name a '
                f'version that phase world_model published.'
            )
        try:
            model = cls(
                int(description['input_size']),
                int(description['action_size']),
                from_mapping(WorldModelConfig, description['model'], f'{where}: manifest: model'),
                {name: slice(*part) for name, part in description['blocks'].items()},
                {name: tuple(shape) for name, shape in description['images'].items()},
            )
            model.load_state_dict(dict(tensors))
        except (ConfigError, LookupError, TypeError, ValueError, RuntimeError) as error:
            raise ModelRefusedError(
                f'{where}: its manifest and tensors make no world model: {error}. Publish it '
                f'anew or name another version.'
            ) from error
        return model


def _embedding_size(encoders: Sequence[Any]) -> int:
    return sum(encoder.size for encoder in encoders if encoder is not None)


def module_name(field: str) -> str:
    """Return a field's name as part of tensor names, in which dots separate."""
    return field.replace('.', '_')
