import math

import numpy as np
import pytest
from robot_learning import contract as contracts
from robot_learning.trajectory.derived_action import derive_action

POSE = contracts.load('pioneer').observation['odometry']
TWIST = contracts.load('husky').observation['velocity']


def driven(pose, speed, yaw_rate, seconds, num_small_steps=20_000):
    """Drive a unicycle in tiny straight steps: the other route to a circular arc."""
    x, y, yaw = pose
    dt = seconds / num_small_steps
    for _ in range(num_small_steps):
        yaw += yaw_rate * dt / 2
        x += speed * math.cos(yaw) * dt
        y += speed * math.sin(yaw) * dt
        yaw += yaw_rate * dt / 2
    return np.array([x, y, math.remainder(yaw, 2 * math.pi)])


@pytest.mark.parametrize(
    ('speed', 'yaw_rate'),
    [(0.5, 0.0), (0.5, 0.8), (-0.3, 1.2), (0.0, -0.7), (0.0, 0.0), (0.4, 2.9)],
)
@pytest.mark.parametrize('yaw', [0.0, 3.0, -2.5])
def test_the_twist_that_carries_one_pose_into_the_next_is_found(speed, yaw_rate, yaw):
    now = np.array([4.0, -2.0, yaw])
    after = driven(now, speed, yaw_rate, 1.0)
    action = derive_action(POSE, now, after, 1.0)
    np.testing.assert_allclose(action, [speed, yaw_rate], atol=1e-5)
    assert action.dtype == np.float32


def test_half_the_time_is_twice_the_speed():
    now, after = np.array([0.0, 0, 0]), np.array([0.2, 0, 0.1])
    fast, slow = derive_action(POSE, now, after, 0.5), derive_action(POSE, now, after, 1.0)
    np.testing.assert_allclose(fast, 2 * slow, rtol=1e-6)


def test_without_elapsed_time_there_is_no_speed():
    now = np.array([0.0, 0, 0])
    assert np.isnan(derive_action(POSE, now, now, 0.0)).all()
    assert np.isnan(derive_action(POSE, now, now, -0.1)).all()


def test_a_twist_is_what_was_measured_afterwards():
    action = derive_action(TWIST, np.array([0.1, 0.2]), np.array([0.3, 0.4]), 0.1)
    np.testing.assert_allclose(action, [0.3, 0.4], rtol=1e-6)
