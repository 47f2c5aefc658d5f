"""How unlike everything learned a world state is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_STRANGE = 0.99  # Share of learned states that are less novel than `strange`.


class Novelty(nn.Module):
    """Distance from what was learned, in units of how far that lies apart."""

    mean: Tensor
    scale: Tensor
    typical: Tensor
    strange: Tensor

    def __init__(self, state_size: int):
        super().__init__()
        self.register_buffer('mean', torch.zeros(state_size))
        self.register_buffer('scale', torch.ones(state_size))
        self.register_buffer('typical', torch.ones(()))
        self.register_buffer('strange', torch.full((), 2.0))

    @torch.no_grad()
    def fit(self, states: Tensor) -> None:
        """Take the measure of states [N, S]."""
        self.mean.copy_(states.mean(0))
        self.scale.copy_(states.std(0, unbiased=False).clamp(min=1e-6))
        distance = self._distance(states)
        self.typical.copy_(distance.median())
        self.strange.copy_(distance.quantile(_STRANGE).clamp(min=float(self.typical) + 1e-6))

    def forward(self, states: Tensor) -> Tensor:
        """Return 0 to 1 for states [..., S]: 0 like most, 0.5 like the strangest hundredth."""
        beyond = (self._distance(states) - self.typical) / (self.strange - self.typical)
        return (beyond / 2).clamp(0, 1)

    def _distance(self, states: Tensor) -> Tensor:
        return ((states - self.mean) / self.scale).square().mean(-1).sqrt()
