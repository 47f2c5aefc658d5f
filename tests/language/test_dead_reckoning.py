import math

import pytest
from robot_learning.language.dead_reckoning import DeadReckoning


def test_it_knows_nothing_before_it_hears_anything():
    reckoning = DeadReckoning()
    reckoning.correct(1.0, 2.0, 0.0)
    assert reckoning.pose is None and reckoning.uncorrected is None


def test_a_first_localisation_is_taken_as_it_is_and_later_ones_slowly():
    reckoning = DeadReckoning()
    reckoning.move((5.0, 5.0, 1.0))
    assert reckoning.pose == pytest.approx((5.0, 5.0, 1.0))
    assert reckoning.correct(1.0, 2.0, -1.0)
    assert reckoning.pose == pytest.approx((1.0, 2.0, -1.0))
    assert not reckoning.correct(1.1, 2.0, -1.0)
    assert reckoning.pose == pytest.approx((1.01, 2.0, -1.0))
    for _ in range(60):
        reckoning.correct(1.1, 2.0, -0.9)
    assert reckoning.pose == pytest.approx((1.1, 2.0, -0.9), abs=1e-2)


def test_who_was_carried_away_is_there_at_once():
    reckoning = DeadReckoning()
    reckoning.move((0.0, 0.0, 0.0))
    reckoning.correct(0.0, 0.0, 0.0)
    assert reckoning.correct(2.0, -1.0, 3.0)
    assert reckoning.pose == pytest.approx((2.0, -1.0, 3.0))


def test_wheels_count_along_the_maps_heading():
    reckoning = DeadReckoning()
    reckoning.move((0.0, 0.0, 0.0))
    reckoning.correct(1.0, 1.0, math.pi / 2)
    reckoning.move((0.5, 0.0, 0.0))
    assert reckoning.pose == pytest.approx((1.0, 1.5, math.pi / 2))
    reckoning.move((0.4, 0.0, 0.0))  # Backwards.
    assert reckoning.pose == pytest.approx((1.0, 1.4, math.pi / 2))
    assert reckoning.uncorrected == pytest.approx((0.4, 0.0, 0.0))


def test_the_gyros_heading_counts_where_there_is_one():
    """Wheels slip in the turn: they believe in 100 degrees, the gyro in 90."""
    reckoning = DeadReckoning()
    reckoning.move((0.0, 0.0, 0.0), gyro_yaw=2.0)
    wheels = math.radians(100)
    reckoning.move((0.0, 0.0, wheels), gyro_yaw=2.0 + math.pi / 2)
    reckoning.move((math.cos(wheels), math.sin(wheels), wheels), gyro_yaw=2.0 + math.pi / 2)
    assert reckoning.pose == pytest.approx((0.0, 1.0, math.pi / 2))


def test_headings_may_go_round():
    reckoning = DeadReckoning()
    reckoning.move((0.0, 0.0, 3.1))
    reckoning.move((0.0, 0.0, -3.1))
    reckoning.move((-1.0, 0.0, -3.1))
    x, _, yaw = reckoning.pose
    assert x == pytest.approx(-1.0, abs=0.01) and yaw == pytest.approx(-3.1)


def test_a_gyro_that_comes_or_goes_is_no_turn():
    reckoning = DeadReckoning()
    for gyro_yaw in (None, 2.5, 2.6, None, -1.0):
        reckoning.move((0.0, 0.0, 0.3), gyro_yaw)
    assert reckoning.pose == pytest.approx((0.0, 0.0, 0.4))  # The tenth that the gyro saw.
    assert reckoning.uncorrected[2] == pytest.approx(0.4)
