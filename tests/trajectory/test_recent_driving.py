import numpy as np
import pytest
from robot_learning.errors import NotEnoughDataError
from robot_learning.trajectory.recent_driving import RecentDriving

PERIOD_NS = 200_000_000


def drive(recent, steps, first=0, per_step=6):
    """Readings at six times the control rate; step n has speed n and is told n + 100."""
    for tick in range(first * per_step, (first + steps) * per_step):
        recent.take_pose(np.array([tick / per_step * 0.1, 0.0, 0.0]))
        recent.take_velocity(round(tick * PERIOD_NS / per_step), np.array([tick // per_step, 0.0]))
        recent.take_command(tick // per_step + 100, 0.0)


def test_readings_become_control_steps():
    recent = RecentDriving(PERIOD_NS, 10.0)
    drive(recent, 10)
    found = recent.examples(1.0)
    assert found.inputs[:, 0].tolist() == [3, 4, 5, 6, 7]  # Step 9 has no next one yet.
    assert found.inputs[:, 2].tolist() == [102, 103, 104, 105, 106]
    assert found.inputs[:, 4].tolist() == [103, 104, 105, 106, 107]
    assert found.targets[:, 0].tolist() == [1] * 5
    assert found.targets[:, 2] == pytest.approx(0.1)


def test_only_so_much_is_kept():
    recent = RecentDriving(PERIOD_NS, 2.0)
    drive(recent, 50)
    assert len(recent.examples(2.0).inputs) == 10
    with pytest.raises(NotEnoughDataError, match=r'2\.0 s are known .* at most 2\.0 s are kept'):
        recent.examples(2.2)


@pytest.mark.parametrize('first', [20, 0], ids=['a gap', 'a clock set back'])
def test_what_does_not_follow_begins_anew(first):
    recent = RecentDriving(PERIOD_NS, 10.0)
    drive(recent, 12)
    drive(recent, 5, first)
    with pytest.raises(NotEnoughDataError, match=r'driving: 0\.4 s are known without a gap'):
        recent.examples(1.0)


def test_before_a_pose_comes_nothing_is_known():
    recent = RecentDriving(PERIOD_NS, 10.0)
    recent.take_velocity(0, np.zeros(2))
    with pytest.raises(NotEnoughDataError, match=r'0\.0 s are known'):
        recent.examples(5.0)
