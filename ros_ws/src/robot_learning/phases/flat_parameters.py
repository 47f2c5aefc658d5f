"""The parameters of small networks side by side in one vector.

Of a step through networks of 64 units most is the overhead of a dozen small tensors; over one
vector, clipping and the optimiser take a third of the time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class FlatParameters:
    """Makes `parameters` views of `vector`, which an optimiser steps instead of them.

    Make it after the parameters got their first values and before anything shares their memory.
    """

    def __init__(self, parameters: Sequence[Tensor]):
        self.parameters = list(parameters)
        with torch.no_grad():
            self.vector = torch.cat([parameter.reshape(-1) for parameter in self.parameters])
            sizes = [parameter.numel() for parameter in self.parameters]
            parts = torch.split_with_sizes(self.vector, sizes)
            for parameter, part in zip(self.parameters, parts, strict=True):
                parameter.data = part.view(parameter.shape)

    def step(self, optimizer: torch.optim.Optimizer, loss: Tensor, max_norm: float) -> Tensor:
        """Step only these parameters, by a gradient no longer than `max_norm`.

        Returns:
            the gradient's norm before that.
        """
        gradients = torch.autograd.grad(loss, self.parameters)
        gradient = torch.cat([part.reshape(-1) for part in gradients])
        norm: Tensor = torch.linalg.vector_norm(gradient)
        self.vector.grad = gradient.mul_((max_norm / (norm + 1e-6)).clamp_(max=1.0))
        optimizer.step()
        return norm
