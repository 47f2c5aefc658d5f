"""The last seconds of a microphone; chunks come late, twice, at another rate or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np

from robot_learning.errors import MessageError

Array = np.ndarray[Any, Any]
_FULL_SCALE = 32768.0


class SoundBuffer:
    """Keeps the newest samples at one rate, mono; what is missing in between is silence.

    Args:
        sample_rate: Hz, of what is kept.
        length_s: seconds that are kept.
    """

    def __init__(self, sample_rate: int, length_s: float):
        self._rate = sample_rate
        self._samples = np.zeros(round(length_s * sample_rate), np.float32)
        self._next: int | None = None  # Number of the sample that comes next, of the microphone.
        self._source_rate = sample_rate
        self.newest_ns: int | None = None  # When the newest sample was taken.
        self.num_missing = 0  # Samples of the microphone that never came.
        self.num_resampled = 0  # Chunks that came at another rate.

    def is_of(self, sample_rate: int, num_samples: int) -> bool:
        """Whether it keeps so many samples at this rate."""
        return (self._rate, len(self._samples)) == (sample_rate, num_samples)

    def add(
        self, samples: Array, sample_rate: int, channels: int, first_sample: int, stamp_ns: int
    ) -> None:
        """Take a chunk.

        Args:
            samples: [N * channels] int16, interleaved.
            sample_rate: Hz, of each channel.
            channels: whose mean is heard.
            first_sample: number of the first one since the stream began.
            stamp_ns: when that was taken.

        Raises:
            MessageError: the numbers contradict each other.
        """
        if sample_rate <= 0 or channels <= 0 or len(samples) % channels:
            raise MessageError(
                f'sound: {len(samples)} samples of {channels} channels at {sample_rate} Hz, '
                f'expected a whole number of each. Check the microphone node.'
            )
        mono = np.asarray(samples, np.float32).reshape(-1, channels).mean(1) / _FULL_SCALE
        count = len(mono)
        if self._next is not None and sample_rate == self._source_rate:
            missing = first_sample - self._next
            if -self._source_rate < missing < 0:  # Older than a second: a new stream.
                mono = mono[-missing:]
            elif missing > 0:
                self.num_missing += missing
                self._append(np.zeros(self._scaled(missing, sample_rate), np.float32))
        if sample_rate != self._rate:
            self.num_resampled += 1
            mono = _resampled(mono, self._scaled(len(mono), sample_rate))
        self._append(mono)
        self._next, self._source_rate = first_sample + count, sample_rate
        self.newest_ns = stamp_ns + round(count / sample_rate * 1e9)

    def last(self) -> Array:
        """Return everything that is kept, the newest sample last; silence before the first."""
        return self._samples.copy()

    def _scaled(self, count: int, sample_rate: int) -> int:
        return round(count * self._rate / sample_rate)

    def _append(self, samples: Array) -> None:
        kept = len(self._samples)
        samples = samples[-kept:]
        self._samples = np.concatenate([self._samples[len(samples) :], samples])


def _resampled(samples: Array, count: int) -> Array:
    """Change the number of samples; with fewer, each is the mean of those it stands for."""
    if count == 0 or len(samples) == 0:
        return np.zeros(0, np.float32)
    sums = np.concatenate([[0.0], np.cumsum(samples, dtype=np.float64)])
    places = np.linspace(0, len(samples), count + 1)
    if count < len(samples):
        means: Array = np.diff(np.interp(places, np.arange(len(sums)), sums)) / np.diff(places)
        return np.asarray(means, np.float32)
    middles = 0.5 * (places[:-1] + places[1:]) - 0.5
    return np.asarray(np.interp(middles, np.arange(len(samples)), samples), np.float32)
