"""Modes of hollow bodies and plates: at which frequencies they ring, how long, how loud.

| shape | modes | source |
| --- | --- | --- |
| box | each wall a square plate supported at its edges | Leissa, Vibration of Plates (1969) |
| bench | one rectangular plate supported at its edges | the same |
| can | bending of a ring, n = 2, 3, ... | Love; Fletcher & Rossing (1998), section 3.3 |
| ball | spheroidal modes of a thin shell, lower branch | Baker, JASA 33 (1961) |

A mode of frequency f decays as exp(-(pi f loss_factor + support) t): internal friction by the
material's loss factor (Wildes & Richards 1988), and what the support takes away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from robot_learning.sense_formats import SAMPLE_RATE_HZ

Array = np.ndarray[Any, Any]
Shape = Literal['box', 'can', 'ball', 'bench']

POISSON = 0.3
SUPPORT_DECAY_PER_S = 8.0
MAX_MODES = 24
LOWEST_HZ, HIGHEST_HZ = 30.0, 0.475 * SAMPLE_RATE_HZ

_BENCH_RATIO = 1.5  # Length to width.
_MAX_ORDER = 12
_EDGE = 0.1  # Contacts reach no nearer to the edge of a wall, as a part of it.
_CAN_HEIGHT = 1.3  # As a part of its diameter.


@dataclass(frozen=True)
class ResonantBody:
    """A thin-walled body of one material."""

    shape: Shape
    size_m: float  # Side of a box, diameter of a can or ball, length of the bench.
    thickness_m: float  # Of its walls.
    young_modulus_pa: float
    density_kg_m3: float
    loss_factor: float

    @property
    def wall_volume_m3(self) -> float:
        """Volume of the material."""
        return wall_area(self.shape, self.size_m) * self.thickness_m

    @property
    def mass_kg(self) -> float:
        """Mass of the material."""
        return self.wall_volume_m3 * self.density_kg_m3


class Modes(NamedTuple):
    """The K lowest modes that can be heard; K may be 0 for small stiff bodies."""

    frequency_hz: Array  # [K] ascending.
    decay_per_s: Array  # [K].
    mass_kg: Array  # [K], how much mass resists a force where the mode moves most.
    order: Array  # [K, 2] int, half waves along the wall; (n, 0) for rings and shells.


def wall_area(shape: Shape, size_m: float) -> float:
    """Return the area of the walls, m^2."""
    if shape == 'box':
        return 6 * size_m**2
    if shape == 'can':
        return math.pi * size_m**2 * (_CAN_HEIGHT + 0.5)
    if shape == 'ball':
        return math.pi * size_m**2
    return size_m**2 / _BENCH_RATIO


def modes(body: ResonantBody) -> Modes:
    """Return the lowest modes of a body between 30 Hz and 7.6 kHz."""
    frequency, mass, order = _MODES_OF[body.shape](body)
    is_heard = (frequency > LOWEST_HZ) & (frequency < HIGHEST_HZ)
    chosen = np.flatnonzero(is_heard)
    chosen = chosen[np.argsort(frequency[chosen], kind='stable')[:MAX_MODES]]
    frequency = frequency[chosen]
    decay = math.pi * frequency * body.loss_factor + SUPPORT_DECAY_PER_S
    return Modes(frequency, decay, np.full(len(chosen), mass), order[chosen])


def gains(body: ResonantBody, found: Modes, place: tuple[float, float]) -> Array:
    """Return how much of a force at `place` reaches each mode, [K] in -1 to 1.

    Args:
        body: what is struck.
        found: its modes.
        place: (u, v) on the wall, 0 to 1 each; of a can, v is the height.
    """
    u, v = (min(max(value, _EDGE), 1 - _EDGE) for value in place)
    if body.shape == 'ball':
        return np.ones(len(found.order))  # The axis of the modes goes through the contact.
    if body.shape == 'can':
        return np.full(len(found.order), math.sin(math.pi * v))
    m, n = found.order.T
    shape: Array = np.sin(math.pi * m * u) * np.sin(math.pi * n * v)
    return shape


def _wave_speed(body: ResonantBody) -> float:
    return math.sqrt(body.young_modulus_pa / body.density_kg_m3)


def _plate(body: ResonantBody, width_m: float, length_m: float) -> tuple[Array, Array]:
    """Return frequencies and orders: pi/2 sqrt(D / rho h) ((m / a)^2 + (n / b)^2)."""
    m, n = (grid.ravel() for grid in np.mgrid[1 : _MAX_ORDER + 1, 1 : _MAX_ORDER + 1])
    stiffness = body.thickness_m * _wave_speed(body) / math.sqrt(12 * (1 - POISSON**2))
    frequency = math.pi / 2 * stiffness * ((m / width_m) ** 2 + (n / length_m) ** 2)
    return frequency, np.stack([m, n], axis=1)


def _box(body: ResonantBody) -> tuple[Array, float, Array]:
    frequency, order = _plate(body, body.size_m, body.size_m)
    return frequency, body.mass_kg / 6 / 4, order  # One wall of six; a quarter of it moves.


def _bench(body: ResonantBody) -> tuple[Array, float, Array]:
    frequency, order = _plate(body, body.size_m, body.size_m / _BENCH_RATIO)
    return frequency, body.mass_kg / 4, order


def _can(body: ResonantBody) -> tuple[Array, float, Array]:
    """Bending of a ring in its plane: n (n^2 - 1) / sqrt(n^2 + 1) h c / (sqrt(12) R^2 2 pi)."""
    n = np.arange(2, 2 + MAX_MODES)
    radius = body.size_m / 2
    bending = body.thickness_m * _wave_speed(body) / (math.sqrt(12) * radius**2)
    frequency = n * (n**2 - 1) / np.sqrt(n**2 + 1) * bending / (2 * math.pi)
    return frequency, body.mass_kg / 2, np.stack([n, np.zeros_like(n)], axis=1)


def _ball(body: ResonantBody) -> tuple[Array, float, Array]:
    """Solve (1 - nu^2) W^4 - (n(n+1) + 1 + 3 nu) W^2 + n(n+1) - 2 = 0 for W = 2 pi f R / c."""
    n = np.arange(2, 2 + MAX_MODES)
    middle = n * (n + 1) + 1 + 3 * POISSON
    last = (1 - POISSON**2) * (n * (n + 1) - 2)
    square = (middle - np.sqrt(middle**2 - 4 * last)) / (2 * (1 - POISSON**2))
    frequency = np.sqrt(square) * _wave_speed(body) / (math.pi * body.size_m)
    return frequency, body.mass_kg / 2, np.stack([n, np.zeros_like(n)], axis=1)


_MODES_OF = {'box': _box, 'can': _can, 'ball': _ball, 'bench': _bench}
