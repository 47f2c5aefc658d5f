"""When a process that has ended is started again."""

import pytest
from robot_learning.commands.restarts import RestartLimits, Restarts


@pytest.mark.parametrize(
    ('restart', 'codes'),
    [('never', set()), ('on_failure', {1, 139, -9}), ('always', {0, 1, 2, 139, -9})],
)
def test_it_depends_on_the_exit_code(restart, codes):
    restarts = Restarts(restart, RestartLimits())
    assert {code for code in (0, 1, 2, 139, -9) if restarts.is_due(code)} == codes


def test_delays_double_up_to_the_longest_and_then_it_is_over():
    restarts = Restarts('on_failure', RestartLimits(max_restarts=4, longest_delay_s=2.0))
    assert [restarts.delay_s(float(now)) for now in range(5)] == [0.5, 1.0, 2.0, 2.0, None]
    assert restarts.num_failures == 5


def test_failures_of_long_ago_are_forgotten():
    restarts = Restarts('on_failure', RestartLimits(max_restarts=1, window_s=60.0))
    assert [restarts.delay_s(now) for now in (0.0, 61.0, 122.0)] == [0.5] * 3
    assert restarts.delay_s(123.0) is None
