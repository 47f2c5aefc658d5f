"""A fixed front end of sight: opponent colours and oriented energy, as in early vision.

Opponent channels after Krauskopf, Williams & Heeley 1982; energy of a pair of Gabor filters a
quarter of a period apart after Adelson & Bergen 1985; shares of colours after Swain & Ballard
1991, "Color Indexing". Nothing here learns.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_WAVELENGTHS = (3.0, 6.0)  # Pixels: a fine and a coarse texture.
_NUM_ORIENTATIONS = 4
_LEVELS = 5  # Of each of red, green and blue, in shares of colours.
_KERNEL = 11  # Pixels; holds two standard deviations of the coarse filter.
_ENVELOPE = 0.45  # Standard deviation of the envelope, in wavelengths.
NUM_SHARES = 2 * _LEVELS**3


class FrontEnd(nn.Module):
    """Images [B, 3, H, W], 0 to 1, to maps [B, C, H / 2, W / 2] of about unit spread."""

    filters: Tensor
    opponents: Tensor
    num_channels = 3 + len(_WAVELENGTHS) * _NUM_ORIENTATIONS

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('filters', gabor_filters(), persistent=False)
        self.register_buffer('opponents', opponent_matrix(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return luminance, red-green, blue-yellow and the oriented energies of luminance."""
        colours = torch.einsum('oc,bchw->bohw', self.opponents, images)
        luminance = F.pad(colours[:, :1], [_KERNEL // 2] * 4, mode='reflect')
        even, odd = F.conv2d(luminance, self.filters, stride=2).chunk(2, dim=1)
        energy = (even.square() + odd.square() + 1e-6).sqrt()
        centred = F.avg_pool2d(colours, 2) - colours.new_tensor([0.5, 0.0, 0.0]).view(1, 3, 1, 1)
        return torch.cat([4 * centred, 8 * energy], dim=1)


def colour_shares(images: Tensor) -> Tensor:
    """Return how much of a picture has which colour, in all of it and in its middle.

    Each pixel gives to the eight nearest of 5 x 5 x 5 colours, to near ones more. The square root
    makes differences of rare colours count (Hellinger).

    Args:
        images: [B, 3, H, W], 0 to 1.

    Returns:
        [B, NUM_SHARES], 0 to 1.
    """
    small = F.avg_pool2d(images, 2)
    height, width = small.shape[2:]
    middle = small[:, :, height // 4 : -(height // 4), width // 4 : -(width // 4)]
    return torch.cat([_shares(small), _shares(middle)], dim=1)


def _shares(images: Tensor) -> Tensor:
    batch = len(images)
    place = images.flatten(2).clamp(0, 1) * (_LEVELS - 1)
    low = place.long().clamp(max=_LEVELS - 2)
    high_share = place - low
    shares = images.new_zeros(batch, _LEVELS**3)
    for corner in range(8):
        is_high = [(corner >> axis) & 1 for axis in range(3)]
        code = torch.zeros_like(low[:, 0])
        weight = torch.ones_like(place[:, 0])
        for axis, step in enumerate(is_high):
            code = code * _LEVELS + low[:, axis] + step
            weight = weight * (high_share[:, axis] if step else 1 - high_share[:, axis])
        shares.scatter_add_(1, code, weight)
    return (shares / place.shape[2]).sqrt()


def opponent_matrix() -> Tensor:
    """Return what turns red, green, blue into luminance, red-green, blue-yellow; [3, 3]."""
    return torch.tensor([[1 / 3, 1 / 3, 1 / 3], [1.0, -1.0, 0.0], [-0.5, -0.5, 1.0]])


def gabor_filters() -> Tensor:
    """Return even, then odd filters, wavelength by wavelength; [2 K, 1, side, side].

    Even ones have no mean, so that flat light has no energy; each has an absolute sum of 1.
    """
    half = _KERNEL // 2
    rows, columns = torch.meshgrid(
        torch.arange(-half, half + 1.0), torch.arange(-half, half + 1.0), indexing='ij'
    )
    pairs: tuple[list[Tensor], list[Tensor]] = ([], [])
    for wavelength in _WAVELENGTHS:
        envelope = torch.exp(-(rows**2 + columns**2) / (2 * (_ENVELOPE * wavelength) ** 2))
        for number in range(_NUM_ORIENTATIONS):
            angle = math.pi * number / _NUM_ORIENTATIONS
            along = columns * math.cos(angle) + rows * math.sin(angle)
            phase = 2 * math.pi * along / wavelength
            even = envelope * torch.cos(phase)
            even = even - envelope * (even.sum() / envelope.sum())
            for kind, kernel in zip(pairs, (even, envelope * torch.sin(phase)), strict=True):
                kind.append(kernel / kernel.abs().sum())
    return torch.stack([*pairs[0], *pairs[1]]).unsqueeze(1)
