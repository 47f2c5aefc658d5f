import json

import numpy as np
import pytest
from empty_room import TIME_LIMIT_STEPS, Away, EmptyRoom, Noisy, Straight, choices
from robot_learning.evaluation.layouts import LayoutChoice
from robot_learning.evaluation.navigation import drive, evaluate_navigation


def test_a_straight_drive_is_measured_exactly():
    layout = LayoutChoice(0, start=(-1.0, 0.0, 0.0), goal=(1.0, 0.0))
    result = drive(EmptyRoom(), Straight(None), layout)
    # 0.2 m a step from 2 m away: within 0.3 m after nine steps, 0.2 m before the goal.
    assert (result.success, result.reason, result.num_steps) == (True, 'goal', 9)
    assert result.driven_m == pytest.approx(1.8, abs=1e-5)
    assert result.shortest_m == pytest.approx(2.0)
    assert result.efficiency == pytest.approx(1.0, abs=1e-5)
    assert result.cross_track_m == pytest.approx(0.0, abs=1e-6)
    assert result.episode_return == 1.0
    assert result.path[[0, -1]] == pytest.approx(np.array([[-1, 0], [0.8, 0]]), abs=1e-5)


def test_a_collision_is_a_failure_with_its_reason():
    result = drive(EmptyRoom(), Away(None), LayoutChoice(1))
    assert (result.success, result.reason) == (False, 'collision')


def test_a_drive_without_an_end_is_cut_at_the_time_limit():
    class Idle(Straight):
        def act(self, observation):
            return np.zeros(2)

    result = drive(EmptyRoom(), Idle(None), LayoutChoice(1))
    assert (result.success, result.reason) == (False, 'time_limit')
    assert result.num_steps == TIME_LIMIT_STEPS
    assert result.efficiency == 0


def test_rates_add_up_and_efficiency_counts_successes_only():
    result = evaluate_navigation('noisy', EmptyRoom(), Noisy, choices(20))
    rates = [result.rate_of(reason) for reason in ('goal', 'collision', 'time_limit')]
    assert sum(rates) == pytest.approx(1)
    assert 0 < result.success_rate < 1
    reached = [drive.efficiency for drive in result.drives if drive.success]
    assert result.path_efficiency == pytest.approx(sum(reached) / len(reached))
    assert result.interval.low < result.success_rate < result.interval.high


def test_the_same_layouts_give_the_same_drives():
    first = evaluate_navigation('noisy', EmptyRoom(), Noisy, choices(5))
    again = evaluate_navigation('noisy', EmptyRoom(), Noisy, choices(5))
    assert first.to_dict() == again.to_dict()


def test_a_result_without_success_is_still_valid_json():
    result = evaluate_navigation('away', EmptyRoom(), Away, choices(3))
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert data['success_rate'] == 0
    assert data['path_efficiency'] is None
    assert len(data['drives']) == 3


def test_progress_is_told_drive_by_drive():
    seen = []
    evaluate_navigation('straight', EmptyRoom(), Straight, choices(4), seen.append)
    assert [drive.layout.seed for drive in seen] == [0, 1, 2, 3]
