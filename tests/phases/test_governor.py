import math

import pytest
from robot_learning.phases.governor import TrainRatioGovernor, replay_ratio
from robot_learning.phases.phase import Transitions, Windows


def take_all(governor):
    count = 0
    while governor.take():
        count += 1
    return count


def test_updates_follow_the_ratio_over_many_small_arrivals():
    governor = TrainRatioGovernor(0.3)
    taken = 0
    for _ in range(100):
        governor.earn(7)
        taken += take_all(governor)
    assert taken == math.floor(700 * 0.3)
    assert governor.achieved_ratio == pytest.approx(0.3)


def test_nothing_is_taken_before_the_first_step():
    governor = TrainRatioGovernor(2.0)
    assert not governor.take()
    assert math.isnan(governor.achieved_ratio)


def test_a_slow_trainer_lets_the_excess_go():
    governor = TrainRatioGovernor(1.0, max_saved=50)
    governor.earn(1000)
    assert take_all(governor) == 50
    assert governor.achieved_ratio == pytest.approx(0.05)


def test_the_initial_grant_is_spent_once_and_not_cut_by_the_limit():
    governor = TrainRatioGovernor(1.0, max_saved=10, initial=30)
    for _ in range(5):
        assert governor.take()
    governor.earn(2)
    assert take_all(governor) == 25
    governor.earn(2)
    assert take_all(governor) == 2


def test_an_infinite_ratio_never_waits():
    governor = TrainRatioGovernor(math.inf)
    assert all(governor.take() for _ in range(100))
    governor.earn(50)
    assert governor.achieved_ratio == 2.0


def test_a_restored_governor_goes_on_where_it_was():
    whole, first = TrainRatioGovernor(0.4), TrainRatioGovernor(0.4)
    for governor in (whole, first):
        governor.earn(11)
        governor.take()
    second = TrainRatioGovernor(0.4)
    second.restore(first.state())
    for governor in (whole, second):
        governor.earn(3)
    assert take_all(whole) == take_all(second) == 4
    assert whole.achieved_ratio == second.achieved_ratio


def test_the_replay_ratio_counts_steps_of_windows_per_environment_step():
    assert replay_ratio(Windows(16, 64), 0.5) == {'data/replay_ratio': 512}
    assert replay_ratio(Windows(16, 64), math.nan) == {}  # Before the first step.
    assert replay_ratio(Windows(16, 64), math.inf) == {}  # Offline.
    assert replay_ratio(Transitions(256), 1.0) == {}
