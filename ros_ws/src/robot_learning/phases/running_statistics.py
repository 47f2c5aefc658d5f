"""Mean and deviation of everything seen so far."""

from __future__ import annotations

import torch
from torch import Tensor

_MIN_STD = 1e-2  # What hardly varied yet is not blown up when it does.


class RunningStatistics:
    """Merges batches as one would count them together (Chan et al. 1979), in float64."""

    def __init__(self, size: int):
        # Count, mean and sum of squared distances to it, [3, D] in one tensor to be saved.
        self.moments = torch.zeros(3, size, dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        """Count in values [N, D]."""
        values = values.double()
        count, mean, squares = self.moments
        new_mean = values.mean(0)
        distance = new_mean - mean
        total = count + len(values)
        squares += (values - new_mean).square().sum(0)
        squares += distance.square() * count * len(values) / total
        mean += distance * len(values) / total
        count.copy_(total)

    @property
    def mean(self) -> Tensor:
        """[D] float32."""
        return self.moments[1].float()

    @property
    def std(self) -> Tensor:
        """[D] float32, not below 0.01."""
        return (self.moments[2] / self.moments[0]).sqrt().clamp(min=_MIN_STD).float()
