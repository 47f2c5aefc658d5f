"""What a sound is, as a vector: log-mel bands and their onsets, then convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robot_learning.log_mel import FFT_SIZE, FLOOR, HOP, mel_filterbank, window
from robot_learning.models.nsca.config import NscaModelConfig
from robot_learning.models.nsca.vision import Stage

SHORTEST = FFT_SIZE  # Samples; shorter sounds are filled up with silence.
_STAGES = (1, 2, 4, 8)  # Channels of each stage, times audio_channels.
_MEAN_LOG, _SPREAD_LOG = -4.0, 4.0  # Of log-mel power, about; makes inputs of unit spread.
_BANDS_PER_RATE = 4  # Neighbours whose mean changes together.
_FAINTEST_CHANGE = 1e-2  # Squared; what changes less counts as still.


class LogMel(nn.Module):
    """Sounds [B, N] to maps [B, 2, mel_bands, T]: log-mel power and its rise, 10 ms a frame."""

    bank: Tensor
    window: Tensor

    def __init__(self, config: NscaModelConfig):
        super().__init__()
        bank = mel_filterbank(config.mel_bands, FFT_SIZE, config.sample_rate)
        self.register_buffer('bank', torch.from_numpy(bank.copy()), persistent=False)
        self.register_buffer('window', torch.from_numpy(window().copy()), persistent=False)

    def forward(self, sounds: Tensor) -> Tensor:
        """Hear; the rise of the first frame is 0."""
        if sounds.shape[1] < SHORTEST:
            sounds = F.pad(sounds, (0, SHORTEST - sounds.shape[1]))
        spectra = torch.stft(
            sounds, FFT_SIZE, HOP, window=self.window, return_complex=True, pad_mode='reflect'
        )
        power = torch.view_as_real(spectra).square().sum(-1)
        bands = ((self.bank @ power).clamp(min=FLOOR).log() - _MEAN_LOG) / _SPREAD_LOG
        rise = F.pad(bands.diff(dim=2).clamp(min=0), (1, 0))
        return torch.stack([bands, 2 * rise], dim=1)


class AudioEncoder(nn.Module):
    """Sounds [B, N] at the config's rate to latents [B, latent_size].

    Which band sounds matters, and not when: what is read out is mean and spread over time, of
    the bands themselves and of what convolutions make of them, band by band. With `audio_rates`
    also the power of the bands' changes at each rate, which makes up a sound's texture to people
    (McDermott & Simoncelli 2011, "Sound Texture Perception via Statistics of the Auditory
    Periphery").
    """

    def __init__(self, config: NscaModelConfig):
        super().__init__()
        self.log_mel = LogMel(config)
        self.num_rates = config.audio_rates
        stages, num_maps = band_stages(2, _STAGES, config)
        self.stages = nn.ModuleList(stages)
        rates = config.audio_rates * (config.mel_bands // _BANDS_PER_RATE)
        read = 2 * (2 * config.mel_bands + num_maps) + rates
        self.norm = nn.BatchNorm1d(read, affine=False)
        self.output = nn.Linear(read, config.latent_size)

    def forward(self, sounds: Tensor) -> Tensor:
        """Encode, at one loudness: each sound's loudest band is 0 dB."""
        x = self.log_mel(sounds)
        loudest = x[:, :1].amax((2, 3), keepdim=True)
        x = torch.cat([(x[:, :1] - loudest).clamp(min=-4) + 1, x[:, 1:]], dim=1)
        read = [_over_time(x)]
        if self.num_rates:
            read.append(change_rates(x[:, 0], self.num_rates))
        for stage in self.stages:
            x = stage(x)
        read.append(_over_time(x))
        latent: Tensor = self.output(self.norm(torch.cat(read, dim=1)))
        return latent


def band_stages(
    channels: int, multiples: Sequence[int], config: NscaModelConfig
) -> tuple[list[nn.Module], int]:
    """Return stages over maps [B, channels, F, T], each of which halves time and bands.

    Args:
        channels: of the first input.
        multiples: channels of each stage, times audio_channels.
        config: sizes.

    Returns:
        The stages, and channels times bands of what the last one gives.
    """
    stages: list[nn.Module] = []
    bands = config.mel_bands
    for times in multiples:
        width = times * config.audio_channels
        stages.append(Stage(channels, width, config.blocks_per_stage))
        channels, bands = width, -(-bands // 2)
    return stages, channels * bands


def _over_time(x: Tensor) -> Tensor:
    """Mean and spread over time, band by band: [B, C, F, T] to [B, 2 C F]."""
    spread = (x.var(3, unbiased=False) + 1e-5).sqrt()
    return torch.cat([x.mean(3).flatten(1), spread.flatten(1)], dim=1)


def change_rates(bands: Tensor, num_rates: int) -> Tensor:
    """Measure how much bands change at each rate, whatever the sound's length.

    Of each octave, the mean square of what `2 ** octave` frames differ on average from as many
    frames before (an undecimated Haar wavelet); its logarithm, so that all rates count alike.

    Args:
        bands: [B, F, T], log-mel.
        num_rates: octaves, from that of neighbouring frames on.

    Returns:
        [B, num_rates * (F // 4)]; one for which the sound is too short counts as the next faster.
    """
    x = F.avg_pool1d(bands.transpose(1, 2), _BANDS_PER_RATE).transpose(1, 2)
    found: list[Tensor] = []
    for octave in range(num_rates):
        width = 2**octave
        if x.shape[2] < 2 * width:
            found.append(found[-1])
            continue
        mean = F.avg_pool1d(x, width, stride=1)
        power = (mean[:, :, width:] - mean[:, :, :-width]).square().mean(2)
        found.append((power + _FAINTEST_CHANGE).log())
    return torch.cat(found, dim=1)
