"""Every type that a contract may command can be filled by the node that commands."""

import numpy as np
import pytest
from robot_learning.contract import ActionField, ObservationField
from robot_learning.message_types import COMMANDS, PARTS
from robot_learning.nodes.command_output import _TYPES, _filler
from robot_learning.trajectory.messages import convert, stamp_ns

FULL_PART = {'Twist': 'twist', 'TwistStamped': 'twist', 'Pose': 'pose', 'PoseStamped': 'pose'}


def test_what_contracts_allow_is_what_the_node_publishes():
    assert set(_TYPES) == set(COMMANDS)


@pytest.mark.parametrize('ros_type', sorted(COMMANDS))
def test_filled_commands_read_back_the_same(ros_type):
    names = tuple(COMMANDS[ros_type] or ('lift', 'gripper', 'tilt'))
    values = np.arange(1, len(names) + 1) / 8
    spec = ActionField(
        topic='command',
        type=ros_type,
        components=names,
        unit=('',) * len(names),
        low=(-9.0,) * len(names),
        high=(9.0,) * len(names),
        stop=(0.0,) * len(names),
        frame='base_link',
    )
    message = _TYPES[ros_type]()
    _filler(message, spec)(3_000_000_005, values.tolist())
    part = FULL_PART.get(ros_type.rpartition('/')[2], 'data')
    assert part in PARTS[ros_type]
    field = ObservationField(topic='command', type=ros_type, shape=(len(names),), part=part)
    np.testing.assert_array_equal(convert(message, field), values)
    if ros_type.endswith('Stamped'):
        assert stamp_ns(message) == 3_000_000_005
        assert message.header.frame_id == 'base_link'
