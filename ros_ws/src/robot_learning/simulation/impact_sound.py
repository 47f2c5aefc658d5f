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


def force_pulse(impact: Impact, num_samples: int) -> tuple[int, Array]:
    """Return the first sample of an impact and the mean force per sample from there on, newtons.

    Half a sine wave whose integral is the impulse, also when it is shorter than a sample.
    """
    start_s, stop_s = impact.time_s, impact.time_s + impact.duration_s
    first = math.floor(start_s * SAMPLE_RATE_HZ)
    last = min(math.ceil(stop_s * SAMPLE_RATE_HZ), num_samples)
    if first < 0 or last <= first:
        return 0, np.zeros(0)
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
    found = modes(body) if found is None else found
    force = _modal_force(body, found, impacts, scrapes, num_samples)
    radius = math.sqrt(_radiating_area(body) / (4 * math.pi))
    wave_number = 2 * math.pi * found.frequency_hz / _SOUND_SPEED * radius
    efficiency = wave_number / np.sqrt(1 + wave_number**2)
    scale = _AIR_IMPEDANCE * efficiency * radius / DISTANCE_M / found.mass_kg / SAMPLE_RATE_HZ
    total = np.zeros(num_samples)
    for row, frequency, decay, gain in zip(
        force, found.frequency_hz, found.decay_per_s, scale, strict=True
    ):
        total += gain * _ring(row, frequency, decay)
    return total


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


def _modal_force(
    body: ResonantBody,
    found: Modes,
    impacts: Sequence[Impact],
    scrapes: Sequence[Scrape],
    num_samples: int,
) -> Array:
    """Return the force on each mode, [K, num_samples]."""
    force = np.zeros((len(found.frequency_hz), num_samples))
    for impact in impacts:
        first, pulse = force_pulse(impact, num_samples)
        force[:, first : first + len(pulse)] += np.outer(gains(body, found, impact.place), pulse)
    for scrape in scrapes:
        force += np.outer(gains(body, found, scrape.place), scrape.force_n)
    return force


def _ring(force: Array, frequency_hz: float, decay_per_s: float) -> Array:
    """Convolve a force with cos(w t) exp(-d t), as a filter with two poles."""
    radius = math.exp(-decay_per_s / SAMPLE_RATE_HZ)
    cosine = radius * math.cos(2 * math.pi * frequency_hz / SAMPLE_RATE_HZ)
    ringing: Array = lfilter(
        [1.0, -cosine], [1.0, -2 * cosine, radius**2], force + _ABOVE_DENORMAL
    )
    return ringing


def _radiating_area(body: ResonantBody) -> float:
    return body.wall_volume_m3 / body.thickness_m
