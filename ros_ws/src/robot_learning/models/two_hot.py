"""Numbers of any size as a distribution over fixed bins: symlog and two-hot."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

_LARGEST_SYMLOG = 20.0  # Of the outermost bins: +-4.9e8.


def symlog(x: Tensor) -> Tensor:
    """sign(x) log(1 + |x|): the identity near 0, a logarithm far away (Hafner 2023, eq. 9)."""
    return torch.sign(x) * torch.log1p(x.abs())


def symexp(x: Tensor) -> Tensor:
    """Undo `symlog`."""
    return torch.sign(x) * torch.expm1(x.abs())


class TwoHot(NamedTuple):
    """A categorical distribution over numbers (Hafner et al. 2025, Nature 640, "symexp twohot").

    Its mean can lie between bins, and its loss has a gradient of bounded size for targets of
    any magnitude.
    """

    logits: Tensor  # [..., N]
    bins: Tensor  # [N], ascending and symmetric about 0.

    def mean(self) -> Tensor:
        """Return the expected number, [...].

        Bins of opposite sign are taken together, so that equal weights give exactly 0 in
        spite of bins of 10^8.
        """
        probability = self.logits.softmax(-1)
        half = len(self.bins) // 2  # The bin in the middle is 0.
        above = probability[..., half + 1 :] - probability[..., :half].flip(-1)
        return above @ self.bins[half + 1 :]

    def log_prob(self, target: Tensor) -> Tensor:
        """Return the negative cross-entropy against targets [...]: sum of two-hot * log p."""
        return self.log_probs(target[..., None])[..., 0]

    def log_probs(self, targets: Tensor) -> Tensor:
        """As `log_prob` for K targets of each number, [..., K]; the softmax is taken once."""
        log_probability = self.logits.log_softmax(-1)
        targets = targets.to(self.bins.dtype).clamp(self.bins[0], self.bins[-1]).contiguous()
        above = torch.searchsorted(self.bins, targets).clamp_(1, len(self.bins) - 1)
        below = above - 1
        lower, upper = self.bins[below], self.bins[above]
        share = (targets - lower) / (upper - lower)  # Of the bin above.
        picked = log_probability.gather(-1, torch.cat([below, above], -1))  # [..., 2 K]
        of_below, of_above = picked.chunk(2, -1)
        return torch.lerp(of_below, of_above, share)


class TwoHotOutput(nn.Linear):
    """The last layer of a head that answers numbers; it begins with the answer 0 everywhere."""

    bins: Tensor

    def __init__(self, input_size: int, num_bins: int = 255):
        assert num_bins % 2 == 1, 'the bin in the middle is 0'
        super().__init__(input_size, num_bins)
        bins = symexp(torch.linspace(-_LARGEST_SYMLOG, _LARGEST_SYMLOG, num_bins))
        half = num_bins // 2
        bins = torch.cat([-bins[half + 1 :].flip(0), torch.zeros(1), bins[half + 1 :]])
        self.register_buffer('bins', bins, persistent=False)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def distribution(self, x: Tensor) -> TwoHot:
        """Map [..., D] to one number per row."""
        return TwoHot(self(x).float(), self.bins)
