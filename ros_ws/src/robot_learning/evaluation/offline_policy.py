"""A stored policy asked about many recorded steps at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robot_learning.contract import RobotContract
from robot_learning.errors import ModelRefusedError
from robot_learning.features import FeatureBuilder
from robot_learning.models.actor_critic import (
    GaussianClippedPolicy,
    GaussianPolicy,
    GaussianTanhPolicy,
)
from robot_learning.models.distributions import clipped_log_prob, squashed_log_prob
from robot_learning.models.sequence_policy import SequencePolicy

Array = np.ndarray[Any, Any]

_BATCH_SIZE = 4096
_NETWORKS: dict[str, Callable[..., GaussianPolicy | SequencePolicy]] = {
    'gaussian_tanh_mlp': GaussianTanhPolicy,
    'gaussian_clipped_mlp': GaussianClippedPolicy,
    'gaussian_tanh_sequence': SequencePolicy,
}


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
        if kind not in _NETWORKS:
            raise ModelRefusedError(
                f'model {manifest.get("model")}: policy kind is {kind!r}, expected one of '
                f'{", ".join(_NETWORKS)}. Choose a version that sac, ppo, behavior_cloning or '
                f'sequence_cloning published.'
            )
        self._features = FeatureBuilder(contract)
        self.fields = self._features.fields
        self._low = np.asarray(spec['action_low'], np.float32)
        self._high = np.asarray(spec['action_high'], np.float32)
        sizes = {k: v for k, v in spec.items() if k not in ('kind', 'action_low', 'action_high')}
        self._network = _NETWORKS[kind](**sizes)
        is_clipped = isinstance(self._network, GaussianClippedPolicy)
        self._likelihood = clipped_log_prob if is_clipped else squashed_log_prob
        self._squash: Callable[[Tensor], Tensor] = _clipped if is_clipped else torch.tanh
        weights = {name: torch.from_numpy(np.array(value)) for name, value in tensors.items()}
        self._network.load_state_dict(weights)

    def mode(self, observations: dict[str, Array], is_first: Array, action: Array) -> Array:
        """Return the most central actions [N, A] in contract units."""
        outputs = self._outputs(observations, is_first)
        squashed = [self._squash(mean).numpy() for mean, _ in outputs]
        span = self._high - self._low
        return np.asarray(self._low + (np.concatenate(squashed) + 1) / 2 * span)

    def log_prob(self, observations: dict[str, Array], is_first: Array, action: Array) -> Array:
        """Return the log-likelihood [N] of the normalised actions, nats."""
        span = self._high - self._low
        normalised = np.clip((action - self._low) / span * 2 - 1, -1, 1).astype(np.float32)
        parts, begin = [], 0
        for mean, log_std in self._outputs(observations, is_first):
            target = torch.from_numpy(normalised[begin : begin + len(mean)])
            parts.append(self._likelihood(mean, log_std, target).numpy())
            begin += len(mean)
        return np.concatenate(parts)

    def _outputs(
        self, observations: dict[str, Array], is_first: Array
    ) -> list[tuple[Tensor, Tensor]]:
        features = torch.from_numpy(self._features.build_batch(observations))
        with torch.no_grad():
            if isinstance(self._network, SequencePolicy):
                begins = torch.from_numpy(is_first)[None]
                mean, log_std, _ = self._network(features[None], begins)
                return [(mean[0], log_std[0])]
            starts = range(0, len(features), _BATCH_SIZE)
            return [self._network(features[i : i + _BATCH_SIZE]) for i in starts]


def _clipped(mean: Tensor) -> Tensor:
    return mean.clamp(-1, 1)
