"""The parameters of small networks side by side in one vector.

Of a step through networks of 64 units most is the overhead of a dozen small tensors; over one
vector, clipping and the optimiser take a third of the time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from robot_learning.phases.fused_adam import FusedAdam
from robot_learning.phases.process_group import averaged


class FlatParameters:
    """Makes `parameters` views of `vector`, which an optimiser steps instead of them.

    Make it after the parameters got their first values and before anything shares their memory.
    """

    def __init__(self, parameters: Sequence[Tensor]):
        self.parameters = list(parameters)
        with torch.no_grad():
            self.vector = torch.cat([parameter.reshape(-1) for parameter in self.parameters])
            self.gradient = torch.zeros_like(self.vector)
            for parameter, part in zip(self.parameters, self._parts(self.vector), strict=True):
                parameter.data = part

    def share_gradient(self) -> None:
        """Let `.grad` of each parameter be its part of `gradient`, for passes that fill it."""
        for parameter, part in zip(self.parameters, self._parts(self.gradient), strict=True):
            parameter.grad = part

    def gradient_of(self, parameter: Tensor) -> Tensor:
        """Return the part of `gradient` that belongs to a parameter, to be filled."""
        parts = zip(self.parameters, self._parts(self.gradient), strict=True)
        return next(part for each, part in parts if each is parameter)

    def differentiate(self, loss: Tensor) -> None:
        """Fill `gradient` by autograd."""
        gradients = torch.autograd.grad(loss, self.parameters)
        torch.cat([part.reshape(-1) for part in gradients], out=self.gradient)

    def use_gradient(self) -> None:
        """Let the optimiser of `vector` step by `gradient`: by all processes' mean, of several."""
        (self.vector.grad,) = averaged([self.gradient])

    def step(self, optimizer: FusedAdam, max_norm: float) -> Tensor:
        """Step only these parameters, by `gradient`, made no longer than `max_norm`.

        Returns:
            the gradient's norm before that.
        """
        norm: Tensor = torch.linalg.vector_norm(self.gradient)
        self.vector.grad = self.gradient.mul_((max_norm / (norm + 1e-6)).clamp_(max=1.0))
        optimizer.advance()
        return norm

    def _parts(self, vector: Tensor) -> list[Tensor]:
        parts = torch.split_with_sizes(vector, [each.numel() for each in self.parameters])
        shapes = [each.shape for each in self.parameters]
        return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
