"""The scale of returns, so that one entropy weight fits every task and reward."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robot_learning.phases.process_group import averaged


class ReturnNormaliser(nn.Module):
    """Running range between two percentiles of the returns (Hafner et al. 2023, equation 7).

    The range is robust against outliers, and small ones are not blown up: returns are only ever
    divided by `limit` or more. The averages begin at 0, as in the paper's code, so that the
    limit rules at first.

    Args:
        decay: of the moving average, per update.
        limit: the smallest scale.
        low: lower percentile as a share of 1.
        high: upper percentile.
    """

    low_average: Tensor
    high_average: Tensor
    _shares: Tensor

    def __init__(
        self, decay: float = 0.99, limit: float = 1.0, low: float = 0.05, high: float = 0.95
    ):
        super().__init__()
        self._decay = decay
        self._limit = limit
        self.register_buffer('low_average', torch.zeros(()))
        self.register_buffer('high_average', torch.zeros(()))
        self.register_buffer('_shares', torch.tensor([low, high]), persistent=False)

    @torch.no_grad()
    def update(self, returns: Tensor) -> Tensor:
        """Take in the returns of one update, of any shape; return the new scale, a scalar.

        Of several processes that learn together, all take the mean of their percentiles.
        """
        flat = returns.float().flatten()
        low, high = averaged([torch.quantile(flat, self._shares)])[0]
        self.low_average.lerp_(low, 1 - self._decay)
        self.high_average.lerp_(high, 1 - self._decay)
        return self.scale

    @property
    def scale(self) -> Tensor:
        """What returns and advantages are to be divided by."""
        return (self.high_average - self.low_average).clamp_min(self._limit)
