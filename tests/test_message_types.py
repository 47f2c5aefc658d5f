import math
from importlib import import_module

import pytest
from robot_learning.message_types import COMMANDS, HEADERLESS, PARTS, UNITS, default_part


def message_class(ros_type):
    package, _, name = ros_type.split('/')
    return getattr(import_module(f'{package}.msg'), name)


@pytest.mark.parametrize('ros_type', sorted({*PARTS, *COMMANDS}))
def test_types_exist_and_have_a_header_unless_listed(ros_type):
    has_header = 'header' in message_class(ros_type).get_fields_and_field_types()
    assert has_header != (ros_type in HEADERLESS)


@pytest.mark.parametrize('ros_type', sorted(PARTS))
def test_units_are_known_and_one_per_value(ros_type):
    for part in PARTS[ros_type].values():
        units = (part.unit,) if isinstance(part.unit, str) else part.unit
        assert {*units, *part.also} <= UNITS
        if not isinstance(part.unit, str):
            assert part.shape is not None and len(units) == part.shape[-1]
        if part.shape is not None:
            assert all(size is None or size > 0 for size in part.shape)


@pytest.mark.parametrize('ros_type', sorted(name for name, value in COMMANDS.items() if value))
def test_commanded_components_are_numbers_of_the_message(ros_type):
    message = message_class(ros_type)()
    inner = next((getattr(message, n) for n in ('twist', 'pose') if hasattr(message, n)), message)
    for component in COMMANDS[ros_type]:
        value = inner
        for name in component.split('.'):
            value = getattr(value, name)
        assert math.isfinite(value)


def test_the_first_part_is_the_default():
    assert default_part('nav_msgs/msg/Odometry') == 'pose2d'
    assert default_part('sensor_msgs/msg/Imu') == 'imu'
