"""LaProp, the optimiser of DreamerV3: momentum over normalised gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class LaProp(torch.optim.Optimizer):
    """Divides gradients by their magnitude before they enter the momentum, Adam after.

    So one burst neither drives nor stalls what follows (Ziyin et al. 2020, arXiv 2002.04839,
    algorithm 1).

    Args:
        parameters: tensors, or groups with a `lr` of their own.
        lr: learning rate.
        betas: decay of the momentum and of the squares.
        eps: added to the root of the squares; tiny, as rewards may be.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 4e-5,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-20,
    ):
        super().__init__(parameters, {'lr': lr, 'betas': betas, 'eps': eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move all parameters that have a gradient; the gradients are overwritten."""
        for group in self.param_groups:
            parameters = [p for p in group['params'] if p.grad is not None]
            if parameters:
                self._step_group(group, parameters)

    def _step_group(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        states = [self._state_of(p) for p in parameters]
        squares = [state['square'] for state in states]
        momenta = [state['momentum'] for state in states]
        torch._foreach_add_([state['step'] for state in states], 1.0)
        count = float(states[0]['step'])
        decay, square_decay = group['betas']
        torch._foreach_mul_(squares, square_decay)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - square_decay)
        size = list(torch._foreach_div(squares, 1 - square_decay**count))
        torch._foreach_sqrt_(size)
        torch._foreach_add_(size, group['eps'])
        torch._foreach_div_(gradients, size)
        torch._foreach_lerp_(momenta, gradients, 1 - decay)
        torch._foreach_add_(parameters, momenta, alpha=-group['lr'] / (1 - decay**count))

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state['step'] = torch.zeros(())
            state['square'] = torch.zeros_like(parameter)
            state['momentum'] = torch.zeros_like(parameter)
        return state
