"""LaProp, the optimiser of DreamerV3: momentum over normalised gradients."""

from __future__ import annotations

import math
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
        capturable: count steps on the parameters' device, as a CUDA graph needs it; a `lr` that
            is a tensor there may then be changed between replays.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 4e-5,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-20,
        capturable: bool = False,
    ):
        defaults = {'lr': lr, 'betas': betas, 'eps': eps, 'capturable': capturable}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move all parameters that have a gradient; the gradients are overwritten."""
        for group in self.param_groups:
            parameters = [p for p in group['params'] if p.grad is not None]
            if parameters:
                self._step_group(group, parameters)

    def _step_group(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        states = [self._state_of(p, group['capturable']) for p in parameters]
        squares = [state['square'] for state in states]
        momenta = [state['momentum'] for state in states]
        torch._foreach_add_([state['step'] for state in states], 1.0)
        decay, square_decay = group['betas']
        torch._foreach_mul_(squares, square_decay)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - square_decay)
        missing = _missing_shares(states[0]['step'], (decay, square_decay), group['capturable'])
        size = list(torch._foreach_div(squares, missing[1]))
        torch._foreach_sqrt_(size)
        torch._foreach_add_(size, group['eps'])
        torch._foreach_div_(gradients, size)
        torch._foreach_lerp_(momenta, gradients, 1 - decay)
        if group['capturable']:
            moves = torch._foreach_mul(momenta, -group['lr'] / missing[0])
            torch._foreach_add_(parameters, moves)
        else:
            torch._foreach_add_(parameters, momenta, alpha=-group['lr'] / missing[0])

    def _state_of(self, parameter: Tensor, is_capturable: bool) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[parameter]
        device = parameter.device if is_capturable else torch.device('cpu')
        if not state:
            state['step'] = torch.zeros((), device=device)
            state['square'] = torch.zeros_like(parameter)
            state['momentum'] = torch.zeros_like(parameter)
        elif state['step'].device != device:  # Of a checkpoint.
            state['step'] = state['step'].to(device)
        return state


def _missing_shares(count: Tensor, decays: tuple[float, float], is_capturable: bool) -> list[Any]:
    """Return of each decay what averages that began at 0 still lack after `count` steps."""
    if is_capturable:
        return [-torch.expm1(count * math.log(decay)) for decay in decays]
    return [1 - decay ** float(count) for decay in decays]
