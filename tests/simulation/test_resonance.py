import math

import numpy as np
import pytest
from robot_learning.simulation.resonance import ResonantBody, gains, modes

STEEL = {'young_modulus_pa': 2e11, 'density_kg_m3': 7800, 'loss_factor': 0.002}


def test_a_box_rings_like_a_plate_that_is_supported_at_its_edges():
    """Leissa 1969: omega = pi^2 (m^2 + n^2) / a^2 sqrt(D / (rho h)), D = E h^3 / 12 (1 - nu^2)."""
    found = modes(ResonantBody('box', 0.08, 0.002, **STEEL))
    stiffness = 2e11 * 0.002**3 / (12 * (1 - 0.09))
    lowest = math.pi**2 * 2 / 0.08**2 * math.sqrt(stiffness / (7800 * 0.002)) / (2 * math.pi)
    np.testing.assert_allclose(found.frequency_hz[0], lowest)
    np.testing.assert_allclose(found.frequency_hz[1:3], lowest * 5 / 2)
    assert found.order[0].tolist() == [1, 1]


def test_a_can_rings_like_a_ring():
    """Fletcher & Rossing, section 3.3: the lowest three modes stand as 1 : 2.83 : 5.42."""
    found = modes(ResonantBody('can', 0.08, 0.001, **STEEL))
    np.testing.assert_allclose(
        found.frequency_hz[:3] / found.frequency_hz[0], [1, 2.828, 5.423], atol=2e-3
    )


def test_a_ball_rings_like_a_thin_shell():
    """Baker 1961: 2 pi f R sqrt(rho (1 - nu^2) / E) of the lowest mode is 0.701 at nu = 0.3."""
    ball = ResonantBody('ball', 0.3, 0.003, **STEEL)
    speed = math.sqrt(2e11 / (7800 * (1 - 0.09)))
    lowest = modes(ball).frequency_hz[0]
    assert 2 * math.pi * lowest * 0.15 / speed == pytest.approx(0.701, abs=1e-3)


def test_small_stiff_shells_are_not_heard():
    assert len(modes(ResonantBody('ball', 0.06, 0.001, **STEEL)).frequency_hz) == 0


@pytest.mark.parametrize('shape', ['box', 'can', 'bench'])
def test_frequencies_follow_stiffness_density_and_size(shape):
    body = ResonantBody(shape, 0.1, 0.001, 1e10, 1000, 0.1)
    lowest = modes(body).frequency_hz[0]
    stiff = ResonantBody(shape, 0.1, 0.001, 4e10, 1000, 0.1)
    heavy = ResonantBody(shape, 0.1, 0.001, 1e10, 4000, 0.1)
    small = ResonantBody(shape, 0.05, 0.0005, 1e10, 1000, 0.1)
    for other, ratio in ((stiff, 2), (heavy, 0.5), (small, 2)):
        assert modes(other).frequency_hz[0] == pytest.approx(ratio * lowest)


def test_what_rubs_inside_ends_sooner():
    dead = modes(ResonantBody('box', 0.1, 0.001, 1e9, 1000, 0.2))
    alive = modes(ResonantBody('box', 0.1, 0.001, 1e9, 1000, 0.01))
    ratio = (dead.decay_per_s - 8) / (alive.decay_per_s - 8)
    np.testing.assert_allclose(ratio, 20)
    np.testing.assert_allclose(alive.decay_per_s, math.pi * alive.frequency_hz * 0.01 + 8)


def test_where_a_plate_is_struck_decides_which_modes_sound():
    box = ResonantBody('box', 0.1, 0.001, **STEEL)
    found = modes(box)
    middle = gains(box, found, (0.5, 0.5))
    is_even = (found.order % 2 == 0).any(axis=1)
    np.testing.assert_allclose(middle[is_even], 0, atol=1e-12)  # Their nodes cross there.
    np.testing.assert_allclose(np.abs(middle[~is_even]), 1)


def test_mass_is_that_of_the_walls():
    assert ResonantBody('box', 0.1, 0.001, **STEEL).mass_kg == pytest.approx(
        6 * 0.01 * 0.001 * 7800
    )
    assert ResonantBody('ball', 0.1, 0.001, **STEEL).mass_kg == pytest.approx(
        4 * math.pi * 0.05**2 * 0.001 * 7800
    )
