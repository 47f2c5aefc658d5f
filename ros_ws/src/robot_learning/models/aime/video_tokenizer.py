"""Feature maps as few discrete codes, place by place, and back to frames.

Vector quantisation whose codebook follows running means of what it stands for (van den Oord et
al. 2017, appendix A.1). How much each code is used is tracked; a code that is hardly used any
more is put where data are (Dhariwal et al. 2020, "Jukebox", section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robot_learning.models.aime.frames import MapDecoder

Averaged = Callable[[Sequence[Tensor]], Sequence[Tensor]]  # Means over processes.
_LEAST_COUNT = 1e-5


class Quantised(NamedTuple):
    """Vectors and the codes that stand for them."""

    values: Tensor  # [N, D], the codes; the gradient passes to the vectors as if they were these.
    indices: Tensor  # [N]
    commitment: Tensor  # Scalar, mean squared distance of vectors to their codes.


class Codebook(nn.Module):
    """V codes of D numbers.

    Args:
        codes: V.
        size: D.
        decay: of the running means.
        revival_usage: codes used less than this share of an even use are put elsewhere.
        averaged: means over processes that learn together, so that all keep one codebook.
    """

    codes: Tensor
    counts: Tensor
    sums: Tensor
    revived: Tensor

    def __init__(
        self,
        codes: int,
        size: int,
        decay: float,
        revival_usage: float,
        averaged: Averaged = list,
    ):
        super().__init__()
        self._decay, self.revival_usage, self._averaged = decay, revival_usage, averaged
        self.register_buffer('codes', torch.randn(codes, size))
        self.register_buffer('counts', torch.zeros(codes))  # Running mean of uses per update.
        self.register_buffer('sums', torch.zeros(codes, size))  # Likewise, of the vectors.
        self.register_buffer('revived', torch.zeros(()))  # Codes put elsewhere, in all.

    def forward(self, vectors: Tensor) -> Quantised:
        """Quantise [N, D]; while training also move the codes."""
        vectors = vectors.float()
        with torch.no_grad():
            indices = self._nearest(vectors)
            if self.training:
                self._follow(vectors, indices)
        values = self.codes[indices]
        commitment = F.mse_loss(vectors, values)
        return Quantised(vectors + (values - vectors).detach(), indices, commitment)

    @property
    def usage(self) -> Tensor:
        """Share of recent vectors that each code stood for, [V]."""
        return self.counts / self.counts.sum().clamp_min(_LEAST_COUNT)

    def revive(self, vectors: Tensor) -> int:
        """Put codes that are hardly used where vectors [N, D] are; return how many."""
        is_dead = self.usage * len(self.codes) < self.revival_usage
        count = int(is_dead.sum())
        if count:
            rows = torch.randint(len(vectors), (len(self.codes),), device=vectors.device)
            (places,) = self._averaged([vectors[rows]])
            fair = self.counts.sum() / len(self.codes)
            self.codes[is_dead] = places[is_dead]
            self.counts[is_dead] = fair
            self.sums[is_dead] = places[is_dead] * fair
            self.revived += count
        return count

    def _nearest(self, vectors: Tensor) -> Tensor:
        squares = self.codes.square().sum(1) - 2 * vectors @ self.codes.T  # [N, V]
        return squares.argmin(1)

    def _follow(self, vectors: Tensor, indices: Tensor) -> None:
        counts = torch.bincount(indices, minlength=len(self.codes)).float()
        sums = torch.zeros_like(self.codes).index_add_(0, indices, vectors)
        counts, sums = self._averaged([counts, sums])
        if not bool(self.counts.any()):  # The first update: codes begin where data are.
            self.counts.copy_(counts)
            self.sums.copy_(sums)
        else:
            self.counts.lerp_(counts, 1 - self._decay)
            self.sums.lerp_(sums, 1 - self._decay)
        is_known = self.counts > _LEAST_COUNT
        self.codes[is_known] = self.sums[is_known] / self.counts[is_known, None]
        self.revive(vectors)


class Tokens(NamedTuple):
    """Frames as codes."""

    values: Tensor  # [N, P, D]
    indices: Tensor  # [N, P]
    reconstruction: Tensor  # [N, 3, S, S], normalised frames.
    commitment: Tensor  # Scalar.


class VideoTokenizer(nn.Module):
    """Maps [N, C, H, W] of `FrameEncoder` to codes [N, P, D], and these to frames.

    Args:
        channels: C.
        depth: of the decoder, see `MapDecoder`.
        codebook: of D numbers.
        code_size: D.
    """

    def __init__(self, channels: int, depth: int, codebook: Codebook, code_size: int):
        super().__init__()
        self.projection = nn.Conv2d(channels, code_size, 1)
        self.codebook = codebook
        self.decoder = MapDecoder(code_size, depth)

    def forward(self, maps: Tensor) -> Tokens:
        """Quantise each place and draw the frames from the codes."""
        projected = self.projection(maps)  # [N, D, H, W]
        height, width = projected.shape[2:]
        vectors = projected.flatten(2).mT  # [N, P, D]
        found = self.codebook(vectors.flatten(0, 1))
        values = found.values.unflatten(0, vectors.shape[:2])  # [N, P, D]
        frames = self.decoder(values.mT.unflatten(2, (height, width)))
        indices = found.indices.unflatten(0, vectors.shape[:2])
        return Tokens(values, indices, frames, found.commitment)


def perplexity(indices: Tensor, num_codes: int) -> Tensor:
    """How many codes would be in use if all were used alike: exp of the entropy of their use."""
    share = torch.bincount(indices.flatten(), minlength=num_codes).float()
    share = share / share.sum()
    return torch.exp(-(share * share.clamp_min(1e-12).log()).sum())
