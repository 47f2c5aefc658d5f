"""What a latent state looks like."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from robot_learning.models.aime.frames import MapDecoder


class FrameDecoder(nn.Module):
    """States [..., D], recurrent state and latent side by side, to [..., 3, S, S].

    Frames are normalised, see `frames.FrameScale`.

    Args:
        state_size: D.
        depth: channels of the last hidden map; those before have twice and four times as many.
        side: height and width of the first map, S/8.
    """

    def __init__(self, state_size: int, depth: int, side: int):
        super().__init__()
        self._first = (4 * depth, side, side)
        self.input = nn.Linear(state_size, 4 * depth * side * side)
        self.norm = nn.GroupNorm(1, 4 * depth)
        self.maps = MapDecoder(4 * depth, depth)

    def forward(self, states: Tensor) -> Tensor:
        """Draw every state by itself; the mean of a Gaussian over pixels."""
        maps = F.silu(self.norm(self.input(states).reshape(-1, *self._first)))
        frames: Tensor = self.maps(maps)
        return frames.reshape(*states.shape[:-1], *frames.shape[1:])
