import sys
import types

import pytest
from robot_learning.errors import MessageError
from robot_learning.trajectory.bags import message_definitions
from robot_learning.trajectory.bags.bag_types import known_types
from robot_learning.trajectory.bags.message_definitions import definition_of
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

KINDS = (
    'sensor_msgs/msg/JointState',
    'rcl_interfaces/msg/Log',
    'rcl_interfaces/msg/ParameterDescriptor',
    'nav_msgs/msg/Odometry',
    'std_msgs/msg/Empty',
    'robot_learning_interfaces/msg/PolicyAction',
)


@pytest.fixture
def only_here(monkeypatch, tmp_path):
    """Hide all installed .msg files but those written to the folder that is returned."""
    definition_of.cache_clear()
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    yield tmp_path
    definition_of.cache_clear()


def type_hash(kind, definition):
    typestore = get_typestore(Stores.EMPTY)
    typestore.register(get_types_from_msg(definition, kind))
    return typestore.hash_rihs01(kind)


@pytest.mark.parametrize('kind', KINDS)
def test_the_definition_is_complete_and_that_of_ros(kind):
    assert type_hash(kind, definition_of(kind)) == known_types().hash_rihs01(kind)


@pytest.mark.parametrize('kind', KINDS[:-1])
def test_without_files_the_knowledge_of_rosbags_serves(kind, only_here):
    assert type_hash(kind, definition_of(kind)) == known_types().hash_rihs01(kind)


@pytest.mark.parametrize('kind', KINDS)
def test_a_message_class_tells_the_same_definition(kind, only_here, monkeypatch):
    monkeypatch.setattr(
        message_definitions, 'known_types', lambda: types.SimpleNamespace(fielddefs={})
    )
    monkeypatch.setattr(message_definitions, 'interface_files', list)
    definition = definition_of(kind)
    if kind != 'std_msgs/msg/Empty':  # Its class does not tell of the member that IDL needs.
        assert type_hash(kind, definition) == known_types().hash_rihs01(kind)
    assert ('uint8 DEBUG=10' in definition.replace('int64', 'uint8')) == (kind.endswith('/Log'))


def test_own_packages_are_found_with_the_types_inside(only_here):
    folder = only_here / 'share' / 'my_msgs' / 'msg'
    folder.mkdir(parents=True)
    (folder / 'Outer.msg').write_text(
        'uint8 LIMIT=3  # Inner/Not a type\nInner[<=3] parts\nstd_msgs/Header header\n'
        'string<=5 name "x"\nfloat64[36] covariance\n'
    )
    (folder / 'Inner.msg').write_text('# nothing inside\ngeometry_msgs/Point32 at')
    definition = definition_of('my_msgs/msg/Outer')
    found = get_types_from_msg(definition, 'my_msgs/msg/Outer')
    assert set(found) == {
        'my_msgs/msg/Outer', 'my_msgs/msg/Inner', 'std_msgs/msg/Header',
        'builtin_interfaces/msg/Time', 'geometry_msgs/msg/Point32',
    }  # fmt: skip


def test_what_cannot_be_resolved_is_named(only_here, monkeypatch):
    with pytest.raises(MessageError, match="type 'px4_msgs/msg/Timesync': its definition is not"):
        definition_of('px4_msgs/msg/Timesync')
    folder = only_here / 'share' / 'my_msgs' / 'msg'
    folder.mkdir(parents=True)
    (folder / 'Outer.msg').write_text('px4_msgs/Timesync inside')
    with pytest.raises(MessageError, match=r"px4_msgs/msg/Timesync'.*Install or source"):
        definition_of('my_msgs/msg/Outer')
    with pytest.raises(MessageError, match='is no message type'):
        definition_of('std_srvs/srv/Trigger')
    package = types.ModuleType('odd_msgs')
    package.msg = types.ModuleType('odd_msgs.msg')
    package.msg.Odd = type('Odd', (), {})
    monkeypatch.setitem(sys.modules, 'odd_msgs', package)
    monkeypatch.setitem(sys.modules, 'odd_msgs.msg', package.msg)
    with pytest.raises(MessageError, match='is no message class'):
        definition_of('odd_msgs/msg/Odd')
