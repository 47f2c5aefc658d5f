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
        if spec.get('kind') != 'gaussian_tanh_mlp':
            raise ModelRefusedError(
                f'model {manifest.get("model")}: policy kind is {spec.get("kind")!r}, expected '
                f"'gaussian_tanh_mlp'. Choose a version that sac or behavior_cloning published."
            )
        self._features = FeatureBuilder(contract)
        self.fields = self._features.fields
        self._low = np.asarray(spec['action_low'], np.float32)
        self._high = np.asarray(spec['action_high'], np.float32)
        low_std, high_std = spec['log_std_bounds']
        self._network = GaussianTanhPolicy(
            spec['input_size'],
            spec['action_size'],
            spec['hidden'],
            spec['activation'],
            spec['layer_norm'],
            (low_std, high_std),
        )
        weights = {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
        self._network.load_state_dict(weights)

    def mode(self, observations: dict[str, Array]) -> Array:
        """Return the most central actions [N, A] in contract units."""
        squashed = [torch.tanh(mean).numpy() for mean, _ in self._outputs(observations)]
        span = self._high - self._low
        return np.asarray(self._low + (np.concatenate(squashed) + 1) / 2 * span)

    def log_prob(self, observations: dict[str, Array], action: Array) -> Array:
        """Return the log-likelihood [N] of the normalised actions, nats."""
        span = self._high - self._low
        normalised = np.clip((action - self._low) / span * 2 - 1, -1, 1).astype(np.float32)
        parts, begin = [], 0
        for mean, log_std in self._outputs(observations):
            target = torch.from_numpy(normalised[begin : begin + len(mean)])
            parts.append(squashed_log_prob(mean, log_std, target).numpy())
            begin += len(mean)
        return np.concatenate(parts)

    def _outputs(self, observations: dict[str, Array]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        features = torch.from_numpy(self._features.build_batch(observations))
        with torch.no_grad():
            starts = range(0, len(features), _BATCH_SIZE)
            return [self._network(features[i : i + _BATCH_SIZE]) for i in starts]
