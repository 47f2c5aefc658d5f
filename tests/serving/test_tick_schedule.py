import numpy as np
import pytest
from robot_learning.serving.tick_schedule import TickSchedule

PERIOD = 50_000_000


def run(arrivals_ns, until_ns, poll_ns=PERIOD // 4):
    """Return the ticks that readings and a watchdog timer make together, and those missed."""
    schedule = TickSchedule(PERIOD)
    moments = sorted(
        [(t, 'reading') for t in arrivals_ns] + [(t, 'timer') for t in range(0, until_ns, poll_ns)]
    )
    ticks, missed = [], 0
    for now, kind in moments:
        is_renewed = kind == 'reading'
        if schedule.is_overdue(now) or (is_renewed and schedule.accepts(now)):
            missed += schedule.take(now, is_renewed)
            ticks.append(now)
    return np.array(ticks), missed


def test_ticks_follow_readings_that_come_at_the_control_rate():
    arrivals = [7_000_000 + i * PERIOD for i in range(200)]
    ticks, missed = run(arrivals, 200 * PERIOD)
    assert missed == 0
    assert set(ticks[2:]) <= set(arrivals)


def test_the_control_rate_is_kept_on_average_with_readings_at_another_rate():
    rng = np.random.default_rng(0)
    arrivals = np.cumsum(rng.normal(33e6, 2e6, 1000)).astype(int).tolist()
    ticks, missed = run(arrivals, arrivals[-1])
    assert missed == 0
    assert np.diff(ticks)[2:].max() <= 1.6 * PERIOD
    assert abs(np.diff(ticks).mean() - PERIOD) < 0.02 * PERIOD


@pytest.mark.parametrize('phase', range(0, PERIOD, PERIOD // 16))
def test_ticks_find_the_readings_again_after_a_pause(phase):
    """Readings resume right behind a watchdog's tick, or anywhere else."""
    before = [i * PERIOD for i in range(10)]
    after = [40 * PERIOD + phase + i * PERIOD for i in range(20)]
    ticks, _ = run(before + after, after[-1] + 1)
    assert set(after[4:]) <= set(ticks)


def test_without_readings_the_timer_keeps_the_rate():
    ticks, missed = run([], 100 * PERIOD)
    assert missed == 0
    assert abs(len(ticks) - 100) <= 1


def test_ticks_that_did_not_happen_are_counted():
    schedule = TickSchedule(PERIOD)
    assert schedule.take(0, True) == 0
    assert schedule.take(PERIOD, True) == 0
    assert schedule.take(5 * PERIOD + 1, True) == 3  # Those at 2, 3 and 4 periods.
    assert schedule.take(6 * PERIOD, True) == 0


def test_a_clock_set_back_makes_a_tick_due_at_once_and_misses_none():
    schedule = TickSchedule(PERIOD)
    schedule.take(1000 * PERIOD, True)
    assert schedule.is_overdue(3 * PERIOD)
    assert schedule.take(3 * PERIOD, True) == 0
    assert not schedule.accepts(3 * PERIOD + 1)
