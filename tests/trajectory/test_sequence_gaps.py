import random

import pytest
from robot_learning.trajectory.sequence_gaps import SequenceGaps


def feed(gaps, numbers, num_publishers=1):
    return [gaps.is_new(n, 1000 + n, num_publishers) for n in numbers]


def test_numbers_that_are_passed_over_are_lost():
    gaps = SequenceGaps()
    assert all(feed(gaps, [7, 8, 9, 12, 13, 20]))
    assert gaps.lost == 2 + 6


@pytest.mark.parametrize('seed', range(5))
def test_with_one_publisher_the_count_is_exact(seed):
    rng = random.Random(seed)
    sent = range(1, 2000)
    received = [n for n in sent if rng.random() < 0.8]
    gaps = SequenceGaps()
    feed(gaps, received)
    assert gaps.lost == received[-1] - received[0] + 1 - len(received)


def test_what_another_subscription_brings_again_is_not_new():
    gaps = SequenceGaps()
    assert feed(gaps, [1, 2, 3, 2, 3, 4]) == [True, True, True, False, False, True]
    assert gaps.lost == 0


def test_what_comes_late_by_another_subscription_was_not_lost():
    gaps = SequenceGaps()
    feed(gaps, [1, 2, 5])
    assert gaps.lost == 2
    assert feed(gaps, [3, 4]) == [True, True]
    assert gaps.lost == 0


def test_two_publishers_are_told_apart():
    gaps = SequenceGaps()
    feed(gaps, [100, 1, 101, 2, 105, 3, 7], num_publishers=2)
    assert gaps.lost == 3 + 3


def test_a_publisher_that_begins_anew_has_lost_nothing():
    gaps = SequenceGaps()
    feed(gaps, [50, 51])
    for number in (1, 2, 3):
        assert gaps.is_new(number, 9000 + number, 1)
    assert gaps.lost == 0
    gaps.restart()
    feed(gaps, [400, 401])
    assert gaps.lost == 0


def test_without_numbers_nobody_knows():
    gaps = SequenceGaps()
    assert gaps.is_new(None, 5, 1) and gaps.is_new(None, 5, 1)
    assert gaps.lost is None
