import numpy as np
import pytest
from robot_learning import contract
from robot_learning.simulation.changed_robots import CHANGES, RobotFleet
from robot_learning.simulation.randomisation import RandomisationConfig, ranges


@pytest.fixture(scope='module')
def fleet():
    fleet = RobotFleet(contract.load('arena'))
    yield fleet
    fleet.close()


def test_a_robot_is_its_seed(fleet):
    first, other, again = (fleet.drive(seed, 2.0) for seed in (1, 2, 1))
    assert first.pose.shape == (10, 3) and first.command.shape == (10, 2)
    assert np.array_equal(first.pose, again.pose) and np.array_equal(first.command, again.command)
    assert not np.array_equal(first.pose, other.pose)
    assert first.changes == again.changes != other.changes
    for name, (low, high) in ranges(CHANGES).items():
        assert low <= first.changes[name] <= high


def test_it_moves_between_the_walls(fleet):
    record = fleet.drive(3, 12.0)
    assert np.abs(record.pose[:, 0]).max() < 2.3 and np.abs(record.pose[:, 1]).max() < 0.62
    assert np.ptp(record.pose[:, 0]) > 0.5
    assert np.hypot(*np.diff(record.pose[:, :2], axis=0).T).sum() > 1.0


def test_wheels_of_another_size_show_in_what_the_odometry_says():
    way = []
    for error in (-0.25, 0.25):
        changes = RandomisationConfig(wheel_radius_error=(error, error), friction_scale=(1, 1))
        fleet = RobotFleet(contract.load('arena'), changes)
        record = fleet.drive(4, 6.0)
        way.append(np.abs(record.velocity[:, 0]).sum() * 0.2)
        way.append(np.hypot(*np.diff(record.pose[:, :2], axis=0).T).sum())
        fleet.close()
    assert way[2] / way[3] > 1.4 * way[0] / way[1]
