"""A stored policy asked about many recorded steps at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from robot_learning.contract import RobotContract
from robot_learning.errors import ModelRefusedError
from robot_learning.features import FeatureBuilder
from robot_learning.models.actor_critic import GaussianTanhPolicy
from robot_learning.models.distributions import squashed_log_prob
from robot_learning.models.sequence_policy import SequencePolicy

Array = np.ndarray[Any, Any]

_BATCH_SIZE = 4096


class OfflinePolicy:
    """Answers batches of observation fields with actions and log-likelihoods."""

    def __init__(
        self, tensors: Mapping[str, Array], manifest: Mapping[str, Any], contract: RobotContract
    ):
        """Rebuild the network from a model version's tensors and manifest.

        Raises:
            ModelRefusedError: the version holds no policy of a known kind.
        """
        spec = manifest.get('policy') or {}
        kind = spec.get('kind')
        if kind not in ('gaussian_tanh_mlp', 'gaussian_tanh_sequence'):
            raise ModelRefusedError(
                f'model {manifest.get("model")}: policy kind is {kind!r}, expected '
                f"'gaussian_tanh_mlp' or 'gaussian_tanh_sequence'. Choose a version that sac, "
                f'behavior_cloning or sequence_cloning published.'
            )
        self._features = FeatureBuilder(contract)
        self.fields = self._features.fields
        self._low = np.asarray(spec['action_low'], np.float32)
        self._high = np.asarray(spec['action_high'], np.float32)
        sizes = {k: v for k, v in spec.items() if k not in ('kind', 'action_low', 'action_high')}
        self._network: GaussianTanhPolicy | SequencePolicy = (
            GaussianTanhPolicy(**sizes) if kind == 'gaussian_tanh_mlp' else SequencePolicy(**sizes)
        )
        weights = {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
        self._network.load_state_dict(weights)

    def mode(self, observations: dict[str, Array], is_first: Array, action: Array) -> Array:
        """Return the most central actions [N, A] in contract units."""
        outputs = self._outputs(observations, is_first)
        squashed = [torch.tanh(mean).numpy() for mean, _ in outputs]
        span = self._high - self._low
        return np.asarray(self._low + (np.concatenate(squashed) + 1) / 2 * span)

    def log_prob(self, observations: dict[str, Array], is_first: Array, action: Array) -> Array:
        """Return the log-likelihood [N] of the normalised actions, nats."""
        span = self._high - self._low
        normalised = np.clip((action - self._low) / span * 2 - 1, -1, 1).astype(np.float32)
        parts, begin = [], 0
        for mean, log_std in self._outputs(observations, is_first):
            target = torch.from_numpy(normalised[begin : begin + len(mean)])
            parts.append(squashed_log_prob(mean, log_std, target).numpy())
            begin += len(mean)
        return np.concatenate(parts)

    def _outputs(
        self, observations: dict[str, Array], is_first: Array
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        features = torch.from_numpy(self._features.build_batch(observations))
        with torch.no_grad():
            if isinstance(self._network, SequencePolicy):
                begins = torch.from_numpy(is_first)[None]
                mean, log_std, _ = self._network(features[None], begins)
                return [(mean[0], log_std[0])]
            starts = range(0, len(features), _BATCH_SIZE)
            return [self._network(features[i : i + _BATCH_SIZE]) for i in starts]
