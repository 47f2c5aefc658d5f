"""A policy on the states of an AIME model, and the two of them acting step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robot_learning.models.aime.model import ActionRange, AimeModel, load_model
from robot_learning.models.aime.vrnn import Carry

POLICY_KIND = 'aime_policy'
_MODEL, _POLICY = 'model.', 'policy.'
_LEAST_STD = 0.05
Array = np.ndarray[Any, Any]


class LatentPolicy(nn.Module):
    """States [..., D], recurrent state and latent side by side, to actions [..., A] in [-1, 1].

    Args:
        state_size: D.
        action_size: A.
        hidden: width of both hidden layers.
    """

    def __init__(self, state_size: int, action_size: int, hidden: int = 128):
        super().__init__()
        self.hidden_size = hidden
        self.layers = nn.Sequential(
            nn.Linear(state_size, hidden),
            nn.LayerNorm(hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
        )
        self.output = nn.Linear(hidden, 2 * action_size)
        nn.init.zeros_(self.output.bias)

    def forward(self, states: Tensor) -> Tensor:
        """Return the best action."""
        return self._moments(states)[0].tanh()

    def sample(self, states: Tensor) -> Tensor:
        """Draw an action, with gradient."""
        mean, std = self._moments(states)
        return (mean + std * torch.randn_like(std)).tanh()

    def _moments(self, states: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = self.output(self.layers(states)).chunk(2, -1)
        return mean, F.softplus(raw - 1) + _LEAST_STD


class LatentActor:
    """Looks at frames one after the other and answers with commands.

    Args:
        model: frozen.
        policy: on its states.
        action_range: what actions of -1 and 1 mean.
    """

    def __init__(self, model: AimeModel, policy: LatentPolicy, action_range: ActionRange):
        self.model, self.action_range = model.eval(), action_range
        self._policy = policy.eval()
        self.begin()

    def begin(self) -> None:
        """Forget everything: an episode begins."""
        self._deter = self.model.recurrent.begin(1)

    @torch.no_grad()
    def act(self, frame: Array) -> Array:
        """Return the command [A], in units of the robot, for a picture [S, S, 3] uint8."""
        picture = torch.from_numpy(frame.astype(np.float32) / 255).permute(2, 0, 1)
        embedding = self.model.embed(picture[None, None])[0][:, 0]  # [1, E]
        stoch = self.model.recurrent.see(self._deter, embedding).mean
        action = self._policy(torch.cat((self._deter, stoch), -1))
        self._deter = self.model.recurrent.advance(Carry(self._deter, stoch), action)
        low, high = self.action_range
        command: Array = low + (action[0].numpy() + 1) / 2 * (high - low)
        return command.astype(np.float32)


def packed(model: AimeModel, policy: LatentPolicy) -> dict[str, Tensor]:
    """Return the tensors of both as one version holds them."""
    tensors = {f'{_MODEL}{name}': value for name, value in model.state_dict().items()}
    return tensors | {f'{_POLICY}{name}': value for name, value in policy.state_dict().items()}


def load_actor(
    tensors: Mapping[str, Array], manifest: Mapping[str, Any], where: str
) -> LatentActor:
    """Return the actor of a version.

    Raises:
        ModelRefusedError: the version is none, or its tensors do not fit.
    """
    described = manifest.get('policy') or {}
    inner = {**described, 'kind': described.get('model_kind', described.get('kind'))}
    model, action_range = load_model(
        {n.removeprefix(_MODEL): t for n, t in tensors.items() if n.startswith(_MODEL)},
        {'policy': inner},
        where,
    )
    state_size = model.config.hidden + model.config.latent
    policy = LatentPolicy(state_size, model.action_size, int(described['policy_hidden']))
    policy.load_state_dict(
        {
            n.removeprefix(_POLICY): torch.as_tensor(t)
            for n, t in tensors.items()
            if n.startswith(_POLICY)
        }
    )
    return LatentActor(model, policy, action_range)
