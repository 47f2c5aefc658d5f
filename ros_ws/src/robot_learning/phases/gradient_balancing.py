"""Several losses that pull the same parameters apart: one gradient from the gradients of all.

`GradientBalancer` turns each task's gradient a little towards a direction that all agree on, and
keeps its length ("Preserving Gradient Harmony: A Rotation-Based Gradient Balancing for Multi-Task
Conflict Remedy"). `summed` and `projected` (PCGrad) are what it is measured against.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import Tensor

from robot_learning.config import STRICT
from robot_learning.errors import TrainingError

_LEAST_SINE = 1e-6  # Below it a gradient and the consensus span no plane to turn in.


@dataclass(frozen=True, config=STRICT)
class GradientBalancingConfig:
    """How gradients are turned towards each other; the defaults are the paper's."""

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9  # Mu: what the consensus keeps.
    proximity: NonNegativeFloat = 1.0  # Lambda: weight of staying near the own direction.
    angle_steps: NonNegativeInt = 3  # Of gradient descent on the angles; 0 sums as it is.
    angle_learning_rate: PositiveFloat = 0.2


class Balanced(NamedTuple):
    """What became of the gradients of N tasks."""

    gradient: Tensor  # [P]
    angle: Tensor  # [N] radians by which each was turned.
    cosine_before: Tensor  # Least cosine between two of them; 1 where there are not two.
    cosine_after: Tensor


def summed(gradients: Tensor) -> Tensor:
    """Return the plain sum of [N, P]."""
    return gradients.sum(0)


def projected(gradients: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return the sum of [N, P] after each gave up what opposes another (PCGrad).

    Yu et al. 2020, "Gradient Surgery for Multi-Task Learning", algorithm 1: others come in
    random order, and are taken as they were.
    """
    squares = gradients.square().sum(1)
    total = torch.zeros_like(gradients[0])
    for index, own in enumerate(gradients):
        changed = own
        for other in torch.randperm(len(gradients), generator=generator).tolist():
            if other == index or squares[other] == 0:
                continue
            product = changed @ gradients[other]
            if product < 0:
                changed = changed - product / squares[other] * gradients[other]
        total = total + changed
    return total


def rotated(gradients: Tensor, consensus: Tensor, config: GradientBalancingConfig) -> Balanced:
    """Turn each gradient towards the consensus, and sum them; none changes its length.

    With unit gradients u_i, and w_i the unit vector that is perpendicular to u_i in the plane of
    u_i and the consensus, r_i = cos(a_i) u_i + sin(a_i) w_i. The angles take a few steps from 0
    down the mean of 1 - r_i r_j over pairs, plus proximity times the mean of |r_i - u_i|^2 / 4. No
    angle goes past the consensus. All follows from inner products, so that only these and the sum
    itself are as long as the parameters.

    Args:
        gradients: [N, P]; a row of zeros is left out.
        consensus: [P], of any length; zeros turn nothing.
        config: how far.
    """
    lengths = gradients.norm(dim=1)  # [N]
    present = lengths > 0
    units = gradients / torch.where(present, lengths, 1.0)[:, None]
    basis = torch.cat((units, consensus[None]))  # [N+1, P]
    products = (basis @ basis.T).double()
    along, length = products[:-1, -1], products[-1, -1].clamp(min=0).sqrt()  # [N] and [].
    across = (length**2 - along**2).clamp(min=0).sqrt()  # [N] |d - (u d) u|
    turns = present & (across > _LEAST_SINE * length)
    limit = torch.where(turns, torch.atan2(across, along), 0.0)  # [N]
    pairs = present[:, None] & present[None]
    angle = _angles(products, torch.where(turns, across, 1.0), limit, pairs, config)
    mixture = _mixture(products, torch.where(turns, across, 1.0), angle)  # [N, N+1]
    after = mixture @ products @ mixture.T
    kept = (lengths.double() @ mixture).to(gradients.dtype)  # [N+1]
    return Balanced(kept @ basis, angle, _least(products[:-1, :-1], pairs), _least(after, pairs))


class GradientBalancer:
    """Remembers the direction that tasks agree on, and balances their gradients by it.

    Args:
        config: how gradients are turned.
        parameters: of the model, in the order of its gradients.
        is_shared: whether several tasks learn each; the others get the plain sum. None: all are.
    """

    def __init__(
        self,
        config: GradientBalancingConfig,
        parameters: Sequence[Tensor],
        is_shared: Sequence[bool] | None = None,
    ):
        self.config = config
        self._is_shared = [True] * len(parameters) if is_shared is None else list(is_shared)
        size = sum(p.numel() for p in self._of_shared(parameters))
        self.consensus = torch.zeros(size, device=parameters[0].device)  # All there is to save.

    def combined(
        self, gradients: Mapping[str, Sequence[Tensor]]
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Return one gradient per parameter, and metrics.

        Args:
            gradients: task -> one tensor per parameter.

        Raises:
            TrainingError: a gradient is not finite; names the task. The consensus stays.
        """
        rows = []
        for name, parts in gradients.items():
            row = torch.cat([part.flatten() for part in self._of_shared(parts)])
            if not bool(torch.isfinite(row).all()):
                raise TrainingError(
                    f'gradient balancing: the gradient of {name!r} is not finite, expected '
                    f'numbers. Lower learning_rate or look at its data.'
                )
            rows.append(row)
        balanced = self.balance(torch.stack(rows))
        total = [torch.stack(list(each)).sum(0) for each in zip(*gradients.values(), strict=True)]
        sizes = [part.numel() for part in self._of_shared(total)]
        turned = iter(torch.split(balanced.gradient, sizes))
        for index, is_shared in enumerate(self._is_shared):
            if is_shared:
                total[index] = next(turned).reshape(total[index].shape)
        angles = zip(gradients, balanced.angle, strict=True)
        return total, {
            'balancing/cosine_before': balanced.cosine_before,
            'balancing/cosine_after': balanced.cosine_after,
            **{f'balancing/angle_{name}': angle for name, angle in angles},
        }

    def balance(self, gradients: Tensor) -> Balanced:
        """Renew the consensus with gradients [N, P] and return them balanced.

        The consensus is the running mean of the mean unit gradient, which is zero at first.
        """
        units = torch.nn.functional.normalize(gradients, dim=1)
        self.consensus.lerp_(units.mean(0).to(self.consensus.dtype), 1 - self.config.momentum)
        return rotated(gradients, self.consensus.to(gradients.dtype), self.config)

    def _of_shared(self, parts: Sequence[Tensor]) -> list[Tensor]:
        return [part for part, own in zip(parts, self._is_shared, strict=True) if own]


def _angles(
    products: Tensor,
    across: Tensor,
    limit: Tensor,
    pairs: Tensor,
    config: GradientBalancingConfig,
) -> Tensor:
    """Descend from 0; return [N], between 0 and `limit`."""
    count = pairs.any(1).sum().clamp(min=1)
    others = pairs & ~torch.eye(len(pairs), dtype=torch.bool, device=pairs.device)
    angle = torch.zeros_like(limit)
    for _ in range(config.angle_steps):
        with torch.enable_grad():
            angle.requires_grad_()
            mixture = _mixture(products, across, angle)
            conflict = 1 - mixture @ products @ mixture.T  # [N, N]
            apart = 2 * (1 - angle.cos())  # [N] |r - u|^2
            loss = (conflict * others).sum() / (2 * count * (count - 1).clamp(min=1))
            loss = loss + config.proximity * apart.sum() / (4 * count)
            (slope,) = torch.autograd.grad(loss, angle)
        step = angle.detach() - config.angle_learning_rate * slope
        angle = torch.minimum(step.clamp(min=0), limit)
    return angle.detach()


def _mixture(products: Tensor, across: Tensor, angle: Tensor) -> Tensor:
    """Return [N, N+1]: each r_i as a sum of the unit gradients and the consensus."""
    along = products[:-1, -1]
    of_consensus = angle.sin() / across
    of_own = angle.cos() - along * of_consensus
    return torch.cat((torch.diag(of_own), of_consensus[:, None]), dim=1)


def _least(cosines: Tensor, pairs: Tensor) -> Tensor:
    others = pairs & ~torch.eye(len(pairs), dtype=torch.bool, device=pairs.device)
    return torch.where(others, cosines, 1.0).min()
