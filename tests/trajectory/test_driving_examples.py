import numpy as np
import pytest
from robot_learning.errors import DataError, NotEnoughDataError
from robot_learning.trajectory.driving_examples import drives_of, driving_examples
from robot_learning.trajectory.episode import Episode


def circle(steps, radius=2.0, turn=0.1):
    """Drive round a circle: every step `turn` further, speed and yaw rate constant."""
    yaw = np.arange(steps) * turn + 3.0
    pose = np.stack((radius * np.sin(yaw), -radius * np.cos(yaw), yaw), 1)
    pose[:, 2] = np.remainder(pose[:, 2] + np.pi, 2 * np.pi) - np.pi
    velocity = np.tile([radius * turn * 10, turn * 10], (steps, 1))
    return pose, velocity, np.arange(2 * steps).reshape(steps, 2) * 1.0


def episode(steps=8, gap_at=None, present_not=None, action_size=2):
    pose, velocity, command = circle(steps)
    stamp = np.arange(steps) * 100_000_000
    if gap_at is not None:
        stamp[gap_at:] += 100_000_000
    present = {name: np.ones(steps, bool) for name in ('pose', 'velocity')}
    if present_not is not None:
        present['pose'][present_not] = False
    flat = np.zeros(steps)
    return Episode(
        0,
        0,
        stamp,
        {'pose': pose, 'velocity': velocity},
        {},
        present,
        command[:, :action_size],
        command[:, :action_size],
        *(flat,) * 7,
    )


def test_the_way_is_seen_from_the_robot_wherever_it_looks():
    # A chord of a circle of radius 2 over 0.1 rad, half of the turn to its left.
    drive = driving_examples(*circle(40))
    chord = 2 * 2.0 * np.sin(0.05)
    expected = [0, 0, chord * np.cos(0.05), chord * np.sin(0.05), 0.1]
    assert drive.targets == pytest.approx(np.tile(expected, (38, 1)), abs=1e-5)


def test_commands_stand_beside_the_motion_that_they_change():
    velocity = np.array([[0, 0], [1, 0], [3, 1], [6, 3]], float)
    command = np.array([[10, 11], [20, 21], [30, 31], [40, 41]], float)
    drive = driving_examples(np.zeros((4, 3)), velocity, command)
    assert drive.inputs.tolist() == [[1, 0, 10, 11, 20, 21], [3, 1, 20, 21, 30, 31]]
    assert drive.targets[:, :2].tolist() == [[2, 1], [3, 2]]


def test_gaps_end_a_drive_and_begin_another():
    assert [len(drive.inputs) for drive in drives_of(episode(), 100_000_000, 'it')] == [6]
    gap = drives_of(episode(gap_at=4), 100_000_000, 'it')
    assert [len(drive.inputs) for drive in gap] == [2, 2]
    lost = drives_of(episode(present_not=3), 100_000_000, 'it')
    assert [len(drive.inputs) for drive in lost] == [1, 2]


def test_too_few_steps_are_named():
    with pytest.raises(NotEnoughDataError, match='2 control steps, expected 3'):
        driving_examples(*circle(2))


def test_recordings_of_what_does_not_drive_are_refused():
    with pytest.raises(DataError, match=r'arm: pose, velocity and action have shapes'):
        drives_of(episode(action_size=1), 100_000_000, 'arm')
