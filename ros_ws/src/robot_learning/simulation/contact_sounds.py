"""Listens to the contacts of one object and turns them into what the microphone hears.

Per physics step it notes the normal force between object and bench, either finger, or the loose
piece inside. Where a force begins, its integral over the next 20 ms, less the weight that rests
there anyway, is an impact; a contact that slides scrapes over the grain of the surface.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from robot_learning.sense_formats import SAMPLE_RATE_HZ
from robot_learning.simulation.bench_objects import BenchObject
from robot_learning.simulation.impact_sound import (
    Impact,
    Scrape,
    ambient_noise,
    contact_duration,
    pressure,
    recorded,
)
from robot_learning.simulation.resonance import ResonantBody, modes

Array = np.ndarray[Any, Any]

TIMESTEP_S = 0.002
PARTNERS = ('bench', 'left', 'right', 'content')
BENCH = ResonantBody('bench', 0.9, 0.02, 1e10, 700, 0.05)  # Wood.
PIECE = ResonantBody('box', 0.02, 0.001, 2.5e9, 1050, 0.05)  # A die of plastic, loose inside.
_MODULI_PA = {'bench': 1e10, 'left': 2e9, 'right': 2e9, 'content': 5e9}  # Of the partners.
_MASS_KG = {'bench': 3.0, 'left': 0.5, 'right': 0.5}  # What of the partner is in the way.
_WINDOW_S = 0.02  # Over which the force of an impact is added up.
_LEAST_IMPULSE_NS = 2e-4
_GRAIN_M = 5e-5  # Distance between the bumps of a rough surface.
_GRAIN_FORCE = 0.2  # Of the normal force, at roughness 1.
_PIECE_HEARD = 0.05  # Of what the piece would sound like outside of the walls.
_PASSED_ON = 0.5  # Of an impact from above through an object that stands.
_BENCH_PLACE = (0.41, 0.37)  # Where on the bench objects lie; not a node of low modes.


class Touch(NamedTuple):
    """One physics step of one object."""

    force_n: Sequence[float]  # Normal force of each of `PARTNERS`.
    slip_m_s: float  # Speed along the surface at the strongest contact, 0 without one.
    approach_m_s: Sequence[float]  # Relative speed of each partner before the step.
    place: tuple[float, float]  # Of the strongest contact on the object's wall.


def heard(
    item: BenchObject,
    touches: Sequence[Touch],
    noise: np.random.Generator | None = None,
    timestep_s: float = TIMESTEP_S,
) -> Array:
    """Return what the microphone records of `touches`, [N] float32 at 16 kHz.

    Args:
        item: the object.
        touches: one per physics step.
        noise: of the room; None: silence.
        timestep_s: of a physics step.
    """
    num_samples = round(len(touches) * timestep_s * SAMPLE_RATE_HZ)
    resting_n = [item.mass_kg * 9.81, 0.0, 0.0, 2 * item.content_kg * 9.81]
    struck: list[Impact] = []
    bench: list[Impact] = []
    piece: list[Impact] = []
    for number, partner in enumerate(PARTNERS):
        found = _impacts(item, touches, number, partner, resting_n[number], timestep_s)
        struck += found
        bench += _passed_on(found, touches, partner, timestep_s)
        if partner == 'content':
            piece = [
                impact._replace(impulse_ns=_PIECE_HEARD * impact.impulse_ns) for impact in found
            ]
    grain = _scraping(item, touches, timestep_s, num_samples)
    body = item.resonator
    total = pressure(body, struck, num_samples, [Scrape(grain, (0.3, 0.4))])
    total += pressure(BENCH, bench, num_samples, [Scrape(grain, _BENCH_PLACE)], modes(BENCH))
    total += pressure(PIECE, piece, num_samples)
    if noise is not None:
        total += ambient_noise(num_samples, noise)
    return recorded(total)


def _passed_on(
    impacts: Sequence[Impact], touches: Sequence[Touch], partner: str, timestep_s: float
) -> list[Impact]:
    """Return what of impacts reaches the bench: its own, and taps on a thing that stands on it."""
    passed = []
    for impact in impacts:
        stands = touches[round(impact.time_s / timestep_s)].force_n[0] > 0
        share = 1.0 if partner == 'bench' else _PASSED_ON * stands
        if share:
            impulse = impact.impulse_ns * share
            passed.append(impact._replace(place=_BENCH_PLACE, impulse_ns=impulse))
    return passed


def _impacts(
    item: BenchObject,
    touches: Sequence[Touch],
    number: int,
    partner: str,
    resting_n: float,
    timestep_s: float,
) -> list[Impact]:
    """Find where contact with one partner begins, and how hard."""
    force = np.asarray([touch.force_n[number] for touch in touches])
    excess = np.maximum(force - resting_n, 0)
    if partner == 'content':
        begins = (excess > 0) & (np.concatenate([[0], excess[:-1]]) <= 0)
    else:
        begins = (force > 0) & (np.concatenate([[1], force[:-1]]) <= 0)
    span = max(1, round(_WINDOW_S / timestep_s))
    found, free_from = [], 0
    for start in np.flatnonzero(begins).tolist():
        touch = touches[start]
        speed = touch.approach_m_s[number]
        impulse = min(
            float(excess[start : start + span].sum()) * timestep_s,
            2 * _effective_mass(item, partner) * speed,  # More is pressing, not striking.
        )
        if start < free_from or impulse < _LEAST_IMPULSE_NS:
            continue
        free_from = start + span
        duration = _duration(item, partner, speed)
        found.append(Impact(start * timestep_s, impulse, duration, touch.place))
    return found


def _duration(item: BenchObject, partner: str, speed_m_s: float) -> float:
    radius = item.size_m / 2 * (0.2 if partner == 'content' else 1.0)
    moduli = (item.surface_modulus_pa, item.resonator.young_modulus_pa, _MODULI_PA[partner])
    return contact_duration(_effective_mass(item, partner), radius, speed_m_s, moduli)


def _effective_mass(item: BenchObject, partner: str) -> float:
    other = item.content_kg if partner == 'content' else _MASS_KG[partner]
    return item.mass_kg * other / (item.mass_kg + other)


def _scraping(
    item: BenchObject, touches: Sequence[Touch], timestep_s: float, num_samples: int
) -> Array:
    """Return the force of a surface's grain as it slides by, [num_samples] newtons."""
    slip = np.asarray([touch.slip_m_s for touch in touches])
    force = np.asarray([max(touch.force_n[:3]) for touch in touches])
    at_s = np.arange(num_samples) / SAMPLE_RATE_HZ
    steps_s = (np.arange(len(touches)) + 0.5) * timestep_s
    speed = np.interp(at_s, steps_s, slip)
    bumps = np.cumsum(speed) / SAMPLE_RATE_HZ / _GRAIN_M
    count = math.ceil(float(bumps[-1])) + 2
    profile = np.random.default_rng([item.seed, 307]).standard_normal(count)
    surface = np.interp(bumps, np.arange(count), profile)
    normal = np.interp(at_s, steps_s, force) * (speed > 1e-3)
    scraped: Array = _GRAIN_FORCE * item.value('roughness') * normal * surface
    return scraped
