import math

import numpy as np
import pytest
from robot_learning.language.senses import Seen, distances, free_ahead_m

ANGLES = np.linspace(0, 2 * np.pi, 360, endpoint=False)


def room(front=np.inf, left=np.inf):
    """Beams of a corridor: a wall ahead at x = front, and one to the left at y = left."""
    with np.errstate(divide='ignore'):
        ahead = np.where(np.cos(ANGLES) > 1e-9, front / np.cos(ANGLES), np.inf)
        aside = np.where(np.sin(ANGLES) > 1e-9, left / np.sin(ANGLES), np.inf)
    return np.minimum(ahead, aside)


def test_each_direction_has_its_distance():
    found = distances(ANGLES, room(2.0, 0.7))
    assert found['front'] == pytest.approx(2.0, rel=0.01)
    assert found['left'] == pytest.approx(0.7, rel=0.01)
    assert found['right'] == found['back'] == math.inf


def test_single_beams_that_err_do_not_count():
    ranges = room(2.0)
    ranges[0] = 0.3
    assert distances(ANGLES, ranges)['front'] == pytest.approx(2.0, rel=0.01)
    ranges[:] = np.nan
    assert all(math.isnan(distance) for distance in distances(ANGLES, ranges).values())


def test_what_stands_beside_the_robots_width_is_not_in_its_way():
    assert free_ahead_m(ANGLES, room(2.0, 0.3), 0.2) == pytest.approx(2.0, rel=0.01)
    assert free_ahead_m(ANGLES, room(2.0, 0.15), 0.2) < 0.3
    assert free_ahead_m(ANGLES, room(), 0.2) == math.inf


def test_a_single_beam_that_hits_is_in_the_way():
    ranges = room(2.0)
    ranges[3] = 0.5
    assert free_ahead_m(ANGLES, ranges, 0.2) == pytest.approx(0.5, rel=0.01)


def test_too_near_to_measure_is_no_free_way_and_unknown_neither():
    ranges = room(2.0)
    ranges[[358, 0, 1]] = -np.inf
    assert free_ahead_m(ANGLES, ranges, 0.2) == 0.0
    ranges[:] = -np.inf
    assert distances(ANGLES, ranges)['front'] == 0.0
    assert math.isnan(free_ahead_m(ANGLES, np.full(360, np.nan), 0.2))


def test_an_object_fits_what_is_looked_for():
    seen = Seen('', 'red', 0.0, 0.0)
    assert seen.fits('ball', None) and seen.fits('cube', 'red') and not seen.fits('cube', 'blue')
    assert not Seen('ball', 'red', 0, 0).fits('cube', 'red')
    assert seen.name == 'red thing'
