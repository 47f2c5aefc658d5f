"""The recurrent part: a deterministic state, and a latent that what is seen adds to it.

Chung et al. 2015, "A Recurrent Latent Variable Model for Sequential Data". The state of step t
follows from state and latent of step t - 1 and the action taken there.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robot_learning.models.aime.dpgmm import Gaussian

_FIRST_RAW_STD = -3.0  # So narrow, 0.1, that a new posterior tells more than its noise hides.


class Carry(NamedTuple):
    """What is passed on from step to step."""

    deter: Tensor  # [B, H]
    stoch: Tensor  # [B, Z]


class Observed(NamedTuple):
    """Windows seen by the posterior."""

    deter: Tensor  # [B, T, H], before the step's own frame.
    posterior: Gaussian  # [B, T, Z]
    stoch: Tensor  # [B, T, Z], drawn from it.

    def carry_at(self, step: int) -> Carry:
        """Return what step `step` passes on."""
        return Carry(self.deter[:, step], self.stoch[:, step])


class Vrnn(nn.Module):
    """Embeddings [B, T, E] and actions [B, T, A] to states and latents.

    Args:
        embedding_size: E.
        action_size: A.
        hidden: H.
        latent: Z.
        min_std: of the posterior.
    """

    def __init__(
        self, embedding_size: int, action_size: int, hidden: int, latent: int, min_std: float
    ):
        super().__init__()
        self._latent, self._min_std = latent, min_std
        self.first = nn.Parameter(torch.zeros(hidden))
        self.input_action = nn.Linear(action_size, hidden)
        self.input_stoch = nn.Linear(latent, hidden, bias=False)
        self.memory = nn.GRUCell(hidden, hidden)
        self.seen = nn.Linear(embedding_size, hidden)
        self.expected = nn.Linear(hidden, hidden, bias=False)
        self.norm = nn.LayerNorm(hidden)
        self.posterior = nn.Linear(hidden, 2 * latent)
        nn.init.constant_(self.posterior.bias[latent:], _FIRST_RAW_STD)

    def begin(self, batch: int) -> Tensor:
        """Return the state [B, H] in which nothing was seen."""
        return self.first.expand(batch, -1)

    def advance(self, carry: Carry, action: Tensor) -> Tensor:
        """Return the next step's state [B, H] after an action [B, A]."""
        inputs = F.silu(self.input_stoch(carry.stoch) + self.input_action(action))
        deter: Tensor = self.memory(inputs, carry.deter)
        return deter

    def see(self, deter: Tensor, embedding: Tensor) -> Gaussian:
        """Return the posterior [..., Z] of a state [..., H] that sees an embedding [..., E]."""
        return self._posterior(deter, self.seen(embedding))

    def observe(self, embeddings: Tensor, actions: Tensor) -> Observed:
        """Run windows; `actions[:, t]` is taken at step t and leads to t + 1."""
        seen = self.seen(embeddings)  # [B, T, H], out of the loop.
        deter = self.begin(len(seen))
        states: list[Tensor] = []
        posteriors: list[Gaussian] = []
        draws: list[Tensor] = []
        for t in range(seen.shape[1]):
            if t:
                deter = self.advance(Carry(deter, draws[-1]), actions[:, t - 1])
            posterior = self._posterior(deter, seen[:, t])
            states.append(deter)
            posteriors.append(posterior)
            draws.append(posterior.sample())
        mean, std = (torch.stack(part, 1) for part in zip(*posteriors, strict=True))
        return Observed(torch.stack(states, 1), Gaussian(mean, std), torch.stack(draws, 1))

    def _posterior(self, deter: Tensor, seen: Tensor) -> Gaussian:
        hidden = F.silu(self.norm(self.expected(deter) + seen))
        mean, raw = self.posterior(hidden).float().chunk(2, -1)
        return Gaussian(mean, F.softplus(raw) + self._min_std)
