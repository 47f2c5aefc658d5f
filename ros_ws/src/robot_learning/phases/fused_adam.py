"""Adam without what torch does around its kernel at every step."""

from __future__ import annotations

import torch
from torch.optim.adam import adam


class FusedAdam(torch.optim.Adam):
    """Adam (Kingma & Ba 2015) over a few long vectors.

    `step` is torch's own. `advance` does the same: of 0.3 ms that a step of 160 000 numbers takes
    the arithmetic is 0.1, hooks, checks and tables are the rest.
    """

    def __init__(self, groups: list[dict[str, object]], eps: float = 1e-8):
        """Prepare.

        Args:
            groups: torch's parameter groups, each with its `lr`.
            eps: added to the root of the second moment.
        """
        super().__init__(groups, eps=eps, fused=True)

    @torch.no_grad()
    def advance(self) -> None:
        """Step all parameters by their `.grad`, which all must have."""
        if len(self.state) < sum(len(group['params']) for group in self.param_groups):
            self.step()  # The first: makes the moments.
            return
        for group in self.param_groups:
            parameters = group['params']
            moments = [self.state[parameter] for parameter in parameters]
            beta1, beta2 = group['betas']
            adam(
                parameters,
                [parameter.grad for parameter in parameters],
                [moment['exp_avg'] for moment in moments],
                [moment['exp_avg_sq'] for moment in moments],
                [],
                [moment['step'] for moment in moments],
                fused=True,
                amsgrad=False,
                beta1=beta1,
                beta2=beta2,
                lr=group['lr'],
                weight_decay=0.0,
                eps=group['eps'],
                maximize=False,
            )
