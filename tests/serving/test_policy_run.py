import math

import numpy as np
import pytest
from policies import CONTRACT
from robot_learning.serving.driver import Command
from robot_learning.serving.observation_assembler import Problem
from robot_learning.serving.policy_run import PolicyRun, goal_fields
from robot_learning.serving.policy_server import Decision

SECOND = 1_000_000_000
GOAL = np.array([3.0, 4.0, 0.0])


def command(altered=False, reasons=(), problems=()):
    decision = Decision(np.zeros(2, np.float32), math.nan, 'navigator', 4, False)
    return Command(0, np.zeros(2, np.float32), decision, altered, reasons, 0, problems)


def test_it_ends_at_the_goal_radius():
    run = PolicyRun(goal_radius_m=0.5)
    assert run.update(command(), 0, np.zeros(3), GOAL) == ''
    assert run.distance_to_goal_m == pytest.approx(5.0)
    assert run.update(command(), SECOND, np.array([3.0, 3.6, 0]), GOAL) == 'goal'
    assert (run.num_steps, run.version) == (2, 4)


def test_it_ends_when_time_is_up():
    run = PolicyRun(0.5, time_limit_s=2.0)
    assert run.update(command(), 7 * SECOND, None, None) == ''
    assert run.update(command(), 9 * SECOND - 1, None, None) == ''
    assert run.update(command(), 9 * SECOND, None, None) == 'time_limit'


def test_it_fails_when_observations_stay_unusable():
    run = PolicyRun(0.5, stale_limit_s=1.0)
    problem = Problem('scan', 'stale', 'scan: is old')
    assert run.update(command(), 0, None, None) == ''
    assert run.update(command(problems=(problem,)), SECOND, None, None) == ''
    assert run.update(command(problems=(problem,)), SECOND + 1, None, None) == 'stale'


def test_it_ends_with_the_emergency_stop():
    run = PolicyRun(0.5)
    stop = command(altered=True, reasons=('emergency_stop',))
    assert run.update(stop, 0, None, None) == 'emergency_stop'
    assert run.gate_interventions == 1


def test_the_first_reason_stays_and_everybody_is_told_once():
    run, told = PolicyRun(0.5), []
    run.on_end(lambda: told.append('early'))
    run.end('canceled')
    run.end('goal')
    run.on_end(lambda: told.append('late'))
    assert (run.reason, run.is_success, told) == ('canceled', False, ['early', 'late'])


def test_the_goal_fields_are_those_of_the_goal_feature():
    assert goal_fields(CONTRACT) == ('pose', 'goal')
