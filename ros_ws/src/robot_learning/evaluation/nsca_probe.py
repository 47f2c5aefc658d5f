"""What can be read off latents by a straight line: the linear probe of self-supervision."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Array = np.ndarray[Any, Any]
_PENALTIES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # One is chosen within what is learned from.
_MOST_STEPS = 60
_NUM_FOLDS = 3


class Probe(NamedTuple):
    """A linear classifier of standardised features."""

    mean: Tensor
    scale: Tensor
    weight: Tensor  # [D, C]
    bias: Tensor
    penalty: float
    within: float = math.nan  # Share right in the cross-validation that chose the penalty.

    def predict(self, features: Array) -> Array:
        """Return the most likely class of each row [N, D]."""
        rows = (torch.from_numpy(features).float() - self.mean) / self.scale
        found: Array = (rows @ self.weight + self.bias).argmax(1).numpy()
        return found


def fit_probe(features: Array, labels: Array, num_classes: int, seed: int = 0) -> Probe:
    """Fit multinomial logistic regression; its penalty is chosen by cross-validation.

    Args:
        features: [N, D].
        labels: [N], 0 to num_classes - 1.
        num_classes: outputs.
        seed: of the division for the choice.
    """
    rows, targets = torch.from_numpy(features).float(), torch.from_numpy(labels).long()
    fold = np.random.default_rng(seed).integers(0, _NUM_FOLDS, len(rows))
    scores = []
    for penalty in _PENALTIES:
        right = 0
        for held in range(_NUM_FOLDS):
            is_held = fold == held
            if not is_held.any() or is_held.all():
                continue
            probe = _fit(rows[~is_held], targets[~is_held], num_classes, penalty)
            right += int((probe.predict(features[is_held]) == labels[is_held]).sum())
        scores.append(right)
    best = int(np.argmax(scores))
    probe = _fit(rows, targets, num_classes, _PENALTIES[best])
    return probe._replace(within=scores[best] / len(rows))


def _fit(rows: Tensor, targets: Tensor, num_classes: int, penalty: float) -> Probe:
    mean, scale = rows.mean(0), rows.std(0, unbiased=False)
    scale = torch.where(scale > 1e-6, scale, torch.ones_like(scale))
    rows = (rows - mean) / scale
    weight = torch.zeros(rows.shape[1], num_classes, requires_grad=True)
    bias = torch.zeros(num_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=_MOST_STEPS, line_search_fn='strong_wolfe'
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(rows @ weight + bias, targets) + penalty * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    return Probe(mean, scale, weight.detach(), bias.detach(), penalty)
