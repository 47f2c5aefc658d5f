"""A published NSCA version, made ready to use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from robot_learning import config as configs
from robot_learning.errors import ConfigError, ModelRefusedError
from robot_learning.model_store import Array
from robot_learning.models.nsca.config import MODALITIES, MomentWindow, NscaModelConfig
from robot_learning.models.nsca.perception import load_part
from robot_learning.models.nsca.whole import NscaModel

_ENCODERS = {'nsca_vision': ('vision',), 'nsca_audio': ('audio',)}


class Published(NamedTuple):
    """A version, ready to encode."""

    kind: str
    config: NscaModelConfig
    model: NscaModel  # What the version does not hold is untrained.
    senses: tuple[str, ...]
    window: MomentWindow
    has_outcomes: bool  # Whether rewards and ends were learned.
    where: str

    @property
    def has_states(self) -> bool:
        """Whether it fuses senses to states."""
        return self.kind in ('nsca_fusion', 'nsca_full')


def load_published(
    tensors: Mapping[str, Array], manifest: Mapping[str, Any], where: str
) -> Published:
    """Make the model of a version of phase vision, audio, fusion or full.

    Raises:
        ModelRefusedError: it is of another kind, or its tensors do not fit its sizes.
    """
    policy = manifest.get('policy')
    kind = policy.get('kind') if isinstance(policy, Mapping) else None
    settings = manifest.get('config')
    block = settings.get('model') if isinstance(settings, Mapping) else None
    is_known = kind in (*_ENCODERS, 'nsca_fusion', 'nsca_full')
    if not (is_known and isinstance(settings, Mapping) and isinstance(block, Mapping)):
        raise ModelRefusedError(
            f'{where}: kind of model is {kind!r}, expected nsca_vision, nsca_audio, nsca_fusion '
            f'or nsca_full, with its sizes. Choose another version.'
        )
    weights = {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
    try:
        config = configs.from_mapping(NscaModelConfig, dict(block), f'{where}: config.model')
        window = configs.from_mapping(
            MomentWindow, dict(_window(settings)), f'{where}: config: window'
        )
        model = NscaModel(config)
        if kind in _ENCODERS:
            (sense,) = _ENCODERS[kind]
            load_part(getattr(model.perception, sense), weights, sense)
        elif kind == 'nsca_fusion':
            load_part(model.perception, weights, 'perception')
            load_part(model.predictor, weights, 'predictor')
        else:
            model.load_state_dict(weights)
    except (ConfigError, RuntimeError) as error:
        raise ModelRefusedError(f'{where}: does not fit its sizes ({error}).') from error
    model.eval().requires_grad_(False)
    assert isinstance(policy, Mapping) and isinstance(kind, str), 'checked above'
    senses = _ENCODERS.get(kind) or tuple(policy.get('senses', MODALITIES))
    return Published(
        kind,
        config,
        model,
        senses,
        window,
        bool(policy.get('has_outcomes', False)),
        where,
    )


def _window(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how much of the past is in a moment: of phase full, or of fusion, or as usual."""
    for block in (settings, settings.get('phase')):
        if isinstance(block, Mapping) and isinstance(block.get('window'), Mapping):
            window: Mapping[str, Any] = block['window']
            return window
    return {}
