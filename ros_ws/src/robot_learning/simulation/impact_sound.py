"""Impact sounds by modal synthesis: material, size, contact force and place make the sound.

A struck body is a sum of damped modes (van den Doel & Pai, "The sounds of physical shapes",
Presence 7(4), 1998): mode k moves with the velocity F * cos(2 pi f_k t) exp(-d_k t) a_k / m_k,
where the force F lasts as long as the contact of two elastic bodies (Hertz; Johnson, Contact
Mechanics, 1985, equation 11.24), so soft bodies sound dull. A body radiates like a sphere that
pulsates: hardly below the frequency where a wave is as long as the sphere's circumference.
That parts of a wall that move against each other cancel in the air is left out, so the level
is an upper bound; spectrum and decay are what the model is for.

Equal inputs give equal sounds. Nothing here is random; noise takes a generator.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.signal import lfilter

from robot_learning.sense_formats import SAMPLE_RATE_HZ
from robot_learning.simulation.resonance import Modes, ResonantBody, gains, modes

Array = np.ndarray[Any, Any]

FULL_SCALE_PA = 300.0  # Sound pressure of a full-scale sample.
DISTANCE_M = 0.4  # From what sounds to the microphone.
_AIR_IMPEDANCE = 413.0  # Pa s / m at 20 degrees Celsius.
_SOUND_SPEED = 343.0  # m / s.
_INAUDIBLE = 1e-9  # N, of a filter's state.
_ABOVE_DENORMAL = 1e-20  # N; filters that ring down into denormal numbers are 10 times slower.


class Impact(NamedTuple):
    """One contact of short duration."""

    time_s: float  # When it begins.
    impulse_ns: float  # Newton seconds, the force's integral over the contact.
    duration_s: float
    place: tuple[float, float]  # On the body's wall, 0 to 1 each.


class Scrape(NamedTuple):
    """A contact that slides."""

    force_n: Array  # [N] at 16 kHz, the part of the force that changes.
    place: tuple[float, float]


def contact_duration(
    mass_kg: float, radius_m: float, speed_m_s: float, moduli_pa: Iterable[float]
) -> float:
    """Return how long two elastic bodies touch, seconds.

    Args:
        mass_kg: effective, 1 / (1 / m1 + 1 / m2).
        radius_m: of curvature at the contact.
        speed_m_s: at which they meet.
        moduli_pa: Young's moduli of what is pressed together, in series.
    """
    compliance = sum((1 - 0.3**2) / modulus for modulus in moduli_pa)
    speed = max(speed_m_s, 1e-3)
    return float(2.87 * (mass_kg**2 * compliance**2 / (radius_m * speed)) ** 0.2)


def force_pulse(impact: Impact) -> tuple[int, Array]:
    """Return the first sample of an impact and the mean force per sample from there on, newtons.

    Half a sine wave whose integral is the impulse, also when it is shorter than a sample.
    """
    start_s, stop_s = impact.time_s, impact.time_s + impact.duration_s
    first = math.floor(start_s * SAMPLE_RATE_HZ)
    last = math.ceil(stop_s * SAMPLE_RATE_HZ)
    edges = np.arange(first, last + 1) / SAMPLE_RATE_HZ
    phase = np.clip((edges - start_s) / impact.duration_s, 0, 1)
    done = (1 - np.cos(math.pi * phase)) / 2
    return first, np.diff(done) * impact.impulse_ns * SAMPLE_RATE_HZ


def pressure(
    body: ResonantBody,
    impacts: Sequence[Impact],
    num_samples: int,
    scrapes: Sequence[Scrape] = (),
    found: Modes | None = None,
) -> Array:
    """Return the sound pressure at the microphone, [num_samples] pascal.

    Args:
        body: what sounds.
        impacts: what it was struck with.
        num_samples: at 16 kHz.
        scrapes: what slid along it.
        found: its modes, where they are known already.
    """
    ringing = RingingBody(body, found)
    return ringing.sound(impacts, num_samples, scrapes)


class RingingBody:
    """A body that goes on ringing from one piece of time to the next.

    Args:
        body: what sounds.
        found: its modes, where they are known already.
    """

    def __init__(self, body: ResonantBody, found: Modes | None = None):
        self._body = body
        self._modes = modes(body) if found is None else found
        radius = math.sqrt(body.wall_volume_m3 / body.thickness_m / (4 * math.pi))
        wave_number = 2 * math.pi * self._modes.frequency_hz / _SOUND_SPEED * radius
        efficiency = wave_number / np.sqrt(1 + wave_number**2)
        spread = radius / DISTANCE_M / SAMPLE_RATE_HZ
        self._scale = _AIR_IMPEDANCE * efficiency * spread / self._modes.mass_kg  # [K]
        self._state = np.zeros((len(self._scale), 2))
        self._pending = np.zeros((len(self._scale), 0))  # Force of contacts that still last.

    @property
    def is_silent(self) -> bool:
        """Whether nothing sounds that a new impact would not begin."""
        return not self._pending.size and float(np.abs(self._state).max(initial=0)) < _INAUDIBLE

    def sound(
        self, impacts: Sequence[Impact], num_samples: int, scrapes: Sequence[Scrape] = ()
    ) -> Array:
        """Return the pressure of the next `num_samples`, pascal; times count from their first."""
        force = self._force(impacts, scrapes, num_samples)
        self._pending = force[:, num_samples:]
        total = np.zeros(num_samples)
        for index, gain in enumerate(self._scale):
            total += gain * self._ring(index, force[index, :num_samples])
        return total

    def _force(
        self, impacts: Sequence[Impact], scrapes: Sequence[Scrape], num_samples: int
    ) -> Array:
        """Return the force on each mode, [K, at least num_samples]."""
        pulses = [force_pulse(impact) for impact in impacts]
        ends = [first + len(pulse) for first, pulse in pulses]
        length = max([num_samples, self._pending.shape[1], *ends])
        force = np.zeros((len(self._scale), length))
        force[:, : self._pending.shape[1]] = self._pending
        for impact, (first, pulse) in zip(impacts, pulses, strict=True):
            gain = gains(self._body, self._modes, impact.place)
            force[:, first : first + len(pulse)] += np.outer(gain, pulse)
        for scrape in scrapes:
            gain = gains(self._body, self._modes, scrape.place)
            force[:, :num_samples] += np.outer(gain, scrape.force_n)
        return force if length > num_samples else force[:, :num_samples]

    def _ring(self, index: int, force: Array) -> Array:
        """Convolve a force with cos(w t) exp(-d t), as a filter with two poles."""
        decay = float(self._modes.decay_per_s[index]) / SAMPLE_RATE_HZ
        angle = 2 * math.pi * float(self._modes.frequency_hz[index]) / SAMPLE_RATE_HZ
        radius = math.exp(-decay)
        cosine = radius * math.cos(angle)
        ringing, self._state[index] = lfilter(
            [1.0, -cosine],
            [1.0, -2 * cosine, radius**2],
            force + _ABOVE_DENORMAL,
            zi=self._state[index],
        )
        return np.asarray(ringing)


def recorded(pressure_pa: Array) -> Array:
    """Return what the microphone records, float32 in -1 to 1; loud sound is compressed softly."""
    return np.tanh(pressure_pa / FULL_SCALE_PA).astype(np.float32)


def ambient_noise(num_samples: int, rng: np.random.Generator, level_pa: float = 0.02) -> Array:
    """Return noise of a quiet room, [num_samples] pascal; pink below 2 kHz, little above."""
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    frequency = np.fft.rfftfreq(num_samples, 1 / SAMPLE_RATE_HZ)
    shape = 1 / np.sqrt(np.maximum(frequency, 30)) / np.sqrt(1 + (frequency / 2000) ** 2)
    noise = np.fft.irfft(spectrum * shape, num_samples)
    return noise * (level_pa / max(float(noise.std()), 1e-12))
