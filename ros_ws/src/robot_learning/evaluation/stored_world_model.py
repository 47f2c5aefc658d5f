"""A published world model, rebuilt from a version's tensors and manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from robot_learning.errors import ConfigError, ModelRefusedError
from robot_learning.models.world_model import WorldModel, WorldModelConfig

Array = np.ndarray[Any, Any]

_SIZES = ('deter', 'hidden', 'depth', 'groups', 'classes', 'blocks', 'latent')
_LAYERS = ('prior_layers', 'encoder_layers', 'decoder_layers', 'head_layers')
_OTHERS = ('uniform_share', 'min_std', 'num_bins')


def rebuild(tensors: Mapping[str, Array], manifest: Mapping[str, Any], where: str) -> WorldModel:
    """Return the model of a version, without gradients.

    Args:
        tensors: weights by name.
        manifest: of the version; its `policy` block says what they are.
        where: what to call the version in errors, 'navigator@12'.

    Raises:
        ModelRefusedError: it is no world model, or its parts do not fit together.
    """
    block = manifest.get('policy') or {}
    if block.get('kind') != 'world_model':
        raise ModelRefusedError(
            f"{where}: its kind is {block.get('kind')!r}, expected 'world_model'. Choose a "
            f'version that the phase world_model published.'
        )
    try:
        config = WorldModelConfig(**{name: block[name] for name in (*_SIZES, *_LAYERS, *_OTHERS)})
        columns = {name: slice(*ends) for name, ends in block['blocks_of_features'].items()}
        model = WorldModel(
            block['input_size'], block['action_size'], config, columns, block['images']
        )
        weights = {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
        model.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError, ConfigError) as error:
        raise ModelRefusedError(
            f'{where}: its manifest and tensors do not make a world model: {error}. Publish it '
            f'anew or choose another version.'
        ) from error
    return model.requires_grad_(False).eval()
