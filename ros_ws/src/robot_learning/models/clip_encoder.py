"""A CLIP image encoder of Hugging Face in the place of the project's own.

Its patches become the cells of the map, its pooled output the vector of the whole picture. Only a
thin layer on top learns, unless it is asked to learn too.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robot_learning.errors import ConfigError, DataError, EnvironmentSetupError
from robot_learning.models.image_encoder import ImageEncoderConfig, ImageFeatures, coordinates

# Of the pictures that CLIP learned from, arXiv 2103.00020.
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_SPREAD = (0.26862954, 0.26130258, 0.27577711)


class ClipImageEncoder(nn.Module):
    """Pictures to a map and a vector by a CLIP vision transformer.

    Args:
        description: what `describe` gave: the transformer's own configuration.
        config: says how many features a cell has.
        is_frozen: the transformer stays as it is.
    """

    mean: Tensor
    spread: Tensor

    def __init__(
        self, description: Mapping[str, Any], config: ImageEncoderConfig, is_frozen: bool = True
    ):
        super().__init__()
        clip = _transformers()
        settings = clip.CLIPVisionConfig.from_dict(dict(description))
        self._adopt(clip.CLIPVisionModel(settings), config, is_frozen)

    @classmethod
    def pretrained(
        cls, name: str, config: ImageEncoderConfig, is_frozen: bool = True
    ) -> ClipImageEncoder:
        """Read weights by name from Hugging Face, or from a folder.

        Raises:
            EnvironmentSetupError: the package transformers is not installed.
            DataError: they cannot be found or read.
            ConfigError: it is no CLIP model.
        """
        clip = _transformers()
        try:
            model = clip.CLIPVisionModel.from_pretrained(name, use_safetensors=True)
        except Exception as error:  # Of any library below it.
            reason = str(error).partition('\n')[0]
            raise DataError(
                f'--pretrained {name}: cannot be loaded ({type(error).__name__}: {reason}). Name '
                f'a CLIP model of Hugging Face where there is a network, or a folder with '
                f'config.json and model.safetensors.'
            ) from error
        kind = clip.AutoConfig.from_pretrained(name).model_type
        if kind not in ('clip', 'clip_vision_model'):
            raise ConfigError(
                f'--pretrained {name}: is a {kind} model, expected CLIP. Name another one.'
            )
        encoder = cls.__new__(cls)
        nn.Module.__init__(encoder)
        encoder._adopt(model, config, is_frozen)
        return encoder

    def describe(self) -> dict[str, Any]:
        """Return plain data from which an encoder of the same shape is made."""
        settings: dict[str, Any] = self.clip.config.to_dict()
        kept = (
            *('hidden_size', 'intermediate_size', 'num_hidden_layers', 'num_attention_heads'),
            *('image_size', 'patch_size', 'projection_dim', 'hidden_act', 'layer_norm_eps'),
        )
        return {name: settings[name] for name in kept}

    @property
    def stride(self) -> int:
        """Pixels per cell."""
        return int(self.clip.config.patch_size)

    @property
    def num_features(self) -> int:
        """Of each cell."""
        return int(self.cells.out_channels)

    @property
    def num_pooled(self) -> int:
        """Size of `ImageFeatures.pooled`."""
        return int(self.clip.config.hidden_size)

    def forward(self, image: Tensor) -> ImageFeatures:
        """Look at pictures [B, 3, H, W] in 0 to 1; H and W are multiples of the patch size."""
        rows, columns = (side // self.stride for side in image.shape[2:])
        found = self.clip((image - self.mean) / self.spread, interpolate_pos_encoding=True)
        patches = found.last_hidden_state[:, 1:].transpose(1, 2)
        patches = patches.reshape(len(image), -1, rows, columns)
        place = coordinates(rows, columns).to(patches)
        place = place.permute(2, 0, 1).expand(len(image), -1, -1, -1)
        cells = F.relu(self.cells(torch.cat([patches, place], dim=1)))
        return ImageFeatures(cells, found.pooler_output)

    def train(self, mode: bool = True) -> ClipImageEncoder:
        """Set the mode; what is frozen stays out of training mode."""
        super().train(mode)
        if self._is_frozen:
            self.clip.eval()
        return self

    def _adopt(self, model: Any, config: ImageEncoderConfig, is_frozen: bool) -> None:
        self.clip = model
        self._is_frozen = is_frozen
        for parameter in self.clip.parameters():
            parameter.requires_grad = not is_frozen
        self.cells = nn.Conv2d(model.config.hidden_size + 2, config.features, 1)
        for name, values in (('mean', _MEAN), ('spread', _SPREAD)):
            tensor = torch.tensor(values).view(3, 1, 1)
            self.register_buffer(name, tensor, persistent=False)


def _transformers() -> Any:
    try:
        return importlib.import_module('transformers')  # Takes seconds; few need it.
    except ImportError as error:
        raise EnvironmentSetupError(
            'CLIP: the package transformers is not installed. Install it with '
            '"pip install transformers", or take our own image encoder.'
        ) from error
