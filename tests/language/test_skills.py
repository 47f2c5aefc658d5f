import math

import pytest
from robot_learning.errors import CommandError
from robot_learning.language import skills


def test_the_guides_verbs_are_there():
    for name in (
        *(
            'robot.move_forward',
            'robot.move_backward',
            'robot.turn',
            'robot.move_to',
            'robot.stop',
        ),
        *('gripper.pick_up', 'gripper.drop', 'gripper.grab', 'gripper.release'),
        *('sensors.scan', 'sensors.detect', 'sensors.measure_distance'),
        *('navigation.go_to_room', 'navigation.follow_path', 'navigation.return_home'),
    ):
        assert skills.verb(name).name == name


def test_every_default_is_allowed_and_every_limit_is_finite():
    for verb in skills.VERBS.values():
        for argument in verb.arguments:
            if argument.default is not None:
                assert argument.kind.accepts(argument.default)
            if isinstance(argument.kind, skills.Number):
                assert math.isfinite(argument.kind.low) and math.isfinite(argument.kind.high)


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf, True, None, '1', 1e300])
def test_no_number_gets_past_its_limits(value):
    with pytest.raises(CommandError, match=r'expected a number from 0.01 to 20 m'):
        skills.verb('robot.move_forward').completed({'distance': value})


def test_what_may_be_left_out_is_left_out_and_numbers_become_float():
    pick = skills.verb('gripper.pick_up')
    assert pick.completed({'object_type': 'cube'}) == {'object_type': 'cube'}
    forward = skills.verb('robot.move_forward').completed({'distance': 2})
    assert forward == {'distance': 2.0, 'speed': 0.2}
    assert all(type(value) is float for value in forward.values())


def test_a_verb_that_is_not_there_is_named_with_those_like_it():
    with pytest.raises(CommandError, match=r'Did you mean gripper.pick_up'):
        skills.verb('gripper.pickup')
    with pytest.raises(CommandError, match=r'There are robot.move_forward'):
        skills.verb('door.open')


def test_the_documentation_has_a_row_per_verb():
    assert len(skills.documentation().splitlines()) == len(skills.VERBS) + 2
    assert '| `robot.turn(angle, speed=45.0)` |' in skills.documentation()
