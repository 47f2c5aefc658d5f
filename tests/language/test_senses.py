import math

import numpy as np
import pytest
from robot_learning.language.senses import Seen, distances, free_ahead_m, nearest_ahead

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


def can_at(x, y, radius=0.06):
    """Beams to an upright can, walls far away."""
    bearing, away = np.arctan2(y, x), np.hypot(x, y)
    off = np.angle(np.exp(1j * (ANGLES - bearing)))
    hits = np.abs(away * np.sin(off)) < radius
    ranges = np.full(len(ANGLES), 3.0)
    reach = away * np.cos(off) - np.sqrt(np.maximum(radius**2 - (away * np.sin(off)) ** 2, 0))
    ranges[hits & (np.cos(off) > 0)] = reach[hits & (np.cos(off) > 0)]
    return ranges


@pytest.mark.parametrize('y', [-0.1, 0.0, 0.08])
def test_the_nearest_thing_in_front_is_found_off_the_middle_too(y):
    ranges = can_at(0.45, y) + np.random.default_rng(0).normal(0, 0.01, len(ANGLES))
    ranges[40] = 0.2  # A beam that errs.
    near = nearest_ahead(ANGLES, ranges)
    assert near.bearing_rad == pytest.approx(math.atan2(y, 0.45), abs=0.03)
    assert near.distance_m == pytest.approx(math.hypot(0.45, y) - 0.06, abs=0.015)


def test_nothing_stands_near_in_front_of_free_space_or_beside_a_wall():
    assert nearest_ahead(ANGLES, room(2.0, 0.5)) is None
    assert nearest_ahead(ANGLES, np.full(360, np.nan)) is None
    assert nearest_ahead(ANGLES, can_at(0.0, 0.45)) is None


def test_of_two_things_in_front_the_nearer_one_counts():
    ranges = np.minimum(can_at(0.42, 0.17), can_at(0.45, -0.19))
    near = nearest_ahead(ANGLES, ranges)
    assert near.bearing_rad == pytest.approx(math.atan2(0.17, 0.42), abs=0.05)
    assert 0.35 < near.distance_m < 0.45
