"""Mean and deviation of everything seen so far, and networks that take no notice of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Scale = tuple[Tensor, Tensor]  # Mean and deviation.
_MIN_STD = 1e-2  # What hardly varied yet is not blown up when it does.


class RunningStatistics:
    """Merges batches as one would count them together (Chan et al. 1979), in float64."""

    def __init__(self, size: int):
        # Count, mean and sum of squared distances to it, [3, D] in one tensor to be saved.
        self.moments = torch.zeros(3, size, dtype=torch.float64)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was counted in yet."""
        return not self.moments[0].any()

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


@torch.no_grad()
def keep_answers(layer: nn.Linear, old: Scale, new: Scale) -> None:
    """Let a first layer answer as before when its inputs are normalised anew.

    As van Hasselt et al. 2016, "Learning values across many orders of magnitude", do with a last
    layer: W (x - m) / s + b = (W s' / s) (x - m') / s' + b + W (m' - m) / s.

    Args:
        layer: of inputs [D].
        old: mean and deviation by which its inputs were normalised, [D] each.
        new: those by which they will be.
    """
    layer.bias.add_(layer.weight @ ((new[0] - old[0]) / old[1]))
    layer.weight.mul_(new[1] / old[1])
