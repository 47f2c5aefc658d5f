"""The course of a sound as a vector: what follows what, as in a spoken word."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robot_learning.models.nsca.audio import AudioEncoder, LogMel, band_stages
from robot_learning.models.nsca.config import NscaModelConfig

_STAGES = (1, 2, 4)  # Channels of each stage, times audio_channels; each halves time and bands.
_RANGE = 2.0  # Of log-mel power below the loudest that is heard: 35 dB.
_SOUNDS = 1.2  # Likewise, what counts as sounding: 21 dB.
_EDGE = 0.01  # Share of what sounds that lies outside, at either end.


class CourseEncoder(nn.Module):
    """Sounds [B, N] at the config's rate to latents [B, latent_size], in the order of time.

    From where a sound begins to where it ends, at one length: words are said at different speeds,
    and silence around them says nothing. Each band's mean is taken off (cepstral mean
    normalisation, Atal 1974): it belongs to the voice, the microphone and the room.
    """

    def __init__(self, config: NscaModelConfig):
        super().__init__()
        self.log_mel = LogMel(config)
        self.frames = config.audio_course
        stages, num_maps = band_stages(1, _STAGES, config)
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(config.dropout)
        read = num_maps * (self.frames // 2 ** len(_STAGES))
        self.norm = nn.BatchNorm1d(read, affine=False)
        self.output = nn.Linear(read, config.latent_size)

    def forward(self, sounds: Tensor) -> Tensor:
        """Encode, at one loudness."""
        x = self.log_mel(sounds)[:, :1]
        x = (x - x.amax((2, 3), keepdim=True)).clamp(min=-_RANGE)
        x = sounding(x, self.frames)
        x = 2 * (x - x.mean(3, keepdim=True))
        latent: Tensor = self.output(self.norm(self.dropout(self.stages(x).flatten(1))))
        return latent


def sounding(bands: Tensor, frames: int) -> Tensor:
    """Return the part of each map that sounds, from a frame before to a frame after it.

    Args:
        bands: [B, 1, F, T], log-mel as `LogMel` scales it; whatever its loudest is.
        frames: of what is returned; interpolated.

    Returns:
        [B, 1, F, frames].
    """
    level = bands[:, 0].amax(1)  # [B, T]
    excess = F.relu(level - level.amax(1, keepdim=True) + _SOUNDS)
    heard = excess.cumsum(1) / excess.sum(1, keepdim=True)
    begin = (heard < _EDGE).sum(1, keepdim=True) - 1.0
    end = (heard < 1 - _EDGE).sum(1, keepdim=True) + 1.0
    along = torch.linspace(0, 1, frames, device=bands.device)
    height, length = bands.shape[2:]
    across = 2 * (begin + (end - begin) * along) / max(length - 1, 1) - 1  # [B, frames]
    down = torch.linspace(-1, 1, height, device=bands.device)
    grid = torch.stack(
        [
            across.unsqueeze(1).expand(-1, height, -1),
            down.view(1, -1, 1).expand(len(bands), -1, frames),
        ],
        dim=3,
    )
    return F.grid_sample(bands, grid, padding_mode='border', align_corners=True)


def ear(config: NscaModelConfig) -> nn.Module:
    """Return what hears: the course of sounds, or their texture whenever they sound."""
    return CourseEncoder(config) if config.audio_course else AudioEncoder(config)
