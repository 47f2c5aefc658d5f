"""Sound as a learner hears it: log-mel bands and onsets, in numpy, so that every room may use it.

Models that compute it in torch take the same matrix and window from here. Bands follow the mel
scale of Slaney's Auditory Toolbox (1998), linear below 1 kHz and logarithmic above, triangles of
equal area, as librosa's default does.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from robot_learning.sense_formats import SAMPLE_RATE_HZ

Array = np.ndarray[Any, Any]

NUM_BANDS = 80
HOP = 160  # Samples, 10 ms.
FFT_SIZE = 400  # Samples, 25 ms; also the window's length.
FLOOR = 1e-5  # Power below this counts as silence; of full scale.

_LINEAR_HZ = 200 / 3  # Per mel, below the break.
_BREAK_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27  # Per mel, above it.


def hz_to_mel(frequency: Array | float) -> Array:
    """Return mels of frequencies in Hz, on Slaney's scale."""
    frequency = np.asarray(frequency, np.float64)
    above = np.log(np.maximum(frequency, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(frequency < _BREAK_HZ, frequency / _LINEAR_HZ, _BREAK_HZ / _LINEAR_HZ + above)


def mel_to_hz(mel: Array | float) -> Array:
    """Return frequencies in Hz of mels, the inverse of `hz_to_mel`."""
    mel = np.asarray(mel, np.float64)
    break_mel = _BREAK_HZ / _LINEAR_HZ
    above = _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(mel, break_mel) - break_mel))
    return np.where(mel < break_mel, mel * _LINEAR_HZ, above)


@lru_cache(maxsize=8)
def mel_filterbank(
    num_bands: int = NUM_BANDS, fft_size: int = FFT_SIZE, sample_rate_hz: int = SAMPLE_RATE_HZ
) -> Array:
    """Return the matrix [num_bands, fft_size // 2 + 1] float32 that takes power to mel bands.

    Do not write to it: calls share it.
    """
    bins = np.fft.rfftfreq(fft_size, 1 / sample_rate_hz)
    edges = mel_to_hz(np.linspace(0, float(hz_to_mel(sample_rate_hz / 2)), num_bands + 2))
    lower, centre, upper = (edges[start : start + num_bands, None] for start in range(3))
    rising = (bins - lower) / (centre - lower)
    falling = (upper - bins) / (upper - centre)
    triangles = np.maximum(0, np.minimum(rising, falling)) * 2 / (upper - lower)
    matrix: Array = triangles.astype(np.float32)
    matrix.setflags(write=False)
    return matrix


@lru_cache(maxsize=8)
def window(size: int = FFT_SIZE) -> Array:
    """Return the periodic Hann window [size] float32; do not write to it."""
    values = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)).astype(np.float32)
    values.setflags(write=False)
    return values


def log_mel(sound: Array) -> Array:
    """Return the natural logarithm of mel power [1 + N // HOP, NUM_BANDS] float32.

    Frame t is centred at sample `t * HOP`; beyond both ends the sound is mirrored.

    Args:
        sound: [N] at 16 kHz, full scale 1; N of at least `FFT_SIZE // 2 + 1`.
    """
    half = FFT_SIZE // 2
    padded = np.pad(np.asarray(sound, np.float32), half, mode='reflect')
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT_SIZE)[::HOP]
    power = np.abs(np.fft.rfft(frames * window(), axis=-1)) ** 2
    bands: Array = np.log(np.maximum(power @ mel_filterbank().T, FLOOR))
    return bands.astype(np.float32)


def onset(bands: Array) -> Array:
    """Return how much louder each frame is than the one before, [T] float32, 0 at the first.

    The mean over bands of the rise of the logarithm, falls counted as 0: the spectral flux of
    Dixon, "Onset detection revisited" (DAFx 2006), on log-mel.

    Args:
        bands: [T, NUM_BANDS] from `log_mel`.
    """
    rise = np.maximum(0, np.diff(bands, axis=0)).mean(axis=1)
    return np.concatenate([np.zeros(1), rise]).astype(np.float32)
