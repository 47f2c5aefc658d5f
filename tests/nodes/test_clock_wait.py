"""Waiting for simulated time, on a thread that does not move it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from rclpy.clock import ClockType, ROSClock
from rclpy.time import Time
from robot_learning.nodes.clock_wait import wait_for_moment

PATIENCE_S = 20.0


def at(moment_ns):
    return Time(nanoseconds=moment_ns, clock_type=ClockType.ROS_TIME)


@pytest.fixture
def clock():
    """Return a clock that stands at 5 ns."""
    clock = ROSClock()
    clock._set_ros_time_is_active(True)
    clock.set_ros_time_override(at(5))
    return clock


def test_who_waits_goes_on_when_the_clock_is_moved_there_and_not_before(clock):
    with ThreadPoolExecutor(1) as worker:
        waiting = worker.submit(wait_for_moment, clock, 100, PATIENCE_S)
        for moment_ns in range(6, 100):
            clock.set_ros_time_override(at(moment_ns))
        assert not waiting.done()
        clock.set_ros_time_override(at(100))
        assert waiting.result(PATIENCE_S)


def test_a_moment_that_is_there_is_not_waited_for(clock):
    assert wait_for_moment(clock, 5, 0.0)


def test_where_time_stands_the_wait_ends_all_the_same(clock):
    assert not wait_for_moment(clock, 6, 0.01)
