"""Limits on gradients, put in front of an optimiser's steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_SMALLEST_NORM = 1e-3  # A tensor of zeros must be able to leave 0.


class GradientClipping:
    """Shortens gradients before every step of an optimiser.

    Args:
        optimizer: whose steps; each of its groups is measured for itself.
        ratio: largest norm of a tensor's gradient relative to the tensor's own (adaptive
            clipping, Brock et al. 2021, arXiv 2102.06171, per tensor as in Hafner et al. 2023).
        norm: largest norm of all gradients of a group together.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        ratio: float | None = None,
        norm: float | None = None,
    ):
        self.norms: list[Tensor] = []  # Of each group before clipping, at the last step.
        self._ratio = ratio
        self._norm = norm
        optimizer.register_step_pre_hook(self._before_step)

    @torch.no_grad()
    def _before_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        self.norms = []
        for group in optimizer.param_groups:
            parameters: list[Tensor] = [p for p in group['params'] if p.grad is not None]
            gradients = [p.grad for p in parameters if p.grad is not None]
            norms = list(torch._foreach_norm(gradients))
            total = torch.stack(norms).norm()
            self.norms.append(total)
            if self._ratio is not None:
                _shorten(parameters, gradients, norms, self._ratio)
            if self._norm is not None:
                torch._foreach_mul_(gradients, (self._norm / (total + 1e-6)).clamp(max=1.0))


def _shorten(
    parameters: list[Tensor], gradients: list[Tensor], norms: list[Tensor], ratio: float
) -> None:
    """Scale each gradient to at most `ratio` times its parameter's norm."""
    largest = torch._foreach_norm(parameters)
    torch._foreach_clamp_min_(largest, _SMALLEST_NORM)
    torch._foreach_mul_(largest, ratio)
    excess = torch._foreach_div(norms, largest)
    torch._foreach_clamp_min_(excess, 1.0)
    torch._foreach_div_(gradients, excess)
