import math

import numpy as np
import pytest
from policies import CONTRACT
from robot_learning.errors import MessageError
from robot_learning.features import FeatureBuilder
from robot_learning.serving.observation_assembler import ObservationAssembler

FIELDS = FeatureBuilder(CONTRACT).fields
MILLISECOND = 1_000_000
NOW = 10_000 * MILLISECOND
SOUND = {
    'scan': np.full(36, 2.0, np.float32),
    'pose': np.zeros(3, np.float32),
    'goal': np.array([1, 2, 0], np.float32),
    'velocity': np.zeros(2, np.float32),
}


def identity(payload):
    if isinstance(payload, Exception):
        raise payload
    return payload


@pytest.fixture
def assembler():
    return ObservationAssembler(CONTRACT, FIELDS, dict.fromkeys(FIELDS, identity))


def put_all(assembler, stamp=NOW, **changes):
    for i, (name, value) in enumerate({**SOUND, **changes}.items()):
        assembler.put(name, stamp, value, 100 + i)


def test_all_fields_fresh_make_an_observation(assembler):
    put_all(assembler)
    observation = assembler.collect(NOW + 10 * MILLISECOND)
    assert observation.problems == ()
    assert observation.stamp_ns == NOW
    np.testing.assert_array_equal(observation.values['goal'], SOUND['goal'])


def test_a_field_that_never_came_is_named_with_its_topic(assembler):
    for name in ('scan', 'pose', 'velocity'):
        assembler.put(name, NOW, SOUND[name], 1)
    (problem,) = assembler.collect(NOW).problems
    assert (problem.field, problem.kind) == ('goal', 'missing')
    assert "'goal_pose'" in problem.text


def test_a_field_older_than_the_contract_allows_is_stale(assembler):
    put_all(assembler)
    assembler.put('velocity', NOW + 200 * MILLISECOND, SOUND['velocity'], 1)
    assembler.put('pose', NOW + 200 * MILLISECOND, SOUND['pose'], 1)
    assert assembler.collect(NOW + 250 * MILLISECOND).problems == ()
    (problem,) = assembler.collect(NOW + 251 * MILLISECOND).problems
    assert (problem.field, problem.kind) == ('scan', 'stale')
    assert problem.text == 'scan: is 0.251 s old, allowed are 0.25 s'


def test_a_goal_never_gets_old_and_does_not_date_the_observation(assembler):
    assembler.put('goal', 5, SOUND['goal'], 1)
    for name in ('scan', 'pose', 'velocity'):
        assembler.put(name, NOW, SOUND[name], 7)
    observation = assembler.collect(NOW)
    assert observation.problems == ()
    assert (observation.stamp_ns, observation.received_ns) == (NOW, 7)


@pytest.mark.parametrize('name', ['pose', 'goal', 'velocity'])
def test_values_that_are_not_finite_are_a_problem(assembler, name):
    bad = SOUND[name].copy()
    bad[1] = math.nan
    put_all(assembler, **{name: bad})
    (problem,) = assembler.collect(NOW).problems
    assert (problem.field, problem.kind) == (name, 'not_finite')
    assert '1 of' in problem.text


def test_beams_out_of_range_are_sound_but_a_scan_of_nan_is_not(assembler):
    put_all(assembler, scan=np.full(36, np.inf, np.float32))
    assert assembler.collect(NOW).problems == ()
    put_all(assembler, NOW + 1, scan=np.full(36, np.nan, np.float32))
    (problem,) = assembler.collect(NOW + 1).problems
    assert (problem.field, problem.kind) == ('scan', 'not_finite')


def test_a_message_that_cannot_be_read_is_named_until_a_better_one_comes(assembler):
    put_all(assembler, scan=MessageError('field scan: found 4 beams, expected 36.'))
    (problem,) = assembler.collect(NOW).problems
    assert problem.kind == 'bad_message'
    assert assembler.collect(NOW).problems[0].text == 'field scan: found 4 beams, expected 36.'
    assembler.put('scan', NOW + 1, SOUND['scan'], 1)
    assert assembler.collect(NOW + 1).problems == ()


def test_the_newest_stamp_wins_not_the_last_arrival(assembler):
    put_all(assembler)
    assembler.put('pose', NOW - 50 * MILLISECOND, np.ones(3, np.float32), 9)
    np.testing.assert_array_equal(assembler.collect(NOW).values['pose'], np.zeros(3))


def test_after_a_clock_set_back_older_stamps_count(assembler):
    put_all(assembler)
    put_all(assembler, 0, pose=np.ones(3, np.float32))
    observation = assembler.collect(0)
    assert observation.stamp_ns == 0
    np.testing.assert_array_equal(observation.values['pose'], np.ones(3))


def test_a_step_awaits_its_readings_until_they_are_given_up(assembler):
    put_all(assembler)
    step = NOW + 200 * MILLISECOND
    assert assembler.awaited(step, is_first=False) == ('scan', 'pose', 'velocity')
    assert assembler.awaited(step, is_first=True) == FIELDS
    for name in ('pose', 'velocity'):
        assembler.put(name, step, SOUND[name], 1)
    assert assembler.awaited(step, is_first=False) == ('scan',)
    assembler.give_up(('scan',))
    assert assembler.awaited(step + 1, is_first=False) == ('pose', 'velocity')
    assembler.put('scan', step + 1, SOUND['scan'], 1)  # It comes in step again.
    assert 'scan' in assembler.awaited(step + 2, is_first=False)


def test_it_is_renewed_when_every_paced_field_has_a_reading_not_yet_used(assembler):
    put_all(assembler)
    assert assembler.is_renewed()
    assembler.collect(NOW)
    assert not assembler.is_renewed()
    for name in ('scan', 'pose'):
        assembler.put(name, NOW + 1, SOUND[name], 1)
    assert not assembler.is_renewed()
    assembler.put('velocity', NOW + 1, SOUND['velocity'], 1)
    assert assembler.is_renewed()  # The goal is an event and not waited for.


def test_an_override_replaces_what_arrives_until_it_is_taken_back(assembler):
    put_all(assembler)
    assembler.override('goal', np.array([3, 3, 0], np.float32))
    assert assembler.collect(NOW).values['goal'][0] == 3
    assert assembler.value('goal')[0] == 3
    assembler.override('goal', None)
    assert assembler.collect(NOW).values['goal'][0] == 1


def test_an_answer_is_needed_when_something_newer_came_or_grew_too_old(assembler):
    assert assembler.needs_answer(NOW)  # Nothing has come: a reason to stop.
    put_all(assembler)
    assert assembler.needs_answer(NOW)
    assembler.collect(NOW)
    assert not assembler.needs_answer(NOW + 200 * MILLISECOND)
    assert assembler.needs_answer(NOW + 201 * MILLISECOND)  # The velocity is too old.
    assembler.put('velocity', NOW, SOUND['velocity'], 1)
    assert not assembler.needs_answer(NOW + 1)  # Late, but of the moment already answered.
    assembler.put('velocity', NOW + 190 * MILLISECOND, SOUND['velocity'], 1)
    assert assembler.needs_answer(NOW + 191 * MILLISECOND)
